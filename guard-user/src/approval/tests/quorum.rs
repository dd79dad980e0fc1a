//! The quorum against a reference that tries every seating.

use proptest::prelude::*;

use super::signer;
use crate::approval::quorum::{NotEnough, Requirement, count};
use crate::approval::{Approval, Signer};

const ROLES: [&str; 4] = ["legal", "dpo", "security", "board"];
const USERS: [&str; 3] = ["anne", "bob", "carl"];

fn identity(number: usize) -> String {
    format!("p{number}@example.org")
}

fn approval(number: usize, key: usize) -> Approval {
    Approval {
        identity: identity(number),
        fingerprint: format!("SHA256:{key}"),
        algorithm: "ssh-ed25519".to_owned(),
        line: 1,
    }
}

/// Whether the seats from `at` on can be filled, each by another free person, with one seat at least for
/// somebody independent.
fn can_fill(
    seats: &[&str],
    free: &mut Vec<&Signer>,
    independent: &dyn Fn(&Signer) -> bool,
    met: bool,
) -> bool {
    let Some((role, rest)) = seats.split_first() else { return met };
    for at in 0..free.len() {
        if free[at].roles.iter().any(|own| own == role) {
            let person = free.remove(at);
            let filled = can_fill(rest, free, independent, met || independent(person));
            free.insert(at, person);
            if filled {
                return true;
            }
        }
    }
    false
}

prop_compose! {
    fn signers()(
        roles in prop::collection::vec((1..16_u8, prop::option::of(0..USERS.len())), 1..7)
    ) -> Vec<Signer> {
        roles.iter().enumerate().map(|(number, (mask, user))| {
            let roles: Vec<&str> =
                ROLES.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, role)| *role).collect();
            signer(&identity(number), &roles, user.map(|user| USERS[user]))
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn it_is_full_exactly_when_some_seating_is(
        signers in signers(),
        approved in any::<u8>(),
        required in prop::collection::vec((0..ROLES.len(), 0..3_u32), 0..4),
        submitter in 0..8_usize,
        loader in prop::option::of(0..USERS.len()),
        order in any::<prop::sample::Index>(),
    ) {
        let mut approvals: Vec<Approval> =
            (0..signers.len()).filter(|at| approved >> at & 1 == 1).map(|at| approval(at, at)).collect();
        if !approvals.is_empty() {
            let length = approvals.len();
            approvals.rotate_left(order.index(length));
        }
        let required: Vec<Requirement<'_>> =
            required.iter().map(|&(role, count)| Requirement { role: ROLES[role], count }).collect();
        let submitter = identity(submitter);
        let loader = loader.map(|loader| USERS[loader]);
        let counted = count(&approvals, &signers, &required, Some(&submitter), loader);

        let seats: Vec<&str> = required
            .iter()
            .flat_map(|one| std::iter::repeat_n(one.role, usize::try_from(one.count).unwrap()))
            .collect();
        let mut free: Vec<&Signer> =
            signers.iter().filter(|one| approvals.iter().any(|approval| approval.identity == one.identity)).collect();
        let independent = |one: &Signer| {
            one.identity != submitter && (loader.is_none() || one.user.as_deref() != loader)
        };
        let expected = !seats.is_empty() && can_fill(&seats, &mut free, &independent, false);
        prop_assert_eq!(counted.is_ok(), expected, "{:?}", counted);

        match counted {
            Ok(quorum) => {
                let mut asked = seats.clone();
                let mut filled: Vec<&str> = quorum.seats.iter().map(|seat| seat.role.as_str()).collect();
                asked.sort_unstable();
                filled.sort_unstable();
                prop_assert_eq!(asked, filled);
                for (at, seat) in quorum.seats.iter().enumerate() {
                    let person = signers.iter().find(|one| one.identity == seat.identity).unwrap();
                    prop_assert!(person.roles.contains(&seat.role));
                    prop_assert!(approvals.iter().any(|approval| approval.identity == seat.identity));
                    prop_assert!(quorum.seats[..at].iter().all(|other| other.identity != seat.identity));
                }
            }
            Err(NotEnough::Missing { missing }) => {
                // No seating leaves fewer seats empty.
                let empty: usize = missing.iter().map(|one| one.count).sum();
                prop_assert!((1..=seats.len()).contains(&empty));
                let subsets = 0..1_u32 << seats.len();
                let most = subsets
                    .filter(|subset| {
                        let some: Vec<&str> =
                            seats.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1).map(|(_, role)| *role).collect();
                        can_fill(&some, &mut free, &|_| true, true)
                    })
                    .map(u32::count_ones)
                    .max();
                prop_assert_eq!(most.map(|most| seats.len() - most as usize), Some(empty));
            }
            Err(NotEnough::TooFewSigners { role, needed, there }) => {
                let have = signers.iter().filter(|one| one.roles.contains(&role)).count();
                prop_assert_eq!(have, there);
                prop_assert!(needed > have as u64);
            }
            Err(NotEnough::NothingRequired) => prop_assert!(seats.is_empty()),
            Err(NotEnough::NobodyElse) => prop_assert!(can_fill(&seats, &mut free, &|_| true, true)),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn one_person_is_counted_once_and_so_is_one_key() {
    let signers = [signer(&identity(0), &["legal"], None), signer(&identity(1), &["legal"], None)];
    let two = [Requirement { role: "legal", count: 2 }];
    let code = |approvals: &[Approval]| count(approvals, &signers, &two, Some("x"), None).unwrap_err().code();
    assert_eq!(code(&[approval(0, 0), approval(0, 1)]), "twice-by-one");
    assert_eq!(code(&[approval(0, 0), approval(1, 0)]), "twice-with-one-key");
    assert_eq!(code(&[approval(0, 0), approval(7, 1)]), "not-a-signer");
    assert_eq!(code(&[approval(0, 0)]), "approvals-missing");
}

#[test]
fn people_move_to_the_seat_that_only_they_can_fill() {
    let signers = [signer(&identity(0), &["legal", "dpo"], None), signer(&identity(1), &["legal"], None)];
    let required = [Requirement { role: "legal", count: 1 }, Requirement { role: "dpo", count: 1 }];
    let quorum = count(&[approval(0, 0), approval(1, 1)], &signers, &required, Some("x"), None).unwrap();
    let seats: Vec<(&str, &str)> =
        quorum.seats.iter().map(|seat| (seat.role.as_str(), seat.identity.as_str())).collect();
    assert_eq!(seats, [("legal", "p1@example.org"), ("dpo", "p0@example.org")]);
    let missing = count(&[approval(1, 1)], &signers, &required, Some("x"), None).unwrap_err();
    assert_eq!(missing.to_string(), "approvals are missing: 1 as \"dpo\"");
}
