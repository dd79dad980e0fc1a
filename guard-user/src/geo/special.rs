//! Special-purpose space: addresses that are nobody's place in the world, whatever a geo database says.
//!
//! The rows are those of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, as updated by RFC 8190),
//! and multicast (RFC 5771, RFC 4291 section 2.7) and site-local addresses (RFC 3879), which other registries have. As
//! in the registries, the narrowest row decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// What the addresses of a row are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Each operator has them for networks of its own: the same address is in many places.
    Own,
    /// They are no destination on the internet.
    Nowhere,
    /// They stand for any network in texts and tests, and no packet to them leaves a site: what a database says of one
    /// is what a test wrote there.
    Examples,
    /// They are reachable from anywhere: a geo database may place them, or the IPv4 address that they carry.
    Global,
}

/// A row of the registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    address: IpAddr,
    prefix: u8,
    /// What it is, for a sentence: "10.0.0.1 is ...".
    pub name: &'static str,
    /// The document that it comes from.
    pub source: &'static str,
    /// What its addresses are used for.
    pub usage: Use,
}

impl Row {
    /// The addresses of the row.
    #[must_use]
    pub fn network(&self) -> Option<IpNetwork> {
        IpNetwork::new(self.address, self.prefix).ok()
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.network().is_some_and(|network| network.contains(address))
    }
}

const fn v4(octets: [u8; 4], prefix: u8, usage: Use, name: &'static str, source: &'static str) -> Row {
    let [a, b, c, d] = octets;
    Row { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix, name, source, usage }
}

/// Six groups are enough: the last two are the low 32 bits.
const fn v6(groups: [u16; 6], low: u32, prefix: u8, usage: Use, text: [&'static str; 2]) -> Row {
    let [a, b, c, d, e, f] = groups;
    let address = IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, (low >> 16) as u16, low as u16));
    Row { address, prefix, name: text[0], source: text[1], usage }
}

/// Every row.
pub static ROWS: [Row; 48] = [
    v4([0, 0, 0, 0], 8, Use::Nowhere, "of this network", "RFC 791 section 3.2"),
    v4([10, 0, 0, 0], 8, Use::Own, "private", "RFC 1918"),
    v4([100, 64, 0, 0], 10, Use::Own, "shared by carriers' customers", "RFC 6598"),
    v4([127, 0, 0, 0], 8, Use::Nowhere, "loopback", "RFC 1122 section 3.2.1.3"),
    v4([169, 254, 0, 0], 16, Use::Nowhere, "link-local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, Use::Own, "private", "RFC 1918"),
    v4([192, 0, 0, 0], 24, Use::Nowhere, "for IETF protocols", "RFC 6890 section 2.1"),
    v4([192, 0, 0, 9], 32, Use::Global, "Port Control Protocol anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, Use::Global, "TURN anycast", "RFC 8155"),
    v4([192, 0, 2, 0], 24, Use::Examples, "for documentation", "RFC 5737"),
    v4([192, 31, 196, 0], 24, Use::Global, "AS112", "RFC 7535"),
    v4([192, 52, 193, 0], 24, Use::Global, "AMT", "RFC 7450"),
    v4([192, 88, 99, 0], 24, Use::Global, "6to4 relay anycast, deprecated", "RFC 7526"),
    v4([192, 168, 0, 0], 16, Use::Own, "private", "RFC 1918"),
    v4([192, 175, 48, 0], 24, Use::Global, "AS112", "RFC 7534"),
    v4([198, 18, 0, 0], 15, Use::Nowhere, "for benchmarks", "RFC 2544"),
    v4([198, 51, 100, 0], 24, Use::Examples, "for documentation", "RFC 5737"),
    v4([203, 0, 113, 0], 24, Use::Examples, "for documentation", "RFC 5737"),
    v4([224, 0, 0, 0], 4, Use::Nowhere, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, Use::Nowhere, "reserved", "RFC 1112 section 4"),
    v4([255, 255, 255, 255], 32, Use::Nowhere, "limited broadcast", "RFC 919 section 7"),
    v6([0; 6], 0, 128, Use::Nowhere, ["unspecified", "RFC 4291"]),
    v6([0; 6], 1, 128, Use::Nowhere, ["loopback", "RFC 4291"]),
    v6([0, 0, 0, 0, 0, 0xffff], 0, 96, Use::Nowhere, ["IPv4-mapped", "RFC 4291"]),
    v6([0x64, 0xff9b, 0, 0, 0, 0], 0, 96, Use::Global, ["NAT64", "RFC 6052"]),
    v6([0x64, 0xff9b, 1, 0, 0, 0], 0, 48, Use::Own, ["for NAT64 of one's own", "RFC 8215"]),
    v6([0x100, 0, 0, 0, 0, 0], 0, 64, Use::Nowhere, ["to be discarded", "RFC 6666"]),
    v6([0x100, 0, 0, 1, 0, 0], 0, 64, Use::Nowhere, ["a dummy prefix", "RFC 9780"]),
    v6([0x2001, 0, 0, 0, 0, 0], 0, 23, Use::Nowhere, ["for IETF protocols", "RFC 2928"]),
    v6([0x2001, 0, 0, 0, 0, 0], 0, 32, Use::Global, ["Teredo", "RFC 4380"]),
    v6([0x2001, 1, 0, 0, 0, 0], 1, 128, Use::Global, ["Port Control Protocol anycast", "RFC 7723"]),
    v6([0x2001, 1, 0, 0, 0, 0], 2, 128, Use::Global, ["TURN anycast", "RFC 8155"]),
    v6([0x2001, 1, 0, 0, 0, 0], 3, 128, Use::Global, ["DNS-SD registration anycast", "RFC 9665"]),
    v6([0x2001, 2, 0, 0, 0, 0], 0, 48, Use::Nowhere, ["for benchmarks", "RFC 5180"]),
    v6([0x2001, 3, 0, 0, 0, 0], 0, 32, Use::Global, ["AMT", "RFC 7450"]),
    v6([0x2001, 4, 0x112, 0, 0, 0], 0, 48, Use::Global, ["AS112", "RFC 7535"]),
    v6([0x2001, 0x10, 0, 0, 0, 0], 0, 28, Use::Nowhere, ["ORCHID, deprecated", "RFC 4843"]),
    // Reachable by the registry, and yet no router has a route: these are identifiers.
    v6([0x2001, 0x20, 0, 0, 0, 0], 0, 28, Use::Nowhere, ["ORCHIDv2", "RFC 7343"]),
    v6([0x2001, 0x30, 0, 0, 0, 0], 0, 28, Use::Nowhere, ["a drone's identifier", "RFC 9374"]),
    v6([0x2001, 0xdb8, 0, 0, 0, 0], 0, 32, Use::Examples, ["for documentation", "RFC 3849"]),
    v6([0x2002, 0, 0, 0, 0, 0], 0, 16, Use::Global, ["6to4", "RFC 3056"]),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0], 0, 48, Use::Global, ["AS112", "RFC 7534"]),
    v6([0x3fff, 0, 0, 0, 0, 0], 0, 20, Use::Examples, ["for documentation", "RFC 9637"]),
    v6([0x5f00, 0, 0, 0, 0, 0], 0, 16, Use::Nowhere, ["a segment routing identifier", "RFC 9602"]),
    v6([0xfc00, 0, 0, 0, 0, 0], 0, 7, Use::Own, ["unique local", "RFC 4193"]),
    v6([0xfe80, 0, 0, 0, 0, 0], 0, 10, Use::Nowhere, ["link-local", "RFC 4291"]),
    v6([0xfec0, 0, 0, 0, 0, 0], 0, 10, Use::Own, ["site-local, deprecated", "RFC 3879"]),
    v6([0xff00, 0, 0, 0, 0, 0], 0, 8, Use::Nowhere, ["multicast", "RFC 4291"]),
];

/// The row that decides on an address, where no database can place it: only a site can.
#[must_use]
pub fn placeless(address: IpAddr) -> Option<&'static Row> {
    let rows = ROWS.iter().filter(|row| row.contains(address));
    rows.max_by_key(|row| row.prefix).filter(|row| !matches!(row.usage, Use::Global | Use::Examples))
}

/// The row of operators' own addresses that the whole network is in.
#[must_use]
pub fn own(network: IpNetwork) -> Option<&'static Row> {
    let mut rows = ROWS.iter().filter(|row| row.usage == Use::Own && row.prefix <= network.prefix());
    rows.find(|row| row.contains(network.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(address: &str) -> Option<&'static str> {
        placeless(address.parse().unwrap()).map(|row| row.name)
    }

    #[test]
    fn every_row_is_a_network_without_host_bits_and_stands_once() {
        let mut seen = std::collections::BTreeSet::new();
        for row in &ROWS {
            let network = row.network().unwrap();
            assert_eq!(network.ip(), network.network(), "{network}");
            assert!(seen.insert(network), "{network} stands twice");
            assert!(row.source.starts_with("RFC "), "{network}");
        }
    }

    #[test]
    fn special_purpose_space_has_no_place() {
        for (address, expected) in [
            ("0.0.0.0", "of this network"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "shared by carriers' customers"),
            ("100.127.255.255", "shared by carriers' customers"),
            ("127.0.0.53", "loopback"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "for IETF protocols"),
            ("192.168.1.1", "private"),
            ("198.19.255.255", "for benchmarks"),
            ("224.0.1.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("::1", "loopback"),
            ("64:ff9b:1::1", "for NAT64 of one's own"),
            ("100::1", "to be discarded"),
            ("100:0:0:1::1", "a dummy prefix"),
            ("2001:1::4", "for IETF protocols"),
            ("2001:2::1", "for benchmarks"),
            ("2001:1f::1", "ORCHID, deprecated"),
            ("2001:2f::1", "ORCHIDv2"),
            ("2001:1ff:ffff::", "for IETF protocols"),
            ("5f00::1", "a segment routing identifier"),
            ("fdff::1", "unique local"),
            ("fec0::1", "site-local, deprecated"),
            ("ff0e::1", "multicast"),
        ] {
            assert_eq!(name(address), Some(expected), "{address}");
        }
    }

    #[test]
    fn what_is_reachable_from_anywhere_has_a_place_and_so_have_examples() {
        for address in [
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "2001:db8:ffff::1",
            "3fff:fff::1",
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.0",
            "192.0.0.9",
            "192.0.0.10",
            "192.0.1.0",
            "192.88.99.1",
            "198.20.0.0",
            "223.255.255.255",
            "64:ff9b::1",
            "100:0:0:2::",
            "2001::1",
            "2001:1::1",
            "2001:3::1",
            "2001:4:112::1",
            "2001:200::",
            "2001:db9::",
            "2002::1",
            "3fff:1000::",
            "4000::",
            "fbff::1",
            "fe00::1",
        ] {
            assert_eq!(name(address), None, "{address}");
        }
    }

    #[test]
    fn addresses_of_an_operator_s_own_are_known_as_whole_networks() {
        let own = |network: &str| own(network.parse().unwrap()).map(|row| row.source);
        assert_eq!(own("10.1.0.0/16"), Some("RFC 1918"));
        assert_eq!(own("fd00::/8"), Some("RFC 4193"));
        assert_eq!(own("8.0.0.0/6"), None);
        assert_eq!(own("192.0.2.0/24"), None);
    }
}
