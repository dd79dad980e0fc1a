//! Tells of what people have to do about exemptions, where the config names a program for it.

use crate::daemon::engine::Action;
use crate::daemon::engine::notices::{Notice, What};
use crate::daemon::engine::state::Engine;
use crate::exemption::Clocks;

impl Engine {
    /// Tells of what is due by now and was not told.
    pub(super) fn tell_of_exemptions(&mut self, now: Clocks) {
        if self.config.policy.record.notify.is_empty() || !self.kept.is_usable() {
            return;
        }
        let all = self.all_summaries(now);
        for notice in self.notices.new_of(&all, now.wall) {
            self.tell(notice);
        }
    }

    /// Tells that a document lacks approvals. It is told each time that somebody tries to load it.
    pub(super) fn tell_of_request(&mut self, exemption: String, version: u32) {
        self.tell(Notice { what: What::RequestWaits, exemption, version, by: None, duty: None });
    }

    fn tell(&mut self, notice: Notice) {
        let command = self.config.policy.record.notify.clone();
        if !command.is_empty() {
            self.actions.push(Action::Tell { command, notice: Box::new(notice) });
        }
    }
}
