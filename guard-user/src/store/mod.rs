//! What this host keeps for good: every exemption that was ever loaded with what became of it, what crossed
//! on which day, which pins the kernel's counts are of, and the audit trail.
//!
//! All of it is one embedded database, `store.redb` in the state directory, so that a change and its audit
//! record are one transaction: at no moment, and after no crash, is one there without the other. An operation
//! returns once its change is on the disk, so that after a crash an exemption is never more open than before:
//! one that was stayed or revoked is closed, one whose load was not finished was never loaded, and bytes that
//! the kernel may have let through since they were last saved count as used (`quota.rs`). What can't be read is
//! closed and named as a [`Problem`]; the rest goes on.
//!
//! A [`Store`] may block on a slow disk: one thread owns it. The others work on a [`Kept`], the exemptions as
//! they were on the disk after the last operation, which is handed out by [`Store::kept`]. No operation waits or
//! tries again: what the disk refuses is an error at once, and what closes is closed in memory all the same.
//!
//! The order that the daemon keeps: [`Store::load_admitted`], then the kernel opens; the kernel closes, and
//! [`Store::change`] keeps it. After each new generation it saves the use of the slots in
//! [`Kept::slots_to_reset`] by [`Store::checkpoint_use`], resets them in the kernel, and reports that by
//! [`Store::slots_were_reset`].

mod admission;
mod change;
mod days;
mod disk;
mod entry;
mod error;
mod kept;
pub mod last_database;
mod new_file;
pub mod pin_counts;
mod place;
mod progress;
mod quota;
mod read;
mod slots;
#[cfg(test)]
pub(crate) mod tests;
mod trail;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::exemption::record::{ApprovedBy, Record, Status, Use};
pub use admission::{Admission, Submission};
pub use change::{Change, Target};
pub use days::{DayCount, DayUse, Judged};
pub use entry::kernel_entries;
pub use error::{ApprovalError, LoadError, Problem, StoreError};
pub use kept::Kept;
pub use pin_counts::{CountsByNumber, Judgement, PinCounts, PinInfo, Rows};
pub use place::Misplaced;
pub use progress::{Cursor, Progress, boot_id};
pub use read::{NamedEntry, OpenDocument, Reader, Stored, sha256};

use disk::Disk;
use kept::{BySlot, Inner};

/// An exemption's id and version.
pub type Key = (String, u32);

/// The database's name in the state directory.
pub const FILE: &str = "store.redb";

/// Every exemption that was ever loaded on this host, and the audit trail. One process at a time has it.
pub struct Store {
    path: PathBuf,
    /// `None` where the database can't be used: then nothing is open, and nothing can be changed.
    disk: Option<Disk>,
    /// What the disk has, but for closings that it refused: see [`Kept`].
    kept: Kept,
    /// The last line of the audit trail.
    last_line: Option<String>,
    /// Records of closings that the disk did not take, for the trail.
    unrecorded: Vec<crate::audit::Record>,
    /// The transaction that failed last, until it is known what became of it.
    doubt: Option<trail::Doubt>,
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
    fn on(path: PathBuf, disk: Disk) -> Result<Self, StoreError> {
        let read = disk.read(&path).and_then(|reader| Ok((reader.exemptions()?, reader.last_line()?)));
        let (found, last_line) = match read {
            Ok(read) => read,
            Err(StoreError::Damaged { reason, .. }) => return Ok(Self::unusable(path, reason)),
            Err(error) => return Err(error),
        };
        let read::Found { entries, unreadable, problems } = found;
        let unclean = slots::unclean(&entries, &unreadable);
        let entries = entries.into_iter().map(|(key, entry)| (key, Arc::new(entry))).collect();
        let kept = Inner {
            path: path.clone(),
            usable: true,
            entries,
            unreadable,
            unclean,
            problems,
            by_slot: BySlot::default(),
        };
        Ok(Self {
            path,
            disk: Some(disk),
            kept: Kept::new(kept),
            last_line,
            unrecorded: Vec::new(),
            doubt: None,
        })
    }

    fn unusable(path: PathBuf, reason: String) -> Self {
        let reason = format!(
            "it can't be read ({reason}); no exemption is open and none can be loaded. Restore it from a \
             backup, or move it elsewhere to begin anew"
        );
        Self::without_database(path, reason)
    }

    /// The store of a state directory that could not be opened because of this error: nothing is open, every change
    /// is refused, and the error is among its [`problems`](Self::problems). The disk is left alone. What may be open is
    /// known once [`open`](Self::open) succeeds.
    #[must_use]
    pub fn closed(state_directory: &Path, error: &StoreError) -> Self {
        let reason = format!("{error}; until it can be opened no exemption is open and none can be loaded");
        Self::without_database(state_directory.join(FILE), reason)
    }

    fn without_database(path: PathBuf, reason: String) -> Self {
        let kept = Inner {
            path: path.clone(),
            usable: false,
            entries: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            // The kernel's counts are of exemptions that are not known now.
            unclean: kept::every_slot().collect(),
            problems: vec![Problem { place: path.display().to_string(), reason }],
            by_slot: BySlot::default(),
        };
        let kept = Kept::new(kept);
        Self { path, disk: None, kept, last_line: None, unrecorded: Vec::new(), doubt: None }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, kept, .. } = self;
        f.debug_struct("Store").field("path", path).field("kept", kept).finish_non_exhaustive()
    }
}
