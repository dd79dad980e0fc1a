//! Volumes that pins select, and who carries their data.

use std::path::PathBuf;

/// A volume with who carries its data: each has a slot of its own in the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Who carries its data, beside the process that read it.
    pub spread: Spread,
    /// Whether its data is not followed into files elsewhere.
    pub ignores_copies: bool,
    /// What becomes of those to whom carriers hand its data on.
    pub relays: Relays,
}

/// What becomes of a process to which a carrier hands data on, by a socket or a pipe of this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relays {
    /// It is reported.
    #[default]
    Tell,
    /// It is a carrier too.
    Tag,
}

impl Relays {
    /// The name that a config uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tell => "tell",
            Self::Tag => "tag",
        }
    }
}

/// Who carries data of a volume, beside the process that read it and its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spread {
    /// All processes of its cgroup and of those below it, but for the root's and `init.scope`'s.
    #[default]
    Cgroup,
    /// Nobody.
    Process,
}

impl Spread {
    /// The name that a config uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Process => "process",
        }
    }
}
