//! What is found in a frame.

use super::addr::Addr;
use super::next::Next;
use crate::search::opaque;

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
    /// [`LATER_FRAGMENT`](Self::LATER_FRAGMENT), [`IPV6`](Self::IPV6),
    /// [`OTHER_PORTS`](Self::OTHER_PORTS), [`HIDDEN`](Self::HIDDEN).
    pub flags: u8,
    /// Where the data of a UDP header with the destination port of a tunnel begins in the frame, in units of two bytes;
    /// 0 where there is no such header.
    pub tunnel: u8,
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
    /// A TCP segment of a connection that may have begun at other ports: it has an MPTCP option
    /// (RFC 8684 section 3), and each path of such a connection has ports of its own.
    pub const OTHER_PORTS: u8 = 0x10;
    /// Nobody can tell which transport this is, and by which ports: it is encrypted or compressed
    /// (ESP, IPComp), of a protocol that is not known here, or a later fragment that may be any.
    pub const HIDDEN: u8 = 0x20;

    #[inline(always)]
    pub(super) const fn is_ipv6(&self) -> bool {
        self.flags & Self::IPV6 != 0
    }

    #[inline(always)]
    pub(super) fn set_ports(&mut self, sport: [u8; 2], dport: [u8; 2]) {
        self.sport = u16::from_be_bytes(sport);
        self.dport = u16::from_be_bytes(dport);
        self.flags |= Self::HAS_PORTS;
    }

    /// What follows the IP header and its options, or the extension header read last.
    #[inline(always)]
    pub(super) const fn payload(&self) -> Next {
        if self.flags & Self::LATER_FRAGMENT == 0 { Next::protocol(self.proto) } else { Next::END }
    }
}

/// What a datagram begins with that the kernel cuts out of a larger one: see [`segment`](super::segment).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// No tunnel's header.
    Other,
    /// The header of a tunnel that is not read.
    Tunnel,
    /// A tunnel's header, behind which an Ethernet frame may be, so many bytes from the datagram's begin.
    Ethernet(u16),
    /// Likewise an IP packet.
    Ip(u16),
}

impl Begin {
    /// As a number: 0 and 1, and 2 and 3 with the bytes above the lowest eight bits.
    #[inline(always)]
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Other => 0,
            Self::Tunnel => 1,
            Self::Ethernet(at) => 2 | (at as u32) << 8,
            Self::Ip(at) => 3 | (at as u32) << 8,
        }
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
    /// The packet that the ICMP error quotes, as it was sent: not mirrored. It stands between the counts, for four numbers
    /// side by side that every parse sets to 0 would be a call of `memset` in the kernel program.
    pub quoted: Layer,
    /// Where in the frame the packet begins that an ICMP error quotes, in bytes; 0 where the outermost layer is no whole
    /// ICMP error, or begins behind the bytes that were copied.
    pub quotes: u32,
    /// 1 where `quoted` was read, else 0: [`quote`](super::quote).
    pub quoted_count: u32,
}

const _: () = {
    assert!(size_of::<Addr>() == 16);
    assert!(size_of::<Layer>() == 40);
    assert!(size_of::<Packet>() == 304);
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
    pub(super) fn layers_begun(&self) -> usize {
        opaque(self.layer_count.into()) as usize
    }

    /// Begins the layer of this index, the next one.
    ///
    /// # Errors
    /// [`Fault::TooDeep`] past [`MAX_LAYERS`].
    #[inline(always)]
    pub(super) fn begin_layer(
        &mut self,
        index: usize,
        src: Addr,
        dst: Addr,
        proto: u8,
        flags: u8,
    ) -> Result<(), Fault> {
        let Some(layer) = self.layers.get_mut(index) else {
            return Err(Fault::TooDeep);
        };
        *layer = Layer { src, dst, sport: 0, dport: 0, proto, tcp_flags: 0, flags, tunnel: 0 };
        self.layer_count = index as u32 + 1;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn push_hop(&mut self, hop: Addr) -> Result<(), Fault> {
        let index = opaque(self.hop_count.into()) as usize;
        let Some(slot) = self.hops.get_mut(index) else {
            return Err(Fault::TooDeep);
        };
        *slot = hop;
        self.hop_count += 1;
        Ok(())
    }
}
