//! IPv4 (RFC 791), with options and fragments.
use std::net::Ipv4Addr;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv4Options};

use super::addresses::{CLIENT_V4, STORAGE_V4};
use super::around::Around;

/// Loose or strict source route (RFC 791 section 3.1, options 131 and 137).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRoute {
    /// LSRR: other hops in between are allowed.
    Loose,
    /// SSRR: no other hops.
    Strict,
}

/// An IPv4 header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv4 {
    pub(super) source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    options: Vec<u8>,
    route_end: Option<Ipv4Addr>,
    fragment_offset: u16,
    more_fragments: bool,
    protocol: Option<u8>,
    total_length: Option<u16>,
    checksum: Option<u16>,
}

impl Ipv4 {
    /// From the storage host ([`STORAGE_V4`]) to `destination`.
    pub fn to(destination: impl Into<Ipv4Addr>) -> Self {
        Ipv4 {
            source: STORAGE_V4,
            destination: destination.into(),
            ttl: 64,
            options: Vec::new(),
            route_end: None,
            fragment_offset: 0,
            more_fragments: false,
            protocol: None,
            total_length: None,
            checksum: None,
        }
    }

    /// Sets the source.
    #[must_use]
    pub fn from(mut self, source: impl Into<Ipv4Addr>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Appends an option as it is (type, length, data); the header is padded to words with
    /// end-of-options (0).
    ///
    /// # Panics
    /// If all options together are longer than 40 bytes: no header can say that.
    #[must_use]
    pub fn option(mut self, option: &[u8]) -> Self {
        self.options.extend_from_slice(option);
        assert!(self.options.len() <= 40, "IPv4 options take 40 bytes at most");
        self
    }

    /// Appends a source route by way of `hops`, of which the first `passed` lie behind: its pointer
    /// shows to the one after them. The transport checksum is for the last hop to come.
    #[must_use]
    pub fn source_route(mut self, kind: SourceRoute, hops: &[Ipv4Addr], passed: u8) -> Self {
        let kind = match kind {
            SourceRoute::Loose => 131,
            SourceRoute::Strict => 137,
        };
        let mut option = vec![kind, (3 + 4 * hops.len()) as u8, 4 + 4 * passed];
        hops.iter().for_each(|hop| option.extend(hop.octets()));
        self.route_end = if usize::from(passed) < hops.len() { hops.last().copied() } else { None };
        self.option(&option)
    }

    /// Makes it a fragment; `offset` in bytes, a multiple of 8.
    ///
    /// # Panics
    /// If the offset is no multiple of 8.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        assert!(offset.is_multiple_of(8), "fragments start at multiples of 8 bytes");
        self.fragment_offset = offset / 8;
        self.more_fragments = more;
        self
    }

    /// Names another content than the one inside (for the bytes of a later fragment, say).
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Says another total length than the true one.
    #[must_use]
    pub fn total_length(mut self, total_length: u16) -> Self {
        self.total_length = Some(total_length);
        self
    }

    /// Says another header checksum than the true one.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        self.checksum = Some(checksum);
        self
    }

    pub(super) fn final_destination(&self) -> Ipv4Addr {
        self.route_end.unwrap_or(self.destination)
    }

    pub(super) fn header(&self, around: &Around, inside: &[u8]) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        // Beyond 64 KiB the length says zero, as BIG TCP does.
        let length = u16::try_from(20 + options.len() + inside.len()).unwrap_or(0);
        let mut header = Ipv4Header {
            total_len: self.total_length.unwrap_or(length),
            time_to_live: self.ttl,
            protocol: IpNumber(self.protocol.unwrap_or(around.next_ip_number)),
            source: self.source.octets(),
            destination: self.destination.octets(),
            fragment_offset: IpFragOffset::try_new(self.fragment_offset).unwrap_or_default(),
            more_fragments: self.more_fragments,
            options: Ipv4Options::try_from(options.as_slice()).unwrap_or_default(),
            ..Ipv4Header::default()
        };
        header.header_checksum = self.checksum.unwrap_or_else(|| header.calc_header_checksum());
        header.to_bytes().to_vec()
    }
}

impl Default for Ipv4 {
    /// From the storage host to the client.
    fn default() -> Self {
        Ipv4::to(CLIENT_V4)
    }
}
