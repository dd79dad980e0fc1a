//! Closing the sockets of flows that an exemption carries no longer.

use crate::daemon::engine::state::Engine;
use crate::daemon::engine::{Action, Cut};
use crate::exemption::Clocks;
use crate::store::Key;

impl Engine {
    /// The flows that these exemptions carry.
    pub(super) fn cut_of(&self, id: u64, keys: &[Key], count_only: bool, now: Clocks) -> Cut {
        let accounts = self.kept.accounts_of(keys);
        let document = |slot: &u16| self.kept.by_slot(*slot).cloned();
        let since = |slot: &u16| {
            let document = self.kept.by_slot(*slot)?;
            let key = (document.id.clone(), document.version);
            let record = self.kept.record(&key)?;
            // A flow that was carried by a version that is closed is whose turn it is now.
            let counts = record.is_active() || keys.contains(&key);
            counts.then(|| (*slot, now.boot_time_of(record.loaded_at)))
        };
        Cut {
            id,
            count_only,
            owned: self.kept.slots_in_use().iter().filter_map(since).collect(),
            documents: accounts.iter().filter_map(document).collect(),
            pins: self.config.pins(),
            slots: self.kept.slots_of(keys),
            accounts,
        }
    }
}

impl Engine {
    /// Closes the sockets of what is over, before a generation without it goes live. Whether there was any.
    pub(super) fn cut_what_is_over(&mut self, now: Clocks) -> bool {
        let over = self.kept.is_over(now.wall.max(self.latest.at_least(now)));
        let news: Vec<Key> = over.iter().filter(|key| !self.cut_over.contains(*key)).cloned().collect();
        self.cut_over = over.into_iter().collect();
        self.cut_and_wait(&news, now)
    }

    /// Closes the sockets of these, and has the next generation wait for it a little.
    pub(super) fn cut_and_wait(&mut self, keys: &[Key], now: Clocks) -> bool {
        if self.kept.accounts_of(keys).is_empty() {
            return false;
        }
        let id = self.changes.wait_for_cut(now);
        let cut = self.cut_of(id, keys, false, now);
        self.actions.push(Action::CloseSockets(Box::new(cut)));
        true
    }
}
