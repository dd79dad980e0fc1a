//! Ways by which data goes on to others on this host, as keys, and the ends of sockets.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use guard_common::abi::{FileKey, WayKey, WayKind};
use guard_common::packet::Addr;

use super::carrier::probe;
use super::sender::family_of;
use crate::maps::HOST_ADDRESSES;

/// As those of [`super::carrier`].
#[unsafe(no_mangle)]
static SOCK_PROTOCOL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_NET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_DADDR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_RCV_SADDR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_V6_DADDR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_V6_RCV_SADDR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_DPORT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_NUM: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static MSG_NAME: Global<u32> = Global::new(0);

/// `AF_INET` and `AF_INET6` (linux/socket.h).
pub(super) const INET: u16 = 2;
pub(super) const INET6: u16 = 10;
/// `IPPROTO_UDP` and `IPPROTO_UDPLITE` (linux/in.h).
const UDP: u16 = 17;
const UDPLITE: u16 = 136;

/// An address and a port, as a way has them; the port is 0 where there is none. No option: of that the compiler may carry on what
/// was never written, which the verifier refuses.
pub(super) type End = ([u64; 2], u16);

/// The way by a pipe.
#[inline(always)]
pub(super) fn pipe(file: FileKey) -> WayKey {
    let number = u64::from(file.device) << 32 | u64::from(file.generation);
    WayKey { from: [file.inode, number], kind: WayKind::Pipe as u32, ..WayKey::default() }
}

/// The way by a connection.
///
/// # Safety
///
/// `sk` must be a `struct sock`.
#[inline(always)]
pub(super) unsafe fn connection(sk: *const c_void, from: End, to: End) -> WayKey {
    let network = match is_own(from.0) || is_own(to.0) {
        // SAFETY: the caller vouches for the socket.
        true => unsafe { network_of(sk) },
        false => 0,
    };
    let kind = WayKind::Connection as u32;
    WayKey { from: from.0, to: to.0, network, from_port: from.1, to_port: to.1, kind }
}

/// The way to a port of UDP.
///
/// # Safety
///
/// `sk` must be a `struct sock`.
#[inline(always)]
pub(super) unsafe fn datagrams(sk: *const c_void, to_port: u16) -> WayKey {
    // SAFETY: the caller vouches for the socket.
    let network = unsafe { network_of(sk) };
    WayKey { network, to_port, kind: WayKind::Datagrams as u32, ..WayKey::default() }
}

/// The network namespace of a socket, as a number.
#[inline(always)]
unsafe fn network_of(sk: *const c_void) -> u64 {
    // SAFETY: the helper checks the address.
    unsafe { probe(sk, &SOCK_NET).unwrap_or_default() }
}

#[inline(always)]
pub(super) unsafe fn is_udp(sk: *const c_void) -> bool {
    // SAFETY: the helper checks the address.
    matches!(unsafe { probe::<u16>(sk, &SOCK_PROTOCOL) }, Some(UDP | UDPLITE))
}

/// The other end of a socket.
#[inline(always)]
pub(super) unsafe fn far(sk: *const c_void) -> End {
    // SAFETY: the helper checks the addresses.
    unsafe {
        let port = probe(sk, &SOCK_DPORT).unwrap_or_default();
        (address(sk, &SOCK_DADDR, &SOCK_V6_DADDR), u16::from_be(port))
    }
}

/// This end of a socket.
#[inline(always)]
pub(super) unsafe fn near(sk: *const c_void) -> End {
    // SAFETY: the helper checks the addresses.
    unsafe {
        let port = probe(sk, &SOCK_NUM).unwrap_or_default();
        (address(sk, &SOCK_RCV_SADDR, &SOCK_V6_RCV_SADDR), port)
    }
}

#[inline(always)]
unsafe fn address(sk: *const c_void, v4: &Global<u32>, v6: &Global<u32>) -> [u64; 2] {
    // SAFETY: the caller vouches for the socket; the helper checks the addresses.
    unsafe {
        match family_of(sk) {
            INET => mapped(probe(sk, v4).unwrap_or_default()),
            INET6 => probe(sk, v6).unwrap_or_default(),
            _ => [0; 2],
        }
    }
}

/// To where a message is sent, where it says so.
#[inline(always)]
pub(super) unsafe fn named(message: *const c_void) -> End {
    let nowhere = ([0; 2], 0);
    if message.is_null() {
        return nowhere;
    }
    // SAFETY: the helper checks the addresses.
    unsafe {
        let name = probe::<usize>(message, &MSG_NAME).unwrap_or_default() as *const c_void;
        if name.is_null() {
            return nowhere;
        }
        let address = match at::<u16>(name, 0) {
            INET => mapped(at(name, 4)),
            INET6 => at(name, 8),
            _ => return nowhere,
        };
        (address, u16::from_be(at(name, 2)))
    }
}

#[inline(always)]
unsafe fn at<T: Copy + Default>(name: *const c_void, place: usize) -> T {
    let mut value = T::default();
    // SAFETY: the helper checks the address, and writes the whole value, which is of integers.
    unsafe {
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, name.byte_add(place));
    }
    value
}

/// An IPv4 address in its mapped form: both in network byte order.
#[inline(always)]
const fn mapped(address: u32) -> [u64; 2] {
    let [a, b, c, d] = address.to_ne_bytes();
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

/// Whether an address is of one network namespace alone: loopback, and what stands for it.
#[inline(always)]
fn is_own(address: [u64; 2]) -> bool {
    let (hi, lo) = (u64::from_be(address[0]), u64::from_be(address[1]));
    hi == 0 && (lo <= 1 || lo >> 24 == 0x00ff_ff7f || lo == 0xffff << 32)
}

/// Whether this host has an address.
#[inline(always)]
pub(super) fn is_of_this_host(address: [u64; 2]) -> bool {
    let key = Addr { hi: u64::from_be(address[0]), lo: u64::from_be(address[1]) };
    is_own(address) || HOST_ADDRESSES.get_ptr(key).is_some()
}
