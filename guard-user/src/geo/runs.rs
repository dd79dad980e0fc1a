//! Runs: a whole address space as sorted neighbours of different jurisdictions.

use std::fmt::Debug;

use guard_common::jurisdiction::Jurisdiction;

/// An address as a number in host order, so that numeric order is the order of addresses.
pub trait Address: Copy + Ord + Debug {
    /// The lowest address.
    const ZERO: Self;
    /// The highest address.
    const LAST: Self;
    /// The address before this one, unless it is the lowest.
    fn before(self) -> Option<Self>;
    /// The address after this one, unless it is the highest.
    fn after(self) -> Option<Self>;
    /// How many addresses there are from the first to the last one; of the whole IPv6 space one less.
    fn count(first: Self, last: Self) -> u128;
    /// The largest network that begins with `first` and has no address past `last`: its prefix length and its last
    /// address.
    fn largest(first: Self, last: Self) -> (u8, Self);
}

macro_rules! address {
    ($number:ty) => {
        impl Address for $number {
            const ZERO: Self = 0;
            const LAST: Self = Self::MAX;

            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }

            fn after(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn count(first: Self, last: Self) -> u128 {
                u128::from(last.saturating_sub(first)).saturating_add(1)
            }

            fn largest(first: Self, last: Self) -> (u8, Self) {
                let mut prefix: u8 = Self::BITS as u8;
                let mut end = first;
                while prefix > 0 {
                    let host = Self::MAX.checked_shr(u32::from(prefix) - 1).unwrap_or(0);
                    if first & host != 0 || first | host > last {
                        break;
                    }
                    (prefix, end) = (prefix - 1, first | host);
                }
                (prefix, end)
            }
        }
    };
}

address!(u32);
address!(u128);

/// A whole address space, cut into runs of one jurisdiction each.
///
/// Run `i` reaches from `starts[i]` up to the address before `starts[i + 1]`, the last one to the end of
/// the space. Both lists have the same length, of at least one; `starts` begins with the lowest address
/// and is strictly increasing; neighbours in `places` differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs<K> {
    /// The first address of each run, in host order.
    pub starts: Vec<K>,
    /// The jurisdiction of each run.
    pub places: Vec<Jurisdiction>,
}

impl<K: Address> Runs<K> {
    /// A space of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::with_capacity(1)
    }

    /// The same, with room for this many runs: the beginning of a space that is filled by [`Self::push`].
    pub(crate) fn with_capacity(runs: usize) -> Self {
        let mut starts = Vec::with_capacity(runs);
        let mut places = Vec::with_capacity(runs);
        starts.push(K::ZERO);
        places.push(Jurisdiction::UNKNOWN);
        Self { starts, places }
    }

    /// Everything from `start` on is of this jurisdiction. Calls come in the order of their starts.
    pub fn push(&mut self, start: K, place: Jurisdiction) {
        debug_assert!(self.starts.last().is_some_and(|last| start >= *last), "runs come in order");
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.places.pop();
        }
        if self.places.last() != Some(&place) {
            self.starts.push(start);
            self.places.push(place);
        }
    }

    /// Gives memory back that was reserved for more runs than there are.
    pub(super) fn shrink(mut self) -> Self {
        self.starts.shrink_to_fit();
        self.places.shrink_to_fit();
        self
    }

    /// How many runs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Each run's first address and jurisdiction, in the order of addresses.
    pub fn iter(&self) -> impl Iterator<Item = (K, Jurisdiction)> {
        self.starts.iter().copied().zip(self.places.iter().copied())
    }

    /// The jurisdiction of one address, by binary search.
    #[must_use]
    pub fn lookup(&self, address: K) -> Jurisdiction {
        self.starts
            .partition_point(|start| *start <= address)
            .checked_sub(1)
            .and_then(|run| self.places.get(run))
            .copied()
            .unwrap_or(Jurisdiction::UNKNOWN)
    }

    /// Whether any address has a jurisdiction that is not `unknown`.
    #[must_use]
    pub fn says_anything(&self) -> bool {
        self.places.iter().any(|place| *place != Jurisdiction::UNKNOWN)
    }

    /// Whether what the type's documentation says of the lists holds.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        self.starts.len() == self.places.len()
            && self.starts.first() == Some(&K::ZERO)
            && self.starts.windows(2).all(|pair| pair[0] < pair[1])
            && self.places.windows(2).all(|pair| pair[0] != pair[1])
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn place(index: u8) -> Jurisdiction {
        Jurisdiction::from_index(index).unwrap()
    }

    #[test]
    fn an_unfilled_space_is_one_unknown_run() {
        let runs = Runs::<u128>::unknown();
        assert!(runs.is_sound() && !runs.says_anything());
        assert_eq!(runs.lookup(u128::MAX), Jurisdiction::UNKNOWN);
    }

    #[test]
    fn a_run_that_is_replaced_merges_with_its_neighbour() {
        let mut runs = Runs::<u32>::unknown();
        runs.push(10, place(1));
        runs.push(20, place(2));
        runs.push(20, place(1));
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(0, Jurisdiction::UNKNOWN), (10, place(1))]);
        runs.push(0x8000_0000, Jurisdiction::UNKNOWN);
        assert!(runs.is_sound());
        assert_eq!(runs.lookup(9), Jurisdiction::UNKNOWN);
        assert_eq!(runs.lookup(0x7fff_ffff), place(1));
        assert_eq!(runs.lookup(u32::MAX), Jurisdiction::UNKNOWN);
    }

    proptest! {
        #[test]
        fn lookup_is_the_last_push_at_or_below(
            pushes in btree_map(0u32..500, 0u8..4, 0..60),
            addresses in prop::collection::vec(0u32..600, 50),
        ) {
            let mut runs = Runs::<u32>::unknown();
            for (start, index) in &pushes {
                runs.push(*start, place(*index));
            }
            prop_assert!(runs.is_sound());
            for address in addresses {
                let expected = pushes.range(..=address).next_back().map_or(0, |(_, index)| *index);
                prop_assert_eq!(runs.lookup(address), place(expected));
            }
        }
    }
}
