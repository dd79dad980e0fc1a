//! What the frames of an interface are.

use std::fmt;

use guard_common::packet::Link;

/// What an interface's frames begin with: an `ARPHRD_` number (linux/if_arp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// `ARPHRD_ETHER`.
    pub const ETHERNET: Self = Self(1);
    /// `ARPHRD_PPP`.
    pub const PPP: Self = Self(512);
    /// `ARPHRD_RAWIP`: bare IP, as of cellular modems.
    pub const RAW_IP: Self = Self(519);
    /// `ARPHRD_LOOPBACK`, which has Ethernet headers.
    pub const LOOPBACK: Self = Self(772);
    /// `ARPHRD_NONE`: bare IP, as of tun and WireGuard.
    pub const NONE: Self = Self(65_534);

    /// How the programs read its frames; `None` where they do not.
    #[must_use]
    pub const fn link(self) -> Option<Link> {
        match self {
            Self::ETHERNET | Self::LOOPBACK => Some(Link::Ethernet),
            Self::NONE | Self::PPP | Self::RAW_IP => Some(Link::Raw),
            _ => None,
        }
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "Ethernet",
            32 => "InfiniBand",
            280 => "CAN",
            512 => "PPP",
            519 => "bare IP",
            768 => "IPv4 in IPv4",
            769 => "packets in IPv6",
            772 => "loopback",
            776 => "IPv6 in IPv4",
            778 => "GRE over IPv4",
            801..=803 => "raw wireless frames",
            823 => "GRE over IPv6",
            65_534 => "bare IP",
            _ => "an unknown kind of frames",
        };
        write!(f, "{name} (link type {})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_nobody_reads_are_named() {
        assert_eq!(LinkType(32).link(), None);
        assert_eq!(LinkType(32).to_string(), "InfiniBand (link type 32)");
        assert_eq!(LinkType(65_534).link(), Some(Link::Raw));
    }
}
