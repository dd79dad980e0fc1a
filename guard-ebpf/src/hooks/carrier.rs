//! Who carries data of pinned volumes: a process that has read a file there ([`super::file`]), its children, and where a pin
//! says so its cgroup. What it sends is noted with the socket before any protocol has the bytes ([`super::relay`]).

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid,
    bpf_get_current_task_btf,
};
use aya_ebpf::maps::HashMap;
use guard_common::abi::{Carrier, CarrierControl, FOUND, FileKey, MAX_CGROUP_LEVELS, device_bit};

use crate::atomic;
use crate::clock::boot_ns;
use crate::maps::{CARRIER_CGROUPS, CARRIER_CONTROL, CARRIERS, DEVICE_BITS, VOLUMES};

/// Where the kernel's structs have their members: bytes from the begin. Written by the loader, as those of
/// [`super::sender`] are.
#[unsafe(no_mangle)]
pub(super) static INODE_SB: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static INODE_NUMBER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static INODE_GENERATION: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static SB_DEV: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_FLAGS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static TASK_TGID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_SIGNAL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SIGNAL_LIVE: Global<u32> = Global::new(0);

/// `PF_WQ_WORKER` (linux/sched.h).
const OF_A_WORKQUEUE: u32 = 0x20;

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

/// Notes another process as a carrier of these volumes: one that waits for what it is about to be handed.
#[inline(always)]
pub(super) fn has_taken_up(process: u32, volumes: u64) {
    if volumes != 0 {
        add(&CARRIERS, process, volumes);
    }
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

/// Slots of the volumes on a device.
#[inline(always)]
pub(super) fn volumes_on(device: u32) -> u64 {
    let (word, bit) = device_bit(device);
    // SAFETY: the element is the map's own, and is read as a whole.
    if DEVICE_BITS.get_ptr(word).is_some_and(|bits| unsafe { core::ptr::read_volatile(bits) } & bit == 0) {
        return 0;
    }
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
