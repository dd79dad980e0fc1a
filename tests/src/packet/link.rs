//! Ethernet (IEEE 802.3) and VLAN tags (802.1Q, 802.1ad).
use etherparse::{EtherType, Ethernet2Header, SingleVlanHeader, VlanId, VlanPcp};

use super::around::Around;

/// An Ethernet header. The addresses are locally administered ones unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ethernet {
    source: [u8; 6],
    destination: [u8; 6],
    ether_type: Option<u16>,
}

impl Default for Ethernet {
    fn default() -> Self {
        Ethernet { source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2], ether_type: None }
    }
}

impl Ethernet {
    /// Sets both addresses.
    pub fn new(source: [u8; 6], destination: [u8; 6]) -> Self {
        Ethernet { source, destination, ether_type: None }
    }

    /// Names another content than the one inside.
    #[must_use]
    pub fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = Some(ether_type);
        self
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        let ether_type = self.ether_type.unwrap_or(around.next_ether_type);
        Ethernet2Header {
            source: self.source,
            destination: self.destination,
            ether_type: EtherType(ether_type),
        }
        .to_bytes()
        .to_vec()
    }
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The EtherType that announces this tag, in the header around it.
    pub(super) tag_type: u16,
    id: u16,
    ether_type: Option<u16>,
}

impl Vlan {
    /// An 802.1Q tag, 0x8100. The id is cut to its 12 bits.
    pub fn customer(id: u16) -> Self {
        Vlan { tag_type: 0x8100, id, ether_type: None }
    }

    /// An 802.1ad service tag, 0x88a8. The id is cut to its 12 bits.
    pub fn service(id: u16) -> Self {
        Vlan { tag_type: 0x88a8, id, ether_type: None }
    }

    /// Names another content than the one inside.
    #[must_use]
    pub fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = Some(ether_type);
        self
    }

    pub(super) fn header(&self, around: &Around) -> Vec<u8> {
        SingleVlanHeader {
            pcp: VlanPcp::ZERO,
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(self.id & 0xfff).unwrap_or_default(),
            ether_type: EtherType(self.ether_type.unwrap_or(around.next_ether_type)),
        }
        .to_bytes()
        .to_vec()
    }
}
