//! IP protocols: which carry packets, and which have ports (IANA "Protocol Numbers").

use super::types::Layer;
use super::{dccp, gre, sctp, tcp, udp};

pub(super) const IPV4_IN_IP: u8 = 4;
pub(super) const IPV6_IN_IP: u8 = 41;
/// An Ethernet frame (RFC 8986 section 10.1).
pub(super) const ETHERNET_IN_IP: u8 = 143;
/// L2TPv3 (RFC 3931 section 4.1.1): what it carries is known to its two ends only.
pub(super) const L2TP: u8 = 115;
/// MPLS (RFC 4023).
pub(super) const MPLS_IN_IP: u8 = 137;
/// EtherIP (RFC 3378): an Ethernet frame behind two bytes.
pub(super) const ETHER_IP: u8 = 97;

/// IP in IP with a header of its own between: minimal encapsulation (RFC 2004), KA9Q's, and the one of RFC 1241.
pub(super) const MINIMAL_IP_IN_IP: u8 = 55;
pub(super) const KA9Q_IP_IN_IP: u8 = 94;
pub(super) const ENCAP: u8 = 98;

/// Whether packets of this protocol are known to have no ports, inside or out: ICMP, IGMP, RSVP,
/// ICMPv6, no next header, OSPF, VRRP (IANA "Protocol Numbers").
#[inline(always)]
pub(super) const fn has_no_ports(protocol: u8) -> bool {
    matches!(protocol, 1 | 2 | 46 | 58 | 59 | 89 | 112)
}

/// Whether this protocol's header begins with ports that are read.
#[inline(always)]
pub(super) const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, tcp::PROTOCOL | udp::PROTOCOL | udp::PROTOCOL_LITE | sctp::PROTOCOL | dccp::PROTOCOL)
}

/// Whether a whole packet of this protocol may have ports that nobody can read: it is encrypted, compressed or
/// not known here. What is inside a tunnel that is read has ports of its own.
#[inline(always)]
#[must_use]
pub const fn hides_ports(protocol: u8) -> bool {
    let is_read = matches!(protocol, IPV4_IN_IP | IPV6_IN_IP | ETHERNET_IN_IP | gre::PROTOCOL);
    !(is_read || has_ports(protocol) || has_no_ports(protocol))
}

/// [`Layer::HIDDEN`] for a later IPv4 fragment of this protocol, which is the whole packet's (RFC 791
/// section 3.2): unless it is known to have no ports, or those that it has are of this protocol. A UDP datagram may be
/// a tunnel's.
#[inline(always)]
pub(super) const fn hidden_in_fragment(protocol: u8) -> u8 {
    let is_plain = has_no_ports(protocol) || (has_ports(protocol) && protocol != udp::PROTOCOL);
    if is_plain { 0 } else { Layer::HIDDEN }
}
