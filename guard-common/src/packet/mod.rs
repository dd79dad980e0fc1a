//! The packet parser: from the first bytes of a frame to who sends what to whom, in the outer
//! packet and in those inside it.
//!
//! The kernel program and the host run this same code. It has no `unsafe`, does not allocate, and
//! panics for no input.
//!
//! # What is read
//! Only the first [`HEADER_LEN`] bytes of the frame, by `frame::Frame::header` alone, which
//! checks each header against the end of the copied bytes. Each header has a file that names its
//! RFC and the bytes that it reads:
//!
//! | from | to |
//! | --- | --- |
//! | link | `ethernet` with VLAN tags, `pppoe`; or none ([`Link::Raw`]) |
//! | network | `ipv4` with source routes, `ipv6`; `extension` and `routing` headers |
//! | transport | `tcp`, `udp` and UDP-Lite, `sctp`, `dccp` |
//! | tunnel | IP in IP, `gre`, `vxlan`, `geneve`: the next layer is inside |
//!
//! # Which bounds hold
//! [`MAX_LAYERS`] IP packets; [`MAX_HOPS`] hops of source routes together; `MAX_HEADERS` headers
//! behind those of a plain packet, whether VLAN tags, extension headers or options: one bound, as
//! the kernel's verifier has to follow the loop as often; and no header that begins or ends behind
//! byte [`HEADER_LEN`]. What goes past one of them is [`Fault::TooDeep`], and never passes for a
//! packet that was read to its end.
//!
//! Length fields of packets place nothing. They bound the data of a first fragment, and nothing
//! else: BIG TCP sends zero in them.
//!
//! # What cannot be seen
//! Encrypted tunnels (ESP, WireGuard, MACsec), tunnels on ports of an operator's own, and the
//! micro-segments that segment routing can pack into one destination (RFC 9800).

use core::hint::black_box;

mod addr;
mod dccp;
mod ethernet;
mod extension;
mod frame;
mod geneve;
mod gre;
mod ipv4;
mod ipv6;
mod pppoe;
mod routing;
mod sctp;
mod tcp;
mod udp;
mod vlan;
mod vxlan;

use crate::search::opaque;
pub use addr::Addr;
use frame::Frame;

/// Bytes of the frame that are copied to scratch, and the most that [`parse`] reads.
pub const HEADER_LEN: usize = 256;

/// IP packets in one frame: the outer one and up to two inside it.
pub const MAX_LAYERS: usize = 3;

/// Source route hops still to come, over all layers of a frame.
pub const MAX_HOPS: usize = 8;

/// How a frame begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// With an Ethernet header.
    Ethernet,
    /// With the IP header (tun, WireGuard, PPP): its version tells IPv4 from IPv6.
    Raw,
}

/// One IP packet of a frame.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layer {
    /// Source address.
    pub src: Addr,
    /// Destination address as it stands in the IP header. The hops that a source route still has
    /// behind it are in [`Packet::hops`].
    pub dst: Addr,
    /// Source port, host order; 0 without [`HAS_PORTS`](Self::HAS_PORTS).
    pub sport: u16,
    /// Destination port, host order; 0 without [`HAS_PORTS`](Self::HAS_PORTS).
    pub dport: u16,
    /// IANA protocol number behind IP and its extension headers.
    ///
    /// Of a later IPv6 fragment it is the first header of the fragmented part, which may be an
    /// extension header.
    pub proto: u8,
    /// Byte 13 of the TCP header (RFC 9293 section 3.1): CWR, ECE, URG, ACK, PSH, RST, SYN, FIN
    /// from the highest bit; 0 without a TCP header.
    pub tcp_flags: u8,
    /// [`HAS_PORTS`](Self::HAS_PORTS), [`FRAGMENT`](Self::FRAGMENT),
    /// [`LATER_FRAGMENT`](Self::LATER_FRAGMENT), [`IPV6`](Self::IPV6).
    pub flags: u8,
    /// Zero.
    pub pad: u8,
}

impl Layer {
    /// The ports were read.
    pub const HAS_PORTS: u8 = 0x01;
    /// A fragment, the first one or a later one. An atomic fragment (RFC 6946) is none.
    pub const FRAGMENT: u8 = 0x02;
    /// A fragment behind the first one: it has no ports, and nothing inside it is read.
    pub const LATER_FRAGMENT: u8 = 0x04;
    /// The addresses came in an IPv6 header.
    pub const IPV6: u8 = 0x08;

    #[inline(always)]
    const fn is_ipv6(&self) -> bool {
        self.flags & Self::IPV6 != 0
    }

    #[inline(always)]
    fn set_ports(&mut self, sport: [u8; 2], dport: [u8; 2]) {
        self.sport = u16::from_be_bytes(sport);
        self.dport = u16::from_be_bytes(dport);
        self.flags |= Self::HAS_PORTS;
    }

    /// What follows the IP header and its options, or the extension header read last.
    #[inline(always)]
    const fn payload(&self) -> Next {
        if self.flags & Self::LATER_FRAGMENT == 0 { Next::protocol(self.proto) } else { Next::END }
    }
}

/// What [`parse`] found in a frame.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// The IP packets, the outermost first; those from `layer_count` on are left from another
    /// frame.
    pub layers: [Layer; MAX_LAYERS],
    /// The hops still to come of all source routes; those from `hop_count` on are left from
    /// another frame.
    pub hops: [Addr; MAX_HOPS],
    /// IP packets found, at most [`MAX_LAYERS`].
    pub layer_count: u32,
    /// Hops found, at most [`MAX_HOPS`].
    pub hop_count: u32,
}

const _: () = {
    assert!(size_of::<Addr>() == 16);
    assert!(size_of::<Layer>() == 40);
    assert!(size_of::<Packet>() == 256);
};

/// How the parse ended. The packet holds what was found up to there, whichever it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A whole frame without an IP packet; there are no layers.
    NotIp,
    /// At least one IP packet, and nothing wrong with any.
    Ip,
    /// The frame could not be read to its end, so it may go elsewhere than the layers say.
    Malformed(Fault),
}

impl Parsed {
    /// The same as a number: 0 for not IP, 1 for IP, 2 and up for the faults.
    #[inline(always)]
    pub const fn code(self) -> u32 {
        match self {
            Self::NotIp => 0,
            Self::Ip => 1,
            Self::Malformed(fault) => 2 + fault as u32,
        }
    }

    /// What has this number; a number that nothing has is a frame that could not be read.
    #[inline(always)]
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::NotIp,
            1 => Self::Ip,
            2 => Self::Malformed(Fault::Truncated),
            3 => Self::Malformed(Fault::BadHeader),
            4 => Self::Malformed(Fault::TooDeep),
            5 => Self::Malformed(Fault::TinyFragment),
            _ => Self::Malformed(Fault::Opaque),
        }
    }
}

/// Why a frame could not be read to its end.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fault {
    /// The frame ends inside a header.
    Truncated,
    /// A version or length in a header that cannot be, or a broken option.
    BadHeader,
    /// More layers, VLAN tags, extension headers or hops than the parser follows, or a header
    /// past the bytes that were copied.
    TooDeep,
    /// A first fragment that ends before the ports, inside the chain of extension headers, or
    /// inside what it tunnels (RFC 1858, RFC 7112): the fragment that follows would tell.
    TinyFragment,
    /// An encapsulation that can carry IP in a way that is not read here, or a source route that
    /// is not.
    Opaque,
}

/// What comes next in a frame: a header of its own kind, or the one of an IP protocol number.
///
/// A number and no enum, so that the walk can make the verifier forget which one it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Next(u16);

impl Next {
    /// Nothing that is read.
    const END: Self = Self(0x100);
    const ETHERNET: Self = Self(0x101);
    /// A VLAN tag, from behind its EtherType.
    const VLAN: Self = Self(0x102);
    const PPPOE: Self = Self(0x103);
    const IPV4: Self = Self(0x104);
    /// An option of the IPv4 header, or the end of that header.
    const IPV4_OPTION: Self = Self(0x105);
    const IPV6: Self = Self(0x106);
    /// An address of a source route.
    const HOP: Self = Self(0x107);

    #[inline(always)]
    const fn protocol(number: u8) -> Self {
        Self(number as u16)
    }
}

/// The source route that is being read.
#[derive(Default)]
struct Route {
    /// Hops still to read.
    hops_left: usize,
    /// Where the header ends that holds the route.
    resume: usize,
}

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
/// An Ethernet frame (RFC 8986 section 10.1).
const ETHERNET_IN_IP: u8 = 143;
/// L2TPv3 (RFC 3931 section 4.1.1): what it carries is known to its two ends only.
const L2TP: u8 = 115;
/// MPLS (RFC 4023).
const MPLS_IN_IP: u8 = 137;

/// Headers between the first ones of a plain packet and the last one of a frame. Each VLAN tag,
/// extension header, IPv4 option and hop counts as one.
const MAX_HEADERS: usize = 32;

impl Packet {
    /// The IP packets that were found, the outermost first.
    pub fn layers(&self) -> &[Layer] {
        self.layers.get(..self.layer_count as usize).unwrap_or(&self.layers)
    }

    /// The source route hops still to come that were found.
    pub fn hops(&self) -> &[Addr] {
        self.hops.get(..self.hop_count as usize).unwrap_or(&self.hops)
    }

    /// The layer count, read from memory at each call: an index that is compared and used in one place,
    /// for the verifier's sake as in [`Frame::header`].
    #[inline(always)]
    fn layers_begun(&self) -> usize {
        opaque(self.layer_count.into()) as usize
    }

    /// Begins the layer of this index, the next one.
    ///
    /// # Errors
    /// [`Fault::TooDeep`] past [`MAX_LAYERS`].
    #[inline(always)]
    fn begin_layer(&mut self, index: usize, src: Addr, dst: Addr, proto: u8, flags: u8) -> Result<(), Fault> {
        let Some(layer) = self.layers.get_mut(index) else {
            return Err(Fault::TooDeep);
        };
        *layer = Layer { src, dst, sport: 0, dport: 0, proto, tcp_flags: 0, flags, pad: 0 };
        self.layer_count = index as u32 + 1;
        Ok(())
    }

    #[inline(always)]
    fn push_hop(&mut self, hop: Addr) -> Result<(), Fault> {
        let index = opaque(self.hop_count.into()) as usize;
        let Some(slot) = self.hops.get_mut(index) else {
            return Err(Fault::TooDeep);
        };
        *slot = hop;
        self.hop_count += 1;
        Ok(())
    }
}

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
    out.layer_count = 0;
    out.hop_count = 0;
    match walk(link, &mut Frame::new(bytes, valid, frame_len), out) {
        Ok(()) if out.layer_count == 0 => Parsed::NotIp,
        Ok(()) => Parsed::Ip,
        Err(fault) => Parsed::Malformed(fault),
    }
}

/// Reads one header after the other until nothing follows.
#[inline(always)]
fn walk(link: Link, frame: &mut Frame<'_>, out: &mut Packet) -> Result<(), Fault> {
    let mut route = Route::default();
    // The plain packet, in a straight line: link, one tag, IP, TCP or UDP.
    let (mut next, mut at) = match link {
        Link::Ethernet => ethernet::read(frame, 0)?,
        Link::Raw => (raw(frame)?, 0),
    };
    if next == Next::VLAN {
        (next, at) = vlan::read(frame, at)?;
    }
    match next {
        Next::IPV4 => (next, at) = ipv4::read(frame, at, 0, &mut route, out)?,
        Next::IPV6 => (next, at) = ipv6::read(frame, at, 0, out)?,
        _ => {}
    }
    let [layer, ..] = &mut out.layers;
    if next == Next::protocol(tcp::PROTOCOL) {
        tcp::read(frame, at, layer)?;
        return Ok(());
    }
    if next == Next::protocol(udp::PROTOCOL) {
        (next, at) = udp::read(frame, at, layer)?;
    }
    if next == Next::END {
        return Ok(());
    }
    // All else, one header a round. In each round the verifier sees the same: any header, anywhere
    // in the copied bytes, in any layer (the counts in `out` are read from memory again). So its
    // work is the rounds times the code, and not every combination of headers.
    let zero = frame.unknown_zero();
    for _ in 0..MAX_HEADERS {
        let out = black_box(&mut *out);
        let numbers = [usize::from(next.0), at, route.hops_left, route.resume];
        let [number, offset, hops_left, resume] = frame.settle(zero, numbers);
        (next, at, route) = (Next(number as u16), offset, Route { hops_left, resume });
        (next, at) = read(next, frame, at, &mut route, out)?;
        if next == Next::END {
            return Ok(());
        }
    }
    Err(Fault::TooDeep)
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
        Next::ETHERNET => return ethernet::read(frame, at),
        Next::VLAN => return vlan::read(frame, at),
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
        tcp::PROTOCOL => tcp::read(frame, at, layer),
        udp::PROTOCOL => udp::read(frame, at, layer),
        udp::PROTOCOL_LITE => udp::read_lite(frame, at, layer),
        sctp::PROTOCOL => sctp::read(frame, at, layer),
        dccp::PROTOCOL => dccp::read(frame, at, layer),
        gre::PROTOCOL => gre::read(frame, at),
        IPV4_IN_IP => Ok((Next::IPV4, at)),
        IPV6_IN_IP => Ok((Next::IPV6, at)),
        ETHERNET_IN_IP => Ok((Next::ETHERNET, at)),
        L2TP | MPLS_IN_IP => Err(Fault::Opaque),
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

#[cfg(test)]
mod tests;
