//! The kernel's slots for exemptions: which exemption holds which, and when one may be given to another.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::MAX_EXEMPTIONS;

use super::entry::{Entry, groups};
use super::kept::every_slot;
use super::read::Found;
use super::{Key, Problem, Store, StoreError};
use crate::exemption::document::Document;
use crate::exemption::record::{Record, Use};

impl Store {
    /// The use that the kernel counted for these slots is zero now, so that another exemption may have them.
    ///
    /// # Errors
    /// Where the disk refuses; then the slots stay taken.
    pub fn slots_were_reset(&mut self, slots: &[u16]) -> Result<(), StoreError> {
        self.leave_doubt()?;
        let freed = |record: &Record| {
            !record.slots.is_empty() && record.slots.iter().all(|slot| slots.contains(slot))
        };
        let records: Vec<(Key, Record)> = self
            .kept
            .entries()
            .filter(|(_, entry)| !entry.is_active() && freed(&entry.record))
            .map(|(key, entry)| {
                let (before, counted) = (entry.record.used(), Use::default());
                // What was granted and not used is not used: the count is final.
                let granted = before.bytes;
                (key.clone(), Record { slots: Vec::new(), before, counted, granted, ..entry.record.clone() })
            })
            .collect();
        self.keep(records)?;
        self.kept.inner_mut().unclean.retain(|slot| !slots.contains(slot));
        Ok(())
    }
}

/// Two exemptions with one slot would spend each other's quota, which only a damaged store has: both are
/// closed.
pub(super) fn close_shared(found: &mut Found) {
    let mut held: BTreeSet<u16> = BTreeSet::new();
    let mut shared: BTreeSet<u16> = BTreeSet::new();
    for slot in found.entries.values().flat_map(|entry| &entry.record.slots) {
        if !held.insert(*slot) {
            shared.insert(*slot);
        }
    }
    for ((id, version), entry) in &mut found.entries {
        if entry.record.slots.iter().any(|slot| shared.contains(slot)) && entry.document.take().is_some() {
            found.problems.push(Problem {
                place: format!("{id}, version {version}"),
                reason: "another exemption has its place in the kernel's tables; both are closed".to_owned(),
            });
        }
    }
}

/// The slots that may be those of an exemption whose record can't be read: any that no exemption holds.
pub(super) fn unclean(entries: &BTreeMap<Key, Entry>, unreadable: &BTreeSet<Key>) -> BTreeSet<u16> {
    if unreadable.is_empty() {
        return BTreeSet::new();
    }
    let held: BTreeSet<u16> = entries.values().flat_map(|entry| entry.record.slots.iter().copied()).collect();
    every_slot().filter(|slot| !held.contains(slot)).collect()
}

/// Whether the kernel has these slots.
pub(super) fn are_the_kernels(record: &Record) -> bool {
    record.slots.iter().all(|slot| usize::from(*slot) < MAX_EXEMPTIONS)
}

/// Whether a document's entries fit into its slots, which it may have none of while it is not open.
pub(super) fn check(record: &Record, document: &Document) -> Result<(), String> {
    let (has, needs) = (record.slots.len(), groups(document).len());
    if has == needs || (has == 0 && !record.is_active()) {
        return Ok(());
    }
    Err(format!("it has {has} places in the kernel's tables and needs {needs}"))
}
