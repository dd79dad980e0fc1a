//! Terminals that programs make (`pts`): what a carrier writes to one end is for who reads the other one, as a server of SSH
//! does.

use core::ffi::c_void;

use aya_ebpf::Global;
use guard_common::abi::{CarrierControl, WayKey, WayKind};

use super::carrier::{carried, control, overflowed, probe, read};
use super::file::{FILE_INODE, INODE_MODE, INODE_RDEV, MAY_WRITE, TYPE};
use super::relay::{KIOCB_FILE, mark, takes_over};
use crate::maps::WAYS;

/// As those of [`super::carrier`].
#[unsafe(no_mangle)]
pub(super) static FILE_PRIVATE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TERMINAL_OF_FILE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TERMINAL_LINK: Global<u32> = Global::new(0);

/// `S_IFCHR` (linux/stat.h).
const CHARACTER_DEVICE: u16 = 0o020_000;
/// Device numbers as the kernel has them: `/dev/tty`, `/dev/ptmx`, and the first and the last major of `/dev/pts`
/// (Documentation/admin-guide/devices.txt).
const CONTROLLING: u32 = 5 << 20;
const MULTIPLEXOR: u32 = 5 << 20 | 2;
const FIRST_MAJOR: u32 = 136;
const LAST_MAJOR: u32 = 143;

/// A process writes to a file or is about to: a carrier may do so to a terminal.
///
/// # Safety
///
/// `file` must be the `struct file` that the kernel gave this program.
#[inline(always)]
pub unsafe fn types(file: *const c_void, mask: u64) {
    // SAFETY: the caller vouches for the file, and the verifier holds the places against the kernel's types.
    unsafe {
        if mask & MAY_WRITE == 0 {
            return;
        }
        let inode = read::<*const c_void>(file, &FILE_INODE);
        if read::<u16>(inode, &INODE_MODE) & TYPE != CHARACTER_DEVICE
            || !is_terminal(read(inode, &INODE_RDEV))
        {
            return;
        }
        let volumes = carried();
        if volumes == 0 {
            return;
        }
        // Where there is no other end, nobody on this host reads what is written.
        let other = terminal_of(file).and_then(|terminal| probe::<usize>(terminal, &TERMINAL_LINK));
        if let Some(other) = other.filter(|it| *it != 0)
            && !mark(end(other as u64), volumes)
        {
            overflowed();
        }
    }
}

/// A process has read so many bytes from a terminal, or an error.
///
/// # Safety
///
/// `request` must be the `struct kiocb` that the kernel gave this program.
#[inline(always)]
pub unsafe fn shows(request: *const c_void, got: u64) {
    if got as i32 <= 0 || control(CarrierControl::Handed) == 0 {
        return;
    }
    // SAFETY: the caller vouches for the request, and the verifier holds the places against the kernel's types.
    unsafe {
        let file = read::<*const c_void>(request, &KIOCB_FILE);
        let Some(terminal) = terminal_of(file) else { return };
        if let Some(handed) = WAYS.get_ptr_mut(end(terminal as u64)) {
            takes_over(handed);
        }
    }
}

/// A terminal is made: its number may have been that of another one, whose marks go.
///
/// # Safety
///
/// `terminal` must be what the kernel gave this program: a `struct tty_struct`, or an error in its place.
#[inline(always)]
pub unsafe fn opens_terminal(terminal: *const c_void) {
    if control(CarrierControl::Handed) == 0 {
        return;
    }
    let _had_none = WAYS.remove(end(terminal as u64));
    // SAFETY: the helper checks the address.
    if let Some(other) = unsafe { probe::<usize>(terminal, &TERMINAL_LINK) } {
        let _had_none = WAYS.remove(end(other as u64));
    }
}

/// The terminal of a file of one.
///
/// # Safety
///
/// `file` must be a `struct file` of a terminal.
#[inline(always)]
unsafe fn terminal_of(file: *const c_void) -> Option<*const c_void> {
    // SAFETY: the helper checks the addresses.
    unsafe {
        let own = probe::<*const c_void>(file, &FILE_PRIVATE)?;
        probe::<*const c_void>(own, &TERMINAL_OF_FILE).filter(|it| !it.is_null())
    }
}

#[inline(always)]
fn end(number: u64) -> WayKey {
    WayKey { from: [number, 0], kind: WayKind::Terminal as u32, ..WayKey::default() }
}

#[inline(always)]
const fn is_terminal(device: u32) -> bool {
    let major = device >> 20;
    device == CONTROLLING || device == MULTIPLEXOR || (major >= FIRST_MAJOR && major <= LAST_MAJOR)
}
