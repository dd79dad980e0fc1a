//! Requests that only read, and the regular look at the counters.

use std::sync::Arc;

use crate::control::protocol::{ErrorKind, Request, Response};
use crate::daemon::engine::input::Sample;
use crate::daemon::engine::reads::{Ask, Asked, Want};
use crate::daemon::engine::state::{Engine, Purpose, Switch};
use crate::daemon::engine::{
    Action, Asker, DutyDone, Judged, Level, Query, ReadJob, SampleFor, StoreId, StoreJob, Ticket,
};
use crate::events::flows::QUIET_NS;
use crate::exemption::{Clocks, Summary};
use crate::store::PinCounts;
use crate::store::StandingOrder;

impl Engine {
    pub(super) fn read(&mut self, ticket: Ticket, request: Request, asker: Asker, now: Clocks) {
        let ask = match request {
            Request::Status {} => {
                // It is of this moment, and not of the last look.
                self.interfaces.look();
                Ask::Status
            }
            Request::ExemptionList {} => Ask::List,
            Request::ExemptionShow { id, version } => Ask::Store(Query::Show { id, version }),
            Request::ExemptionOrders {} if self.kept.is_usable() => {
                let orders = self.kept.orders().map(StandingOrder::summary).collect();
                return self.answer(ticket, Response::Orders { orders });
            }
            Request::ExemptionOrders {} => Ask::List,
            Request::ExemptionOpen {} => Ask::Store(Query::Open),
            Request::ExemptionReceipt { right_only: true, .. } => {
                // The connection has looked at the right.
                let message = "you may be given receipts".to_owned();
                return self.answer(ticket, Response::Planned { message, exemptions: Vec::new() });
            }
            Request::ExemptionReceipt { id, version, not_written: None, .. } => {
                Ask::Store(Query::Receipt { id, version, who: asker.who.clone() })
            }
            Request::ExemptionReceipt { id, version, not_written: Some(why), .. } => {
                let query = Query::ReceiptNotWritten { id, version, why, who: asker.who.clone() };
                return self.read_store(ticket, &asker, query, None);
            }
            Request::ExemptionDone { id, version, duty, on, why, dry_run } => {
                let who = asker.who.clone();
                let done = Box::new(DutyDone { id, version, duty, on, why, dry_run, who });
                return self.read_store(ticket, &asker, Query::Done(done), None);
            }
            Request::Report { from, until } => Ask::Store(Query::Report { from, until }),
            Request::Audit { from } => return self.read_store(ticket, &asker, Query::Audit(from), None),
            Request::AuditConfig { sha256 } => {
                return self.read_store(ticket, &asker, Query::Config(sha256), None);
            }
            Request::AuditDocument { id, version } => {
                return self.read_store(ticket, &asker, Query::Document(id, version), None);
            }
            Request::AuditLift { sha256 } => {
                return self.read_store(ticket, &asker, Query::Lift(sha256), None);
            }
            Request::AuditCheckpoint {} => {
                let query = Query::Checkpoint(asker.who.clone());
                return self.read_store(ticket, &asker, query, None);
            }
            _ => {
                let message = "events are answered by the connection itself";
                return self.answer(ticket, Response::error(ErrorKind::BadRequest, message));
            }
        };
        let needs_sample = matches!(ask, Ask::Status | Ask::Store(Query::Report { .. }));
        let asked = Asked { ticket, asker, ask, at: now.boot_ns };
        match needs_sample {
            true => self.reads.wanted.push(Want::Answer(asked)),
            false => {
                self.reads.for_uses.push(asked);
                self.quotas.read_for_answers();
            }
        }
    }

    pub(super) fn sample_where_wanted(&mut self) {
        if self.reads.on_its_way.is_none() && !self.reads.wanted.is_empty() {
            let wanted = std::mem::take(&mut self.reads.wanted);
            let purpose = sample_for(&wanted);
            self.reads.on_its_way = Some(wanted);
            self.reads.sampling_since = Some(self.now.boot_ns);
            self.actions.push(Action::Sample(purpose));
        }
    }

    pub(super) fn sampled(&mut self, sample: Result<Box<Sample>, String>) {
        let wants = self.reads.on_its_way.take().unwrap_or_default();
        self.reads.sampling_since = None;
        self.quotas.pins_were_counted();
        match sample {
            Ok(mut sample) => {
                if !sample.is_whole {
                    keep_shown(&mut sample, std::mem::take(&mut self.reads.sample));
                }
                self.reads.sample = *sample;
                self.reads.unreadable = None;
            }
            Err(error) => {
                if self.reads.unreadable.as_ref() != Some(&error) {
                    self.log(Level::Warn, format!("the kernel's counters can't be read: {error}"));
                }
                self.reads.unreadable = Some(error);
            }
        }
        for want in wants {
            match want {
                Want::Book => self.book_counts(),
                Want::Answer(asked) => {
                    // What exemptions have let through comes with it.
                    self.reads.for_uses.push(asked);
                    self.quotas.read_for_answers();
                }
            }
        }
        self.sampled_for_end();
    }

    fn book_counts(&mut self) {
        if self.reads.unreadable.is_some() || !self.knows_whose_counts() {
            return;
        }
        // Uses that are asked for from now on are read after these counts.
        self.quotas.compare_where_due(self.now.boot_ns);
        let judged = self.counts.judged(&self.reads.sample.counters);
        let cursor = self.reads.sample.cursor.take();
        let is_grown = self.reads.booked.as_ref() != Some(&judged);
        // On a quiet host the cursor is written once, when it is past the last packet: a daemon that is killed later would
        // leave an older one, by which the flows of the last seconds are not known as reported.
        let is_past = |at: u64| cursor.as_ref().is_some_and(|it| it.swept_ns >= at.saturating_add(QUIET_NS));
        if is_grown {
            self.reads.grown_ns = Some(self.now.boot_ns);
        } else if self.reads.grown_ns.is_some_and(is_past) {
            self.reads.grown_ns = None;
        } else {
            return;
        }
        self.reads.booked = Some(judged.clone());
        // Whose they are goes with them: an earlier write of that may have failed.
        let counts = Some(Box::new(self.counts.clone()));
        let job = StoreJob::SaveCounts { counts, judged: Some(judged), cursor };
        self.ask_store(Purpose::SaveCounts, job);
    }

    /// Whether it is known whose the kernel's counts are: not before the store has said it, and where it does not know, not
    /// before this daemon's first generation.
    fn knows_whose_counts(&self) -> bool {
        self.counts_unread.is_none() && self.counts.are_named()
    }

    /// Asks whose the counts were that an earlier daemon left, where the start could not read it and the store is open by
    /// now.
    pub(super) fn ask_whose_counts(&mut self) {
        let is_asked = self.asked.values().any(|(_, purpose)| *purpose == Purpose::ReadCounts);
        if self.counts_unread.is_some() && !is_asked && self.kept.is_usable() {
            self.ask_store(Purpose::ReadCounts, StoreJob::ReadCounts);
        }
    }

    /// What the store has of the time before this daemon, and what this daemon knows of the time since.
    pub(super) fn whose_counts(&mut self, read: Result<PinCounts, String>) {
        match read {
            Ok(before) => {
                self.counts = before;
                for it in self.counts_unread.take().into_iter().flatten() {
                    let Switch { policy, generation, counters, exemptions } = it;
                    self.counts.switch(&policy.pins, generation, counters.as_ref());
                    self.counts.hold(exemptions.iter().map(|(slot, id)| (*slot, id.as_str())));
                }
                let counts = Some(Box::new(self.counts.clone()));
                let job = StoreJob::SaveCounts { counts, judged: None, cursor: None };
                self.ask_store(Purpose::SaveCounts, job);
            }
            Err(why) => {
                // Nothing is saved over it meanwhile.
                let line =
                    format!("which pins the counts so far are of can't be read, so none are saved: {why}");
                if self.counts_refused.as_ref() != Some(&line) {
                    self.log(Level::Warn, line.clone());
                }
                self.counts_refused = Some(line);
            }
        }
    }

    /// The uses of exemptions are read: answers whoever waited for them.
    pub(super) fn answer_reads(&mut self, now: Clocks) {
        for asked in std::mem::take(&mut self.reads.for_uses) {
            self.answer_read(asked, now);
        }
    }

    /// Answers those who have waited too long for a new look by the last one.
    pub(super) fn reads_are_late(&mut self, now: Clocks) {
        for asked in self.reads.take_late(now) {
            self.answer_read(asked, now);
        }
    }

    fn answer_read(&mut self, Asked { ticket, asker, ask, .. }: Asked, now: Clocks) {
        match ask {
            Ask::Status => self.answer_status(ticket, &asker, now),
            // An empty list would say that there is none.
            Ask::List if !self.kept.is_usable() => {
                let message = "the store can't be read, so which exemptions there are is not known; every one is closed. \
                               `borderguard status` says why";
                self.answer(ticket, Response::error(ErrorKind::Failed, message));
            }
            Ask::List => {
                let exemptions = shown(self.all_summaries(now), asker.sees_all);
                let approval_required = self.config.policy.approval.is_some();
                self.answer(ticket, Response::Exemptions { exemptions, approval_required });
            }
            Ask::Store(query) => {
                let is_booked = matches!(query, Query::Report { .. }) && self.knows_whose_counts();
                let judged = is_booked.then(|| self.counts.judged(&self.reads.sample.counters));
                self.read_store(ticket, &asker, query, judged);
            }
        }
    }

    fn answer_status(&mut self, ticket: Ticket, asker: &Asker, now: Clocks) {
        let exemptions = shown(self.all_summaries(now), asker.sees_all);
        let status = self.status(exemptions, now);
        let status = Box::new(if asker.sees_people { status } else { status.without_people() });
        self.answer(ticket, Response::Status { status });
    }

    pub(super) fn read_beside(&mut self, id: StoreId, response: Response) {
        if let Some((_, Purpose::Read(ticket))) = self.asked.remove(&id) {
            self.answer(ticket, response);
        }
    }

    fn read_store(&mut self, ticket: Ticket, asker: &Asker, query: Query, judged: Option<Judged>) {
        let mut gaps: Vec<String> = Vec::new();
        if matches!(query, Query::Report { .. }) && judged.is_none() {
            gaps.push(
                "of which pins the kernel's last counts are is not known yet, so they are not in it"
                    .to_owned(),
            );
        }
        let job = ReadJob {
            query,
            sees_all: asker.sees_all,
            counts: self.counts(),
            judged,
            policy: Arc::clone(&self.config.policy),
            generation: self.publishing.generation(),
            tables: self.publishing.hashes.clone(),
            // What is recorded is in the trail, and the report has it from there.
            gaps: {
                let open = self.gap.iter().filter(|gap| gap.is_open());
                gaps.extend(open.map(|gap| format!("the audit trail has a gap: {}", gap.why)));
                gaps
            },
        };
        self.ask_store(Purpose::Read(ticket), StoreJob::Read(job));
    }
}

/// Exemptions as a peer may see them.
fn shown(exemptions: Vec<Summary>, sees_all: bool) -> Vec<Summary> {
    let one = |it: Summary| if sees_all { it } else { it.redacted() };
    exemptions.into_iter().map(one).collect()
}

/// What is read for answers alone stays as it was before.
fn keep_shown(sample: &mut Sample, before: Sample) {
    let Sample { untagged, carriers, carrying, reachable, cgroups, users, .. } = before;
    (sample.untagged, sample.carriers, sample.carrying) = (untagged, carriers, carrying);
    (sample.reachable, sample.cgroups, sample.users) = (reachable, cgroups, users);
}

/// For what a look is that these wait for.
fn sample_for(wants: &[Want]) -> SampleFor {
    match wants.iter().any(|want| matches!(want, Want::Answer(_))) {
        true => SampleFor::Answer,
        false => SampleFor::Book,
    }
}
