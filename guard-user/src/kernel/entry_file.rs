//! Which file of the BPF file system an entry is, so that one that is still the same is not opened again.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::raw;

/// A file of bpffs. It is one map's, program's or link's for as long as it is there: whoever pins another object makes another
/// file. The number of an inode is given again after 2^32 others, which somebody could wait for; so when it was made, renamed or
/// given other rights for the last time counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryFile {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl EntryFile {
    /// The one at this path: behind what is mounted there, and behind symbolic links, as where the kernel opens it.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self::of(&found))
    }

    /// Opens what is pinned at this path, and says of which file it is. That one is held meanwhile: no other can come in its
    /// place between the two.
    pub(super) fn open(path: &Path) -> io::Result<(Self, OwnedFd)> {
        let file = File::from(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let object = raw::get(&own).map_err(|error| match error.kind() {
            // It is there: what is not is /proc, and nobody is to take that for an entry that is gone.
            io::ErrorKind::NotFound => io::Error::other("/proc is not mounted"),
            _ => error,
        })?;
        Ok((Self::of(&file.metadata()?), object))
    }

    fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_comes_in_the_place_of_a_file_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let (name, beside, link) =
            (folder.path().join("HELD"), folder.path().join("beside"), folder.path().join("link"));
        fs::write(&name, "").unwrap();
        fs::write(&beside, "").unwrap();
        let first = EntryFile::at(&name).unwrap();
        assert_eq!(EntryFile::at(&name).unwrap(), first, "nothing has changed");
        symlink(&name, &link).unwrap();
        assert_eq!(EntryFile::at(&link).unwrap(), first, "where it leads");
        fs::rename(&beside, &name).unwrap();
        assert_ne!(EntryFile::at(&name).unwrap(), first);
        fs::remove_file(&name).unwrap();
        assert_eq!(EntryFile::at(&name).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(EntryFile::open(&name).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
