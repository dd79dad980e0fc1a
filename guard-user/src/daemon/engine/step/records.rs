//! Writing to the audit trail.

use serde_json::{Value, json};

use crate::audit::{Kind, Record};
use crate::daemon::engine::records::{Gap, record_of};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Level, StoreJob};

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
        let now = self.now.wall;
        match (result, &mut self.gap) {
            (Err(error), gap) => {
                let before = gap.take();
                let (lost, first) = before.map_or((0, now), |gap| (gap.lost, gap.between.0));
                let why = error.clone();
                *gap = Some(Gap { why, lost: lost + 1, between: (first, now), is_recorded: false });
                let line = format!("THE AUDIT TRAIL HAS A GAP: a record could not be written: {error}");
                self.log(Level::Error, line);
            }
            (Ok(()), Some(gap)) if !gap.is_recorded => {
                gap.is_recorded = true;
                let (from, to) = gap.between;
                let detail = json!({"lost": gap.lost, "from": from.to_string(), "to": to.to_string()});
                let why = gap.why.clone();
                self.record_of(Kind::Gap, "", &why, detail);
            }
            (Ok(()), _) => {}
        }
    }
}
