//! What somebody else has changed in the kernel's tables: how it is told, and what is to be published anew.

use std::collections::BTreeMap;

use super::periods::SECOND;
use crate::exemption::Clocks;

/// How long after a record of a table the next one of it is written, nanoseconds: who writes there again and again must not
/// fill the trail.
pub(super) const RECORD_NS: u64 = 60 * SECOND;

/// What was found since the last reload.
#[derive(Default)]
pub(super) struct Tampering {
    /// By table.
    pub(super) told: BTreeMap<&'static str, Told>,
    /// What of the live generation is to be published anew.
    pub(super) again: Again,
}

/// What of a generation is published anew; more of it comes later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Again {
    /// Nothing.
    #[default]
    Nothing,
    /// The policy's table.
    Policy,
    /// The geo tables too.
    Geo,
}

/// What is told of a table.
pub(super) struct Told {
    /// When it was last known to be right before it was found changed the last time, and when that was.
    pub(super) between: (Option<jiff::Timestamp>, Clocks),
    /// How often it was found changed.
    pub(super) times: u64,
    /// What was changed, the last time; nothing where it was only frozen.
    pub(super) entries: usize,
    pub(super) first: String,
    /// What has it right again where it can't be set back by itself.
    pub(super) again: Again,
    /// Whether it is not right again.
    pub(super) is_open: bool,
    /// Why it could not be set back.
    pub(super) refused: Option<String>,
    /// When it was recorded last, nanoseconds of `CLOCK_BOOTTIME`, and how many finds are in no record.
    pub(super) recorded_ns: Option<u64>,
    pub(super) unrecorded: u64,
    /// When it was last known to be right before the first of these.
    pub(super) unrecorded_since: Option<jiff::Timestamp>,
}

impl Told {
    /// What is said of it.
    pub(super) fn words(&self) -> String {
        let Self { between: (right, found), times, entries, first, is_open, refused, .. } = self;
        let were = if *entries == 1 { "1 entry was".to_owned() } else { format!("{entries} entries were") };
        let right = right.map(|right| format!("after {right:.3} and ")).unwrap_or_default();
        let often =
            if *times == 1 { String::new() } else { format!(", and {} times before that", times - 1) };
        if self.is_frozen_alone() {
            let why = refused.as_deref().unwrap_or_default();
            return format!("somebody has frozen it in the kernel {right}before {:.3}: {why}", found.wall);
        }
        let now = match (is_open, refused) {
            (_, Some(why)) => format!("it could NOT be set back: {why}"),
            (true, None) => "it is being published anew".to_owned(),
            (false, None) => "it is right again".to_owned(),
        };
        format!(
            "somebody else has changed it in the kernel: {were} other {right}before {:.3}{often}, the first one {first}; \
             {now}. What left meanwhile was judged by that",
            found.wall
        )
    }

    /// Whether it is as it was written, and can't be written any more.
    pub(super) const fn is_frozen_alone(&self) -> bool {
        self.entries == 0
    }

    /// Whether a record is due.
    pub(super) fn record_is_due(&self, now: Clocks) -> bool {
        self.unrecorded > 0 && self.recorded_ns.is_none_or(|at| now.boot_ns >= at + RECORD_NS)
    }
}
