//! What exemptions let out by the counts of pins and by those of exemptions, in each run of the kernel's counters by itself: from
//! when they began at zero until they did so again. Where a run ends without a word, as with a crash of the host, the last counts
//! of it may be in the one sum and not in the other. What the one has more by that is not to make up for what it lacks in
//! another run.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::days::day;
use super::entry::Entry;
use super::tables::{COUNTS_BY_RUN, PRESUMED_BY_DAY, USE_BY_DAY, USE_BY_RUN};
use super::{DayCount, DayPresumed, DayUse, Judged, Key, Reader, StoreError};
use crate::exemption::record::Use;

/// What exemptions let out in one run of the kernel's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// By day and pin, as pins have counted it.
    pub counts: Vec<DayCount>,
    /// By day and exemption, as it was charged to exemptions; without recipients.
    pub used: Vec<DayUse>,
}

/// Packets and bytes by day and how they were judged; bytes and packets by day and exemption.
#[derive(Default)]
struct Sums {
    counts: BTreeMap<(String, Judged), (u64, u64)>,
    used: BTreeMap<(String, Key), Use>,
}

impl Sums {
    fn take_out(&mut self, run: &Run) {
        for DayCount { day, judged, packets, bytes } in &run.counts {
            if let Some(sum) = self.counts.get_mut(&(day.clone(), judged.clone())) {
                *sum = (sum.0.saturating_sub(*packets), sum.1.saturating_sub(*bytes));
            }
        }
        for DayUse { day, key, recipient: _, used } in &run.used {
            if let Some(sum) = self.used.get_mut(&(day.clone(), key.clone())) {
                *sum = sum.minus(*used);
            }
        }
    }

    fn into_run(self) -> Run {
        let counts = self.counts.into_iter().filter(|(_, sum)| *sum != (0, 0));
        let used = self.used.into_iter().filter(|(_, used)| *used != Use::default());
        Run {
            counts: counts
                .map(|((day, judged), (packets, bytes))| DayCount { day, judged, packets, bytes })
                .collect(),
            used: used.map(|((day, key), used)| DayUse { day, key, recipient: None, used }).collect(),
        }
    }
}

impl Reader {
    /// What exemptions let out in each run, the oldest first; the first one has all of before runs were told apart.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn runs(&self) -> Result<Vec<Run>, StoreError> {
        let mut runs: BTreeMap<u64, Run> = BTreeMap::new();
        if let Some(table) = self.table(COUNTS_BY_RUN)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                let (key, value) = row.map_err(|error| self.unreadable(error))?;
                let (run, day, judged) = key.value();
                let judged: Judged = serde_json::from_str(judged)
                    .map_err(|error| self.damaged(format!("a count of {day} can't be read: {error}")))?;
                let (packets, bytes) = value.value();
                let count = DayCount { day: day.to_owned(), judged, packets, bytes };
                runs.entry(run).or_default().counts.push(count);
            }
        }
        if let Some(table) = self.table(USE_BY_RUN)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                let (key, value) = row.map_err(|error| self.unreadable(error))?;
                let (run, day, id, version) = key.value();
                let (bytes, packets) = value.value();
                let (day, key) = (day.to_owned(), (id.to_owned(), version));
                let used = DayUse { day, key, recipient: None, used: Use { bytes, packets } };
                runs.entry(run).or_default().used.push(used);
            }
        }
        let mut before = Sums::default();
        for DayCount { day, judged, packets, bytes } in self.counts_by_day()? {
            if judged.is_exempted() {
                before.counts.insert((day, judged), (packets, bytes));
            }
        }
        for DayUse { day, key, recipient: _, used } in self.use_by_day()? {
            let sum = before.used.entry((day, key)).or_default();
            *sum = sum.plus(used);
        }
        runs.values().for_each(|run| before.take_out(run));
        Ok(std::iter::once(before.into_run()).chain(runs.into_values()).collect())
    }

    /// What was let through is on a day. What counts as used of a quota beside that was charged since the host went down, also by
    /// an earlier version of this program, which did not note how much that was.
    pub(super) fn presume_what_no_day_has(
        &self,
        entries: &mut BTreeMap<Key, Entry>,
    ) -> Result<(), StoreError> {
        let mut on_days: BTreeMap<Key, u64> = BTreeMap::new();
        if let Some(table) = self.table(USE_BY_DAY)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                let (key, value) = row.map_err(|error| self.unreadable(error))?;
                let (_, id, version) = key.value();
                let sum = on_days.entry((id.to_owned(), version)).or_default();
                *sum = sum.saturating_add(value.value().0);
            }
        }
        for (key, Entry { document, record, .. }) in entries {
            if document.as_ref().is_some_and(|document| document.quota_bytes.is_some()) {
                let on_days = on_days.get(key).copied().unwrap_or_default();
                let beside = record.used().bytes.saturating_sub(on_days);
                record.presumed = record.presumed.max(beside).min(record.before.bytes);
            }
        }
        Ok(())
    }

    /// What counts as used of exemptions and is not known to have left, in the order of days, ids and versions.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn presumed_by_day(&self) -> Result<Vec<DayPresumed>, StoreError> {
        let mut rows = Vec::new();
        let mut noted: BTreeMap<Key, u64> = BTreeMap::new();
        if let Some(table) = self.table(PRESUMED_BY_DAY)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                let (key, value) = row.map_err(|error| self.unreadable(error))?;
                let (day, id, version) = key.value();
                let (day, key, bytes) = (day.to_owned(), (id.to_owned(), version), value.value());
                let sum = noted.entry(key.clone()).or_default();
                *sum = sum.saturating_add(bytes);
                rows.push(DayPresumed { day, key, bytes });
            }
        }
        // An earlier version of this program noted it on no day.
        for (key, Entry { record, .. }) in self.exemptions()?.entries {
            let bytes = record.presumed.saturating_sub(noted.get(&key).copied().unwrap_or_default());
            if bytes > 0 {
                let last = record.seen.map_or(record.loaded_at, |(_, last)| last);
                rows.push(DayPresumed { day: day(last), key, bytes });
            }
        }
        rows.sort_by(|a, b| (&a.day, &a.key).cmp(&(&b.day, &b.key)));
        Ok(rows)
    }
}
