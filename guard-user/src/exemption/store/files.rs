//! The files of the store: their names, and reading them all at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use guard_common::abi::MAX_EXEMPTIONS;

use super::{Entry, Key, Problem, Store, StoreError};
use crate::config::fingerprint;
use crate::exemption::disk::{Disk, UNFINISHED};
use crate::exemption::document::{self, DOCUMENT_BYTES, Document, Surroundings};
use crate::exemption::record::{RECORD_BYTES, Record};

const DOCUMENT: &str = ".toml";
const RECORD: &str = ".json";

/// The name of a document's file. Ids have no slash, and the end keeps `.` and `..` from being names.
pub(super) fn document((id, version): &Key) -> String {
    format!("{id}.v{version}{DOCUMENT}")
}

/// The name of a record's file.
pub(super) fn record((id, version): &Key) -> String {
    format!("{id}.v{version}{RECORD}")
}

/// The id and version that a file is about.
fn key(name: &str, end: &str) -> Option<Key> {
    let (id, version) = name.strip_suffix(end)?.rsplit_once(".v")?;
    let key = (id.to_owned(), version.parse().ok()?);
    // Numbers have more than one way to be written; the name of one file has not.
    (format!("{}.v{}{end}", key.0, key.1) == name).then_some(key)
}

impl Store {
    /// Reads everything that is there. `folder` is its name in errors.
    pub(in crate::exemption) fn on(folder: PathBuf, mut disk: Box<dyn Disk>) -> Result<Self, StoreError> {
        let failed = |step| {
            let path = folder.clone();
            move |source| StoreError::Disk { path, step, source }
        };
        // What the last process renamed just before its end can be seen, and is not on the disk for certain
        // yet: nobody may be told of it before it is.
        disk.sync_folder().map_err(failed("syncing it"))?;
        let names = disk.list().map_err(failed("listing it"))?;
        let mut store = Self {
            folder,
            disk,
            entries: BTreeMap::new(),
            problems: Vec::new(),
            unreadable: BTreeSet::new(),
            unclean: BTreeSet::new(),
        };
        let mut documents = BTreeSet::new();
        for name in names {
            if let Some(key) = key(&name, RECORD) {
                store.read_entry(key, &name);
            } else if let Some(key) = key(&name, DOCUMENT) {
                documents.insert(key);
            } else if name.ends_with(UNFINISHED) {
                if let Err(error) = store.disk.remove(&name) {
                    store.problem(
                        &name,
                        format!("it is left over from a crash and can't be removed: {error}"),
                    );
                }
            } else {
                store.problem(&name, "it is no file of the exemptions; move it elsewhere".to_owned());
            }
        }
        for key in documents {
            if !store.entries.contains_key(&key) && !store.unreadable.contains(&key) {
                let reason = "its load was not finished, so it is not open; load it again if it is to be";
                store.problem(&document(&key), reason.to_owned());
            }
        }
        store.close_shared_slots();
        if !store.unreadable.is_empty() {
            // The slots of those are not known, so any slot that nobody holds may be one of them.
            let held: BTreeSet<u16> = store.entries.values().filter_map(|entry| entry.record.slot).collect();
            let all = 0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX);
            store.unclean = all.into_iter().filter(|slot| !held.contains(slot)).collect();
        }
        Ok(store)
    }

    fn read_entry(&mut self, key: Key, name: &str) {
        let record = match self.read_record(&key, name) {
            Ok(record) => record,
            Err(reason) => {
                self.problem(
                    name,
                    format!("{reason}; its exemption is closed, and a new version can be loaded"),
                );
                self.unreadable.insert(key);
                return;
            }
        };
        let file = document(&key);
        let document = match self.read_document(&key, &file, record.fingerprint) {
            Ok(document) => Some(document),
            Err(reason) => {
                self.problem(
                    &file,
                    format!("{reason}; its exemption is closed: revoke it, and load a new version"),
                );
                None
            }
        };
        self.entries.insert(key, Entry { document, record, unsaved: false });
    }

    fn read_record(&self, key: &Key, name: &str) -> Result<Record, String> {
        let bytes = self.disk.read(name, RECORD_BYTES + 1).map_err(|error| error.to_string())?;
        let record = Record::from_bytes(&bytes)?;
        if (&record.id, record.version) != (&key.0, key.1) {
            return Err("it is about another exemption than its name says".to_owned());
        }
        if record.slot.is_some_and(|slot| usize::from(slot) >= MAX_EXEMPTIONS) {
            return Err("its slot is past the last one".to_owned());
        }
        if record.is_active() && record.slot.is_none() {
            return Err("it is active without a slot".to_owned());
        }
        Ok(record)
    }

    fn read_document(&self, key: &Key, name: &str, wanted: u64) -> Result<Document, String> {
        let bytes = self.disk.read(name, DOCUMENT_BYTES as u64 + 1).map_err(|error| error.to_string())?;
        if fingerprint(&bytes) != wanted {
            return Err("its bytes are not those that were loaded".to_owned());
        }
        // What was true at the time of the load need not be any more: pins go, windows end.
        let document = document::parse(Path::new(name), &bytes, &Surroundings::default())
            .map_err(|errors| errors.to_string().replace('\n', " "))?;
        match (&document.id, document.version) == (&key.0, key.1) {
            true => Ok(document),
            false => Err("it is another exemption's than its name says".to_owned()),
        }
    }

    /// Two that claim one slot would share one quota: neither is opened.
    fn close_shared_slots(&mut self) {
        let mut holders: BTreeMap<u16, Vec<Key>> = BTreeMap::new();
        for (key, entry) in &self.entries {
            if let Some(slot) = entry.record.slot {
                holders.entry(slot).or_default().push(key.clone());
            }
        }
        for (slot, keys) in holders.into_iter().filter(|(_, keys)| keys.len() > 1) {
            for key in keys {
                let reason =
                    "another exemption has it as well; both are closed: revoke them, and load new versions";
                self.problem(&record(&key), format!("its slot is {slot}, and {reason}"));
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.document = None;
                }
            }
        }
    }

    fn problem(&mut self, name: &str, reason: String) {
        self.problems.push(Problem { file: self.folder.join(name), reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_and_version_has_a_name_of_its_own_that_leads_back_to_it() {
        let ids = ["a", ".", "..", "a.v1", ".v12", "a.toml", "a.json.tmp", "-"];
        let mut seen = BTreeSet::new();
        for id in ids {
            for version in [1, 10, u32::MAX] {
                let asked = (id.to_owned(), version);
                for (name, end) in [(document(&asked), DOCUMENT), (record(&asked), RECORD)] {
                    assert_eq!(key(&name, end), Some(asked.clone()));
                    assert!(!name.ends_with(UNFINISHED) && !name.contains('/') && name.len() < 250);
                    assert!(seen.insert(name));
                }
            }
        }
        for name in ["a.v01.toml", "a.v+1.toml", "a.v.toml", "a.toml", "a.v99999999999.toml", "a.v1.toml.tmp"]
        {
            assert_eq!(key(name, DOCUMENT), None, "{name}");
        }
    }
}
