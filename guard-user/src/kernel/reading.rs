//! Maps that are opened to be read alone (`BPF_F_RDONLY`), as every process may while others are kept from writing into the
//! daemon's.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::raw::{Command, Map, NOT_A_MAP, call_for_fd};

/// `BPF_F_RDONLY` (linux/bpf.h).
const READ_ONLY: u32 = 1 << 3;

#[repr(C)]
struct ObjectAttributes {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Opens a pinned map.
pub(super) fn open(path: &Path) -> io::Result<Map> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attributes = ObjectAttributes { path: path.as_ptr() as u64, fd: 0, flags: READ_ONLY };
    // SAFETY: the path ends with a zero byte and lives until the call returns, which returns a new descriptor.
    let opened = unsafe { call_for_fd(Command::ObjectGet, &mut attributes) };
    Map::from_fd(opened.map_err(|error| match error.raw_os_error() {
        // Links can't be opened so.
        Some(libc::EINVAL) => io::Error::new(io::ErrorKind::InvalidInput, NOT_A_MAP),
        _ => error,
    })?)
}

#[repr(C)]
struct ByIdAttributes {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Opens the map of this id, whoever's it is.
pub(super) fn by_id(id: u32) -> io::Result<Map> {
    let mut attributes = ByIdAttributes { id, next_id: 0, open_flags: READ_ONLY };
    // SAFETY: the attributes hold no addresses, and the command returns a new descriptor.
    Map::from_fd(unsafe { call_for_fd(Command::MapById, &mut attributes) }?)
}
