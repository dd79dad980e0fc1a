//! One layer of a packet, and what it is to the layers next to it.
use super::around::Around;
use super::checksum::Pseudo;
use super::ipv4::Ipv4;
use super::ipv6::{AuthHeader, Ipv6, Ipv6Fragment, Options, Routing};
use super::link::{Ethernet, Vlan};
use super::transport::{Echo, Sctp, Tcp, Udp};
use super::tunnel::{Geneve, Gre, Vxlan};

/// One layer of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is named after the type that it holds, which is documented")]
pub enum Layer {
    Ethernet(Ethernet),
    Vlan(Vlan),
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    HopByHop(Options),
    DestinationOptions(Options),
    Routing(Routing),
    Ipv6Fragment(Ipv6Fragment),
    AuthHeader(AuthHeader),
    Tcp(Tcp),
    Udp(Udp),
    Sctp(Sctp),
    Echo(Echo),
    Vxlan(Vxlan),
    Geneve(Geneve),
    Gre(Gre),
    Payload(Vec<u8>),
}

/// Lets a layer's type be given wherever a [`Layer`] is wanted.
macro_rules! layers {
    ($($name:ident),*) => {$(
        impl From<$name> for Layer {
            fn from(layer: $name) -> Self {
                Layer::$name(layer)
            }
        }
    )*};
}
layers!(
    Ethernet,
    Vlan,
    Ipv4,
    Ipv6,
    Routing,
    Ipv6Fragment,
    AuthHeader,
    Tcp,
    Udp,
    Sctp,
    Echo,
    Vxlan,
    Geneve,
    Gre
);

impl Layer {
    /// How an EtherType field names this layer; 0x88b5 (for experiments) where none is assigned.
    fn ether_type(&self) -> u16 {
        match self {
            Layer::Vlan(vlan) => vlan.tag_type,
            Layer::Ipv4(_) => 0x0800,
            Layer::Ipv6(_) => 0x86dd,
            Layer::Ethernet(_) => 0x6558, // Transparent Ethernet Bridging, in GRE and Geneve
            _ => 0x88b5,
        }
    }

    /// How an IPv4 protocol or IPv6 next header field names this layer; 253 (for experiments,
    /// RFC 3692) where none is assigned.
    fn ip_number(&self, outer: &[Layer]) -> u8 {
        match self {
            Layer::HopByHop(_) => 0,
            Layer::Echo(_) if matches!(enclosing_ip(outer), Some(Layer::Ipv6(_))) => 58,
            Layer::Echo(_) => 1,
            Layer::Ipv4(_) => 4,
            Layer::Tcp(_) => 6,
            Layer::Udp(_) => 17,
            Layer::Ipv6(_) => 41,
            Layer::Routing(_) => 43,
            Layer::Ipv6Fragment(_) => 44,
            Layer::Gre(_) => 47,
            Layer::AuthHeader(_) => 51,
            Layer::DestinationOptions(_) => 60,
            Layer::Sctp(_) => 132,
            Layer::Ethernet(_) => 143,
            Layer::Vlan(_) | Layer::Vxlan(_) | Layer::Geneve(_) | Layer::Payload(_) => 253,
        }
    }

    /// Puts a layer around what is inside it.
    pub(super) fn wrap(&self, around: &Around, inside: Vec<u8>) -> Vec<u8> {
        let header = match self {
            Layer::Ethernet(ethernet) => ethernet.header(around),
            Layer::Vlan(vlan) => vlan.header(around),
            Layer::Ipv4(ipv4) => ipv4.header(around, &inside),
            Layer::Ipv6(ipv6) => ipv6.header(around, &inside),
            Layer::HopByHop(options) | Layer::DestinationOptions(options) => options.header(around),
            Layer::Routing(routing) => routing.header(around),
            Layer::Ipv6Fragment(fragment) => fragment.header(around),
            Layer::AuthHeader(auth) => auth.header(around),
            Layer::Tcp(tcp) => tcp.header(around, &inside),
            Layer::Udp(udp) => udp.header(around, &inside),
            Layer::Echo(echo) => echo.header(around, &inside),
            Layer::Vxlan(vxlan) => vxlan.header(),
            Layer::Geneve(geneve) => geneve.header(around),
            Layer::Gre(gre) => gre.header(around, &inside),
            Layer::Payload(bytes) => bytes.clone(),
            // SCTP pads behind its data, so it writes the whole.
            Layer::Sctp(sctp) => return sctp.packet(&inside),
        };
        [header, inside].concat()
    }
}

/// What the layer at this place sees of the others; `layers` are all of the packet, outermost first.
pub(super) fn around(layers: &[Layer], at: usize) -> Around {
    let next = layers.get(at + 1);
    let through_here = layers.get(..=at).unwrap_or(layers);
    Around {
        next_ether_type: next.map_or(0x88b5, Layer::ether_type),
        next_ip_number: next.map_or(59, |next| next.ip_number(through_here)),
        pseudo: layers.get(..at).and_then(pseudo_header),
    }
}

/// The nearest IP layer around a layer.
fn enclosing_ip(outer: &[Layer]) -> Option<&Layer> {
    outer.iter().rev().find(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
}

/// The pseudo header that the nearest IP layer makes. Under a source route that is not used up, the
/// destination is the route's last one, not the next hop in the IP header.
fn pseudo_header(outer: &[Layer]) -> Option<Pseudo> {
    let mut last_hop = None;
    outer.iter().rev().find_map(|layer| match layer {
        Layer::Routing(routing) => {
            last_hop = last_hop.or(routing.final_destination());
            None
        }
        Layer::Ipv4(ip) => {
            Some(Pseudo::V4 { source: ip.source.octets(), destination: ip.final_destination().octets() })
        }
        Layer::Ipv6(ip) => Some(Pseudo::V6 {
            source: ip.source.octets(),
            destination: last_hop.unwrap_or(ip.destination).octets(),
        }),
        _ => None,
    })
}
