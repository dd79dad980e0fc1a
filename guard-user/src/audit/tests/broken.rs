//! Every way to break a trail is found, and the record that is named is the right one.

use proptest::prelude::*;

use super::{any_record, record, trail};
use crate::audit::{Broken, Fault, Head, verify};

fn broken(lines: &[String], known: &[Head]) -> (u64, Fault) {
    let Broken { at, fault } = verify(lines, known).expect_err("it is broken");
    (at, fault)
}

/// A trail of random records, its head, and two different places in it.
fn trails() -> impl Strategy<Value = (Vec<String>, Head, usize, usize)> {
    prop::collection::vec(any_record(), 2..9).prop_flat_map(|records| {
        let (lines, head) = trail(&records);
        let length = lines.len();
        (Just(lines), Just(head), 0..length, 1..length)
            .prop_map(move |(lines, head, one, offset)| (lines, head, one, (one + offset) % length))
    })
}

fn number(at: usize) -> u64 {
    at as u64 + 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_altered_byte(
        (lines, head, at, _) in trails(),
        place in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
        let place = place.index(bytes[at].len());
        prop_assume!(bytes[at][place] != to);
        bytes[at][place] = to;
        let with_head = verify(&bytes, &[head]).unwrap_err();
        prop_assert_eq!(with_head.at, number(at), "{}", with_head);
        let named = matches!(
            with_head.fault,
            Fault::Altered | Fault::NotARecord { .. } | Fault::Rewritten
        );
        prop_assert!(named, "{}", with_head);
        let last = at + 1 == lines.len();
        match verify(&bytes, &[]) {
            // Only what follows a record, or what was kept elsewhere, can tell.
            Ok(_) => prop_assert!(last),
            Err(Broken { at: found, fault: Fault::AlteredOrNext }) => {
                prop_assert!(found == number(at) || last && found + 1 == number(at));
            }
            Err(other) => prop_assert_eq!(other.at, number(at)),
        }
    }

    #[test]
    fn removed_records((mut lines, head, from, other) in trails()) {
        let (from, until) = (from.min(other), from.max(other));
        lines.drain(from..until);
        prop_assert_eq!(broken(&lines, &[]), (number(from), Fault::Removed));
        prop_assert_eq!(broken(&lines, &[head]), (number(from), Fault::Removed));
    }

    #[test]
    fn an_end_that_is_cut_off((mut lines, head, at, _) in trails()) {
        lines.truncate(at);
        prop_assert!(verify(&lines, &[]).is_ok());
        prop_assert_eq!(broken(&lines, &[head]), (number(at), Fault::CutOff));
    }

    #[test]
    fn swapped_records((mut lines, head, one, other) in trails()) {
        lines.swap(one, other);
        prop_assert_eq!(broken(&lines, &[head]), (number(one.min(other)), Fault::Reordered));
        prop_assert_eq!(broken(&lines, &[]), (number(one.min(other)), Fault::Reordered));
    }

    #[test]
    fn a_moved_record((mut lines, head, from, to) in trails()) {
        let moved = lines.remove(from);
        lines.insert(to, moved);
        prop_assert_eq!(broken(&lines, &[head]), (number(from.min(to)), Fault::Reordered));
    }

    #[test]
    fn a_duplicated_record((mut lines, head, from, to) in trails()) {
        let again = lines[from].clone();
        lines.insert(to, again);
        prop_assert_eq!(broken(&lines, &[]), (number(from), Fault::Duplicated));
        prop_assert_eq!(broken(&lines, &[head]), (number(from), Fault::Duplicated));
    }

    #[test]
    fn an_inserted_record((mut lines, head, at, _) in trails(), garbage in "\\PC{0,20}") {
        let before = match at {
            0 => Head::START,
            _ => Head::of_line(&lines[at - 1]).unwrap(),
        };
        let mut with_garbage = lines.clone();
        lines.insert(at, before.append(&record(999)).0);
        prop_assert_eq!(broken(&lines, &[head]), (number(at), Fault::Inserted));
        with_garbage.insert(at, garbage);
        prop_assert_eq!(broken(&with_garbage, &[head]), (number(at), Fault::Inserted));
    }

    #[test]
    fn a_trail_that_was_written_anew(records in prop::collection::vec(any_record(), 1..9), at in any::<prop::sample::Index>(), kept in any::<prop::sample::Index>()) {
        let (lines, _) = trail(&records);
        let at = at.index(records.len());
        let kept = Head::of_line(&lines[kept.index(lines.len())]).unwrap();
        let mut others = records;
        others[at].why.push('!');
        let (others, _) = trail(&others);
        prop_assert!(verify(&others, &[]).is_ok());
        let found = verify(&others, &[kept]);
        if kept.sequence < number(at) {
            prop_assert!(found.is_ok());
        } else {
            prop_assert_eq!(found, Err(Broken { at: kept.sequence, fault: Fault::Rewritten }));
        }
    }
}

#[test]
fn what_was_broken_is_said() {
    let (mut lines, head) = trail(&[record(0), record(1), record(2)]);
    lines.remove(1);
    assert_eq!(verify(&lines, &[]).unwrap_err().to_string(), "record 2 was removed");
    lines.truncate(1);
    let cut = verify(&lines, &[head]).unwrap_err();
    assert_eq!(cut.to_string(), "record 2 is missing, and everything behind it: the end was cut off");
    assert_eq!(verify(Vec::<String>::new(), &[]), Ok(Head::START));
}
