//! Exemptions that are closed here and are not closed on the disk yet. They hold from the moment of the request:
//! the kernel marks their slots, so that a daemon that starts again does not open them.
//!
//! Which slots are to be marked follows from the closings, from the orders on their way and from what the disk
//! refused. It is compared with what is marked after every input, and what failed is tried again.

use std::collections::BTreeSet;

use crate::daemon::engine::changes::{ChangeId, DISK_NS};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{KernelJob, Level, StoreJob, Surroundings};
use crate::exemption::{Clocks, State};
use crate::store::{Change, Key, MarkFault, Target};

impl Engine {
    /// Closes exemptions from now on, whatever the disk says.
    pub(super) fn close_now(&mut self, keys: &[Key], now: Clocks) {
        for key in keys {
            self.closings.keys.entry(key.clone()).or_insert(now.boot_ns);
        }
    }

    /// Lets go of closings that the disk has.
    pub(super) fn settle_closings(&mut self) {
        let unsaved: BTreeSet<Key> = self.kept.unsaved().into_iter().collect();
        let is_kept = |key: &Key| {
            !unsaved.contains(key) && self.kept.record(key).is_none_or(|record| !record.is_active())
        };
        self.closings.keys.retain(|key, _| !is_kept(key));
    }

    /// These are no closings any more: the disk has that they are open again.
    pub(super) fn reopened(&mut self, keys: &[Key]) {
        self.closings.keys.retain(|key, _| !keys.contains(key));
    }

    /// What is closed here and not on the disk: it was ordered, or it was over and the disk refused to take that.
    pub(super) fn closed_here(&self) -> BTreeSet<Key> {
        self.closings.keys.keys().cloned().chain(self.kept.unsaved()).collect()
    }

    /// What of it the disk has refused, or has not answered for longer than an answer waits: what it is writing just now
    /// is no problem.
    pub(super) fn refused_or_late(&self, now: Clocks) -> BTreeSet<Key> {
        let is_late = |(_, since): &(&Key, &u64)| now.boot_ns >= **since + DISK_NS;
        let late = self.closings.keys.iter().filter(is_late).map(|(key, _)| key.clone());
        late.chain(self.kept.unsaved()).collect()
    }

    /// Whether this slot is one of a closing.
    pub(super) fn is_of_a_closing(&self, slot: u16) -> bool {
        let has_it = |key: &Key| self.kept.slots_of(std::slice::from_ref(key)).contains(&slot);
        self.closings.keys.keys().any(has_it)
    }

    /// Whether the exemption in this slot is closed by an order that is not on the disk, or may be.
    pub(super) fn is_closed_by_order(&self, slot: u16) -> bool {
        self.closings.undecided.contains(&slot)
            || self.is_of_a_closing(slot)
            || self.closings.means(slot, &self.kept)
    }

    /// What an exemption is that an order closed which is not on the disk.
    pub(super) fn closed_as(&self, key: &Key) -> Option<State> {
        let slots = self.kept.slots_of(std::slice::from_ref(key));
        let is_closed =
            self.closings.keys.contains_key(key) || slots.iter().any(|it| self.is_closed_by_order(*it));
        is_closed.then(|| if self.changes.is_being_revoked(key) { State::Revoked } else { State::Stayed })
    }

    /// The orders that the disk refused, in words; `None` where there are none. Which they are is said where everybody may
    /// read it, of the first few.
    pub(super) fn unkept_orders(&self) -> Option<String> {
        const NAMED: usize = 3;
        let count = self.kept.unsaved_orders().count();
        let public = self.kept.unsaved_orders().filter(|it| self.kept.is_public(&it.covers));
        let named: Vec<String> = public.take(NAMED).map(ToString::to_string).collect();
        let (orders, are) = if count == 1 { ("order", "is") } else { ("orders", "are") };
        let which = match (named.len(), count - named.len()) {
            (0, _) => String::new(),
            (_, 0) => format!(" ({})", named.join("; ")),
            (_, more) => format!(" ({}; and {more} more)", named.join("; ")),
        };
        (count > 0).then(|| format!("{count} {orders}{which} {are}"))
    }

    /// What becomes of these by a restart.
    pub(super) fn after_a_restart(&self) -> String {
        let mark = match self.surroundings.get("mark") {
            Some(Surroundings::Mark(Some(fault))) => fault.clone(),
            _ => MarkFault::default(),
        };
        match (mark.file, mark.kernel, self.kept.is_usable()) {
            (None, _, _) => "A restart takes them from high-water.json (state.mark_directory)".to_owned(),
            (Some(_), None, true) => {
                "high-water.json can't have them either, and the kernel's mark says that it lacks them: a restart closes \
                 everything, as for an older store"
                    .to_owned()
            }
            (Some(_), _, _) => "Nothing else keeps them: A RESTART LOSES THEM".to_owned(),
        }
    }

    /// Why slots of what is closed here could not be marked.
    pub(super) fn hold_error(&self) -> Option<&str> {
        if self.closings.failed.is_empty() {
            return None;
        }
        let wanted = self.slots_to_mark();
        let failed = self.closings.failed.iter().find(|(slot, _)| wanted.contains(slot));
        failed.map(|(_, (why, _))| why.as_str())
    }

    fn slots_to_mark(&self) -> BTreeSet<u16> {
        let closed: Vec<Key> = self.closed_here().into_iter().collect();
        let mut slots: BTreeSet<u16> = self.kept.slots_of(&closed).into_iter().collect();
        if !self.closings.orders.is_empty() {
            let is_meant = |slot: &u16| self.is_closed_by_order(*slot);
            slots.extend(self.kept.slots_in_use().into_iter().filter(is_meant));
        }
        slots.extend(&self.closings.undecided);
        slots
    }

    /// Has the kernel mark the slots that are to be marked, and then free others of theirs: an order is marked at
    /// every moment.
    pub(super) fn mark_where_needed(&mut self, now: Clocks) {
        // As it is nearly always.
        if self.closings.are_none() && self.kept.unsaved().is_empty() {
            return;
        }
        let wanted = self.slots_to_mark();
        let marked = |slot: &u16| self.closings.marks.get(slot) == Some(&true);
        let may_try = |slot: &u16| self.closings.may_try(*slot, now);
        let news: Vec<u16> = wanted.iter().copied().filter(|it| !marked(it) && may_try(it)).collect();
        let all = self.closings.marks.keys().copied();
        let stale: Vec<u16> = all.filter(|it| marked(it) && !wanted.contains(it) && may_try(it)).collect();
        for (slots, held) in [(news, true), (stale, false)] {
            if !slots.is_empty() {
                self.closings.marks.extend(slots.iter().map(|slot| (*slot, held)));
                self.ask_kernel(KernelJob::Hold { slots, held });
            }
        }
    }

    /// Takes over what the kernel holds closed from an earlier daemon, whose disk had not taken the order, as soon
    /// as the store can say what that is.
    pub(super) fn close_held(&mut self, now: Clocks) {
        if self.closings.undecided.is_empty() || !self.kept.is_usable() {
            return;
        }
        for slot in std::mem::take(&mut self.closings.undecided) {
            let Some(document) = self.kept.by_slot(slot) else {
                // It may be of one that can't be read now, and can be later.
                if !self.kept.problems().is_empty() {
                    self.closings.undecided.insert(slot);
                }
                continue;
            };
            let open = self.kept.open_version_of(document);
            let Some(key) = open.filter(|key| !self.closings.keys.contains_key(key)) else { continue };
            let id = key.0.clone();
            self.close_now(&[key], now);
            self.log(
                Level::Error,
                format!(
                    "an order that closes exemption {id} had been begun when the last daemon ended, and the disk had \
                     not taken it: it is in force since this start, and packets may have passed until then. Resume \
                     the exemption where the order is lifted"
                ),
            );
            let (target, change) = (Target::Id(id), Change::of_mark(now.wall));
            let number = self.changes.next_id();
            self.closings.order(number, target.clone());
            let job = StoreJob::Change { target, change, who: self.daemon.clone() };
            self.ask_store(Purpose::Change(ChangeId(number)), job);
        }
    }
}
