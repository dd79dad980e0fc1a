//! Sites over the geo database: one sorted sequence of places for each family.

use guard_common::abi::{Place, PlacedBy};
use guard_common::interval::build::{GeoImage, TableFull};
use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::classes::{Key, Range, borders, v4_range, v6_range};
use crate::config::policy::Site;
use crate::geo::GeoDb;

/// The geo tables: the sites where there are any, else what the database says. Where sites overlap, the
/// narrowest CIDR holds.
///
/// # Errors
///
/// [`TableFull`] where the intervals are more than the tables hold.
pub fn geo_image(db: &GeoDb, sites: &[Site]) -> Result<GeoImage, TableFull> {
    let v4 = site_runs(sites, v4_range);
    let v6 = site_runs(sites, v6_range);
    GeoImage::build(Overlay::new(db.v4.iter(), v4), Overlay::new(db.v6.iter(), v6))
}

/// From where on which site holds, if any, in the order of addresses; the first is at the lowest address.
fn site_runs<K: Key + std::ops::Sub<Output = K>>(
    sites: &[Site],
    range: impl Fn(&IpNetwork) -> Option<Range<K>>,
) -> Vec<(K, Option<Jurisdiction>)> {
    let cidrs: Vec<(Range<K>, Jurisdiction)> = sites
        .iter()
        .flat_map(|site| site.cidrs.iter().map(|cidr| (cidr, site.jurisdiction)))
        .filter_map(|(cidr, jurisdiction)| Some((range(cidr)?, jurisdiction)))
        .collect();
    borders(cidrs.iter().map(|cidr| cidr.0))
        .into_iter()
        .map(|border| {
            let narrowest = cidrs
                .iter()
                .filter(|((first, last), _)| (*first..=*last).contains(&border))
                .min_by_key(|((first, last), _)| *last - *first);
            (border, narrowest.map(|cidr| cidr.1))
        })
        .collect()
}

/// Walks the database's runs and the sites' at once.
struct Overlay<K, D: Iterator<Item = (K, Jurisdiction)>> {
    database: std::iter::Peekable<D>,
    sites: std::iter::Peekable<std::vec::IntoIter<(K, Option<Jurisdiction>)>>,
    by_database: Jurisdiction,
    by_site: Option<Jurisdiction>,
}

impl<K: Key, D: Iterator<Item = (K, Jurisdiction)>> Overlay<K, D> {
    fn new(database: D, sites: Vec<(K, Option<Jurisdiction>)>) -> Self {
        Self {
            database: database.peekable(),
            sites: sites.into_iter().peekable(),
            by_database: Jurisdiction::UNKNOWN,
            by_site: None,
        }
    }

    fn place(&self) -> Place {
        match (self.by_site, self.by_database) {
            (Some(jurisdiction), _) => Place::new(jurisdiction, PlacedBy::Site),
            (None, Jurisdiction::UNKNOWN) => Place::UNKNOWN,
            (None, jurisdiction) => Place::new(jurisdiction, PlacedBy::Database),
        }
    }
}

impl<K: Key, D: Iterator<Item = (K, Jurisdiction)>> Iterator for Overlay<K, D> {
    type Item = (K, Place);

    fn next(&mut self) -> Option<Self::Item> {
        let database = self.database.peek().map(|run| run.0);
        let site = self.sites.peek().map(|run| run.0);
        let start = match (database, site) {
            (Some(database), Some(site)) => database.min(site),
            (start, None) | (None, start) => start?,
        };
        if let Some(run) = self.database.next_if(|run| run.0 == start) {
            self.by_database = run.1;
        }
        if let Some(run) = self.sites.next_if(|run| run.0 == start) {
            self.by_site = run.1;
        }
        Some((start, self.place()))
    }
}
