//! A place for pins that is gone afterwards, with all pins in it.
//!
//! Each guard mounts a BPF file system of its own on a folder of its own. So a test needs no
//! `/sys/fs/bpf`, cannot see anyone else's pins, and one unmount frees every program, map and link
//! that only its pins kept alive.
use std::ffi::{CString, c_long};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
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
    let link = open(entry)?;
    let mut which = link.as_raw_fd().cast_unsigned();
    // SAFETY: BPF_LINK_DETACH (34) reads one descriptor.
    let detached = unsafe { libc::syscall(libc::SYS_bpf, 34, &raw mut which, size_of_val(&which)) };
    if detached == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the link of an entry another program in the place of its own, as anyone who may load one can: one of this type for this
/// type of attachment (linux/bpf.h), which lets everything pass and does nothing.
///
/// # Errors
/// What the kernel answers.
pub fn exchange(entry: &Path, program_type: u32, attach_type: u32) -> io::Result<()> {
    /// What BPF_PROG_LOAD reads, as far as the type of the attachment.
    #[repr(C)]
    struct Load {
        program_type: u32,
        instructions: u32,
        instructions_at: u64,
        licence_at: u64,
        log: [u32; 2],
        log_at: u64,
        version_and_flags: [u32; 2],
        name: [u8; 16],
        ifindex: u32,
        attach_type: u32,
    }
    // r0 = 1; exit
    let [one, zero] = [1_i32, 0].map(i32::to_ne_bytes);
    let instructions = [[[0xb7, 0, 0, 0], one], [[0x95, 0, 0, 0], zero]];
    let mut load = Load {
        program_type,
        instructions: 2,
        instructions_at: instructions.as_ptr() as u64,
        licence_at: c"GPL".as_ptr() as u64,
        log: [0; 2],
        log_at: 0,
        version_and_flags: [0; 2],
        name: [0; 16],
        ifindex: 0,
        attach_type,
    };
    // SAFETY: BPF_PROG_LOAD (5) reads two instructions of eight bytes and a licence, all of which live until the call returns.
    let program = unsafe { libc::syscall(libc::SYS_bpf, 5, &raw mut load, size_of_val(&load)) };
    let (program, link) = (descriptor(program)?, open(entry)?);
    let mut update = [link.as_raw_fd(), program.as_raw_fd(), 0, 0];
    // SAFETY: BPF_LINK_UPDATE (29) reads two descriptors, flags and a third one, which without a flag is none.
    let updated = unsafe { libc::syscall(libc::SYS_bpf, 29, &raw mut update, size_of_val(&update)) };
    if updated == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Opens what is pinned: the loader shows no link's descriptor.
fn open(entry: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(entry.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut open = [path.as_ptr() as u64, 0];
    // SAFETY: BPF_OBJ_GET (7) reads a path that ends with a zero byte and lives until the call returns.
    descriptor(unsafe { libc::syscall(libc::SYS_bpf, 7, &raw mut open, size_of_val(&open)) })
}

/// Takes the descriptor that a call has answered with.
fn descriptor(answer: c_long) -> io::Result<OwnedFd> {
    match i32::try_from(answer) {
        // SAFETY: the kernel has just made it for this answer, so that nobody else closes it.
        Ok(made @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(made) }),
        _ => Err(io::Error::last_os_error()),
    }
}
