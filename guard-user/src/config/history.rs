//! `[history]`: what is kept of flows on the disk, where, and for how long.

use std::path::PathBuf;

use jiff::SignedDuration;

/// `[history]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowHistory {
    /// The folder that it is kept in, an absolute path; `None`: it is off.
    pub directory: Option<PathBuf>,
    /// Bytes that it has on the disk at most, from 1 MiB to 1 TiB.
    pub max_size: u64,
    /// What is older is removed; always more than nothing.
    pub max_age: SignedDuration,
    /// Users, commands, processes and cgroups of what is older are removed; always more than nothing.
    pub people_age: SignedDuration,
    /// Legal holds.
    pub hold: LegalHold,
}

/// Events that are copied to a folder of their own, from which nothing is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalHold {
    /// Ids of exemptions and names of pins, without doubles in the order of the file; empty: nothing is held.
    pub names: Vec<String>,
    /// The folder of the copies, an absolute path.
    pub directory: PathBuf,
    /// Bytes that the copies have at most, from 1 MiB to 1 TiB.
    pub max_size: u64,
}
