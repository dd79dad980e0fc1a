//! Who makes a socket and who uses it, noted with the socket in the process's own context. Nothing here refuses
//! anything; `refusal.rs` does.

use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_comm,
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_socket_cookie,
};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use guard_common::abi::{COMMAND_LEN, MAX_CGROUP_LEVELS, MAX_PARTIES, Party, Process, SocketFacts};

use crate::atomic;
use crate::maps::{SOCKET_CHANGES, SOCKET_FACTS, SOCKETS_NAMED};

/// `AF_INET` and `AF_INET6`, `SOCK_STREAM`, `IPPROTO_TCP`.
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;

/// Notes the process that makes a socket.
#[inline(always)]
pub fn made(context: &SockContext) {
    // SAFETY: the socket is the kernel's, and zeroes are facts: those of nobody.
    if let Some(facts) = unsafe { SOCKET_FACTS.get_or_make(context.sock.cast()) } {
        // SAFETY: nobody else knows the socket yet.
        unsafe {
            note(&raw mut (*facts).maker);
            let cookie = bpf_get_socket_cookie(context.sock.cast());
            (*facts).noted = cookie;
            if is_tcp(context) {
                (*facts).original = cookie;
            }
        }
    }
}

/// Whether the socket is one of plain TCP: of others, such as raw ones, nobody can tell who opened a connection.
#[inline(always)]
fn is_tcp(context: &SockContext) -> bool {
    // SAFETY: the socket is the kernel's.
    let (family, kind, protocol) =
        unsafe { ((*context.sock).family, (*context.sock).type_, (*context.sock).protocol) };
    (family == AF_INET || family == AF_INET6) && kind == SOCK_STREAM && protocol == IPPROTO_TCP
}

/// Notes the process that connects a socket, and that it was connected. True where it is noted.
#[inline(always)]
pub fn connects(context: &SockAddrContext) -> bool {
    let Some(facts) = used(context) else { return false };
    // SAFETY: the context is the kernel's, and the facts are the value of a map: an aligned word of it.
    unsafe {
        let cookie = bpf_get_socket_cookie(context.sock_addr.cast());
        core::ptr::write_volatile(&raw mut (*facts).connected, cookie);
    }
    true
}

/// Notes the process that connects a socket, or sends a datagram by it to an address. The facts of the socket.
#[inline(always)]
pub fn used(context: &SockAddrContext) -> Option<*mut SocketFacts> {
    // SAFETY: the context is the kernel's.
    let socket = unsafe { (*context.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: the socket is the kernel's, and zeroes are facts: those of nobody.
    let facts = unsafe {
        match SOCKET_FACTS.get(socket.cast()) {
            None if are_named() => SOCKET_FACTS.get_or_make(socket.cast()),
            // Whoever has it open is still to be noted by the daemon, which writes no facts over others.
            facts => facts,
        }
    };
    let facts = facts?;
    // SAFETY: the facts are the value of a map.
    unsafe { note_use(facts) };
    Some(facts)
}

/// Notes the process that asks as one that uses the socket of these facts.
///
/// # Safety
///
/// `facts` must be the value of a map.
#[inline(always)]
pub(super) unsafe fn note_use(facts: *mut SocketFacts) {
    // SAFETY: what is kept with the socket stays while the program runs. Several processes may use a socket at once:
    // then parts of two may come together, in what is told and in nothing else.
    unsafe {
        let sender = &raw mut (*facts).sender;
        let (cgroup, uid) = (bpf_get_current_cgroup_id(), user());
        let is_same = (*sender).cgroup == cgroup && (*sender).uid == uid;
        // A process that sends many datagrams is noted once.
        if !is_same || (*sender).thread != bpf_get_current_pid_tgid() as u32 {
            take_up(facts, cgroup, uid);
            note(sender);
        }
    }
}

/// Whether the holders of sockets were noted that were open before the hooks were attached.
#[inline(always)]
pub(super) fn are_named() -> bool {
    // SAFETY: the element is an aligned word, which the daemon alone writes.
    SOCKETS_NAMED.get_ptr(0).is_some_and(|named| unsafe { core::ptr::read_volatile(named) } != 0)
}

/// Adds the cgroup and the user of the process that asks to those that have used the socket. Of the maker's both are
/// known already: the cgroup in which a socket is made stays the socket's.
///
/// # Safety
///
/// `facts` must be the value of a map.
#[inline(always)]
unsafe fn take_up(facts: *mut SocketFacts, cgroup: u64, uid: u32) {
    // SAFETY: the caller vouches for `facts`. A party is claimed by one program alone, and not changed once it is ready.
    unsafe {
        let maker = &raw const (*facts).maker;
        if (*maker).is_known() && (*maker).cgroup == cgroup && (*maker).uid == uid {
            return;
        }
        for at in 0..MAX_PARTIES {
            let party = &raw mut (*facts).parties[at];
            let state = core::ptr::read_volatile(&raw const (*party).state);
            if state == Party::READY && (*party).cgroup == cgroup && (*party).uid == uid {
                return;
            }
            if state == Party::FREE && atomic::replace(&raw mut (*party).state, Party::FREE, Party::FILLING) {
                (*party).cgroup = cgroup;
                (*party).uid = uid;
                for level in 1..=MAX_CGROUP_LEVELS {
                    (*party).cgroups[level - 1] = bpf_get_current_ancestor_cgroup_id(level as i32);
                }
                // Before anybody takes the party for written: what was remembered of the facts before is not theirs any more.
                change(facts);
                // From FILLING to READY, and all that was written before it is seen with it.
                atomic::fetch_add(&raw mut (*party).state, Party::READY - Party::FILLING);
                return;
            }
        }
        core::ptr::write_volatile(&raw mut (*facts).everybody, 1);
    }
}

/// Gives facts that were changed a number that no others have. Where there is none to be had they have none, and nothing is
/// remembered of them.
///
/// # Safety
///
/// `facts` must be the value of a map.
#[inline(always)]
unsafe fn change(facts: *mut SocketFacts) {
    // SAFETY: the caller vouches for `facts`; the element is an aligned word, which is changed by atomic operations alone.
    // Such an operation is a full barrier: what was written before it is seen where the number is.
    unsafe {
        let number = match SOCKET_CHANGES.get_ptr_mut(0) {
            Some(count) => SocketFacts::FIRST_OF_CHANGES | atomic::fetch_add(count, 1),
            None => 0,
        };
        core::ptr::write_volatile(&raw mut (*facts).noted, number);
    }
}

/// The real user of the process that asks.
#[inline(always)]
pub(super) fn user() -> u32 {
    // SAFETY: the helper only reads.
    unsafe { bpf_get_current_uid_gid() as u32 }
}

/// Writes the process that asks.
///
/// # Safety
///
/// `to` must be valid for writes: in the value of a map, or on the stack.
#[inline(always)]
pub(super) unsafe fn note(to: *mut Process) {
    // SAFETY: the caller vouches for `to`; the helpers only read, but for the name, which has room.
    unsafe {
        let both = bpf_get_current_pid_tgid();
        (*to).cgroup = bpf_get_current_cgroup_id();
        (*to).pid = (both >> 32) as u32;
        (*to).thread = both as u32;
        (*to).uid = user();
        bpf_get_current_comm((&raw mut (*to).command).cast(), COMMAND_LEN as u32);
    }
}
