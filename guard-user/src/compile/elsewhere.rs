//! Where the networks of an exemption's recipients are placed: an exemption covers what is placed where its document says.

use std::net::{Ipv4Addr, Ipv6Addr};

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::classes::{Range, v4_range, v6_range};
use super::overlay::{by_ipv4, jurisdictions};
use crate::config::Finding;
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
            let Elsewhere { network, address, place } = self.elsewhere(network, recipient.jurisdiction)?;
            let (recipient, jurisdiction) = (recipient.name.clone(), recipient.jurisdiction.to_string());
            let kind = ErrorKind::PlacedElsewhere {
                network,
                recipient,
                jurisdiction,
                address,
                place: place.to_string(),
            };
            Some(Finding { place: None, field: "recipient.cidrs".to_owned(), kind })
        });
        errors.collect()
    }

    /// The first part of a network that is not placed in this jurisdiction. Networks whose addresses are placed by the
    /// IPv4 address in them are left to the kernel.
    #[must_use]
    pub fn elsewhere(&self, network: IpNetwork, jurisdiction: Jurisdiction) -> Option<Elsewhere> {
        let has = |outer: &IpNetwork| outer.prefix() <= network.prefix() && outer.contains(network.ip());
        if self.by_ipv4.iter().any(has) {
            return None;
        }
        let v4 = v4_range(&network).and_then(|range| first_elsewhere(&self.v4, range, jurisdiction));
        let v6 = || v6_range(&network).and_then(|range| first_elsewhere(&self.v6, range, jurisdiction));
        let found = v4.map(|(address, place)| (Ipv4Addr::from(address).into(), place));
        let found = found.or_else(|| v6().map(|(address, place)| (Ipv6Addr::from(address).into(), place)));
        found.map(|(address, place)| Elsewhere { network, address, place })
    }
}

fn first_elsewhere<K: Address>(
    runs: &Runs<K>,
    (first, last): Range<K>,
    jurisdiction: Jurisdiction,
) -> Option<(K, Jurisdiction)> {
    let at_first = std::iter::once((first, runs.lookup(first)));
    let from = runs.starts.partition_point(|start| *start <= first);
    let inner = runs.starts.iter().zip(&runs.places).skip(from).map(|(start, place)| (*start, *place));
    at_first.chain(inner.take_while(|(start, _)| *start <= last)).find(|(_, place)| *place != jurisdiction)
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
            found.map(|it| format!("{} in {}", it.address, it.place))
        };
        assert_eq!(found("198.51.100.0/25", gb), None);
        assert_eq!(found("198.51.100.0/24", gb).as_deref(), Some("198.51.100.128 in US"));
        assert_eq!(found("198.51.100.128/25", us), None);
        assert_eq!(found("198.51.100.0/24", us).as_deref(), Some("198.51.100.0 in GB"));
        assert_eq!(found("203.0.113.0/24", us).as_deref(), Some("203.0.113.0 in unknown"));
        assert_eq!(found("255.255.255.255/32", us).as_deref(), Some("255.255.255.255 in unknown"));
        assert_eq!(found("2001:db8::/32", gb).as_deref(), Some("2001:db8:1:: in US"));
        assert_eq!(found("2001:db8:1:2::/64", us), None);
        // What is placed by an IPv4 address is not looked up by its own.
        assert_eq!(found("2001:db8:64::c633:6400/120", us), None);
        assert_eq!(found("2002:c633:6400::/48", us), None);
    }
}
