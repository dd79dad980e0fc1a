//! A control group (v2) of one's own, for selectors that tag by cgroup.
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cleanup::{self, Undo};
use crate::error::SetupError;
use crate::names;

/// A control group; on drop its processes are killed and it is removed, with those below it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    _undo: Undo,
}

impl Cgroup {
    /// Makes a group at the root of the cgroup v2 hierarchy.
    ///
    /// # Errors
    /// [`SetupError::NotMounted`] without cgroup v2, [`SetupError::NotPermitted`] without root.
    pub fn new(label: &str) -> Result<Self, SetupError> {
        let root = root()?;
        remove_left_overs(&root);
        Self::at(root.join(names::unique(label)?))
    }

    /// Makes a group below this one, like a unit's below its slice.
    ///
    /// # Errors
    /// As [`Cgroup::new`].
    pub fn child(&self, label: &str) -> Result<Self, SetupError> {
        Self::at(self.path.join(names::unique(label)?))
    }

    fn at(path: PathBuf) -> Result<Self, SetupError> {
        let (path, undo) = cleanup::make(|| {
            fs::create_dir(&path).map_err(|error| SetupError::io("create", &path, error))?;
            let made = path.clone();
            Ok::<_, SetupError>((path, move || remove(&made)))
        })?;
        Ok(Cgroup { path, _undo: undo })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path below the root, as a config names it.
    pub fn name(&self) -> String {
        let root = root().unwrap_or_default();
        self.path.strip_prefix(root).unwrap_or(&self.path).to_string_lossy().into_owned()
    }

    /// The section of a config that refuses ways past the guard to this group alone: a daemon of a test must not reach
    /// into the processes of the machine that it runs on.
    pub fn refused(&self) -> String {
        format!("[bypass]\ncgroup = {:?}\n", self.name())
    }

    /// The section of a config that notes who makes and uses sockets of this group alone, likewise.
    pub fn noted(&self) -> String {
        format!("[sockets]\ncgroup = {:?}\n", self.name())
    }

    /// Its id, as `bpf_skb_cgroup_id` gives it: the folder's inode number.
    ///
    /// # Errors
    /// [`SetupError::Io`] if the group was removed by someone else.
    pub fn id(&self) -> Result<u64, SetupError> {
        Ok(fs::metadata(&self.path).map_err(|error| SetupError::io("read", &self.path, error))?.ino())
    }

    /// Has the command start inside the group, so that its very first socket belongs to it.
    ///
    /// # Errors
    /// [`SetupError::Io`] if the group's `cgroup.procs` cannot be opened.
    pub fn contain(&self, command: &mut Command) -> Result<(), SetupError> {
        let procs = self.path.join("cgroup.procs");
        let procs: File = OpenOptions::new()
            .write(true)
            .open(&procs)
            .map_err(|error| SetupError::io("open", &procs, error))?;
        // SAFETY: between fork and exec the closure only makes one write(2) from a buffer that is
        // there already: it takes no lock and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                // "0" stands for the process that writes.
                rustix::io::write(&procs, b"0").map(|_| ()).map_err(Into::into)
            });
        }
        Ok(())
    }
}

/// Runs `work` with this whole process in the group of this folder. Sockets keep the group in which they are made.
///
/// # Errors
/// [`SetupError::Io`] where the process can't go there or back.
pub fn inside<T>(folder: &Path, work: impl FnOnce() -> T) -> Result<T, SetupError> {
    let own = "/proc/self/cgroup";
    let before = fs::read_to_string(own).map_err(|error| SetupError::io("read", own, error))?;
    let before = before.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let before = root()?.join(before);
    let enter = |folder: &Path| {
        let procs = folder.join("cgroup.procs");
        fs::write(&procs, "0").map_err(|error| SetupError::io("write", &procs, error))
    };
    enter(folder)?;
    let outcome = work();
    enter(&before)?;
    Ok(outcome)
}

/// Where cgroup v2 is mounted (`/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside v1).
///
/// # Errors
/// [`SetupError::NotMounted`] if it is not.
pub fn root() -> Result<PathBuf, SetupError> {
    let path = "/proc/self/mountinfo";
    let table = fs::read_to_string(path).map_err(|error| SetupError::io("read", path, error))?;
    table.lines().find_map(cgroup2_mount_point).ok_or(SetupError::NotMounted {
        kind: "cgroup2",
        hint: "mount it with `mount -t cgroup2 none /sys/fs/cgroup`",
    })
}

/// The mount point in one line of mountinfo (proc_pid_mountinfo(5)), if cgroup2 is mounted there as
/// a whole (its root field is `/`).
fn cgroup2_mount_point(line: &str) -> Option<PathBuf> {
    let (mount, rest) = line.split_once(" - ")?;
    if rest.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    if fields.next() != Some("/") {
        return None;
    }
    fields.next().map(PathBuf::from)
}

/// Kills what is in the group and removes it, deepest first.
fn remove(path: &Path) {
    let _absent_before_5_14 = fs::write(path.join("cgroup.kill"), "1");
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove(&entry.path());
        }
    }
    // A killed process leaves its group a moment later, and until then the folder is busy.
    let start = Instant::now();
    while path.exists() && fs::remove_dir(path).is_err() && start.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what runs that were killed have left.
fn remove_left_overs(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(names::is_left_over) {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read() {
        let v2 = "35 24 0:30 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(cgroup2_mount_point(v2), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let v1 = "36 24 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        assert_eq!(cgroup2_mount_point(v1), None);
        let part = "35 24 0:30 /a.slice /mnt rw - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount_point(part), None);
        assert_eq!(cgroup2_mount_point(""), None);
    }
}
