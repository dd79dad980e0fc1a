//! Relays: to whom carriers hand data on by sockets and pipes of this host. The way is marked before the data is on it, and
//! who receives looks after it has come: so that it does not matter which of the two calls came first.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_skc_to_unix_sock};
use guard_common::abi::{COMMAND_LEN, CarrierControl, Handed, Relay, RelayKey, WayKey};

use super::carrier::{
    add_to, carried, control, has_taken_up, is_of_a_workqueue, key_of, overflowed, process, read, takes_up,
};
use super::file::{FILE_INODE, INODE_MODE, MAY_WRITE, TYPE};
use super::sender::{can_leave, family_of, sock_of};
use super::way::{INET, INET6, connection, datagrams, far, is_of_this_host, is_udp, named, near, pipe};
use crate::clock::boot_ns;
use crate::maps::{CARRIER_CONTROL, RELAYS, SOCKET_VOLUMES, UNIX_HANDED, WAYS};

/// As those of [`super::carrier`].
#[unsafe(no_mangle)]
static SOCK_TYPE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static UNIX_PEER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub(super) static KIOCB_FILE: Global<u32> = Global::new(0);

/// `AF_UNIX` (linux/socket.h).
const UNIX: u16 = 1;
/// `S_IFIFO` (linux/stat.h).
const PIPE: u16 = 0o010_000;
/// `SOCK_DGRAM` (linux/net.h).
const DATAGRAM: u16 = 2;
/// How often the last time of a relay is written.
const SECOND_NS: u64 = 1_000_000_000;

/// A process sends by a socket: what it carries is noted with the socket, and with the way to who receives on this host.
/// False where that can't be kept.
///
/// # Safety
///
/// `socket` must be the `struct socket` that the kernel gave this program, `message` null or the `struct msghdr`.
#[inline(always)]
pub unsafe fn carries(socket: *const c_void, message: *const c_void) -> bool {
    let volumes = carried();
    if volumes == 0 {
        return true;
    }
    // SAFETY: the caller vouches for the socket, and zeroes are a set of volumes: the empty one.
    unsafe {
        let Some(sk) = sock_of(socket) else { return true };
        if family_of(sk) == UNIX {
            return hands_to_peer(sk, volumes);
        }
        if !can_leave(sk) {
            return true;
        }
        if !hands_on(sk, message, volumes) {
            return false;
        }
        match SOCKET_VOLUMES.get_or_make(sk) {
            Some(kept) => {
                add_to(kept, volumes);
                true
            }
            None => false,
        }
    }
}

/// A carrier sends by a connected Unix socket. False where that can't be kept.
///
/// # Safety
///
/// `sk` must be the `struct sock` of the `struct socket` that the kernel gave this program, of a Unix socket.
#[inline(always)]
unsafe fn hands_to_peer(sk: *mut c_void, volumes: u64) -> bool {
    // SAFETY: the caller vouches for the socket. The peer of a connection is the same while the socket is there, which who
    // sends by it keeps. Of datagrams it may be another one at any time: those are met where they are let through.
    unsafe {
        if read::<u16>(sk, &SOCK_TYPE) == DATAGRAM {
            return true;
        }
        let unix = bpf_skc_to_unix_sock(sk);
        if unix.is_null() {
            return true;
        }
        let peer = read::<*mut c_void>(unix.cast(), &UNIX_PEER);
        peer.is_null() || give(peer, volumes)
    }
}

/// A process sends a datagram to a Unix socket, or connects to it for that. False where that can't be kept.
///
/// # Safety
///
/// `other` must be the `struct socket` that the kernel gave this program.
#[inline(always)]
pub unsafe fn hands_over(other: *const c_void) -> bool {
    let volumes = carried();
    // SAFETY: the caller vouches for the socket.
    unsafe {
        match sock_of(other) {
            Some(sk) if volumes != 0 => give(sk, volumes),
            _ => true,
        }
    }
}

/// A carrier sends by the network. False where that can't be kept.
///
/// # Safety
///
/// `sk` must be the `struct sock` of the `struct socket` that the kernel gave this program, `message` null or a
/// `struct msghdr`.
#[inline(always)]
unsafe fn hands_on(sk: *const c_void, message: *const c_void, volumes: u64) -> bool {
    // SAFETY: the caller vouches for both.
    unsafe {
        if !is_udp(sk) {
            let to = far(sk);
            return to.1 == 0 || mark(connection(sk, near(sk), to), volumes);
        }
        let mut to = named(message);
        if to.1 == 0 {
            to = far(sk);
        }
        to.1 == 0 || !is_of_this_host(to.0) || mark(datagrams(sk, to.1), volumes)
    }
}

/// A process writes to a file or is about to: a carrier may do so to a pipe.
///
/// # Safety
///
/// `file` must be the `struct file` that the kernel gave this program.
#[inline(always)]
pub unsafe fn pipes(file: *const c_void, mask: u64) {
    // SAFETY: the caller vouches for the file, and the verifier holds the places against the kernel's types.
    unsafe {
        if mask & MAY_WRITE == 0 {
            return;
        }
        let inode = read::<*const c_void>(file, &FILE_INODE);
        if read::<u16>(inode, &INODE_MODE) & TYPE != PIPE {
            return;
        }
        let volumes = carried();
        if volumes != 0 && !mark(pipe(key_of(inode)), volumes) {
            overflowed();
        }
    }
}

/// A process asks for a file's pipe, to move pages into it or out of it (`splice`, `tee`, `vmsplice`, `sendfile`): of these
/// no security module is asked. Which of the two is not known here: a carrier's pipe is marked either way. Who carries
/// nothing and may have to wait for pages is noted, so that it is a carrier before they come ([`mark`]).
///
/// # Safety
///
/// `file` must be the `struct file` that the kernel gave this program.
#[inline(always)]
pub unsafe fn splices(file: *const c_void) {
    // SAFETY: the caller vouches for the file, and the verifier holds the places against the kernel's types.
    unsafe {
        let inode = read::<*const c_void>(file, &FILE_INODE);
        if read::<u16>(inode, &INODE_MODE) & TYPE != PIPE {
            return;
        }
        let key = pipe(key_of(inode));
        match WAYS.get_ptr_mut(key) {
            Some(handed) if core::ptr::read_volatile(&raw const (*handed).volumes) != 0 => takes_over(handed),
            Some(handed) => (*handed).process = process(),
            None => {
                let waits =
                    Handed { volumes: 0, cgroup: bpf_get_current_cgroup_id(), process: process(), pad: 0 };
                // Where another one is faster, that one is noted.
                let _there_already = WAYS.insert(key, waits, u64::from(BPF_NOEXIST));
            }
        }
        let volumes = carried();
        if volumes != 0 && !mark(key, volumes) {
            overflowed();
        }
    }
}

/// A socket is made of one part of another one, as SCTP does for an association: what the first may carry, and has not sent
/// yet, goes by the second. False where that can't be kept.
///
/// # Safety
///
/// Both must be a `struct sock` that the kernel gave this program.
#[inline(always)]
pub unsafe fn parts(from: *mut c_void, to: *mut c_void) -> bool {
    // SAFETY: the caller vouches for both, and zeroes are a set of volumes: the empty one.
    unsafe {
        let volumes = SOCKET_VOLUMES.get(from).map_or(0, |kept| core::ptr::read_volatile(kept));
        if volumes == 0 {
            return true;
        }
        match SOCKET_VOLUMES.get_or_make(to) {
            Some(kept) => {
                add_to(kept, volumes);
                true
            }
            None => false,
        }
    }
}

/// A process has received so many bytes by a socket, or an error.
///
/// # Safety
///
/// `socket` must be the `struct socket` that the kernel gave this program.
#[inline(always)]
pub unsafe fn receives(socket: *const c_void, got: u64) {
    if got as i32 <= 0 || control(CarrierControl::Handed) == 0 {
        return;
    }
    // SAFETY: the caller vouches for the socket.
    unsafe {
        let Some(sk) = sock_of(socket) else { return };
        let handed = match family_of(sk) {
            UNIX => UNIX_HANDED.get(sk),
            INET | INET6 => {
                let key = match is_udp(sk) {
                    true => datagrams(sk, near(sk).1),
                    false => connection(sk, far(sk), near(sk)),
                };
                WAYS.get_ptr_mut(key)
            }
            _ => None,
        };
        if let Some(handed) = handed {
            takes_over(handed);
        }
    }
}

/// A process has read so many bytes from a pipe, or an error.
///
/// # Safety
///
/// `request` must be the `struct kiocb` that the kernel gave this program.
#[inline(always)]
pub unsafe fn reads(request: *const c_void, got: u64) {
    if got as i32 <= 0 || control(CarrierControl::Handed) == 0 {
        return;
    }
    // SAFETY: the caller vouches for the request, and the verifier holds the places against the kernel's types.
    unsafe {
        let file = read::<*const c_void>(request, &KIOCB_FILE);
        let inode = read::<*const c_void>(file, &FILE_INODE);
        if let Some(handed) = WAYS.get_ptr_mut(pipe(key_of(inode))) {
            takes_over(handed);
        }
    }
}

/// The process that asks has what was handed on by a way: it is a relay, unless it carries that already.
///
/// # Safety
///
/// `handed` must be the value of a map.
#[inline(always)]
pub(super) unsafe fn takes_over(handed: *const Handed) {
    // SAFETY: the caller vouches for it, and each word is read as a whole.
    let (volumes, from_cgroup, from) = unsafe {
        let volumes = core::ptr::read_volatile(&raw const (*handed).volumes);
        (volumes, (*handed).cgroup, (*handed).process)
    };
    let volumes = volumes & !carried();
    if volumes == 0 || is_of_a_workqueue() {
        return;
    }
    note(Handed { volumes, cgroup: from_cgroup, process: from, pad: 0 });
    takes_up(volumes & control(CarrierControl::Tagged));
}

/// Notes the process that asks as a relay.
#[inline(always)]
fn note(handed: Handed) {
    let mut command = [0; COMMAND_LEN];
    // SAFETY: the helpers write no more than the length, and only read else.
    let cgroup = unsafe {
        bpf_get_current_comm(command.as_mut_ptr().cast(), COMMAND_LEN as u32);
        bpf_get_current_cgroup_id()
    };
    let (key, now) = (RelayKey { cgroup, command }, boot_ns());
    for _ in 0..2 {
        if let Some(relay) = RELAYS.get_ptr_mut(key) {
            // SAFETY: the value is the map's own. Where two write at once, parts of both are told together.
            unsafe {
                add_to(&raw mut (*relay).volumes, handed.volumes);
                if now.wrapping_sub((*relay).last_ns) > SECOND_NS {
                    (*relay).last_ns = now;
                    (*relay).process = process();
                    (*relay).from = handed.process;
                }
            }
            return;
        }
        let relay = Relay {
            volumes: handed.volumes,
            since_ns: now,
            last_ns: now,
            from_cgroup: handed.cgroup,
            process: process(),
            from: handed.process,
        };
        if RELAYS.insert(key, relay, u64::from(BPF_NOEXIST)).is_ok() {
            return;
        }
    }
}

/// Marks a Unix socket: who receives by it has data of these volumes.
///
/// # Safety
///
/// `sk` must be a `struct sock` that the kernel gave this program or that another one leads to.
#[inline(always)]
unsafe fn give(sk: *mut c_void, volumes: u64) -> bool {
    begins();
    // SAFETY: the caller vouches for the socket, and zeroes are what nobody has handed over.
    unsafe {
        match UNIX_HANDED.get_or_make(sk) {
            Some(handed) => {
                add(handed, volumes);
                true
            }
            None => false,
        }
    }
}

/// Marks another way likewise, and who waits at it.
#[inline(always)]
pub(super) fn mark(key: WayKey, volumes: u64) -> bool {
    begins();
    for _ in 0..2 {
        if let Some(handed) = WAYS.get_ptr_mut(key) {
            // SAFETY: the value is the map's own.
            unsafe {
                let (known, waits) =
                    (core::ptr::read_volatile(&raw const (*handed).volumes), (*handed).process);
                if known == 0 && waits != process() {
                    has_taken_up(waits, volumes & control(CarrierControl::Tagged));
                }
                add(handed, volumes);
            }
            return true;
        }
        // SAFETY: the helper only reads.
        let cgroup = unsafe { bpf_get_current_cgroup_id() };
        let handed = Handed { volumes, cgroup, process: process(), pad: 0 };
        if WAYS.insert(key, handed, u64::from(BPF_NOEXIST)).is_ok() {
            return true;
        }
    }
    false
}

/// Adds what the process that asks hands on.
///
/// # Safety
///
/// `handed` must be the value of a map.
#[inline(always)]
unsafe fn add(handed: *mut Handed, volumes: u64) {
    // SAFETY: the caller vouches for it. Who it was is for people: where two write at once, parts of both may come together.
    unsafe {
        add_to(&raw mut (*handed).volumes, volumes);
        if (*handed).process != process() {
            (*handed).process = process();
            (*handed).cgroup = bpf_get_current_cgroup_id();
        }
    }
}

/// From now on receivers are looked at.
#[inline(always)]
fn begins() {
    if control(CarrierControl::Handed) == 0
        && let Some(word) = CARRIER_CONTROL.get_ptr_mut(CarrierControl::Handed as u32)
    {
        // SAFETY: the element is the map's own, and nobody writes another value but the daemon, once no hook is left.
        unsafe { core::ptr::write_volatile(word, 1) };
    }
}
