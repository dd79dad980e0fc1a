//! The IP packet that a canary is.

use std::net::IpAddr;

use crate::config::policy::Protocol;

/// The begin of what a canary carries, for who sees it in a capture; its number follows.
const TEXT: &[u8] = b"Border Guard canary ";

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where it seems to come from; of the same family as the destination.
    pub source: IpAddr,
    /// A documentation address.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

/// The packet of a flow that carries this number. No router forwards it, for its TTL or hop limit is 1 (RFC 1812, section
/// 5.3.1; RFC 8200, section 3), and no host takes it up: the checksums are zeroes, which of an IPv4 header
/// is wrong (RFC 1122, section 3.2.1.2), as it is of a transport header but for UDP over IPv4.
#[must_use]
pub fn packet(flow: &Flow, number: u64) -> Vec<u8> {
    let mut segment = transport(flow);
    segment.extend_from_slice(TEXT);
    segment.extend_from_slice(super::name(number).as_bytes());
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    if matches!(flow.protocol, Protocol::Udp | Protocol::UdpLite)
        && let Some(field) = segment.get_mut(4..6)
    {
        field.copy_from_slice(&length.to_be_bytes());
    }
    let mut packet = header(flow, length);
    packet.extend(segment);
    packet
}

fn header(flow: &Flow, length: u16) -> Vec<u8> {
    let protocol = flow.protocol.number();
    match (flow.source, flow.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = (length + 20).to_be_bytes();
            // Don't fragment.
            let fields = [0x45, 0, high, low, 0, 0, 0x40, 0, 1, protocol, 0, 0];
            [&fields[..], &source.octets(), &destination.octets()].concat()
        }
        (source, destination) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let [high, low] = length.to_be_bytes();
            let fields = [0x60, 0, 0, 0, high, low, protocol, 1];
            [&fields[..], &octets(source), &octets(destination)].concat()
        }
    }
}

/// The transport header, with its ports and the least beside them.
fn transport(flow: &Flow) -> Vec<u8> {
    let ports = [flow.sport.to_be_bytes(), flow.dport.to_be_bytes()].concat();
    let rest: &[u8] = match flow.protocol {
        // A reset, which opens nothing: numbers, five words of header, RST, window, checksum, no urgent data.
        Protocol::Tcp => &[0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x04, 0, 0, 0, 0, 0, 0],
        Protocol::Udp | Protocol::UdpLite => &[0; 4],
        Protocol::Sctp => &[0; 8],
        // Four words of header; a reset with a long sequence number (RFC 4340, section 5.1).
        Protocol::Dccp => &[4, 0, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0],
    };
    [&ports, rest].concat()
}
