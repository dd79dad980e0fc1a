//! A process sends by a socket, whatever call it makes and whoever connected it: noted with the socket, in the process's
//! own context, before any protocol has the bytes.

use core::ffi::c_void;

use aya_ebpf::Global;

use super::socket::{are_named, note_use};
use crate::maps::SOCKET_FACTS;

/// Where `struct socket` has its `sk`, and `struct sock` its family: bytes from the begin. Written by the loader from the
/// kernel's own type information, and constant from then on.
#[unsafe(no_mangle)]
static SOCKET_SK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_FAMILY: Global<u32> = Global::new(0);

/// Families whose packets can leave the host: `AF_INET`, `AF_INET6` and `AF_PACKET`.
const FAMILIES: [u16; 3] = [2, 10, 17];

/// Notes the process that sends by a socket.
///
/// # Safety
///
/// `socket` must be the `struct socket` that the kernel gave this program.
#[inline(always)]
pub unsafe fn sends(socket: *const c_void) {
    // SAFETY: the socket is the kernel's, and zeroes are facts: those of nobody.
    unsafe {
        let Some(sk) = sock_of(socket) else { return };
        let facts = match SOCKET_FACTS.get(sk) {
            None if are_named() && can_leave(sk) => SOCKET_FACTS.get_or_make(sk),
            facts => facts,
        };
        if let Some(facts) = facts {
            note_use(facts);
        }
    }
}

/// The `struct sock` of a `struct socket`.
///
/// # Safety
///
/// As for [`sends`].
#[inline(always)]
pub(super) unsafe fn sock_of(socket: *const c_void) -> Option<*mut c_void> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the socket, and the verifier holds the place against the kernel's types.
    let sk = unsafe { *socket.byte_add(SOCKET_SK.load() as usize).cast::<*mut c_void>() };
    if sk.is_null() { None } else { Some(sk) }
}

/// Whether packets of a socket can leave the host.
///
/// # Safety
///
/// `sk` must be a `struct sock` that the kernel gave this program.
#[inline(always)]
pub(super) unsafe fn can_leave(sk: *const c_void) -> bool {
    // SAFETY: as for `sends`.
    FAMILIES.contains(&unsafe { family_of(sk) })
}

/// The family of a socket.
///
/// # Safety
///
/// As for [`can_leave`].
#[inline(always)]
pub(super) unsafe fn family_of(sk: *const c_void) -> u16 {
    // SAFETY: the caller vouches for the socket.
    unsafe { *sk.byte_add(SOCK_FAMILY.load() as usize).cast::<u16>() }
}
