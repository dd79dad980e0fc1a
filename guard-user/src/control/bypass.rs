//! Of the status: ways past the guard that a process asks the kernel for.

use serde::{Deserialize, Serialize};

/// Ways past the guard that a process asks the kernel for, and that are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BypassStatus {
    /// Whether they are to be refused: as `bypass.refuse` says, and never while `observe` is.
    pub refused: bool,
    /// The cgroup to whose processes they are: `/` for every process of the host.
    pub cgroup: String,
    /// Whether the hook that refuses them is attached to it.
    pub attached: bool,
    /// To the processes of which cgroups not.
    pub allow: Vec<BypassAllowStatus>,
    /// How often each way was asked for.
    pub asked: Vec<BypassCount>,
}

/// A cgroup whose processes are not refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BypassAllowStatus {
    /// Its path below the root.
    pub cgroup: String,
    /// Whether there is one.
    pub is_there: bool,
}

/// How often a way past the guard was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BypassCount {
    /// `packet-qdisc-bypass`, `xdp-umem-reg`, `packet-tx-ring` or `packet-vnet-hdr`.
    pub way: String,
    /// How often it was refused.
    pub refused: u64,
    /// How often a process that may was let.
    pub allowed: u64,
}
