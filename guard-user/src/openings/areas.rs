//! Areas: products of a set of classes for each dimension, and what is left of one without others.

/// Areas that are kept at once at most: what would need more counts as not covered.
const MOST: usize = 2_000;

/// A set of classes of one dimension, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Classes(Vec<u64>);

impl Classes {
    /// Those of the first `len` numbers for which something holds.
    pub(super) fn where_so(len: usize, holds: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0; len.div_ceil(64)];
        for number in (0..len).filter(|number| holds(*number)) {
            words[number / 64] |= 1 << (number % 64);
        }
        Self(words)
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|number| self.has(*number))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn is_in(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own & !other == 0)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(own, other)| own & other != 0)
    }

    fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own & other).collect())
    }

    fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own & !other).collect())
    }
}

/// A flow is of an area where its class of each dimension is in the area's set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area(pub(super) Vec<Classes>);

impl Area {
    fn is_empty(&self) -> bool {
        self.0.iter().any(Classes::is_empty)
    }

    fn is_in(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own.is_in(other))
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own.meets(other))
    }

    /// The dimensions in which it has nothing that another has.
    pub(super) fn apart(&self, other: &Self) -> Vec<usize> {
        let pairs = self.0.iter().zip(&other.0).enumerate();
        pairs.filter(|(_, (own, other))| !own.meets(other)).map(|(dimension, _)| dimension).collect()
    }
}

/// The two dimensions of ports, and the sets of their classes for each kind of packet: a flow is of one kind, so
/// that an area has nothing where its ports are of different kinds.
pub(super) struct Space {
    /// The number of the dimension.
    pub(super) ports: [usize; 2],
    /// Its classes of each kind.
    pub(super) kinds: [Vec<Classes>; 2],
}

impl Space {
    /// The area without ports that no flow has; `None` where nothing is left.
    pub(super) fn tidied(&self, mut area: Area) -> Option<Area> {
        let [local, remote] = self.ports;
        for (own, other) in self.kinds[0].iter().zip(&self.kinds[1]) {
            if !area.0[local].meets(own) {
                area.0[remote] = area.0[remote].without(other);
            } else if !area.0[remote].meets(other) {
                area.0[local] = area.0[local].without(own);
            }
        }
        (!area.is_empty()).then_some(area)
    }

    /// What two areas share.
    pub(super) fn shared(&self, one: &Area, other: &Area) -> Option<Area> {
        if !one.meets(other) {
            return None;
        }
        self.tidied(Area(one.0.iter().zip(&other.0).map(|(one, other)| one.and(other)).collect()))
    }

    /// What is left of areas without another. What is left may overlap: each is as large as can be, so that it says of as
    /// few dimensions as possible why it is left.
    fn without_one(&self, areas: Vec<Area>, other: &Area) -> Vec<Area> {
        let mut left: Vec<Area> = Vec::with_capacity(areas.len());
        for area in areas {
            if !area.meets(other) {
                add(&mut left, area);
                continue;
            }
            for (dimension, (own, others)) in area.0.iter().zip(&other.0).enumerate() {
                if own.is_in(others) {
                    continue;
                }
                let mut part = area.clone();
                part.0[dimension] = own.without(others);
                if let Some(part) = self.tidied(part) {
                    add(&mut left, part);
                }
            }
        }
        left
    }

    /// What is left of areas without others; `None` where that would be too many to keep.
    pub(super) fn without<'a>(
        &self,
        mut areas: Vec<Area>,
        others: impl IntoIterator<Item = &'a Area>,
    ) -> Option<Vec<Area>> {
        for other in others {
            areas = self.without_one(areas, other);
            if areas.len() > MOST {
                return None;
            }
        }
        Some(areas)
    }

    /// Whether others have all of these areas. What can't be told is not covered.
    pub(super) fn covers<'a>(&self, others: impl IntoIterator<Item = &'a Area>, areas: Vec<Area>) -> bool {
        self.without(areas, others).is_some_and(|left| left.is_empty())
    }
}

/// Adds an area, unless one that is there has it all; those that it has are taken out.
fn add(areas: &mut Vec<Area>, area: Area) {
    if areas.iter().any(|it| area.is_in(it)) {
        return;
    }
    areas.retain(|it| !it.is_in(&area));
    areas.push(area);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Three dimensions of four classes; the last two are ports, of which classes 0 and 1 are of one kind.
    fn space() -> Space {
        let kinds = || vec![Classes(vec![0b0011]), Classes(vec![0b1100])];
        Space { ports: [1, 2], kinds: [kinds(), kinds()] }
    }

    fn areas() -> impl Strategy<Value = Vec<Area>> {
        let area = prop::collection::vec(0..16_u64, 3);
        prop::collection::vec(area, 0..5).prop_map(|areas| {
            areas
                .into_iter()
                .map(|sets| Area(sets.into_iter().map(|set| Classes(vec![set])).collect()))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_left_has_every_flow_that_the_others_do_not_have(one in areas(), others in areas()) {
            let space = space();
            let left = space.without(one.clone(), &others).unwrap();
            for flow in 0..64_usize {
                let flow = [flow & 3, flow >> 2 & 3, flow >> 4];
                if (flow[1] < 2) != (flow[2] < 2) {
                    continue;
                }
                let of = |areas: &[Area]| {
                    areas.iter().any(|area| area.0.iter().zip(flow).all(|(set, class)| set.has(class)))
                };
                prop_assert_eq!(of(&left), of(&one) && !of(&others));
            }
        }
    }
}
