//! TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260) and ICMP echo (RFC 792, RFC 4443).
use etherparse::{TcpHeader, UdpHeader};

use super::around::Around;
use super::checksum::{Pseudo, crc32c, internet};

/// A TCP header, ACK set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    source_port: u16,
    destination_port: u16,
    syn: bool,
    ack: bool,
    fin: bool,
    rst: bool,
}

impl Tcp {
    /// An established connection's segment.
    pub fn new(source_port: u16, destination_port: u16) -> Self {
        Tcp { source_port, destination_port, syn: false, ack: true, fin: false, rst: false }
    }

    /// A session's first segment: SYN alone.
    #[must_use]
    pub fn syn(mut self) -> Self {
        (self.syn, self.ack) = (true, false);
        self
    }

    /// Sets FIN.
    #[must_use]
    pub fn fin(mut self) -> Self {
        self.fin = true;
        self
    }

    /// Sets RST.
    #[must_use]
    pub fn rst(mut self) -> Self {
        self.rst = true;
        self
    }

    pub(super) fn header(&self, around: &Around, inside: &[u8]) -> Vec<u8> {
        let mut header = TcpHeader::new(self.source_port, self.destination_port, 1, 0xffff);
        (header.syn, header.ack, header.fin, header.rst) = (self.syn, self.ack, self.fin, self.rst);
        header.checksum = transport_checksum(around, 6, &header.to_bytes(), inside);
        header.to_bytes().to_vec()
    }
}

/// A UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    source_port: u16,
    destination_port: u16,
    length: Option<u16>,
}

impl Udp {
    /// Between these ports.
    pub fn new(source_port: u16, destination_port: u16) -> Self {
        Udp { source_port, destination_port, length: None }
    }

    /// Says another length than the true one.
    #[must_use]
    pub fn length(mut self, length: u16) -> Self {
        self.length = Some(length);
        self
    }

    pub(super) fn header(&self, around: &Around, inside: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + inside.len()).unwrap_or(0);
        let mut header = UdpHeader {
            source_port: self.source_port,
            destination_port: self.destination_port,
            length: self.length.unwrap_or(length),
            checksum: 0,
        };
        // A sum of zero is sent as all ones: zero would mean "no checksum".
        header.checksum = match transport_checksum(around, 17, &header.to_bytes(), inside) {
            0 => 0xffff,
            sum => sum,
        };
        header.to_bytes().to_vec()
    }
}

/// An SCTP header and one data chunk around what is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sctp {
    source_port: u16,
    destination_port: u16,
}

impl Sctp {
    /// Between these ports.
    pub fn new(source_port: u16, destination_port: u16) -> Self {
        Sctp { source_port, destination_port }
    }

    pub(super) fn packet(&self, inside: &[u8]) -> Vec<u8> {
        let mut packet = [self.source_port.to_be_bytes(), self.destination_port.to_be_bytes()].concat();
        packet.extend(0x6267_0001u32.to_be_bytes()); // verification tag
        packet.extend([0; 4]); // checksum, below
        packet.extend([0, 3]); // DATA, a whole message
        packet.extend(u16::try_from(16 + inside.len()).unwrap_or(u16::MAX).to_be_bytes());
        packet.extend(1u32.to_be_bytes()); // transmission sequence number
        packet.extend([0; 8]); // stream, its sequence number, payload protocol
        packet.extend_from_slice(inside);
        packet.resize(packet.len().next_multiple_of(4), 0);
        // The one checksum that is sent in little-endian order (RFC 9260 appendix A).
        let sum = crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
        packet
    }
}

/// An ICMP (inside IPv4) or ICMPv6 (inside IPv6) echo request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Echo {
    sequence: u16,
}

impl Echo {
    /// The request of this number.
    pub fn new(sequence: u16) -> Self {
        Echo { sequence }
    }

    pub(super) fn header(&self, around: &Around, inside: &[u8]) -> Vec<u8> {
        let [high, low] = self.sequence.to_be_bytes();
        let pseudo = around.pseudo;
        let kind = if matches!(pseudo, Some(Pseudo::V6 { .. })) { 128 } else { 8 };
        let mut header = vec![kind, 0, 0, 0, 0x62, 0x67, high, low];
        let sum = match pseudo {
            Some(pseudo @ Pseudo::V6 { .. }) => pseudo.checksum(58, &[&header, inside]),
            // ICMP's checksum has no pseudo header.
            _ => internet(&[&header, inside].concat()),
        };
        header[2..4].copy_from_slice(&sum.to_be_bytes());
        header
    }
}

/// Zero where there is no IP layer to take the pseudo header from.
fn transport_checksum(around: &Around, protocol: u8, header: &[u8], inside: &[u8]) -> u16 {
    around.pseudo.map_or(0, |pseudo| pseudo.checksum(protocol, &[header, inside]))
}
