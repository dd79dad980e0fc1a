//! The store itself: the open database, and what it holds in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::configs::Configs;
use super::disk::{Disk, FILE};
use super::doubt::Doubt;
use super::kept::{BySlot, Inner, Kept};
use super::marks::Marks;
use super::read::{Found, Reader};
use super::tampered::Changed;
use super::unrecorded::Unrecorded;
use super::{Problem, StoreError, slots};
use crate::audit::Record;

/// Every exemption that was ever loaded on this host, and the audit trail. One process at a time has it.
pub struct Store {
    pub(super) path: PathBuf,
    /// `None` where the database can't be used: then nothing is open, and nothing can be changed.
    pub(super) disk: Option<Disk>,
    /// What the disk has, but for closings that it refused: see [`Kept`].
    pub(super) kept: Kept,
    /// The last line of the audit trail.
    pub(super) last_line: Option<String>,
    /// Records of closings that the disk did not take, for the trail.
    pub(super) unrecorded: Vec<Record>,
    /// Records of configs that the disk did not take, each with the config's text.
    pub(super) late_configs: Vec<(Record, Vec<u8>)>,
    /// Configs that are live while the store is not open, and that are noted nowhere yet.
    pub(super) to_note: Vec<Unrecorded>,
    /// The transaction that failed last, until it is known what became of it.
    pub(super) doubt: Option<Doubt>,
    /// Where it is kept how far this store had come.
    pub(super) marks: Marks,
}

impl Store {
    /// Opens the store of a state directory; makes it where there is none.
    ///
    /// A damaged database is not an error: the store is then empty, so that nothing is open, refuses
    /// every change, and says so among its [`problems`](Self::problems). It is left as it is.
    ///
    /// # Errors
    /// [`StoreError::Held`] where another process has it; [`StoreError::Disk`] where the folder or the file
    /// can't be made.
    pub fn open(state_directory: &Path) -> Result<Self, StoreError> {
        let path = state_directory.join(FILE);
        match Disk::open(&path) {
            Ok(disk) => Self::on(path, disk),
            Err(StoreError::Damaged { reason, .. }) => Ok(Self::unusable(path, reason)),
            Err(error) => Err(error),
        }
    }

    /// The store on a database that is open.
    pub(super) fn on(path: PathBuf, disk: Disk) -> Result<Self, StoreError> {
        let read = disk.read(&path).and_then(|reader| {
            let meta = (reader.number(slots::UNCLEAN)?, reader.counted_until()?);
            let meta = (meta, reader.older_at()?, reader.other_config()?, reader.signed_files()?);
            Ok((reader.exemptions()?, (reader.last_line()?, reader.changed_tables()?), meta))
        });
        let (found, (last_line, changed_tables), meta) = match read {
            Ok(read) => read,
            Err(StoreError::Damaged { reason, .. }) => return Ok(Self::unusable(path, reason)),
            Err(error) => return Err(error),
        };
        let ((kept_unclean, counted_before), older_at, other_config, signed_files) = meta;
        let Found { entries, orders, lifted, unreadable, lost, configs, problems } = found;
        let unclean = slots::unclean(&entries, &unreadable, kept_unclean);
        let entries = entries.into_iter().map(|(key, entry)| (key, Arc::new(entry))).collect();
        let kept = Inner {
            path: path.clone(),
            usable: true,
            is_damaged: false,
            entries,
            orders,
            lifted,
            unreadable,
            lost,
            configs,
            signed_files,
            unclean,
            problems,
            older_at,
            latest: None,
            other_config,
            changed_tables,
            counted_before,
            by_slot: BySlot::default(),
        };
        Ok(Self {
            path,
            disk: Some(disk),
            kept: Kept::new(kept),
            last_line,
            unrecorded: Vec::new(),
            late_configs: Vec::new(),
            to_note: Vec::new(),
            doubt: None,
            marks: Marks::default(),
        })
    }

    pub(super) fn unusable(path: PathBuf, reason: String) -> Self {
        let reason = format!(
            "it can't be read ({reason}); no exemption is open and none can be loaded. Restore it from a \
             backup, or move it elsewhere to begin anew"
        );
        Self::without_database(path, reason, true)
    }

    /// The store of a state directory that could not be opened because of this error: nothing is open, every change
    /// is refused, and the error is among its [`problems`](Self::problems). The disk is left alone. What may be open is
    /// known once [`open`](Self::open) succeeds.
    #[must_use]
    pub fn closed(state_directory: &Path, error: &StoreError) -> Self {
        let reason = format!("{error}; until it can be opened no exemption is open and none can be loaded");
        let is_damaged = matches!(error, StoreError::Damaged { .. });
        Self::without_database(state_directory.join(FILE), reason, is_damaged)
    }

    fn without_database(path: PathBuf, reason: String, is_damaged: bool) -> Self {
        let kept = Inner {
            path: path.clone(),
            usable: false,
            is_damaged,
            entries: BTreeMap::new(),
            orders: BTreeMap::new(),
            lifted: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            lost: BTreeMap::new(),
            configs: Configs::default(),
            signed_files: BTreeMap::new(),
            // The kernel's counts are of exemptions that are not known now.
            unclean: slots::every_slot().collect(),
            problems: vec![Problem { place: path.display().to_string(), reason }],
            older_at: None,
            latest: None,
            other_config: None,
            changed_tables: Changed::new(),
            counted_before: None,
            by_slot: BySlot::default(),
        };
        let kept = Kept::new(kept);
        Self {
            path,
            disk: None,
            kept,
            last_line: None,
            unrecorded: Vec::new(),
            late_configs: Vec::new(),
            to_note: Vec::new(),
            doubt: None,
            marks: Marks::default(),
        }
    }

    /// The exemptions as the disk has them now.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// What the disk has at this moment, to be read also by another thread and while it is changed.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        self.disk.as_ref().ok_or_else(|| self.no_disk())?.read(&self.path)
    }

    pub(super) fn no_disk(&self) -> StoreError {
        StoreError::unusable(&self.path, self.kept.is_damaged())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, kept, .. } = self;
        f.debug_struct("Store").field("path", path).field("kept", kept).finish_non_exhaustive()
    }
}
