//! Writing: records and audit lines, together or not at all.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use redb::WriteTransaction;
use serde_json::{Map, Value, json};

use super::disk::{AUDIT, RECORDS};
use super::entry::Entry;
use super::read::{OpenDocument, Reader, Stored};
use super::{DayCount, DayUse, Key, Store, StoreError, quota};
use crate::audit::{self, Kind, Who};
use crate::exemption::record::Record;

/// A transaction that failed, and that the disk may have all the same.
pub(super) struct Doubt {
    records: Vec<(Key, Record)>,
    /// The last of its lines, where it has any.
    last_line: Option<String>,
}

impl Store {
    /// Appends a record to the audit trail.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn audit(&mut self, record: audit::Record) -> Result<(), StoreError> {
        self.commit(&[], vec![record], |_| Ok(()))
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
        self.leave_doubt()?;
        let Some(disk) = &self.disk else { return Err(self.no_disk()) };
        let mut last = self.last_line.clone();
        let mut lines = Vec::new();
        for record in self.unrecorded.iter().chain(&audit) {
            let broken = |error| StoreError::Damaged {
                path: self.path.clone(),
                reason: format!("the audit trail ends with a line that is not a record: {error}"),
            };
            let line = audit::next_line(last.as_deref(), record).map_err(broken)?;
            let sequence = audit::Head::of_line(&line).map_err(broken)?.sequence;
            lines.push((sequence, line.clone()));
            last = Some(line);
        }
        let unsaved = self.kept.entries().filter(|(_, entry)| entry.unsaved);
        let unsaved = unsaved.map(|(key, entry)| (key.clone(), entry.record.clone()));
        // A later record of the same exemption goes over an earlier one.
        let records: Vec<(Key, Record)> = unsaved.chain(records.iter().cloned()).collect();
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
            more(batch)
        });
        if let Err(error) = written {
            // Only the disk knows whether it has it.
            let last_line = last.clone().filter(|_| !lines.is_empty());
            self.doubt = Some(Doubt { records, last_line });
            if !self.settle().unwrap_or(false) {
                return Err(error);
            }
            self.doubt = None;
        }
        self.last_line = last;
        self.unrecorded.clear();
        for key in self.kept.unsaved() {
            self.change_entry(&key, |entry| entry.unsaved = false);
        }
        Ok(())
    }

    /// Finds out what became of the transaction that failed last, before anything else is read or written.
    pub(super) fn leave_doubt(&mut self) -> Result<(), StoreError> {
        if self.doubt.is_some() && self.settle()? {
            // Who was told that it failed may have gone on from there.
            let source = io::Error::other(
                "an earlier write was reported as failed, and is on the disk all the same; start the daemon \
                 again, and look at what is open",
            );
            return Err(StoreError::Disk { path: self.path.clone(), step: "writing it", source });
        }
        Ok(())
    }

    /// Opens the database again after a failure, and says whether what was to be written is there; then the
    /// doubt stays.
    fn settle(&mut self) -> Result<bool, StoreError> {
        let Some(disk) = &mut self.disk else { return Err(self.no_disk()) };
        let Some(doubt) = &self.doubt else { return Ok(false) };
        disk.reopen()?;
        let reader = disk.read(&self.path)?;
        let landed = match &doubt.last_line {
            Some(_) => reader.last_line()? == doubt.last_line,
            None => {
                let mut all = !doubt.records.is_empty();
                for (key, record) in &doubt.records {
                    all = all && reader.record(key)?.as_ref() == Some(record);
                }
                all
            }
        };
        if !landed {
            self.doubt = None;
        }
        Ok(landed)
    }

    /// Whether this process has changes that the disk did not take.
    pub(super) fn is_ahead(&self) -> bool {
        !self.unrecorded.is_empty() || self.kept.entries().any(|(_, entry)| entry.unsaved)
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

    pub(super) fn no_disk(&self) -> StoreError {
        StoreError::unusable(&self.path)
    }

    pub(super) fn reader(&self) -> Result<Reader, StoreError> {
        self.disk.as_ref().ok_or_else(|| self.no_disk())?.read(&self.path)
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
