//! What an address is by itself, slow and obvious.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address does not leave its link.
pub(super) fn stays_on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.is_multicast() && matches!(v6.segments()[0] & 0xf, 1 | 2)
        }
    }
}

/// Whether an address is of special-purpose space, as RFC 6890 and its successors have it; documentation's is as others.
pub(super) fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [192, 0, 0, 9 | 10] => false,
            [0 | 10 | 127 | 224..=255, ..] | [192, 0, 0, _] | [192, 168, ..] | [198, 18 | 19, ..] => true,
            [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] => true,
            _ => false,
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0x2001, 1, 0, 0, 0, 0, 0, 1..=3] | [0x2001, 3, ..] | [0x2001, 4, 0x112, ..] => false,
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] | [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0 | 1, ..] => true,
            [0x2001, 1..=0x1ff, ..] | [0x5f00, ..] => true,
            [0xfc00..=0xfdff | 0xfe80..=0xffff, ..] => true,
            _ => false,
        },
    }
}

/// The IPv4 address inside a 6to4, Teredo or NAT64 address.
pub(super) fn carried_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let pair = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let nat64: Ipv6Addr = "64:ff9b::".parse().unwrap();
    match v6.segments() {
        [0x2002, high, low, ..] => Some(pair(high, low)),
        [0x2001, 0, .., high, low] => Some(pair(!high, !low)),
        [first @ .., high, low] if first == nat64.segments()[..6] => Some(pair(high, low)),
        _ => None,
    }
}
