//! The sums by day: the kernel's counts only grow, so what they grew by since the last look is added to the day of
//! this one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redb::{ReadableTable as _, Table, WriteTransaction};

use super::tables::{
    COUNTS_BY_DAY, COUNTS_BY_RUN, META, PIN_COUNTS, PRESUMED_BY_DAY, SAVED_COUNTS, USE_BY_DAY,
    USE_BY_RECIPIENT, USE_BY_RUN,
};
use super::{DayPresumed, Judged, Key, Reader, StoreError, tampered};
use crate::exemption::record::Use;

/// What an exemption let through since it was last saved.
pub(super) struct Spent {
    pub(super) key: Key,
    /// In all.
    pub(super) all: Use,
    /// To each recipient by its number from 0 on, where that is counted apart: a part of all.
    pub(super) by_recipient: Vec<(u32, Use)>,
}

/// A count that grew since it was last saved.
pub(super) struct Grown {
    /// A [`Judged`] as JSON.
    key: String,
    /// Packets and bytes in all.
    total: (u64, u64),
    /// Packets and bytes more than were saved.
    more: (u64, u64),
    /// Whether exemptions let it out.
    is_exempted: bool,
}

/// The row of the table of meta data that has the moment of the last look at the kernel's counts which found more, seconds of
/// Unix time.
const COUNTED_UNTIL: &str = "counted_until";
/// The row that has the number of the present run of the kernel's counters, from 1 on; there is none as long as they go on from
/// before runs were told apart.
const RUN: &str = "run";

impl Reader {
    /// When the kernel's counts were last looked at and found to be more than before; `None` where they never were.
    pub(super) fn counted_until(&self) -> Result<Option<Timestamp>, StoreError> {
        let seconds = self.number(COUNTED_UNTIL)?.and_then(|seconds| i64::try_from(seconds).ok());
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }

    /// Which of these counts are more than what was saved of them.
    pub(super) fn grown(&self, counts: &BTreeMap<Judged, (u64, u64)>) -> Result<Vec<Grown>, StoreError> {
        let saved = self.table(SAVED_COUNTS)?;
        let mut grown = Vec::new();
        for (judged, &total) in counts {
            let key = serde_json::to_string(judged)
                .map_err(|error| self.unreadable(redb::Error::Io(error.into())))?;
            let before = match &saved {
                Some(table) => table.get(key.as_str()).map_err(|error| self.unreadable(error))?,
                None => None,
            };
            let before = before.map_or((0, 0), |found| found.value());
            let more = (total.0.saturating_sub(before.0), total.1.saturating_sub(before.1));
            if more != (0, 0) {
                let total = (total.0.max(before.0), total.1.max(before.1));
                grown.push(Grown { key, total, more, is_exempted: judged.is_exempted() });
            }
        }
        Ok(grown)
    }
}

/// Adds to the two sums of a row, which are zero where it has none.
fn add<'k, K: redb::Key + 'static>(
    table: &mut Table<'_, K, (u64, u64)>,
    row: K::SelfType<'k>,
    (first, second): (u64, u64),
) -> Result<(), redb::Error> {
    let sum = table.get(&row)?.map_or((0, 0), |found| found.value());
    table.insert(&row, (sum.0.saturating_add(first), sum.1.saturating_add(second)))?;
    Ok(())
}

/// Adds what the kernel's counts grew by to a day.
pub(super) fn add_counts(batch: &WriteTransaction, day: &str, grown: &[Grown]) -> Result<(), redb::Error> {
    let run = run(batch)?;
    let mut saved = batch.open_table(SAVED_COUNTS)?;
    let mut days = batch.open_table(COUNTS_BY_DAY)?;
    let mut by_run = batch.open_table(COUNTS_BY_RUN)?;
    for Grown { key, total, more, is_exempted } in grown {
        saved.insert(key.as_str(), *total)?;
        add(&mut days, (day, key.as_str()), *more)?;
        if let Some(run) = run.filter(|_| *is_exempted) {
            add(&mut by_run, (run, day, key.as_str()), *more)?;
        }
    }
    Ok(())
}

/// Adds to what exemptions let through on a day.
pub(super) fn add_use(batch: &WriteTransaction, day: &str, spent: &[Spent]) -> Result<(), redb::Error> {
    let run = run(batch)?;
    let mut table = batch.open_table(USE_BY_DAY)?;
    let mut by_recipient = batch.open_table(USE_BY_RECIPIENT)?;
    let mut by_run = batch.open_table(USE_BY_RUN)?;
    let both = |used: &Use| (used.bytes, used.packets);
    for Spent { key: (id, version), all, by_recipient: parts } in spent {
        add(&mut table, (day, id.as_str(), *version), both(all))?;
        if let Some(run) = run {
            add(&mut by_run, (run, day, id.as_str(), *version), both(all))?;
        }
        for (recipient, used) in parts {
            add(&mut by_recipient, (day, id.as_str(), *version, *recipient), both(used))?;
        }
    }
    Ok(())
}

/// Adds to what counts as used and is not known to have left.
pub(super) fn add_presumed(batch: &WriteTransaction, presumed: &[DayPresumed]) -> Result<(), redb::Error> {
    let mut table = batch.open_table(PRESUMED_BY_DAY)?;
    for DayPresumed { day, key: (id, version), bytes } in presumed {
        let row = (day.as_str(), id.as_str(), *version);
        let sum = table.get(row)?.map_or(0, |found| found.value());
        table.insert(row, sum.saturating_add(*bytes))?;
    }
    Ok(())
}

/// The number of the present run of the kernel's counters.
fn run(batch: &WriteTransaction) -> Result<Option<u64>, redb::Error> {
    let table = batch.open_table(META)?;
    let number = table.get(RUN)?.map(|found| found.value());
    Ok(number)
}

/// Keeps that what the kernel had counted until this moment is in the sums.
pub(super) fn counted_until(batch: &WriteTransaction, now: Timestamp) -> Result<(), redb::Error> {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    batch.open_table(META)?.insert(COUNTED_UNTIL, seconds)?;
    Ok(())
}

/// The kernel's counts begin at zero again, and are of no pin yet. Of the last ones before that, those of pins may have been
/// saved and those of exemptions not, or the other way round: what is compared of both is compared in each run by itself.
pub(super) fn counters_began_anew(batch: &WriteTransaction) -> Result<(), redb::Error> {
    batch.delete_table(SAVED_COUNTS)?;
    batch.open_table(SAVED_COUNTS)?;
    batch.delete_table(PIN_COUNTS)?;
    batch.open_table(PIN_COUNTS)?;
    let number = run(batch)?.unwrap_or_default().saturating_add(1);
    batch.open_table(META)?.insert(RUN, number)?;
    tampered::look_anew(batch)
}
