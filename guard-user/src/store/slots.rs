//! The kernel's places for exemptions: who holds which, and when one may be given to another.

use std::collections::BTreeSet;

use super::{Key, Problem, Store, StoreError};
use crate::exemption::record::{Record, Use};

impl Store {
    /// Slots of exemptions that are not open, which no generation uses any more once one without them is
    /// live: their use is to be saved by [`checkpoint_use`](Self::checkpoint_use) and reset in the kernel.
    #[must_use]
    pub fn slots_to_reset(&self) -> Vec<u16> {
        let closed = self.entries.values().filter(|entry| !entry.is_active());
        let held = closed.flat_map(|entry| entry.record.slots.iter().copied());
        let slots: BTreeSet<u16> = held.chain(self.unclean.iter().copied()).collect();
        slots.into_iter().collect()
    }

    /// The accounts of all exemptions that have one: the slots whose use is to be saved.
    #[must_use]
    pub fn accounts(&self) -> Vec<u16> {
        self.entries.values().filter_map(|entry| entry.record.account()).collect()
    }

    /// The accounts of these exemptions.
    #[must_use]
    pub fn accounts_of(&self, keys: &[Key]) -> Vec<u16> {
        keys.iter().filter_map(|key| self.entries.get(key)?.record.account()).collect()
    }

    /// The use that the kernel counted for these slots is zero now, so that another exemption may have them.
    ///
    /// # Errors
    /// Where the disk refuses; then the slots stay taken.
    pub fn slots_were_reset(&mut self, slots: &[u16]) -> Result<(), StoreError> {
        let freed = |record: &Record| {
            !record.slots.is_empty() && record.slots.iter().all(|slot| slots.contains(slot))
        };
        let records: Vec<(Key, Record)> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_active() && freed(&entry.record))
            .map(|(key, entry)| {
                let (before, counted) = (entry.record.used(), Use::default());
                // What was granted and not used is not used: the count is final.
                let granted = before.bytes;
                (key.clone(), Record { slots: Vec::new(), before, counted, granted, ..entry.record.clone() })
            })
            .collect();
        self.keep(records)?;
        self.unclean.retain(|slot| !slots.contains(slot));
        Ok(())
    }

    /// Two exemptions with one slot would spend each other's quota, which only a damaged store has: both are
    /// closed. So is one whose slots can't be told; any slot that nobody holds may be one of its.
    pub(super) fn close_shared_slots(&mut self) {
        let mut held: BTreeSet<u16> = BTreeSet::new();
        let mut shared: BTreeSet<u16> = BTreeSet::new();
        for slot in self.entries.values().flat_map(|entry| &entry.record.slots) {
            if !held.insert(*slot) {
                shared.insert(*slot);
            }
        }
        for ((id, version), entry) in &mut self.entries {
            if entry.record.slots.iter().any(|slot| shared.contains(slot)) && entry.document.take().is_some()
            {
                self.problems.push(Problem {
                    place: format!("{id}, version {version}"),
                    reason: "another exemption has its place in the kernel's tables; both are closed"
                        .to_owned(),
                });
            }
        }
        if !self.unreadable.is_empty() {
            let all = 0..u16::try_from(guard_common::abi::MAX_EXEMPTIONS).unwrap_or(u16::MAX);
            self.unclean = all.filter(|slot| !held.contains(slot)).collect();
        }
    }
}
