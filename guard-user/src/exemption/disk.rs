//! The few steps by which files are changed so that a crash between any two of them leaves either the
//! old content or the new.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// One folder of files. The other implementation is the model in the tests, which forgets what was not
/// synced, as a power failure does.
pub(super) trait Disk: Send {
    /// The names of the files in the folder.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file's content, at most so many bytes of it.
    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>>;
    /// Makes or overwrites a file, and waits until its content is on the disk. Its name may not be yet.
    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in place of the file that has it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Waits until the names are on the disk.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// What a file is called until its content is whole; such files are left over by a crash alone.
pub(super) const UNFINISHED: &str = ".tmp";

/// Writes a file so that it is wholly there after a crash, or as it was before.
pub(super) fn replace(disk: &mut dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = format!("{name}{UNFINISHED}");
    disk.write_synced(&unfinished, bytes)?;
    disk.rename(&unfinished, name)?;
    disk.sync_folder()
}

/// A folder of the file system, held by one process at a time.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Drop for Folder {
    /// Gives the lock up by name: closing the file would leave it to a child process that another thread
    /// has begun to start, which has a copy of every file until it executes its program.
    fn drop(&mut self) {
        // The lock ends with the file's last copy in any case.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// The file that the lock is on.
pub(super) const LOCK: &str = "lock";

impl Folder {
    /// Makes the folder where there is none, for its owner alone, and locks it. The error is
    /// [`io::ErrorKind::WouldBlock`] where another process has it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            for made in path.ancestors().skip(1).take(2).filter(|path| path.is_dir()) {
                File::open(made)?.sync_all()?;
            }
        }
        let lock = options().write(true).create(true).truncate(false).open(path.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path: path.to_owned(), lock })
    }
}

/// Files for their owner alone, and never by way of a symbolic link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| name.as_ref().map_or(true, |name| name != LOCK)).collect()
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        options().read(true).open(self.path.join(name))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = options().write(true).create(true).truncate(true).open(self.path.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
