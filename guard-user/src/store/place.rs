//! Where the file of the open database is: whether its path still leads to it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::new_file;

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
    pub(super) fn look(&self) -> io::Result<Option<Misplaced>> {
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
    pub(super) fn copy_beside(&self) -> io::Result<(PathBuf, File)> {
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
