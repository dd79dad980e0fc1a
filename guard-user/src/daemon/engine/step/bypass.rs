//! Brings the hook that refuses ways past the guard to where the config wants it. It is taken off by one thing alone: a
//! config that was read and does not want it there.

use serde_json::json;

use crate::audit::Kind;
use crate::daemon::engine::bypass::Loss;
use crate::daemon::engine::interfaces::Lost;
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tries::Try;
use crate::daemon::engine::{BypassFacts, KernelJob, Level};
use crate::exemption::Clocks;
use crate::kernel::ObservedBypass;

impl Engine {
    pub(super) fn bypass_seen(&mut self, facts: BypassFacts, observed: Option<ObservedBypass>, now: Clocks) {
        let before = self.bypass.in_place().map(|attachment| (attachment.link, attachment.is_current));
        let cgroup = |facts: &BypassFacts| (facts.asked.cgroup.clone(), facts.cgroup);
        let was_at = self.bypass.facts.as_ref().map(cgroup);
        let is_at = cgroup(&facts);
        self.bypass.facts = Some(facts);
        let Some(observed) = observed else {
            // It can't be looked at: what was seen last is what is known.
            return;
        };
        let is_first = self.bypass.looked.is_none();
        // A link that is on no cgroup any more was an earlier daemon's.
        let was_attached = observed.attachments.iter().any(|attachment| attachment.cgroup == 0);
        self.bypass.observed = Some(observed);
        let after = self.bypass.in_place().map(|attachment| (attachment.link, attachment.is_current));
        let how = match (before, after) {
            (Some(_), None) => match was_at {
                // A config that names another one is no loss.
                Some((path, _)) if path != is_at.0 => None,
                Some((_, id)) if id != is_at.1 => Some(Loss::CgroupGone),
                _ => Some(Loss::TakenOff),
            },
            // The same link has another's program.
            (Some((was, true)), Some((is, false))) if was == is => Some(Loss::TakenOff),
            (None, None) if is_first && self.has_taken_over && was_attached => Some(Loss::TakenOff),
            (None, None) if is_first && self.bypass.was_refused => Some(Loss::NotThere),
            _ => None,
        };
        if let (Some(how), true) = (how, self.config.policy.refuses_bypass()) {
            self.note_lost_bypass(how, now);
        }
        let is_attached = after.is_some_and(|(_, is_current)| is_current);
        if let Some((_, lost)) = &mut self.bypass.lost {
            lost.is_back |= is_attached;
        }
        self.bypass.looked = Some(now);
        if self.bypass.difference(&self.config.policy).is_none() {
            self.bypass.tried = None;
        }
        let link = self.bypass.in_place().map(|attachment| attachment.link);
        self.bypass.adopted.get_or_insert(link);
        self.announce_bypass();
    }

    fn note_lost_bypass(&mut self, how: Loss, now: Clocks) {
        let subject = self.bypass_subject();
        let seen = self.bypass.looked.map(|looked| looked.wall).or(self.guarded_until);
        let seen = seen.map(|seen| seen.to_string());
        self.log(Level::Error, format!("{subject}: {}", how.words()));
        self.record_of(
            Kind::Detach,
            &subject,
            how.recorded(),
            json!({"hook": "setsockopt", "last_seen": seen}),
        );
        self.bypass.lost = Some((how, Lost { between: (self.bypass.looked, now), is_back: false }));
        self.bypass.announced = None;
    }

    /// The cgroup, for problems and records.
    pub(super) fn bypass_subject(&self) -> String {
        format!("cgroup /{}", self.config.policy.bypass.cgroup)
    }

    /// The id of the cgroup at which they should be refused.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn bypass_cgroup(&self) -> Option<u64> {
        self.config.policy.refuses_bypass().then(|| self.bypass.target()).flatten().map(|target| target.id)
    }

    /// Asks for what is missing, unless it is on its way or failed just now.
    pub(super) fn mend_bypass(&mut self, now: Clocks) {
        // As for interfaces: what an earlier daemon left goes on until the first config is live.
        if self.publishing.generation() == 0 || self.config.is_to_come() || self.bypass.is_being_set {
            return;
        }
        if self.bypass.difference(&self.config.policy).is_none() {
            return;
        }
        // What was seen of cgroups must be of those that this policy names. After a reload a look is on its way.
        let is_seen =
            self.bypass.facts.as_ref().is_some_and(|facts| facts.asked == self.config.policy.bypass);
        if !is_seen || self.bypass.tried.as_ref().is_some_and(|tried| tried.is_just_now(now)) {
            return;
        }
        let target = self.config.policy.refuses_bypass().then(|| self.bypass.target());
        // Where there is no such cgroup nothing can be done about it.
        if target != Some(None) {
            self.bypass.is_being_set = true;
            self.ask_kernel(KernelJob::RefuseBypass(target.flatten()));
        }
    }

    pub(super) fn bypass_set(&mut self, is_on: bool, result: Result<(), String>, now: Clocks) {
        self.bypass.is_being_set = false;
        if !is_on && result.is_ok() {
            let subject = self.bypass.recorded.take().unwrap_or_else(|| self.bypass_subject());
            self.log(
                Level::Info,
                format!("{subject}: ways past the guard are refused no more, as the config says"),
            );
            self.record_of(Kind::Detach, &subject, "", json!({"hook": "setsockopt"}));
            self.bypass.announced = None;
            self.bypass.lost = None;
        }
        self.bypass.tried = Some(Try::after(self.bypass.tried.as_ref(), result, now));
        self.interfaces.look();
    }

    /// Logs and records where they are refused newly.
    fn announce_bypass(&mut self) {
        let attachment = self.bypass.in_place().filter(|attachment| attachment.is_current);
        let Some(link) = attachment.map(|attachment| attachment.link) else { return };
        if self.bypass.announced == Some(link) || !self.config.policy.refuses_bypass() {
            return;
        }
        let subject = self.bypass_subject();
        self.log(Level::Info, format!("{subject}: ways past the guard are refused, at setsockopt"));
        let is_taken_over = self.bypass.announced.is_none() && self.bypass.adopted == Some(Some(link));
        self.bypass.announced = Some(link);
        let moved_from = self.bypass.recorded.replace(subject.clone()).filter(|before| *before != subject);
        if let Some(before) = moved_from {
            let why = "the config names another cgroup";
            self.record_of(Kind::Detach, &before, why, json!({"hook": "setsockopt"}));
        }
        if !is_taken_over {
            self.record_of(Kind::Attach, &subject, "", json!({"hooks": ["setsockopt"]}));
        }
    }
}
