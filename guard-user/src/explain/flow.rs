//! A packet from what a person says of it: addresses, ports, protocol.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use guard_common::packet::{Layer, Packet, hides_ports};

use crate::config::policy::Protocol;

/// ICMP and ICMPv6 (RFC 792, RFC 4443): what a flow without ports is taken for.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// GRE (RFC 2784) and ESP (RFC 4303).
const GRE: u8 = 47;
const ESP: u8 = 50;

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The address.
    pub address: IpAddr,
    /// The port, where one was named.
    pub port: Option<u16>,
}

/// The text is no end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no address with or without a port: write 192.0.2.10, 192.0.2.10:143, 2001:db8::1 or [2001:db8::1]:143"
)]
pub struct BadEnd(String);

impl FromStr for End {
    type Err = BadEnd;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok();
        if let Ok(socket) = text.parse::<SocketAddr>()
            && !text.contains('%')
        {
            return Ok(Self { address: socket.ip(), port: Some(socket.port()) });
        }
        let address = text.parse().ok().or_else(|| bracketed().map(IpAddr::V6));
        address.map(|address| Self { address, port: None }).ok_or_else(|| BadEnd(text.to_owned()))
    }
}

/// A transport protocol by its number in the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolNumber(pub u8);

/// The text is no protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no protocol: name tcp, udp, sctp, udplite, dccp, icmp, icmpv6, gre or esp, or give its number (0 to 255)"
)]
pub struct BadProtocol(String);

impl FromStr for ProtocolNumber {
    type Err = BadProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named =
            Protocol::ALL.iter().find(|protocol| protocol.name() == text).map(|protocol| protocol.number());
        let other = || match text {
            "icmp" => Some(ICMP),
            "icmpv6" => Some(ICMPV6),
            "gre" => Some(GRE),
            "esp" => Some(ESP),
            number => number.parse().ok(),
        };
        named.or_else(other).map(Self).ok_or_else(|| BadProtocol(text.to_owned()))
    }
}

/// The name of a protocol, or its number.
pub(super) fn protocol_name(number: u8) -> String {
    match Protocol::ALL.iter().find(|protocol| protocol.number() == number) {
        Some(protocol) => protocol.name().to_owned(),
        None => match number {
            ICMP => "icmp".to_owned(),
            ICMPV6 => "icmpv6".to_owned(),
            GRE => "gre".to_owned(),
            ESP => "esp".to_owned(),
            other => format!("protocol {other}"),
        },
    }
}

/// A port with its protocol, as configs write it.
pub(super) fn transport(protocol: u8, port: u16) -> String {
    format!("{}/{port}", protocol_name(protocol))
}

/// What a person says of a flow can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFlow {
    /// One end is IPv4 and the other IPv6.
    #[error("--from and --to are of different families: no packet has an IPv4 and an IPv6 address")]
    Families,
    /// A port was named for a protocol that has none.
    #[error("the protocol has no ports: leave the ports out, or name another protocol with --proto")]
    NoPorts,
}

/// One packet of a flow. Without a protocol it is TCP where a port is named, else ICMP; a port that is not
/// named is 0.
///
/// # Errors
/// Where no packet can be so.
pub fn packet(from: End, to: End, protocol: Option<ProtocolNumber>) -> Result<Packet, BadFlow> {
    let ipv6 = from.address.is_ipv6();
    if ipv6 != to.address.is_ipv6() {
        return Err(BadFlow::Families);
    }
    let named_port = from.port.is_some() || to.port.is_some();
    let proto = match protocol {
        Some(ProtocolNumber(number)) => number,
        None if named_port => Protocol::Tcp.number(),
        None if ipv6 => ICMPV6,
        None => ICMP,
    };
    let has_ports = Protocol::ALL.iter().any(|protocol| protocol.number() == proto);
    if named_port && !has_ports {
        return Err(BadFlow::NoPorts);
    }
    let layer = Layer {
        src: from.address.into(),
        dst: to.address.into(),
        sport: from.port.unwrap_or(0),
        dport: to.port.unwrap_or(0),
        proto,
        flags: flag(has_ports, Layer::HAS_PORTS)
            | flag(ipv6, Layer::IPV6)
            | flag(hides_ports(proto), Layer::HIDDEN),
        ..Layer::default()
    };
    let mut packet = Packet { layer_count: 1, ..Packet::default() };
    packet.layers[0] = layer;
    Ok(packet)
}

/// The flag, if it is to be set.
const fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

/// A layer in words: who sends what to whom.
pub(super) struct LayerWords<'a>(pub(super) &'a Layer);

impl fmt::Display for LayerWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = self.0;
        let (src, dst) = (IpAddr::from(layer.src), IpAddr::from(layer.dst));
        let name = protocol_name(layer.proto);
        match layer.flags & Layer::HAS_PORTS != 0 {
            true => {
                write!(
                    f,
                    "{name} from {} to {}",
                    SocketAddr::new(src, layer.sport),
                    SocketAddr::new(dst, layer.dport)
                )
            }
            false => write!(f, "{name} from {src} to {dst}"),
        }?;
        match layer.flags & (Layer::FRAGMENT | Layer::LATER_FRAGMENT) {
            0 => {}
            Layer::FRAGMENT => f.write_str(", a first fragment")?,
            _ => f.write_str(", a later fragment")?,
        }
        match layer.flags & Layer::OTHER_PORTS {
            0 => Ok(()),
            _ => f.write_str(", of a Multipath TCP connection"),
        }
    }
}
