//! Where two contents of a table differ.

use std::mem::offset_of;

use guard_common::abi::PolicyTable;

/// Bytes of a word.
const WORD: usize = 8;

/// Which words of a table are other than they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Differing {
    /// How many.
    pub(super) words: usize,
    /// The number of the first.
    pub(super) first: usize,
}

impl Differing {
    /// Of what was found from what should be there; `None` where both are the same.
    pub(super) fn of(found: &[u8], wanted: &[u8]) -> Option<Self> {
        // One call for all of it first: nearly always it is the same.
        if found == wanted {
            return None;
        }
        let both = found.chunks(WORD).zip(wanted.chunks(WORD)).enumerate();
        let mut words = both.filter(|(_, (found, wanted))| found != wanted).map(|(at, _)| at);
        let first = words.next();
        Some(match first {
            Some(first) => Self { words: 1 + words.count(), first },
            // One is longer than the other.
            None => Self {
                words: found.len().abs_diff(wanted.len()).div_ceil(WORD),
                first: found.len().min(wanted.len()) / WORD,
            },
        })
    }

    /// The first one, in words.
    pub(super) fn first_word(self) -> String {
        format!("word {}", self.first)
    }

    /// Likewise, in the policy's table.
    pub(super) fn first_of_policy(self) -> String {
        let at = self.first * WORD;
        let field = FIELDS.iter().rev().find(|(begin, _)| *begin <= at);
        field.map_or_else(
            || self.first_word(),
            |(begin, name)| format!("{name}, word {}", (at - begin) / WORD),
        )
    }
}

macro_rules! fields {
    ($($name:ident)+) => {
        /// The fields of the policy's table, each with where it begins.
        const FIELDS: &[(usize, &str)] = &[$((offset_of!(PolicyTable, $name), stringify!($name)),)+];
    };
}

fields! {
    generation pins drop flag ingress_drop ingress_flag record_all any_cgroup any_mark any_interface any_user dimensions
    cgroup_levels interface_len cgroup_len mark_len zero read_levels parent_len user_len identity permitted sources4 sources6
    source_sets local_ports local_sets remote_ports remote_sets peers4 peers6 peer_sets interfaces interface_pins cgroups
    cgroup_pins users user_pins parents marks exemptions exempt_jurisdictions exempt_places exempt_pins from_host
    failsafe_bounded failsafe_budgets failsafe_elements failsafe_matches failsafe_since any_volume volume_pins direction_pins
    nat64 nat64_len loop_len loops above above_len interfaces_until known_early refuse_in
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_words_are_counted_and_the_first_is_named() {
        let wanted = vec![0; 64];
        assert_eq!(Differing::of(&wanted, &wanted), None);
        for (places, words, first) in [(&[0][..], 1, 0), (&[63], 1, 7), (&[8, 15, 40], 2, 1)] {
            let mut found = wanted.clone();
            places.iter().for_each(|place| found[*place] = 1);
            assert_eq!(Differing::of(&found, &wanted), Some(Differing { words, first }));
        }
        assert_eq!(Differing::of(&wanted[..60], &wanted), Some(Differing { words: 1, first: 7 }));
    }

    #[test]
    fn a_word_of_the_policy_is_named_by_its_field() {
        let at = |offset: usize| Differing { words: 1, first: offset / WORD }.first_of_policy();
        assert_eq!(at(0), "generation, word 0");
        assert_eq!(at(offset_of!(PolicyTable, permitted) + 8 * 233), "permitted, word 233");
        assert_eq!(at(offset_of!(PolicyTable, exemptions) + 40), "exemptions, word 5");
        assert!(FIELDS.is_sorted(), "they are in the order of the table");
    }
}
