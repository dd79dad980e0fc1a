//! The packet parser: from the first bytes of a frame to who sends what to whom, in the outer
//! packet and in those inside it.
//!
//! The kernel program and the host run this same code. It has no `unsafe`, does not allocate, and
//! panics for no input.
//!
//! # What is read
//! Only the first [`HEADER_LEN`] bytes of the frame, by [`frame::Frame::header`] alone, which
//! checks each header against the end of the copied bytes. Each header has a file that names its
//! RFC and the bytes that it reads:
//!
//! | from | to |
//! | --- | --- |
//! | link | [`ethernet`] with VLAN tags, [`pppoe`]; or none ([`Link::Raw`]) |
//! | network | [`ipv4`] with source routes, [`ipv6`]; [`extension`] and [`routing`] headers |
//! | transport | [`tcp`], [`udp`] and UDP-Lite, [`sctp`], [`dccp`] |
//! | tunnel | IP in IP, [`gre`], [`vxlan`], [`geneve`]: the next layer is inside |
//!
//! # Which bounds hold
//! [`MAX_LAYERS`] IP packets, each with at most 4 VLAN tags before it, 40 bytes of IPv4 options or
//! 8 extension headers; [`MAX_HOPS`] hops of source routes together; no header that begins or ends
//! behind byte [`HEADER_LEN`]. What goes past one of them is [`Fault::TooDeep`], and never passes
//! for a packet that was read to its end.
//!
//! Length fields of packets place nothing. They bound the data of a first fragment, and nothing
//! else: BIG TCP sends zero in them.
//!
//! # What cannot be seen
//! Encrypted tunnels (ESP, WireGuard, MACsec), tunnels on ports of an operator's own, and the
//! micro-segments that segment routing can pack into one destination (RFC 9800).

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
mod vxlan;

pub use addr::Addr;
use frame::{Frame, settled};

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

/// What comes next in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Nothing that is an IP packet.
    End,
    Ethernet,
    Ipv4,
    Ipv6,
}

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
/// An Ethernet frame (RFC 8986 section 10.1).
const ETHERNET_IN_IP: u8 = 143;
/// L2TPv3 (RFC 3931 section 4.1.1): what it carries is known to its two ends only.
const L2TP: u8 = 115;
/// MPLS (RFC 4023).
const MPLS_IN_IP: u8 = 137;

impl Packet {
    /// The IP packets that were found, the outermost first.
    pub fn layers(&self) -> &[Layer] {
        self.layers.get(..self.layer_count as usize).unwrap_or(&self.layers)
    }

    /// The source route hops still to come that were found.
    pub fn hops(&self) -> &[Addr] {
        self.hops.get(..self.hop_count as usize).unwrap_or(&self.hops)
    }

    #[inline(always)]
    fn begin_layer(&mut self, index: usize, src: Addr, dst: Addr, proto: u8, flags: u8) {
        if let Some(layer) = self.layers.get_mut(index) {
            *layer = Layer { src, dst, sport: 0, dport: 0, proto, tcp_flags: 0, flags, pad: 0 };
            self.layer_count = index as u32 + 1;
        }
    }

    #[inline(always)]
    fn mark(&mut self, index: usize, flags: u8) {
        if let Some(layer) = self.layers.get_mut(index) {
            layer.flags |= flags;
        }
    }

    #[inline(always)]
    fn set_protocol(&mut self, index: usize, proto: u8) {
        if let Some(layer) = self.layers.get_mut(index) {
            layer.proto = proto;
        }
    }

    #[inline(always)]
    fn set_ports(&mut self, index: usize, sport: u16, dport: u16, tcp_flags: u8) {
        if let Some(layer) = self.layers.get_mut(index) {
            layer.sport = sport;
            layer.dport = dport;
            layer.tcp_flags = tcp_flags;
            layer.flags |= Layer::HAS_PORTS;
        }
    }

    #[inline(always)]
    fn is_later_fragment(&self, index: usize) -> bool {
        self.layers.get(index).is_some_and(|layer| layer.flags & Layer::LATER_FRAGMENT != 0)
    }

    #[inline(always)]
    fn push_hop(&mut self, hop: Addr) -> Result<(), Fault> {
        let Some(slot) = self.hops.get_mut(self.hop_count as usize) else {
            return Err(Fault::TooDeep);
        };
        *slot = hop;
        self.hop_count += 1;
        Ok(())
    }

    /// Whether a layer is the first fragment of its packet, so that what is missing may follow in
    /// another frame.
    #[inline(always)]
    fn has_first_fragment(&self) -> bool {
        let mut found = false;
        for (index, layer) in self.layers.iter().enumerate() {
            let kind = layer.flags & (Layer::FRAGMENT | Layer::LATER_FRAGMENT);
            found |= index < self.layer_count as usize && kind == Layer::FRAGMENT;
        }
        found
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
        Err(Fault::Truncated) if out.has_first_fragment() => Parsed::Malformed(Fault::TinyFragment),
        Err(fault) => Parsed::Malformed(fault),
    }
}

/// One round for each IP packet: what is before it on the link, it, its transport, and whether
/// that holds another.
#[inline(always)]
fn walk(link: Link, frame: &mut Frame<'_>, out: &mut Packet) -> Result<(), Fault> {
    let (mut next, mut at) = match link {
        Link::Ethernet => (Next::Ethernet, 0),
        Link::Raw => (raw(frame)?, 0),
    };
    for index in 0..MAX_LAYERS {
        if next == Next::Ethernet {
            (next, at) = ethernet::read(frame, at)?;
        }
        let start = at;
        let payload = match next {
            Next::Ipv4 => ipv4::read(frame, at, index, out)?,
            Next::Ipv6 => ipv6::read(frame, at, index, out)?,
            Next::End | Next::Ethernet => return Ok(()),
        };
        let (protocol, payload) = extension::walk(frame, start, payload, index, out)?;
        if out.is_later_fragment(index) {
            return Ok(());
        }
        (next, at) = transport(frame, protocol, payload, index, out)?;
        if next == Next::End {
            return Ok(());
        }
        at = settled(at);
    }
    Err(Fault::TooDeep)
}

/// What a frame without a link header begins with.
#[inline(always)]
fn raw(frame: &Frame<'_>) -> Result<Next, Fault> {
    match frame.header::<1>(0)?[0] >> 4 {
        4 => Ok(Next::Ipv4),
        6 => Ok(Next::Ipv6),
        _ => Err(Fault::BadHeader),
    }
}

/// Reads the transport header at `at` into layer `index`; what is inside it, and where.
#[inline(always)]
fn transport(
    frame: &Frame<'_>,
    protocol: u8,
    at: usize,
    index: usize,
    out: &mut Packet,
) -> Result<(Next, usize), Fault> {
    match protocol {
        tcp::PROTOCOL => tcp::read(frame, at, index, out)?,
        udp::PROTOCOL => {
            let dport = udp::read(frame, at, index, out)?;
            return udp::tunnel(frame, at + 8, dport, out);
        }
        udp::PROTOCOL_LITE => {
            udp::read(frame, at, index, out)?;
        }
        sctp::PROTOCOL => sctp::read(frame, at, index, out)?,
        dccp::PROTOCOL => dccp::read(frame, at, index, out)?,
        gre::PROTOCOL => return gre::read(frame, at),
        IPV4_IN_IP => return Ok((Next::Ipv4, at)),
        IPV6_IN_IP => return Ok((Next::Ipv6, at)),
        ETHERNET_IN_IP => return Ok((Next::Ethernet, at)),
        L2TP | MPLS_IN_IP => return Err(Fault::Opaque),
        _ => {}
    }
    Ok((Next::End, at))
}
