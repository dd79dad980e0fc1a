//! Whether the approvals that a document has are the ones that it needs.
//!
//! Each role needs so many seats filled, each by another person who has the role; one person fills one
//! seat, whatever roles they have. Whether the seats can be filled is a matching between persons and
//! seats, found by augmenting paths (Kuhn's algorithm): taking roles in any fixed order would refuse some
//! documents that are approved.

use super::signer::Signer;
use super::verify::Approval;

/// So many approvals by signers of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement<'a> {
    /// The role.
    pub role: &'a str,
    /// How many, each by another person.
    pub count: u32,
}

/// A document's approvals, which are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Who approved as what: each seat that the document asks for, in its order.
    pub seats: Vec<Seat>,
}

/// One approval that was needed, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// As what.
    pub role: String,
    /// Who.
    pub identity: String,
}

/// Approvals that are still missing for one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The role.
    pub role: String,
    /// How many.
    pub count: usize,
}

/// Why good approvals are not the ones that a document needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEnough {
    /// Nobody's approval is asked for.
    #[error("nobody's approval is asked for: [[approval.rule]] of the config must name a role")]
    NothingRequired,
    /// No rule of the config is for the document.
    #[error("no rule of the config's [approval] is for the pin \"{}\" with {acts}: [[approval.rule]] must say whose approval it needs", pin.escape_debug())]
    NoRule {
        /// The first pin of the document without a rule.
        pin: String,
        /// What the document rests on.
        acts: String,
    },
    /// It says that it is an emergency, and the config has none.
    #[error(
        "the config has no quorum for an emergency ([approval.emergency]): have the document approved by its rules"
    )]
    NoEmergency,
    /// The document does not say who wrote it.
    #[error("the document does not say who wrote it (approval.submitter), who can't be its only approver")]
    NoSubmitter,
    /// Whoever is said to have written the document is nobody that is known.
    #[error("\"{}\", who is said to have written the document (approval.submitter), is no signer of the config and not the user who loads it", submitter.escape_debug())]
    UnknownSubmitter {
        /// Who is said to have.
        submitter: String,
    },
    /// Whoever is said to have written the document took no part in it: another one may have named them.
    #[error("\"{}\", who is said to have written the document (approval.submitter), has not signed it and is not the user who loads it: anybody could have named them", submitter.escape_debug())]
    AbsentSubmitter {
        /// Who is said to have.
        submitter: String,
    },
    /// A role that too few have for the document ever to be approved.
    #[error("{needed} signers are asked for as \"{}\", and {there} of the config's signers have this role", role.escape_debug())]
    TooFewSigners {
        /// The role.
        role: String,
        /// How many are asked for.
        needed: u64,
        /// How many signers of the config have it.
        there: usize,
    },
    /// An approval by somebody whom the config does not name.
    #[error("{} is no signer of the config", identity.escape_debug())]
    NotASigner {
        /// Who.
        identity: String,
    },
    /// Two signatures of one person.
    #[error("there are two signatures of {}: each signer approves once", identity.escape_debug())]
    TwiceByOne {
        /// Who.
        identity: String,
    },
    /// Two signatures with one key, for two persons.
    #[error("the key {fingerprint} made two signatures: each signer needs a key of their own")]
    TwiceWithOneKey {
        /// Of the key.
        fingerprint: String,
    },
    /// Seats that nobody who approved can fill.
    #[error("approvals are missing: {}", missing_words(missing))]
    Missing {
        /// The roles, each at least once, with the seats that stay empty when as many as possible are
        /// filled.
        missing: Vec<Missing>,
    },
    /// Whoever wrote the document or loads it is the only one who approved it.
    #[error("nobody approved it but who wrote it or loads it: somebody else has to, in one of its roles")]
    NobodyElse,
}

impl NotEnough {
    /// A short name that stays the same from release to release, for programs and the audit trail.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NothingRequired => "nothing-required",
            Self::NoRule { .. } => "no-rule",
            Self::NoEmergency => "no-emergency",
            Self::NoSubmitter => "no-submitter",
            Self::UnknownSubmitter { .. } => "unknown-submitter",
            Self::AbsentSubmitter { .. } => "absent-submitter",
            Self::TooFewSigners { .. } => "too-few-signers",
            Self::NotASigner { .. } => "not-a-signer",
            Self::TwiceByOne { .. } => "twice-by-one",
            Self::TwiceWithOneKey { .. } => "twice-with-one-key",
            Self::Missing { .. } => "approvals-missing",
            Self::NobodyElse => "nobody-else",
        }
    }
}

fn missing_words(missing: &[Missing]) -> String {
    let words =
        missing.iter().map(|missing| format!("{} as \"{}\"", missing.count, missing.role.escape_debug()));
    words.collect::<Vec<_>>().join(", ")
}

/// Whether verified approvals fill every seat that a document asks for, with somebody among them who
/// neither wrote the document nor loads it. `loader` is the Unix user who loads it.
///
/// # Errors
/// Why they do not.
pub fn count(
    approvals: &[Approval],
    signers: &[Signer],
    required: &[Requirement<'_>],
    submitter: Option<&str>,
    loader: Option<&str>,
) -> Result<Quorum, NotEnough> {
    let seats = seats(signers, required)?;
    let submitter = submitter.ok_or(NotEnough::NoSubmitter)?;
    refuse_twice(approvals)?;
    let mut persons = Vec::with_capacity(approvals.len());
    for approval in approvals {
        let signer = signers.iter().find(|signer| signer.identity == approval.identity);
        persons.push(signer.ok_or_else(|| NotEnough::NotASigner { identity: approval.identity.clone() })?);
    }
    let concerned = |person: &Signer| {
        person.identity.eq_ignore_ascii_case(submitter)
            || loader.is_some_and(|loader| person.user.as_deref() == Some(loader))
    };
    // An augmenting path never takes the seat from somebody who has one, so those who come first sit in
    // any case where their roles let them: one seat of theirs is all that is needed.
    persons.sort_by_key(|person| concerned(person));
    let taken = fill(&seats, &persons);
    let missing = empty_seats(&seats, &taken, required);
    if !missing.is_empty() {
        return Err(NotEnough::Missing { missing });
    }
    let sitting: Vec<&Signer> =
        taken.iter().flatten().filter_map(|&person| persons.get(person).copied()).collect();
    if sitting.iter().all(|person| concerned(person)) {
        return Err(NotEnough::NobodyElse);
    }
    let named = seats.iter().zip(sitting);
    Ok(Quorum {
        seats: named
            .map(|(role, person)| Seat { role: (*role).to_owned(), identity: person.identity.clone() })
            .collect(),
    })
}

/// Whether the one who is said to have written a document is known: a signer of the config, or the Unix user who loads it.
/// By a made-up name its writer could be its only approver.
///
/// # Errors
/// Where nobody is named, or nobody that is known.
pub fn check_submitter(
    signers: &[Signer],
    submitter: Option<&str>,
    loader: Option<&str>,
) -> Result<(), NotEnough> {
    let submitter = submitter.ok_or(NotEnough::NoSubmitter)?;
    let is_signer = signers.iter().any(|signer| signer.identity.eq_ignore_ascii_case(submitter));
    match is_signer || loader == Some(submitter) {
        true => Ok(()),
        false => Err(NotEnough::UnknownSubmitter { submitter: submitter.to_owned() }),
    }
}

/// Whether the one who is said to have written a document took part: by a signature of their own, or by loading it. Else
/// the one who signs alone could have written it, and named somebody else.
///
/// # Errors
/// Where they did not.
pub fn check_took_part(
    approvals: &[Approval],
    signers: &[Signer],
    submitter: Option<&str>,
    loader: Option<&str>,
) -> Result<(), NotEnough> {
    let submitter = submitter.ok_or(NotEnough::NoSubmitter)?;
    let signed = approvals.iter().any(|approval| approval.identity.eq_ignore_ascii_case(submitter));
    let is_theirs = |signer: &&Signer| signer.identity.eq_ignore_ascii_case(submitter);
    let user = signers.iter().find(is_theirs).and_then(|signer| signer.user.as_deref());
    let loads = loader.is_some_and(|loader| loader == submitter || Some(loader) == user);
    match signed || loads {
        true => Ok(()),
        false => Err(NotEnough::AbsentSubmitter { submitter: submitter.to_owned() }),
    }
}

/// Whether these signers could fill every seat together.
///
/// # Errors
/// What would be missing also when all of them have approved.
pub fn can_fill(signers: &[Signer], required: &[Requirement<'_>]) -> Result<(), NotEnough> {
    let seats = seats(signers, required)?;
    let persons: Vec<&Signer> = signers.iter().collect();
    let missing = empty_seats(&seats, &fill(&seats, &persons), required);
    if missing.is_empty() { Ok(()) } else { Err(NotEnough::Missing { missing }) }
}

/// One entry for each seat: its role. There are never more seats of a role than signers who have it.
fn seats<'r>(signers: &[Signer], required: &[Requirement<'r>]) -> Result<Vec<&'r str>, NotEnough> {
    let mut seats = Vec::new();
    for (at, requirement) in required.iter().enumerate() {
        let role = requirement.role;
        if required.iter().take(at).any(|earlier| earlier.role == role) {
            continue;
        }
        let same = required.iter().filter(|other| other.role == role);
        let needed: u64 = same.map(|other| u64::from(other.count)).sum();
        let there = signers.iter().filter(|signer| has(signer, role)).count();
        match usize::try_from(needed) {
            Ok(needed) if needed <= there => seats.extend(std::iter::repeat_n(role, needed)),
            _ => return Err(NotEnough::TooFewSigners { role: role.to_owned(), needed, there }),
        }
    }
    if seats.is_empty() { Err(NotEnough::NothingRequired) } else { Ok(seats) }
}

fn has(signer: &Signer, role: &str) -> bool {
    signer.roles.iter().any(|own| own == role)
}

fn refuse_twice(approvals: &[Approval]) -> Result<(), NotEnough> {
    for (at, approval) in approvals.iter().enumerate() {
        for earlier in approvals.iter().take(at) {
            if earlier.identity.eq_ignore_ascii_case(&approval.identity) {
                return Err(NotEnough::TwiceByOne { identity: approval.identity.clone() });
            }
            if earlier.fingerprint == approval.fingerprint {
                return Err(NotEnough::TwiceWithOneKey { fingerprint: approval.fingerprint.clone() });
            }
        }
    }
    Ok(())
}

/// Fills as many seats as can be; for each, the person who sits there.
fn fill(seats: &[&str], persons: &[&Signer]) -> Vec<Option<usize>> {
    let mut taken = vec![None; seats.len()];
    for person in 0..persons.len() {
        let mut tried = vec![false; seats.len()];
        seat(person, seats, persons, &mut taken, &mut tried);
    }
    taken
}

/// Seats the person, moving others to seats that they can fill as well; whether it could be done. As deep
/// as there are seats, which signers of the config bound.
fn seat(
    person: usize,
    seats: &[&str],
    persons: &[&Signer],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (at, role) in seats.iter().enumerate() {
        let fits = persons.get(person).is_some_and(|signer| has(signer, role));
        if !fits || std::mem::replace(&mut tried[at], true) {
            continue;
        }
        let free = match taken[at] {
            None => true,
            Some(sitting) => seat(sitting, seats, persons, taken, tried),
        };
        if free {
            taken[at] = Some(person);
            return true;
        }
    }
    false
}

fn empty_seats(seats: &[&str], taken: &[Option<usize>], required: &[Requirement<'_>]) -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    for requirement in required {
        let empty =
            seats.iter().zip(taken).filter(|(role, taken)| **role == requirement.role && taken.is_none());
        let count = empty.count();
        if count > 0 && missing.iter().all(|earlier| earlier.role != requirement.role) {
            missing.push(Missing { role: requirement.role.to_owned(), count });
        }
    }
    missing
}
