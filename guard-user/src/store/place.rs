//! Whether the database is still where it belongs, and writing it anew where its file was removed.
//!
//! A file that is open goes on when its name is taken away: what is written to it is kept only as long as it is open.
//! So the daemon looks by this every few seconds.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};

use super::{Store, StoreError, new_file};

/// How the database is not where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// Its file was removed.
    Removed,
    /// Its file has another name now.
    Moved,
    /// Another file has its name.
    Replaced,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => {
                "the store's file was removed while it is in use, so that what is written to it is lost when the \
                 daemon ends; the daemon writes it anew as soon as the disk lets it"
            }
            Self::Moved => {
                "the store's file was moved away while it is in use, and a daemon that starts would not find it; \
                 move it back"
            }
            Self::Replaced => {
                "another file has the store's name, and a daemon that starts would use that one; move it away and \
                 the store's own file back, or restart the daemon to begin with the other one"
            }
        })
    }
}

/// The file of an open database, under whatever name.
pub(super) struct Place {
    path: PathBuf,
    /// The file itself. By `O_PATH`, so that it is neither read nor locked by this.
    file: OwnedFd,
}

impl Place {
    /// The place of a file that was opened by this path.
    pub(super) fn of(path: &Path, file: &File) -> io::Result<Self> {
        let itself = open(by_number(file.as_raw_fd()), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), file: itself })
    }

    /// Opens the same file once more, wherever it is now.
    pub(super) fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(by_number(self.file.as_raw_fd()))
    }

    /// `None` where the path leads to the file.
    fn look(&self) -> io::Result<Option<Misplaced>> {
        let itself = rustix::fs::fstat(&self.file)?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (itself.st_dev, itself.st_ino) => Ok(None),
            Ok(_) => Ok(Some(Misplaced::Replaced)),
            Err(error) if is_absent(&error) => match itself.st_nlink {
                0 => Ok(Some(Misplaced::Removed)),
                _ => Ok(Some(Misplaced::Moved)),
            },
            Err(error) => Err(error),
        }
    }

    /// Copies the file to one beside its path, for its owner alone, and has it on the disk.
    fn copy_beside(&self) -> io::Result<(PathBuf, File)> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let beside = self.path.with_extension("new");
        new_file::remove_left(&beside)?;
        let mut from = File::open(by_number(self.file.as_raw_fd()))?;
        let mut copy = new_file::private().open(&beside)?;
        io::copy(&mut from, &mut copy)?;
        copy.sync_all()?;
        Ok((beside, copy))
    }
}

/// A name by which an open file is opened once more, whatever its path is now: proc(5).
fn by_number(descriptor: i32) -> String {
    format!("/proc/self/fd/{descriptor}")
}

/// Whether there is nothing at a path: a folder of it may be a file now.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Store {
    /// Whether the path still leads to the open database. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Misplaced`], or that the disk can't be asked.
    pub fn check_place(&self) -> Result<(), StoreError> {
        let Some(place) = self.disk.as_ref().and_then(|disk| disk.place()) else { return Ok(()) };
        match place.look() {
            Ok(None) => Ok(()),
            Ok(Some(how)) => Err(StoreError::Misplaced { path: self.path.clone(), how }),
            Err(source) => Err(self.at_place("looking for it", source)),
        }
    }

    /// As [`check_place`](Self::check_place), and writes the database anew where its file was removed and nothing is
    /// in its place: as it is now, with all that was written since. What was moved away is left alone: there would
    /// be two then, and either could be the one that a later start finds.
    ///
    /// # Errors
    /// Where the path still does not lead to the open database; that is used on as it is.
    pub fn restore_place(&mut self) -> Result<(), StoreError> {
        match self.check_place() {
            Err(StoreError::Misplaced { how: Misplaced::Removed, .. }) => self.write_anew(),
            other => other,
        }
    }

    fn write_anew(&mut self) -> Result<(), StoreError> {
        // What is copied has to be what this process takes it for.
        self.leave_doubt()?;
        let Some(place) = self.disk.as_ref().and_then(|disk| disk.place()) else { return Ok(()) };
        let (beside, copy) = place.copy_beside().map_err(|error| self.at_place("writing it anew", error))?;
        // It is open and locked before it has its name: one that is named and not in use would soon be an old one.
        let opened = super::disk::Disk::on_file(&self.path, copy).and_then(|disk| {
            // What came there in between is not written over.
            let named = renameat_with(CWD, &beside, CWD, &self.path, RenameFlags::NOREPLACE);
            named.map_err(|error| self.at_place("naming it", error.into()))?;
            Ok(disk)
        });
        match opened {
            Ok(disk) => self.disk = Some(disk),
            Err(error) => {
                let _nothing_is_named_by_it = fs::remove_file(&beside);
                return Err(error);
            }
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.at_place("syncing its folder", error))
    }

    fn at_place(&self, step: &'static str, source: io::Error) -> StoreError {
        StoreError::Disk { path: self.path.clone(), step, source }
    }
}
