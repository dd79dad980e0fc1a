//! The cgroups that a policy names, as they are on this host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::compile::{CgroupFact, CgroupParentFact, HostFacts};
use crate::config::bypass::Bypass;
use crate::daemon::engine::BypassFacts;

/// Where cgroup v2 is mounted where nothing else says so (Documentation/admin-guide/cgroup-v2).
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// These cgroups and those above them, as they are now; without interfaces.
#[must_use]
pub(in crate::daemon) fn cgroups(paths: &[String]) -> HostFacts {
    cgroups_below(paths, &cgroup_root())
}

fn cgroups_below(paths: &[String], root: &Path) -> HostFacts {
    let paths: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    // From the root on, and before the cgroups themselves: what is made meanwhile is then found or has a higher id.
    let above = |path| std::iter::once("").chain(path_ends(path).filter_map(|end| path.get(..end)));
    let parents: BTreeSet<&str> = paths.iter().flat_map(|path| above(path)).collect();
    let parents = parents.into_iter().filter_map(|path| parent(root, path)).collect();
    let cgroup = |path: &str| CgroupFact {
        path: path.to_owned(),
        id: folder_id(&root.join(path)),
        level: u32::try_from(path_ends(path).count() + 1).unwrap_or(u32::MAX),
    };
    let cgroups = paths.into_iter().map(cgroup).collect();
    HostFacts { interfaces: Vec::new(), cgroups, parents }
}

/// The cgroups by which ways past the hooks are refused, as they are now.
#[must_use]
pub(in crate::daemon) fn bypass(asked: Bypass) -> BypassFacts {
    let root = cgroup_root();
    // To join nothing would put a slash behind it.
    let place = if asked.cgroup.is_empty() { root.clone() } else { root.join(&asked.cgroup) };
    let allowed = asked.allow.iter().map(|path| folder_id(&root.join(path))).collect();
    BypassFacts { cgroup: folder_id(&place), place, allowed, asked }
}

/// Where the names in a path end, but for the last one.
fn path_ends(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('/').map(|(at, _)| at)
}

/// A cgroup above those that the policy names; `None` where it is absent.
fn parent(root: &Path, path: &str) -> Option<CgroupParentFact> {
    let folder = root.join(path);
    let id = folder_id(&folder)?;
    // Files have ids of the same row, and theirs are no higher than that of what is made later.
    let children = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let known = children.map(|entry| entry.ino()).fold(id, u64::max);
    Some(CgroupParentFact { path: path.to_owned(), id, known })
}

fn folder_id(folder: &Path) -> Option<u64> {
    fs::metadata(folder).ok().filter(fs::Metadata::is_dir).map(|found| found.ino())
}

/// The folder at which cgroup v2 is mounted: the first in the list of mounts.
pub(crate) fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mount_of(&mounts, "cgroup2").unwrap_or_else(|| CGROUP_ROOT.into())
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
    use super::*;

    #[test]
    fn the_mount_of_cgroup_v2_is_found() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_of(mounts, "cgroup2"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_of("", "cgroup2"), None);
    }

    #[test]
    fn cgroups_are_known_by_inode_and_level_and_absent_ones_by_what_is_above_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let paths = ["a.slice/b.slice".to_owned(), "missing.slice/c/d".to_owned()];
        let inner = root.join("a.slice/b.slice");
        fs::create_dir_all(&inner).unwrap();
        let facts = cgroups_below(&paths, &root);
        let id = |folder: &Path| fs::metadata(folder).unwrap().ino();
        let [there, absent] = &facts.cgroups[..] else { panic!("{facts:?}") };
        assert_eq!(*there, CgroupFact { path: "a.slice/b.slice".into(), id: Some(id(&inner)), level: 2 });
        assert_eq!(*absent, CgroupFact { path: "missing.slice/c/d".into(), id: None, level: 3 });
        let [top, slice] = &facts.parents[..] else { panic!("{facts:?}") };
        assert_eq!((top.path.as_str(), top.id, top.level()), ("", id(&root), 0));
        assert_eq!(top.known, id(&root).max(id(&root.join("a.slice"))));
        assert_eq!((slice.path.as_str(), slice.level()), ("a.slice", 1));
        assert_eq!(slice.known, id(&inner).max(slice.id));
        assert!(top.is_above("missing.slice/c/d") && slice.is_above("a.slice/b.slice"));
        assert!(!slice.is_above("a.slice") && !slice.is_above("a.slice2/b.slice"));

        fs::remove_dir(&inner).unwrap();
        let mut later = cgroups_below(&paths, &root);
        assert_eq!(later.cgroups[0].id, None);
        later.keep_missing(&facts);
        assert_eq!(later, facts);
    }
}
