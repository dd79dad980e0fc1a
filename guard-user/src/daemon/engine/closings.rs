//! Exemptions that are closed here and are not closed on the disk yet. They hold from the moment of the request:
//! the kernel marks their slots, so that a daemon that starts again does not open them.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::ChangeId;
use super::{Engine, KernelJob, Level, Purpose, StoreJob};
use crate::exemption::{Clocks, Document};
use crate::store::{Change, Key, Target};

/// The closings.
#[derive(Default)]
pub(super) struct Closings {
    /// Each with its slots.
    keys: BTreeMap<Key, Vec<u16>>,
    /// Orders that the store has not answered, by the number of their change: nothing that they mean is opened
    /// meanwhile, also not a version that is loaded while they are on their way.
    orders: BTreeMap<u64, Target>,
    /// Why slots could not be marked.
    hold_error: Option<String>,
}

impl Closings {
    pub(super) fn has_slot(&self, slot: u16) -> bool {
        self.keys.values().any(|slots| slots.contains(&slot))
    }

    /// Whether an order that is on its way means this exemption.
    pub(super) fn means(&self, document: &Document) -> bool {
        self.orders.values().any(|target| match target {
            Target::Id(id) => *id == document.id,
            Target::Instrument(name) => *name == document.instrument.name,
        })
    }

    /// An order is on its way to the store.
    pub(super) fn order(&mut self, id: u64, target: Target) {
        self.orders.insert(id, target);
    }

    /// The store has answered an order.
    pub(super) fn ordered(&mut self, id: u64) {
        self.orders.remove(&id);
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(|(id, _)| id.as_str())
    }

    pub(super) fn hold_failed(&mut self, error: String) {
        self.hold_error = Some(error);
    }

    pub(super) fn hold_error(&self) -> Option<&str> {
        self.hold_error.as_deref().filter(|_| !self.keys.is_empty())
    }
}

impl Engine {
    /// Closes exemptions from now on, whatever the disk says.
    pub(super) fn close_now(&mut self, keys: &[Key]) {
        for key in keys {
            let slots = self.kept.slots_of(std::slice::from_ref(key));
            if self.closings.keys.insert(key.clone(), slots.clone()).is_none() && !slots.is_empty() {
                self.ask_kernel(KernelJob::Hold { slots, held: true });
            }
        }
    }

    /// Lets go of closings that the disk has.
    pub(super) fn settle_closings(&mut self) {
        let unsaved: BTreeSet<Key> = self.kept.unsaved().into_iter().collect();
        let is_kept = |key: &Key| {
            !unsaved.contains(key) && self.kept.record(key).is_none_or(|record| !record.is_active())
        };
        let kept: Vec<Key> = self.closings.keys.keys().filter(|key| is_kept(key)).cloned().collect();
        self.reopened(&kept);
    }

    /// These are no closings any more: the disk has them, or has that they are open again.
    pub(super) fn reopened(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(slots) = self.closings.keys.remove(key)
                && !slots.is_empty()
            {
                self.ask_kernel(KernelJob::Hold { slots, held: false });
            }
        }
    }

    /// Takes over what the kernel holds closed from an earlier daemon, whose disk had not taken the order.
    pub(super) fn close_held(&mut self, held: &BTreeSet<u16>, now: Clocks) {
        let mut stale = Vec::new();
        for &slot in held {
            // An order means every version: the disk may have taken a newer one before it.
            let key = self.kept.by_slot(slot).and_then(|document| self.kept.find(&document.id, None).ok());
            let open = key.filter(|key| self.kept.record(key).is_some_and(|it| it.is_active()));
            let is_of = |key: &Key| self.kept.slots_of(std::slice::from_ref(key)).contains(&slot);
            if !open.as_ref().is_some_and(is_of) {
                stale.push(slot);
            }
            let Some(key) = open else { continue };
            let id = key.0.clone();
            if self.closings.keys.contains_key(&key) {
                continue;
            }
            self.close_now(&[key]);
            self.log(
                Level::Error,
                format!(
                    "exemption {id} was closed by an order that the disk had not taken when the daemon ended: it \
                     stays closed. Resume it where the order is lifted"
                ),
            );
            let order = format!("an order of before {}, whose text the disk had not taken", now.wall);
            let (target, change) = (Target::Id(id), Change::Stay { order });
            let number = self.changes.next_id();
            self.closings.order(number, target.clone());
            let job = StoreJob::Change { target, change, who: self.daemon.clone() };
            self.ask_store(Purpose::Change(ChangeId(number)), job);
        }
        // Last, so that an order is marked at every moment.
        if !stale.is_empty() {
            self.ask_kernel(KernelJob::Hold { slots: stale, held: false });
        }
    }
}
