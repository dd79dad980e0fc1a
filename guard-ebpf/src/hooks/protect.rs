//! What is the guard's in the kernel, and who would change it: others than the guard are refused that, where the config
//! says so. Reading is refused to nobody.
//!
//! Nothing is refused by a name or by what a caller says of itself. A map, a program or a folder is the guard's where the
//! daemon has said so ([`PROTECTED`]), and the guard is the daemon's process alone: whoever runs the same program with a
//! library of their own in it is not.
//!
//! What is asked of bpf(2) by a descriptor is looked up in the caller's table of descriptors before the kernel itself does
//! so. Another thread of the caller can exchange the descriptor in between; what hands out descriptors that can write is
//! asked by the object itself, where nothing can come between.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_get_current_task_btf};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use guard_common::abi::COMMAND_LEN;
use guard_common::abi::protect::{Attempt, AttemptKey, Attempts, Protected, ProtectedKind, Protector};

use super::carrier::{INODE_NUMBER, INODE_SB, SB_DEV, TASK_TGID, probe, process};
use super::socket::user;
use super::terminal::FILE_PRIVATE;
use crate::atomic;
use crate::clock::boot_ns;
use crate::maps::{ATTEMPTS, PROTECTED, PROTECTOR};

/// As those of [`super::carrier`].
#[unsafe(no_mangle)]
static TASK_FILES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILES_TABLE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE_LEN: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE_FILES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DENTRY_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static MAP_ID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static LINK_PROGRAM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PROGRAM_AUX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static AUX_ID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static AUX_REFERENCES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static AUX_MAPS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static AUX_MAP_COUNT: Global<u32> = Global::new(0);

/// Commands of `enum bpf_cmd` (linux/bpf.h) that would change something.
const MAP_UPDATE: u32 = 2;
const MAP_DELETE: u32 = 3;
const PROGRAM_TEST_RUN: u32 = 10;
const OBJECT_INFO: u32 = 15;
const MAP_LOOKUP_AND_DELETE: u32 = 21;
const MAP_FREEZE: u32 = 22;
const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
const MAP_UPDATE_BATCH: u32 = 26;
const MAP_DELETE_BATCH: u32 = 27;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;
/// `BPF_TRACE_ITER` of `enum bpf_attach_type`: such a program may write into what it goes through.
const TRACE_ITER: u32 = 28;

/// Where `union bpf_attr` has what is read of it: bytes from the begin. The descriptor comes first, but for batches.
const BATCH_MAP: usize = 36;
const INFO_ADDRESS: usize = 8;
const ATTACH_TYPE: usize = 8;
const ITER_INFO: usize = 16;

/// `FMODE_WRITE` (linux/fs.h).
const FMODE_WRITE: u32 = 2;
/// `PTRACE_MODE_ATTACH` (linux/ptrace.h): to change the process, or to read its memory. Without it files of /proc are read.
const PTRACE_ATTACH: u32 = 2;
/// `MAX_USED_MAPS` (linux/bpf.h).
const MAX_USED_MAPS: usize = 64;

/// Whether a process may have this of bpf(2).
///
/// # Safety
///
/// `attributes` must be the `union bpf_attr` that the kernel gave this program.
#[inline(always)]
pub unsafe fn may_ask(command: u64, attributes: *const c_void) -> bool {
    let Some(protector) = PROTECTOR.get_ptr_mut(0) else { return true };
    let command = command as u32;
    // SAFETY: the element is the map's own; the helpers check what addresses they are given.
    unsafe {
        let guard = core::ptr::read_volatile(&raw const (*protector).process);
        if guard == 0 {
            if command == OBJECT_INFO {
                make_known(protector, attributes);
            }
            return true;
        }
        if guard == process() {
            return true;
        }
        let (attempt, kind, id) = match command {
            MAP_UPDATE | MAP_DELETE | MAP_LOOKUP_AND_DELETE => {
                (Attempt::WriteMap, ProtectedKind::Map, map_at(attributes, 0))
            }
            MAP_UPDATE_BATCH | MAP_DELETE_BATCH | MAP_LOOKUP_AND_DELETE_BATCH => {
                (Attempt::WriteMap, ProtectedKind::Map, map_at(attributes, BATCH_MAP))
            }
            MAP_FREEZE => (Attempt::FreezeMap, ProtectedKind::Map, map_at(attributes, 0)),
            LINK_CREATE => (Attempt::WriteMap, ProtectedKind::Map, map_of_iterator(attributes)),
            PROGRAM_TEST_RUN => (Attempt::RunProgram, ProtectedKind::Program, program_at(attributes)),
            LINK_UPDATE | LINK_DETACH => {
                (Attempt::ChangeLink, ProtectedKind::Program, program_of_link_at(attributes))
            }
            _ => return true,
        };
        match id {
            Some(id) if is_protected(Protected::with_id(kind, id)) => refused(attempt, u64::from(id)),
            _ => true,
        }
    }
}

/// Whether a process may be given a descriptor of a map that is opened so.
///
/// # Safety
///
/// `map` must be the `struct bpf_map` that the kernel gave this program.
#[inline(always)]
pub unsafe fn may_have_map(map: *const c_void, mode: u64) -> bool {
    if mode as u32 & FMODE_WRITE == 0 {
        return true;
    }
    // SAFETY: the helper checks the address.
    let Some(id) = (unsafe { probe::<u32>(map, &MAP_ID) }) else { return true };
    if !is_protected(Protected::with_id(ProtectedKind::Map, id)) || !is_other() {
        return true;
    }
    refused(Attempt::OpenMap, u64::from(id))
}

/// Whether a process may be given a descriptor of a program: of one that is being loaded, or of one that is there.
///
/// # Safety
///
/// `program` must be the `struct bpf_prog` that the kernel gave this program.
#[inline(always)]
pub unsafe fn may_have_program(program: *const c_void) -> bool {
    // SAFETY: the helpers check the addresses.
    unsafe {
        let Some(aux) = probe::<*const c_void>(program, &PROGRAM_AUX) else { return true };
        let Some(id) = probe::<u32>(aux, &AUX_ID) else { return true };
        let own = Protected::with_id(ProtectedKind::Program, id);
        if is_protected(own) || is_protected(Protected::with_id(ProtectedKind::Known, id)) {
            return true;
        }
        let Some(map) = protected_map_of(aux) else { return true };
        if is_other() {
            return refused(Attempt::LoadProgram, map);
        }
        // One that the guard loads, and not one that it looks at: nobody else has a reference to it yet.
        if is_guarded() && probe::<u64>(aux, &AUX_REFERENCES) == Some(1) {
            // Where there is no room, the daemon's next look says so.
            let _no_room = PROTECTED.insert(own, 1, u64::from(BPF_ANY));
        }
        true
    }
}

/// Whether a process may remove an entry of a folder, or give it another name.
///
/// # Safety
///
/// `folder` must be the `struct inode`, and `entry` the `struct dentry`, that the kernel gave this program.
#[inline(always)]
pub unsafe fn may_change(folder: *const c_void, entry: *const c_void) -> bool {
    // SAFETY: the helper checks the addresses.
    unsafe {
        let mut found = folder_key(folder).filter(|key| is_protected(*key));
        if found.is_none() {
            // Where nothing has the name yet, there is no inode.
            let of_entry = probe::<*const c_void>(entry, &DENTRY_INODE).filter(|it| !it.is_null());
            found = of_entry.and_then(|inode| folder_key(inode)).filter(|key| is_protected(*key));
        }
        match found {
            Some(key) if is_other() => refused(Attempt::ChangeEntry, key.number),
            _ => true,
        }
    }
}

/// Whether a process may do this to another one.
///
/// # Safety
///
/// `task` must be the `struct task_struct` that the kernel gave this program.
#[inline(always)]
pub unsafe fn may_trace(task: *const c_void, mode: u64) -> bool {
    if mode as u32 & PTRACE_ATTACH == 0 {
        return true;
    }
    let guard = guard();
    // SAFETY: the helper checks the address.
    let traced = unsafe { probe::<u32>(task, &TASK_TGID) };
    if guard == 0 || traced != Some(guard) || guard == process() {
        return true;
    }
    refused(Attempt::TraceDaemon, 0)
}

/// Notes the process that asks as the guard, where it knows the number.
///
/// # Safety
///
/// `protector` must be the element of its map; for `attributes` as for [`may_ask`].
#[inline(always)]
unsafe fn make_known(protector: *mut Protector, attributes: *const c_void) {
    // SAFETY: the caller vouches for the element; the helper checks the address.
    unsafe {
        let token = core::ptr::read_volatile(&raw const (*protector).token);
        if token != 0 && attribute::<u64>(attributes, INFO_ADDRESS) == Some(token) {
            core::ptr::write_volatile(&raw mut (*protector).process, process());
        }
    }
}

/// The guard's process; 0 where there is none.
#[inline(always)]
fn guard() -> u32 {
    // SAFETY: the element is the map's own, and the word is read as a whole.
    PROTECTOR
        .get_ptr(0)
        .map_or(0, |protector| unsafe { core::ptr::read_volatile(&raw const (*protector).process) })
}

/// Whether anything is refused.
#[inline(always)]
fn is_guarded() -> bool {
    guard() != 0
}

/// Whether the process that asks is not the guard, and there is one.
#[inline(always)]
fn is_other() -> bool {
    let guard = guard();
    guard != 0 && guard != process()
}

#[inline(always)]
fn is_protected(object: Protected) -> bool {
    PROTECTED.get_ptr(object).is_some()
}

/// The key of a folder.
///
/// # Safety
///
/// `inode` must be an address in the kernel.
#[inline(always)]
unsafe fn folder_key(inode: *const c_void) -> Option<Protected> {
    // SAFETY: the helper checks the addresses.
    unsafe {
        let device = probe::<u32>(probe(inode, &INODE_SB)?, &SB_DEV)?;
        Some(Protected::folder(device, probe(inode, &INODE_NUMBER)?))
    }
}

/// The id of a map of the guard's that a program uses.
///
/// # Safety
///
/// `aux` must be an address in the kernel.
#[inline(always)]
unsafe fn protected_map_of(aux: *const c_void) -> Option<u64> {
    // SAFETY: the helpers check the addresses.
    unsafe {
        let count = probe::<u32>(aux, &AUX_MAP_COUNT)? as usize;
        let maps = probe::<*const *const c_void>(aux, &AUX_MAPS)?;
        for at in 0..MAX_USED_MAPS {
            if at >= count {
                break;
            }
            let map = bpf_probe_read_kernel(maps.wrapping_add(at)).ok()?;
            let id = probe::<u32>(map, &MAP_ID)?;
            if is_protected(Protected::with_id(ProtectedKind::Map, id)) {
                return Some(u64::from(id));
            }
        }
        None
    }
}

/// What `union bpf_attr` has at this place.
///
/// # Safety
///
/// As for [`may_ask`].
#[inline(always)]
unsafe fn attribute<T: Copy>(attributes: *const c_void, at: usize) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(attributes.wrapping_byte_add(at).cast::<T>()).ok() }
}

/// The id of the map whose descriptor is at this place of the attributes.
///
/// # Safety
///
/// As for [`may_ask`].
#[inline(always)]
unsafe fn map_at(attributes: *const c_void, at: usize) -> Option<u32> {
    // SAFETY: the helpers check the addresses. What is no map has no such command done.
    unsafe { probe(object(attribute(attributes, at)?)?, &MAP_ID) }
}

/// The id of the program whose descriptor comes first.
///
/// # Safety
///
/// As for [`may_ask`].
#[inline(always)]
unsafe fn program_at(attributes: *const c_void) -> Option<u32> {
    // SAFETY: as for maps.
    unsafe { program_id(object(attribute(attributes, 0)?)?) }
}

/// The id of the program that the link runs whose descriptor comes first.
///
/// # Safety
///
/// As for [`may_ask`].
#[inline(always)]
unsafe fn program_of_link_at(attributes: *const c_void) -> Option<u32> {
    // SAFETY: as for maps.
    unsafe { program_id(probe(object(attribute(attributes, 0)?)?, &LINK_PROGRAM)?) }
}

/// The id of the map that a program is to go through which is about to be attached as an iterator. The descriptor is in the
/// memory of the process: where that is not at hand, nothing is known of it.
///
/// # Safety
///
/// As for [`may_ask`].
#[inline(always)]
unsafe fn map_of_iterator(attributes: *const c_void) -> Option<u32> {
    // SAFETY: the helpers check the addresses.
    unsafe {
        if attribute::<u32>(attributes, ATTACH_TYPE)? != TRACE_ITER {
            return None;
        }
        let info = attribute::<u64>(attributes, ITER_INFO).filter(|it| *it != 0)?;
        let descriptor = bpf_probe_read_user(info as *const u32).ok()?;
        probe(object(descriptor)?, &MAP_ID)
    }
}

/// # Safety
///
/// `program` must be an address in the kernel.
#[inline(always)]
unsafe fn program_id(program: *const c_void) -> Option<u32> {
    // SAFETY: the helper checks the addresses.
    unsafe { probe(probe(program, &PROGRAM_AUX)?, &AUX_ID) }
}

/// What a descriptor of the process that asks is of.
///
/// # Safety
///
/// None beyond that the caller treats it as an address that may be of anything.
#[inline(always)]
unsafe fn object(descriptor: u32) -> Option<*const c_void> {
    // SAFETY: the helpers check the addresses.
    unsafe {
        let task = bpf_get_current_task_btf() as *const c_void;
        let table: *const c_void = probe(probe(task, &TASK_FILES)?, &FILES_TABLE)?;
        if descriptor >= probe::<u32>(table, &TABLE_LEN)? {
            return None;
        }
        let files = probe::<*const *const c_void>(table, &TABLE_FILES)?;
        let file = bpf_probe_read_kernel(files.wrapping_add(descriptor as usize)).ok()?;
        if file.is_null() {
            return None;
        }
        probe(file, &FILE_PRIVATE)
    }
}

/// Notes who was refused what; always false.
#[inline(always)]
fn refused(attempt: Attempt, number: u64) -> bool {
    let key = AttemptKey { process: process(), attempt: attempt as u32 };
    let now = boot_ns();
    // Where another thread has made the entry in between, it is found at the second look.
    for _ in 0..2 {
        if let Some(known) = ATTEMPTS.get_ptr_mut(key) {
            // SAFETY: the value is the map's own, and its words are aligned.
            unsafe {
                atomic::fetch_add(&raw mut (*known).times, 1);
                core::ptr::write_volatile(&raw mut (*known).last_ns, now);
                core::ptr::write_volatile(&raw mut (*known).number, number);
            }
            return false;
        }
        let mut new =
            Attempts { times: 1, last_ns: now, number, user: user(), pad: 0, command: [0; COMMAND_LEN] };
        // SAFETY: the helper writes no more than the length.
        unsafe { bpf_get_current_comm(new.command.as_mut_ptr().cast(), COMMAND_LEN as u32) };
        if ATTEMPTS.insert(key, new, u64::from(BPF_NOEXIST)).is_ok() {
            return false;
        }
    }
    false
}
