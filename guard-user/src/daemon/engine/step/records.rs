//! Writing to the audit trail.

use serde_json::{Value, json};

use crate::audit::{Kind, Record};
use crate::daemon::engine::records::{LostRecords, record_of};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Level, StoreJob};
use crate::health::{Problem, ProblemCode};
use crate::store::{Lost, without_remedy};

impl Engine {
    /// Appends to the audit trail.
    pub(super) fn record(&mut self, record: Record) {
        self.ask_store(Purpose::Record, StoreJob::Record(record));
    }

    /// As [`record`](Self::record), of what the daemon itself does.
    pub(super) fn record_of(&mut self, kind: Kind, subject: &str, why: &str, detail: Value) {
        let record = record_of(self.now.wall, (kind, &self.daemon), subject, why, detail);
        self.record(record);
    }

    /// What can't be written is logged loudly; nothing else stops for it. As soon as the disk takes a record again, the
    /// trail has one of what it lacks.
    pub(super) fn recorded(&mut self, result: Result<(), String>) {
        match result {
            Err(error) => {
                let line = format!("THE AUDIT TRAIL HAS A GAP: a record could not be written: {error}");
                self.log(Level::Error, line);
                let now = self.now.wall;
                let lost = LostRecords { count: 1, between: (now, now) };
                let gap = self.gap.get_or_insert_default();
                gap.unrecorded = Some(gap.unrecorded.map_or(lost, |before| before.and(Some(lost))));
                gap.why = error;
            }
            Ok(()) => self.record_gap(),
        }
    }

    /// An earlier daemon ended before the trail could say what it lacks.
    pub(super) fn records_were_lost(&mut self, lost: Lost) {
        let Lost { count, from, to, why } = lost;
        let line = format!(
            "THE AUDIT TRAIL HAS A GAP: {count} records of {from:.0} to {to:.0} could not be written before the last daemon's end: \
             {why}"
        );
        self.log(Level::Error, line);
        let earlier = LostRecords { count, between: (from, to) };
        let gap = self.gap.get_or_insert_default();
        gap.unrecorded = Some(earlier.and(gap.unrecorded));
        if gap.why.is_empty() {
            gap.why = why;
        }
        if self.kept.is_usable() {
            self.record_gap();
        }
    }

    /// What the trail lacks, and what it has that somebody has to look at.
    pub(super) fn problems_of_trail(&self) -> impl Iterator<Item = Problem> {
        let signed = self.config.unrecorded_why.as_ref().map(|why| {
            let message = format!("who signed what the start opened is not in the audit trail yet: {why}");
            Problem::new(ProblemCode::AuditGap, message)
        });
        let other = self.kept.other_config();
        let other = other.map(|words| Problem::new(ProblemCode::ConfigUnrecorded, words));
        self.problem_of_gap().into_iter().chain(signed).chain(other)
    }

    /// Why the trail of a store that is open takes no record, as far as it is known.
    pub(super) fn trail_refuses(&self) -> Option<&str> {
        let gap = self.gap.as_ref().filter(|gap| gap.is_open() && self.kept.is_usable())?;
        Some(&gap.why)
    }

    /// What the answer to a reload says where the trail can't have it.
    pub(super) fn words_of_no_record(&self) -> String {
        let gap = self.gap.as_ref().filter(|gap| gap.is_open());
        match (self.kept.is_usable(), gap) {
            (true, None) => String::new(),
            (true, Some(gap)) => format!("; the audit trail takes no record of it now: {}", gap.why),
            (false, _) => "; the audit trail has no record of it yet, for the store can't be opened: it gets one as soon as it \
                           can be"
                .to_owned(),
        }
    }

    /// Records that the trail lacks.
    fn problem_of_gap(&self) -> Option<Problem> {
        let gap = self.gap.as_ref()?;
        let unkept = self.loss_unkept.as_ref().filter(|_| gap.is_open()).map(|why| {
            format!(
                "; that it lacks records is kept nowhere, so that a restart now would lose that too: {why}"
            )
        });
        let message = match gap.is_open() {
            true => format!("the audit trail has a gap: {}{}", gap.why, unkept.unwrap_or_default()),
            // What was to be done about it is done.
            false => format!(
                "the audit trail has a gap: records could not be written: {}; it takes records again, and one of \
                 them says what it lacks",
                without_remedy(&gap.why)
            ),
        };
        Some(Problem::new(ProblemCode::AuditGap, message))
    }

    /// Has the trail say what it lacks.
    pub(super) fn record_gap(&mut self) {
        let Some(gap) = &mut self.gap else { return };
        if gap.on_its_way.is_some() {
            return;
        }
        let Some(lost) = gap.unrecorded.take() else { return };
        gap.on_its_way = Some(lost);
        let why = gap.why.clone();
        let (from, to) = lost.between;
        let detail = json!({"lost": lost.count, "from": from.to_string(), "to": to.to_string()});
        let record = record_of(self.now.wall, (Kind::Gap, &self.daemon), "", &why, detail);
        self.ask_store(Purpose::RecordGap, StoreJob::Record(record));
    }

    /// What came of the record of a gap. One that the disk refuses is given again with the next record that it takes.
    pub(super) fn gap_recorded(&mut self, result: Result<(), String>) {
        let Some(gap) = &mut self.gap else { return };
        let on_its_way = gap.on_its_way.take();
        match result {
            Ok(()) => self.record_gap(),
            Err(why) => {
                gap.unrecorded = on_its_way.map(|lost| lost.and(gap.unrecorded)).or(gap.unrecorded);
                gap.why = why;
            }
        }
    }
}
