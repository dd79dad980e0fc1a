//! The accounts of exemptions: what the kernel counts for them is saved, their quotas are granted ahead of it, and
//! what they hold is settled where the counts end.

use jiff::Timestamp;

use super::days::day;
use super::entry::Entry;
use super::quota::slice;
use super::rollup::{self, Spent};
use super::{DayPresumed, Kept, Key, Store, StoreError, slots as places};
use crate::exemption::record::{Record, Use};

/// The quota of an open exemption, where not all of it is granted.
fn granted_in_part(entry: &Entry) -> Option<u64> {
    let quota = entry.document.as_ref()?.quota_bytes?;
    (entry.is_active() && entry.record.granted < quota).then_some(quota)
}

/// The quota of which this exemption is to be granted more, where it has used so much.
fn to_extend(entry: &Entry, used: Use) -> Option<u64> {
    let ahead = entry.record.granted.saturating_sub(used.bytes);
    granted_in_part(entry).filter(|quota| ahead <= slice(*quota) / 2)
}

impl Kept {
    /// Whether an exemption is open whose quota is granted in part, so that its use is to be looked at often.
    #[must_use]
    pub fn has_more_to_grant(&self) -> bool {
        self.entries().any(|(_, entry)| granted_in_part(entry).is_some())
    }

    /// Whether [`Store::grant`] would grant more, were these counts of the kernel's
    /// [saved](Store::checkpoint_use).
    #[must_use]
    pub fn is_grant_due(&self, counts: &[(u16, Use)]) -> bool {
        self.entries().any(|(_, entry)| {
            to_extend(entry, entry.record.used().plus(entry.counted(counts).all())).is_some()
        })
    }
}

impl Store {
    /// Grants more where less than half a slice is left. True where the kernel has to get it, by a new
    /// generation.
    ///
    /// # Errors
    /// Where the disk refuses; then the kernel stops at what it has.
    pub fn grant(&mut self) -> Result<bool, StoreError> {
        self.leave_doubt()?;
        let mut more: Vec<(Key, Record)> = Vec::new();
        for (key, entry) in self.kept.entries() {
            let record = &entry.record;
            let Some(quota) = to_extend(entry, record.used()) else { continue };
            let granted = record.used().bytes.saturating_add(slice(quota)).min(quota);
            more.push((key.clone(), Record { granted, ..record.clone() }));
        }
        if more.is_empty() {
            return Ok(false);
        }
        self.keep(more)?;
        Ok(true)
    }

    /// Saves what the kernel has counted in slots since its counters began, and what an earlier write
    /// could not save.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn checkpoint_use(&mut self, counts: &[(u16, Use)], now: Timestamp) -> Result<(), StoreError> {
        self.leave_doubt()?;
        let (mut records, mut spent) = (Vec::new(), Vec::new());
        for (key, entry) in self.kept.entries() {
            let counted = entry.counted(counts);
            if counted.all() == Use::default() {
                continue;
            }
            let by_recipient = entry.by_recipient(&counted);
            spent.push(Spent { key: key.clone(), all: counted.all(), by_recipient });
            let seen = Some(entry.seen_by(now));
            records.push((key.clone(), Record { seen, ..entry.record_with(&counted) }));
        }
        if records.is_empty() && !self.is_ahead() {
            return Ok(());
        }
        let is_more = !spent.is_empty();
        self.commit(&records, Vec::new(), |batch| {
            rollup::add_use(batch, &day(now), &spent)?;
            if is_more { rollup::counted_until(batch, now) } else { Ok(()) }
        })?;
        self.take(records);
        Ok(())
    }

    /// The kernel's counters began anew, from zero: after a reboot, or after everything was detached. To be
    /// called as long as no generation was ever live in the kernel's tables, before the first one is, so
    /// that quotas go on where they were at most; a second call changes nothing. `now` is by the wall clock: what counts as used
    /// by that is of no later day, also where that clock was ahead before.
    ///
    /// # Errors
    /// Where the disk refuses; then the kernel must not get the exemptions.
    pub fn counters_began_anew(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.leave_doubt()?;
        let (mut records, mut slices) = (Vec::new(), Vec::new());
        let latest = self.kept.latest();
        for (key, entry) in self.kept.entries() {
            let record = &entry.record;
            let bounded = entry.document.as_ref().is_none_or(|document| document.quota_bytes.is_some());
            let used = record.used();
            // What the kernel may have let through since it was last asked counts as used.
            let bytes = match bounded && !record.slots.is_empty() {
                true => used.bytes.max(record.granted),
                false => used.bytes,
            };
            let before = Use { bytes, ..used };
            // None of it is known to have left, and nobody is known to have received it.
            let more = bytes.saturating_sub(used.bytes);
            if more > 0 {
                let (_, last) = entry.seen_by(latest.unwrap_or(record.loaded_at).min(now));
                // A clock that is behind after a boot has it on no day before it was loaded.
                let last = last.min(now).max(record.loaded_at);
                slices.push(DayPresumed { day: day(last), key: key.clone(), bytes: more });
            }
            if record.counted != Use::default() || before != record.before {
                let settled = record.settled(entry.document.as_deref());
                let presumed = settled.presumed.saturating_add(more);
                records.push((key.clone(), Record { before, presumed, ..settled }));
            }
        }
        // The counts by day begin at zero likewise.
        self.commit(&records, Vec::new(), |batch| {
            rollup::add_presumed(batch, &slices)?;
            rollup::counters_began_anew(batch)
        })?;
        self.take(records);
        Ok(())
    }

    /// The kernel has tables of an earlier daemon, and this store was just begun: whatever is counted in their places is of
    /// exemptions that it does not know.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn began_beside_tables(&mut self) -> Result<(), StoreError> {
        if self.last_line.is_some() || !self.kept.is_usable() {
            return Ok(());
        }
        self.commit(&[], Vec::new(), |batch| places::are_unclean(batch, true))?;
        self.kept.inner_mut().unclean.extend(places::every_slot());
        Ok(())
    }

    /// The kernel's counts are final: nothing is guarded any more. What was granted and not used is given
    /// back.
    ///
    /// # Errors
    /// Where the disk refuses; then what was granted counts as used.
    pub fn counters_end(&mut self, counts: &[(u16, Use)], now: Timestamp) -> Result<(), StoreError> {
        self.checkpoint_use(counts, now)?;
        let settled = |entry: &Entry| Record {
            granted: entry.record.used().bytes,
            ..entry.record.settled(entry.document.as_deref())
        };
        let records: Vec<(Key, Record)> = self
            .kept
            .entries()
            .filter(|(_, entry)| !entry.record.slots.is_empty())
            .map(|(key, entry)| (key.clone(), settled(entry)))
            .collect();
        self.keep(records)
    }

    /// The use that the kernel counted for these slots is zero now, so that another exemption may have them.
    ///
    /// # Errors
    /// Where the disk refuses; then the slots stay taken.
    pub fn slots_were_reset(&mut self, slots: &[u16]) -> Result<(), StoreError> {
        self.leave_doubt()?;
        let freed = |record: &Record| {
            !record.slots.is_empty() && record.slots.iter().all(|slot| slots.contains(slot))
        };
        let records: Vec<(Key, Record)> = self
            .kept
            .entries()
            .filter(|(_, entry)| !entry.is_active() && freed(&entry.record))
            // What was granted and not used is not used: the count is final.
            .map(|(key, entry)| (key.clone(), entry.record.without_slots(entry.document.as_deref())))
            .collect();
        let mut unclean = self.kept.unclean().clone();
        unclean.retain(|slot| !slots.contains(slot));
        // A store that can't be used keeps nothing of it.
        let are_clean = self.kept.is_usable() && unclean.is_empty() && !self.kept.unclean().is_empty();
        if are_clean {
            self.commit(&records, Vec::new(), |batch| places::are_unclean(batch, false))?;
            self.take(records);
        } else {
            self.keep(records)?;
        }
        self.kept.inner_mut().unclean = unclean;
        Ok(())
    }
}
