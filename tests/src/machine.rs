//! A machine of a test's network with a Debian of its own, on which real servers and their clients run.
//!
//! Its programs come from one root file system that `cargo xtask services` makes; each machine writes to memory of its
//! own above that, which is gone with it.
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::cgroup::Cgroup;
use crate::cleanup::{self, Undo};
use crate::error::SetupError;
use crate::names;
use crate::netns::Netns;
use crate::proc::{Process, run_to_end};

/// Where the machines' file systems are mounted.
const BASE: &str = "/run/borderguard-tests-machines";
/// The root file system in a guest, where it is on a disk.
const OF_A_GUEST: &str = "/services";
/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine; its file system goes on drop. Processes that are to end before it are held by their [`Process`].
#[derive(Debug)]
pub struct Machine<'a> {
    netns: &'a Netns,
    root: PathBuf,
    _undo: Undo,
}

impl<'a> Machine<'a> {
    /// A machine with this network.
    ///
    /// # Errors
    /// Without root, or where the root file system was not made.
    pub fn new(label: &str, netns: &'a Netns) -> Result<Self> {
        remove_left_overs();
        let debian = debian()?;
        let folder = Path::new(BASE).join(names::unique(label)?);
        let (root, undo) = cleanup::make(|| {
            let root = mount_root(&debian, &folder).inspect_err(|_| remove(&folder))?;
            Ok::<_, SetupError>((root, move || remove(&folder)))
        })?;
        Ok(Self { netns, root, _undo: undo })
    }

    /// Where a file of this machine is on the host.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file.trim_start_matches('/'))
    }

    /// Writes a file that all of the machine's users can read, and the folders to it.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Makes a folder of a user's own.
    ///
    /// # Errors
    /// Where the machine has no such user.
    pub fn folder(&self, user: &str, folder: &str) -> Result<()> {
        self.run(&["install", "-d", "-o", user, "-m", "700", folder]).map(drop)
    }

    /// Mounts a file system of its own at a folder, which all may read and write, unless that is one already.
    ///
    /// # Errors
    /// Without root.
    pub fn mount(&self, folder: &str) -> Result<()> {
        let path = self.path(folder);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        if device(&path)? != device(&self.root)? {
            return Ok(());
        }
        let on = || format!("cannot mount a file system on {}", path.display());
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), Some(c"mode=1777")).with_context(on)
    }

    /// A command on this machine, as root; [`as_user`] makes it another user's.
    ///
    /// # Errors
    /// Where the process is out of file descriptors.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        self.command_of("root", words)
    }

    /// A command of a user on this machine.
    ///
    /// # Errors
    /// Where the process is out of file descriptors.
    pub fn command_of(&self, user: &str, words: &[&str]) -> Result<Command> {
        let mut command = self.netns.command("chroot")?;
        command
            .arg(format!("--userspec={user}:"))
            .arg(&self.root)
            .args(words)
            .env_clear()
            .env(
                "PATH",
                "/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/tmp")
            .env("LANG", "C.UTF-8");
        Ok(command)
    }

    /// Runs a command as root and returns what it printed; an error is one with what it complained of.
    ///
    /// # Errors
    /// Where it fails, or does not end in time.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        finish(words, self.command(words)?)
    }

    /// Likewise, of a user's, in a cgroup where one is given.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_of(&self, user: &str, within: Option<&Cgroup>, words: &[&str]) -> Result<String> {
        let mut command = self.command_of(user, words)?;
        within.map_or(Ok(()), |group| group.contain(&mut command))?;
        finish(words, command)
    }

    /// Starts a server of a user's, in a cgroup where one is given.
    ///
    /// # Errors
    /// Where there is no such program.
    pub fn serve(&self, user: &str, within: Option<&Cgroup>, words: &[&str]) -> Result<Process> {
        let mut command = self.command_of(user, words)?;
        within.map_or(Ok(()), |group| group.contain(&mut command))?;
        Ok(Process::spawn(words.first().copied().unwrap_or_default(), command)?)
    }

    /// The machine's network.
    pub fn netns(&self) -> &Netns {
        self.netns
    }
}

fn finish(words: &[&str], command: Command) -> Result<String> {
    let line = words.join(" ");
    let (status, out, complaint) = run_to_end(words.first().copied().unwrap_or_default(), command, PATIENCE)?;
    ensure!(status.success(), "`{line}`: {status}: {out}{complaint}");
    Ok(out)
}

/// The root file system with the services.
fn debian() -> Result<PathBuf> {
    let root = match std::env::var_os("BORDERGUARD_GUEST") {
        Some(_) => PathBuf::from(OF_A_GUEST),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/services/root"),
    };
    if !root.join("etc/debian_version").is_file() {
        bail!("no root file system with real services: `cargo xtask services` makes it");
    }
    root.canonicalize().context("cannot find the root file system with real services")
}

fn mount_root(debian: &Path, folder: &Path) -> Result<PathBuf, SetupError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| SetupError::io(what, path, error)
    };
    let make = |path: &Path| fs::create_dir_all(path).map_err(io("create", path));
    let mounted = |source: &str, path: &Path, kind: &str, options: &str| {
        let options = std::ffi::CString::new(options).unwrap_or_default();
        mount(source, path, kind, MountFlags::empty(), options.as_c_str())
            .map_err(|error| io("mount a file system on", path)(error.into()))
    };
    make(folder)?;
    mounted("tmpfs", folder, "tmpfs", "mode=0755")?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| folder.join(name));
    for path in [&upper, &work, &root] {
        make(path)?;
    }
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", debian.display(), upper.display(), work.display());
    mounted("overlay", &root, "overlay", &layers)?;
    mounted("proc", &root.join("proc"), "proc", "")?;
    let devices = root.join("dev");
    mounted("tmpfs", &devices, "tmpfs", "mode=0755")?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)]
    {
        let path = devices.join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))
            .map_err(|error| io("create", &path)(error.into()))?;
        // The process's mask has taken some of the mode.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(io("change", &path))?;
    }
    std::os::unix::fs::symlink("/proc/self/fd", devices.join("fd")).map_err(io("create", &devices))?;
    for shared in ["shm", "../run", "../tmp"] {
        let path = devices.join(shared);
        make(&path)?;
        mounted("tmpfs", &path, "tmpfs", "mode=1777")?;
    }
    Ok(root)
}

/// Unmounts all below a folder at once, and removes it.
fn remove(folder: &Path) {
    let _not_mounted = unmount(folder, UnmountFlags::DETACH);
    // `remove_dir` takes an empty folder only: if the unmount failed, nothing is lost here.
    let _still_busy = fs::remove_dir(folder);
    let _others_there = fs::remove_dir(BASE);
}

/// Unmounts what runs that were killed have left.
fn remove_left_overs() {
    let Ok(entries) = fs::read_dir(BASE) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(names::is_left_over) {
            remove(&entry.path());
        }
    }
}
