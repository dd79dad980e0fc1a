//! Noting which configs are live while the store is not open, or takes no record, and recording them when it does.

use jiff::Timestamp;
use redb::ReadableTable as _;
use serde_json::{Map, Value};

use super::tables::{CONFIGS, META};
use super::unrecorded::{JUDGED, Judges, LIVE, Other, Unrecorded, Untold, live_by};
use super::{Reader, Store, StoreError, sha256};
use crate::audit::{self, Kind, Who};

/// The row of the database's facts that has the number of the record by which another config was live than the one in force.
const OTHER: &str = "unrecorded";
/// The most that are noted: what comes after them is one that is not known.
const NOTED: usize = 16;

impl Reader {
    /// That another config was live than the trail says.
    pub(super) fn other_config(&self) -> Result<Option<Other>, StoreError> {
        let Some(sequence) = self.number(OTHER)?.filter(|it| *it > 0) else { return Ok(None) };
        let line = self.audit_lines(sequence, 1)?.pop().unwrap_or_default();
        let detail = audit::Stored::read(line.as_bytes()).map(|record| record.detail).unwrap_or_default();
        Ok(Some(Other::of(sequence, &detail)))
    }
}

impl Store {
    /// Notes a config that is live and of which no record can be written, where this store is not open. It is on the disk, and in
    /// the kernel, with the next [`keep_marks`](Self::keep_marks).
    pub fn note_config(&mut self, record: &audit::Record, text: &[u8]) {
        if self.kept.is_usable() {
            return;
        }
        let note = Unrecorded::of(record, text);
        let last = self.to_note.last().or(self.marks.unrecorded.last());
        let is_new = last.is_none_or(|it| it.judges() != note.judges());
        let count = self.to_note.len() + self.marks.unrecorded.len();
        match count {
            0..NOTED if is_new => self.to_note.push(note),
            NOTED => self.to_note.push(Unrecorded::unknown(None)),
            _ => {}
        }
    }

    /// Keeps the record of a config, with its text, for the disk of this open store has refused it; of a reload that changed
    /// nothing none is kept.
    pub(super) fn is_late(&mut self, record: audit::Record, text: &[u8]) {
        let has_changed = || match self.late_configs.last() {
            Some((last, _)) => Judges::of(&last.detail) != Judges::of(&record.detail),
            None => self.in_force().is_none_or(|it| Judges::of(&it) != Judges::of(&record.detail)),
        };
        let is_new = record.kind == Kind::Start || has_changed();
        if self.kept.is_usable() && is_new && self.late_configs.len() < NOTED {
            self.late_configs.push((record, text.to_vec()));
        }
    }

    /// The facts of the config that is in force by the trail, where that can be read.
    fn in_force(&self) -> Option<Map<String, Value>> {
        self.reader().and_then(|reader| reader.last_facts("config_sha256")).ok().flatten()
    }

    /// Appends the records of configs that the disk has refused, in their order.
    ///
    /// # Errors
    /// Where it still refuses one.
    pub(super) fn append_late_configs(&mut self) -> Result<(), StoreError> {
        if self.late_configs.is_empty() {
            return Ok(());
        }
        // The last one may be on the disk, though it was told as refused.
        self.leave_doubt()?;
        while let Some((record, text)) = self.late_configs.first().cloned() {
            self.append_config(record, &text)?;
            self.late_configs.remove(0);
        }
        Ok(())
    }

    /// What is noted of these, as long as the trail lacks them: the next daemon may be another one.
    pub(super) fn late_notes(&self) -> Vec<Unrecorded> {
        let note = |(record, text): &(audit::Record, Vec<u8>)| {
            let mut note = Unrecorded::of(record, text);
            if !note.is_start && !is_of_databases(record) {
                // What opens is refused where the trail can't have it.
                note.detail.insert(JUDGED.to_owned(), true.into());
            }
            note
        };
        let Some((first, _)) = self.late_configs.first() else { return Vec::new() };
        let is_in_force = self.in_force().is_some_and(|it| Judges::of(&it) == Judges::of(&first.detail));
        self.late_configs.iter().skip(usize::from(is_in_force)).map(note).collect()
    }

    /// Whether the trail has what went live at the end of an earlier daemon, which was the only one.
    pub(super) fn has_told(&self, untold: &Untold) -> Result<bool, StoreError> {
        let in_force = self.reader()?.last_facts("config_sha256")?;
        Ok(untold.count == 1 && in_force.is_some_and(|it| live_by(&it) == Some(untold.live)))
    }

    /// Has the trail say which configs were live that it has no record of. `who` is the daemon.
    pub(super) fn record_unrecorded(
        &mut self,
        notes: &[Unrecorded],
        who: &Who,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Nothing was in force before a store that begins.
        let Some(last) = self.last_line.as_deref().filter(|_| !notes.is_empty()) else { return Ok(()) };
        let before = audit::Head::of_line(last).map_or(0, |head| head.sequence);
        let in_force = self.reader()?.last_facts("config_sha256")?.unwrap_or_default();
        let (mut known, mut first_other) = (vec![Judges::of(&in_force)], None);
        let mut records = Vec::new();
        for (note, sequence) in notes.iter().zip(before + 1..) {
            // A reload was held against one that may have been another one itself, or by nobody.
            let is_another = || !note.is_known || !known.contains(&note.judges());
            let is_other = match (note.is_start, note.is_judged()) {
                (true, _) => is_another(),
                (false, is_judged) => first_other.is_some() || (!is_judged && is_another()),
            };
            if is_other {
                first_other = first_other.or(Some(sequence));
            } else {
                known.push(note.judges());
            }
            let mut detail = note.detail.clone();
            detail.insert("since".to_owned(), note.since.map(|it| it.to_string()).into());
            detail.insert("other".to_owned(), is_other.into());
            detail.insert("known".to_owned(), note.is_known.into());
            let subject = detail.get("config").and_then(Value::as_str).unwrap_or_default().to_owned();
            let (kind, who) = (Kind::Unrecorded, who.clone());
            records.push(audit::Record { time: now, kind, who, subject, why: String::new(), detail });
        }
        let texts: Vec<&str> = notes.iter().filter(|it| it.is_known).map(|it| it.text.as_str()).collect();
        self.commit(&[], records, |batch| {
            let mut table = batch.open_table(CONFIGS)?;
            for text in texts {
                let sha256 = sha256(text.as_bytes());
                let is_there = table.get(sha256.as_str())?.is_some();
                if !is_there {
                    table.insert(sha256.as_str(), text.as_bytes())?;
                }
            }
            drop(table);
            if let Some(sequence) = first_other {
                batch.open_table(META)?.insert(OTHER, sequence)?;
            }
            Ok(())
        })?;
        if first_other.is_some() {
            self.kept.inner_mut().other_config = self.reader()?.other_config()?;
        }
        Ok(())
    }
}

/// What the config judges by that this record says is live.
pub(super) fn told_by(record: &audit::Record) -> Option<[u8; 32]> {
    match record.kind {
        Kind::Start | Kind::Reload | Kind::Apply => live_by(&record.detail),
        Kind::RollBack => record.detail.get(LIVE)?.as_object().and_then(live_by),
        _ => None,
    }
}

/// Whether by this record nobody is to be told of another config any more: somebody else than a daemon asked for a reload.
pub(super) fn ends_other(record: &audit::Record) -> bool {
    record.kind == Kind::Reload && record.who.pid != Some(std::process::id()) && !is_of_databases(record)
}

/// Whether geo databases alone were taken, by themselves or with a yes, and the config is the one that was live.
fn is_of_databases(record: &audit::Record) -> bool {
    record.detail.contains_key("databases_alone")
}

/// Has the database say so, in the record's transaction.
pub(super) fn forget_other(batch: &redb::WriteTransaction) -> Result<(), redb::Error> {
    batch.open_table(META)?.remove(OTHER)?;
    Ok(())
}
