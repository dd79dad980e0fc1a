//! `[bypass]`: ways past the hooks of interfaces that are refused to processes.

/// `[bypass]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// Whether they are refused, where the host is not only observed.
    pub refuse: bool,
    /// To the processes of which cgroup, as a path below the root of cgroup v2; empty: of the root.
    pub cgroup: String,
    /// To the processes of which cgroups not, as paths likewise; descendants count.
    pub allow: Vec<String>,
}
