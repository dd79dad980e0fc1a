//! TC egress: what leaves.

use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_TCP_NEW_SYN_RECV, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_sock};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_get_socket_uid, bpf_sk_fullsock, bpf_skb_ancestor_cgroup_id,
    bpf_skb_cgroup_id, bpf_skb_load_bytes, bpf_skc_to_mptcp_sock, bpf_skc_to_tcp_sock,
};
use aya_ebpf::programs::TcContext;
use aya_ebpf::{EbpfContext as _, Global};
use guard_common::abi::{
    Canary, CarrierControl, Direction, MAX_CGROUP_LEVELS, NO_USER, PACKET_FAMILY, Provenance, SocketFacts,
};
use guard_common::decide::OwnEnd;
use guard_common::packet::{Addr, Layer};

use super::Source;
use super::carrier::control;
use crate::maps::{SOCKET_CANARIES, SOCKET_FACTS, SOCKET_VOLUMES};

/// Not 0 where the kernel has Multipath TCP, written by the loader: elsewhere it refuses programs that ask for it.
#[unsafe(no_mangle)]
static MPTCP: Global<u32> = Global::new(0);

/// `AF_INET` and `AF_INET6` (linux/socket.h).
const INET: u32 = 2;
const INET6: u32 = 10;
/// `SOCK_STREAM` (linux/net.h) and `IPPROTO_TCP` (linux/in.h).
const STREAM: u32 = 1;
const TCP: u32 = 6;

impl Source for TcContext {
    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn told_ethertype(&self) -> Option<u16> {
        // SAFETY: the context is the kernel's.
        Some(u16::from_be(unsafe { (*self.skb.skb).protocol } as u16))
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn wire_len(&self) -> u64 {
        // SAFETY: the context is the kernel's.
        u64::from(unsafe { (*self.skb.skb).wire_len })
    }

    #[inline(always)]
    fn segment_size(&self) -> u32 {
        // SAFETY: the context is the kernel's.
        unsafe { (*self.skb.skb).gso_size }
    }

    #[inline(always)]
    unsafe fn copy(&self, at: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: the context is the kernel's, and the caller vouches for `to`.
        unsafe { bpf_skb_load_bytes(self.as_ptr(), at, to.cast(), len) == 0 }
    }

    #[inline(always)]
    fn describe(&self, to: &mut Provenance) {
        // SAFETY: the context is the kernel's.
        unsafe {
            let skb = self.skb.skb;
            to.wire_len = u64::from((*skb).wire_len);
            to.ifindex = (*skb).ifindex;
            to.ingress_ifindex = (*skb).ingress_ifindex;
            to.mark = (*skb).mark;
            to.frame_len = (*skb).len;
        }
    }

    #[inline(always)]
    fn describe_cgroups(&self, levels: u32, to: &mut Provenance) {
        for level in 1..=MAX_CGROUP_LEVELS {
            if levels & (1 << level) != 0 {
                // SAFETY: the context is the kernel's.
                to.cgroups[level - 1] = unsafe { bpf_skb_ancestor_cgroup_id(self.skb.skb, level as i32) };
            }
        }
    }

    #[inline(always)]
    fn cookie(&self) -> u64 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_get_socket_cookie(self.skb.skb.cast()) }
    }

    #[inline(always)]
    fn cgroup(&self) -> u64 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_cgroup_id(self.skb.skb) }
    }

    #[inline(always)]
    fn facts(&self) -> Option<*mut SocketFacts> {
        // SAFETY: the context is the kernel's. Packets of a handshake have a socket that is no whole one yet; of those
        // the kernel's helper knows nothing.
        unsafe {
            let socket = (*self.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() { None } else { SOCKET_FACTS.get(socket.cast()) }
        }
    }

    #[inline(always)]
    fn volumes(&self) -> u64 {
        // SAFETY: as for `facts`; the words are the maps' own.
        unsafe {
            let socket = (*self.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() {
                return 0;
            }
            // Where a carrier found no room, it may be any sender.
            if control(CarrierControl::Overflowed) != 0 {
                return u64::MAX;
            }
            let of = |socket| SOCKET_VOLUMES.get(socket).map_or(0, |kept| core::ptr::read_volatile(kept));
            let volumes = of(socket.cast());
            if volumes == 0 { of_path(socket).map_or(0, of) } else { volumes }
        }
    }

    #[inline(always)]
    fn direction(&self) -> u32 {
        // SAFETY: the context is the kernel's, and so is the socket; its facts are words of a map's value.
        let direction = unsafe {
            let socket = (*self.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() {
                Direction::Unknown
            } else if core::ptr::read_volatile(&raw const (*socket).state) == BPF_TCP_NEW_SYN_RECV {
                // The answer to a connection that another one opens.
                Direction::Served
            } else {
                SOCKET_FACTS.get(socket.cast()).map_or(Direction::Unknown, |facts| {
                    let original = core::ptr::read_volatile(&raw const (*facts).original);
                    let connected = core::ptr::read_volatile(&raw const (*facts).connected);
                    // Facts of no TCP socket need no number of it.
                    let cookie = if original == 0 { 0 } else { self.cookie() };
                    Direction::of_socket(original, connected, cookie)
                })
            }
        };
        direction as u32
    }

    #[inline(always)]
    fn owner(&self) -> u32 {
        // SAFETY: the context is the kernel's, and so is the socket. Without one the helper would answer with a user.
        unsafe {
            let socket = (*self.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() {
                return NO_USER;
            }
            match SOCK_UID.load() as usize {
                0 => None,
                place => tcp_owner(socket.cast(), place),
            }
            .unwrap_or_else(|| bpf_get_socket_uid(self.skb.skb))
        }
    }

    #[inline(always)]
    fn own_end(&self, outermost: &Layer) -> Option<OwnEnd> {
        // SAFETY: the context is the kernel's; family, address and port can be read of every socket, also of one that is not whole.
        let (address, port, peer) = unsafe {
            let socket = (*self.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() {
                return None;
            }
            let family = core::ptr::read_volatile(&raw const (*socket).family);
            if family != INET && family != INET6 {
                return None;
            }
            let port = core::ptr::read_volatile(&raw const (*socket).src_port) as u16;
            // The source port is in host order, this one is not (linux/bpf.h, `struct bpf_sock`).
            let peer = u16::from_be(core::ptr::read_volatile(&raw const (*socket).dst_port));
            let address = if outermost.flags & Layer::IPV6 == 0 {
                let v4 = u32::from_be(core::ptr::read_volatile(&raw const (*socket).src_ip4));
                (v4 != 0).then(|| Addr::from_v4(v4))
            } else {
                let words = &raw const (*socket).src_ip6;
                let word = |at: usize| {
                    u64::from(u32::from_be(core::ptr::read_volatile(words.cast::<u32>().wrapping_add(at))))
                };
                let (hi, lo) = (word(0) << 32 | word(1), word(2) << 32 | word(3));
                (hi | lo != 0).then_some(Addr { hi, lo })
            };
            (address, port, peer)
        };
        Some(OwnEnd { address: address.unwrap_or(outermost.src), port, peer })
    }

    #[inline(always)]
    fn canary(&self) -> Option<*mut Canary> {
        // SAFETY: as for `facts`; every socket's family can be read.
        unsafe {
            let socket = (*self.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() || core::ptr::read_volatile(&raw const (*socket).family) != PACKET_FAMILY {
                None
            } else {
                SOCKET_CANARIES.get(socket.cast())
            }
        }
    }
}

/// Where `struct sock` has its owner: bytes from the begin. Written by the loader from the kernel's own type information, and
/// constant from then on; 0 where that does not tell.
#[unsafe(no_mangle)]
static SOCK_UID: Global<u32> = Global::new(0);

/// The owner of a whole TCP socket, which is at this place of its `struct sock`; `None` for others. The kernel's helper for
/// all sockets takes thrice as long: it looks for the number by which the network's user namespace knows the user.
///
/// # Safety
///
/// `socket` must be a socket that the kernel gave this program, and not null.
#[inline(always)]
pub unsafe fn tcp_owner(socket: *mut c_void, place: usize) -> Option<u32> {
    // SAFETY: the caller vouches for the socket. A `struct tcp_sock` begins with its `struct sock`, as every socket does, also
    // a raw one of that protocol, which the helper takes for one; the verifier holds the place against the kernel's types.
    unsafe {
        let socket = bpf_skc_to_tcp_sock(socket);
        if socket.is_null() { None } else { Some(*socket.byte_add(place).cast::<u32>()) }
    }
}

/// The connection of a path of Multipath TCP, which has a socket of the kernel's own: what carriers send is noted with the
/// connection's.
///
/// # Safety
///
/// `socket` must be that of the context, and not null.
#[inline(always)]
unsafe fn of_path(socket: *mut bpf_sock) -> Option<*mut c_void> {
    if MPTCP.load() == 0 {
        return None;
    }
    // SAFETY: the caller vouches for the socket, and helpers answer with what is whole or null. The last one takes every
    // socket of this protocol for a connection and reads beyond those that are smaller: raw ones, the kernel's for resets.
    unsafe {
        let whole = bpf_sk_fullsock(socket);
        if whole.is_null() || (*whole).type_ != STREAM || (*whole).protocol != TCP {
            return None;
        }
        let connection: *mut c_void = bpf_skc_to_mptcp_sock(whole.cast()).cast();
        if connection.is_null() { None } else { Some(connection) }
    }
}

/// What the program returns. A packet that may go is left to the programs behind this one: `TC_ACT_UNSPEC` is
/// `TCX_NEXT`.
#[inline(always)]
#[must_use]
pub fn code(passes: bool) -> i32 {
    if passes { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
}
