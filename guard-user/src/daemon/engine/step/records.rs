//! Writing to the audit trail.

use serde_json::Value;

use crate::audit::{Kind, Record};
use crate::daemon::engine::records::record_of;
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

    /// What can't be written is logged loudly; nothing else stops for it.
    pub(super) fn recorded(&mut self, result: Result<(), String>) {
        if let Err(error) = result {
            self.log(
                Level::Error,
                format!("THE AUDIT TRAIL HAS A GAP: a record could not be written: {error}"),
            );
            self.gap = Some(error);
        }
    }
}
