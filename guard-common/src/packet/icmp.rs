//! Errors of ICMP (RFC 792) and ICMPv6 (RFC 4443): the type, and of the packet that they quote the addresses and the
//! ports.
//!
//! What is quoted is read only where it is plain: of a packet with IPv4 options, IPv6 extension headers or a tunnel the
//! first bytes do not tell where it would have gone.

use super::addr::Addr;
use super::frame::Frame;
use super::protocols::{has_no_ports, has_ports};
use super::types::{HEADER_LEN, Layer, Packet};
use super::udp;

/// ICMP's protocol number.
const ICMP: u8 = 1;
/// ICMPv6's.
const ICMPV6: u8 = 58;
/// Bytes before the quoted packet.
const LEN: usize = 8;

/// Whether this is the number of the ICMP that belongs to the layer's version of IP.
#[inline(always)]
#[must_use]
pub const fn is_icmp(protocol: u8, layer: &Layer) -> bool {
    protocol == if layer.is_ipv6() { ICMPV6 } else { ICMP }
}

/// Where the packet begins that the ICMP message at `at` quotes: behind an error of a whole packet. 0 where it is no
/// error, or where that can't be read; then it is judged by its own addresses.
///
/// Errors are of ICMP destination unreachable (path-MTU messages among them), time exceeded and parameter problem, and of
/// ICMPv6 these and packet too big (types 1 to 4). Redirects are none: they ask for something.
#[inline(always)]
pub(super) fn quotes(frame: &Frame<'_>, at: usize, layer: &Layer) -> u32 {
    let Ok([kind]) = frame.header::<1>(at) else { return 0 };
    let is_error = if layer.is_ipv6() { matches!(kind, 1..=4) } else { matches!(kind, 3 | 11 | 12) };
    if is_error && layer.flags & Layer::FRAGMENT == 0 { (at + LEN) as u32 } else { 0 }
}

/// Reads the packet that the frame's ICMP error quotes, of which the first `valid` bytes are in `bytes`; the frame was
/// [parsed](super::parse) to its end. Nothing is read where it is not plain.
#[inline(always)]
pub fn quote(bytes: &[u8; HEADER_LEN], valid: usize, packet: &mut Packet) {
    if packet.quotes == 0 || packet.layer_count != 1 {
        return;
    }
    let frame = Frame::new(bytes, valid, valid);
    let at = Frame::settled(packet.quotes);
    let [outer, ..] = &packet.layers;
    let read = if outer.is_ipv6() { v6(&frame, at) } else { v4(&frame, at) };
    if let Some(layer) = read {
        packet.quoted = layer;
        packet.quoted_count = 1;
    }
}

/// The IPv4 packet whose header begins at `at`.
#[inline(always)]
fn v4(frame: &Frame<'_>, at: usize) -> Option<Layer> {
    const WITHOUT_OPTIONS: u8 = 0x45;
    const FRAGMENT_OFFSET: u16 = 0x1fff;
    let h = frame.header::<20>(at).ok()?;
    if h[0] != WITHOUT_OPTIONS || u16::from_be_bytes([h[6], h[7]]) & FRAGMENT_OFFSET != 0 {
        return None;
    }
    let src = Addr::from_v4_octets([h[12], h[13], h[14], h[15]]);
    let dst = Addr::from_v4_octets([h[16], h[17], h[18], h[19]]);
    with_ports(frame, at + 20, Layer { src, dst, proto: h[9], ..Layer::default() })
}

/// The IPv6 packet whose header begins at `at`.
#[inline(always)]
fn v6(frame: &Frame<'_>, at: usize) -> Option<Layer> {
    let h = frame.header::<40>(at).ok()?;
    if h[0] >> 4 != 6 {
        return None;
    }
    let ([_, src_hi, src_lo, dst_hi, dst_lo], _) = h.as_chunks::<8>() else { return None };
    let src = Addr::from_v6_halves(*src_hi, *src_lo);
    let dst = Addr::from_v6_halves(*dst_hi, *dst_lo);
    with_ports(frame, at + 40, Layer { src, dst, proto: h[6], flags: Layer::IPV6, ..Layer::default() })
}

/// The layer with the ports that begin at `at`. `None` where it may be a tunnel.
#[inline(always)]
fn with_ports(frame: &Frame<'_>, at: usize, mut layer: Layer) -> Option<Layer> {
    if has_no_ports(layer.proto) {
        return Some(layer);
    }
    if !has_ports(layer.proto) {
        return None;
    }
    let [s0, s1, d0, d1] = *frame.header::<4>(at).ok()?;
    layer.set_ports([s0, s1], [d0, d1]);
    let may_be_a_tunnel =
        udp::is_of_a_tunnel(layer.dport) || layer.dport == udp::ESP || layer.sport == udp::ESP;
    if layer.proto == udp::PROTOCOL && may_be_a_tunnel { None } else { Some(layer) }
}
