//! Interfaces that are guarded now and that the candidate does not name: what goes by them would be judged by nothing.

use std::collections::BTreeSet;

use super::compare::{Found, Kind, Pair};
use super::possible::Lack;
use super::traffic::Seen;
use crate::explain::Judged;

/// The names of such interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unguarded(BTreeSet<String>);

/// What would come of a flow, with regard to its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It would be judged, or whether it would be is not known.
    Judged(Found),
    /// Nothing would judge it; by what is in force it has this.
    ByNothing(Judged),
}

impl Unguarded {
    /// Those of these that are guarded now and do not stay so.
    #[must_use]
    pub fn of(guarded: impl IntoIterator<Item = String>, stays: impl Fn(&str) -> bool) -> Self {
        Self(guarded.into_iter().filter(|name| !stays(name)).collect())
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// What would come of a flow that was compared as if both sides guarded the same. What no pin in force tags passes then as it
    /// does now. `unsure` is by what it depends whether any tags it, where it does.
    #[must_use]
    pub fn hold(&self, seen: &Seen, (found, unsure): (Found, Option<Vec<Lack>>)) -> Then {
        if self.0.is_empty() {
            return Then::Judged(found);
        }
        let is_let_go = seen.flow.from.interface.as_ref().map(|name| self.0.contains(name));
        let is_untagged = |pair: &Pair| pair.now.pins.is_empty() && seen.tagged.is_empty();
        let found = match (found, unsure, is_let_go) {
            // It passes then. Whether a pin has it now is not known.
            (Found::NotKnown(lacks), _, Some(true))
            | (Found::Same(_) | Found::Changed(..), Some(lacks), Some(true)) => let_go_with(lacks),
            (Found::Same(pair) | Found::Changed(_, pair), _, Some(true)) => {
                if !pair.now.pins.is_empty() {
                    return Then::ByNothing(pair.now);
                }
                match is_untagged(&pair) {
                    true => Found::Same(Pair { then: pair.now.clone(), now: pair.now }),
                    false => let_go_with(vec![Lack::Kernel]),
                }
            }
            (Found::Same(pair), None, None) if is_untagged(&pair) => Found::Same(pair),
            (Found::Changed(Kind::Drops, _), _, None) => Found::NotKnown(vec![Lack::Interface]),
            (Found::Same(_) | Found::Changed(..), _, None) => let_go_with(Vec::new()),
            (found, ..) => found,
        };
        Then::Judged(found)
    }
}

/// That it depends on these whether a flow is let go.
fn let_go_with(mut lacks: Vec<Lack>) -> Found {
    lacks.push(Lack::LetGo);
    Found::NotKnown(lacks)
}
