//! What people have to do about exemptions, for the program that tells them (`record.notify`).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::exemption::{REVIEW, State, Summary};

/// How long before its end a window is told of, where it is not a quarter of the window.
const CLOSES_SOON: SignedDuration = SignedDuration::from_hours(24);
/// How long before something is due it is told of.
const DUE_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The share of a quota of which it is told that it is used, in percent.
const QUOTA_PERCENT: u128 = 80;

/// One thing that somebody has to do or know. It has no text of the document, which may be confidential.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Notice {
    /// What it is.
    pub what: What,
    /// The exemption's id.
    pub exemption: String,
    /// Its version.
    pub version: u32,
    /// By when; null where there is no such moment.
    pub by: Option<Timestamp>,
    /// What is due, as `exemption list --due` names it; null for another notice.
    pub duty: Option<String>,
}

/// What a notice is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A document was to be loaded and lacks approvals.
    RequestWaits,
    /// Of its bytes 80 % are used.
    QuotaLow,
    /// Its bytes are used up: nothing passes by it any more, though its window goes on.
    QuotaUsed,
    /// Its window ends within a day, or a quarter of the window is left.
    WindowCloses,
    /// The review of its assessment is due within seven days: it closes then.
    ReviewDue,
    /// A duty is due within seven days.
    DutyDue,
}

/// What was told, so that each is told once by a daemon.
#[derive(Debug, Default)]
pub(super) struct Notices {
    told: BTreeSet<Notice>,
}

impl Notices {
    /// What is to be told by now and was not. What is not so any more is forgotten.
    pub(super) fn new_of(&mut self, all: &[Summary], now: Timestamp) -> Vec<Notice> {
        let mut due: BTreeSet<Notice> = all.iter().flat_map(|summary| of(summary, now)).collect();
        // A renewal has bytes of its own.
        let is_last =
            |it: &Notice| !all.iter().any(|other| other.id == it.exemption && other.version > it.version);
        due.retain(|it| it.what != What::QuotaUsed || is_last(it));
        self.told.retain(|told| due.contains(told));
        let new: Vec<Notice> = due.difference(&self.told).cloned().collect();
        self.told.extend(new.iter().cloned());
        new
    }
}

/// What is to be told of an exemption.
fn of(summary: &Summary, now: Timestamp) -> Vec<Notice> {
    let notice =
        |what, by, duty| Notice { what, exemption: summary.id.clone(), version: summary.version, by, duty };
    let is_soon = |by: Timestamp, before| now.saturating_add(before).is_ok_and(|until| by <= until);
    let mut notices = Vec::new();
    if summary.state == State::Active {
        let used = u128::from(summary.used_bytes) * 100;
        let is_low = |quota: u64| used >= u128::from(quota) * QUOTA_PERCENT;
        if summary.quota_bytes.is_some_and(is_low) {
            notices.push(notice(What::QuotaLow, None, None));
        }
        let window = summary.valid_until.duration_since(summary.valid_from);
        if is_soon(summary.valid_until, CLOSES_SOON.min(window / 4)) {
            notices.push(notice(What::WindowCloses, Some(summary.valid_until), None));
        }
    }
    if summary.state == State::Exhausted && summary.valid_until > now {
        notices.push(notice(What::QuotaUsed, Some(summary.valid_until), None));
    }
    let is_open = matches!(summary.state, State::Active | State::NotYetValid | State::Stayed);
    for due in summary.due.iter().filter(|due| is_soon(due.by, DUE_SOON)) {
        match due.what == REVIEW {
            true if is_open => notices.push(notice(What::ReviewDue, Some(due.by), None)),
            true => {}
            false => notices.push(notice(What::DutyDue, Some(due.by), Some(due.what.clone()))),
        }
    }
    notices
}
