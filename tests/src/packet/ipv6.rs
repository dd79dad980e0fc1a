//! IPv6 (RFC 8200) and its extension headers.
use std::net::Ipv6Addr;

use etherparse::{IpAuthHeader, IpFragOffset, IpNumber, Ipv6FragmentHeader, Ipv6Header};

use super::addresses::{CLIENT_V6, STORAGE_V6};
use super::around::Around;

/// An IPv6 header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6 {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    hop_limit: u8,
    next_header: Option<u8>,
    payload_length: Option<u16>,
}

impl Ipv6 {
    /// From the storage host ([`STORAGE_V6`]) to `destination`.
    pub fn to(destination: impl Into<Ipv6Addr>) -> Self {
        Ipv6 {
            source: STORAGE_V6,
            destination: destination.into(),
            hop_limit: 64,
            next_header: None,
            payload_length: None,
        }
    }

    /// Sets the source.
    #[must_use]
    pub fn from(mut self, source: impl Into<Ipv6Addr>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets the hop limit.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Names another content than the one inside.
    #[must_use]
    pub fn next_header(mut self, next_header: u8) -> Self {
        self.next_header = Some(next_header);
        self
    }

    /// Says another payload length than the true one.
    #[must_use]
    pub fn payload_length(mut self, payload_length: u16) -> Self {
        self.payload_length = Some(payload_length);
        self
    }

    pub(super) fn header(&self, around: &Around, inside: &[u8]) -> Vec<u8> {
        // Beyond 64 KiB the length says zero, as jumbograms and BIG TCP do.
        let length = u16::try_from(inside.len()).unwrap_or(0);
        let header = Ipv6Header {
            payload_length: self.payload_length.unwrap_or(length),
            next_header: IpNumber(self.next_header.unwrap_or(around.next_ip_number)),
            hop_limit: self.hop_limit,
            source: self.source.octets(),
            destination: self.destination.octets(),
            ..Ipv6Header::default()
        };
        header.to_bytes().to_vec()
    }
}

impl Default for Ipv6 {
    /// From the storage host to the client.
    fn default() -> Self {
        Ipv6::to(CLIENT_V6)
    }
}

/// The content of a hop-by-hop or destination options header (RFC 8200 sections 4.3 and 4.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    bytes: Vec<u8>,
}

impl Options {
    /// These options (type, length, data each); padding is added.
    ///
    /// # Panics
    /// If they are longer than a header can say, 2046 bytes.
    pub fn new(bytes: &[u8]) -> Self {
        assert!(bytes.len() <= 2046, "IPv6 options take 2046 bytes at most");
        Options { bytes: bytes.to_vec() }
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        let mut header = vec![around.next_ip_number, 0];
        header.extend_from_slice(&self.bytes);
        // One missing byte is filled by Pad1, more by PadN.
        match header.len().next_multiple_of(8) - header.len() {
            0 => {}
            1 => header.push(0),
            missing => {
                header.extend([1, (missing - 2) as u8]);
                header.resize(header.len() + missing - 2, 0);
            }
        }
        header[1] = (header.len() / 8 - 1) as u8;
        header
    }
}

/// A routing header: type 0 (RFC 5095 forbids it, networks still see it), 2 (RFC 6275) or 4 (segment
/// routing, RFC 8754).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    kind: u8,
    segments_left: u8,
    addresses: Vec<Ipv6Addr>,
}

impl Routing {
    /// Type 0: these hops in this order, `segments_left` of them still to come.
    pub fn source_route(hops: &[Ipv6Addr], segments_left: u8) -> Self {
        Routing { kind: 0, segments_left, addresses: hops.to_vec() }
    }

    /// Type 2: a mobile node's home address, still to come (`segments_left` 1).
    pub fn home_address(home: impl Into<Ipv6Addr>) -> Self {
        Routing { kind: 2, segments_left: 1, addresses: vec![home.into()] }
    }

    /// Type 4: segments as they lie in the header, which is the **last** one first; the one at index
    /// `segments_left` is the next.
    pub fn segments(segments: &[Ipv6Addr], segments_left: u8) -> Self {
        Routing { kind: 4, segments_left, addresses: segments.to_vec() }
    }

    /// Where the packet ends up if the route is not used up yet.
    pub(super) fn final_destination(&self) -> Option<Ipv6Addr> {
        let last = if self.kind == 4 { self.addresses.first() } else { self.addresses.last() };
        last.copied().filter(|_| self.segments_left > 0)
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        let length = (2 * self.addresses.len()) as u8;
        let mut header = vec![around.next_ip_number, length, self.kind, self.segments_left];
        match self.kind {
            // Last entry, flags, tag.
            4 => header.extend([self.addresses.len().saturating_sub(1) as u8, 0, 0, 0]),
            _ => header.extend([0; 4]),
        }
        self.addresses.iter().for_each(|address| header.extend(address.octets()));
        header
    }
}

/// A fragment header (RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Fragment {
    offset: u16,
    more: bool,
    next_header: Option<u8>,
}

impl Ipv6Fragment {
    /// `offset` in bytes, a multiple of 8.
    ///
    /// # Panics
    /// If the offset is no multiple of 8.
    pub fn new(offset: u16, more: bool) -> Self {
        assert!(offset.is_multiple_of(8), "fragments start at multiples of 8 bytes");
        Ipv6Fragment { offset: offset / 8, more, next_header: None }
    }

    /// Names another content than the one inside (for the bytes of a later fragment).
    #[must_use]
    pub fn next_header(mut self, next_header: u8) -> Self {
        self.next_header = Some(next_header);
        self
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        Ipv6FragmentHeader {
            next_header: IpNumber(self.next_header.unwrap_or(around.next_ip_number)),
            fragment_offset: IpFragOffset::try_new(self.offset).unwrap_or_default(),
            more_fragments: self.more,
            identification: 0x6267,
        }
        .to_bytes()
        .to_vec()
    }
}

/// An authentication header (RFC 4302), inside IPv4 or IPv6. Its length counts words of 4 bytes, less
/// two: unlike every other extension header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthHeader {
    check_value: Vec<u8>,
}

impl Default for AuthHeader {
    /// With 12 bytes of check value, as HMAC-SHA1-96 has.
    fn default() -> Self {
        AuthHeader::new(&[0x5a; 12])
    }
}

impl AuthHeader {
    /// With this integrity check value.
    ///
    /// # Panics
    /// If its length is no multiple of 4 or over 1016 bytes.
    pub fn new(check_value: &[u8]) -> Self {
        let fits = check_value.len().is_multiple_of(4) && check_value.len() <= 1016;
        assert!(fits, "the check value is whole words, 1016 bytes at most");
        AuthHeader { check_value: check_value.to_vec() }
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        let next = IpNumber(around.next_ip_number);
        // `new` has checked the only thing that this refuses.
        IpAuthHeader::new(next, 0x100, 1, &self.check_value)
            .map(|header| header.to_bytes().to_vec())
            .unwrap_or_default()
    }
}
