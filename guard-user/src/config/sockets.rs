//! `[sockets]`: who makes and who uses sockets is noted with them, and calls of theirs are refused.

/// `[sockets]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Whether it is noted.
    pub note: bool,
    /// Of the sockets that are made in which cgroup, as a path below the root of cgroup v2; empty: in any.
    pub cgroup: String,
    /// Whether calls are refused of which every packet would be dropped.
    pub refuse: bool,
}
