//! The tables of the kernel in memory that decide, and what tests change there as root can.

use std::collections::BTreeSet;
use std::sync::Arc;

use guard_common::abi::HighWater;
use guard_common::interval::build::GeoImage;

use super::MemoryKernel;
use crate::kernel::{Mending, Tampered};

/// Those that are set back where they are.
const SET_BACK: [&str; 5] = ["CONTROL", "HOST_ADDRESSES", "HELD", "BYPASS_ALLOWED", "EXEMPTION_USE"];
/// The geo tables.
const GEO: [&str; 3] = ["V4_ENTRIES", "V6_NODES", "V6_DETAIL"];
/// The policy's.
const POLICY: &str = "POLICY";
/// The slot that a changed policy opens, which no test gives an exemption.
const OPENED: u16 = 200;

/// What is in the tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Those that are other than they were written.
    other: BTreeSet<&'static str>,
    /// Those that somebody has frozen.
    frozen: BTreeSet<&'static str>,
    /// The geo tables that were published last.
    pub(super) geo: Option<Arc<GeoImage>>,
}

impl MemoryKernel {
    /// How many generations were published.
    #[must_use]
    pub(crate) fn published(&self) -> u64 {
        self.state().published
    }

    /// The mark, and what it was when the live table became so.
    pub(crate) fn marks(&self) -> (HighWater, HighWater) {
        let state = self.state();
        (state.mark, state.mark_at_flip)
    }
}

impl Tables {
    /// What a look finds. What is of no generation is set back by it.
    pub(super) fn look(&mut self) -> Vec<Tampered> {
        let found = self.other.iter().map(|&table| Tampered {
            table,
            entries: 1,
            first: "word 0".to_owned(),
            right_ns: None,
            mending: match table {
                POLICY => Mending::NextGeneration,
                table if GEO.contains(&table) => Mending::NextGeo,
                _ => Mending::SetBack,
            },
        });
        let found = found.chain(self.frozen.iter().copied().map(Tampered::frozen)).collect();
        self.other.retain(|table| !SET_BACK.contains(table));
        found
    }

    /// A generation went live, with these geo tables where it has new ones.
    pub(super) fn published(&mut self, geo: Option<&Arc<GeoImage>>) {
        self.other.retain(|table| *table != POLICY && !(geo.is_some() && GEO.contains(table)));
        if let Some(geo) = geo {
            self.geo = Some(Arc::clone(geo));
        }
    }
}

impl MemoryKernel {
    /// The names of all tables that decide.
    pub(crate) fn tables() -> Vec<&'static str> {
        SET_BACK.into_iter().chain(GEO).chain([POLICY]).collect()
    }

    /// Somebody changes a table; the policy's so that it opens what nobody has approved.
    pub(crate) fn tamper(&self, table: &'static str) {
        let mut state = self.state();
        // Geo tables that nobody has kept are not held against anything.
        if state.generation == 0 || (GEO.contains(&table) && state.tables.geo.is_none()) {
            return;
        }
        state.tables.other.insert(table);
        if table == POLICY {
            state.live.insert(OPENED);
        }
    }

    /// Somebody freezes a table. What is written there anew fails only where the test has it fail.
    pub(crate) fn freeze(&self, table: &'static str) {
        self.state().tables.frozen.insert(table);
    }

    /// The tables that are other than they were written.
    pub(crate) fn tampered(&self) -> Vec<&'static str> {
        self.state().tables.other.iter().copied().collect()
    }
}
