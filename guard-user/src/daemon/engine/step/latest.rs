//! Keeping the latest time that is known, and telling where the wall clock is behind it.

use jiff::Timestamp;
use serde_json::json;

use crate::audit::Kind;
use crate::daemon::engine::latest::WasSet;
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::{KernelJob, Level};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::store::KnownSpent;

impl Engine {
    /// Takes up what audit trail and marks know. Where the wall clock is behind it, what had ended by then is closed for good.
    pub(super) fn learn_latest(&mut self, before: Option<Timestamp>, now: Clocks) {
        if !self.latest.learn(before, now) {
            return;
        }
        self.quotas.ended_by = self.quotas.ended_by.max(before);
        self.quotas.look_now();
        if let Some(was) = self.latest.behind(now) {
            let line = format!(
                "the wall clock is behind: it is {:.0}, and {was:.0} was before this start. What had ended by then stays ended",
                now.wall
            );
            self.log(Level::Warn, line);
            let by_ms = i64::try_from(now.wall.duration_since(was).as_millis()).unwrap_or(i64::MIN);
            let detail = json!({"by_ms": by_ms, "from": was.to_string(), "to": now.wall.to_string(), "at_start": true});
            self.record_of(Kind::ClockSet, "", "", detail);
            // What is in the kernel already ends by the time that is known now.
            self.clock_count += 1;
        }
    }

    /// Raises the latest time, and has the kernel keep by which one is judged: a daemon that starts again knows it then, also
    /// where no disk took anything.
    pub(super) fn keep_latest(&mut self, now: Clocks) {
        if self.latest.raise(now) {
            self.clock_count += 1;
        }
        self.ask_kernel(KernelJob::NoteTime(Clocks { wall: self.over_by(now), ..now }));
    }

    /// By when a window is over: by the wall clock, by the latest time that is known, and by what was told as ended.
    pub(super) fn over_by(&self, now: Clocks) -> Timestamp {
        let known = now.wall.max(self.latest.at_least(now));
        self.quotas.ended_by.map_or(known, |by| by.max(known))
    }

    pub(super) fn time_noted(&mut self, result: Result<(), String>) {
        if let Err(error) = &result
            && self.latest.unkept.as_ref() != Some(error)
        {
            self.log(Level::Error, format!("the kernel can't keep the time: {error}"));
        }
        self.latest.unkept = result.err();
    }

    /// What signs nothing any more, by the latest time that is known.
    pub(in crate::daemon::engine) fn spent_signatures(&self) -> KnownSpent {
        let mut spent = self.kept.spent_signatures()?;
        spent.latest = spent.latest.max(Some(self.latest.at_least(self.now)));
        Ok(spent)
    }

    /// Looks for windows that began by a clock that was set forward, and forgets that it was once it is steady and there are none.
    pub(super) fn settle_clock(&mut self, now: Clocks) {
        let Some(without_it) = self.latest.was_set.without_it(now) else { return };
        // What had begun by the latest time that is known needs no clock that was set.
        let known = without_it.max(self.latest.at_least(now));
        let began = |from: Timestamp| from > known && from <= now.wall;
        let open = self.open_exemptions(&self.config.policy.pin_names(), now);
        let opened = open.iter().filter_map(|it| self.kept.by_slot(it.slot)).find(|it| began(it.valid_from));
        if let Some(id) = opened.map(|it| it.id.clone()) {
            return self.latest.was_set.has_opened(&id);
        }
        if self.latest.was_set.settle(now) {
            let line = "the wall clock goes on as it was set, and no window began by that: told no more";
            self.log(Level::Info, line.to_owned());
        }
    }

    /// Somebody has asked for a reload, and knows by what the wall clock was set until then.
    pub(super) fn forget_clock(&mut self) {
        self.latest.was_set = WasSet::default();
    }

    /// What is wrong with the wall clock.
    pub(super) fn problems_of_clock(&self, now: Clocks) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.publishing.live().is_some_and(|live| live.clock != self.clock_count) {
            let message =
                "the wall clock was set, and the kernel has the windows of exemptions by the old time";
            problems.push(Problem::new(ProblemCode::ClockSet, message));
        }
        if let Some(was) = self.latest.behind(now) {
            let message = format!(
                "the wall clock is behind: it is {:.0}, and before this start it was {was:.0} already. Windows and keys that had \
                 ended by then stay ended",
                now.wall
            );
            problems.push(Problem::new(ProblemCode::ClockSet, message));
        }
        problems.extend(self.latest.was_set.told().map(|told| Problem::new(ProblemCode::ClockSet, told)));
        if let Some(why) = &self.latest.unkept {
            let message = format!("the kernel's mark can't have the time: {why}");
            problems.push(Problem::new(ProblemCode::MarkUnwritable, message));
        }
        problems
    }
}
