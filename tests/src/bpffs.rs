//! A place for pins that is gone afterwards, with all pins in it.
//!
//! Each guard mounts a BPF file system of its own on a folder of its own. So a test needs no
//! `/sys/fs/bpf`, cannot see anyone else's pins, and one unmount frees every program, map and link
//! that only its pins kept alive.
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use crate::cleanup::{self, Undo};
use crate::error::SetupError;
use crate::names;

/// Where the folders are made.
const BASE: &str = "/run/borderguard-tests";

/// A mounted BPF file system; unmounted and removed on drop.
#[derive(Debug)]
pub struct BpfFs {
    path: PathBuf,
    _undo: Undo,
}

impl BpfFs {
    /// Mounts a new one.
    ///
    /// # Errors
    /// [`SetupError::NotPermitted`] without CAP_SYS_ADMIN; [`SetupError::Io`] when the kernel has no
    /// BPF file system or `/run` cannot be written.
    pub fn new(label: &str) -> Result<Self, SetupError> {
        remove_left_overs();
        let path = Path::new(BASE).join(names::unique(label)?);
        let (path, undo) = cleanup::make(|| {
            mount(&path)?;
            let mounted = path.clone();
            Ok::<_, SetupError>((path, move || unmount(&mounted)))
        })?;
        Ok(BpfFs { path, _undo: undo })
    }

    /// The folder to pin in.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn mount(path: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(path).map_err(|error| SetupError::io("create", path, error))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("bpf", path, "bpf", flags, c"mode=0700").map_err(|error| {
        unmount(path);
        SetupError::io("mount a BPF file system on", path, error.into())
    })
}

fn unmount(path: &Path) {
    let _not_mounted = rustix::mount::unmount(path, UnmountFlags::DETACH);
    // `remove_dir` takes an empty folder only: if the unmount failed, nothing is lost here.
    let _still_busy = fs::remove_dir(path);
    let _others_there = fs::remove_dir(BASE);
}

/// Unmounts what runs that were killed have left.
fn remove_left_overs() {
    let Ok(entries) = fs::read_dir(BASE) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(names::is_left_over) {
            unmount(&entry.path());
        }
    }
}

/// Detaches the link of an entry, as anyone who may open it can, and leaves the entry.
///
/// # Errors
/// What the kernel answers.
pub fn detach(entry: &Path) -> io::Result<()> {
    // The loader shows no link's descriptor, so the entry is opened here.
    let path = CString::new(entry.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut open = [path.as_ptr() as u64, 0];
    // SAFETY: BPF_OBJ_GET (7) reads a path that ends with a zero byte and lives until the call returns.
    let link = unsafe { libc::syscall(libc::SYS_bpf, 7, &raw mut open, size_of_val(&open)) };
    if link < 0 {
        return Err(io::Error::last_os_error());
    }
    let link = i32::try_from(link).map_err(io::Error::other)?;
    let mut which = link.cast_unsigned();
    // SAFETY: BPF_LINK_DETACH (34) reads one descriptor.
    let detached = unsafe { libc::syscall(libc::SYS_bpf, 34, &raw mut which, size_of_val(&which)) };
    let outcome = if detached == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the descriptor was made above and is closed once.
    unsafe { libc::close(link) };
    outcome
}
