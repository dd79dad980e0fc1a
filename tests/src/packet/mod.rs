//! Frames for tests, built layer by layer from the outside in.
//!
//! ```
//! use guard_tests::packet::{Ipv4, Packet};
//!
//! // A mail to a US client, inside a VXLAN tunnel to Belgium.
//! let frame = Packet::ethernet()
//!     .ipv4([192, 0, 2, 10], [198, 51, 100, 20])
//!     .udp(40000, 4789)
//!     .vxlan(42)
//!     .then_ethernet()
//!     .with(Ipv4::to([203, 0, 113, 30]).ttl(3))
//!     .tcp(8143, 50000)
//!     .payload("a mail")
//!     .build();
//! assert_eq!(frame.len(), 14 + 20 + 8 + 8 + 14 + 20 + 20 + 6);
//! ```
//!
//! Lengths, checksums and "what comes next" fields are filled in from the layers; a field that a test
//! wants wrong can be set by hand ([`Ipv4::total_length`], [`Ethernet::ether_type`], ...), and
//! [`Packet::truncate`] cuts the frame. An IP layer below an IP layer makes IPIP, 6in4 and the like.
//! Addresses are documentation addresses unless set.
mod checksum;
mod ipv4;
mod ipv6;
mod link;
mod transport;
mod tunnel;

use std::net::{Ipv4Addr, Ipv6Addr};

use checksum::Pseudo;
pub use ipv4::{Ipv4, SourceRoute};
pub use ipv6::{AuthHeader, Ipv6, Ipv6Fragment, Options, Routing};
pub use link::{Ethernet, Vlan};
pub use transport::{Echo, Sctp, Tcp, Udp};
pub use tunnel::{Geneve, Gre, Vxlan};

/// The address of the storage host unless another is given.
pub const STORAGE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The address of the client unless another is given.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
/// The address of the storage host unless another is given.
pub const STORAGE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
/// The address of the client unless another is given.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x30);

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
}

/// The nearest IP layer around a layer.
fn enclosing_ip(outer: &[Layer]) -> Option<&Layer> {
    outer.iter().rev().find(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
}

/// What a layer sees of the others while it is written.
struct Around<'a> {
    /// All layers of the packet, outermost first.
    layers: &'a [Layer],
    /// Which of them this is.
    at: usize,
}

impl Around<'_> {
    fn next_ether_type(&self) -> u16 {
        self.next().map_or(0x88b5, Layer::ether_type)
    }

    /// 59 ("no next header", RFC 8200 section 4.7) if nothing comes inside.
    fn next_ip_number(&self) -> u8 {
        let through_here = self.layers.get(..=self.at).unwrap_or(self.layers);
        self.next().map_or(59, |next| next.ip_number(through_here))
    }

    fn pseudo(&self) -> Option<Pseudo> {
        Pseudo::from_layers(self.layers.get(..self.at)?)
    }

    /// The layer right inside this one.
    fn next(&self) -> Option<&Layer> {
        self.layers.get(self.at + 1)
    }
}

/// A packet under construction: layers from the outside in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packet {
    layers: Vec<Layer>,
    cut: Option<usize>,
}

impl Packet {
    /// Nothing yet: add an IP layer for a packet with no link header (tun, raw IP captures).
    pub fn new() -> Self {
        Packet::default()
    }

    /// Starts with an Ethernet header.
    pub fn ethernet() -> Self {
        Packet::new().then_ethernet()
    }

    /// Adds a layer inside the ones that are there.
    #[must_use]
    pub fn with(mut self, layer: impl Into<Layer>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// Adds an Ethernet header (inside a tunnel).
    #[must_use]
    pub fn then_ethernet(self) -> Self {
        self.with(Ethernet::default())
    }

    /// Adds an 802.1Q tag.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.with(Vlan::customer(id))
    }

    /// Adds an IPv4 header.
    #[must_use]
    pub fn ipv4(self, source: impl Into<Ipv4Addr>, destination: impl Into<Ipv4Addr>) -> Self {
        self.with(Ipv4::to(destination).from(source))
    }

    /// Adds an IPv6 header.
    #[must_use]
    pub fn ipv6(self, source: impl Into<Ipv6Addr>, destination: impl Into<Ipv6Addr>) -> Self {
        self.with(Ipv6::to(destination).from(source))
    }

    /// Adds an IPv6 hop-by-hop options header with no option in it but padding.
    #[must_use]
    pub fn hop_by_hop(self) -> Self {
        self.with(Layer::HopByHop(Options::default()))
    }

    /// Adds an IPv6 destination options header with no option in it but padding.
    #[must_use]
    pub fn destination_options(self) -> Self {
        self.with(Layer::DestinationOptions(Options::default()))
    }

    /// Adds an IPv6 fragment header; `offset` in bytes, a multiple of 8.
    #[must_use]
    pub fn ipv6_fragment(self, offset: u16, more: bool) -> Self {
        self.with(Ipv6Fragment::new(offset, more))
    }

    /// Adds an authentication header with a 12-byte check value.
    #[must_use]
    pub fn auth_header(self) -> Self {
        self.with(AuthHeader::default())
    }

    /// Adds a TCP header (with ACK).
    #[must_use]
    pub fn tcp(self, source_port: u16, destination_port: u16) -> Self {
        self.with(Tcp::new(source_port, destination_port))
    }

    /// Adds a UDP header.
    #[must_use]
    pub fn udp(self, source_port: u16, destination_port: u16) -> Self {
        self.with(Udp::new(source_port, destination_port))
    }

    /// Adds an SCTP header with one data chunk around what comes inside.
    #[must_use]
    pub fn sctp(self, source_port: u16, destination_port: u16) -> Self {
        self.with(Sctp::new(source_port, destination_port))
    }

    /// Adds an ICMP or ICMPv6 echo request, as the IP layer around it asks for.
    #[must_use]
    pub fn echo(self) -> Self {
        self.with(Echo::default())
    }

    /// Adds a VXLAN header (put it inside UDP, by habit to port 4789).
    #[must_use]
    pub fn vxlan(self, vni: u32) -> Self {
        self.with(Vxlan::new(vni))
    }

    /// Adds a Geneve header (put it inside UDP, by habit to port 6081).
    #[must_use]
    pub fn geneve(self, vni: u32) -> Self {
        self.with(Geneve::new(vni))
    }

    /// Adds a GRE header with no optional field.
    #[must_use]
    pub fn gre(self) -> Self {
        self.with(Gre::default())
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn payload(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.layers.push(Layer::Payload(bytes.as_ref().to_vec()));
        self
    }

    /// Keeps only the first `length` bytes of the frame; lengths and checksums stay the whole one's.
    #[must_use]
    pub fn truncate(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The frame's bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, layer) in self.layers.iter().enumerate().rev() {
            bytes = wrap(layer, &Around { layers: &self.layers, at }, bytes);
        }
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }
}

/// Puts a layer around what is inside it.
fn wrap(layer: &Layer, around: &Around<'_>, inside: Vec<u8>) -> Vec<u8> {
    let header = match layer {
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
