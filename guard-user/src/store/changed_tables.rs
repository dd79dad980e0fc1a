//! Tables in the kernel that an earlier daemon has found changed, and what exemptions have let through that none of them has in
//! its use: root, who can write what the kernel counts and put back an older copy of the store, makes a quota whole by that.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::tables::META;
use super::tampered::{Changed, LOOKED_FOR, SINCE, record_of, row_of, told};
use super::{Reader, Store, StoreError};
use crate::audit::{self, Kind, Who};

/// How many lines of the trail are read at once.
const LINES: usize = 1000;

impl Reader {
    /// The tables that were found changed and that nobody has reloaded since.
    pub(super) fn changed_tables(&self) -> Result<Changed, StoreError> {
        let mut changed = Changed::new();
        let Some(mut from) = self.number(SINCE)? else { return Ok(changed) };
        loop {
            let lines = self.audit_lines(from, LINES)?;
            if lines.is_empty() {
                return Ok(changed);
            }
            from = from.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
            for record in lines.iter().filter_map(|line| audit::Stored::read(line.as_bytes()).ok()) {
                if record.kind == Kind::Tampered.name() {
                    changed.extend(told(&record.subject, &record.detail));
                }
            }
        }
    }

    /// How many bytes of this pin are known to be in no exemption's use.
    fn unattributed_of(&self, pin: &str) -> Result<u64, StoreError> {
        Ok(self.number(&row_of(pin))?.unwrap_or_default())
    }
}

impl Store {
    /// Takes up how many bytes exemptions have let through that none of them has in its use, by pin, and has the trail say where
    /// that is more than was known. What is found first since the kernel's counters began is known from then on: what was
    /// counted in the last moments before a loss of power may be in the one sum and not in the other. `who` is the daemon.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn note_unattributed(
        &mut self,
        found: &BTreeMap<String, u64>,
        who: &Who,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.leave_doubt()?;
        let reader = self.reader()?;
        let is_first = reader.number(LOOKED_FOR)?.is_none();
        let mut grown: Vec<(&str, u64, u64)> = Vec::new();
        for (pin, bytes) in found {
            let more = bytes.saturating_sub(reader.unattributed_of(pin)?);
            if more > 0 {
                grown.push((pin.as_str(), *bytes, more));
            }
        }
        drop(reader);
        if grown.is_empty() && !is_first {
            return Ok(());
        }
        let news = grown.iter().filter(|_| !is_first);
        let records: Vec<audit::Record> =
            news.map(|&(pin, _, more)| record_of((pin, more), who, now)).collect();
        let changed: Changed = records.iter().filter_map(|it| told(&it.subject, &it.detail)).collect();
        self.commit(&[], records, |batch| {
            let mut table = batch.open_table(META)?;
            table.insert(LOOKED_FOR, 1_u64)?;
            for (pin, bytes, _) in &grown {
                table.insert(row_of(pin).as_str(), *bytes)?;
            }
            Ok(())
        })?;
        if !changed.is_empty() {
            self.kept.inner_mut().changed_tables.extend(changed);
        }
        Ok(())
    }
}
