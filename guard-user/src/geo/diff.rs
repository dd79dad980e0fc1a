//! Where two databases differ: by the borders of their runs alone, whatever the number of addresses.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use guard_common::jurisdiction::Jurisdiction;

use super::{Address, Runs};

/// Neighbouring addresses that one database has in one place, and another one in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved<K> {
    /// The first address.
    pub first: K,
    /// The last address.
    pub last: K,
    /// Where they were.
    pub from: Jurisdiction,
    /// Where they are.
    pub to: Jurisdiction,
}

/// How one family of addresses differs between two databases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyDiff<K> {
    /// What moved, in the order of addresses.
    pub moved: Vec<Moved<K>>,
    /// How many addresses were at a place and are at another, or still there.
    pub addresses: BTreeMap<(Jurisdiction, Jurisdiction), u128>,
}

/// Compares two databases' runs of one family.
#[must_use]
pub fn diff<K: Address>(old: &Runs<K>, new: &Runs<K>) -> FamilyDiff<K> {
    let mut found = FamilyDiff { moved: Vec::<Moved<K>>::new(), addresses: BTreeMap::new() };
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    let (mut from, mut to) = (Jurisdiction::UNKNOWN, Jurisdiction::UNKNOWN);
    let mut first = K::ZERO;
    loop {
        // The next address at which either of them changes.
        let next = match (left.peek(), right.peek()) {
            (Some((old, _)), Some((new, _))) => Some(*old.min(new)),
            (Some((at, _)), None) | (None, Some((at, _))) => Some(*at),
            (None, None) => None,
        };
        if let Some(last) = next.map_or(Some(K::LAST), Address::before)
            && last.cmp(&first) != Ordering::Less
        {
            let count = found.addresses.entry((from, to)).or_insert(0);
            *count = count.saturating_add(K::count(first, last));
            let goes_on = |it: &&mut Moved<K>| {
                (it.from, it.to) == (from, to) && first.before().is_some_and(|before| it.last == before)
            };
            match found.moved.last_mut().filter(goes_on) {
                Some(before) => before.last = last,
                None if from != to => found.moved.push(Moved { first, last, from, to }),
                None => {}
            }
        }
        let Some(next) = next else { return found };
        first = next;
        if let Some((_, place)) = left.next_if(|run| run.0 == next) {
            from = place;
        }
        if let Some((_, place)) = right.next_if(|run| run.0 == next) {
            to = place;
        }
    }
}

impl<K: Address> Moved<K> {
    /// The fewest networks that have just these addresses: each one's first address and prefix length.
    pub fn networks(&self) -> impl Iterator<Item = (K, u8)> {
        let last = self.last;
        let mut next = Some(self.first);
        std::iter::from_fn(move || {
            let first = next?;
            let (prefix, end) = K::largest(first, last);
            next = end.after().filter(|after| *after <= last);
            Some((first, prefix))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn runs<K: Address>(pushes: &BTreeMap<K, u8>) -> Runs<K> {
        let mut runs = Runs::unknown();
        for (start, index) in pushes {
            runs.push(*start, Jurisdiction::from_index(*index).unwrap());
        }
        runs
    }

    #[test]
    fn a_range_is_the_fewest_networks() {
        let networks = |first, last| -> Vec<(u32, u8)> {
            let place = Jurisdiction::UNKNOWN;
            Moved { first, last, from: place, to: place }.networks().collect()
        };
        assert_eq!(networks(0, u32::MAX), [(0, 0)]);
        assert_eq!(networks(5, 5), [(5, 32)]);
        assert_eq!(networks(1, 4), [(1, 32), (2, 31), (4, 32)]);
        assert_eq!(networks(u32::MAX - 1, u32::MAX), [(u32::MAX - 1, 31)]);
        assert_eq!(networks(0xc000_0200, 0xc000_02ff), [(0xc000_0200, 24)]);
    }

    #[test]
    fn one_database_does_not_differ_from_itself() {
        let database = crate::geo::embedded::load();
        let (v4, v6) = (diff(&database.v4, &database.v4), diff(&database.v6, &database.v6));
        assert!(v4.moved.is_empty() && v6.moved.is_empty());
        assert_eq!(v4.addresses.values().sum::<u128>(), 1 << 32);
        assert!(v4.addresses.keys().all(|(from, to)| from == to));
    }

    proptest! {
        #[test]
        fn what_moved_is_what_a_lookup_of_each_address_finds(
            old in btree_map(0_u32..300, 0_u8..4, 0..40),
            new in btree_map(0_u32..300, 0_u8..4, 0..40),
            // At the end of the space too.
            shift in prop::sample::select(vec![0, u32::MAX - 301]),
        ) {
            let shifted = |map: BTreeMap<u32, u8>| -> BTreeMap<u32, u8> {
                map.into_iter().map(|(start, place)| (start + shift, place)).collect()
            };
            let (old, new) = (runs(&shifted(old)), runs(&shifted(new)));
            let found = diff(&old, &new);
            let mut counted: BTreeMap<_, u128> = BTreeMap::new();
            for address in shift..=shift + 301 {
                let (from, to) = (old.lookup(address), new.lookup(address));
                *counted.entry((from, to)).or_insert(0) += 1;
                let in_moved: Vec<_> =
                    found.moved.iter().filter(|it| (it.first..=it.last).contains(&address)).collect();
                let expected: Vec<_> = if from == to { vec![] } else { vec![(from, to)] };
                prop_assert_eq!(in_moved.iter().map(|it| (it.from, it.to)).collect::<Vec<_>>(), expected);
            }
            let unmarked = (1_u128 << 32) - 302;
            let rest = if shift == 0 {
                (old.lookup(u32::MAX), new.lookup(u32::MAX))
            } else {
                (Jurisdiction::UNKNOWN, Jurisdiction::UNKNOWN)
            };
            *counted.entry(rest).or_insert(0) += unmarked;
            prop_assert_eq!(found.addresses, counted);
            // Neighbours of one kind are one.
            for pair in found.moved.windows(2) {
                let (one, two) = (pair[0], pair[1]);
                prop_assert!(one.last < two.first);
                prop_assert!(one.last + 1 < two.first || (one.from, one.to) != (two.from, two.to));
            }
            for moved in &found.moved {
                let mut next = u64::from(moved.first);
                for (first, prefix) in moved.networks() {
                    prop_assert_eq!(u64::from(first), next);
                    prop_assert_eq!(u64::from(first) % (1 << (32 - prefix)), 0);
                    next += 1 << (32 - prefix);
                }
                prop_assert_eq!(next, u64::from(moved.last) + 1);
            }
        }

        #[test]
        fn ipv6_is_compared_as_ipv4_is(
            old in btree_map(0_u32..300, 0_u8..4, 0..40),
            new in btree_map(0_u32..300, 0_u8..4, 0..40),
        ) {
            let wide = |map: &BTreeMap<u32, u8>| -> BTreeMap<u128, u8> {
                map.iter().map(|(start, place)| (u128::from(*start) << 96, *place)).collect()
            };
            let (v4, v6) = (diff(&runs(&old), &runs(&new)), diff(&runs(&wide(&old)), &runs(&wide(&new))));
            let narrow = |moved: &Moved<u128>| {
                let (first, last) = ((moved.first >> 96) as u32, (moved.last >> 96) as u32);
                Moved { first, last, from: moved.from, to: moved.to }
            };
            prop_assert_eq!(v6.moved.iter().map(narrow).collect::<Vec<_>>(), v4.moved.clone());
            let networks = |moved: &[Moved<u32>]| moved.iter().flat_map(Moved::networks).collect::<Vec<_>>();
            let wide: Vec<_> = v6.moved.iter().flat_map(Moved::networks).map(|(first, it)| ((first >> 96) as u32, it)).collect();
            prop_assert_eq!(wide, networks(&v4.moved));
        }
    }
}
