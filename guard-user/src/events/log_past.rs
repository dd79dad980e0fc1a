//! What the event log goes on from.

use std::path::Path;

use super::kept::Kept;
use super::told::{Losses, Told};

/// What earlier runs have written and told, and the files in which this one keeps it.
#[derive(Debug)]
pub struct LogPast {
    pub(super) kept: Kept,
    pub(super) told: Told,
}

impl LogPast {
    /// The number of the last line, and what lines have told of the kernel's counters of this name, from the state
    /// directory; where it can't be kept there, the next run does not know it. Of an earlier version's it is not known which losses
    /// were told: `lost`, those until now, are taken for that. It waits for the disk.
    #[must_use]
    pub fn read(state: &Path, counters: &str, lost: Option<Losses>) -> Self {
        Self { kept: Kept::open(state), told: Told::open(state, counters, lost) }
    }

    /// What the kernel program could not keep or send, as far as lines have told it; `None` where that is not known.
    #[must_use]
    pub const fn losses(&self) -> Option<Losses> {
        self.told.losses()
    }

    /// Nothing is known, and nothing is kept.
    #[must_use]
    pub fn unknown() -> Self {
        Self { kept: Kept::default(), told: Told::nothing() }
    }
}
