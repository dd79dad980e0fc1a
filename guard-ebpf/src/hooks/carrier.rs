//! Who carries data of pinned volumes: a process that opens, reads or maps a file there, its children, and where a pin
//! says so its cgroup. What it sends is noted with the socket before any protocol has the bytes.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid,
    bpf_get_current_task_btf,
};
use aya_ebpf::maps::HashMap;
use guard_common::abi::{Carrier, CarrierControl, FOUND, FileKey, MAX_CGROUP_LEVELS};

use crate::atomic;
use crate::clock::boot_ns;
use crate::maps::{CARRIER_CGROUPS, CARRIER_CONTROL, CARRIERS, COPIES, VOLUMES};

/// Where the kernel's structs have their members: bytes from the begin. Written by the loader, as those of
/// [`super::sender`] are.
#[unsafe(no_mangle)]
pub(super) static FILE_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_MODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static INODE_MODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_SB: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_NUMBER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_GENERATION: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_LINKS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INODE_RDEV: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SB_DEV: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_FLAGS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_TGID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_SIGNAL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SIGNAL_LIVE: Global<u32> = Global::new(0);

/// `FMODE_READ` and `FMODE_WRITE` (linux/fs.h).
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;
/// `MAY_WRITE` and `MAY_READ` (linux/fs.h).
pub(super) const MAY_WRITE: u64 = 2;
const MAY_READ: u64 = 4;
/// `MAP_SHARED` (linux/mman.h).
const MAP_SHARED: u64 = 1;
/// `S_IFMT`, `S_IFREG` and `S_IFBLK` (linux/stat.h).
pub(super) const TYPE: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
const BLOCK_DEVICE: u16 = 0o060_000;
/// `PF_WQ_WORKER` (linux/sched.h).
const OF_A_WORKQUEUE: u32 = 0x20;

/// A process opens a file.
///
/// # Safety
///
/// `file` must be the `struct file` that the kernel gave this program.
#[inline(always)]
pub unsafe fn opens(file: *const c_void) {
    // SAFETY: the caller vouches for the file, and the verifier holds the places against the kernel's types.
    unsafe {
        if read::<u32>(file, &FILE_MODE) & FMODE_READ != 0 {
            takes_up(volumes_of(file));
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
            if read::<u16>(inode, &INODE_MODE) & TYPE == REGULAR && control(CarrierControl::Copied) != 0 {
                puts_down(key_of(inode));
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
                takes_up(volumes_on(key.device) | copied(&key));
                // A private mapping's writes reach no file. One that may not be written to yet may be later, where its file
                // was opened for that (mprotect(2)), and no hook is asked then.
                let may_write = probe::<u32>(file, &FILE_MODE).is_some_and(|mode| mode & FMODE_WRITE != 0);
                let is_written = may_write && flags & MAP_SHARED != 0;
                if is_written && control(CarrierControl::Copied) != 0 {
                    puts_down(key);
                }
            }
            BLOCK_DEVICE => takes_up(probe::<u32>(inode, &INODE_RDEV).map_or(0, volumes_on)),
            _ => {}
        }
    }
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
                count_copies(u64::MAX);
            }
        }
    }
}

/// A process has made another one, which does not run yet: it carries what this one carries. A number is given to
/// others in the course of time: so that what was known of an earlier one goes.
///
/// # Safety
///
/// `child` must be the `struct task_struct` that the kernel gave this program.
#[inline(always)]
pub unsafe fn forks(child: *const c_void) {
    let parent = process();
    // SAFETY: the caller vouches for the task.
    let child = unsafe { read::<u32>(child, &TASK_TGID) };
    if child == parent {
        return;
    }
    let volumes = of_process(parent);
    forget(child | FOUND);
    if volumes == 0 {
        forget(child);
    } else if CARRIERS.insert(child, Carrier { volumes, since_ns: boot_ns() }, u64::from(BPF_ANY)).is_err() {
        overflowed();
    }
}

/// A thread ends: with its process's last one goes what is known of the process.
///
/// # Safety
///
/// `task` must be the `struct task_struct` that the kernel gave this program.
#[inline(always)]
pub unsafe fn ends(task: *const c_void) {
    // SAFETY: the caller vouches for the task.
    let (live, tgid) = unsafe {
        let signal = read::<*const c_void>(task, &TASK_SIGNAL);
        (read::<i32>(signal, &SIGNAL_LIVE), read::<u32>(task, &TASK_TGID))
    };
    if live <= 0 {
        forget(tgid);
        forget(tgid | FOUND);
    }
}

/// Counts a carrier that found no room: from now on every sender counts as one.
#[inline(always)]
pub fn overflowed() {
    if let Some(count) = CARRIER_CONTROL.get_ptr_mut(CarrierControl::Overflowed as u32) {
        // SAFETY: the element is the map's own, and the word is aligned.
        unsafe { atomic::fetch_add(count, 1) };
    }
}

/// Notes the process that asks as a carrier of these volumes.
#[inline(always)]
pub(super) fn takes_up(volumes: u64) {
    if volumes == 0 || is_of_a_workqueue() {
        return;
    }
    add(&CARRIERS, process(), volumes);
    let spread = volumes & control(CarrierControl::Spread);
    if spread == 0 {
        return;
    }
    // SAFETY: the helpers only read. A process in the root has no cgroup on the first level.
    let (cgroup, first) = unsafe { (bpf_get_current_cgroup_id(), bpf_get_current_ancestor_cgroup_id(1)) };
    if first != 0 && cgroup != control(CarrierControl::InitScope) {
        add(&CARRIER_CGROUPS, cgroup, spread);
    }
}

/// Notes that the process that asks writes to a file: what it carries is in there, but for what the file's own volume is.
#[inline(always)]
fn puts_down(key: FileKey) {
    let volumes = carried() & control(CarrierControl::Copied) & !volumes_on(key.device);
    if volumes == 0 {
        return;
    }
    // As for carriers: where another process has made the entry in between, it is found at the second look.
    for _ in 0..2 {
        if let Some(known) = COPIES.get_ptr_mut(key) {
            // SAFETY: the value is the map's own, and the word is aligned.
            unsafe { add_to(known, volumes) };
            return;
        }
        if COPIES.insert(key, volumes, u64::from(BPF_NOEXIST)).is_ok() {
            count_copies(1);
            return;
        }
    }
    overflowed();
}

/// Counts files that have data of volumes: one more, or (all bits set) one less.
#[inline(always)]
fn count_copies(by: u64) {
    if let Some(count) = CARRIER_CONTROL.get_ptr_mut(CarrierControl::Copies as u32) {
        // SAFETY: the element is the map's own, and the word is aligned.
        unsafe { atomic::fetch_add(count, by) };
    }
}

/// Slots of the volumes whose data a file elsewhere has.
#[inline(always)]
fn copied(key: &FileKey) -> u64 {
    if control(CarrierControl::Copies) == 0 {
        return 0;
    }
    // SAFETY: the value is the map's own, and is read as a whole.
    COPIES.get_ptr(key).map_or(0, |volumes| unsafe { core::ptr::read_volatile(volumes) })
}

/// The key of an inode.
///
/// # Safety
///
/// `inode` must be a `struct inode` that the kernel gave this program or that a file leads to.
#[inline(always)]
pub(super) unsafe fn key_of(inode: *const c_void) -> FileKey {
    // SAFETY: the caller vouches for the inode.
    unsafe {
        FileKey {
            inode: read(inode, &INODE_NUMBER),
            device: read(read::<*const c_void>(inode, &INODE_SB), &SB_DEV),
            generation: read(inode, &INODE_GENERATION),
        }
    }
}

/// Whether a thread of the kernel asks that works for anybody: what it reads is nobody's of those whom it works for next.
#[inline(always)]
pub(super) fn is_of_a_workqueue() -> bool {
    // SAFETY: the helper answers with the running task.
    unsafe { read::<u32>(bpf_get_current_task_btf() as *const c_void, &TASK_FLAGS) & OF_A_WORKQUEUE != 0 }
}

/// A word that hooks of carriers go by.
#[inline(always)]
pub(super) fn control(word: CarrierControl) -> u64 {
    // SAFETY: the element is the map's own, and is read as a whole.
    CARRIER_CONTROL.get_ptr(word as u32).map_or(0, |value| unsafe { core::ptr::read_volatile(value) })
}

/// The process that asks.
#[inline(always)]
pub(super) fn process() -> u32 {
    // SAFETY: the helper only reads.
    unsafe { (bpf_get_current_pid_tgid() >> 32) as u32 }
}

/// Volumes that the process that asks carries, by itself and with its cgroup.
#[inline(always)]
pub(super) fn carried() -> u64 {
    of_process(process()) | of_cgroups()
}

/// Volumes that a process carries.
#[inline(always)]
fn of_process(process: u32) -> u64 {
    kept(&CARRIERS, process) | kept(&CARRIERS, process | FOUND)
}

/// Volumes that the cgroup of the process that asks carries, and those above it.
#[inline(always)]
fn of_cgroups() -> u64 {
    if control(CarrierControl::Spread) == 0 {
        return 0;
    }
    // SAFETY: the helpers only read.
    unsafe {
        let mut volumes = kept(&CARRIER_CGROUPS, bpf_get_current_cgroup_id());
        for level in 1..=MAX_CGROUP_LEVELS {
            let cgroup = bpf_get_current_ancestor_cgroup_id(level as i32);
            if cgroup == 0 {
                break;
            }
            volumes |= kept(&CARRIER_CGROUPS, cgroup);
        }
        volumes
    }
}

#[inline(always)]
fn kept<K>(map: &HashMap<K, Carrier>, key: K) -> u64 {
    // SAFETY: the value is the map's own, and its word is read as a whole.
    map.get_ptr(&key).map_or(0, |carrier| unsafe { core::ptr::read_volatile(&raw const (*carrier).volumes) })
}

/// Adds volumes to those of a carrier.
#[inline(always)]
fn add<K>(map: &HashMap<K, Carrier>, key: K, volumes: u64) {
    // Where another thread has made the entry in between, it is found at the second look.
    for _ in 0..2 {
        if let Some(carrier) = map.get_ptr_mut(&key) {
            // SAFETY: the value is the map's own, and the word is aligned.
            unsafe { add_to(&raw mut (*carrier).volumes, volumes) };
            return;
        }
        if map.insert(&key, Carrier { volumes, since_ns: boot_ns() }, u64::from(BPF_NOEXIST)).is_ok() {
            return;
        }
    }
    overflowed();
}

/// Adds volumes to a set.
///
/// # Safety
///
/// `set` must be an aligned word of a map's value.
#[inline(always)]
pub(super) unsafe fn add_to(set: *mut u64, volumes: u64) {
    // SAFETY: the caller vouches for `set`. Nearly always they are in it, and reading costs less than writing.
    unsafe {
        if core::ptr::read_volatile(set) & volumes != volumes {
            atomic::fetch_or(set, volumes);
        }
    }
}

#[inline(always)]
fn forget(key: u32) {
    // Nearly always there is no such entry, and to look costs less than to remove.
    if CARRIERS.get_ptr(key).is_some() {
        let _gone_meanwhile = CARRIERS.remove(key);
    }
}

/// Slots of the volumes of a file, or of the volume that is on this block device.
#[inline(always)]
unsafe fn volumes_of(file: *const c_void) -> u64 {
    // SAFETY: the caller vouches for the file.
    unsafe {
        let inode = read::<*const c_void>(file, &FILE_INODE);
        match read::<u16>(inode, &INODE_MODE) & TYPE {
            REGULAR => {
                let key = key_of(inode);
                volumes_on(key.device) | copied(&key)
            }
            BLOCK_DEVICE => volumes_on(read::<u32>(inode, &INODE_RDEV)),
            _ => 0,
        }
    }
}

/// Slots of the volumes on a device.
#[inline(always)]
fn volumes_on(device: u32) -> u64 {
    // SAFETY: the value is the map's own, and is read as a whole.
    VOLUMES.get_ptr(device).map_or(0, |volumes| unsafe { core::ptr::read_volatile(volumes) })
}

/// The member at this place of a struct of the kernel's.
///
/// # Safety
///
/// `of` must be a struct that the kernel gave this program or that another one leads to, and the place that of a `T`.
#[inline(always)]
pub(super) unsafe fn read<T: Copy>(of: *const c_void, place: &Global<u32>) -> T {
    // SAFETY: the caller vouches for it, and the verifier holds it against the kernel's types.
    unsafe { *of.byte_add(place.load() as usize).cast::<T>() }
}

/// As [`read`], of what may not be there.
#[inline(always)]
pub(super) unsafe fn probe<T: Copy>(of: *const c_void, place: &Global<u32>) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(of.byte_add(place.load() as usize).cast::<T>()).ok() }
}
