//! The exemptions of this host: which documents were loaded, and what became of each.
//!
//! Beside a document's bytes (`ID.vVERSION.toml`) lies a small record (`ID.vVERSION.json`), which makes
//! it loaded. Every change is on the disk before this module says that it is made, so that after a crash
//! an exemption is never more open than before: one that was revoked stays so, one whose load was not
//! finished is closed. What can't be read is closed and named as a [`Problem`]; the rest goes on.
//!
//! The order that the daemon keeps: [`Store::load`], then the kernel opens; [`Store::revoke`], then the
//! kernel closes. After each new generation it saves the counts of the slots in
//! [`Store::slots_to_reset`], resets them in the kernel, and says so by [`Store::slot_was_reset`].

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use guard_common::abi::MAX_EXEMPTIONS;
use jiff::Timestamp;

use super::clock::Clocks;
use super::disk::{self, Disk, Folder};
use super::document::{self, Document, Earlier, Surroundings};
use super::error::ErrorKind;
use super::record::{Record, Status};
use super::summary::Summary;
use crate::compile::KernelExemption;
use crate::config::{Errors, fingerprint};

pub use super::record::Use;

/// An id and a version.
type Key = (String, u32);

/// Every exemption that was ever loaded on this host. One process at a time has it.
pub struct Store {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    entries: BTreeMap<Key, Entry>,
    problems: Vec<Problem>,
    /// Versions whose record can't be read: they are not loaded again.
    unreadable: BTreeSet<Key>,
    /// Slots that nobody holds and whose use in the kernel may be another exemption's.
    unclean: BTreeSet<u16>,
}

#[derive(Debug)]
struct Entry {
    /// `None` where it can't be read, which is a [`Problem`]: the exemption is closed.
    document: Option<Document>,
    record: Record,
    /// It is closed here, and the disk did not take that.
    unsaved: bool,
}

/// A file of the store that can't be used. Its exemption is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}", file = file.display())]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// The store can't be used, or did not take a change.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{folder}: another borderguard holds the exemptions; end it first", folder = folder.display())]
    Held {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {step} failed: {source}", path = path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// No such exemption.
    #[error("there is no exemption \"{id}\"; `borderguard exemption list` names those that there are", id = .id.escape_debug())]
    NotFound {
        /// The id that was asked for.
        id: String,
    },
    /// It is closed for good already.
    #[error("the exemption \"{id}\" is closed already")]
    Closed {
        /// Its id.
        id: String,
    },
    /// A reason for a revocation that says nothing, or too much.
    #[error("a revocation needs a reason of 1 to {} bytes: the record keeps it", WHY_BYTES)]
    BadReason,
}

/// A document was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The document can't be used.
    #[error(transparent)]
    Document(#[from] Errors<ErrorKind>),
    /// Every slot of the kernel's table is taken.
    #[error(
        "{} exemptions are loaded, which is all that the kernel holds: revoke one that is not needed",
        MAX_EXEMPTIONS
    )]
    NoSlot,
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bytes of the reason for a revocation.
pub const WHY_BYTES: usize = 1000;

/// What loading a document comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The document.
    pub document: Document,
    /// The slot that it gets.
    pub slot: u16,
}

impl Admission {
    /// The exemption as the kernel would have it.
    #[must_use]
    pub fn to_kernel(&self, clocks: &Clocks) -> KernelExemption {
        let pins = self.document.pins.clone();
        kernel_exemption(&self.document, self.slot, pins, Use::default(), clocks)
    }
}

impl Store {
    /// Opens the store in the folder `exemptions` of the state directory; makes it where there is none.
    ///
    /// # Errors
    /// Where another process has it, or the folder can't be made or listed. A file that can't be used is
    /// no error but one of [`problems`](Self::problems).
    pub fn open(state_directory: &Path) -> Result<Self, StoreError> {
        let folder = state_directory.join("exemptions");
        let disk = Folder::open(&folder).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Held { folder: folder.clone() },
            _ => StoreError::Disk { path: folder.clone(), step: "opening it", source },
        })?;
        Self::on(folder, Box::new(disk))
    }

    /// What can't be used of the store's files; each of these exemptions is closed.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every exemption, in the order of ids and versions, as it is at this moment. Those that are among
    /// the [`problems`](Self::problems) are not here.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<Summary> {
        let readable = self.entries.values().filter_map(|entry| Some((entry.document.as_ref()?, entry)));
        readable.map(|(document, entry)| Summary::of_loaded(document, &entry.record, now)).collect()
    }

    /// The document behind the slot of an event or a flow.
    #[must_use]
    pub fn by_slot(&self, slot: u16) -> Option<&Document> {
        self.entries.values().find(|entry| entry.record.slot == Some(slot))?.document.as_ref()
    }

    /// What loading this document would come to; nothing is changed. `name` is the file's name in errors,
    /// `pins` are the config's.
    ///
    /// # Errors
    /// Every error in the document, or that no slot is free.
    pub fn admit(
        &self,
        name: &Path,
        bytes: &[u8],
        pins: &[String],
        now: Timestamp,
    ) -> Result<Admission, LoadError> {
        let earlier = |id: &str| self.earlier(id);
        let surroundings = Surroundings { pins: Some(pins), now: Some(now), earlier: Some(&earlier) };
        let document = document::parse(name, bytes, &surroundings)?;
        let slot = self.free_slot().ok_or(LoadError::NoSlot)?;
        Ok(Admission { document, slot })
    }

    /// Loads a document: from now on it is among the [`kernel_exemptions`](Self::kernel_exemptions), after
    /// a restart too. `who` is the Unix user that asked. See [`admit`](Self::admit) for the rest; who
    /// wants to know first whether the kernel's tables have room compiles with [`Admission::to_kernel`].
    ///
    /// # Errors
    /// As of [`admit`](Self::admit), or that the disk refused; then it is not loaded.
    pub fn load(
        &mut self,
        name: &Path,
        bytes: &[u8],
        pins: &[String],
        who: u32,
        now: Timestamp,
    ) -> Result<Admission, LoadError> {
        let admission = self.admit(name, bytes, pins, now)?;
        let (document, slot) = (admission.document.clone(), admission.slot);
        let key = (document.id.clone(), document.version);
        let record = Record::new((&key.0, key.1), fingerprint(bytes), slot, (now, who));
        self.replace(&files::document(&key), bytes)?;
        if let Err(error) = self.write_record(&record) {
            // It may be on the disk all the same, and would be open after a restart.
            let name = files::record(&key);
            if self.disk.remove(&name).and_then(|()| self.disk.sync_folder()).is_err() {
                tracing::error!(%error, file = %self.folder.join(&name).display(),
                    "an exemption was not loaded, and its record may be there after a restart: remove the file");
            }
            return Err(error.into());
        }
        self.entries.insert(key, Entry { document: Some(document), record, unsaved: false });
        Ok(admission)
    }

    /// Closes an exemption for good. `who` is the Unix user that asked.
    ///
    /// # Errors
    /// Where there is no open one of this id. Where the disk refuses, it is closed in this process all the
    /// same, so that a new generation without it is to be published in any case; a later call tries again.
    pub fn revoke(&mut self, id: &str, why: &str, who: u32, now: Timestamp) -> Result<(), StoreError> {
        if why.trim().is_empty() || why.len() > WHY_BYTES {
            return Err(StoreError::BadReason);
        }
        let mut known = false;
        let versions = self.entries.iter_mut().filter(|((its_id, _), _)| its_id == id);
        let open: Vec<Key> = versions
            .inspect(|_| known = true)
            .filter(|(_, entry)| entry.record.is_active() || entry.unsaved)
            .map(|(key, _)| key.clone())
            .collect();
        match (open.is_empty(), known) {
            (true, true) => return Err(StoreError::Closed { id: id.to_owned() }),
            (true, false) => return Err(StoreError::NotFound { id: id.to_owned() }),
            _ => {}
        }
        let status = Status::Revoked { at: now, why: why.to_owned(), by: who };
        self.close(open, &status)
    }

    /// Closes for good what has expired by now, and says which ids that were. Packets do not wait for
    /// this: the kernel closes windows by its own clock.
    ///
    /// # Errors
    /// As of [`revoke`](Self::revoke).
    pub fn expire(&mut self, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let over = |entry: &Entry| {
            entry.record.is_active() && entry.document.as_ref().is_some_and(|it| it.valid_until <= now)
        };
        let expired: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| over(entry)).map(|(key, _)| key.clone()).collect();
        let ids = expired.iter().map(|(id, _)| id.clone()).collect();
        self.close(expired, &Status::Expired { at: now })?;
        Ok(ids)
    }

    /// The exemptions that the kernel is to have, by its own clock. A pin that the config does not have
    /// any more is left out, and an exemption without pins too.
    #[must_use]
    pub fn kernel_exemptions(&self, clocks: &Clocks, pins: &[String]) -> Vec<KernelExemption> {
        let open = self.entries.values().filter(|entry| entry.record.is_active());
        open.filter_map(|entry| {
            let (document, slot) = (entry.document.as_ref()?, entry.record.slot?);
            let pins: Vec<String> = document.pins.iter().filter(|pin| pins.contains(pin)).cloned().collect();
            if pins.is_empty() || document.valid_until <= clocks.wall {
                return None;
            }
            Some(kernel_exemption(document, slot, pins, entry.record.before, clocks))
        })
        .collect()
    }

    /// Saves what the kernel has counted for a slot since its counters began.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn checkpoint_use(&mut self, slot: u16, counted: Use) -> Result<(), StoreError> {
        let Some((key, entry)) = self.entries.iter().find(|(_, entry)| entry.record.slot == Some(slot))
        else {
            return Ok(());
        };
        let mut record = entry.record.clone();
        // The kernel takes a charge that was too much back at once; a look in between must not stay.
        let quota = entry.document.as_ref().and_then(|document| document.quota_bytes).unwrap_or(u64::MAX);
        let most = Use { bytes: quota.saturating_sub(record.before.bytes), ..counted };
        let counted = if counted.bytes > most.bytes { most } else { counted };
        record.counted = record.counted.at_least(counted);
        if record == entry.record {
            return Ok(());
        }
        self.keep(key.clone(), record)
    }

    /// The kernel's counters began anew, from zero: after a reboot, or after everything was detached. To be
    /// called as long as no generation was ever live in the kernel's tables, before the first one is, so
    /// that quotas go on where they were; a second call changes nothing.
    ///
    /// # Errors
    /// Where the disk refuses; then the kernel must not get the exemptions.
    pub fn counters_began_anew(&mut self) -> Result<(), StoreError> {
        let counted: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.record.counted != Use::default())
            .map(|(key, _)| key.clone())
            .collect();
        for key in counted {
            if let Some(entry) = self.entries.get(&key) {
                let record =
                    Record { before: entry.record.used(), counted: Use::default(), ..entry.record.clone() };
                self.keep(key, record)?;
            }
        }
        Ok(())
    }

    /// Slots of closed exemptions that no generation uses any more once one without them is live: their
    /// use is to be saved by [`checkpoint_use`](Self::checkpoint_use) and reset in the kernel.
    #[must_use]
    pub fn slots_to_reset(&self) -> Vec<u16> {
        let closed = self.entries.values().filter(|entry| !entry.record.is_active());
        let held = closed.filter_map(|entry| entry.record.slot);
        let slots: BTreeSet<u16> = held.chain(self.unclean.iter().copied()).collect();
        slots.into_iter().collect()
    }

    /// The use that the kernel counted for this slot is zero now, so that another exemption may have it.
    ///
    /// # Errors
    /// Where the disk refuses; then the slot stays taken.
    pub fn slot_was_reset(&mut self, slot: u16) -> Result<(), StoreError> {
        let held = |entry: &Entry| entry.record.slot == Some(slot) && !entry.record.is_active();
        let closed: Vec<Key> =
            self.entries.iter().filter(|(_, entry)| held(entry)).map(|(key, _)| key.clone()).collect();
        for key in closed {
            if let Some(entry) = self.entries.get(&key) {
                let (before, counted) = (entry.record.used(), Use::default());
                let record = Record { slot: None, before, counted, ..entry.record.clone() };
                self.keep(key, record)?;
            }
        }
        self.unclean.remove(&slot);
        Ok(())
    }

    fn earlier(&self, id: &str) -> Option<Earlier> {
        let loaded = self.entries.iter().filter(|((its_id, _), _)| its_id == id);
        let loaded = loaded.map(|((_, version), entry)| (*version, entry.record.is_active()));
        let unreadable = self.unreadable.iter().filter(|(its_id, _)| its_id == id);
        let all: Vec<(u32, bool)> = loaded.chain(unreadable.map(|(_, version)| (*version, false))).collect();
        let version = all.iter().map(|&(version, _)| version).max()?;
        Some(Earlier { version, open: all.iter().any(|&(_, open)| open) })
    }

    fn free_slot(&self) -> Option<u16> {
        let held: BTreeSet<u16> = self.entries.values().filter_map(|entry| entry.record.slot).collect();
        let slots = 0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX);
        slots.into_iter().find(|slot| !held.contains(slot) && !self.unclean.contains(slot))
    }

    /// Closes exemptions in memory whatever the disk says, and on the disk; the first error of it.
    fn close(&mut self, keys: Vec<Key>, status: &Status) -> Result<(), StoreError> {
        let mut result = Ok(());
        for key in keys {
            let Some(entry) = self.entries.get(&key) else { continue };
            let closed = Record { status: status.clone(), ..entry.record.clone() };
            let written = self.write_record(&closed);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.record = closed;
                entry.unsaved = written.is_err();
            }
            result = result.and(written);
        }
        result
    }

    fn keep(&mut self, key: Key, record: Record) -> Result<(), StoreError> {
        self.write_record(&record)?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.record = record;
            entry.unsaved = false;
        }
        Ok(())
    }

    fn write_record(&mut self, record: &Record) -> Result<(), StoreError> {
        let name = files::record(&(record.id.clone(), record.version));
        let bytes = record.to_bytes().map_err(|error| StoreError::Disk {
            path: self.folder.join(&name),
            step: "writing it",
            source: error.into(),
        })?;
        self.replace(&name, &bytes)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        disk::replace(self.disk.as_mut(), name, bytes).map_err(|source| StoreError::Disk {
            path: self.folder.join(name),
            step: "writing it",
            source,
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { folder, entries, problems, .. } = self;
        f.debug_struct("Store")
            .field("folder", folder)
            .field("entries", entries)
            .field("problems", problems)
            .finish_non_exhaustive()
    }
}

/// `before` is what it let through that the kernel's counter does not have.
fn kernel_exemption(
    document: &Document,
    slot: u16,
    pins: Vec<String>,
    before: Use,
    clocks: &Clocks,
) -> KernelExemption {
    let (mut jurisdictions, mut networks) = (Vec::new(), Vec::new());
    for recipient in &document.recipients {
        match recipient.networks.is_empty() {
            true => jurisdictions.push(recipient.jurisdiction),
            false => networks.extend(&recipient.networks),
        }
    }
    let any = document.recipients.iter().any(|recipient| recipient.ports.is_empty());
    let of_each = document.recipients.iter().flat_map(|recipient| recipient.ports.iter().copied());
    let ports = if any { Vec::new() } else { of_each.collect() };
    KernelExemption {
        slot,
        account: slot,
        pins,
        jurisdictions,
        networks,
        ports,
        valid_from_ns: clocks.boot_time_of(document.valid_from),
        valid_until_ns: clocks.boot_time_of(document.valid_until),
        quota: document.quota_bytes.map_or(u64::MAX, |quota| quota.saturating_sub(before.bytes)),
    }
}
