//! How large the networks of recipients may be without a word on why.

/// The shortest prefixes of networks that a document may name without saying why. All networks together, of all recipients
/// that do not say why, may have no more addresses than one such network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widest {
    /// Bits of an IPv4 prefix, at least [`Widest::IPV4`] and at most 32.
    pub ipv4: u8,
    /// Bits of an IPv6 prefix, at least [`Widest::IPV6`] and at most 128.
    pub ipv6: u8,
}

impl Widest {
    /// Without a word of the config: 65,536 addresses.
    pub const IPV4: u8 = 16;
    /// Without a word of the config: what a provider is given.
    pub const IPV6: u8 = 32;
}

impl Default for Widest {
    fn default() -> Self {
        Self { ipv4: Self::IPV4, ipv6: Self::IPV6 }
    }
}
