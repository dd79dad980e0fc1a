//! What is wanted of the hook of cgroups, and what it is seen to be: ways past the hooks of interfaces are refused to
//! processes below a cgroup.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Where ways past the hooks are refused, and to whom not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BypassTarget {
    /// The folder of the cgroup: its processes and those of cgroups below it are refused.
    pub cgroup: PathBuf,
    /// Its id.
    pub id: u64,
    /// Ids of cgroups whose processes, and those below, are not refused.
    pub allowed: BTreeSet<u64>,
}

/// A program of ours on a cgroup, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupAttachment {
    /// Id of the link.
    pub link: u32,
    /// Id of the cgroup; 0 where the link is on none any more: somebody detached it, or the cgroup is gone.
    pub cgroup: u64,
    /// Id of the program, which `bpftool prog` shows too.
    pub program: u32,
    /// Whether the program is one that this process loaded.
    pub is_current: bool,
    /// Whether its entry in bpffs is there, without which the link ends with the process.
    pub is_kept: bool,
}

/// What of ours is on cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedBypass {
    /// Every link of ours.
    pub attachments: Vec<CgroupAttachment>,
    /// Ids of cgroups whose processes are not refused.
    pub allowed: BTreeSet<u64>,
}

impl ObservedBypass {
    /// What is attached to this cgroup.
    #[must_use]
    pub fn at(&self, cgroup: u64) -> Option<&CgroupAttachment> {
        self.attachments.iter().find(|attachment| attachment.cgroup == cgroup && cgroup != 0)
    }
}
