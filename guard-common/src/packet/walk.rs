//! The walk through a frame: one header after the other until nothing follows.

use super::addr::Addr;
use super::ethernet::{self, Depth};
use super::frame::{Bounds, Frame};
use super::next::{Next, Route};
use super::protocols::{
    ENCAP, ETHER_IP, ETHERNET_IN_IP, IPV4_IN_IP, IPV6_IN_IP, KA9Q_IP_IN_IP, L2TP, MINIMAL_IP_IN_IP,
    MPLS_IN_IP, hides_ports,
};
use super::types::{Fault, HEADER_LEN, Layer, Link, Packet, Parsed};
use super::{dccp, extension, gre, icmp, ipv4, ipv6, pppoe, sctp, tcp, udp, vlan};
use icmp::quote;

/// Headers between the first ones of a plain packet and the last one of a frame. Each VLAN tag,
/// extension header, option and hop counts as one.
pub const MAX_HEADERS: usize = 32;

/// Reads a frame of `frame_len` bytes, of which the first `valid` are in `bytes`, into `out`.
///
/// `valid` is the lesser of `frame_len` and [`HEADER_LEN`]; bytes behind it are not looked at.
/// Nothing in `out` needs to be set before, and all of it that the counts cover is after.
#[inline(always)]
pub fn parse(
    link: Link,
    bytes: &[u8; HEADER_LEN],
    valid: usize,
    frame_len: usize,
    out: &mut Packet,
) -> Parsed {
    let mut walk = Walk::default();
    let begun = begin(link, bytes, (valid, frame_len), out, &mut walk);
    let parsed = to_the_end(begun, || step(bytes, out, &mut walk));
    quote(bytes, valid, out);
    parsed
}

/// Goes on from what [`begin`] answered, with a [`step`] for each header that follows, [`MAX_HEADERS`] at most.
#[inline(always)]
pub fn to_the_end(begun: Option<Parsed>, mut step: impl FnMut() -> Option<Parsed>) -> Parsed {
    let mut parsed = begun;
    for _ in 0..MAX_HEADERS {
        if parsed.is_some() {
            break;
        }
        parsed = step();
    }
    parsed.unwrap_or(Parsed::Malformed(Fault::TooDeep))
}

/// Where a parse stands between two headers.
///
/// It is kept in memory, and not in variables, for the sake of the kernel program: there each [`step`] is a call of
/// one function, which the verifier judges once, with any header anywhere. Otherwise it would follow each way through
/// one header into each way through the next.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Walk {
    next: u32,
    at: u32,
    hops_left: u32,
    resume: u32,
    frame: Bounds,
}

/// The first part of [`parse`]: the plain packet, in a straight line of link, one tag, IP, TCP or UDP. `lengths` are
/// those of the valid bytes and of the frame. `None` where more headers follow, at most [`MAX_HEADERS`], each of which
/// is for [`step`] to read.
#[inline(always)]
pub fn begin(
    link: Link,
    bytes: &[u8; HEADER_LEN],
    (valid, frame_len): (usize, usize),
    out: &mut Packet,
    walk: &mut Walk,
) -> Option<Parsed> {
    out.layer_count = 0;
    out.hop_count = 0;
    out.quotes = 0;
    out.quoted_count = 0;
    let mut frame = Frame::new(bytes, valid, frame_len);
    let mut route = Route::default();
    let next = plain(link, &mut frame, &mut route, out);
    went_on(next, &frame, &route, out, walk)
}

/// Reads one header more. `None` where another one follows.
#[inline(always)]
pub fn step(bytes: &[u8; HEADER_LEN], out: &mut Packet, walk: &mut Walk) -> Option<Parsed> {
    let mut frame = Frame::resume(bytes, walk.frame);
    let mut route = Route { hops_left: Frame::settled(walk.hops_left), resume: Frame::settled(walk.resume) };
    let next = read(Next(walk.next as u16), &mut frame, Frame::settled(walk.at), &mut route, out);
    went_on(next, &frame, &route, out, walk)
}

/// Takes note of where the parse stands, if it has not ended.
#[inline(always)]
fn went_on(
    next: Result<(Next, usize), Fault>,
    frame: &Frame<'_>,
    route: &Route,
    out: &mut Packet,
    walk: &mut Walk,
) -> Option<Parsed> {
    match next {
        Ok((Next::HIDDEN, _)) => {
            let current = out.layers_begun().wrapping_sub(1);
            Some(match out.layers.get_mut(current) {
                Some(layer) => {
                    layer.flags |= Layer::HIDDEN;
                    Parsed::Ip
                }
                None => Parsed::Malformed(Fault::Opaque),
            })
        }
        Ok((Next::END, _)) if out.layer_count == 0 => Some(Parsed::NotIp),
        Ok((Next::END, _)) => Some(Parsed::Ip),
        Ok((Next(next), at)) => {
            *walk = Walk {
                next: next.into(),
                at: at as u32,
                hops_left: route.hops_left as u32,
                resume: route.resume as u32,
                frame: frame.bounds(),
            };
            None
        }
        Err(fault) => Some(Parsed::Malformed(fault)),
    }
}

/// Reads the headers of a plain packet; what follows, and where.
#[inline(always)]
fn plain(
    link: Link,
    frame: &mut Frame<'_>,
    route: &mut Route,
    out: &mut Packet,
) -> Result<(Next, usize), Fault> {
    let (mut next, mut at) = match link {
        Link::Ethernet => ethernet::read(frame, 0, Depth::Outermost)?,
        Link::Raw => (raw(frame)?, 0),
    };
    if next == Next::VLAN {
        (next, at) = vlan::read(frame, at, Depth::Outermost)?;
    }
    match next {
        Next::IPV4 => (next, at) = ipv4::read(frame, at, 0, route, out)?,
        Next::IPV6 => (next, at) = ipv6::read(frame, at, 0, out)?,
        _ => {}
    }
    let [layer, ..] = &mut out.layers;
    if next == Next::protocol(tcp::PROTOCOL) {
        return tcp::read(frame, at, route, layer);
    }
    if next == Next::protocol(udp::PROTOCOL) {
        return udp::read(frame, at, layer);
    }
    Ok((next, at))
}

/// Whether a packet without a link header, by the first of its bytes, is of another protocol than its sender has told the
/// kernel (an EtherType). The device or the other end may go by either: PPP sends what it was told, so that a label of MPLS
/// whose first bits are 4 would be read here as IPv4 to any destination.
#[inline(always)]
#[must_use]
pub const fn contradicts(first: u8, ethertype: u16) -> bool {
    match first >> 4 {
        4 => ethertype != 0x0800,
        6 => ethertype != 0x86dd,
        _ => true,
    }
}

/// What a frame without a link header begins with.
#[inline(always)]
fn raw(frame: &Frame<'_>) -> Result<Next, Fault> {
    match frame.header::<1>(0)?[0] >> 4 {
        4 => Ok(Next::IPV4),
        6 => Ok(Next::IPV6),
        _ => Err(Fault::BadHeader),
    }
}

/// Reads one header at `at`; what follows, and where.
#[inline(always)]
fn read(
    next: Next,
    frame: &mut Frame<'_>,
    at: usize,
    route: &mut Route,
    out: &mut Packet,
) -> Result<(Next, usize), Fault> {
    match next {
        Next::IPV4 => return ipv4::read(frame, at, out.layers_begun(), route, out),
        Next::IPV6 => return ipv6::read(frame, at, out.layers_begun(), out),
        Next::ETHERNET => return ethernet::read(frame, at, Depth::Tunnelled),
        Next::VLAN => {
            let depth = if out.layers_begun() == 0 { Depth::Outermost } else { Depth::Tunnelled };
            return vlan::read(frame, at, depth);
        }
        Next::PPPOE => return pppoe::read(frame, at),
        Next::HOP => return hop(frame, at, route, out),
        _ => {}
    }
    // The rest belongs to an IP packet, which there is.
    let current = out.layers_begun().wrapping_sub(1);
    let Some(layer) = out.layers.get_mut(current) else {
        return Err(Fault::BadHeader);
    };
    match next {
        Next::IPV4_OPTION => ipv4::option(frame, at, route, layer),
        Next::TCP_OPTION => tcp::option(frame, at, route, layer),
        Next(number) if icmp::is_icmp(number as u8, layer) && current == 0 => {
            out.quotes = icmp::quotes(frame, at, layer);
            Ok((Next::END, at))
        }
        Next(number) => protocol(frame, number as u8, at, route, layer),
    }
}

/// Reads the header of an IP protocol number at `at`; what follows, and where.
#[inline(always)]
fn protocol(
    frame: &mut Frame<'_>,
    number: u8,
    at: usize,
    route: &mut Route,
    layer: &mut Layer,
) -> Result<(Next, usize), Fault> {
    if extension::is_extension(number, layer.is_ipv6()) {
        return extension::read(frame, number, at, route, layer);
    }
    match number {
        tcp::PROTOCOL => tcp::read(frame, at, route, layer),
        udp::PROTOCOL => udp::read(frame, at, layer),
        udp::PROTOCOL_LITE => udp::read_lite(frame, at, layer),
        sctp::PROTOCOL => sctp::read(frame, at, layer),
        dccp::PROTOCOL => dccp::read(frame, at, layer),
        gre::PROTOCOL => gre::read(frame, at),
        IPV4_IN_IP => Ok((Next::IPV4, at)),
        IPV6_IN_IP => Ok((Next::IPV6, at)),
        ETHERNET_IN_IP => Ok((Next::ETHERNET, at)),
        L2TP | MPLS_IN_IP | ETHER_IP | MINIMAL_IP_IN_IP | KA9Q_IP_IN_IP | ENCAP => Err(Fault::Opaque),
        _ if hides_ports(number) => Ok((Next::HIDDEN, at)),
        _ => Ok((Next::END, at)),
    }
}

/// Reads one hop of a source route at `at`; what follows, and where.
///
/// # Errors
/// [`Fault::TooDeep`] for more hops than fit, and those of [`Frame::header`].
#[inline(always)]
fn hop(frame: &Frame<'_>, at: usize, route: &mut Route, out: &mut Packet) -> Result<(Next, usize), Fault> {
    let Some(layer) = out.layers.get(out.layers_begun().wrapping_sub(1)) else {
        return Err(Fault::BadHeader);
    };
    let (ipv6, payload) = (layer.is_ipv6(), layer.payload());
    let at = if ipv6 {
        let ([hi, lo], _) = frame.header::<16>(at)?.as_chunks::<8>() else {
            return Err(Fault::TooDeep);
        };
        out.push_hop(Addr::from_v6_halves(*hi, *lo))?;
        at + 16
    } else {
        out.push_hop(Addr::from_v4_octets(*frame.header::<4>(at)?))?;
        at + 4
    };
    let left = route.hops_left;
    if left > 1 {
        route.hops_left = left - 1;
        return Ok((Next::HOP, at));
    }
    // An IPv4 route ends with its option; behind an IPv6 one the header may hold more.
    if ipv6 { Ok((payload, route.resume)) } else { Ok((Next::IPV4_OPTION, at)) }
}
