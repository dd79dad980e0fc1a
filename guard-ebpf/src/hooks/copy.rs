//! Files off the pinned volumes to which carriers write: who reads one is a carrier too, and the first write of a process to
//! each is reported.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel_str};
use guard_common::abi::{
    COPY_EVENT_BURST, COPY_EVENT_RATE, COPY_NAME_LEN, COPY_NAMES, CarrierControl, FileKey, Loss, MAX_VOLUMES,
    PinnedCopy, WriterKey, copy_bit, spend,
};

use super::carrier::{add_to, carried, control, key_of, overflowed, probe, process, read, volumes_on};
use super::socket::note;
use crate::atomic;
use crate::clock::boot_ns;
use crate::counters::lost;
use crate::maps::{CARRIER_CONTROL, COPIES, COPY_BITS, COPY_LIMITS, EVENTS, WRITERS};

/// As those of [`super::carrier`].
#[unsafe(no_mangle)]
static INODE_LINKS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_PATH: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PATH_DENTRY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DENTRY_NAME: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DENTRY_PARENT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static QSTR_NAME: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_LEADER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_BEGAN: Global<u32> = Global::new(0);

/// How often another processor may come before this one in spending a limit.
const TRIES: u32 = 4;

/// The process that asks writes to a regular file: what it carries is in there, but for what the file's own volume is.
///
/// # Safety
///
/// `file` must be the `struct file` that the kernel gave this program.
#[inline(always)]
pub(super) unsafe fn puts_down(file: *const c_void, key: FileKey) {
    let volumes = carried() & !volumes_on(key.device);
    if volumes == 0 {
        return;
    }
    let followed = volumes & control(CarrierControl::Copied);
    if followed != 0 {
        follow(key, followed);
    }
    // SAFETY: the caller vouches for the file.
    unsafe { report(file, key, [volumes, followed]) };
}

/// Notes that a file has data of these volumes.
#[inline(always)]
fn follow(key: FileKey, volumes: u64) {
    // As for carriers: where another process has made the entry in between, it is found at the second look.
    for _ in 0..2 {
        if let Some(known) = COPIES.get_ptr_mut(key) {
            // SAFETY: the value is the map's own, and the word is aligned.
            unsafe { add_to(known, volumes) };
            return;
        }
        // First the bit, so that no reader misses the entry.
        let (word, bit) = copy_bit(key.inode, key.device);
        if let Some(bits) = COPY_BITS.get_ptr_mut(word) {
            // SAFETY: the element is the map's own, and the word is aligned.
            unsafe { add_to(bits, bit) };
        }
        if COPIES.insert(key, volumes, u64::from(BPF_NOEXIST)).is_ok() {
            count(CarrierControl::Copies, 1);
            return;
        }
    }
    overflowed();
}

/// An inode leaves the kernel's memory: with the last name of its file goes what is known of it. Of one that only is not
/// used just now all stays.
///
/// # Safety
///
/// `inode` must be the `struct inode` that the kernel gave this program.
#[inline(always)]
pub unsafe fn frees(inode: *const c_void) {
    // SAFETY: the caller vouches for the inode.
    unsafe {
        if control(CarrierControl::Copies) != 0 && read::<u32>(inode, &INODE_LINKS) == 0 {
            let key = key_of(inode);
            if COPIES.get_ptr(key).is_some() && COPIES.remove(key).is_ok() {
                count(CarrierControl::Copies, u64::MAX);
            }
        }
    }
}

/// Slots of the volumes whose data a file elsewhere has, by its inode's number, its device and, where it may have any, its
/// inode's generation.
#[inline(always)]
pub(super) fn copied(inode: u64, device: u32, generation: impl FnOnce() -> u32) -> u64 {
    let (word, bit) = copy_bit(inode, device);
    // SAFETY: the element is the map's own, and is read as a whole.
    if COPY_BITS.get_ptr(word).is_some_and(|bits| unsafe { core::ptr::read_volatile(bits) } & bit == 0) {
        return 0;
    }
    let key = FileKey { inode, device, generation: generation() };
    // SAFETY: the value is the map's own, and is read as a whole.
    COPIES.get_ptr(key).map_or(0, |volumes| unsafe { core::ptr::read_volatile(volumes) })
}

/// Counts so many more of something; with all bits set, one less.
#[inline(always)]
fn count(what: CarrierControl, by: u64) {
    if let Some(count) = CARRIER_CONTROL.get_ptr_mut(what as u32) {
        // SAFETY: the element is the map's own, and the word is aligned.
        unsafe { atomic::fetch_add(count, by) };
    }
}

/// Sends an event, once for a file and a process: of the volumes that are written, and of those that are followed. One that
/// finds no room is counted, and sent with a later write.
///
/// # Safety
///
/// As for [`puts_down`].
#[inline(always)]
unsafe fn report(file: *const c_void, key: FileKey, [volumes, followed]: [u64; 2]) {
    let writer = WriterKey { file: key, began_ns: began(), process: process(), pad: 0 };
    // SAFETY: the value is the map's own, and is read as a whole.
    let known = WRITERS.get_ptr(writer).map_or(0, |told| unsafe { core::ptr::read_volatile(told) });
    if known & volumes == volumes {
        return;
    }
    let now = boot_ns();
    if !is_within_limit(volumes & !known, now) {
        return lost(Loss::Copies);
    }
    let Some(mut entry) = EVENTS.reserve::<PinnedCopy>(0) else { return lost(Loss::Copies) };
    let event = entry.as_mut_ptr();
    // SAFETY: the entry has room for such an event, and all of it is written. The caller vouches for the file.
    unsafe {
        (*event).volumes = volumes;
        (*event).followed = followed;
        (*event).at_ns = now;
        (*event).file = key;
        (*event).process.pad = 0;
        note(&raw mut (*event).process);
        name(&raw mut (*event).names, file);
    }
    entry.submit(0);
    // Where there is no room for that, it is sent again: nothing is missing.
    let _reported = WRITERS.insert(writer, volumes | known, u64::from(BPF_ANY));
    count(CarrierControl::Reported, 1);
}

/// Whether an event of these volumes may be sent at `now`, which it is then counted on. The limit is one for all
/// processors.
#[inline(always)]
fn is_within_limit(volumes: u64, now: u64) -> bool {
    let slot = volumes.trailing_zeros() & (MAX_VOLUMES as u32 - 1);
    let Some(limit) = COPY_LIMITS.get_ptr_mut(slot) else { return false };
    for _ in 0..TRIES {
        // SAFETY: the element is the map's own, an aligned word.
        let spent = unsafe { core::ptr::read_volatile(limit) };
        let Some(next) = spend(spent, now, [COPY_EVENT_RATE, COPY_EVENT_BURST]) else { return false };
        // SAFETY: as above.
        if unsafe { atomic::replace(limit, spent, next) } {
            return true;
        }
    }
    false
}

/// When the process that asks began, nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
fn began() -> u64 {
    // SAFETY: the helper answers with the running task, and the verifier holds the places against the kernel's types.
    unsafe {
        let task = bpf_get_current_task_btf() as *const c_void;
        read(read::<*const c_void>(task, &TASK_LEADER), &TASK_BEGAN)
    }
}

/// Writes the names of a file and of the folders above it.
///
/// # Safety
///
/// `to` must be valid for writes, `file` as for [`puts_down`].
#[inline(always)]
unsafe fn name(to: *mut [[u8; COPY_NAME_LEN]; COPY_NAMES], file: *const c_void) {
    // SAFETY: the caller vouches for both; the helpers check what they read. What is renamed meanwhile may have parts of two
    // names, which are of memory that was a name's.
    unsafe {
        let path = file.byte_add(FILE_PATH.load() as usize);
        let mut dentry = probe::<*const c_void>(path, &PATH_DENTRY).unwrap_or_default();
        for at in 0..COPY_NAMES {
            let name = (&raw mut (*to)[at]).cast::<u64>();
            for word in 0..COPY_NAME_LEN / size_of::<u64>() {
                name.add(word).write_volatile(0);
            }
            let above = probe::<*const c_void>(dentry, &DENTRY_PARENT).unwrap_or(dentry);
            // The root of a file system is its own folder. A file without one has a name all the same.
            if at == 0 || above != dentry {
                let text = dentry.byte_add(DENTRY_NAME.load() as usize);
                let text = probe::<*const c_void>(text, &QSTR_NAME).unwrap_or_default();
                bpf_probe_read_kernel_str(name.cast(), COPY_NAME_LEN as u32, text);
            }
            dentry = above;
        }
    }
}
