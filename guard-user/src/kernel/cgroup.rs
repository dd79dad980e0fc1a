//! The cgroups of this host: where they are mounted, and what their ids are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where cgroup v2 is mounted where nothing else says so (Documentation/admin-guide/cgroup-v2).
const ROOT: &str = "/sys/fs/cgroup";

/// Goes into the cgroup namespace of the first process: a container has one of its own, from which the paths of other processes
/// lead out of its root (cgroup_namespaces(7)), while the cgroups that are mounted there are the host's. It is for the thread that
/// calls it and those that it makes, so before any other. Where that may not be, paths that lead out are refused where they are
/// read.
pub fn see_all() {
    const OWN: &str = "/proc/self/ns/cgroup";
    const FIRST: &str = "/proc/1/ns/cgroup";
    let number = |name: &str| fs::metadata(name).map(|found| found.ino()).ok();
    if number(FIRST).is_some_and(|first| number(OWN).is_some_and(|own| own != first))
        && let Ok(first) = File::open(FIRST)
    {
        let _may_be_refused = move_into_link_name_space(first.as_fd(), Some(LinkNameSpaceType::ControlGroup));
    }
}

/// The folder at which cgroup v2 is mounted: the first in the list of mounts, which is read again once it has changed.
#[must_use]
pub fn root() -> PathBuf {
    static LAST: Mutex<Option<Mounts>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.as_ref().is_none_or(Mounts::have_changed) {
        *last = Mounts::read(Path::new("/proc/self/mounts")).ok();
    }
    last.as_ref().and_then(|mounts| mounts.root.clone()).unwrap_or_else(|| ROOT.into())
}

/// A list of mounts that was read.
struct Mounts {
    /// Open, for the kernel tells by it what has changed.
    list: File,
    /// Where cgroup v2 is mounted in it.
    root: Option<PathBuf>,
}

impl Mounts {
    fn read(list: &Path) -> io::Result<Self> {
        let (mut list, mut mounts) = (File::open(list)?, String::new());
        list.read_to_string(&mut mounts)?;
        Ok(Self { root: mount_of(&mounts, "cgroup2"), list })
    }

    /// Whether anything was mounted, moved, remounted or unmounted since the list was opened or this was asked: the kernel counts
    /// that for each mount namespace, and poll(2) tells it of the list (proc_pid_mounts(5)). Asked before it is read again, so
    /// that what changes meanwhile is told the next time. Where it can't be asked, it may have.
    fn have_changed(&self) -> bool {
        let mut asked = [PollFd::new(&self.list, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)) != Ok(0)
    }
}

/// The paths below the root of the cgroups with these ids, as they are now. A cgroup's id is its folder's inode (kernel,
/// `kernfs_id`). Those that are gone are left out, and so is the root, whose path is empty.
#[must_use]
pub fn paths(ids: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    paths_below(&root(), ids).0
}

/// As [`paths`], and whether all cgroups were looked at that the others could be among.
pub(super) fn all_paths(ids: &BTreeSet<u64>) -> (BTreeMap<u64, String>, bool) {
    paths_below(&root(), ids)
}

fn paths_below(root: &Path, ids: &BTreeSet<u64>) -> (BTreeMap<u64, String>, bool) {
    let mut found = BTreeMap::new();
    let mut is_whole = true;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop()
        && found.len() < ids.len()
    {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                // A cgroup may go away meanwhile, but not the root.
                let is_gone = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV));
                is_whole &= is_gone && folder != *root;
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if ids.contains(&entry.ino())
                && let Ok(below) = path.strip_prefix(root)
            {
                found.insert(entry.ino(), below.to_string_lossy().into_owned());
            }
            folders.push(path);
        }
    }
    (found, is_whole)
}

/// The mount point of the first file system of this type, of lines as fstab(5) has them.
fn mount_of(mounts: &str, kind: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (folder, found) = (words.next()?, words.next()?);
        // Spaces, tabs, line breaks and backslashes are written as octal numbers; others are not known here.
        (found == kind && !folder.contains('\\')).then(|| folder.into())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;

    #[test]
    fn whatever_is_mounted_or_unmounted_has_the_mounts_read_again() {
        let in_own_namespace = std::thread::spawn(|| {
            // SAFETY: a mount namespace of its own takes no file descriptor and no memory from anyone.
            if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
                return println!("only root may mount");
            }
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let mounts = Mounts::read(Path::new("/proc/thread-self/mounts")).unwrap();
            assert!(!mounts.have_changed() && !mounts.have_changed());
            mount("none", folder.path(), "tmpfs", MountFlags::empty(), None).unwrap();
            assert!(mounts.have_changed() && !mounts.have_changed());
            unmount(folder.path(), UnmountFlags::empty()).unwrap();
            assert!(mounts.have_changed() && !mounts.have_changed());
        });
        in_own_namespace.join().unwrap();
        assert_eq!(root(), root());
    }

    #[test]
    fn the_mount_of_cgroup_v2_is_found() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_of(mounts, "cgroup2"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_of("", "cgroup2"), None);
    }

    #[test]
    fn ids_are_called_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["system.slice/etcd.service", "user.slice"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        let id = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
        let etcd = id("system.slice/etcd.service");
        let ids = BTreeSet::from([etcd, id("user.slice"), 1]);
        let expected = BTreeMap::from([
            (etcd, "system.slice/etcd.service".to_owned()),
            (id("user.slice"), "user.slice".to_owned()),
        ]);
        assert_eq!(paths_below(root, &ids), (expected, true));
        assert_eq!(paths_below(&root.join("gone"), &ids), (BTreeMap::new(), false), "nobody could look");
    }
}
