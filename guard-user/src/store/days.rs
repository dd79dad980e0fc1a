//! What crossed on which day.

use guard_common::abi::Hook;
use guard_common::verdict::Reason;
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

impl Judged {
    /// Whether exemptions let it out.
    #[must_use]
    pub fn is_exempted(&self) -> bool {
        self.reason == Reason::Exempt.name() && self.hook == Hook::Egress.name()
    }
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

/// What counts as used of an exemption because the host went down, and is not known to have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayPresumed {
    /// The day in UTC, as `2026-11-23`: the last one on which the host is known to have run before that.
    pub day: String,
    /// The exemption.
    pub key: Key,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// The day of a moment, in UTC, as `2026-11-23`.
pub(super) fn day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}
