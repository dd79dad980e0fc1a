//! VXLAN (RFC 7348), Geneve (RFC 8926) and GRE (RFC 2784, RFC 2890).
use super::around::Around;
use super::checksum::internet;

/// A VXLAN header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vxlan {
    vni: u32,
}

impl Vxlan {
    /// Of this network; the identifier is cut to its 24 bits.
    pub fn new(vni: u32) -> Self {
        Vxlan { vni }
    }

    pub(super) fn header(&self) -> Vec<u8> {
        // The I flag: the network identifier is valid.
        [&[0x08, 0, 0, 0][..], &(self.vni << 8).to_be_bytes()].concat()
    }
}

/// A Geneve header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geneve {
    vni: u32,
    options: Vec<u8>,
}

impl Geneve {
    /// Of this network; the identifier is cut to its 24 bits.
    pub fn new(vni: u32) -> Self {
        Geneve { vni, options: Vec::new() }
    }

    /// Appends options as they are (class, type, length, data).
    ///
    /// # Panics
    /// If they are no multiple of 4 bytes, or over 252 in all.
    #[must_use]
    pub fn options(mut self, bytes: &[u8]) -> Self {
        self.options.extend_from_slice(bytes);
        let fits = self.options.len().is_multiple_of(4) && self.options.len() <= 252;
        assert!(fits, "Geneve options are whole words, 252 bytes at most");
        self
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        let mut header = vec![(self.options.len() / 4) as u8, 0];
        header.extend(around.next_ether_type.to_be_bytes());
        header.extend((self.vni << 8).to_be_bytes());
        header.extend_from_slice(&self.options);
        header
    }
}

/// A GRE header, version 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gre {
    checksum: bool,
    key: Option<u32>,
    sequence: Option<u32>,
}

impl Gre {
    /// Adds the checksum field.
    #[must_use]
    pub fn checksum(mut self) -> Self {
        self.checksum = true;
        self
    }

    /// Adds a key.
    #[must_use]
    pub fn key(mut self, key: u32) -> Self {
        self.key = Some(key);
        self
    }

    /// Adds a sequence number.
    #[must_use]
    pub fn sequence(mut self, sequence: u32) -> Self {
        self.sequence = Some(sequence);
        self
    }

    pub(super) fn header(&self, around: &Around, inside: &[u8]) -> Vec<u8> {
        let flag = |set: bool, bit: u8| u8::from(set) << bit;
        let flags = flag(self.checksum, 7) | flag(self.key.is_some(), 5) | flag(self.sequence.is_some(), 4);
        let mut header = vec![flags, 0];
        header.extend(around.next_ether_type.to_be_bytes());
        if self.checksum {
            header.extend([0; 4]);
        }
        header.extend(self.key.iter().chain(&self.sequence).flat_map(|field| field.to_be_bytes()));
        if self.checksum {
            let sum = internet(&[&header, inside].concat()).to_be_bytes();
            header[4..6].copy_from_slice(&sum);
        }
        header
    }
}
