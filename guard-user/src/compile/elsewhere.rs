//! Where the networks of an exemption's recipients are placed: an exemption covers what is placed where its document says.

use std::net::{Ipv4Addr, Ipv6Addr};

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::classes::{Range, v4_range, v6_range};
use super::overlay::{by_ipv4, jurisdictions};
use crate::config::Finding;
use crate::config::jurisdiction_set::JurisdictionSet;
use crate::config::policy::Policy;
use crate::exemption::{Document, ErrorKind};
use crate::geo::{Address, GeoDb, Runs};

/// A part of a recipient's network that is placed in another jurisdiction than the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The recipient's network.
    pub network: IpNetwork,
    /// The first address of it that is.
    pub address: std::net::IpAddr,
    /// Where that is placed.
    pub place: Jurisdiction,
    /// How many addresses of the network are not in the recipient's jurisdiction.
    pub count: u128,
}

/// The places of a policy: its sites over a database.
pub struct Places {
    v4: Runs<u32>,
    v6: Runs<u128>,
    /// Networks whose addresses are placed by the IPv4 address in them.
    by_ipv4: Vec<IpNetwork>,
}

impl Places {
    /// Lays the sites of the policy over the database.
    #[must_use]
    pub fn new(policy: &Policy, database: &GeoDb) -> Self {
        let (v4, v6) = jurisdictions(database, policy);
        Self { v4, v6, by_ipv4: by_ipv4(policy) }
    }

    /// Every network of a document's recipients that is not all placed in the recipient's jurisdiction, as errors in the
    /// document.
    #[must_use]
    pub fn errors(&self, document: &Document) -> Vec<Finding<ErrorKind>> {
        let placed = document.recipients.iter().filter(|recipient| !recipient.anywhere);
        let networks = placed.flat_map(|it| it.networks.iter().map(move |network| (it, *network)));
        let errors = networks.filter_map(|(recipient, network)| {
            let Elsewhere { network, address, place, count } =
                self.elsewhere(network, recipient.jurisdiction)?;
            let (recipient, jurisdiction) = (recipient.name.clone(), recipient.jurisdiction);
            let kind = ErrorKind::PlacedElsewhere {
                network,
                recipient,
                jurisdiction,
                amount: amount(count, network),
                address,
                place,
            };
            Some(Finding { place: None, within: None, field: "recipient.cidrs".to_owned(), kind })
        });
        errors.collect()
    }

    /// Where the addresses of these networks are placed; `None` where some are placed by an IPv4 address in them.
    pub(super) fn of(&self, networks: &[IpNetwork]) -> Option<JurisdictionSet> {
        let overlaps = |network: &IpNetwork| {
            self.by_ipv4.iter().any(|other| has(*other, *network) || has(*network, *other))
        };
        let v4 = networks.iter().filter_map(v4_range).flat_map(|range| places(&self.v4, range));
        let v6 = networks.iter().filter_map(v6_range).flat_map(|range| places(&self.v6, range));
        (!networks.iter().any(overlaps)).then(|| v4.chain(v6).collect())
    }

    /// The first part of a network that is not placed in this jurisdiction. Networks whose addresses are placed by the
    /// IPv4 address in them are left to the kernel.
    #[must_use]
    pub fn elsewhere(&self, network: IpNetwork, jurisdiction: Jurisdiction) -> Option<Elsewhere> {
        if self.by_ipv4.iter().any(|outer| has(*outer, network)) {
            return None;
        }
        let v4 = v4_range(&network).and_then(|range| not_in(&self.v4, range, jurisdiction));
        let v6 = || v6_range(&network).and_then(|range| not_in(&self.v6, range, jurisdiction));
        let found = v4.map(|(address, place, count)| (Ipv4Addr::from(address).into(), place, count));
        let found = found
            .or_else(|| v6().map(|(address, place, count)| (Ipv6Addr::from(address).into(), place, count)));
        found.map(|(address, place, count)| Elsewhere { network, address, place, count })
    }
}

/// Whether all of a network is in another one.
fn has(outer: IpNetwork, network: IpNetwork) -> bool {
    outer.prefix() <= network.prefix() && outer.contains(network.ip())
}

/// The places of a range.
fn places<K: Address>(runs: &Runs<K>, (first, last): Range<K>) -> impl Iterator<Item = Jurisdiction> {
    let from = runs.starts.partition_point(|start| *start <= first);
    let inner = runs.starts.iter().zip(&runs.places).skip(from);
    let inner = inner.take_while(move |(start, _)| **start <= last).map(|(_, place)| *place);
    std::iter::once(runs.lookup(first)).chain(inner)
}

/// The first address of a range that is not in this jurisdiction, where it is, and how many there are.
fn not_in<K: Address + Into<u128>>(
    runs: &Runs<K>,
    (first, last): Range<K>,
    jurisdiction: Jurisdiction,
) -> Option<(K, Jurisdiction, u128)> {
    let at_first = std::iter::once((first, runs.lookup(first)));
    let from = runs.starts.partition_point(|start| *start <= first);
    let inner = runs.starts.iter().zip(&runs.places).skip(from).map(|(start, place)| (*start, *place));
    let mut parts = at_first.chain(inner.take_while(|(start, _)| *start <= last)).peekable();
    let (mut found, mut count) = (None, 0_u128);
    while let Some((start, place)) = parts.next() {
        if place == jurisdiction {
            continue;
        }
        let end: u128 =
            parts.peek().map_or_else(|| last.into().saturating_add(1), |(next, _)| (*next).into());
        count = count.saturating_add(end.saturating_sub(start.into()));
        found = found.or(Some((start, place)));
    }
    found.map(|(address, place)| (address, place, count))
}

/// So many addresses of a network, in words.
fn amount(count: u128, network: IpNetwork) -> String {
    /// As many as people count.
    const COUNTED: u128 = 1 << 32;
    let bits = u32::from(if network.is_ipv4() { 32 - network.prefix() } else { 128 - network.prefix() });
    let all = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    match (count >= all, all <= COUNTED) {
        (true, _) => "all of it".to_owned(),
        (false, true) => format!("{count} of its {all} addresses"),
        // In thousandths, rounded up: what is there is never none.
        (false, false) => {
            let thousandths = (count / (all / 1000).max(1)).saturating_add(1).min(999);
            format!("{}.{} % of it", thousandths / 10, thousandths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Surroundings, parse};
    use crate::geo::Info;

    #[test]
    fn a_network_is_elsewhere_where_any_address_of_it_is() {
        let text = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[geo]\nnat64 = [\"2001:db8:64::/96\"]\n[[site]]\nname = \"dc\"\n\
                    jurisdiction = \"US\"\ncidrs = [\"198.51.100.128/25\", \"2001:db8:1::/48\"]\n";
        let policy =
            parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy;
        let (mut v4, mut v6) = (Runs::unknown(), Runs::unknown());
        let [gb, us, unknown]: [Jurisdiction; 3] = ["GB", "US", "unknown"].map(|text| text.parse().unwrap());
        for (at, place) in [(0xc633_6400, gb), (0xc633_6500, unknown)] {
            v4.push(at, place);
        }
        v6.push(0x2001_0db8 << 96, gb);
        let places = Places::new(&policy, &GeoDb { v4, v6, info: Info::default() });
        let found = |network: &str, jurisdiction| {
            let found = places.elsewhere(network.parse().unwrap(), jurisdiction);
            found.map(|it| format!("{} in {}, {}", it.address, it.place, amount(it.count, it.network)))
        };
        assert_eq!(found("198.51.100.0/25", gb), None);
        assert_eq!(
            found("198.51.100.0/24", gb).as_deref(),
            Some("198.51.100.128 in US, 128 of its 256 addresses")
        );
        assert_eq!(found("198.51.100.128/25", us), None);
        assert_eq!(
            found("198.51.100.0/24", us).as_deref(),
            Some("198.51.100.0 in GB, 128 of its 256 addresses")
        );
        assert_eq!(found("203.0.113.0/24", us).as_deref(), Some("203.0.113.0 in unknown, all of it"));
        assert_eq!(found("255.255.255.255/32", us).as_deref(), Some("255.255.255.255 in unknown, all of it"));
        assert_eq!(found("2001:db8::/32", gb).as_deref(), Some("2001:db8:1:: in US, 0.1 % of it"));
        assert_eq!(found("2001:db8:1:2::/64", us), None);
        // What is placed by an IPv4 address is not looked up by its own.
        assert_eq!(found("2001:db8:64::c633:6400/120", us), None);
        assert_eq!(found("2002:c633:6400::/48", us), None);
        let of = |networks: &[&str]| {
            let networks: Vec<IpNetwork> = networks.iter().map(|it| it.parse().unwrap()).collect();
            places.of(&networks).map(|set| set.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(of(&["198.51.100.0/24", "2001:db8:1:2::/64"]).as_deref(), Some("GB US"));
        assert_eq!(of(&["198.51.100.200/32"]).as_deref(), Some("US"));
        assert_eq!(of(&["198.51.100.0/32", "2001:db8:64::/112"]), None);
        assert_eq!(of(&["::/0"]), None);
    }
}
