//! Who makes a socket and who uses it, noted with the socket in the process's own context. Nothing here refuses
//! anything.

use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use guard_common::abi::{COMMAND_LEN, Process, SocketFacts};

use crate::maps::SOCKET_FACTS;

/// Notes the process that makes a socket.
#[inline(always)]
pub fn made(context: &SockContext) {
    // SAFETY: the socket is the kernel's, and zeroes are facts: those of nobody.
    if let Some(facts) = unsafe { SOCKET_FACTS.get_or_make(context.sock.cast()) } {
        // SAFETY: nobody else knows the socket yet.
        unsafe { note(&raw mut (*facts).maker) };
    }
}

/// Notes the process that connects a socket, or sends a datagram by it to an address.
#[inline(always)]
pub fn used(context: &SockAddrContext) {
    // SAFETY: the context is the kernel's.
    let socket = unsafe { (*context.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return;
    }
    // SAFETY: the socket is the kernel's, and zeroes are facts: those of nobody.
    let Some(facts) = (unsafe { SOCKET_FACTS.get_or_make(socket.cast()) }) else { return };
    // SAFETY: what is kept with the socket stays while the program runs. Several processes may use a socket at once:
    // then parts of two may come together, in what is told and in nothing else.
    unsafe {
        let sender = &raw mut (*facts).sender;
        // A process that sends many datagrams is noted once.
        if (*sender).thread != thread() || (*sender).cgroup != bpf_get_current_cgroup_id() {
            note(sender);
        }
    }
}

/// The thread that asks.
#[inline(always)]
fn thread() -> u32 {
    // SAFETY: the helper only reads.
    unsafe { bpf_get_current_pid_tgid() as u32 }
}

/// Writes the process that asks.
///
/// # Safety
///
/// `to` must be in the value of a map.
#[inline(always)]
unsafe fn note(to: *mut Process) {
    const { assert!(size_of::<SocketFacts>() == 2 * size_of::<Process>()) };
    // SAFETY: the caller vouches for `to`; the helpers only read, but for the name, which has room.
    unsafe {
        let both = bpf_get_current_pid_tgid();
        (*to).cgroup = bpf_get_current_cgroup_id();
        (*to).pid = (both >> 32) as u32;
        (*to).thread = both as u32;
        (*to).uid = bpf_get_current_uid_gid() as u32;
        bpf_get_current_comm((&raw mut (*to).command).cast(), COMMAND_LEN as u32);
    }
}
