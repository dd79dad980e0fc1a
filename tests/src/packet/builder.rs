//! A packet, built layer by layer.
use std::net::{Ipv4Addr, Ipv6Addr};

use super::ipv4::Ipv4;
use super::ipv6::{AuthHeader, Ipv6, Ipv6Fragment, Options};
use super::layer::{Layer, around};
use super::link::{Ethernet, Vlan};
use super::transport::{Echo, Sctp, Tcp, Udp};
use super::tunnel::{Geneve, Gre, Vxlan};

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
            bytes = layer.wrap(&around(&self.layers, at), bytes);
        }
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }
}
