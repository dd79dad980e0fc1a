//! The cgroups of this host: where they are mounted, and what their ids are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

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

/// The folder at which cgroup v2 is mounted: the first in the list of mounts.
#[must_use]
pub fn root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mount_of(&mounts, "cgroup2").unwrap_or_else(|| ROOT.into())
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

    use super::*;

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
