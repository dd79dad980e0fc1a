//! How well the host is guarded: problems with stable codes, and one state that sums them up.
//!
//! Pure: no I/O and no clock. The engine makes the problems, the status shows them, and the exit code of
//! `borderguard status` follows from the state.

mod code;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use code::ProblemCode;

/// One thing that is not as the config and the store want it, from the moment it is seen until it is mended.
///
/// Problems are ordered by code, then by subject, so that the worst come first and equal sets look alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem it is.
    pub code: ProblemCode,
    /// What it concerns: an interface, a path, an exemption's id; null where it concerns the whole guard.
    pub subject: Option<String>,
    /// What happened, in a sentence or two.
    pub message: String,
}

impl Problem {
    /// A problem of the whole guard.
    #[must_use]
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, subject: None, message: message.into() }
    }

    /// A problem of one interface, path, exemption or the like.
    #[must_use]
    pub fn of(code: ProblemCode, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, subject: Some(subject.into()), message: message.into() }
    }
}

/// `code subject: message`, or `code: message` without a subject.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, subject, message } = self;
        match subject {
            Some(subject) => write!(f, "{code} {subject}: {message}"),
            None => write!(f, "{code}: {message}"),
        }
    }
}

/// How many problems of one code are written out for people: a host may have hundreds of interfaces.
const WRITTEN_OUT: usize = 8;

/// Those of these problems of one code that are written out for people, and a sentence that sums up the others.
#[must_use]
pub fn written_out(group: &[Problem]) -> (&[Problem], Option<String>) {
    let (first, others) = group.split_at(group.len().min(WRITTEN_OUT));
    let more = match others.len() {
        0 => None,
        count => Some(format!("and {count} more: `borderguard status --json` has all")),
    };
    (first, more)
}

/// What the live generation does to packets that it forbids, on the interfaces that have the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Nothing: no interface has the program, no generation is live, or there is no pin.
    Nothing,
    /// It counts and reports them alone: `host.observe`, `--observe`, or every pin's action is `observe`.
    Observes,
    /// At least one pin drops or flags them.
    Enforces,
}

/// The state of the guard as a whole.
///
/// | state | when | exit code of `status` |
/// | --- | --- | --- |
/// | `off` | nothing is guarded | 7 |
/// | `degraded` | something is guarded, and there is a problem | 5 |
/// | `observing` | no problem, and nothing is dropped or flagged | 6 |
/// | `guarding` | no problem | 0 |
///
/// The first that fits holds: a guard that is off is never called degraded, and one that observes with a
/// problem is degraded, because what it observes may not be all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Pinned data is kept in its place, and nothing is known to be wrong.
    Guarding,
    /// Something is guarded, and something is not as it should be.
    Degraded,
    /// All is well, and nothing is dropped or flagged: packets are counted and reported.
    Observing,
    /// Nothing is guarded.
    #[default]
    Off,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Guarding, Self::Degraded, Self::Observing, Self::Off];

    /// The state by what is enforced and what is wrong.
    #[must_use]
    pub fn of(enforcement: Enforcement, problems: &[Problem]) -> Self {
        let says_nothing = problems.iter().any(|problem| problem.code == ProblemCode::NothingGuarded);
        match enforcement {
            _ if says_nothing => Self::Off,
            Enforcement::Nothing => Self::Off,
            _ if !problems.is_empty() => Self::Degraded,
            Enforcement::Observes => Self::Observing,
            Enforcement::Enforces => Self::Guarding,
        }
    }

    /// The name in status and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guarding => "guarding",
            Self::Degraded => "degraded",
            Self::Observing => "observing",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_problems() -> impl Strategy<Value = Vec<Problem>> {
        let code = prop::sample::select(ProblemCode::ALL);
        let problem = (code, proptest::option::of("[a-z]{0,4}"), "[a-z ]{0,8}");
        let problem = problem.prop_map(|(code, subject, message)| Problem { code, subject, message });
        prop::collection::vec(problem, 0..4)
    }

    #[test]
    fn eight_problems_of_one_code_are_written_out() {
        let all = vec![Problem::of(ProblemCode::InterfaceNotGuarded, "veth0", "refused"); 320];
        let shown = |count: usize| {
            let (first, more) = written_out(&all[..count]);
            (first.len(), more)
        };
        assert_eq!((shown(0), shown(8)), ((0, None), (8, None)));
        let (first, more) = shown(320);
        assert!(first == 8 && more.unwrap().starts_with("and 312 more: "));
    }

    #[test]
    fn the_states_have_their_precedence() {
        let stale = Problem::new(ProblemCode::DatabaseStale, "old");
        let nothing = Problem::new(ProblemCode::NothingGuarded, "none");
        use Enforcement::{Enforces, Nothing, Observes};
        for (enforcement, problems, expected) in [
            (Enforces, vec![], Health::Guarding),
            (Observes, vec![], Health::Observing),
            (Nothing, vec![], Health::Off),
            (Enforces, vec![stale.clone()], Health::Degraded),
            (Observes, vec![stale.clone()], Health::Degraded),
            (Nothing, vec![stale.clone()], Health::Off),
            (Enforces, vec![stale, nothing], Health::Off),
        ] {
            assert_eq!(Health::of(enforcement, &problems), expected, "{enforcement:?} {problems:?}");
        }
    }

    proptest! {
        /// A problem is never hidden by the state, and no problem makes the state look better.
        #[test]
        fn no_problem_looks_well(problems in any_problems()) {
            for enforcement in [Enforcement::Nothing, Enforcement::Observes, Enforcement::Enforces] {
                let health = Health::of(enforcement, &problems);
                let is_well = matches!(health, Health::Guarding | Health::Observing);
                prop_assert!(!is_well || (problems.is_empty() && enforcement != Enforcement::Nothing));
                prop_assert!(enforcement != Enforcement::Nothing || health == Health::Off);
            }
        }

        #[test]
        fn problems_read_back_and_the_worst_sort_first(mut problems in any_problems()) {
            let json = serde_json::to_string(&problems).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Vec<Problem>>(&json).unwrap(), &problems);
            problems.sort();
            prop_assert!(problems.is_sorted_by_key(|problem| problem.code));
        }
    }

    #[test]
    fn a_problem_reads_with_and_without_a_subject() {
        let one = Problem::of(ProblemCode::InterfaceMissing, "eth9", "there is no such interface");
        assert_eq!(one.to_string(), "interface-missing eth9: there is no such interface");
        let whole = Problem::new(ProblemCode::DatabaseStale, "it is 61 days old");
        assert_eq!(whole.to_string(), "database-stale: it is 61 days old");
    }
}
