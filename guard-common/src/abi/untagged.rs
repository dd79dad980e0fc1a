//! What is kept of egress that no pin tags: counts by jurisdiction, and where the policy asks for it flows by peer and
//! service, so that a rollout finds what its pins miss.

use super::{Count, Process};
use crate::packet::Addr;

/// Flows of untagged egress that are kept; the one that was seen last longest ago makes room.
pub const MAX_UNTAGGED_FLOWS: usize = 16_384;

/// Which end of a flow serves: the one whose port is its service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Neither end has a port that can be read.
    None = 0,
    /// This host serves: the port is the source's.
    Local = 1,
    /// The peer serves: the port is the destination's.
    Remote = 2,
}

impl Side {
    /// The name in `status` and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }

    /// The side that the kernel program writes as this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::None),
            1 => Some(Self::Local),
            2 => Some(Self::Remote),
            _ => None,
        }
    }
}

/// The port by which a flow's service is known, in host order, and whose it is: the lower one, for the end that asks
/// has a port of its kernel's choice, and those are high (RFC 6335, section 6).
#[inline(always)]
#[must_use]
pub const fn service_port(sport: u16, dport: u16) -> (u16, Side) {
    if sport < dport { (sport, Side::Local) } else { (dport, Side::Remote) }
}

/// Untagged egress of one cgroup to one peer's service, or of this host's service to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UntaggedKey {
    /// The peer: the destination of the outermost layer.
    pub peer: Addr,
    /// Cgroup of the sending socket; 0 where there is none.
    pub cgroup: u64,
    /// Interface that it leaves.
    pub ifindex: u32,
    /// The [`Place`](super::Place) of the peer.
    pub place: u16,
    /// The service's port, host order; 0 where [`side`](Self::side) is [`Side::None`].
    pub port: u16,
    /// IP protocol number of the outermost layer.
    pub proto: u8,
    /// The [`Side`].
    pub side: u8,
    /// Padding up to 8 bytes, zero.
    pub pad: [u8; 6],
}

/// What is kept of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UntaggedRecord {
    /// Its packets.
    pub count: Count,
    /// Who used or made the socket of the first of them.
    pub process: Process,
}

const _: () = {
    assert!(size_of::<UntaggedRecord>() == 56);
    assert!(size_of::<UntaggedKey>() == 40);
    assert!(core::mem::offset_of!(UntaggedKey, place) == 28);
    assert!(core::mem::offset_of!(UntaggedKey, side) == 33);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_the_lower_port() {
        assert_eq!(service_port(443, 51_000), (443, Side::Local));
        assert_eq!(service_port(51_000, 2380), (2380, Side::Remote));
        assert_eq!(service_port(123, 123), (123, Side::Remote));
        for side in [Side::None, Side::Local, Side::Remote] {
            assert_eq!(Side::from_index(side as u8), Some(side));
        }
        assert_eq!(Side::from_index(3), None);
    }
}
