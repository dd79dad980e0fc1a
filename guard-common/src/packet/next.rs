//! What the walk through a frame goes on with.

/// What comes next in a frame: a header of its own kind, or the one of an IP protocol number.
///
/// A number and no enum, so that it can be kept in memory, of which the verifier knows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Next(pub(super) u16);

impl Next {
    /// Nothing that is read.
    pub(super) const END: Self = Self(0x100);
    pub(super) const ETHERNET: Self = Self(0x101);
    /// A VLAN tag, from behind its EtherType.
    pub(super) const VLAN: Self = Self(0x102);
    pub(super) const PPPOE: Self = Self(0x103);
    pub(super) const IPV4: Self = Self(0x104);
    /// An option of the IPv4 header, or the end of that header.
    pub(super) const IPV4_OPTION: Self = Self(0x105);
    pub(super) const IPV6: Self = Self(0x106);
    /// An address of a source route.
    pub(super) const HOP: Self = Self(0x107);
    /// An option of the TCP header, or the end of that header.
    pub(super) const TCP_OPTION: Self = Self(0x108);
    /// Nothing that is read, and nobody can tell what it is: [`Layer::HIDDEN`](super::types::Layer::HIDDEN).
    pub(super) const HIDDEN: Self = Self(0x109);

    #[inline(always)]
    pub(super) const fn protocol(number: u8) -> Self {
        Self(number as u16)
    }
}

/// The source route or the options that are being read.
#[derive(Default)]
pub(super) struct Route {
    /// Hops still to read.
    pub(super) hops_left: usize,
    /// Where the header ends that holds them.
    pub(super) resume: usize,
}
