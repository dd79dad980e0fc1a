//! What a policy's names stand for on this host: interfaces and cgroups.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::compile::{CgroupFact, HostFacts};
use crate::config::policy::Policy;
use crate::kernel::Interface;

/// Where cgroup v2 is mounted where nothing else says so (Documentation/admin-guide/cgroup-v2).
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The facts that the policy needs. A cgroup that is not there is left out: the compiler says which pin
/// misses it.
#[must_use]
pub(super) fn gather(policy: &Policy, interfaces: &[Interface]) -> HostFacts {
    gather_below(policy, interfaces, &cgroup_root())
}

fn gather_below(policy: &Policy, interfaces: &[Interface], root: &Path) -> HostFacts {
    let mut cgroups: Vec<CgroupFact> = policy
        .pins
        .iter()
        .flat_map(|pin| &pin.select.cgroups)
        .filter_map(|path| {
            let id = fs::metadata(root.join(path)).ok().filter(fs::Metadata::is_dir)?.ino();
            let level = u32::try_from(path.split('/').count()).ok()?;
            Some(CgroupFact { path: path.clone(), id, level })
        })
        .collect();
    cgroups.sort_by(|one, other| one.path.cmp(&other.path));
    cgroups.dedup();
    let interfaces = interfaces.iter().map(|interface| (interface.index, interface.name.clone())).collect();
    HostFacts { interfaces, cgroups }
}

/// Cgroups that were there are kept as they were where they are gone now.
pub(super) fn keep_missing(facts: &mut HostFacts, before: &HostFacts) {
    for cgroup in &before.cgroups {
        if facts.cgroups.iter().all(|found| found.path != cgroup.path) {
            facts.cgroups.push(cgroup.clone());
        }
    }
    facts.cgroups.sort_by(|one, other| one.path.cmp(&other.path));
}

/// Cgroups that the policy names and that are not there now.
pub(super) fn missing_cgroups(policy: &Policy) -> Vec<String> {
    let there = gather(policy, &[]).cgroups;
    let mut missing: Vec<String> = policy
        .pins
        .iter()
        .flat_map(|pin| &pin.select.cgroups)
        .filter(|path| there.iter().all(|found| found.path != **path))
        .cloned()
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

/// Whether a change of the interfaces changes the policy's tables.
#[must_use]
pub(super) fn selects_interfaces(policy: &Policy) -> bool {
    policy.pins.iter().any(|pin| !pin.select.interfaces.is_empty())
}

/// The folder at which cgroup v2 is mounted: the first in the list of mounts.
fn cgroup_root() -> PathBuf {
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
    use super::super::inputs::load_config;
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
        let file = folder.path().join("policy.toml");
        let text = "[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
                    select.cgroups = [\"a.slice/b.slice\", \"missing.slice\"]\n";
        fs::write(&file, text).unwrap();
        let policy = load_config(&file, false).unwrap().policy;
        let inner = folder.path().join("a.slice/b.slice");
        fs::create_dir_all(&inner).unwrap();
        let facts = gather_below(&policy, &[], folder.path());
        let id = fs::metadata(&inner).unwrap().ino();
        assert_eq!(facts.cgroups, [CgroupFact { path: "a.slice/b.slice".into(), id, level: 2 }]);
        assert!(!selects_interfaces(&policy));

        fs::remove_dir(&inner).unwrap();
        let mut later = gather_below(&policy, &[], folder.path());
        assert_eq!(later.cgroups, []);
        keep_missing(&mut later, &facts);
        assert_eq!(later, facts);
    }
}
