//! The cgroups that a policy names, as they are on this host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::compile::CgroupFact;

/// Where cgroup v2 is mounted where nothing else says so (Documentation/admin-guide/cgroup-v2).
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Those of these cgroups that are there, by path.
#[must_use]
pub(super) fn cgroups(paths: &[String]) -> Vec<CgroupFact> {
    cgroups_below(paths, &cgroup_root())
}

fn cgroups_below(paths: &[String], root: &Path) -> Vec<CgroupFact> {
    let fact = |path: &String| {
        let id = fs::metadata(root.join(path)).ok().filter(fs::Metadata::is_dir)?.ino();
        let level = u32::try_from(path.split('/').count()).ok()?;
        Some(CgroupFact { path: path.clone(), id, level })
    };
    let mut cgroups: Vec<CgroupFact> = paths.iter().filter_map(fact).collect();
    cgroups.sort_by(|one, other| one.path.cmp(&other.path));
    cgroups.dedup();
    cgroups
}

/// The folder at which cgroup v2 is mounted: the first in the list of mounts.
pub(super) fn cgroup_root() -> PathBuf {
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
    fn cgroups_are_known_by_inode_and_level_and_missing_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a.slice/b.slice");
        fs::create_dir_all(&inner).unwrap();
        let paths = ["a.slice/b.slice".to_owned(), "missing.slice".to_owned()];
        let id = fs::metadata(&inner).unwrap().ino();
        let found = cgroups_below(&paths, folder.path());
        assert_eq!(found, [CgroupFact { path: "a.slice/b.slice".into(), id, level: 2 }]);
        fs::remove_dir(&inner).unwrap();
        assert_eq!(cgroups_below(&paths, folder.path()), []);
    }
}
