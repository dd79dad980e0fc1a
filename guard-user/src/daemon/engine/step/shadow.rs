//! A shadow: its candidate is read, its tables follow the exemptions that are open, and its end is told.

use crate::control::protocol::{ErrorKind, Response, ShadowReport, ShadowWanted};
use crate::control::shadow::{ShadowAmount, ShadowDatabase};
use crate::daemon::engine::input::{ShadowPrepared, ShadowSight};
use crate::daemon::engine::shadow::{
    Candidate, FIRST_GENERATION, Sent, ShadowRun, added, contents, fault, not_noted, not_open,
    same_failsafes, tells_who_sends,
};
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tracing::{Kind, Run, Task};
use crate::daemon::engine::{Action, Asker, KernelJob, Level, LoadFailure, ShadowEnd, ShadowLoad, Ticket};
use crate::events::names::Names;
use crate::exemption::Clocks;
use crate::geo::Info;
use crate::kernel::{ShadowSeen, ShadowStep, ShadowTables};

use super::tracing::Turn;

impl Engine {
    pub(super) fn shadow(
        &mut self,
        ticket: Ticket,
        id: String,
        begin: Option<Box<ShadowWanted>>,
        asker: &Asker,
        now: Clocks,
    ) {
        match (self.turn(ticket, (Kind::Shadow, &id), begin.is_some(), now.boot_ns), begin) {
            (Turn::GoesOn(run), _) => {
                self.tracing.run = Some(run);
                self.ask_for_shadowed(ticket, now);
            }
            (Turn::Begins, Some(wanted)) => {
                if let Some(fault) = fault(&id, &wanted) {
                    return self.answer(ticket, Response::error(ErrorKind::BadInput, fault));
                }
                let run = ShadowRun::new(&wanted, asker.sees_people, self.publishing.generation());
                let run = Run::new(id.clone(), asker.who.clone(), Task::Shadow(Box::new(run)), now.boot_ns);
                let name = wanted.name.display();
                self.log(Level::Info, format!("{} has live packets judged by {name} too", run.by()));
                self.tracing.run = Some(run);
                // What can't be read may be told with a part of it.
                let may_read = (asker.who.uid != 0).then(|| self.config.policy.geo.files.clone());
                let load = ShadowLoad { wanted: *wanted, may_read };
                self.actions.push(Action::LoadShadow(id, Box::new(load)));
                self.answer(ticket, Response::Shadow { is_on: false, report: None });
            }
            (Turn::Begins | Turn::Answered, _) => {}
        }
    }

    fn shadow_run(&mut self) -> Option<&mut ShadowRun> {
        match &mut self.tracing.run {
            Some(Run { task: Task::Shadow(shadow), .. }) => Some(shadow),
            _ => None,
        }
    }

    pub(super) fn shadow_loaded(&mut self, id: &str, result: Result<Box<ShadowPrepared>, LoadFailure>) {
        // That of one that has been ended meanwhile.
        if self.tracing.run.as_ref().is_none_or(|run| run.id != id) {
            return;
        }
        let Some(run) = self.shadow_run() else { return };
        let without = std::mem::take(&mut run.without);
        let refused = not_open(&without, &self.kept);
        let in_force = self.config.policy.clone();
        let Some(run) = self.shadow_run() else { return };
        run.without = without;
        let sees_people = run.sees_people;
        let tells = |prepared: &ShadowPrepared| tells_who_sends(&prepared.policy, &in_force);
        let result = result.and_then(|prepared| match tells(&prepared).filter(|_| !sees_people) {
            Some(failure) => Err(failure),
            None => Ok(prepared),
        });
        run.candidate = match (result, refused) {
            (Ok(prepared), None) => Candidate::Ready(prepared),
            (Err(failure), _) | (Ok(_), Some(failure)) => Candidate::Failed(failure),
        };
    }

    /// Asks the kernel how far it is, for the request of this number.
    fn ask_for_shadowed(&mut self, ticket: Ticket, now: Clocks) {
        let is_over = self.tracing.run.as_ref().is_some_and(|run| now.boot_ns >= run.until);
        let is_on = self.tracing.run.as_ref().is_some_and(|run| run.is_on);
        let Some(run) = self.shadow_run() else { return };
        match &run.candidate {
            Candidate::Loading if !is_over => {
                return self.answer(ticket, Response::Shadow { is_on: false, report: None });
            }
            Candidate::Failed(failure) => {
                let response = Response::error(failure.kind, failure.message.clone());
                self.answer(ticket, response);
                // Nothing was loaded yet.
                self.tracing.run = None;
                return;
            }
            _ => {}
        }
        if is_over && !is_on {
            let why = "the kernel has not taken the programs in time";
            return self.fail_shadow(Some(ticket), why);
        }
        match self.shadow_step(is_over, now) {
            Ok(step) => {
                if let Some(run) = &mut self.tracing.run {
                    run.asked = Some(ticket);
                }
                if let Some(run) = self.shadow_run() {
                    run.is_ending = is_over;
                }
                self.ask_for_shadow_step(step);
            }
            Err(failure) => {
                self.answer(ticket, Response::error(failure.kind, format!("no shadow: {}", failure.message)));
                self.tracing.run = None;
                self.put_back();
            }
        }
    }

    fn fail_shadow(&mut self, ticket: Option<Ticket>, why: &str) {
        self.tracing.run = None;
        self.fail_tracing(Kind::Shadow, ticket, why);
    }

    fn ask_for_shadow_step(&mut self, step: ShadowStep) {
        let paths = self.shadow_run().and_then(|run| run.prepared()).map(|prepared| {
            let pins = prepared.policy.pins.iter();
            pins.flat_map(|pin| pin.select.cgroups.clone()).collect()
        });
        self.ask_kernel(KernelJob::Shadow(Box::new(step), paths.unwrap_or_default()));
    }

    /// What the kernel is to do next for the shadow that runs.
    fn shadow_step(&mut self, is_last: bool, now: Clocks) -> Result<ShadowStep, LoadFailure> {
        let failed = |message: String| LoadFailure { kind: ErrorKind::Failed, message };
        let gone = || failed("it is over".to_owned());
        let Some(Run { task: Task::Shadow(shadow), lease, until, is_on, .. }) = &self.tracing.run else {
            return Err(gone());
        };
        let prepared = shadow.prepared().ok_or_else(gone)?;
        let policy = &prepared.policy;
        let facts = self.facts_of(policy, &prepared.cgroups);
        let facts = facts.ok_or_else(|| failed("the host was not looked at yet".to_owned()))?;
        let open = self.open_exemptions(&policy.pin_names(), now);
        let wanted =
            contents(open, (&self.kept, &shadow.without), prepared, facts, (&now, self.clock_count))?;
        let mut step = ShadowStep { deadline_ns: (*lease).min(*until), is_last, ..ShadowStep::default() };
        let own = |id: &String| prepared.documents.iter().any(|document| document.id == *id);
        let is_new = |(slot, id): &(&u16, &String)| {
            let before = shadow.sent.as_ref().and_then(|sent| sent.ids.get(*slot));
            // Before they are on, no packet was charged.
            !*is_on || before != Some(*id)
        };
        let (cleared, copied): (Vec<_>, Vec<_>) =
            wanted.ids.iter().filter(is_new).partition(|(_, id)| own(id));
        step.copied = copied.into_iter().map(|(slot, _)| *slot).collect();
        step.cleared = cleared.into_iter().map(|(slot, _)| *slot).collect();
        let is_changed = shadow.sent.as_ref().is_none_or(|sent| !sent.basis.judges_like(&wanted.basis));
        if is_changed && !is_last {
            let compiled = wanted.basis.compile(policy, FIRST_GENERATION + shadow.tables);
            let table = compiled
                .map_err(|error| LoadFailure { kind: ErrorKind::BadInput, message: error.to_string() })?;
            match shadow.sent {
                // Those that are on their way to the verifier have the first ones.
                Some(_) if !is_on => return Ok(self.first_failsafes(step)),
                Some(_) => step.policy = Some(table.0),
                None => {
                    let geo = prepared.geo.0.clone();
                    step.begin = Some(ShadowTables { policy: table.0.into(), geo });
                }
            }
            self.shadow_is_sent(wanted);
        }
        Ok(self.first_failsafes(step))
    }

    fn first_failsafes(&self, mut step: ShadowStep) -> ShadowStep {
        if let Some(Run { task: Task::Shadow(shadow), is_on: false, .. }) = &self.tracing.run
            && let Some(prepared) = shadow.prepared()
        {
            step.failsafe = same_failsafes(&self.config.policy, &prepared.policy);
        }
        step
    }

    fn shadow_is_sent(&mut self, sent: Sent) {
        if let Some(run) = self.shadow_run() {
            run.sent = Some(sent);
            run.tables += 1;
        }
    }

    /// Another generation is live: the candidate's tables follow the exemptions that are open now.
    pub(super) fn shadow_follows(&mut self, now: Clocks) {
        let is_on = self.tracing.run.as_ref().is_some_and(|run| run.is_on && run.kind() == Kind::Shadow);
        let is_ending = self.shadow_run().is_none_or(|run| run.is_ending);
        if !is_on || is_ending {
            return;
        }
        match self.shadow_step(false, now) {
            Ok(step) if step.policy.is_some() => self.ask_for_shadow_step(step),
            Ok(_) => {}
            Err(failure) => {
                let ticket = self.tracing.run.as_mut().and_then(|run| run.asked.take());
                self.fail_shadow(ticket, &failure.message);
            }
        }
    }

    /// The kernel was looked at for a shadow.
    pub(super) fn shadowed(&mut self, sight: Result<Box<ShadowSight>, String>, now: Clocks) {
        // That of one that has been ended meanwhile.
        let Some(run) = self.tracing.run.as_mut().filter(|run| run.kind() == Kind::Shadow) else { return };
        let ShadowSight { seen, is_last, cgroups } = match sight {
            Ok(sight) => *sight,
            Err(error) => {
                let ticket = run.asked.take();
                return self.fail_shadow(ticket, &error);
            }
        };
        if seen.is_on && !run.is_on {
            run.is_on_since(now.boot_ns);
        }
        let Task::Shadow(shadow) = &mut run.task else { return };
        if let Candidate::Ready(prepared) = &mut shadow.candidate {
            prepared.cgroups = cgroups;
        }
        // What a table that follows has brought is not the end that somebody waits for.
        if shadow.is_ending && !is_last {
            return;
        }
        let Some(ticket) = run.asked.take() else { return };
        if !is_last {
            return self.answer(ticket, Response::Shadow { is_on: seen.is_on, report: None });
        }
        if let Some(end) = self.end_of_shadow(seen) {
            self.actions.push(Action::TellShadow(ticket, Box::new(end)));
        }
        self.tracing.run = None;
        self.put_back();
    }

    /// What is to be told of a shadow that is over.
    fn end_of_shadow(&self, seen: ShadowSeen) -> Option<ShadowEnd> {
        let Some(Run { task: Task::Shadow(shadow), .. }) = &self.tracing.run else { return None };
        let prepared = shadow.prepared()?;
        let mut then = Names::of(&prepared.policy, "", 0);
        let ids = shadow.sent.iter().flat_map(|sent| &sent.ids);
        then.exemptions = ids.map(|(slot, id)| (*slot, id.as_str().into())).collect();
        let live = self.publishing.live().map_or(0, |basis| {
            let ids = basis.exemptions.iter().filter_map(|it| self.kept.by_slot(it.slot));
            ids.map(|document| &document.id).collect::<std::collections::BTreeSet<_>>().len()
        });
        let report = ShadowReport {
            generations: [shadow.first, self.publishing.generation()],
            policy: None,
            databases: [database(&self.config.database), database(&prepared.database)],
            open: live,
            added: added(&prepared.documents, &self.kept),
            observes: prepared.observes,
            not_noted: not_noted(&self.config.policy, &prepared.policy),
            same: ShadowAmount::default(),
            differences: Vec::new(),
            lost: ShadowAmount::default(),
            flows: Vec::new(),
            capacity: 0,
        };
        Some(ShadowEnd { seen, then, sees_people: shadow.sees_people, report })
    }
}

fn database(info: &Info) -> ShadowDatabase {
    ShadowDatabase {
        source: info.source.clone(),
        generated: info.generated.map(|date| date.strftime("%Y-%m-%d").to_string()),
    }
}
