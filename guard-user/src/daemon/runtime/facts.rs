//! The cgroups that a policy names, as they are on this host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::compile::{CgroupFact, CgroupParentFact, HostFacts};
use crate::config::bypass::Bypass;
use crate::config::sockets::Sockets;
use crate::daemon::engine::{BypassFacts, NotingFacts, VolumeFacts};
use crate::kernel::{Mounts, cgroup};

/// These cgroups and those above them, as they are now; without interfaces.
#[must_use]
pub(in crate::daemon) fn cgroups(paths: &[String]) -> HostFacts {
    cgroups_below(paths, &cgroup::root())
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
    HostFacts { cgroups, parents, ..HostFacts::default() }
}

/// The cgroups by which ways past the hooks are refused, as they are now.
#[must_use]
pub(in crate::daemon) fn bypass(asked: Bypass) -> BypassFacts {
    let root = cgroup::root();
    let place = place_of(&root, &asked.cgroup);
    let allowed = asked.allow.iter().map(|path| folder_id(&root.join(path))).collect();
    BypassFacts { cgroup: folder_id(&place), place, allowed, asked }
}

/// The cgroup in which it is noted who makes and uses sockets, as it is now.
#[must_use]
pub(in crate::daemon) fn noting(asked: Sockets, senders: bool, volumes: BTreeSet<PathBuf>) -> NotingFacts {
    let place = place_of(&cgroup::root(), &asked.cgroup);
    NotingFacts { cgroup: folder_id(&place), place, asked, senders, volumes: mounted(volumes) }
}

/// Where these volumes are mounted, as they are now.
fn mounted(paths: BTreeSet<PathBuf>) -> VolumeFacts {
    if paths.is_empty() {
        return VolumeFacts::default();
    }
    let (mounts, blind) = match Mounts::read() {
        Ok(mounts) => (mounts, None),
        Err(error) => (Mounts::default(), Some(error.to_string())),
    };
    let devices = paths.into_iter().map(|path| (path.clone(), mounts.devices_at(&path).collect())).collect();
    let init_scope = folder_id(&cgroup::root().join("init.scope")).unwrap_or_default();
    VolumeFacts { devices, init_scope, blind }
}

/// The folder of a cgroup, of which an empty path is the root's.
fn place_of(root: &Path, path: &str) -> PathBuf {
    // To join nothing would put a slash behind it.
    if path.is_empty() { root.to_owned() } else { root.join(path) }
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

#[cfg(test)]
mod tests {
    use super::*;

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
        later.go_on_from(&facts);
        assert_eq!(later, facts);

        // Made anew, it is another one, and sockets of the one before are still known.
        let mut anew = later.clone();
        anew.cgroups[0].id = Some(u64::MAX);
        anew.go_on_from(&later);
        assert_eq!(anew.former, [facts.cgroups[0].clone()]);
        for round in 0..100 {
            let before = anew.clone();
            anew.cgroups[0].id = Some(round);
            anew.go_on_from(&before);
        }
        assert_eq!(anew.former.len(), HostFacts::MAX_FORMER);
        assert_eq!(anew.former.last().and_then(|it| it.id), Some(98));
    }
}
