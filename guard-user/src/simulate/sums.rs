//! What differs, added up by pin, peer and process.

use std::collections::BTreeMap;
use std::net::IpAddr;

use guard_common::abi::{Hook, Place};
use serde::Serialize;

use super::compare::{Found, Kind, Pair};
use super::possible::Lack;
use super::traffic::{Amount, Seen};
use super::unguarded::{Then, Unguarded};
use crate::explain::Judged;

/// The reason in the place of a kernel's where nothing would judge a flow: the candidate does not guard the interface that it goes
/// by.
pub const UNGUARDED: &str = "unguarded";

/// How one side judges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verdict {
    /// The verdict's name.
    pub verdict: &'static str,
    /// The reason's name, or [`UNGUARDED`].
    pub reason: &'static str,
    /// The jurisdiction in which the other end is placed; null where nothing was placed.
    pub jurisdiction: Option<&'static str>,
    /// Id of the exemption that covers it.
    pub exemption: Option<String>,
}

impl Verdict {
    fn of(judged: &Judged) -> Self {
        Self {
            verdict: judged.verdict.name(),
            reason: judged.reason.name(),
            jurisdiction: judged.place.map(Place::jurisdiction).map(|it| it.as_str()),
            exemption: judged.exemption.clone(),
        }
    }

    /// Nothing judges it, so that it passes.
    fn unguarded() -> Self {
        let verdict = guard_common::verdict::Verdict::Pass.name();
        Self { verdict, reason: UNGUARDED, jurisdiction: None, exemption: None }
    }
}

/// Flows that have all of this in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// What becomes of them.
    pub kind: Kind,
    /// Names of the pins that forbid them: of the candidate where it is stricter, else of those in force. Of what is permitted now
    /// and would be judged by nothing, of those that tag them.
    pub pins: Vec<String>,
    /// The address of the other end.
    pub peer: IpAddr,
    /// Who sent.
    pub process: String,
    /// The hook's name.
    pub hook: &'static str,
    /// How they are judged now.
    pub now: Verdict,
    /// How they would be judged.
    pub then: Verdict,
}

/// What became of all flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What differs.
    pub groups: BTreeMap<Group, Amount>,
    /// Flows with the same verdict for the same reason.
    pub same: Amount,
    /// Flows with the same verdict for another reason.
    pub other_reason: Amount,
    /// Flows of which it is not known, by what is not known of them.
    pub not_known: BTreeMap<Vec<Lack>, Amount>,
    /// Flows of which no packet can be made.
    pub not_judged: Amount,
    /// Flows that the candidate's exemptions would let pass, by id.
    pub exempt: BTreeMap<String, Amount>,
}

impl Sums {
    /// Takes up what came of a flow.
    pub fn add(&mut self, seen: &Seen, found: Found) {
        if let Found::Same(pair) | Found::Changed(_, pair) = &found
            && let Some(id) = &pair.then.exemption
        {
            *self.exempt.entry(id.clone()).or_default() += seen.amount;
        }
        match found {
            Found::Same(pair) if pair.now.reason == pair.then.reason => self.same += seen.amount,
            Found::Same(_) => self.other_reason += seen.amount,
            Found::NotKnown(lacks) => *self.not_known.entry(lacks).or_default() += seen.amount,
            Found::NotJudged => self.not_judged += seen.amount,
            Found::Changed(kind, pair) => {
                let group =
                    group(seen, (kind, pins(kind, &pair)), (Verdict::of(&pair.now), Verdict::of(&pair.then)));
                *self.groups.entry(group).or_default() += seen.amount;
            }
        }
    }

    /// Likewise, where the candidate does not guard these interfaces. What pins tag and nothing would judge any more is opened,
    /// whatever its verdict is now. `found` is as [`compare_by_pins`](super::Sides::compare_by_pins) has it.
    pub fn add_by_interface(&mut self, seen: &Seen, found: (Found, Option<Vec<Lack>>), let_go: &Unguarded) {
        match let_go.hold(seen, found) {
            Then::Judged(found) => self.add(seen, found),
            Then::ByNothing(now) => {
                let then = Verdict::unguarded();
                let pins = if now.denied.is_empty() { now.pins.clone() } else { now.denied.clone() };
                let group = group(seen, (Kind::Opens, pins), (Verdict::of(&now), then));
                *self.groups.entry(group).or_default() += seen.amount;
            }
        }
    }

    /// What differs in this way, together.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Amount {
        let mut sum = Amount::default();
        self.groups.iter().filter(|(group, _)| group.kind == kind).for_each(|(_, amount)| sum += *amount);
        sum
    }

    /// Whether any verdict differs, or may.
    #[must_use]
    pub fn may_differ(&self) -> bool {
        !self.groups.is_empty() || !self.not_known.is_empty()
    }
}

/// The pins that forbid it on the stricter side.
fn pins(kind: Kind, pair: &Pair) -> Vec<String> {
    match kind {
        Kind::Drops | Kind::Flags => pair.then.denied.clone(),
        Kind::Opens | Kind::Unflags => pair.now.denied.clone(),
    }
}

fn group(seen: &Seen, (kind, pins): (Kind, Vec<String>), (now, then): (Verdict, Verdict)) -> Group {
    let flow = &seen.flow;
    Group {
        kind,
        pins,
        peer: if flow.hook == Hook::Ingress { flow.source.address } else { flow.destination.address },
        process: seen.sender.clone(),
        hook: flow.hook.name(),
        now,
        then,
    }
}
