//! What crossed on which day: the kernel's counts only grow, so what they grew by since the last look is
//! added to the day of this one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::disk::{BOOKED, COUNTS_BY_DAY, USE_BY_DAY};
use super::{Key, Store, StoreError};
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

/// What an exemption let through on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUse {
    /// The day in UTC, as `2026-11-23`.
    pub day: String,
    /// The exemption.
    pub key: Key,
    /// What it let through.
    pub used: Use,
}

impl Store {
    /// Books the counts of this moment to its day. They are sums over everything since the kernel's
    /// counters began, packets and bytes by how they were judged.
    ///
    /// # Errors
    /// Where the disk refuses; the next call books it all.
    pub fn book_counts(
        &mut self,
        counts: &BTreeMap<Judged, (u64, u64)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let day = day(now);
        self.commit(&[], Vec::new(), |batch| {
            let mut booked = batch.open_table(BOOKED)?;
            let mut days = batch.open_table(COUNTS_BY_DAY)?;
            for (judged, &(packets, bytes)) in counts {
                let key = serde_json::to_string(judged).map_err(|error| redb::Error::Io(error.into()))?;
                let before = booked.get(key.as_str())?.map_or((0, 0), |found| found.value());
                let grown = (packets.saturating_sub(before.0), bytes.saturating_sub(before.1));
                if grown == (0, 0) {
                    continue;
                }
                booked.insert(key.as_str(), (packets, bytes))?;
                let row = (day.as_str(), key.as_str());
                let sum = days.get(row)?.map_or((0, 0), |found| found.value());
                days.insert(row, (sum.0.saturating_add(grown.0), sum.1.saturating_add(grown.1)))?;
            }
            Ok(())
        })
    }
}

/// The day of a moment, in UTC, as `2026-11-23`.
pub(super) fn day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}

/// Adds to what exemptions let through on a day.
pub(super) fn add_use(batch: &WriteTransaction, day: &str, spent: &[(Key, Use)]) -> Result<(), redb::Error> {
    let mut table = batch.open_table(USE_BY_DAY)?;
    for ((id, version), used) in spent {
        let row = (day, id.as_str(), *version);
        let sum = table.get(row)?.map_or((0, 0), |found| found.value());
        table.insert(row, (sum.0.saturating_add(used.bytes), sum.1.saturating_add(used.packets)))?;
    }
    Ok(())
}

/// The kernel's counts begin at zero again.
pub(super) fn counters_began_anew(batch: &WriteTransaction) -> Result<(), redb::Error> {
    batch.delete_table(BOOKED)?;
    batch.open_table(BOOKED)?;
    Ok(())
}
