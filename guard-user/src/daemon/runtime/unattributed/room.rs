//! How much of several amounts fits into places of limited room: a maximum flow from the amounts to the places.

use std::collections::{BTreeMap, VecDeque};

/// An amount, and the places that may take parts of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// By number.
    pub(super) places: Vec<usize>,
    pub(super) size: u64,
}

/// The most of these amounts that fits at once, where each place takes no more than its room. By augmenting paths, the
/// shortest first (Edmonds and Karp).
pub(super) fn fits(amounts: &[Amount], room: &[u64]) -> u64 {
    let mut flow = Flow { amounts, left: room.to_vec(), put: vec![BTreeMap::new(); amounts.len()] };
    let mut all = 0_u64;
    for (at, amount) in amounts.iter().enumerate() {
        let mut rest = amount.size;
        while let Some(path) = flow.path(at).filter(|_| rest > 0) {
            let step = flow.push(&path, rest);
            rest -= step;
            all = all.saturating_add(step);
        }
    }
    all
}

struct Flow<'a> {
    amounts: &'a [Amount],
    /// The room that each place still has.
    left: Vec<u64>,
    /// What of each amount is where.
    put: Vec<BTreeMap<usize, u64>>,
}

/// An amount and the place to which more of it goes.
type Step = (usize, usize);

impl Flow<'_> {
    /// How more of an amount gets a place: the last of these places has room, and each before it gives up as much of the
    /// next amount.
    fn path(&self, from: usize) -> Option<Vec<Step>> {
        // By place, the amount that would go there; by amount, the place that would give it up.
        let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
        let mut moved: BTreeMap<usize, Option<usize>> = BTreeMap::from([(from, None)]);
        let mut queue = VecDeque::from([from]);
        while let Some(amount) = queue.pop_front() {
            for &place in &self.amounts.get(amount)?.places {
                if reached.contains_key(&place) {
                    continue;
                }
                reached.insert(place, amount);
                if self.left.get(place).is_some_and(|left| *left > 0) {
                    return Some(Self::back(place, &reached, &moved));
                }
                for (other, put) in self.put.iter().enumerate() {
                    if put.get(&place).is_some_and(|put| *put > 0) && !moved.contains_key(&other) {
                        moved.insert(other, Some(place));
                        queue.push_back(other);
                    }
                }
            }
        }
        None
    }

    /// The way from the first amount to this place.
    fn back(
        last: usize,
        reached: &BTreeMap<usize, usize>,
        moved: &BTreeMap<usize, Option<usize>>,
    ) -> Vec<Step> {
        let mut path = Vec::new();
        let mut next = Some(last);
        while let Some(place) = next {
            let Some(&amount) = reached.get(&place) else { break };
            path.push((amount, place));
            next = moved.get(&amount).copied().flatten();
        }
        path.reverse();
        path
    }

    /// Moves as much as the path takes, this at most.
    fn push(&mut self, path: &[Step], most: u64) -> u64 {
        let given_up = |(place, amount): (usize, usize)| {
            self.put.get(amount).and_then(|put| put.get(&place)).copied().unwrap_or_default()
        };
        let moves: Vec<(usize, usize)> =
            path.windows(2).filter_map(|two| Some((two.first()?.1, two.last()?.0))).collect();
        let end = path.last().and_then(|(_, place)| self.left.get_mut(*place));
        let room = end.as_deref().copied().unwrap_or_default();
        let step = moves.iter().copied().map(given_up).fold(room.min(most), u64::min);
        if let Some(left) = end {
            *left -= step;
        }
        for (place, amount) in moves {
            if let Some(put) = self.put.get_mut(amount).and_then(|put| put.get_mut(&place)) {
                *put -= step;
            }
        }
        for (amount, place) in path {
            if let Some(put) = self.put.get_mut(*amount) {
                *put.entry(*place).or_default() += step;
            }
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(places: &[usize], size: u64) -> Amount {
        Amount { places: places.to_vec(), size }
    }

    #[test]
    fn what_went_first_makes_room_for_what_has_no_other_place() {
        let amounts = [amount(&[0, 1], 5), amount(&[0], 5), amount(&[1, 2], 4)];
        assert_eq!(fits(&amounts, &[5, 5, 0]), 10);
        assert_eq!(fits(&amounts, &[5, 5, 9]), 14);
        assert_eq!(fits(&amounts, &[5, 0, 0]), 5);
        assert_eq!(fits(&[amount(&[], 7), amount(&[9], 7)], &[3]), 0);
    }

    proptest! {
        /// As much as the least cut lets through: for any set of places, the room of these and the amounts that have others.
        #[test]
        fn it_is_as_much_as_the_least_cut(
            amounts in prop::collection::vec((1..16_usize, 0..40_u64), 0..6),
            room in prop::collection::vec(0..40_u64, 4..5),
        ) {
            let all: Vec<Amount> = amounts
                .iter()
                .map(|(set, size)| amount(&(0..4).filter(|at| set >> at & 1 == 1).collect::<Vec<_>>(), *size))
                .collect();
            let cut = |set: usize| {
                let inside = (0..4).filter(|at| set >> at & 1 == 1).map(|at| room[at]).sum::<u64>();
                let others = amounts.iter().filter(|(its, _)| its & !set != 0).map(|(_, size)| size).sum::<u64>();
                inside + others
            };
            prop_assert_eq!(Some(fits(&all, &room)), (0..16).map(cut).min());
        }
    }
}
