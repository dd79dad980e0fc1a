//! Requests that only read, and the regular look at the counters.

use std::sync::Arc;

use super::input::Sample;
use super::{Action, Asker, Engine, Judged, Level, Purpose, Query, ReadJob, StoreJob, Ticket};
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::exemption::{Clocks, Summary};

/// What is asked and not answered yet.
#[derive(Default)]
pub(super) struct Reads {
    /// Those that wait for a sample that has not begun, and for the one on its way.
    wanted: Vec<Want>,
    on_its_way: Option<Vec<Want>>,
    /// Since when.
    pub(super) sampling_since: Option<u64>,
    /// Those that wait for the uses of exemptions.
    for_uses: Vec<(Ticket, Asker, Ask)>,
    /// Why the counters can't be read.
    pub(super) unreadable: Option<String>,
    /// What was booked last.
    booked: Option<Judged>,
    /// The last sample.
    pub(super) sample: Sample,
}

/// For what a sample is.
enum Want {
    /// To book what crossed.
    Book,
    /// For an answer.
    Answer(Ticket, Asker, Ask),
}

/// What is asked.
#[derive(Clone, Debug)]
enum Ask {
    Status,
    List,
    Store(Query),
}

impl Reads {
    /// What crossed is to be booked.
    pub(super) fn book(&mut self) {
        if !self.wanted.iter().any(|want| matches!(want, Want::Book)) {
            self.wanted.push(Want::Book);
        }
    }
}

impl Engine {
    pub(super) fn read(&mut self, ticket: Ticket, request: Request, asker: Asker, now: Clocks) {
        let ask = match request {
            Request::Status {} => Ask::Status,
            Request::ExemptionList {} => Ask::List,
            Request::ExemptionShow { id, version } => Ask::Store(Query::Show { id, version }),
            Request::ExemptionOpen {} => Ask::Store(Query::Open),
            Request::Report { from, until } => Ask::Store(Query::Report { from, until }),
            Request::Audit { from } => return self.read_store(ticket, &asker, Query::Audit(from), None, now),
            Request::AuditCheckpoint {} => {
                let query = Query::Checkpoint(asker.who.clone());
                return self.read_store(ticket, &asker, query, None, now);
            }
            _ => {
                let message = "events are answered by the connection itself";
                return self.answer(ticket, Response::error(ErrorKind::BadRequest, message));
            }
        };
        match ask {
            Ask::Status | Ask::Store(Query::Report { .. }) => {
                self.reads.wanted.push(Want::Answer(ticket, asker, ask));
            }
            ask => {
                self.reads.for_uses.push((ticket, asker, ask));
                self.quotas.read_for_answers();
            }
        }
    }

    pub(super) fn sample_where_wanted(&mut self) {
        if self.reads.on_its_way.is_none() && !self.reads.wanted.is_empty() {
            self.reads.on_its_way = Some(std::mem::take(&mut self.reads.wanted));
            self.reads.sampling_since = Some(self.now_ns);
            self.actions.push(Action::Sample);
        }
    }

    pub(super) fn sampled(&mut self, sample: Result<Box<Sample>, String>) {
        let wants = self.reads.on_its_way.take().unwrap_or_default();
        self.reads.sampling_since = None;
        match sample {
            Ok(sample) => {
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
                Want::Answer(ticket, asker, ask) => {
                    // What exemptions have let through comes with it.
                    self.reads.for_uses.push((ticket, asker, ask));
                    self.quotas.read_for_answers();
                }
            }
        }
        self.sampled_for_end();
    }

    fn book_counts(&mut self) {
        if self.reads.unreadable.is_some() {
            return;
        }
        let judged = self.counts.judged(&self.reads.sample.counters);
        let cursor = self.reads.sample.cursor.take();
        // The cursor alone is worth no write: it says that nothing was reported since.
        if self.reads.booked.as_ref() == Some(&judged) {
            return;
        }
        self.reads.booked = Some(judged.clone());
        let job = StoreJob::SaveCounts { counts: None, judged: Some(judged), cursor };
        self.ask_store(Purpose::SaveCounts, job);
    }

    /// The uses of exemptions are read: answers whoever waited for them.
    pub(super) fn answer_reads(&mut self, now: Clocks) {
        for (ticket, asker, ask) in std::mem::take(&mut self.reads.for_uses) {
            match ask {
                Ask::Status => self.answer_status(ticket, &asker, now),
                Ask::List => {
                    let exemptions = shown(self.all_summaries(now), asker.sees_all);
                    self.answer(ticket, Response::Exemptions { exemptions });
                }
                Ask::Store(query) => {
                    let judged = matches!(query, Query::Report { .. })
                        .then(|| self.counts.judged(&self.reads.sample.counters));
                    self.read_store(ticket, &asker, query, judged, now);
                }
            }
        }
    }

    fn answer_status(&mut self, ticket: Ticket, asker: &Asker, now: Clocks) {
        if let Some(error) = &self.reads.unreadable {
            let message = format!("the kernel's counters can't be read: {error}");
            return self.answer(ticket, Response::error(ErrorKind::Failed, message));
        }
        let exemptions = shown(self.all_summaries(now), asker.sees_all);
        let status = Box::new(self.status(exemptions, now));
        self.answer(ticket, Response::Status { status });
    }

    fn read_store(
        &mut self,
        ticket: Ticket,
        asker: &Asker,
        query: Query,
        judged: Option<Judged>,
        _now: Clocks,
    ) {
        let job = ReadJob {
            query,
            sees_all: asker.sees_all,
            counts: self.counts(),
            judged,
            policy: Arc::clone(&self.config.policy),
            generation: self.publishing.generation(),
            gaps: self.gap.iter().map(|why| format!("the audit trail has a gap: {why}")).collect(),
        };
        self.ask_store(Purpose::Read(ticket), StoreJob::Read(job));
    }
}

/// Exemptions as a peer may see them.
fn shown(exemptions: Vec<Summary>, sees_all: bool) -> Vec<Summary> {
    let one = |it: Summary| if sees_all { it } else { it.redacted() };
    exemptions.into_iter().map(one).collect()
}
