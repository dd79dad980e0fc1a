//! Random addresses and networks from a world so small that they meet often.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};
use proptest::prelude::*;
use proptest::sample::select;

/// An IPv4 address.
pub(super) fn v4() -> impl Strategy<Value = Ipv4Addr> + Clone {
    prop_oneof![
        8 => (0..12_u8).prop_map(|host| Ipv4Addr::new(192, 0, 2, host)),
        4 => (0..4_u8).prop_map(|host| Ipv4Addr::new(198, 51, 100, host)),
        2 => (0..4_u8).prop_map(|host| Ipv4Addr::new(203, 0, 113, host)),
        // Only these a database can place.
        8 => (0..6_u8).prop_map(|host| Ipv4Addr::new(9, 9, 9, host)),
        2 => select(SPECIAL_EDGES.map(v4_of).to_vec()),
        1 => select(["169.254.0.1", "224.0.0.5", "224.0.1.1", "255.255.255.255"].map(v4_of).to_vec()),
    ]
}

/// The last of special-purpose space, and the first that is not, or the other way round.
const SPECIAL_EDGES: [&str; 14] = [
    "0.0.0.0",
    "9.255.255.255",
    "10.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.64.0.0",
    "172.31.255.255",
    "172.32.0.0",
    "192.0.0.8",
    "192.0.0.9",
    "192.88.99.1",
    "198.20.0.0",
    "223.255.255.255",
    "255.255.255.254",
];

fn v4_of(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// An IPv6 address that carries no IPv4 address.
pub(super) fn native_v6() -> impl Strategy<Value = Ipv6Addr> + Clone {
    const EDGES: [&str; 17] = [
        "64:ff9b:1::1",
        "100::1",
        "2001:1::3",
        "2001:1::4",
        "2001:2f::1",
        "2001:200::",
        "3fff:fff::1",
        "3fff:1000::",
        "::",
        "::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "ff05::2",
        "1fff:ffff::1",
        "4000::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    prop_oneof![
        // Four /64s, each with networks that part it. Only the last two a database can place.
        8 => (0..4_usize, 0..2_u16, 0..4_u16).prop_map(|(net, half, host)| {
            let [high, low] = [[0x2001, 0xdb8], [0x2001, 0xdb8], [0x2a00, 0x1450], [0x2a00, 0x1450]][net];
            Ipv6Addr::new(high, low, net as u16, 0, half << 15, 0, 0, host)
        }),
        1 => select(EDGES.map(|text| text.parse().unwrap()).to_vec()),
    ]
}

/// An IPv6 address, with an IPv4 address in it or without.
pub(super) fn v6() -> impl Strategy<Value = Ipv6Addr> + Clone {
    let halves = |v4: Ipv4Addr| ((v4.to_bits() >> 16) as u16, v4.to_bits() as u16);
    prop_oneof![
        8 => native_v6(),
        1 => v4().prop_map(|v4| v4.to_ipv6_mapped()),
        1 => v4().prop_map(move |v4| Ipv6Addr::new(0x2002, halves(v4).0, halves(v4).1, 0, 0, 0, 0, 1)),
        1 => v4().prop_map(move |v4| Ipv6Addr::new(0x2001, 0, 1, 2, 3, 4, !halves(v4).0, !halves(v4).1)),
        1 => v4().prop_map(move |v4| Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, halves(v4).0, halves(v4).1)),
        2 => (select(nat64()), v4(), any::<u128>()).prop_map(|(prefix, v4, rest)| below(prefix, v4, rest)),
    ]
}

/// NAT64 prefixes of an operator's own, one of each length.
pub(super) fn nat64() -> Vec<Ipv6Network> {
    [
        "2001:db8:64::/96",
        "2001:db8:65:1::/64",
        "2001:db8:66:100::/56",
        "2001:db8:67::/48",
        "2001:db8:6800::/40",
        "3fff:64::/32",
    ]
    .map(|prefix| prefix.parse().unwrap())
    .to_vec()
}

/// The address below a prefix that carries an IPv4 address, bit by bit; all other bits are those of `rest`.
fn below(prefix: Ipv6Network, v4: Ipv4Addr, rest: u128) -> Ipv6Addr {
    let length = u32::from(prefix.prefix());
    let mut bits = prefix.ip().to_bits() | rest & u128::MAX.checked_shr(length).unwrap_or(0);
    for (at, bit) in (length..128).filter(|bit| !(64..72).contains(bit)).take(32).enumerate() {
        let one = 1 << (127 - bit);
        bits = bits & !one | if v4.to_bits() >> (31 - at) & 1 == 1 { one } else { 0 };
    }
    Ipv6Addr::from_bits(bits)
}

/// A network of either family.
pub(super) fn network() -> impl Strategy<Value = IpNetwork> + Clone {
    let of = |address: IpAddr, prefix| {
        let network = IpNetwork::new(address, prefix).unwrap();
        IpNetwork::new(network.network(), prefix).unwrap()
    };
    prop_oneof![
        (v4(), select(vec![0, 1, 8, 24, 29, 30, 31, 32])).prop_map(move |(v4, prefix)| of(v4.into(), prefix)),
        (native_v6(), select(vec![0, 3, 32, 48, 63, 64, 65, 126, 127, 128]))
            .prop_map(move |(v6, prefix)| of(v6.into(), prefix)),
    ]
}
