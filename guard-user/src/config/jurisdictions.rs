//! Sets of jurisdictions.

use std::fmt;

use guard_common::jurisdiction::Jurisdiction;

/// A set of jurisdictions, the two marks among them: one bit for each number that a jurisdiction can
/// have in the tables.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct JurisdictionSet([u64; 4]);

impl JurisdictionSet {
    /// The set of none.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; 4])
    }

    /// Adds one; false where it was in the set already.
    pub fn insert(&mut self, jurisdiction: Jurisdiction) -> bool {
        let new = !self.contains(jurisdiction);
        let index = usize::from(jurisdiction.index());
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
        new
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, jurisdiction: Jurisdiction) -> bool {
        let index = usize::from(jurisdiction.index());
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Whether all of the other's are in this set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(mine, theirs)| mine & theirs == theirs)
    }

    /// How many are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set is that of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Those in the set: the countries in the order of their codes, then the two marks.
    pub fn iter(&self) -> impl Iterator<Item = Jurisdiction> + '_ {
        Jurisdiction::all().filter(|&jurisdiction| self.contains(jurisdiction))
    }
}

impl FromIterator<Jurisdiction> for JurisdictionSet {
    fn from_iter<I: IntoIterator<Item = Jurisdiction>>(jurisdictions: I) -> Self {
        let mut set = Self::new();
        set.extend(jurisdictions);
        set
    }
}

impl Extend<Jurisdiction> for JurisdictionSet {
    fn extend<I: IntoIterator<Item = Jurisdiction>>(&mut self, jurisdictions: I) {
        for jurisdiction in jurisdictions {
            self.insert(jurisdiction);
        }
    }
}

impl fmt::Debug for JurisdictionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in(indexes in prop::collection::btree_set(0_u8..=251, 0..60)) {
            let set: JurisdictionSet = indexes.iter().filter_map(|&i| Jurisdiction::from_index(i)).collect();
            prop_assert_eq!(set.len(), indexes.len());
            prop_assert_eq!(set.is_empty(), indexes.is_empty());
            for jurisdiction in Jurisdiction::all() {
                prop_assert_eq!(set.contains(jurisdiction), indexes.contains(&jurisdiction.index()));
            }
            prop_assert_eq!(set.iter().count(), indexes.len());
        }
    }

    #[test]
    fn inserting_says_whether_it_is_new() {
        let mut set = JurisdictionSet::new();
        assert!(set.insert(Jurisdiction::UNCERTAIN));
        assert!(!set.insert(Jurisdiction::UNCERTAIN));
        assert!(set.contains_all(&JurisdictionSet::new()) && !JurisdictionSet::new().contains_all(&set));
    }
}
