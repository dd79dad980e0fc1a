//! Closing the sockets of flows that an exemption carries no longer.

use guard_common::abi::MAX_PINS;

use crate::config::policy::{self, Pin};
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::{Action, Cut};
use crate::exemption::Clocks;
use crate::store::Key;

impl Engine {
    /// The flows that these exemptions carry and nothing else does.
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
        let (slots, policy) = (self.kept.slots_of(keys), &self.config.policy);
        let mut beside = self.open_exemptions(&policy.pin_names(), now);
        // What a dry run means is open meanwhile.
        beside.retain(|it| {
            let window = it.valid_from_ns..it.valid_until_ns;
            it.quota > 0 && window.contains(&now.boot_ns) && !slots.contains(&it.slot)
        });
        let is_lenient = |pin: &Pin| policy.host.observe || pin.action != policy::Action::Drop;
        let bits = policy.pins.iter().take(MAX_PINS).enumerate().filter(|(_, pin)| is_lenient(pin));
        let lenient = bits.fold(0_u64, |lenient, (at, _)| lenient | 1 << at);
        Cut {
            id,
            count_only,
            owned: self.kept.slots_in_use().iter().filter_map(since).collect(),
            documents: accounts.iter().filter_map(document).collect(),
            pins: self.config.pins(),
            permitted: policy.pins.iter().map(|pin| pin.permitted).collect(),
            lenient,
            slots,
            beside,
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
