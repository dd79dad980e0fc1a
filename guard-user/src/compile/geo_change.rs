//! What another geo database would change for each pin: which destinations it would drop, and which it would open.

use std::net::{Ipv4Addr, Ipv6Addr};

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::overlay::jurisdictions;
use crate::config::jurisdiction_set::JurisdictionSet;
use crate::config::policy::Policy;
use crate::geo::GeoDb;
use crate::geo::diff::{self, FamilyDiff};
use crate::geo::merge;

/// What changes with a database, under the sites of a policy: where a site has an address, no database counts.
#[derive(Clone, Debug)]
pub struct GeoChange {
    v4: FamilyDiff<u32>,
    v6: FamilyDiff<u128>,
    /// What changes for each pin, in the order of the config.
    pub pins: Vec<PinChange>,
}

/// What changes for one pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinChange {
    /// Its name.
    pub pin: String,
    /// Its IPv4 destinations.
    pub v4: Counts,
    /// Its IPv6 destinations.
    pub v6: Counts,
    permitted: JurisdictionSet,
}

/// Destination addresses of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that the pin permits as it is.
    pub permitted: u128,
    /// Those of them that it would forbid.
    pub dropped: u128,
    /// Those that it forbids, and would permit.
    pub opened: u128,
}

/// A network that changes its jurisdiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedNetwork {
    /// The network.
    pub network: IpNetwork,
    /// Where it was.
    pub from: Jurisdiction,
    /// Where it is.
    pub to: Jurisdiction,
}

impl Counts {
    fn of<K>(diff: &FamilyDiff<K>, permitted: JurisdictionSet) -> Self {
        let mut counts = Self::default();
        for ((from, to), addresses) in &diff.addresses {
            let sum = match (permitted.contains(*from), permitted.contains(*to)) {
                (true, true) => None,
                (true, false) => Some(&mut counts.dropped),
                (false, true) => Some(&mut counts.opened),
                (false, false) => continue,
            };
            if let Some(sum) = sum {
                *sum = sum.saturating_add(*addresses);
            }
            if permitted.contains(*from) {
                counts.permitted = counts.permitted.saturating_add(*addresses);
            }
        }
        counts
    }

    /// What changes, in hundredths of what the pin permits as it is; infinite where it permits nothing.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.share_of(self.dropped.saturating_add(self.opened))
    }

    /// What it would permit and forbids as it is, in the same measure.
    #[must_use]
    pub fn opened_percent(&self) -> f64 {
        self.share_of(self.opened)
    }

    #[allow(clippy::cast_precision_loss, reason = "a share is shown and compared in whole hundredths or so")]
    fn share_of(&self, addresses: u128) -> f64 {
        match addresses {
            0 => 0.0,
            some => 100.0 * some as f64 / self.permitted as f64,
        }
    }
}

impl PinChange {
    /// The larger share of the two families: see [`Counts::percent`].
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.v4.percent().max(self.v6.percent())
    }

    /// The larger share of the two families: see [`Counts::opened_percent`].
    #[must_use]
    pub fn opened_percent(&self) -> f64 {
        self.v4.opened_percent().max(self.v6.opened_percent())
    }

    /// Whether it would drop what moves so.
    #[must_use]
    pub fn drops(&self, moved: &MovedNetwork) -> bool {
        self.permitted.contains(moved.from) && !self.permitted.contains(moved.to)
    }

    /// Whether it would permit what moves so, and forbids it as it is.
    #[must_use]
    pub fn opens(&self, moved: &MovedNetwork) -> bool {
        !self.permitted.contains(moved.from) && self.permitted.contains(moved.to)
    }
}

/// What changes where the new database takes the place of the old one.
#[must_use]
pub fn geo_change(policy: &Policy, old: &GeoDb, new: &GeoDb) -> GeoChange {
    let ((old_v4, old_v6), (new_v4, new_v6)) = (jurisdictions(old, policy), jurisdictions(new, policy));
    let (v4, v6) = (diff::diff(&old_v4, &new_v4), diff::diff(&old_v6, &new_v6));
    let pins = policy
        .distinct_pins()
        .map(|pin| PinChange {
            pin: pin.name.clone(),
            v4: Counts::of(&v4, pin.permitted),
            v6: Counts::of(&v6, pin.permitted),
            permitted: pin.permitted,
        })
        .collect();
    GeoChange { v4, v6, pins }
}

/// The new database where nothing of it opens: an address that it would place where a pin permits it that forbids it as it
/// is stays where the old one has it, or is `uncertain` where another pin would forbid it.
#[must_use]
pub fn only_closing(policy: &Policy, old: &GeoDb, new: &GeoDb) -> GeoDb {
    let permitted: Vec<JurisdictionSet> = policy.distinct_pins().map(|pin| pin.permitted).collect();
    let opens = |from, to| permitted.iter().any(|pin| !pin.contains(from) && pin.contains(to));
    merge::combine(old, new, |from, to| {
        let marks = [Jurisdiction::UNCERTAIN, Jurisdiction::UNKNOWN];
        // Of one that opens for one pin and closes for another a mark opens for none.
        match opens(from, to) {
            false => to,
            true if !opens(to, from) => from,
            true => marks.into_iter().find(|mark| !opens(from, *mark)).unwrap_or(from),
        }
    })
}

impl GeoChange {
    /// The pin that would newly permit the largest share.
    #[must_use]
    pub fn most_opened(&self) -> Option<&PinChange> {
        self.pins.iter().max_by(|one, other| one.opened_percent().total_cmp(&other.opened_percent()))
    }

    /// Every network that changes its jurisdiction: the IPv4 ones and then the IPv6 ones, in the order of addresses.
    pub fn networks(&self) -> impl Iterator<Item = MovedNetwork> {
        let v4 = self.v4.moved.iter().flat_map(|moved| {
            moved
                .networks()
                .map(|(first, prefix)| (Ipv4Addr::from(first).into(), prefix, moved.from, moved.to))
        });
        let v6 = self.v6.moved.iter().flat_map(|moved| {
            moved
                .networks()
                .map(|(first, prefix)| (Ipv6Addr::from(first).into(), prefix, moved.from, moved.to))
        });
        // No prefix is longer than its family's addresses.
        v4.chain(v6).filter_map(|(first, prefix, from, to)| {
            Some(MovedNetwork { network: IpNetwork::new(first, prefix).ok()?, from, to })
        })
    }

    /// The pin of which the largest share changes.
    #[must_use]
    pub fn largest(&self) -> Option<&PinChange> {
        self.pins.iter().max_by(|one, other| one.percent().total_cmp(&other.percent()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use guard_common::interval;
    use guard_common::interval::build::GeoImage;
    use guard_common::packet::Addr;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::compile::geo_image;
    use crate::config::{Surroundings, parse};
    use crate::geo::{Info, Runs};

    const PLACES: [&str; 5] = ["unknown", "uncertain", "IE", "BE", "US"];
    /// 9.0.0.0, and 2001:db8::.
    const BASE: (u32, u128) = (9 << 24, 0x2001_0db8 << 96);
    const ADDRESSES: u32 = 256;

    fn policy(sites: &str) -> Policy {
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[geo]\nnat64 = [\"2001:db8:0:20::/64\"]\n{sites}\
             [[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\n\
             [[pin.select]]\nports = [\"tcp/143\"]\n[[pin.select]]\nports = [\"tcp/993\"]\n\
             [[pin]]\nname = \"files\"\nhome = \"IE\"\npermit = [\"unknown\"]\naction = \"drop\"\nselect.ports = [\"tcp/20\"]\n"
        );
        parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
    }

    /// Runs of the IPv4 and the IPv6 space alike.
    fn database(pushes: &[(u8, usize)]) -> GeoDb {
        let (mut v4, mut v6) = (Runs::unknown(), Runs::unknown());
        let ends = [(ADDRESSES, Jurisdiction::UNKNOWN)];
        let pushes = pushes.iter().map(|(at, place)| (u32::from(*at), PLACES[*place].parse().unwrap()));
        for (at, place) in pushes.chain(ends) {
            v4.push(BASE.0 + at, place);
            v6.push(BASE.1 + (u128::from(at) << 64), place);
        }
        GeoDb { v4, v6, info: Info::default() }
    }

    fn place_v4(image: &GeoImage, at: u32) -> Jurisdiction {
        interval::place_v4(image, BASE.0 + at).unwrap().jurisdiction()
    }

    fn place_v6(image: &GeoImage, at: u32) -> Jurisdiction {
        let address = Addr { hi: (BASE.1 >> 64) as u64 + u64::from(at), lo: 0 };
        interval::place_v6(image, address).unwrap().jurisdiction()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn of_a_database_that_opens_all_that_closes_is_taken_and_nothing_else(
            old in btree_map(any::<u8>(), 0_usize..5, 0..30),
            new in btree_map(any::<u8>(), 0_usize..5, 0..30),
            permits_unknown in any::<bool>(),
        ) {
            let mut policy = policy("");
            if !permits_unknown {
                policy.pins.retain(|pin| pin.name != "files");
            }
            let [old, new] = [old, new].map(|it| database(&it.into_iter().collect::<Vec<_>>()));
            let taken = only_closing(&policy, &old, &new);
            for at in 0..ADDRESSES {
                let at = [
                    std::net::IpAddr::from(Ipv4Addr::from(BASE.0 + at)),
                    Ipv6Addr::from(BASE.1 + (u128::from(at) << 64)).into(),
                ];
                for address in at {
                    let [was, wanted, is] = [&old, &new, &taken].map(|it| it.lookup(address));
                    let opens = |from, to| {
                        policy.pins.iter().any(|pin| !pin.permitted.contains(from) && pin.permitted.contains(to))
                    };
                    prop_assert!(!opens(was, is), "{address} opens: {was} {wanted} {is}");
                    if !opens(was, wanted) {
                        prop_assert_eq!(is, wanted);
                    }
                    // Where no pin permits what nobody can tell, a pin forbids all that it would forbid.
                    for pin in policy.pins.iter().filter(|_| !permits_unknown) {
                        prop_assert!(pin.permitted.contains(wanted) || !pin.permitted.contains(is));
                    }
                }
            }
        }

        #[test]
        fn what_changes_for_a_pin_is_what_the_tables_judge_otherwise(
            old in btree_map(any::<u8>(), 0_usize..5, 0..30),
            new in btree_map(any::<u8>(), 0_usize..5, 0..30),
            site in 0_u8..4,
        ) {
            let site = u32::from(site) * 64;
            let sites = format!("[[site]]\nname = \"dc\"\njurisdiction = \"IE\"\ncidrs = [\"9.0.0.{site}/26\"]\n");
            let policy = policy(&sites);
            let [old, new] = [old, new].map(|it| database(&it.into_iter().collect::<Vec<_>>()));
            let images = [&old, &new].map(|it| geo_image(it, &policy.sites).unwrap());
            let change = geo_change(&policy, &old, &new);
            let networks: Vec<MovedNetwork> = change.networks().collect();
            for pin in &change.pins {
                let permitted = policy.pins.iter().find(|it| it.name == pin.pin).unwrap().permitted;
                let mut counted = [Counts::default(); 2];
                for at in 0..ADDRESSES {
                    let v4 = images.each_ref().map(|image| place_v4(image, at));
                    let v6 = images.each_ref().map(|image| place_v6(image, at));
                    // Below the NAT64 prefix the IPv4 address counts.
                    let v6 = if at == 0x20 { [Jurisdiction::UNKNOWN; 2] } else { v6 };
                    let v4_address = std::net::IpAddr::from(Ipv4Addr::from(BASE.0 + at));
                    let v6_address = Ipv6Addr::from(BASE.1 + (u128::from(at) << 64)).into();
                    for (counts, [from, to], address, size) in [
                        (0, v4, v4_address, 1),
                        (1, v6, v6_address, 1_u128 << 64),
                    ] {
                        let moved = networks.iter().find(|it| it.network.contains(address));
                        prop_assert_eq!(moved.map(|it| (it.from, it.to)), (from != to).then_some((from, to)));
                        let is = (permitted.contains(from), permitted.contains(to));
                        prop_assert_eq!(moved.is_some_and(|it| pin.drops(it)), is == (true, false));
                        prop_assert_eq!(moved.is_some_and(|it| pin.opens(it)), is == (false, true));
                        counted[counts].permitted += if is.0 { size } else { 0 };
                        counted[counts].dropped += if is == (true, false) { size } else { 0 };
                        counted[counts].opened += if is == (false, true) { size } else { 0 };
                    }
                }
                for (found, expected) in [(pin.v4, counted[0]), (pin.v6, counted[1])] {
                    prop_assert_eq!((found.dropped, found.opened), (expected.dropped, expected.opened));
                    // The rest of the world is unknown.
                    let rest = permitted.contains(Jurisdiction::UNKNOWN);
                    prop_assert!(rest || found.permitted == expected.permitted);
                }
            }
        }
    }

    #[test]
    fn shares_are_of_what_the_pin_permits_and_a_pin_counts_once() {
        let (old, new) = (database(&[(0, 2), (100, 4)]), database(&[(0, 2), (90, 4), (120, 3), (125, 4)]));
        let change = geo_change(&policy(""), &old, &new);
        let [mail, files] = change.pins.as_slice() else { panic!("{:?}", change.pins) };
        assert_eq!(mail.v4, Counts { permitted: 100, dropped: 10, opened: 5 });
        assert!((mail.v4.percent() - 15.0).abs() < 1e-9);
        assert_eq!(files.v4.dropped, 10);
        assert!(files.v4.percent() < 0.001);
        assert_eq!(change.largest().map(|pin| pin.pin.as_str()), Some("mail"));
        let nothing = geo_change(&policy(""), &database(&[]), &old);
        assert_eq!(nothing.pins[0].v4.percent(), f64::INFINITY);
        assert_eq!(geo_change(&policy(""), &old, &old).networks().count(), 0);
    }
}
