//! The pin path: where maps and links outlive the daemon.
//!
//! ```text
//! PIN_PATH/maps/NAME                    every map that is shared with whoever comes next
//! PIN_PATH/links/INDEX-INTERFACE-HOOK   links, which keep the programs attached
//! PIN_PATH/filters/...                  empty folders that remember where TC filters of ours are
//! ```
//!
//! The folder itself is the lock: who works with the pins holds flock(2) on it, and the kernel lets go
//! of it when the process ends in whatever way.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::mount::MountFlags;
use tracing::warn;

use super::KernelError;

/// Where the kernel's own BPF file system belongs (Documentation/bpf).
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// A pin path that this process may change.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: OwnedFd,
}

impl Folder {
    /// Makes the folder where it is missing, mounting the BPF file system where the path lies in
    /// `/sys/fs/bpf` and none is, and locks it.
    pub(super) fn make(path: &Path) -> Result<Self, KernelError> {
        check_name(path)?;
        if path.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS))? {
            mount()?;
        }
        let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        if !is_bpffs(existing)? {
            return Err(KernelError::NotBpffs { path: path.to_path_buf() });
        }
        loop {
            make_dirs(path)?;
            if let Some(folder) = Self::lock(path)? {
                folder.make_parts()?;
                folder.take_from_others()?;
                return Ok(folder);
            }
        }
    }

    /// Locks a folder that is there.
    pub(super) fn existing(path: &Path) -> Result<Self, KernelError> {
        check_name(path)?;
        // A folder that may not be looked at is not one that is absent.
        let is_there = match fs::metadata(maps(path)) {
            Ok(found) => found.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(KernelError::folder("look at", maps(path), error)),
        };
        if !is_there || !is_bpffs(path)? {
            return Err(KernelError::NothingPinned { path: path.to_path_buf() });
        }
        Self::lock(path)?.ok_or_else(|| KernelError::NothingPinned { path: path.to_path_buf() })
    }

    /// Locks the folder; `None` where it was removed meanwhile.
    fn lock(path: &Path) -> Result<Option<Self>, KernelError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(lock) => lock,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(KernelError::folder("open", path, error)),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(KernelError::Locked { path: path.to_path_buf() });
            }
            Err(error) => return Err(KernelError::folder("lock", path, error)),
        }
        // Whoever held the lock before may have removed the folder, and another may have made it anew.
        let folder = Self { path: path.to_path_buf(), lock };
        Ok(folder.is_there().then_some(folder))
    }

    /// Makes the parts that are missing.
    pub(super) fn make_parts(&self) -> Result<(), KernelError> {
        [maps(&self.path), links(&self.path), filters(&self.path)].iter().try_for_each(|part| make_dirs(part))
    }

    /// Makes the folders this user's alone that somebody else has made, or may write in: whoever owns a folder can remove what is in
    /// it, and with a link the guard. Those above it in the same file system too, but for the place of the mount, whose mode
    /// is the operator's to choose.
    fn take_from_others(&self) -> Result<(), KernelError> {
        let parts = [maps(&self.path), links(&self.path), filters(&self.path)];
        let device = fs::metadata(&self.path)
            .map_err(|error| KernelError::folder("look at", &self.path, error))?
            .dev();
        let has_device = |folder: &&Path| fs::metadata(folder).is_ok_and(|it| it.dev() == device);
        let above: Vec<&Path> = self.path.ancestors().take_while(has_device).collect();
        let below_the_mount = above.split_last().map_or(&[][..], |(_, others)| others);
        for folder in below_the_mount.iter().copied().chain(parts.iter().map(PathBuf::as_path)) {
            take_from_others(folder).map_err(|error| KernelError::folder("take over", folder, error))?;
        }
        Ok(())
    }

    /// Whether the folder at the path is still the one that is locked.
    pub(super) fn is_there(&self) -> bool {
        let held = rustix::fs::fstat(&self.lock);
        let there = fs::metadata(&self.path);
        matches!((held, there), (Ok(held), Ok(there)) if (there.dev(), there.ino()) == (held.st_dev, held.st_ino))
    }

    /// The folder that is locked.
    pub(super) fn locked(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// The pin path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder and what is pinned in it.
    pub(super) fn remove(self) -> Result<(), KernelError> {
        for part in [filters(&self.path), links(&self.path), maps(&self.path)] {
            for name in names(&part)? {
                remove(&part.join(name))?;
            }
            remove(&part)?;
        }
        remove(&self.path)
    }
}

fn take_from_others(folder: &Path) -> io::Result<()> {
    const OTHERS_WRITE: u32 = 0o022;
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is no folder: remove it, and start again"));
    }
    let own = rustix::process::geteuid();
    if found.uid() == own.as_raw() && found.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    warn!(
        "{} was the user {}'s, with mode {:o}, so that others could have removed what guards: it is this user's alone now",
        folder.display(),
        found.uid(),
        found.mode() & 0o7777
    );
    rustix::fs::chown(folder, Some(own), Some(rustix::process::getegid()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(found.mode() & 0o7777 & !OTHERS_WRITE))
}

/// Whether the file system at the path is mounted read-only.
pub(super) fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Whether the host's first process sees another folder at the path, or none: then the mount ends with the processes of this
/// mount namespace, and the pins with it. Where that can't be looked at, it is taken to see it.
pub fn is_private(path: &Path) -> bool {
    let of_first = Path::new("/proc/1/root").join(path.strip_prefix("/").unwrap_or(path));
    let Ok(own) = fs::metadata(path) else { return false };
    match fs::metadata(of_first) {
        Ok(its) => (its.dev(), its.ino()) != (own.dev(), own.ino()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Where maps are pinned.
pub(super) fn maps(path: &Path) -> PathBuf {
    path.join("maps")
}

/// Other pin paths at which a guard has its maps: those beside this one, and the usual one. A config may have named one of
/// them when that guard was started.
#[must_use]
pub fn other_pin_paths(path: &Path) -> Vec<PathBuf> {
    let beside = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    let beside = beside.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut all: Vec<PathBuf> = beside.chain([Path::new(BPFFS).join("borderguard")]).collect();
    all.sort();
    all.dedup();
    all.retain(|other| other != path && maps(other).join("CONTROL").exists());
    all
}

/// Where links are pinned.
pub(super) fn links(path: &Path) -> PathBuf {
    path.join("links")
}

/// Where interfaces with TC filters of ours are remembered.
pub(super) fn filters(path: &Path) -> PathBuf {
    path.join("filters")
}

/// The names in a folder, sorted; none where there is no folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, KernelError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(KernelError::folder("list", folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| KernelError::folder("list", folder, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Makes a folder and those above it.
pub(super) fn make_dirs(path: &Path) -> Result<(), KernelError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| KernelError::folder("create", path, error))
}

/// Removes a pin or an empty folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), KernelError> {
    let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(KernelError::folder("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Gives an entry another name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), KernelError> {
    fs::rename(from, to).map_err(|error| KernelError::folder("rename", from, error))
}

/// The name of an entry or note: the interface's index and name at that time, by which people know it. The BPF file
/// system takes no dots, which VLANs' names have.
pub(super) fn entry_name(index: u32, interface: &str, what: &str) -> String {
    format!("{index}-{}-{what}", interface.replace('%', "%25").replace('.', "%2E"))
}

/// The parts of such a name; `None` for another one.
pub(super) fn read_entry_name(name: &str) -> Option<(u32, String, &str)> {
    let (index, rest) = name.split_once('-')?;
    let (interface, what) = rest.rsplit_once('-')?;
    Some((index.parse().ok()?, interface.replace("%2E", ".").replace("%25", "%"), what))
}

fn check_name(path: &Path) -> Result<(), KernelError> {
    let plain = |component: Component<'_>| match component {
        Component::RootDir => true,
        Component::Normal(name) => !path.starts_with(BPFFS) || !name.to_string_lossy().contains('.'),
        _ => false,
    };
    if path.is_absolute() && path.parent().is_some() && path.components().all(plain) {
        return Ok(());
    }
    Err(KernelError::PinPath { path: path.to_path_buf() })
}

fn is_bpffs(path: &Path) -> Result<bool, KernelError> {
    match rustix::fs::statfs(path) {
        Ok(found) => Ok(u64::try_from(found.f_type).is_ok_and(|magic| magic & 0xffff_ffff == BPF_FS_MAGIC)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(KernelError::folder("look at", path, error)),
    }
}

/// Mounts the BPF file system where init systems mount it, with the flags that they use.
fn mount() -> Result<(), KernelError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    rustix::mount::mount("bpf", BPFFS, "bpf", flags, c"mode=0700")
        .map_err(|error| KernelError::folder("mount a BPF file system on", BPFFS, error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_of_interfaces_survive_in_names_of_pins(index in 1_u32.., name in "[a-z0-9.%@_-]{1,15}") {
            let pin = entry_name(index, &name, "egress");
            prop_assert!(!pin.contains('.') && !pin.contains('/'));
            prop_assert_eq!(read_entry_name(&pin), Some((index, name, "egress")));
        }
    }

    #[test]
    fn odd_pin_paths_are_refused() {
        for path in ["borderguard", "/", "/sys/fs/bpf/border.guard", "/sys/fs/bpf/../x"] {
            let refused = check_name(Path::new(path));
            assert!(matches!(refused, Err(KernelError::PinPath { .. })), "{path}");
        }
        assert!(check_name(Path::new("/sys/fs/bpf/borderguard")).is_ok());
    }

    #[test]
    fn a_folder_elsewhere_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let refused = Folder::make(&place.path().join("pins"));
        assert!(matches!(refused, Err(KernelError::NotBpffs { .. })), "{refused:?}");
        assert!(!place.path().join("pins").exists(), "nothing was made");
    }
}
