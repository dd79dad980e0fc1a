//! Several sources as one.
//!
//! Where only one source has a word on an address, it holds. Where two name different countries, nobody
//! can tell which is right, so the place is `uncertain`, as it is where one source calls it `uncertain`.
//! The order of the sources does not matter.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use guard_common::jurisdiction::Jurisdiction;

use super::{Address, GeoDb, Info, Runs};

/// One database that says what all the given ones say together; `None` where none is given.
///
/// The result is as old as the oldest source, and undated if one of them is.
#[must_use]
pub fn merge(sources: impl IntoIterator<Item = GeoDb>) -> Option<GeoDb> {
    let mut sources = sources.into_iter();
    let first = sources.next()?;
    let mut parts = Vec::new();
    let mut merged = first;
    for source in sources {
        if parts.is_empty() {
            parts.push(merged.info.clone());
        }
        merged.v4 = combine_runs(&merged.v4, &source.v4, agree);
        merged.v6 = combine_runs(&merged.v6, &source.v6, agree);
        parts.push(source.info);
    }
    if parts.is_empty() {
        return Some(merged);
    }
    Some(GeoDb::assemble(merged.v4, merged.v6, merge_info(parts)))
}

/// Two databases as one: each address is where `place` says of its place in the first and in the second one. All else is of
/// the second one.
#[must_use]
pub fn combine(
    first: &GeoDb,
    second: &GeoDb,
    place: impl Fn(Jurisdiction, Jurisdiction) -> Jurisdiction + Copy,
) -> GeoDb {
    let (v4, v6) = (combine_runs(&first.v4, &second.v4, place), combine_runs(&first.v6, &second.v6, place));
    GeoDb::assemble(v4, v6, second.info.clone())
}

/// The two words on one address as one.
fn agree(a: Jurisdiction, b: Jurisdiction) -> Jurisdiction {
    match (a, b) {
        (Jurisdiction::UNKNOWN, other) | (other, Jurisdiction::UNKNOWN) => other,
        (a, b) if a == b => a,
        _ => Jurisdiction::UNCERTAIN,
    }
}

fn combine_runs<K: Address>(
    a: &Runs<K>,
    b: &Runs<K>,
    place: impl Fn(Jurisdiction, Jurisdiction) -> Jurisdiction,
) -> Runs<K> {
    let mut merged = Runs::with_capacity(a.count().max(b.count()));
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    let (mut in_a, mut in_b) = (Jurisdiction::UNKNOWN, Jurisdiction::UNKNOWN);
    loop {
        // The next address at which either of them changes.
        let order = match (left.peek(), right.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return merged.shrink(),
        };
        let mut start = K::ZERO;
        if order.is_le()
            && let Some((at, place)) = left.next()
        {
            (start, in_a) = (at, place);
        }
        if order.is_ge()
            && let Some((at, place)) = right.next()
        {
            (start, in_b) = (at, place);
        }
        merged.push(start, place(in_a, in_b));
    }
}

fn merge_info(parts: Vec<Info>) -> Info {
    let sources: Vec<&str> = parts.iter().map(|part| part.source.as_str()).collect();
    let licences: Vec<&str> = parts.iter().filter_map(|part| part.licence.as_deref()).collect();
    let mut skipped = BTreeMap::new();
    for (code, count) in parts.iter().flat_map(|part| &part.skipped) {
        *skipped.entry(code.clone()).or_insert(0) += count;
    }
    Info {
        source: format!("merged: {}", sources.join(" + ")),
        licence: (!licences.is_empty()).then(|| licences.join("; ")),
        // `None` is the least of all options, as is wanted here.
        generated: parts.iter().map(|part| part.generated).min().flatten(),
        skipped,
        parts,
        ..Info::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::super::Warning;
    use super::*;

    const PLACES: [&str; 4] = ["unknown", "uncertain", "IE", "US"];

    fn runs(pushes: &[(u32, &str)]) -> Runs<u32> {
        let mut runs = Runs::unknown();
        for (start, place) in pushes {
            runs.push(*start, place.parse().unwrap());
        }
        runs
    }

    fn db(source: &str, v4: Runs<u32>, generated: Option<i64>) -> GeoDb {
        let info = Info {
            source: source.to_owned(),
            generated: generated.map(|second| jiff::Timestamp::from_second(second).unwrap()),
            skipped: BTreeMap::from([("EU".to_owned(), 2)]),
            ..Info::default()
        };
        GeoDb::assemble(v4, Runs::unknown(), info)
    }

    #[test]
    fn sources_that_disagree_leave_the_place_uncertain_and_silence_yields() {
        let one = db("one", runs(&[(10, "IE"), (20, "US"), (30, "unknown"), (40, "FR")]), Some(200));
        let two = db("two", runs(&[(15, "IE"), (25, "DE"), (35, "BE"), (40, "unknown")]), Some(100));
        let merged = merge([one.clone(), two.clone()]).unwrap();
        let expected = [(10, "IE"), (20, "uncertain"), (30, "DE"), (35, "BE"), (40, "FR")];
        assert_eq!(merged.v4, runs(&expected));
        assert_eq!(merged.info.generated.unwrap().as_second(), 100);
        assert_eq!(merged.info.skipped["EU"], 4);
        assert_eq!(merged.info.source, "merged: one + two");
        assert_eq!(merged.info.parts, [one.info, two.info]);
        assert_eq!(merged.info.warnings, [Warning::NoIpv6]);
        assert_eq!(merged.info.ranges_v4, merged.v4.count());
    }

    #[test]
    fn one_source_is_itself_and_an_undated_one_makes_all_undated() {
        assert_eq!(merge([]), None);
        let one = db("one", runs(&[(10, "IE")]), Some(200));
        assert_eq!(merge([one.clone()]), Some(one.clone()));
        let merged = merge([one, db("two", runs(&[(10, "IE")]), None)]).unwrap();
        assert_eq!(merged.info.generated, None);
        assert!(merged.info.warnings.contains(&Warning::Undated));
    }

    proptest! {
        #[test]
        fn every_address_is_the_word_of_all_in_any_order(
            sources in prop::collection::vec(btree_map(0u32..100, 0usize..4, 0..20), 1..5),
            rotation in 0usize..5,
        ) {
            let sources: Vec<GeoDb> = sources
                .iter()
                .map(|pushes| {
                    let pushes: Vec<_> = pushes.iter().map(|(start, place)| (*start, PLACES[*place])).collect();
                    db("x", runs(&pushes), None)
                })
                .collect();
            let merged = merge(sources.clone()).unwrap();
            prop_assert!(merged.v4.is_sound());
            for address in 0..110 {
                let mut words: Vec<_> = sources.iter().map(|db| db.v4.lookup(address)).collect();
                words.retain(|word| *word != Jurisdiction::UNKNOWN);
                words.dedup();
                let expected = match words.as_slice() {
                    [] => Jurisdiction::UNKNOWN,
                    [one] => *one,
                    _ => Jurisdiction::UNCERTAIN,
                };
                prop_assert_eq!(merged.v4.lookup(address), expected);
            }
            let mut rotated = sources.clone();
            rotated.rotate_left(rotation % sources.len());
            prop_assert_eq!(merge(rotated).unwrap().v4, merged.v4);
        }
    }
}
