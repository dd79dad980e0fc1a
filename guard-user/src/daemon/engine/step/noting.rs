//! Brings the hooks that note who makes and who uses sockets to where the config wants them, and has sockets named that
//! were open before.

use crate::daemon::engine::input::NotingFacts;
use crate::daemon::engine::noting::wants_senders;
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tries::Try;
use crate::daemon::engine::{Action, KernelJob, Level};
use crate::exemption::Clocks;
use crate::kernel::Observed;

impl Engine {
    pub(super) fn noting_seen(&mut self, facts: NotingFacts, observed: &Observed) {
        let was_attached = self.noting.is_attached();
        let is_same = self.noting.facts.as_ref().is_some_and(|it| it.cgroup == facts.cgroup);
        self.noting.facts = Some(facts);
        // Where it can't be looked at, what was seen last is what is known.
        if let Some(sockets) = &observed.sockets {
            self.noting.observed = Some(sockets.clone());
        }
        self.noting.senders = observed.senders;
        let is_attached = self.noting.is_attached();
        if was_attached && is_same && !is_attached && self.config.policy.sockets.note {
            let subject = self.noting_subject();
            self.log(
                Level::Error,
                format!("{subject}: something has taken hooks of Border Guard off, which note who uses sockets; they are attached again"),
            );
        }
        if self.noting.difference(&self.config.policy).is_none() {
            self.noting.tried = None;
        }
        self.name_open_sockets();
    }

    /// The cgroup, for problems and records.
    pub(super) fn noting_subject(&self) -> String {
        format!("cgroup /{}", self.config.policy.sockets.cgroup)
    }

    /// The id of the cgroup at which sockets should be noted.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn noting_cgroup(&self) -> Option<u64> {
        self.config.policy.sockets.note.then(|| self.noting.target()).flatten().map(|target| target.id)
    }

    /// Whether who sends should be noted.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn notes_senders(&self) -> bool {
        self.config.policy.sockets.note && wants_senders(&self.config.policy)
    }

    /// Asks for what is missing, unless it is on its way or failed just now.
    pub(super) fn mend_noting(&mut self, now: Clocks) {
        // As for interfaces: what an earlier daemon left goes on until the first config is live.
        if self.publishing.generation() == 0 || self.config.is_to_come() || self.noting.is_being_set {
            return;
        }
        let policy = &self.config.policy;
        if self.noting.difference(policy).is_none() {
            return;
        }
        // What was seen must be of the cgroup that this policy names. After a reload a look is on its way.
        let is_seen = self
            .noting
            .facts
            .as_ref()
            .is_some_and(|facts| facts.asked == policy.sockets && facts.senders == wants_senders(policy));
        if !is_seen || self.noting.tried.as_ref().is_some_and(|tried| tried.is_just_now(now)) {
            return;
        }
        let target = policy.sockets.note.then(|| self.noting.target());
        // Where there is no such cgroup nothing can be done about it.
        if target != Some(None) {
            self.noting.is_being_set = true;
            self.ask_kernel(KernelJob::NoteSockets(target.flatten()));
        }
    }

    pub(super) fn noting_set(&mut self, result: Result<(), String>, now: Clocks) {
        self.noting.is_being_set = false;
        self.noting.tried = Some(Try::after(self.noting.tried.as_ref(), result, now));
        self.interfaces.look();
    }

    /// Has sockets named that were open before the hooks were attached, once for each time that they are.
    fn name_open_sockets(&mut self) {
        if !self.config.policy.sockets.note || !self.noting.is_attached() {
            return;
        }
        let links: Vec<u32> = self.noting.in_place().map(|attachment| attachment.link).collect();
        let Some(target) = self.noting.target().filter(|_| self.noting.named_at.as_ref() != Some(&links))
        else {
            return;
        };
        self.noting.named_at = Some(links);
        self.actions.push(Action::NameSockets(target.cgroup));
    }
}
