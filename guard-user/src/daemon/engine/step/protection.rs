//! Has others kept from what is the guard's in the kernel where the config says so, and tells who was refused.

use serde_json::json;

use crate::audit::Kind;
use crate::control::status::ProtectStatus;
use crate::daemon::engine::protection::Told;
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tries::Try;
use crate::daemon::engine::{KernelJob, Level};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::kernel::ObservedProtection;
use crate::text::escaped;

impl Engine {
    pub(super) fn protection_seen(&mut self, seen: &ObservedProtection, now: Clocks) {
        let before = self.protection.is_on.replace(seen.is_on);
        self.protection.blind.clone_from(&seen.blind);
        if seen.is_on == self.config.policy.protect.lsm {
            self.protection.tried = None;
        }
        match (before.unwrap_or(false), seen.is_on) {
            (false, true) => self.log(
                Level::Info,
                "others are kept from the guard's maps, links and entries from now on".to_owned(),
            ),
            (true, false) => self.log(
                Level::Info,
                "others are kept no more from the guard's maps, links and entries".to_owned(),
            ),
            _ => {}
        }
        self.protection.add(&seen.refused, now);
        self.record_refused(|told| told.record_is_due(now), now);
    }

    /// Logs and records who was refused and is in no record, where one is due.
    fn record_refused(&mut self, is_due: impl Fn(&Told) -> bool, now: Clocks) {
        let due = self.protection.told.iter_mut().filter(|(_, told)| is_due(told));
        let records: Vec<_> = due
            .map(|((attempt, command), told)| {
                let detail = json!({
                    "attempt": attempt.name(),
                    "number": told.last.number,
                    "pid": told.last.process,
                    "uid": told.last.user,
                    "found": told.found.wall.to_string(),
                    "times": told.unrecorded,
                });
                (told.recorded_ns, told.unrecorded) = (Some(now.boot_ns), 0);
                (command.clone(), told.words(), detail)
            })
            .collect();
        for (command, words, detail) in records {
            self.log(Level::Error, format!("{}: {words}", escaped(&command)));
            self.record_of(Kind::ChangeDenied, &command, "", detail);
        }
    }

    /// Somebody has asked for a reload, and knows of who was refused by then.
    pub(super) fn forget_refused(&mut self) {
        self.record_refused(|told| told.unrecorded > 0, self.now);
        self.protection.told.clear();
    }

    /// Asks for what is missing, unless it is on its way or failed just now.
    pub(super) fn mend_protection(&mut self, now: Clocks) {
        let wanted = self.config.policy.protect.lsm;
        if self.publishing.generation() == 0
            || self.config.is_to_come()
            || self.protection.is_being_set
            || self.protection.is_on.is_none_or(|is_on| is_on == wanted)
            || self.protection.tried.as_ref().is_some_and(|tried| tried.is_just_now(now))
        {
            return;
        }
        self.protection.is_being_set = true;
        self.ask_kernel(KernelJob::Protect(wanted));
    }

    pub(super) fn protection_set(&mut self, result: Result<(), String>, now: Clocks) {
        self.protection.is_being_set = false;
        self.protection.tried = Some(Try::after(self.protection.tried.as_ref(), result, now));
        self.interfaces.look();
    }

    pub(super) fn problems_of_protection(&self) -> Vec<Problem> {
        let protection = &self.protection;
        let not_on = protection.not_on(&self.config.policy);
        let unavailable = not_on.iter().chain(&protection.blind);
        let unavailable = unavailable.map(|why| Problem::new(ProblemCode::ProtectUnavailable, why));
        let refused = protection
            .told
            .iter()
            .map(|((_, command), told)| Problem::of(ProblemCode::ChangeDenied, command, told.words()));
        unavailable.chain(refused).collect()
    }

    pub(super) fn protect_status(&self) -> ProtectStatus {
        ProtectStatus {
            lsm: self.config.policy.protect.lsm,
            on: self.protection.is_on == Some(true),
            not_on: self.protection.not_on(&self.config.policy),
            denied: self.protection.times,
        }
    }
}
