//! What is closed here and is not closed on the disk yet, and the marks of its slots in the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::periods::SECOND;
use crate::exemption::Clocks;
use crate::store::{Kept, Key, Target};

/// How long after a failure a mark is tried again, nanoseconds.
const RETRY_NS: u64 = SECOND;

/// The closings.
#[derive(Default)]
pub(super) struct Closings {
    /// What is closed here, and since when.
    pub(super) keys: BTreeMap<Key, u64>,
    /// Orders that the store has not answered, by the number of their change: nothing that they mean is opened
    /// meanwhile, also not a version that is loaded while they are on their way.
    pub(super) orders: BTreeMap<u64, Target>,
    /// Slots that an earlier daemon marked, as long as the store can't say whose they are.
    pub(super) undecided: BTreeSet<u16>,
    /// Slots by what was asked of their mark last, but for what failed.
    pub(super) marks: BTreeMap<u16, bool>,
    /// Slots whose mark could not be changed: why, and when that was tried.
    pub(super) failed: BTreeMap<u16, (String, u64)>,
}

impl Closings {
    /// With the slots that the kernel holds closed.
    pub(super) fn begin(held: BTreeSet<u16>) -> Self {
        let marks = held.iter().map(|slot| (*slot, true)).collect();
        Self { undecided: held, marks, ..Self::default() }
    }

    /// Whether nothing is closed by these, nor marked.
    pub(super) fn are_none(&self) -> bool {
        self.keys.is_empty() && self.orders.is_empty() && self.undecided.is_empty() && self.marks.is_empty()
    }

    /// Whether an order that is on its way means the exemption in this slot.
    pub(super) fn means(&self, slot: u16, kept: &Kept) -> bool {
        self.orders.values().any(|target| kept.is_meant_in(slot, target))
    }

    /// An order is on its way to the store.
    pub(super) fn order(&mut self, id: u64, target: Target) {
        self.orders.insert(id, target);
    }

    /// The store has answered an order.
    pub(super) fn ordered(&mut self, id: u64) {
        self.orders.remove(&id);
    }

    /// Marks were changed, or were not.
    pub(super) fn held(&mut self, slots: Vec<u16>, held: bool, result: Result<(), String>, now: Clocks) {
        for slot in slots {
            // What was asked after it counts.
            let is_last = self.marks.get(&slot) == Some(&held);
            match &result {
                Ok(()) => {
                    self.failed.remove(&slot);
                    if is_last && !held {
                        self.marks.remove(&slot);
                    }
                }
                Err(why) => {
                    self.failed.insert(slot, (why.clone(), now.boot_ns));
                    match (is_last, held) {
                        (true, true) => drop(self.marks.remove(&slot)),
                        (true, false) => drop(self.marks.insert(slot, true)),
                        (false, _) => {}
                    }
                }
            }
        }
    }

    /// Whether the mark of a slot is to be tried.
    pub(super) fn may_try(&self, slot: u16, now: Clocks) -> bool {
        self.failed.get(&slot).is_none_or(|(_, at)| now.boot_ns >= at + RETRY_NS)
    }
}
