//! Network interfaces of the calling thread's network namespace.
//!
//! Asked of netlink: `/sys/class/net` shows the namespace in which sysfs was mounted, which may be
//! another one.

use std::fmt;

use guard_common::packet::Link;

use super::KernelError;
use super::netlink::{self, attribute, text, u16_at, u32_at};

/// `RTM_NEWLINK` and `RTM_GETLINK` (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;
/// `IFLA_IFNAME`, `IFLA_XDP`, `IFLA_XDP_DRV_PROG_ID`, `IFLA_XDP_SKB_PROG_ID` (linux/if_link.h).
const IFNAME: u16 = 3;
const XDP: u16 = 43;
const XDP_DRIVER_PROGRAM: u16 = 5;
const XDP_GENERIC_PROGRAM: u16 = 6;

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

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number, which no other one of its namespace has or will have.
    pub index: u32,
    /// Its name, which can be changed.
    pub name: String,
    /// What its frames are.
    pub link_type: LinkType,
    /// Ids of the XDP programs in the driver and behind it.
    pub(super) xdp: (Option<u32>, Option<u32>),
}

impl Interface {
    /// All interfaces of the calling thread's network namespace, by number.
    ///
    /// # Errors
    ///
    /// [`KernelError::Netlink`] where the kernel does not answer.
    pub fn all() -> Result<Vec<Self>, KernelError> {
        let messages = netlink::dump(GET_LINK, &[0; IFINFO])
            .map_err(|source| KernelError::Netlink { what: "list the network interfaces", source })?;
        let links = messages.iter().filter(|message| message.kind == NEW_LINK);
        let mut all: Vec<Self> = links.filter_map(|message| Self::read(&message.payload)).collect();
        all.sort_by_key(|interface| interface.index);
        Ok(all)
    }

    /// An interface of the memory kernel.
    #[cfg(test)]
    pub(crate) fn in_memory(index: u32, name: &str, link_type: LinkType) -> Self {
        Self { index, name: name.to_owned(), link_type, xdp: (None, None) }
    }

    /// The interface of this name.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoInterface`] where there is none, [`KernelError::Netlink`] where the kernel does
    /// not answer.
    pub fn by_name(name: &str) -> Result<Self, KernelError> {
        let found = Self::all()?.into_iter().find(|interface| interface.name == name);
        found.ok_or_else(|| KernelError::NoInterface { name: name.to_owned() })
    }

    /// Reads `struct ifinfomsg` and what follows it.
    fn read(payload: &[u8]) -> Option<Self> {
        let attributes = payload.get(IFINFO..)?;
        let xdp = attribute(attributes, XDP).unwrap_or_default();
        let program = |kind| attribute(xdp, kind).and_then(|value| u32_at(value, 0));
        Some(Self {
            index: u32_at(payload, 4)?,
            name: text(attribute(attributes, IFNAME)?),
            link_type: LinkType(u16_at(payload, 2)?),
            xdp: (program(XDP_DRIVER_PROGRAM), program(XDP_GENERIC_PROGRAM)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there_and_reads_as_ethernet() {
        let lo = Interface::by_name("lo").unwrap();
        assert_eq!(lo.link_type, LinkType::LOOPBACK);
        assert_eq!(lo.link_type.link(), Some(Link::Ethernet));
        assert!(Interface::all().unwrap().contains(&lo));
        let none = Interface::by_name("no-such-one");
        assert!(matches!(none, Err(KernelError::NoInterface { .. })), "{none:?}");
    }

    #[test]
    fn frames_that_nobody_reads_are_told() {
        assert_eq!(LinkType(32).link(), None);
        assert_eq!(LinkType(32).to_string(), "InfiniBand (link type 32)");
        assert_eq!(LinkType(65_534).link(), Some(Link::Raw));
    }
}
