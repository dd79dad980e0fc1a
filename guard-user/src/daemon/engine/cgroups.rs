//! What is known of the cgroups that pins select.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of them.
#[derive(Default)]
pub(super) struct Cgroups {
    /// The paths of those that were there at the last look.
    pub(super) there: BTreeSet<String>,
    /// Those that were made again and are not in the live tables: since when that is known, nanoseconds of
    /// `CLOCK_BOOTTIME`.
    pub(super) unplaced: BTreeMap<String, u64>,
    /// How often one was placed that had been made again, and how long that took altogether, nanoseconds.
    pub(super) placed: u64,
    pub(super) took_ns: u64,
}

impl Cgroups {
    pub(super) fn is_there(&self, path: &str) -> bool {
        self.there.contains(path)
    }

    /// The paths of those that are not in the live tables yet.
    pub(super) fn unplaced(&self) -> impl Iterator<Item = &str> {
        self.unplaced.keys().map(String::as_str)
    }
}
