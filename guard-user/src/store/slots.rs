//! The kernel's slots for exemptions: which there are, and whether the records of exemptions hold them as they may.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::MAX_EXEMPTIONS;
use redb::WriteTransaction;

use super::entry::Entry;
use super::tables::META;
use super::{Key, Problem};
use crate::exemption::division;
use crate::exemption::document::Document;
use crate::exemption::record::Record;

/// The row of the table of meta data that says whether slots are to be reset before anybody has them.
pub(super) const UNCLEAN: &str = "unclean_slots";

/// The slots of the kernel's table.
pub(super) fn every_slot() -> std::ops::Range<u16> {
    0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX)
}

/// Two exemptions with one slot would spend each other's quota, which only a damaged store has: both are
/// closed, and named.
pub(super) fn close_shared(entries: &mut BTreeMap<Key, Entry>) -> Vec<Problem> {
    let mut held: BTreeSet<u16> = BTreeSet::new();
    let mut shared: BTreeSet<u16> = BTreeSet::new();
    for slot in entries.values().flat_map(|entry| &entry.record.slots) {
        if !held.insert(*slot) {
            shared.insert(*slot);
        }
    }
    let mut problems = Vec::new();
    for ((id, version), entry) in entries {
        if entry.record.slots.iter().any(|slot| shared.contains(slot)) && entry.document.take().is_some() {
            problems.push(Problem {
                place: format!("{id}, version {version}"),
                reason: "another exemption has its place in the kernel's tables; both are closed".to_owned(),
            });
        }
    }
    problems
}

/// Keeps whether the kernel may count in slots of exemptions that this store does not know: a daemon that ends before it has
/// reset them leaves that to the next.
pub(super) fn are_unclean(batch: &WriteTransaction, are_unclean: bool) -> Result<(), redb::Error> {
    batch.open_table(META)?.insert(UNCLEAN, u64::from(are_unclean))?;
    Ok(())
}

/// The slots in which the kernel may count for an exemption that is not known: any that no exemption holds, where a record can't
/// be read, or where that was [kept](are_unclean).
pub(super) fn unclean(
    entries: &BTreeMap<Key, Entry>,
    unreadable: &BTreeSet<Key>,
    kept: Option<u64>,
) -> BTreeSet<u16> {
    if unreadable.is_empty() && kept.unwrap_or_default() == 0 {
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
    let (has, needs) = (record.slots.len(), division::slots_wanted(document));
    if division::parts(document, has).is_some() || (has == 0 && !record.is_active()) {
        return Ok(());
    }
    Err(format!("it has {has} places in the kernel's tables and needs {needs}"))
}
