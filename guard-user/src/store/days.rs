//! What crossed on which day.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::exemption::record::Use;

/// How packets of a pin were judged: what counts are kept by. Names are those of events and status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The pin.
    pub pin: String,
    /// `egress` or `ingress`.
    pub hook: String,
    /// The jurisdiction of the other end.
    pub jurisdiction: String,
    /// The verdict.
    pub verdict: String,
    /// The reason.
    pub reason: String,
}

/// Packets of one day that were judged alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// The day in UTC, as `2026-11-23`.
    pub day: String,
    /// How they were judged.
    pub judged: Judged,
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// What an exemption let through to one recipient on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUse {
    /// The day in UTC, as `2026-11-23`.
    pub day: String,
    /// The exemption.
    pub key: Key,
    /// The recipient's number in the document from 0 on; `None` for what is attributed to none of them.
    pub recipient: Option<usize>,
    /// What it let through.
    pub used: Use,
}

/// The day of a moment, in UTC, as `2026-11-23`.
pub(super) fn day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}
