//! Reading the database, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use redb::{Database, ReadTransaction, ReadableTable, TableError};

use super::configs::Configs;
use super::entry::Entry;
use super::last_policy::LastPolicy;
use super::lifted_order::{self, LiftedOrders};
use super::standing::{self, Orders, Standing};
use super::tables::{
    APPLIED, AUDIT, CONFIGS, COUNTS_BY_DAY, CURSORS, DOCUMENTS, FLOWS, LIFTED_ORDERS, LOST, LOST_CONFIGS,
    META, NOW, ORDERS, PIN_COUNTS, RECORDS, SIGNATURES, USE_BY_DAY, USE_BY_RECIPIENT,
};
use super::{Cursor, DayCount, DayUse, Judged, Key, Problem, StoreError, slots};
use serde_json::{Map, Value};

use crate::audit::{self, Kind};
use crate::compile::KernelExemption;
use crate::config::{Errors, Finding};
use crate::digest::sha256;
use crate::exemption::Clocks;
use crate::exemption::record::{Record, Use};
use crate::exemption::{self, Document, ErrorKind, Surroundings};
use crate::geo::Built;

/// The store at one moment.
pub struct Reader {
    path: PathBuf,
    transaction: ReadTransaction,
    /// Keeps the copy of the database, and the file locked for reading.
    _database: Option<(Database, File)>,
}

/// An entry of the kernel's tables with the id of its exemption.
pub type NamedEntry = (String, KernelExemption);

/// A document that is open, as the kernel judges by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDocument {
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
    /// Its slots, the account first.
    pub slots: Vec<u16>,
    /// Bytes that it may let through in them; `None` for no bound.
    pub left: Option<u64>,
}

/// A candidate that an earlier daemon had applied and that was neither confirmed nor taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftUnconfirmed {
    /// Its file.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
    /// The interfaces that were let go while it was live, and not guarded again, by index.
    pub let_go: BTreeMap<u32, LetGo>,
}

/// That an interface was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetGo {
    /// When.
    pub at: Timestamp,
    /// How many packets it had sent by then, by its own counter; `None` where that is not known.
    pub sent: Option<u64>,
}

/// One exemption as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its id and version.
    pub key: Key,
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
    /// The signatures over it, byte for byte.
    pub signatures: Vec<Vec<u8>>,
}

/// The exemptions of a database.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: BTreeMap<Key, Entry>,
    pub(super) orders: Orders,
    pub(super) lifted: LiftedOrders,
    /// Versions whose record can't be read.
    pub(super) unreadable: BTreeSet<Key>,
    /// The highest version of an id that was loaded once and is not here.
    pub(super) lost: BTreeMap<String, u32>,
    /// The configs that were in force.
    pub(super) configs: Configs,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(path: &Path, transaction: ReadTransaction) -> Self {
        Self { path: path.to_owned(), transaction, _database: None }
    }

    pub(super) fn holding(path: &Path, transaction: ReadTransaction, database: (Database, File)) -> Self {
        Self { path: path.to_owned(), transaction, _database: Some(database) }
    }

    /// Every exemption, and what can't be used.
    pub(super) fn exemptions(&self) -> Result<Found, StoreError> {
        let mut found = Found { configs: self.configs()?, ..Found::default() };
        if let Some(table) = self.table(LOST)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                let (id, version) = row.map_err(|error| self.unreadable(error))?;
                found.lost.insert(id.value().to_owned(), version.value());
            }
        }
        let Some(records) = self.table(RECORDS)? else {
            self.add_orders(&mut found)?;
            return Ok(found);
        };
        for row in records.iter().map_err(|error| self.unreadable(error))? {
            let (key, value) = row.map_err(|error| self.unreadable(error))?;
            let key: Key = (key.value().0.to_owned(), key.value().1);
            let record = Record::from_bytes(value.value()).and_then(|record| {
                let past_the_end = || "it has a place past the last one of the kernel's tables".to_owned();
                slots::are_the_kernels(&record).then_some(record).ok_or_else(past_the_end)
            });
            match record {
                Ok(record) => {
                    let document = self.document_of(&key, &record)?;
                    let document = document.and_then(|it| slots::check(&record, &it).map(|()| it));
                    if let Err(reason) = &document {
                        found.problems.push(self.problem(&key, reason));
                    }
                    let entry = Entry { document: document.ok().map(Arc::new), record, unsaved: false };
                    found.entries.insert(key, entry);
                }
                Err(reason) => {
                    let reason = format!("its record can't be read: {reason}");
                    found.problems.push(self.problem(&key, &reason));
                    found.unreadable.insert(key);
                }
            }
        }
        self.presume_what_no_day_has(&mut found.entries)?;
        found.problems.extend(slots::close_shared(&mut found.entries));
        self.add_orders(&mut found)?;
        Ok(found)
    }

    fn add_orders(&self, found: &mut Found) -> Result<(), StoreError> {
        if let Some(table) = self.table(ORDERS)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                let (row, value) = row.map_err(|error| self.unreadable(error))?;
                let (order, problem) = standing::read(row.value(), value.value());
                found.problems.extend(problem);
                found.orders.insert(row.value().to_owned(), Standing { order, unsaved: false });
            }
        }
        standing::add_those_of_records(&mut found.orders, &found.entries);
        let Some(table) = self.table(LIFTED_ORDERS)? else { return Ok(()) };
        for row in table.iter().map_err(|error| self.unreadable(error))? {
            let (row, value) = row.map_err(|error| self.unreadable(error))?;
            match lifted_order::read(row.value(), value.value()) {
                Ok(order) => drop(found.lifted.insert(row.value().to_owned(), order)),
                Err(problem) => found.problems.push(problem),
            }
        }
        Ok(())
    }

    /// What became of an exemption, where that can be read.
    pub(super) fn record(&self, (id, version): &Key) -> Result<Option<Record>, StoreError> {
        let Some(table) = self.table(RECORDS)? else { return Ok(None) };
        let found = table.get((id.as_str(), *version)).map_err(|error| self.unreadable(error))?;
        Ok(found.and_then(|bytes| Record::from_bytes(bytes.value()).ok()))
    }

    /// The exemptions that are open with their ids, for tables without counts: of a quota is left what it is more than
    /// what the store last recorded as used. What the kernel has counted since is not taken from it.
    ///
    /// # Errors
    /// [`StoreError`] where they can't be read.
    pub fn kernel_exemptions(&self, clocks: &Clocks, pins: &[String]) -> Result<Vec<NamedEntry>, StoreError> {
        let entries = self.exemptions()?.entries;
        let named = entries.iter().flat_map(|((id, _), entry)| {
            entry.as_recorded(clocks, pins).into_iter().map(|it| (id.clone(), it))
        });
        Ok(named.collect())
    }

    fn problem(&self, (id, version): &Key, reason: &str) -> Problem {
        Problem {
            place: format!("{id}, version {version}"),
            reason: format!("{reason}; it is closed. Load a higher version to replace it"),
        }
    }

    /// The document of a record, or why it can't be used.
    fn document_of(&self, key: &Key, record: &Record) -> Result<Result<Document, String>, StoreError> {
        let Some(bytes) = self.document(key)? else {
            return Ok(Err("its document is missing".to_owned()));
        };
        if sha256(&bytes) != record.sha256 {
            return Ok(Err("its document is not the one that was loaded".to_owned()));
        }
        let parsed = exemption::parse(Path::new(&key.0), &bytes, &Surroundings::default());
        Ok(match parsed {
            Ok(document) if (&document.id, document.version) == (&key.0, key.1) => Ok(document),
            Ok(_) => Err("its document is another exemption's".to_owned()),
            Err(errors) => Err(format!("its document can't be used any more: {}", places(&errors))),
        })
    }

    /// A document's bytes.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn document(&self, (id, version): &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(table) = self.table(DOCUMENTS)? else { return Ok(None) };
        let found = table.get((id.as_str(), *version)).map_err(|error| self.unreadable(error))?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    /// An exemption as it is stored.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn stored(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let Some(bytes) = self.document(key)? else { return Ok(None) };
        let mut signatures = Vec::new();
        if let Some(table) = self.table(SIGNATURES)? {
            let (first, last) = ((key.0.as_str(), key.1, 0), (key.0.as_str(), key.1, u32::MAX));
            for row in table.range(first..=last).map_err(|error| self.unreadable(error))? {
                let (_, bytes) = row.map_err(|error| self.unreadable(error))?;
                signatures.push(bytes.value().to_vec());
            }
        }
        Ok(Some(Stored { key: key.clone(), bytes, signatures }))
    }

    /// Lines of the audit trail from this sequence number on, at most so many.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn audit_lines(&self, from: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut lines = Vec::new();
        let Some(table) = self.table(AUDIT)? else { return Ok(lines) };
        for row in table.range(from..).map_err(|error| self.unreadable(error))?.take(limit) {
            let (_, line) = row.map_err(|error| self.unreadable(error))?;
            lines.push(line.value().to_owned());
        }
        Ok(lines)
    }

    /// The text of a config that was in force or applied, by its SHA-256; `None` where none of this hash was.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read, or is not what the hash says.
    pub fn config_text(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut found = None;
        for table in [CONFIGS, APPLIED] {
            if let (None, Some(table)) = (&found, self.table(table)?) {
                let text = table.get(hash).map_err(|error| self.unreadable(error))?;
                found = text.map(|text| text.value().to_vec());
            }
        }
        let Some(text) = found else { return Ok(None) };
        match sha256(&text) == hash {
            true => Ok(Some(text)),
            false => {
                Err(self.damaged(format!("the config with the SHA-256 {hash} is not the one that was kept")))
            }
        }
    }

    /// That something is not what was kept.
    pub(super) fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason }
    }

    /// The configs that were in force.
    fn configs(&self) -> Result<Configs, StoreError> {
        let (mut all, mut lost) = (BTreeSet::new(), BTreeSet::new());
        if let Some(table) = self.table(LOST_CONFIGS)? {
            for row in table.iter().map_err(|error| self.unreadable(error))? {
                lost.insert(row.map_err(|error| self.unreadable(error))?.0.value().to_owned());
            }
        }
        let Some(table) = self.table(CONFIGS)? else { return Ok(Configs { lost, ..Configs::default() }) };
        for row in table.iter().map_err(|error| self.unreadable(error))? {
            all.insert(row.map_err(|error| self.unreadable(error))?.0.value().to_owned());
        }
        let facts = self.last_facts("config_sha256")?.unwrap_or_default();
        let last = facts.get("config_sha256").and_then(Value::as_str).map(str::to_owned);
        Ok(Configs { all, last, lost })
    }

    /// The config that was in force last, as the audit trail and the texts beside it have it; `None` where none was recorded.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read, or is not what its hash says.
    pub fn last_config(&self) -> Result<Option<LastPolicy>, StoreError> {
        let Some(facts) = self.last_facts("config_sha256")? else { return Ok(None) };
        let word = |name: &str| facts.get(name).and_then(|it| it.as_str()).map(str::to_owned);
        let Some(bytes) = self.config_text(&word("config_sha256").unwrap_or_default())? else {
            return Ok(None);
        };
        let observe = facts.get("observe").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let users = facts.get("users").cloned().map(serde_json::from_value).transpose();
        let users = users.map_err(|error| self.damaged(format!("its trail's users: {error}")))?;
        Ok(Some(LastPolicy { bytes, observe, unheld: word("unheld"), users: users.unwrap_or_default() }))
    }

    /// By what the geo database is known that was in force last, and when the newest of each type was built; `None` where none
    /// was recorded.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn last_database(&self) -> Result<Option<(String, Built)>, StoreError> {
        let Some(facts) = self.last_facts("database_sha256")? else { return Ok(None) };
        let built = facts.get("database_built").cloned().map(serde_json::from_value).transpose();
        let built = built.map_err(|error| self.damaged(format!("its trail's database_built: {error}")))?;
        let digest = facts.get("database_sha256").and_then(Value::as_str);
        Ok(digest.map(|digest| (digest.to_owned(), built.unwrap_or_default())))
    }

    /// The candidate that an earlier daemon had applied and that was neither confirmed nor taken back; `None` where there is
    /// none.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn unconfirmed(&self) -> Result<Option<LeftUnconfirmed>, StoreError> {
        let Some(table) = self.table(AUDIT)? else { return Ok(None) };
        // The last word of each interface counts.
        let mut interfaces: BTreeMap<u32, Option<LetGo>> = BTreeMap::new();
        for row in table.iter().map_err(|error| self.unreadable(error))?.rev() {
            let (_, line) = row.map_err(|error| self.unreadable(error))?;
            let Ok(record) = serde_json::from_str::<audit::Stored>(line.value()) else { continue };
            let is = |kind: Kind| record.kind == kind.name();
            if is(Kind::Apply) {
                let sha256 = record.detail.get("config_sha256").and_then(Value::as_str);
                let let_go = interfaces.into_iter().filter_map(|(index, it)| Some((index, it?))).collect();
                return Ok(sha256.map(|sha256| {
                    let (name, sha256) = (record.subject.clone(), sha256.to_owned());
                    LeftUnconfirmed { name, sha256, let_go }
                }));
            }
            if let Some((index, let_go)) = guard_of(&record) {
                interfaces.entry(index).or_insert(let_go);
            }
            if is(Kind::Start) || is(Kind::Reload) || is(Kind::RollBack) {
                break;
            }
        }
        Ok(None)
    }

    /// The detail of the last record of what was live that has this fact.
    pub(super) fn last_facts(&self, fact: &str) -> Result<Option<Map<String, Value>>, StoreError> {
        let Some(table) = self.table(AUDIT)? else { return Ok(None) };
        for row in table.iter().map_err(|error| self.unreadable(error))?.rev() {
            let (_, line) = row.map_err(|error| self.unreadable(error))?;
            let Ok(record) = serde_json::from_str::<audit::Stored>(line.value()) else { continue };
            let is_live = [Kind::Start.name(), Kind::Reload.name()].contains(&record.kind.as_str());
            if is_live && record.detail.contains_key(fact) {
                return Ok(Some(record.detail));
            }
        }
        Ok(None)
    }

    /// The last line of the audit trail.
    pub(super) fn last_line(&self) -> Result<Option<String>, StoreError> {
        let Some(table) = self.table(AUDIT)? else { return Ok(None) };
        let last = table.last().map_err(|error| self.unreadable(error))?;
        Ok(last.map(|(_, line)| line.value().to_owned()))
    }

    /// What exemptions let through to each recipient, day by day, in the order of days, ids, versions and recipients; last what
    /// is attributed to none.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn use_by_day(&self) -> Result<Vec<DayUse>, StoreError> {
        let mut rows = Vec::new();
        let Some(table) = self.table(USE_BY_DAY)? else { return Ok(rows) };
        let by_recipient = self.table(USE_BY_RECIPIENT)?;
        for row in table.iter().map_err(|error| self.unreadable(error))? {
            let (key, value) = row.map_err(|error| self.unreadable(error))?;
            let (day, id, version) = key.value();
            let (bytes, packets) = value.value();
            let key = (id.to_owned(), version);
            let of = |recipient, used| DayUse { day: day.to_owned(), key: key.clone(), recipient, used };
            let mut rest = Use { bytes, packets };
            if let Some(parts) = &by_recipient {
                let all = (day, id, version, 0)..=(day, id, version, u32::MAX);
                for part in parts.range(all).map_err(|error| self.unreadable(error))? {
                    let (row, value) = part.map_err(|error| self.unreadable(error))?;
                    let (bytes, packets) = value.value();
                    let used = Use { bytes, packets };
                    rest = rest.minus(used);
                    rows.push(of(usize::try_from(row.value().3).ok(), used));
                }
            }
            if rest != Use::default() {
                rows.push(of(None, rest));
            }
        }
        Ok(rows)
    }

    /// What was judged, day by day.
    ///
    /// # Errors
    /// [`StoreError`] where it can't be read.
    pub fn counts_by_day(&self) -> Result<Vec<DayCount>, StoreError> {
        let mut rows = Vec::new();
        let Some(table) = self.table(COUNTS_BY_DAY)? else { return Ok(rows) };
        for row in table.iter().map_err(|error| self.unreadable(error))? {
            let (key, value) = row.map_err(|error| self.unreadable(error))?;
            let (day, judged) = key.value();
            let judged: Judged = serde_json::from_str(judged).map_err(|error| StoreError::Damaged {
                path: self.path.clone(),
                reason: format!("a count of {day} can't be read: {error}"),
            })?;
            let (packets, bytes) = value.value();
            rows.push(DayCount { day: day.to_owned(), judged, packets, bytes });
        }
        Ok(rows)
    }

    /// Which pins the kernel's counts are of, as it was saved.
    pub(super) fn pin_counts(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(table) = self.table(PIN_COUNTS)? else { return Ok(None) };
        let found = table.get(NOW).map_err(|error| self.unreadable(error))?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    /// Up to when flows were reported.
    pub(super) fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        let Some(table) = self.table(CURSORS)? else { return Ok(None) };
        let found = table.get(FLOWS).map_err(|error| self.unreadable(error))?;
        Ok(found.map(|row| Cursor { boot: row.value().0.to_owned(), swept_ns: row.value().1 }))
    }

    /// A number of the table of meta data.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let Some(table) = self.table(META)? else { return Ok(None) };
        let found = table.get(key).map_err(|error| self.unreadable(error))?;
        Ok(found.map(|number| number.value()))
    }

    pub(super) fn unreadable(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::of_database(&self.path, "reading it", error.into())
    }

    /// `None` where the table was never made: the database is new.
    pub(super) fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: redb::TableDefinition<'_, K, V>,
    ) -> Result<Option<redb::ReadOnlyTable<K, V>>, StoreError> {
        match self.transaction.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.unreadable(error)),
        }
    }
}

/// The errors of a document by key and code: whoever may look is told of the problem, and what the messages quote may be
/// confidential.
fn places(errors: &Errors<ErrorKind>) -> String {
    let one = |error: &Finding<ErrorKind>| match error.field.as_str() {
        "" => error.kind.code().to_owned(),
        field => format!("{field}: {}", error.kind.code()),
    };
    errors.errors.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The interface whose guard a record begins (`None`) or ends, where a config let it go, by index.
fn guard_of(record: &audit::Stored) -> Option<(u32, Option<LetGo>)> {
    let number = |key: &str| record.detail.get(key).and_then(Value::as_u64);
    let index = number("index").and_then(|index| u32::try_from(index).ok())?;
    let has = |key: &str| record.detail.contains_key(key);
    match record.kind.as_str() {
        attach if attach == Kind::Attach.name() => Some((index, None)),
        detach if detach == Kind::Detach.name() && record.why.is_empty() && !has("gone") && !has("hook") => {
            Some((index, Some(LetGo { at: record.time, sent: number("sent") })))
        }
        _ => None,
    }
}
