//! What a host covers: each way past the guard that docs/limits.md names, as it stands on this host, with what was read.
//!
//! [`CHECKS`] is the one table. A check is a function over a [`Host`], which reads files below a root and has the daemon's
//! status: no check changes anything, and what can't be read is [`State::NotKnown`], never covered.

mod checks;
mod finding;
mod host;
mod table;

use std::collections::BTreeSet;

use serde::Serialize;

pub use finding::{Finding, Next, State, Unknown};
pub use host::Host;
pub use table::{CHECKS, Check};

use crate::health::Problem;

/// Problems of the daemon that a check writes out.
const WRITTEN_OUT: usize = 3;

/// The number of the report's form in JSON. It rises when a key changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What was found on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// One for each check, what needs doing first.
    pub checks: Vec<Checked>,
    /// What the daemon has as problems; empty where none answers.
    pub problems: Vec<Problem>,
    /// Why the daemon's word is missing; null where it answered.
    pub no_daemon: Option<String>,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The check's code, which stays the same from release to release.
    pub code: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// How that way stands on this host.
    pub state: State,
    /// Whether it was named as accepted: it does not count for [`Report::is_well`].
    pub accepted: bool,
    /// What was read, with where.
    pub evidence: Vec<String>,
    /// What to do; null where nothing has to be done.
    pub todo: Option<String>,
}

impl Report {
    /// Looks at a host by every check. `accepted` are codes of checks that somebody has looked at.
    #[must_use]
    pub fn of(host: &Host, accepted: &BTreeSet<String>) -> Self {
        let (problems, no_daemon) = match &host.daemon {
            Ok(status) => (status.problems.clone(), None),
            Err(unknown) => (Vec::new(), Some(unknown.why.clone())),
        };
        let mut checks: Vec<Checked> =
            CHECKS.iter().map(|check| check.checked(host, &problems, accepted)).collect();
        // Stable: those of one state stay in the table's order.
        checks.sort_by_key(|checked| (checked.accepted, checked.state));
        Self { schema: SCHEMA, checks, problems, no_daemon }
    }

    /// Whether every way is covered, blocked, absent or accepted.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.checks.iter().all(|checked| checked.accepted || !checked.state.needs_doing())
    }
}

impl Check {
    fn checked(&self, host: &Host, problems: &[Problem], accepted: &BTreeSet<String>) -> Checked {
        let Self { code, title, todo, .. } = *self;
        let looked = (self.look)(host);
        let mut told: Vec<&Problem> = problems.iter().filter(|it| self.problems.contains(&it.code)).collect();
        // The gravest stand first in the list of codes.
        told.sort_by_key(|problem| problem.code);
        let count = told.len();
        told.truncate(WRITTEN_OUT);
        let (mut state, mut evidence, next) = match looked {
            Ok(Finding { state, evidence }) => (state, evidence, todo.to_owned()),
            Err(Unknown { why, next }) => (State::NotKnown, vec![why], next.todo(todo)),
        };
        let mut todo = Some(next).filter(|_| state.needs_doing());
        if !told.is_empty() {
            // What mends the daemon's problem mends this.
            let mut remedies: Vec<&str> = told.iter().map(|problem| problem.code.remedy()).collect();
            remedies.dedup();
            let rest = count - told.len();
            if rest > 0 {
                remedies.push("For the others: `borderguard status`.");
            }
            (state, todo) = (State::NotCovered, Some(remedies.join(" ")));
            let more = (rest > 0).then(|| {
                let shown = told.len();
                format!(
                    "of {count} problems that the daemon has here these are the gravest {shown}: `borderguard status` has \
                     all of them"
                )
            });
            let named = told.iter().map(|problem| format!("the daemon has the problem {problem}"));
            evidence.splice(0..0, more.into_iter().chain(named));
        }
        // What needs nothing is not hidden among what was accepted.
        let accepted = state.needs_doing() && accepted.contains(code);
        Checked { code, title, state, accepted, evidence, todo }
    }
}

#[cfg(test)]
mod tests;
