//! Duties that were done after a document was loaded, also of what is closed: no new version has to say so.

use jiff::Timestamp;
use serde_json::json;

use super::error::WHY_BYTES;
use super::{Kept, Key, Store, StoreError};
use crate::audit::{Kind, Who};
use crate::digest::sha256;
use crate::exemption::REVIEW;
use crate::exemption::record::GivenReason;
use crate::exemption::summary::HIDDEN;
use crate::text::Unseen;

/// What was done of an exemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its name, as lists of what is due have it.
    pub duty: String,
    /// When it was done.
    pub on: Timestamp,
    /// How, or by whom; the record keeps it.
    pub why: String,
}

impl Kept {
    /// Says why this can't be noted as done of an exemption; nothing is changed.
    ///
    /// # Errors
    /// Where there is no such exemption, no such duty is due of it, it is the review of its assessment, it was done later than
    /// now, or the reason says nothing.
    pub fn can_be_done(&self, key: &Key, done: &Done, now: Timestamp) -> Result<(), StoreError> {
        if done.why.trim().is_empty() || done.why.len() > WHY_BYTES {
            return Err(StoreError::BadReason);
        }
        if let Some(unseen) = Unseen::find(&done.why) {
            return Err(StoreError::UnseenInReason(unseen));
        }
        if done.on > now {
            return Err(StoreError::DoneLater { on: done.on });
        }
        let not_found = || StoreError::NotFound { id: key.0.clone() };
        let entry = self.entry(key).ok_or_else(not_found)?;
        let document = entry.document.as_ref().ok_or_else(not_found)?;
        if done.duty == REVIEW {
            return Err(StoreError::ReviewIsRenewed { id: key.0.clone() });
        }
        let mut due = entry.record.less_done(document.due_dates());
        due.retain(|(what, _)| what != REVIEW);
        if due.iter().any(|(what, _)| *what == done.duty) {
            return Ok(());
        }
        let due = due.into_iter().map(|(what, _)| what).collect();
        Err(StoreError::NoSuchDuty { id: key.0.clone(), duty: done.duty.clone(), due })
    }
}

impl Store {
    /// Notes that a duty of this exemption was done, with its audit record: of several of that name the one that was due
    /// first.
    ///
    /// # Errors
    /// As of [`Kept::can_be_done`], and where the disk refuses; then nothing is changed.
    pub fn duty_done(&mut self, key: &Key, done: &Done, who: &Who, now: Timestamp) -> Result<(), StoreError> {
        self.leave_doubt()?;
        self.kept.can_be_done(key, done, now)?;
        let Some(entry) = self.kept.entry(key) else {
            return Err(StoreError::NotFound { id: key.0.clone() });
        };
        let mut record = entry.record.clone();
        record.reasons.push(GivenReason::of_duty(now, &done.duty, done.on, &done.why));
        let confidential = entry.document.as_ref().is_none_or(|document| document.confidential);
        let (why, detail) = match confidential {
            true => (HIDDEN, json!({"on": done.on, "why_sha256": sha256(done.why.as_bytes())})),
            false => (done.why.as_str(), json!({"duty": done.duty, "on": done.on})),
        };
        let line = Self::record_of(Kind::DutyDone, key, who, now, why, detail);
        let records = vec![(key.clone(), record)];
        self.commit(&records, vec![line], |_| Ok(()))?;
        self.take(records);
        Ok(())
    }
}
