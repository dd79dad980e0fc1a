//! Ethernet frames of each kind. Their checksums are zeroes: nobody but the programs reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The other end's hardware address, which is no end's: what comes out there is looked at, and goes nowhere.
const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
/// IP protocols.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
/// Ports of both ends: dynamic ones, which no service has.
pub(super) const SOURCE_PORT: u16 = 60_143;
pub(super) const DESTINATION_PORT: u16 = 60_009;
/// Bytes of a segment of what is sent as one, and segments of it.
pub(super) const SEGMENT: u16 = 1200;
const SEGMENTS: u16 = 5;

/// A frame, and its EtherType in host order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) protocol: u16,
    pub(super) bytes: Vec<u8>,
}

/// A kind of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    UdpV4,
    TcpV4,
    IcmpV4,
    FirstFragmentV4,
    LaterFragmentV4,
    InVlan,
    Large,
    UdpV6,
    TcpV6,
    IcmpV6,
    FirstFragmentV6,
    LaterFragmentV6,
}

impl Kind {
    pub(super) const ALL: [Self; 12] = [
        Self::UdpV4,
        Self::TcpV4,
        Self::IcmpV4,
        Self::FirstFragmentV4,
        Self::LaterFragmentV4,
        Self::InVlan,
        Self::Large,
        Self::UdpV6,
        Self::TcpV6,
        Self::IcmpV6,
        Self::FirstFragmentV6,
        Self::LaterFragmentV6,
    ];

    /// Its name in the output and the docs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UdpV4 => "ipv4-udp",
            Self::TcpV4 => "ipv4-tcp-syn",
            Self::IcmpV4 => "ipv4-icmp",
            Self::FirstFragmentV4 => "ipv4-first-fragment",
            Self::LaterFragmentV4 => "ipv4-later-fragment",
            Self::InVlan => "ipv4-in-vlan",
            Self::Large => "ipv4-large-send",
            Self::UdpV6 => "ipv6-udp",
            Self::TcpV6 => "ipv6-tcp-syn",
            Self::IcmpV6 => "ipv6-icmp",
            Self::FirstFragmentV6 => "ipv6-first-fragment",
            Self::LaterFragmentV6 => "ipv6-later-fragment",
        }
    }

    pub(super) const fn is_ipv6(self) -> bool {
        matches!(
            self,
            Self::UdpV6 | Self::TcpV6 | Self::IcmpV6 | Self::FirstFragmentV6 | Self::LaterFragmentV6
        )
    }

    /// Its frame from one address to another of its family, with this mark in what it carries.
    pub(super) fn frame(self, source: IpAddr, destination: IpAddr, mark: &str) -> Frame {
        // Every fragment but the last carries a multiple of 8 bytes.
        let text = format!("Border Guard selftest {mark}  ");
        let carried = match self {
            Self::Large => large(mark),
            _ => text.into_bytes(),
        };
        // 16 bytes before it, or the first fragment with more to come (RFC 791; RFC 8200, section 4.5).
        let (later, first) = (2_u16, 0x2000_u16);
        let ip = |protocol: u8, fragment: u16, carried: &[u8]| match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ipv4(protocol, fragment, source, destination, carried)
            }
            (source, destination) => ipv6(protocol, v6(source), v6(destination), carried),
        };
        let fragment_v6 = |place: u16, carried: &[u8]| {
            let header = [&[UDP, 0][..], &place.to_be_bytes(), &[0, 0, 0, 7]].concat();
            ip(FRAGMENT, 0, &[&header[..], carried].concat())
        };
        let packet = match self {
            Self::UdpV4 | Self::UdpV6 | Self::InVlan | Self::Large => ip(UDP, 0, &udp(&carried)),
            Self::TcpV4 | Self::TcpV6 => ip(TCP, 0, &syn(&carried)),
            Self::IcmpV4 => ip(ICMP, 0, &echo(8, &carried)),
            Self::IcmpV6 => ip(ICMPV6, 0, &echo(128, &carried)),
            Self::FirstFragmentV4 => ip(UDP, first, &udp(&carried)),
            Self::LaterFragmentV4 => ip(UDP, later, &carried),
            Self::FirstFragmentV6 => fragment_v6(1, &udp(&carried)),
            Self::LaterFragmentV6 => fragment_v6(later << 3, &carried),
        };
        match self {
            Self::InVlan => {
                let tagged = [&[0_u8, 5][..], &IPV4.to_be_bytes(), &packet].concat();
                Frame { protocol: VLAN, bytes: [&TO[..], &FROM, &VLAN.to_be_bytes(), &tagged].concat() }
            }
            _ => ethernet(&packet),
        }
    }
}

/// What is sent at once and cut later: the mark again and again, so that each segment has it.
pub(super) fn large(mark: &str) -> Vec<u8> {
    mark.bytes().cycle().take(usize::from(SEGMENT) * usize::from(SEGMENTS)).collect()
}

/// An IP packet in an Ethernet frame.
pub(super) fn ethernet(packet: &[u8]) -> Frame {
    let protocol = if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 };
    Frame { protocol, bytes: [&TO[..], &FROM, &protocol.to_be_bytes(), packet].concat() }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// No kind is longer than a packet may be.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// Without options, and with a TTL of 1.
fn ipv4(protocol: u8, fragment: u16, source: Ipv4Addr, destination: Ipv4Addr, carried: &[u8]) -> Vec<u8> {
    let ([high, low], [place, rest]) = (length(carried.len() + 20), fragment.to_be_bytes());
    let fields = [0x45, 0, high, low, 0, 7, place, rest, 1, protocol, 0, 0];
    [&fields[..], &source.octets(), &destination.octets(), carried].concat()
}

fn ipv6(next: u8, source: Ipv6Addr, destination: Ipv6Addr, carried: &[u8]) -> Vec<u8> {
    let [high, low] = length(carried.len());
    [&[0x60, 0, 0, 0, high, low, next, 1][..], &source.octets(), &destination.octets(), carried].concat()
}

fn ports() -> [u8; 4] {
    let ([a, b], [c, d]) = (SOURCE_PORT.to_be_bytes(), DESTINATION_PORT.to_be_bytes());
    [a, b, c, d]
}

fn udp(carried: &[u8]) -> Vec<u8> {
    [&ports()[..], &length(carried.len() + 8), &[0, 0], carried].concat()
}

fn syn(carried: &[u8]) -> Vec<u8> {
    // Numbers, five words of header, SYN, window, checksum, no urgent data.
    [&ports()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0], carried].concat()
}

fn echo(kind: u8, carried: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 7, 0, 1][..], carried].concat()
}
