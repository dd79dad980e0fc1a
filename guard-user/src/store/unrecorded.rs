//! Configs that were live while the store could not be opened, so that its trail has no record of them.
//!
//! Whoever keeps the store from being opened at a start could have another config judge for a while, end the daemon and put
//! everything back. So what is live then is noted in the file of the mark, and in the kernel by a SHA-256 of these notes, with the
//! first config's own. The next store that opens has a record of each. Where file and kernel differ, a record has what the kernel
//! knows.

use jiff::Timestamp;
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::tables::{CONFIGS, META};
use super::{Reader, Store, StoreError, sha256};
use crate::audit::{self, Kind, Who};
use crate::digest::{from_hexadecimal, hexadecimal};

/// The row of the database's facts that has the number of the record by which another config was live than the one in force.
const OTHER: &str = "unrecorded";
/// The most that are noted: what comes after them is one that is not known.
const NOTED: usize = 16;

/// A config that was live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unrecorded {
    /// Since when; `None` where that is not known.
    since: Option<Timestamp>,
    /// Whether it is known which one it was, and that there was no other beside it.
    is_known: bool,
    /// Whether a start took it, which holds it against what it finds on the disk; a reload holds it against the one before.
    is_start: bool,
    /// What the record says that could not be written.
    detail: Map<String, Value>,
    /// The config's text.
    text: String,
}

impl Unrecorded {
    /// The config of a record that can't be written.
    fn of(record: &audit::Record, text: &[u8]) -> Self {
        Self {
            since: Some(record.time),
            is_known: true,
            is_start: record.kind == Kind::Start,
            detail: record.detail.clone(),
            text: String::from_utf8_lossy(text).into_owned(),
        }
    }

    /// Some of which no more is known than what the kernel has of the first.
    fn unknown(first: Option<&Noted>) -> Self {
        let since = first.and_then(|it| Timestamp::from_second(it.since.cast_signed()).ok());
        let config = first.map(|it| ("config_sha256".to_owned(), hexadecimal(it.config).into()));
        let detail = config.into_iter().collect();
        Self { since, is_known: false, is_start: true, detail, text: String::new() }
    }

    /// What of it packets are judged by.
    fn judges(&self) -> Judges<'_> {
        Judges::of(&self.detail)
    }
}

/// What packets are judged by, as a record of the trail names it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Judges<'d> {
    config: Option<&'d str>,
    geo: Option<&'d str>,
    observe: bool,
}

impl<'d> Judges<'d> {
    fn of(detail: &'d Map<String, Value>) -> Self {
        let text = |name: &str| detail.get(name).and_then(Value::as_str);
        let observe = detail.get("observe").and_then(Value::as_bool).unwrap_or_default();
        // Of the tables: what a database is known by says also what it was held against.
        Self { config: text("config_sha256"), geo: text("geo_sha256"), observe }
    }
}

/// What the kernel has of these notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// SHA-256 of all of them.
    pub digest: [u8; 32],
    /// SHA-256 of the first config's text.
    pub config: [u8; 32],
    /// Since when that was live, seconds since 1970.
    pub since: u64,
}

impl Noted {
    /// Of these; `None` where there are none.
    pub(super) fn of(notes: &[Unrecorded]) -> Option<Self> {
        let first = notes.first()?;
        let since = first.since.map_or(0, |it| it.as_second().cast_unsigned());
        let config = first.judges().config.and_then(from_hexadecimal).unwrap_or_default();
        Some(Self { digest: digest(notes), config, since })
    }
}

fn digest(notes: &[Unrecorded]) -> [u8; 32] {
    // They were read from JSON, or are to be written as such.
    Sha256::digest(serde_json::to_vec(notes).unwrap_or_default()).into()
}

/// These notes, before them those that the file has, and one more where the kernel has it that there were others.
pub(super) fn together(
    own: Vec<Unrecorded>,
    of_file: Vec<Unrecorded>,
    of_kernel: Option<Noted>,
) -> Vec<Unrecorded> {
    let is_known =
        of_kernel.is_none_or(|it| [&of_file, &own].into_iter().any(|notes| digest(notes) == it.digest));
    let mut all: Vec<Unrecorded> = of_file.into_iter().filter(|it| !own.contains(it)).collect();
    all.extend(own);
    let unknown = Unrecorded::unknown(of_kernel.as_ref());
    if !is_known && !all.contains(&unknown) {
        all.insert(0, unknown);
    }
    all
}

/// Another config than the one in force was live, and nobody has reloaded one since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other(pub(super) String);

impl Other {
    fn of(sequence: u64, detail: &Map<String, Value>) -> Self {
        let what = what_was_live(detail);
        Self(format!(
            "{what} while the store could not be opened, so that nothing could be recorded: what left meanwhile was judged by \
             that. Record {sequence} of the audit trail has it"
        ))
    }
}

impl Reader {
    /// That another config was live than the trail says.
    pub(super) fn other_config(&self) -> Result<Option<Other>, StoreError> {
        let Some(sequence) = self.number(OTHER)?.filter(|it| *it > 0) else { return Ok(None) };
        let line = self.audit_lines(sequence, 1)?.pop().unwrap_or_default();
        let detail = audit::Stored::read(line.as_bytes()).map(|record| record.detail).unwrap_or_default();
        Ok(Some(Other::of(sequence, &detail)))
    }
}

/// What was live, by the detail of such a record: the begin of a sentence that goes on with "while".
#[must_use]
pub fn what_was_live(detail: &Map<String, Value>) -> String {
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    let is_known = detail.get("known").and_then(Value::as_bool).unwrap_or_default();
    match (text("since"), text("config_sha256"), is_known) {
        (Some(since), Some(config), true) => {
            format!("from {since} on another config or geo database was live (SHA-256 {config})")
        }
        (Some(since), Some(config), false) => format!(
            "from {since} on configs were live of which the notes are gone (the first has the SHA-256 {config}, whether there \
             were others is not known)"
        ),
        _ => "another config was live, and which one is not known,".to_owned(),
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
            // A reload was held against one that may have been another one itself.
            let is_other = match note.is_start {
                true => !note.is_known || !known.contains(&note.judges()),
                false => first_other.is_some(),
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

/// Whether by this record nobody is to be told of another config any more: somebody else than a daemon asked for a reload.
pub(super) fn ends_other(record: &audit::Record) -> bool {
    record.kind == Kind::Reload && record.who.pid != Some(std::process::id())
}

/// Has the database say so, in the record's transaction.
pub(super) fn forget_other(batch: &redb::WriteTransaction) -> Result<(), redb::Error> {
    batch.open_table(META)?.remove(OTHER)?;
    Ok(())
}
