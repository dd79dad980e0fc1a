//! What a packet does not say of where it comes from.

use std::path::PathBuf;

use guard_common::abi::Direction;

/// Where a packet comes from, as a person says it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The interface that it leaves or came in by.
    pub interface: Option<String>,
    /// Whether the host only forwards it: then it did not make it.
    pub is_forwarded: bool,
    /// The interface by which it came in, where it is forwarded and that is known.
    pub came_in_by: Option<String>,
    /// Its firewall mark.
    pub mark: u32,
    /// The cgroup of the process that sends it, as a path below the root of cgroup v2.
    pub cgroup: Option<String>,
    /// The user of that process, by name or number, and its number.
    pub user: Option<(String, u32)>,
    /// Volumes whose data that process carries.
    pub volumes: Vec<PathBuf>,
    /// Who opened the connection.
    pub direction: Direction,
    /// Whether the kernel's program judged it: then it knew the user, the cgroup and the volumes, and what it says does not
    /// name them.
    pub is_live: bool,
    /// That process in words, where it is one of this host.
    pub process: Option<String>,
}
