//! Uses of exemptions that the store has less of than its mark: who puts back an older copy of the store whose trail ends with the
//! same record makes quotas whole by that. What the mark has more counts as used.

use jiff::Timestamp;

use super::days::day;
use super::marked_use::MarkedUse;
use super::rollup::{self, Spent};
use super::tampered::{Changed, Lacking, told};
use super::{Kept, Key, Store, StoreError};
use crate::audit::{self, Who};
use crate::exemption::record::{Record, Use};

impl Kept {
    /// What the mark is to have of the uses. What is closed for good spends nothing any more, and is left out.
    pub(super) fn marked_uses(&self) -> Vec<MarkedUse> {
        let open = self.entries().filter(|(_, entry)| entry.can_be_closed());
        let used = open.filter(|(_, entry)| entry.record.used() != Use::default());
        let marked = used.map(|((id, version), entry)| MarkedUse {
            id: id.clone(),
            version: *version,
            sha256: entry.record.sha256.clone(),
            used: entry.record.used(),
            slots: entry.record.slots.clone(),
            counted: entry.record.counted_by_slot.clone(),
        });
        marked.collect()
    }
}

impl Store {
    /// Has each exemption that the mark has more use of go on with that, and the trail say so. The mark is written after the
    /// store, so that no ordinary end leaves it with more: not a kill or a loss of power, after which what was granted counts as
    /// used as well. `who` is the daemon.
    pub(super) fn raise_uses(
        &mut self,
        marked: &[MarkedUse],
        who: &Who,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (mut records, mut spent, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for marked in marked {
            let key: Key = (marked.id.clone(), marked.version);
            let of_it = self.kept.entry(&key).filter(|entry| entry.record.sha256 == marked.sha256);
            let Some(entry) = of_it.filter(|entry| entry.record.used().bytes < marked.used.bytes) else {
                continue;
            };
            let (counted, rest) = entry.lacks(marked);
            let more = counted.all().plus(rest);
            let raised = entry.record_with(&counted);
            // What is in none of its places is attributed to none of its recipients.
            let before = raised.before.plus(rest);
            records.push((key.clone(), Record { before, seen: Some(entry.seen_by(now)), ..raised }));
            lines.push(Lacking { key: &key, bytes: more.bytes }.record(who, now));
            spent.push(Spent { key, all: more, by_recipient: entry.by_recipient(&counted) });
        }
        if records.is_empty() {
            return Ok(());
        }
        let changed: Changed =
            lines.iter().filter_map(|it: &audit::Record| told(&it.subject, &it.detail)).collect();
        self.commit(&records, lines, |batch| rollup::add_use(batch, &day(now), &spent))?;
        self.take(records);
        self.kept.inner_mut().changed_tables.extend(changed);
        Ok(())
    }
}
