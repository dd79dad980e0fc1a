//! One flow, judged by what is in force and by the candidate.

use guard_common::verdict::{Reason, Verdict};
use serde::Serialize;

use super::possible::{Lack, Needs, has_other_layers, possibilities};
use super::traffic::Seen;
use crate::explain::{Decided, Explainer, Judged};

/// What becomes of a flow with another verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It passes now, and would be dropped.
    Drops,
    /// It is dropped now, and would pass.
    Opens,
    /// It would pass as now, and be flagged or counted as one that would be dropped, more strictly than now.
    Flags,
    /// It would pass as now, and be flagged less strictly or no more.
    Unflags,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Drops, Self::Opens, Self::Flags, Self::Unflags];

    /// The name in JSON and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drops => "drops",
            Self::Opens => "opens",
            Self::Flags => "flags",
            Self::Unflags => "unflags",
        }
    }

    /// The title of its part.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Drops => "would newly drop",
            Self::Opens => "would open",
            Self::Flags => "would newly be flagged",
            Self::Unflags => "would be flagged no more, or less",
        }
    }

    /// What becomes of a flow with this verdict now and that one then; `None` where they are the same.
    #[must_use]
    pub const fn of(now: Verdict, then: Verdict) -> Option<Self> {
        match (now, then) {
            (Verdict::Drop, Verdict::Drop) => None,
            (_, Verdict::Drop) => Some(Self::Drops),
            (Verdict::Drop, _) => Some(Self::Opens),
            (now, then) if (now as u8) < then as u8 => Some(Self::Flags),
            (now, then) if now as u8 > then as u8 => Some(Self::Unflags),
            _ => None,
        }
    }
}

/// The tables that are in force, and those of the candidate.
pub struct Sides<'a> {
    /// Those in force.
    pub now: &'a Explainer,
    /// The candidate's.
    pub then: &'a Explainer,
    /// SHA-256 of the config in force.
    pub policy: Option<&'a str>,
    /// The generation in force.
    pub generation: Option<u64>,
    /// Whether config and database are the same on both sides, and exemptions alone may differ.
    pub same_places: bool,
    /// When it is judged, nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_ns: u64,
}

/// How a flow is judged by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// By what is in force.
    pub now: Judged,
    /// By the candidate.
    pub then: Judged,
}

impl Pair {
    fn kind(&self) -> Option<Kind> {
        Kind::of(self.now.verdict, self.then.verdict)
    }
}

/// What came of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has the same verdict.
    Same(Pair),
    /// It has another one.
    Changed(Kind, Pair),
    /// Whether it has depends on what is not known.
    NotKnown(Vec<Lack>),
    /// No packet of it can be made.
    NotJudged,
}

impl Sides<'_> {
    /// Judges a flow by both sides, in each way that may be true of it. Where the config in force has judged it, what gives it
    /// other pins than the kernel did, or another reason, is not true of it.
    #[must_use]
    pub fn compare(&self, seen: &Seen, needs: &Needs) -> Found {
        self.compare_by_pins(seen, needs).0
    }

    /// Likewise, with that by which it depends whether any pin in force tags it; `None` where that is the same in each way.
    #[must_use]
    pub fn compare_by_pins(&self, seen: &Seen, needs: &Needs) -> (Found, Option<Vec<Lack>>) {
        // What the other layers are decides too, and no record has them.
        if !self.same_places && seen.unknown_end.is_none() && has_other_layers(seen) {
            return (Found::NotKnown(vec![Lack::Inside]), None);
        }
        let wire_len = seen.amount.mean_len();
        let (possible, lacks) = possibilities(seen, needs);
        // Names are for what is told apart, and not for each way.
        let mut decided: Vec<(Decided, Decided)> = Vec::new();
        for it in &possible {
            let Ok(packet) = seen.flow.packet_between(it.source, it.destination) else {
                return (Found::NotJudged, None);
            };
            let judge = |side: &Explainer| {
                let mut origin = side.origin(&it.from, wire_len);
                origin.everybody = it.everybody;
                side.decide(seen.flow.hook, &packet, &origin, self.boot_ns)
            };
            let pair = (judge(self.now), judge(self.then));
            if !decided.contains(&pair) {
                decided.push(pair);
            }
        }
        let mut pairs: Vec<Pair> = Vec::new();
        for (now, then) in decided {
            let pair = Pair { now: self.now.named(now), then: self.then.named(then) };
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        let is_of_now = self.policy.is_some() && seen.policy.as_deref() == self.policy;
        let fits = |pair: &&Pair| {
            !is_of_now || pair.now.pins == seen.tagged && self.may_be_as_judged(pair.now.reason, seen.judged)
        };
        let fitting: Vec<&Pair> = pairs.iter().filter(fits).collect();
        let tagged = fitting.iter().filter(|pair| !pair.now.pins.is_empty()).count();
        let unsure = (tagged != 0 && tagged != fitting.len()).then(|| lacks.clone());
        let found = match (agreed(fitting.iter().copied()), agreed(pairs.iter())) {
            (Some(pair), _) if pair.kind().is_none() && needs.may_be_inside(seen) => {
                Found::NotKnown(vec![Lack::Inside])
            }
            // What was tried of a record of several flows need not be all that they were.
            (pair, _) if needs.tells_no_ends(seen) && !lacks.is_empty() => {
                match pair.and_then(|it| Some((it.kind()?, it))) {
                    Some((kind, pair)) => Found::Changed(kind, pair.clone()),
                    None => Found::NotKnown(lacks),
                }
            }
            (Some(pair), _) => found(pair),
            (None, _) if fitting.is_empty() && !pairs.is_empty() => Found::NotKnown(vec![Lack::Kernel]),
            (None, _) => Found::NotKnown(lacks),
        };
        (found, unsure)
    }
}

impl Sides<'_> {
    /// Whether what was judged for the one reason by the config in force may be what is judged for the other one now. Of the
    /// same generation only time, quotas and budgets make a difference; of an earlier one exemptions and databases too, and
    /// whether a failsafe rule covers it does not hang on those.
    fn may_be_as_judged(&self, now: Reason, judged: Option<(u64, Reason)>) -> bool {
        let Some((generation, then)) = judged else { return true };
        if of_failsafe(now) || of_failsafe(then) {
            return of_failsafe(now) && of_failsafe(then);
        }
        now == then || self.generation != Some(generation) || (of_exemption(now) && of_exemption(then))
    }
}

const fn of_failsafe(reason: Reason) -> bool {
    matches!(reason, Reason::Failsafe | Reason::FailsafeExhausted)
}

const fn of_exemption(reason: Reason) -> bool {
    use Reason::{Exempt, ExemptionExhausted, ExemptionExpired, ExemptionNotYet};
    matches!(reason, Exempt | ExemptionExhausted | ExemptionExpired | ExemptionNotYet)
}

fn found(pair: &Pair) -> Found {
    match pair.kind() {
        Some(kind) => Found::Changed(kind, pair.clone()),
        None => Found::Same(pair.clone()),
    }
}

/// The first, where the same becomes of the flow in all.
fn agreed<'a>(mut pairs: impl Iterator<Item = &'a Pair>) -> Option<&'a Pair> {
    let first = pairs.next()?;
    pairs.all(|pair| pair.kind() == first.kind()).then_some(first)
}
