//! What the event log goes on from.

use std::path::Path;

use super::kept::Kept;
use super::told::Told;

/// What earlier runs have written and told, and the files in which this one keeps it.
#[derive(Debug)]
pub struct LogPast {
    pub(super) kept: Kept,
    pub(super) told: Told,
}

impl LogPast {
    /// The number of the last line, and what lines have told of the kernel's counters of this name, from the state
    /// directory; where it can't be kept there, the next run does not know it. It waits for the disk.
    #[must_use]
    pub fn read(state: &Path, counters: &str) -> Self {
        Self { kept: Kept::open(state), told: Told::open(state, counters) }
    }

    /// Nothing is known, and nothing is kept.
    #[must_use]
    pub fn unknown() -> Self {
        Self { kept: Kept::default(), told: Told::nothing() }
    }
}
