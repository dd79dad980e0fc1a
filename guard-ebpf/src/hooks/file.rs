//! What a process does to a file: who opens, reads or maps one that has data of a pinned volume carries that, and what a
//! carrier writes to has it too.

use core::ffi::c_void;

use aya_ebpf::Global;
use guard_common::abi::FileKey;

use super::carrier::{
    INODE_GENERATION, INODE_NUMBER, INODE_SB, SB_DEV, key_of, probe, read, takes_up, volumes_on,
};
use super::copy::{copied, puts_down};

/// As those of [`super::carrier`].
#[unsafe(no_mangle)]
pub(super) static FILE_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_MODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static INODE_MODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static INODE_RDEV: Global<u32> = Global::new(0);

/// `FMODE_READ` and `FMODE_WRITE` (linux/fs.h).
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;
/// `MAY_WRITE` (linux/fs.h).
pub(super) const MAY_WRITE: u64 = 2;
/// `MAY_READ` (linux/fs.h).
pub const MAY_READ: u64 = 4;
/// `MAP_SHARED` (linux/mman.h).
const MAP_SHARED: u64 = 1;
/// `S_IFMT`, `S_IFREG` and `S_IFBLK` (linux/stat.h).
pub(super) const TYPE: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
const BLOCK_DEVICE: u16 = 0o060_000;
/// A process opens a file: a regular one makes it a carrier. Who opens a block device is one once it reads or maps that.
///
/// # Safety
///
/// `file` must be the `struct file` that the kernel gave this program.
#[inline(always)]
pub unsafe fn opens(file: *const c_void) {
    // SAFETY: the caller vouches for the file, and the verifier holds the places against the kernel's types.
    unsafe {
        let inode = read::<*const c_void>(file, &FILE_INODE);
        // Nearly all have none, so that what kind they are of and how they are opened is asked last.
        let volumes = volumes_in(inode);
        if volumes != 0
            && read::<u16>(inode, &INODE_MODE) & TYPE == REGULAR
            && read::<u32>(file, &FILE_MODE) & FMODE_READ != 0
        {
            takes_up(volumes);
        }
    }
}

/// A process reads or writes a file or is about to: whoever opened it, and whatever call it makes.
///
/// # Safety
///
/// As for [`opens`].
#[inline(always)]
pub unsafe fn uses(file: *const c_void, mask: u64) {
    // SAFETY: the caller vouches for the file.
    unsafe {
        if mask & MAY_READ != 0 {
            takes_up(volumes_of(file));
        }
        if mask & MAY_WRITE != 0 {
            let inode = read::<*const c_void>(file, &FILE_INODE);
            // Nearly nothing that is written to is a file of a disk: sockets, pipes and terminals are left here.
            if read::<u16>(inode, &INODE_MODE) & TYPE == REGULAR {
                puts_down(file, key_of(inode));
            }
        }
    }
}

/// A process maps a file, or memory without one.
///
/// Before Linux 6.13 the verifier takes it for granted that there is a file, so that what is read of it is read by a
/// helper, which answers nothing where there is none.
///
/// # Safety
///
/// `file` must be null, or as for [`opens`].
#[inline(always)]
pub unsafe fn maps(file: *const c_void, flags: u64) {
    if file.is_null() {
        return;
    }
    // SAFETY: the helper reads nothing that is not there.
    unsafe {
        let Some(inode) = probe::<*const c_void>(file, &FILE_INODE) else { return };
        let Some(mode) = probe::<u16>(inode, &INODE_MODE) else { return };
        match mode & TYPE {
            REGULAR => {
                let Some(sb) = probe::<*const c_void>(inode, &INODE_SB) else { return };
                let key = FileKey {
                    inode: probe(inode, &INODE_NUMBER).unwrap_or_default(),
                    device: probe(sb, &SB_DEV).unwrap_or_default(),
                    generation: probe(inode, &INODE_GENERATION).unwrap_or_default(),
                };
                takes_up(volumes_on(key.device) | copied(key.inode, key.device, || key.generation));
                // A private mapping's writes reach no file. One that may not be written to yet may be later, where its file
                // was opened for that (mprotect(2)), and no hook is asked then.
                let may_write = probe::<u32>(file, &FILE_MODE).is_some_and(|mode| mode & FMODE_WRITE != 0);
                if may_write && flags & MAP_SHARED != 0 {
                    puts_down(file, key);
                }
            }
            BLOCK_DEVICE => takes_up(probe::<u32>(inode, &INODE_RDEV).map_or(0, volumes_on)),
            _ => {}
        }
    }
}

/// Slots of the volumes of a file, or of the volume that is on this block device.
#[inline(always)]
unsafe fn volumes_of(file: *const c_void) -> u64 {
    // SAFETY: the caller vouches for the file.
    unsafe {
        let inode = read::<*const c_void>(file, &FILE_INODE);
        match read::<u16>(inode, &INODE_MODE) & TYPE {
            REGULAR => volumes_in(inode),
            BLOCK_DEVICE => volumes_on(read::<u32>(inode, &INODE_RDEV)),
            _ => 0,
        }
    }
}

/// Slots of the volumes whose data a regular file has.
///
/// # Safety
///
/// As for [`key_of`].
#[inline(always)]
unsafe fn volumes_in(inode: *const c_void) -> u64 {
    // SAFETY: the caller vouches for the inode.
    unsafe {
        let device = read(read::<*const c_void>(inode, &INODE_SB), &SB_DEV);
        volumes_on(device) | copied(read(inode, &INODE_NUMBER), device, || read(inode, &INODE_GENERATION))
    }
}
