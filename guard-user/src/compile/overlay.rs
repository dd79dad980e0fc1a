//! Sites over special-purpose space over the geo database: one sorted sequence of places for each family.

use guard_common::abi::{Place, PlacedBy};
use guard_common::interval::build::{GeoImage, TableFull};
use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::classes::{Key, Range, borders, v4_range, v6_range};
use crate::config::CARRIERS;
use crate::config::policy::{Policy, Site};
use crate::geo::special::{self, Use};
use crate::geo::{Address, GeoDb, Runs};

/// The geo tables: the sites where there are any, else nothing for special-purpose space, else what the database
/// says. Where sites overlap, the narrowest CIDR holds.
///
/// # Errors
///
/// [`TableFull`] where the intervals are more than the tables hold.
pub fn geo_image(db: &GeoDb, sites: &[Site]) -> Result<GeoImage, TableFull> {
    let v4 = held_runs(sites, &[], v4_range);
    let v6 = held_runs(sites, &[], v6_range);
    GeoImage::build(Overlay::new(db.v4.iter(), v4), Overlay::new(db.v6.iter(), v6))
}

/// Where a database and the sites of a policy place each address, as packets are judged. Nothing is said of IPv6
/// addresses that are placed by the IPv4 address in them.
pub(crate) fn jurisdictions(db: &GeoDb, policy: &Policy) -> (Runs<u32>, Runs<u128>) {
    let v4 = held_runs(&policy.sites, &[], v4_range);
    let v6 = held_runs(&policy.sites, &by_ipv4(policy), v6_range);
    (runs(Overlay::new(db.v4.iter(), v4)), runs(Overlay::new(db.v6.iter(), v6)))
}

/// IPv6 networks whose addresses are placed by the IPv4 address in them.
pub(crate) fn by_ipv4(policy: &Policy) -> Vec<IpNetwork> {
    let carriers =
        CARRIERS.into_iter().filter_map(|(first, prefix)| IpNetwork::new(first.into(), prefix).ok());
    carriers.chain(policy.geo.nat64.iter().map(|prefix| IpNetwork::V6(*prefix))).collect()
}

fn runs<K: Address>(places: impl Iterator<Item = (K, Place)>) -> Runs<K> {
    let mut runs = Runs::unknown();
    for (start, place) in places {
        runs.push(start, place.jurisdiction());
    }
    runs
}

/// From where on which place holds against the database, if any, in the order of addresses; the first is at the
/// lowest address.
fn held_runs<K: Key + std::ops::Sub<Output = K>>(
    sites: &[Site],
    no_database: &[IpNetwork],
    range: impl Fn(&IpNetwork) -> Option<Range<K>>,
) -> Vec<(K, Option<Place>)> {
    let sites: Vec<(Range<K>, Place)> = sites
        .iter()
        .flat_map(|site| site.cidrs.iter().map(|cidr| (cidr, Place::new(site.jurisdiction, PlacedBy::Site))))
        .filter_map(|(cidr, place)| Some((range(cidr)?, place)))
        .collect();
    let special: Vec<(Range<K>, Use)> =
        special::ROWS.iter().filter_map(|row| Some((range(&row.network()?)?, row.usage))).collect();
    let special =
        [special, no_database.iter().filter_map(|it| Some((range(it)?, Use::Nowhere))).collect()].concat();
    let ranges = sites.iter().map(|site| site.0).chain(special.iter().map(|row| row.0));
    borders(ranges)
        .into_iter()
        .map(|border| {
            let place = narrowest(&sites, border).or_else(|| match narrowest(&special, border) {
                Some(Use::Own | Use::Nowhere) => Some(Place::UNKNOWN),
                Some(Use::Global | Use::Examples) | None => None,
            });
            (border, place)
        })
        .collect()
}

/// What the narrowest range around a key has.
fn narrowest<K: Key + std::ops::Sub<Output = K>, T: Copy>(ranges: &[(Range<K>, T)], key: K) -> Option<T> {
    let around = ranges.iter().filter(|((first, last), _)| (*first..=*last).contains(&key));
    around.min_by_key(|((first, last), _)| *last - *first).map(|range| range.1)
}

/// Walks the database's runs and those that hold against it at once.
struct Overlay<K, D: Iterator<Item = (K, Jurisdiction)>> {
    database: std::iter::Peekable<D>,
    held: std::iter::Peekable<std::vec::IntoIter<(K, Option<Place>)>>,
    by_database: Jurisdiction,
    against_it: Option<Place>,
}

impl<K: Key, D: Iterator<Item = (K, Jurisdiction)>> Overlay<K, D> {
    fn new(database: D, held: Vec<(K, Option<Place>)>) -> Self {
        Self {
            database: database.peekable(),
            held: held.into_iter().peekable(),
            by_database: Jurisdiction::UNKNOWN,
            against_it: None,
        }
    }

    fn place(&self) -> Place {
        match (self.against_it, self.by_database) {
            (Some(place), _) => place,
            (None, Jurisdiction::UNKNOWN) => Place::UNKNOWN,
            (None, jurisdiction) => Place::new(jurisdiction, PlacedBy::Database),
        }
    }
}

impl<K: Key, D: Iterator<Item = (K, Jurisdiction)>> Iterator for Overlay<K, D> {
    type Item = (K, Place);

    fn next(&mut self) -> Option<Self::Item> {
        let database = self.database.peek().map(|run| run.0);
        let held = self.held.peek().map(|run| run.0);
        let start = match (database, held) {
            (Some(database), Some(held)) => database.min(held),
            (start, None) | (None, start) => start?,
        };
        if let Some(run) = self.database.next_if(|run| run.0 == start) {
            self.by_database = run.1;
        }
        if let Some(run) = self.held.next_if(|run| run.0 == start) {
            self.against_it = run.1;
        }
        Some((start, self.place()))
    }
}
