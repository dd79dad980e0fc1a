//! What places addresses in a config itself: sites and NAT64 prefixes. What contradicts another, or has no effect, is an
//! error.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Addr;
use ipnetwork::{IpNetwork, Ipv6Network};

use super::error::ErrorKind;
use super::finding::LineAt;
use super::groups::Groups;
use super::no_effect::NoEffect;
use super::raw::{Raw, RawSite};
use super::read::{List, Text};
use super::sink::Sink;
use super::values;

/// The prefixes under which all of IPv4 is without a config that says so, and an address is placed by the IPv4 address
/// that it carries: 6to4 (RFC 3056), Teredo (RFC 4380) and the well-known NAT64 prefix (RFC 6052).
pub(crate) const CARRIERS: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
];

/// The checked NAT64 prefixes. Those that overlap one before them are reported, and left out.
pub(super) fn check_nat64(list: &Option<List>, sink: &mut Sink<'_>) -> Vec<Ipv6Network> {
    let mut seen: Vec<(Ipv6Network, usize)> = Vec::new();
    for item in items(list) {
        let at = item.span().start;
        match values::nat64(item.get_ref()) {
            Err(error) => sink.error(at, "geo.nat64", error),
            Ok(prefix) => match seen.iter().find(|(other, _)| other.overlaps(prefix)) {
                Some(&(other, line)) => {
                    sink.error(at, "geo.nat64", ErrorKind::Nat64Overlap { prefix, other, line });
                }
                None => seen.push((prefix, sink.line(at))),
            },
        }
    }
    seen.into_iter().map(|(prefix, _)| prefix).collect()
}

/// A CIDR of a site, where it stands.
struct Claim<'r> {
    cidr: IpNetwork,
    jurisdiction: Jurisdiction,
    site: &'r RawSite,
    at: usize,
}

impl Claim<'_> {
    fn site_name(&self) -> String {
        self.site.name.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default()
    }
}

/// Reports each CIDR that two sites have in different jurisdictions, and each that gives no address its place. Where one
/// of two overlapping CIDRs is narrower, it wins, which is legal.
pub(super) fn check_sites(raw: &Raw, nat64: &[Ipv6Network], groups: &Groups, sink: &mut Sink<'_>) {
    let mut seen: BTreeMap<IpNetwork, Claim<'_>> = BTreeMap::new();
    for site in &raw.sites {
        let Some(Ok(jurisdiction)) = site.jurisdiction.as_ref().map(|text| groups.country(text.get_ref()))
        else {
            continue;
        };
        for item in items(&site.cidrs) {
            let (at, Ok(cidr)) = (item.span().start, values::cidr(item.get_ref())) else {
                continue;
            };
            let claim = Claim { cidr, jurisdiction, site, at };
            match seen.get(&cidr) {
                Some(other) => {
                    sink.error(at, "site.cidrs", stands_twice(&claim, other, sink.line_at(other.at)))
                }
                None => drop(seen.insert(cidr, claim)),
            }
        }
    }
    let mut covered = covered(seen.keys().copied());
    for claim in seen.values() {
        let why = placed_by_itself(claim.cidr, nat64).or_else(|| {
            let by = covered.remove(&claim.cidr)?;
            Some(NoEffect::Covered { by, site: seen.get(&by).map(Claim::site_name).unwrap_or_default() })
        });
        if let Some(why) = why {
            let kind = ErrorKind::NoEffect { site: claim.site_name(), cidr: claim.cidr, why };
            sink.error(claim.at, "site.cidrs", kind);
        }
    }
}

fn stands_twice(claim: &Claim<'_>, other: &Claim<'_>, line: LineAt) -> ErrorKind {
    if claim.jurisdiction == other.jurisdiction {
        let why = NoEffect::Again { line };
        return ErrorKind::NoEffect { site: claim.site_name(), cidr: claim.cidr, why };
    }
    ErrorKind::SiteConflict {
        cidr: claim.cidr,
        jurisdiction: claim.jurisdiction.to_string(),
        other: other.jurisdiction.to_string(),
        site: other.site_name(),
        line,
    }
}

/// Why no site is asked for any address of this network.
fn placed_by_itself(cidr: IpNetwork, nat64: &[Ipv6Network]) -> Option<NoEffect> {
    // The link's scopes are networks, and no wider one begins and ends in such a scope.
    if [cidr.network(), cidr.broadcast()].into_iter().all(|end| Addr::from(end).is_link_scope()) {
        return Some(NoEffect::LinkScope);
    }
    let IpNetwork::V6(cidr) = cidr else { return None };
    let carriers = CARRIERS.into_iter().filter_map(|(first, length)| Ipv6Network::new(first, length).ok());
    let below = carriers
        .chain(nat64.iter().copied())
        .find(|carrier| carrier.prefix() <= cidr.prefix() && carrier.contains(cidr.ip()))?;
    Some(NoEffect::Carried { below: below.into() })
}

/// The networks that narrower ones cover together, each with the first of these. The networks are given once each.
fn covered(networks: impl Iterator<Item = IpNetwork>) -> BTreeMap<IpNetwork, IpNetwork> {
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = networks.partition(IpNetwork::is_ipv4);
    let mut found = BTreeMap::new();
    for networks in [&mut v4, &mut v6] {
        // A network stands before those in it.
        networks.sort_by_key(|network| (ends(*network).0, network.prefix()));
        for (at, &network) in networks.iter().enumerate() {
            let (mut first_open, last) = ends(network);
            let mut covers = None;
            for &inner in networks.iter().skip(at + 1) {
                let (first, inner_last) = ends(inner);
                if first > last || first > first_open {
                    break;
                }
                covers.get_or_insert(inner);
                if inner_last >= last {
                    found.extend(covers.map(|by| (network, by)));
                    break;
                }
                first_open = first_open.max(inner_last + 1);
            }
        }
    }
    found
}

fn items(list: &Option<List>) -> impl Iterator<Item = &Text> {
    list.iter().flat_map(|list| &list.items)
}

/// The first and the last address of a network as numbers.
pub(super) fn ends(network: IpNetwork) -> (u128, u128) {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    (number(network.network()), number(network.broadcast()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_covered_by_narrower_ones_that_leave_no_gap() {
        let found = |networks: &[&str]| -> Vec<String> {
            let covered = covered(networks.iter().map(|text| network(text)));
            covered.into_iter().map(|(network, by)| format!("{network} by {by}")).collect()
        };
        assert_eq!(found(&["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"]), ["10.0.0.0/8 by 10.0.0.0/9"]);
        assert_eq!(found(&["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/10"]), [""; 0]);
        assert_eq!(found(&["10.0.0.0/8", "11.0.0.0/8"]), [""; 0]);
        assert_eq!(
            found(&[
                "::/0",
                "::/1",
                "8000::/1",
                "255.255.255.254/31",
                "255.255.255.254/32",
                "255.255.255.255/32"
            ]),
            ["255.255.255.254/31 by 255.255.255.254/32", "::/0 by ::/1"]
        );
    }

    proptest! {
        #[test]
        fn a_network_is_covered_where_each_of_its_addresses_is_in_a_narrower_one(
            networks in prop::collection::btree_set((0_u8..16, 28_u8..=32), 0..20)
        ) {
            let networks: std::collections::BTreeSet<IpNetwork> = networks
                .into_iter()
                .map(|(host, prefix)| {
                    let network = IpNetwork::new([192, 0, 2, host].into(), prefix).unwrap();
                    IpNetwork::new(network.network(), prefix).unwrap()
                })
                .collect();
            let found = covered(networks.iter().copied());
            for network in &networks {
                let has = |address| networks.iter().any(|it| it.prefix() > network.prefix() && it.contains(address));
                prop_assert_eq!(found.contains_key(network), network.iter().all(has), "{}", network);
            }
        }
    }
}
