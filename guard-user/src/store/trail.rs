//! Writing: records and audit lines, together or not at all.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use redb::{ReadableTable, WriteTransaction};
use serde_json::{Map, Value, json};

use super::doubt::Doubt;
use super::entry::Entry;
use super::read::{Found, OpenDocument, Stored};
use super::tables::{APPLIED, AUDIT, CONFIGS, ORDERS, RECORDS};
use super::{DayCount, DayUse, Key, Store, StoreError, live_configs, quota, signed_files, tampered};
use crate::audit::{self, Kind, Who};
use crate::digest::sha256;
use crate::exemption::StandingOrder;
use crate::exemption::record::{Record, Status};

/// Why something is closed that was opened by a write that was reported as failed.
const UNREPORTED: &str = "it was opened by a write that the disk reported as failed";

impl Store {
    /// Appends a record to the audit trail.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn audit(&mut self, record: audit::Record) -> Result<(), StoreError> {
        self.leave_doubt()?;
        self.commit(&[], vec![record], |_| Ok(()))
    }

    /// Appends records, all of them or none.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn audit_all(&mut self, records: Vec<audit::Record>) -> Result<(), StoreError> {
        self.leave_doubt()?;
        self.commit(&[], records, |_| Ok(()))
    }

    /// Appends a record that names a config by its hash, and keeps the config's text, in one transaction. Where the store is not
    /// open, or takes no record, that is noted beside it ([`keep_marks`](Self::keep_marks)). One that was applied is not in force
    /// before it is confirmed: the one before it is what a start and a reload are held against.
    ///
    /// # Errors
    /// Where the disk refuses. A store that is open appends it before the next one all the same.
    pub fn audit_config(&mut self, record: audit::Record, text: &[u8]) -> Result<(), StoreError> {
        self.note_config(&record, text);
        let written = self.append_late_configs().and_then(|()| self.append_config(record.clone(), text));
        if written.is_err() {
            self.is_late(record, text);
        }
        written
    }

    pub(super) fn append_config(&mut self, record: audit::Record, text: &[u8]) -> Result<(), StoreError> {
        self.leave_doubt()?;
        let (sha256, ends_other) = (sha256(text), live_configs::ends_other(&record));
        if record.kind == Kind::Apply {
            return self.commit(&[], vec![record], |batch| {
                batch.open_table(APPLIED)?.insert(sha256.as_str(), text)?;
                Ok(())
            });
        }
        self.commit(&[], vec![record], |batch| {
            let mut table = batch.open_table(CONFIGS)?;
            let is_there = table.get(sha256.as_str())?.is_some();
            if !is_there {
                table.insert(sha256.as_str(), text)?;
            }
            drop(table);
            if !ends_other {
                return Ok(());
            }
            tampered::forget(batch)?;
            live_configs::forget_other(batch)
        })?;
        let kept = self.kept.inner_mut();
        kept.other_config.take_if(|_| ends_other);
        if ends_other {
            kept.changed_tables.clear();
        }
        kept.configs.all.insert(sha256.clone());
        kept.configs.last = Some(sha256);
        Ok(())
    }

    /// The record of something that became of an exemption.
    pub(super) fn record_of(
        kind: Kind,
        (id, version): &Key,
        who: &Who,
        now: Timestamp,
        why: &str,
        detail: Value,
    ) -> audit::Record {
        let mut whole = Map::from_iter([("version".to_owned(), json!(version))]);
        if let Value::Object(detail) = detail {
            whole.extend(detail);
        }
        audit::Record {
            time: now,
            kind,
            who: who.clone(),
            subject: id.clone(),
            why: why.to_owned(),
            detail: whole,
        }
    }

    /// One transaction: these records, these lines at the end of the trail, and what else is written; before
    /// them what an earlier one could not write.
    pub(super) fn commit(
        &mut self,
        records: &[(Key, Record)],
        audit: Vec<audit::Record>,
        more: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        if let Some(Doubt { why, .. }) = &self.doubt {
            let source = io::Error::other(format!("an earlier write failed, and {why}"));
            return Err(StoreError::Disk { path: self.path.clone(), step: "writing it", source });
        }
        let Some(disk) = &self.disk else { return Err(self.no_disk()) };
        let told = audit.iter().rev().find_map(live_configs::told_by);
        let mut last = self.last_line.clone();
        let mut lines = Vec::new();
        let records_of_trail: Vec<audit::Record> = self.unrecorded.iter().cloned().chain(audit).collect();
        for record in &records_of_trail {
            let broken = |error| StoreError::Damaged {
                path: self.path.clone(),
                reason: format!("the audit trail ends with a line that is not a record: {error}"),
            };
            let line = audit::next_line(last.as_deref(), record).map_err(broken)?;
            let sequence = audit::Head::of_line(&line).map_err(broken)?.sequence;
            lines.push((sequence, line.clone()));
            last = Some(line);
        }
        let sequences = lines.iter().map(|(sequence, _)| *sequence);
        let signed = signed_files::told_by(sequences.zip(&records_of_trail));
        let unsaved = self.kept.entries().filter(|(_, entry)| entry.unsaved);
        let unsaved = unsaved.map(|(key, entry)| (key.clone(), entry.record.clone()));
        // A later record of the same exemption goes over an earlier one.
        let records: Vec<(Key, Record)> = unsaved.chain(records.iter().cloned()).collect();
        let orders: Vec<(String, StandingOrder)> = self
            .kept
            .standing()
            .iter()
            .filter(|(_, it)| it.unsaved)
            .map(|(row, it)| (row.clone(), it.order.clone()))
            .collect();
        let written = disk.write(|batch| {
            let mut table = batch.open_table(RECORDS)?;
            for ((id, version), record) in &records {
                let bytes = serde_json::to_vec(record).map_err(|error| redb::Error::Io(error.into()))?;
                table.insert((id.as_str(), *version), bytes.as_slice())?;
            }
            drop(table);
            let mut table = batch.open_table(AUDIT)?;
            for (sequence, line) in &lines {
                table.insert(*sequence, line.as_str())?;
            }
            drop(table);
            let mut table = batch.open_table(ORDERS)?;
            for (row, order) in &orders {
                let bytes = serde_json::to_vec(order).map_err(|error| redb::Error::Io(error.into()))?;
                table.insert(row.as_str(), bytes.as_slice())?;
            }
            drop(table);
            tampered::keep(lines.iter().map(|(sequence, _)| *sequence).zip(&records_of_trail), batch)?;
            signed_files::keep(&signed, batch)?;
            more(batch)
        });
        if let Err(error) = written {
            // Only the disk knows whether it has it.
            let last_line = last.clone().filter(|_| !lines.is_empty());
            let doubt = Doubt { records, lines: records_of_trail, last_line, why: String::new() };
            match self.has_landed(&doubt) {
                Ok(true) => {}
                Ok(false) => return Err(error),
                Err(cannot_ask) => {
                    self.doubt = Some(Doubt { why: cannot_ask.to_string(), ..doubt });
                    return Err(error);
                }
            }
        }
        self.last_line = last;
        if !signed.is_empty() {
            self.kept.inner_mut().signed_files.extend(signed);
        }
        self.marks.told = told.or(self.marks.told);
        self.unrecorded.clear();
        for key in self.kept.unsaved() {
            self.change_entry(&key, |entry| entry.unsaved = false);
        }
        if !orders.is_empty() {
            self.kept.inner_mut().orders.values_mut().for_each(|it| it.unsaved = false);
        }
        Ok(())
    }

    /// Finds out what became of a transaction that failed and of which the disk could not be asked. To be called
    /// before anything else is done: what is written next is made of what is in memory.
    ///
    /// # Errors
    /// Where the disk still can't be asked; until then every write is refused.
    pub(super) fn leave_doubt(&mut self) -> Result<(), StoreError> {
        let Some(mut doubt) = self.doubt.take() else { return Ok(()) };
        let left = match self.has_landed(&doubt) {
            Ok(true) => self.take_what_landed(&doubt),
            landed => landed.map(drop),
        };
        if let Err(error) = left {
            doubt.why = error.to_string();
            self.doubt = Some(doubt);
            return Err(error);
        }
        // What was put right is on the disk before anything else.
        if self.is_ahead() { self.commit(&[], Vec::new(), |_| Ok(())) } else { Ok(()) }
    }

    /// Opens the database again after a failure, and says whether what was to be written is there.
    fn has_landed(&mut self, doubt: &Doubt) -> Result<bool, StoreError> {
        let Some(disk) = &mut self.disk else { return Err(self.no_disk()) };
        disk.reopen()?;
        let reader = disk.read(&self.path)?;
        if doubt.last_line.is_some() {
            return Ok(reader.last_line()? == doubt.last_line);
        }
        let mut all = !doubt.records.is_empty();
        for (key, record) in &doubt.records {
            all = all && reader.record(key)?.as_ref() == Some(record);
        }
        Ok(all)
    }

    /// A transaction was reported as failed, and is on the disk: takes up what it wrote, but for what it opened.
    /// Those who asked for that went on as if it were closed, so it is closed, and the trail says so.
    fn take_what_landed(&mut self, doubt: &Doubt) -> Result<(), StoreError> {
        let reader = self.reader()?;
        let last_line = reader.last_line()?;
        let Found { entries: mut found, orders, .. } = reader.exemptions()?;
        let written =
            self.unrecorded.iter().zip(&doubt.lines).take_while(|(one, other)| one == other).count();
        self.unrecorded.drain(..written);
        self.late_configs.retain(|(record, _)| !doubt.lines.contains(record));
        self.last_line = last_line;
        // An order that it took stands, and one that it lifted does: whoever asked for that went on as if it stood.
        let here = &mut self.kept.inner_mut().orders;
        for (row, it) in here.iter_mut() {
            it.unsaved = !orders.contains_key(row);
        }
        for (row, it) in orders {
            here.entry(row).or_insert(it);
        }
        for (key, _) in &doubt.records {
            // One that can't be read any more stays what it is here, which is no more open.
            let Some(there) = found.remove(key) else { continue };
            let here = self.kept.entry(key).map(|entry| entry.record.clone());
            let entry = self.closed_as_here(doubt, key, here, there);
            self.kept.inner_mut().entries.insert(key.clone(), Arc::new(entry));
        }
        Ok(())
    }

    /// An exemption as the disk has it, but no more open than it is here.
    fn closed_as_here(&mut self, doubt: &Doubt, key: &Key, here: Option<Record>, there: Entry) -> Entry {
        let is_open = there.record.is_active();
        let (status, reasons) = match here {
            // A closing that the disk did not take by then, or a resumption that it took.
            Some(here) if !here.is_active() => (here.status, here.reasons),
            // A load that it took.
            None if is_open => {
                let (at, by) = (doubt.time(), doubt.who().uid);
                let status = Status::Revoked { at, why: UNREPORTED.to_owned(), by };
                (status, there.record.reasons.clone())
            }
            _ => return there,
        };
        if status == there.record.status {
            return there;
        }
        let is_recorded = self.unrecorded.iter().any(|record| record.is_about(key));
        if is_open && !is_recorded {
            let kind = if matches!(status, Status::Stayed { .. }) { Kind::Stay } else { Kind::Revoke };
            let record = Self::record_of(kind, key, &doubt.who(), doubt.time(), UNREPORTED, json!({}));
            self.unrecorded.push(record);
        }
        Entry { record: Record { status, reasons, ..there.record }, unsaved: true, ..there }
    }

    /// Whether this process has changes that the disk did not take.
    pub(super) fn is_ahead(&self) -> bool {
        !self.unrecorded.is_empty() || self.kept.is_ahead()
    }

    /// Takes up closings, of which the disk may not know.
    pub(super) fn take_closings(
        &mut self,
        records: Vec<(Key, Record)>,
        lines: Vec<audit::Record>,
        kept: bool,
    ) {
        for (key, record) in records {
            self.change_entry(&key, |entry| {
                entry.record = record;
                entry.unsaved = !kept;
            });
        }
        if !kept {
            self.unrecorded.extend(lines);
            return;
        }
        // The database keeps its last two states and one bit that says which is the last: it must not be that
        // bit alone that keeps something closed, so the state before the last has it, too. Where this one fails,
        // what counts is on the disk already.
        let _kept_twice = self.commit(&[], Vec::new(), |_| Ok(()));
    }

    /// Writes records that are not worth a line of the trail, and takes them up.
    pub(super) fn keep(&mut self, records: Vec<(Key, Record)>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.commit(&records, Vec::new(), |_| Ok(()))?;
        self.take(records);
        Ok(())
    }

    /// Takes up records that are on the disk.
    pub(super) fn take(&mut self, records: Vec<(Key, Record)>) {
        for (key, record) in records {
            self.change_entry(&key, |entry| {
                entry.record = record;
                entry.unsaved = false;
            });
        }
    }

    /// Changes one exemption in memory.
    pub(super) fn change_entry(&mut self, key: &Key, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.kept.inner_mut().entries.get_mut(key) {
            change(Arc::make_mut(entry));
        }
    }

    /// Lines of the audit trail from this sequence number on, at most so many.
    ///
    /// # Errors
    /// Where they can't be read.
    pub fn audit_lines(&self, from: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.reader()?.audit_lines(from, limit)
    }

    /// The last line of the audit trail.
    #[must_use]
    pub fn last_audit_line(&self) -> Option<&str> {
        self.last_line.as_deref()
    }

    /// An exemption as it is stored, with its signatures: the version that is open, else the highest.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn stored(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.reader()?.stored(key)
    }

    /// The documents of the exemptions that are open.
    ///
    /// # Errors
    /// Where they can't be read.
    pub fn open_documents(&self) -> Result<Vec<OpenDocument>, StoreError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let reader = disk.read(&self.path)?;
        let mut open = Vec::new();
        for (key, entry) in self.kept.entries().filter(|(_, entry)| entry.is_active()) {
            let (Some(document), Some(bytes)) = (&entry.document, reader.document(key)?) else { continue };
            let left = quota::left(document, &entry.record).saturating_sub(entry.record.counted.bytes);
            let left = document.quota_bytes.map(|_| left);
            open.push(OpenDocument { bytes, slots: entry.record.slots.clone(), left });
        }
        Ok(open)
    }

    /// What exemptions let through, day by day.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn use_by_day(&self) -> Result<Vec<DayUse>, StoreError> {
        self.reader()?.use_by_day()
    }

    /// What was judged, day by day.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn counts_by_day(&self) -> Result<Vec<DayCount>, StoreError> {
        self.reader()?.counts_by_day()
    }
}
