//! Where an address is, and what says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard_common::abi::{Place, PlacedBy};
use guard_common::decide::through_nat64;
use guard_common::packet::Addr;
use ipnetwork::IpNetwork;

use super::country::named;
use super::explainer::Explainer;
use crate::config::policy::Site;
use crate::geo::{Runs, special};

impl Explainer {
    /// A placed destination in words: its jurisdiction, and the site or the database's range that says so.
    pub(super) fn place_words(&self, destination: Addr, place: Place) -> String {
        let address = IpAddr::from(destination);
        let carrying = through_nat64(&self.tables().policy, destination);
        let looked_up = carrying.embedded_v4().map_or(address, |v4| Ipv4Addr::from_bits(v4).into());
        let carried = match address == looked_up {
            true => String::new(),
            false => format!(", placed by the IPv4 address that it carries, {looked_up}"),
        };
        let jurisdiction = named(place.jurisdiction());
        match place.placed_by() {
            PlacedBy::LinkScope => format!("{address} does not leave the link and reaches no jurisdiction"),
            PlacedBy::Site => match self.site_of(looked_up) {
                Some((site, cidr)) => {
                    format!("{address} is in {jurisdiction}, by the site \"{}\" ({cidr}){carried}", site.name)
                }
                None => format!("{address} is in {jurisdiction}, by a site{carried}"),
            },
            PlacedBy::Database => {
                let (first, last) = self.range_of(looked_up);
                let source = &self.db.info.source;
                format!(
                    "{address} is in {jurisdiction}, by the database: {source}, {first} to {last}{carried}"
                )
            }
            PlacedBy::Nothing if let Some(row) = special::placeless(looked_up) => format!(
                "{address} is of {jurisdiction}: {looked_up} is {} ({}), which a site alone can place, and is in no \
                 site{carried}",
                row.name, row.source
            ),
            PlacedBy::Nothing => {
                let (first, last) = self.range_of(looked_up);
                format!(
                    "{address} is of {jurisdiction}: it is in no site, and the database has no entry from \
                     {first} to {last}{carried}"
                )
            }
        }
    }

    /// The site with the narrowest network around an address.
    fn site_of(&self, address: IpAddr) -> Option<(&Site, IpNetwork)> {
        self.policy
            .sites
            .iter()
            .flat_map(|site| site.cidrs.iter().map(move |cidr| (site, *cidr)))
            .filter(|(_, cidr)| cidr.contains(address))
            .max_by_key(|(_, cidr)| cidr.prefix())
    }

    /// The first and the last address of the database's run around an address.
    fn range_of(&self, address: IpAddr) -> (IpAddr, IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                let (first, next) = run(&self.db.v4, v4.to_bits());
                let last = next.map_or(u32::MAX, |next| next.saturating_sub(1));
                (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into())
            }
            IpAddr::V6(v6) => {
                let (first, next) = run(&self.db.v6, v6.to_bits());
                let last = next.map_or(u128::MAX, |next| next.saturating_sub(1));
                (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into())
            }
        }
    }
}

/// Where the run around a key starts, and where the next one does.
fn run<K: Copy + Ord + Default>(runs: &Runs<K>, key: K) -> (K, Option<K>) {
    let next = runs.starts.partition_point(|start| *start <= key);
    let first = next.checked_sub(1).and_then(|at| runs.starts.get(at));
    (first.copied().unwrap_or_default(), runs.starts.get(next).copied())
}
