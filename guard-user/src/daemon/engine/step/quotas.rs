//! What exemptions have let through: read from the kernel, saved, and quotas kept ahead of it. Slots of what is
//! closed are settled and freed.

use guard_common::abi::ExemptionUse;
use jiff::Timestamp;

use crate::audit::Kind;
use crate::daemon::engine::periods::COMPARE;
use crate::daemon::engine::quotas::{Freeing, Wanted};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{KernelJob, Level, StoreJob};
use crate::exemption::record::Use;
use crate::exemption::{Clocks, State, Summary};
use crate::store::Key;

impl Engine {
    pub(super) fn read_uses_where_wanted(&mut self) {
        if self.clock_of_quotas_is_due() {
            self.quotas.wanted.quotas = true;
        }
        if self.quotas.on_its_way.is_none() && self.quotas.wanted.anything() {
            self.quotas.on_its_way = Some(std::mem::take(&mut self.quotas.wanted));
            self.ask_kernel(KernelJob::ReadUses(self.kept.counted_in_slots()));
        }
    }

    fn clock_of_quotas_is_due(&self) -> bool {
        self.quotas.next_look(&self.kept).is_some_and(|at| self.now.boot_ns >= at)
    }

    pub(super) fn uses_read(&mut self, uses: Result<Vec<ExemptionUse>, String>, now: Clocks) {
        let purpose = self.quotas.on_its_way.take().unwrap_or_default();
        self.quotas.looked_ns = now.boot_ns;
        match uses {
            Ok(uses) => {
                let used = |slot: u16| {
                    let used = uses.get(usize::from(slot))?;
                    Some((slot, Use { bytes: used.bytes, packets: used.packets }))
                };
                self.quotas.counts = self.kept.slots_in_use().into_iter().filter_map(used).collect();
                self.quotas.unreadable = None;
            }
            Err(error) => {
                if self.quotas.unreadable.as_ref() != Some(&error) {
                    let line = format!("what the exemptions have used can't be read: {error}");
                    self.log(Level::Warn, line);
                }
                self.quotas.unreadable = Some(error);
            }
        }
        let readable = self.quotas.unreadable.is_none();
        if purpose.answers {
            self.answer_changes(now);
            self.answer_loads(now);
            self.answer_reads(now);
        }
        if readable {
            self.tend(purpose, now);
        }
        if readable && purpose.compare && self.kept.is_usable() && !self.ending.has_begun() {
            self.quotas.compare_ns = now.boot_ns + COMPARE;
            let (counts, who) = (self.quotas.counts.clone(), self.daemon.clone());
            self.ask_store(Purpose::Compare, StoreJob::Compare { counts, who });
        }
        if purpose.free && self.quotas.freeing == Freeing::Reading {
            self.quotas.freeing = Freeing::Idle;
            if readable {
                self.save_uses_of_closed();
            }
        }
        self.uses_for_end(readable);
    }

    /// Has the store save what changed, extend quotas and close what is over.
    fn tend(&mut self, purpose: Wanted, now: Clocks) {
        if self.kept.is_usable() {
            let ended = std::mem::take(&mut self.quotas.ended_slots);
            let ends = ended.iter().filter_map(|slot| Some(self.kept.by_slot(*slot)?.ends()));
            self.quotas.ended_by = self.quotas.ended_by.max(ends.max());
        }
        // What the disk has not yet would open again at the next start.
        let is_closed = |by: &Timestamp| self.kept.is_over(*by).is_empty() && self.kept.unsaved().is_empty();
        self.quotas.ended_by.take_if(|by| self.kept.is_usable() && is_closed(by));
        let over_by = self.over_by(now);
        let grant = self.kept.is_grant_due(&self.quotas.counts);
        let due = purpose.tend
            && (self.quotas.counts != self.quotas.saved
                || !self.kept.is_over(over_by).is_empty()
                || self.kept.is_ahead()
                // Where nothing is left to save, nothing else would say that the disk takes it again.
                || !self.quotas.refused.is_empty());
        if !(grant || due) || self.quotas.tending || self.ending.has_begun() {
            return;
        }
        self.quotas.tending = true;
        self.quotas.saved.clone_from(&self.quotas.counts);
        let (counts, who) = (self.quotas.counts.clone(), self.daemon.clone());
        self.ask_store(Purpose::Tend, StoreJob::Tend { counts, who, over_by });
    }

    pub(super) fn tended(&mut self, closed: Vec<(Key, Kind)>, refused: Vec<String>, now: Clocks) {
        self.quotas.tending = false;
        let exhausted = closed.iter().filter(|(_, kind)| *kind == Kind::Exhaust);
        let exhausted: Vec<Key> = exhausted.map(|(key, _)| key.clone()).collect();
        self.cut_and_wait(&exhausted, now);
        for ((id, _), kind) in closed {
            let word = if kind == Kind::Expire { "expired" } else { "exhausted" };
            self.log(Level::Info, format!("exemption {id} is {word}"));
        }
        if !refused.is_empty() {
            // It is tried again with the next look.
            self.quotas.saved.clear();
        }
        let before = std::mem::replace(&mut self.quotas.refused, refused.clone());
        for error in refused.into_iter().filter(|error| !before.contains(error)) {
            self.log(Level::Error, error);
        }
    }

    /// Saves and resets the use of exemptions that no generation has any more.
    pub(super) fn free_slots(&mut self) {
        // What the kernel has counted for a store that can't be read is saved when it can.
        if self.quotas.freeing != Freeing::Idle || self.ending.has_begun() || !self.kept.is_usable() {
            return;
        }
        let slots = self.kept.slots_to_reset();
        if slots.is_empty() || !self.publishing.is_without(&slots) {
            return;
        }
        // A change that the disk has not taken may still be told by these counts.
        if slots.iter().any(|slot| self.is_of_a_closing(*slot)) {
            return;
        }
        self.quotas.freeing = Freeing::Reading;
        self.quotas.wanted.free = true;
        self.read_uses_where_wanted();
    }

    fn save_uses_of_closed(&mut self) {
        let slots = self.kept.slots_to_reset();
        if slots.is_empty() || !self.publishing.is_without(&slots) {
            return;
        }
        self.quotas.freeing = Freeing::Saving(slots);
        self.ask_store(Purpose::SaveUses, StoreJob::SaveUses(self.quotas.counts.clone()));
    }

    pub(super) fn uses_saved(&mut self, result: Result<(), String>) {
        let Freeing::Saving(slots) = std::mem::take(&mut self.quotas.freeing) else { return };
        match result {
            Ok(()) => {
                self.quotas.freeing = Freeing::Resetting;
                self.ask_kernel(KernelJob::ResetUses(slots));
            }
            Err(error) => self.slots_stay(&error),
        }
    }

    pub(super) fn uses_reset(&mut self, slots: Vec<u16>, result: Result<(), String>) {
        if self.uses_reset_for_end() {
            return;
        }
        match result {
            Ok(()) => {
                self.quotas.freeing = Freeing::Settling;
                self.ask_store(Purpose::SlotsReset, StoreJob::SlotsReset(slots));
            }
            Err(error) => {
                self.quotas.freeing = Freeing::Idle;
                self.slots_stay(&error);
            }
        }
    }

    pub(super) fn slots_are_free(&mut self, result: Result<(), String>) {
        self.quotas.freeing = Freeing::Idle;
        if let Err(error) = result {
            self.slots_stay(&error);
        }
    }

    fn slots_stay(&mut self, error: &str) {
        self.log(Level::Warn, format!("the places of closed exemptions stay taken: {error}"));
    }

    /// What an answer says of exemptions, with the kernel's counts of the last look.
    pub(super) fn summaries(&self, keys: &[Key], now: Clocks) -> Vec<Summary> {
        if keys.is_empty() {
            return Vec::new();
        }
        let all = self.all_summaries(now);
        all.into_iter().filter(|it| keys.contains(&(it.id.clone(), it.version))).collect()
    }

    /// Every exemption, with the kernel's counts of the last look.
    pub(in crate::daemon::engine) fn all_summaries(&self, now: Clocks) -> Vec<Summary> {
        let mut all = self.kept.list_with(&self.quotas.counts, now.wall);
        // What is closed is never shown as open because the disk has not taken that yet.
        let is_open = |it: &Summary| matches!(it.state, State::Active | State::NotYetValid);
        for it in all.iter_mut().filter(|it| is_open(it)) {
            if let Some(state) = self.closed_as(&(it.id.clone(), it.version)) {
                it.state = state;
            }
        }
        all
    }

    pub(super) fn counts(&self) -> Option<Vec<(u16, Use)>> {
        self.quotas.unreadable.is_none().then(|| self.quotas.counts.clone())
    }
}
