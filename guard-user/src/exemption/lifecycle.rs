//! The life of an exemption: what can happen to it when, as one table.
//!
//! `draft -> approved -> active -> stayed <-> active -> revoked | expired | exhausted`
//!
//! The table knows no clock and no document. The caller looks first whether an event is true: that the
//! signatures are there before [`Event::Approve`], that the window is not over and the assessment not due
//! ([`Document::review_is_over`](super::Document::review_is_over)) before [`Event::Activate`] and
//! [`Event::Resume`], that an order names its reference before [`Event::Stay`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an exemption is at one moment: where it is in its life, and for one that is active whether its window has
/// begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written, and not approved.
    Draft,
    /// Every signature that it needs is there, and the kernel does not have it.
    Approved,
    /// The kernel has it: within its window and quota packets pass.
    Active,
    /// It is active, and its window has not begun. Lists tell it from [`Active`](Self::Active); what can happen to it
    /// is the same.
    NotYetValid,
    /// An order holds it: nothing passes until it is resumed.
    Stayed,
    /// It was closed for good: revoked, its instrument fell, or a later version took its place.
    Revoked,
    /// Its window is over, or its assessment had to be looked at again.
    Expired,
    /// Its quota is spent.
    Exhausted,
}

/// What can happen to an exemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The last signature that it needs was verified.
    Approve,
    /// It was loaded into the kernel.
    Activate,
    /// A court or an authority ordered it to be held.
    Stay,
    /// The order that holds it was lifted.
    Resume,
    /// Compliance closed it.
    Revoke,
    /// The instrument that it rests on fell.
    Invalidate,
    /// Its window ended, or its assessment had to be looked at again
    /// ([`Document::ends`](super::Document::ends)).
    Expire,
    /// Its quota was spent.
    Exhaust,
    /// A later version took its place.
    Supersede,
}

/// An event that can't happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not possible: {reason}")]
pub struct Refusal {
    /// Where the exemption is.
    pub state: State,
    /// What was to happen.
    pub event: Event,
    /// Why not, and what to do, in one sentence.
    pub reason: &'static str,
}

impl State {
    /// The states of the lifecycle's table.
    pub const LIFE: [Self; 7] = [
        Self::Draft,
        Self::Approved,
        Self::Active,
        Self::Stayed,
        Self::Revoked,
        Self::Expired,
        Self::Exhausted,
    ];

    /// The states that lists show of what was loaded.
    pub const LISTED: [Self; 6] =
        [Self::Active, Self::NotYetValid, Self::Stayed, Self::Expired, Self::Exhausted, Self::Revoked];

    /// The name in lists and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Approved => "approved",
            Self::Active => "active",
            Self::NotYetValid => "not-yet-valid",
            Self::Stayed => "stayed",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
        }
    }

    /// Whether nothing can happen to it any more.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Exhausted)
    }

    /// Whether the kernel lets its packets pass, within its window and quota.
    #[must_use]
    pub const fn lets_packets_pass(self) -> bool {
        matches!(self, Self::Active)
    }

    /// The state that comes of an event.
    ///
    /// # Errors
    /// Where the event can't happen in this state, with the reason.
    pub const fn after(self, event: Event) -> Result<Self, Refusal> {
        let reason = match (self, event) {
            (Self::Draft, Event::Approve) => return Ok(Self::Approved),
            (Self::Approved, Event::Activate) | (Self::Stayed, Event::Resume) => return Ok(Self::Active),
            (Self::Active | Self::NotYetValid | Self::Stayed, Event::Stay) => return Ok(Self::Stayed),
            // What is over may be revoked all the same: the record has the order. An instrument that falls closes what is not
            // closed: how the rest was closed stays known, and the fall is among the orders that cover it.
            (Self::Revoked | Self::Expired | Self::Exhausted, Event::Revoke) => return Ok(Self::Revoked),
            // Packets on their way when a stay came are counted after it.
            (Self::Active | Self::NotYetValid | Self::Stayed, Event::Exhaust) => return Ok(Self::Exhausted),
            (
                Self::Draft | Self::Approved | Self::Active | Self::NotYetValid | Self::Stayed,
                Event::Revoke | Event::Invalidate,
            )
            | (Self::Draft | Self::Approved | Self::Active | Self::NotYetValid, Event::Supersede) => {
                return Ok(Self::Revoked);
            }
            (
                Self::Draft | Self::Approved | Self::Active | Self::NotYetValid | Self::Stayed,
                Event::Expire,
            ) => {
                return Ok(Self::Expired);
            }
            (Self::Revoked, _) => {
                "it was closed for good; whoever needs more has a new version approved and loaded"
            }
            (Self::Expired, _) => {
                "its time is over; whoever needs more has a new version approved and loaded"
            }
            (Self::Exhausted, _) => {
                "its quota is spent; whoever needs more has a new version approved and loaded"
            }
            (Self::Draft, Event::Activate) => "it is not approved; have it signed first",
            (Self::Draft | Self::Approved, Event::Stay | Event::Resume | Event::Exhaust) => {
                "it is not loaded, and nothing passes by it"
            }
            (Self::Approved | Self::Active | Self::NotYetValid | Self::Stayed, Event::Approve) => {
                "it is approved already"
            }
            (Self::Active | Self::NotYetValid, Event::Activate) => "it is loaded already",
            (Self::Active | Self::NotYetValid, Event::Resume) => "no order holds it",
            (Self::Stayed, Event::Activate) => "an order holds it; resume it when the order is lifted",
            // A new version would open what the order closed.
            (Self::Stayed, Event::Supersede) => {
                "an order holds it; resume it when the order is lifted, or revoke it"
            }
        };
        Err(Refusal { state: self, event, reason })
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::Approve,
        Self::Activate,
        Self::Stay,
        Self::Resume,
        Self::Revoke,
        Self::Invalidate,
        Self::Expire,
        Self::Exhaust,
        Self::Supersede,
    ];

    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Activate => "activate",
            Self::Stay => "stay",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
            Self::Invalidate => "invalidate",
            Self::Expire => "expire",
            Self::Exhaust => "exhaust",
            Self::Supersede => "supersede",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// The whole table: a row for each state, a column for each event in the order of [`Event::ALL`].
    const TABLE: &str = "
                  approve   activate stay    resume  revoke   invalidate expire   exhaust    supersede
        draft     approved  -        -       -       revoked  revoked    expired  -          revoked
        approved  -         active   -       -       revoked  revoked    expired  -          revoked
        active    -         -        stayed  -       revoked  revoked    expired  exhausted  revoked
        stayed    -         -        stayed  active  revoked  revoked    expired  exhausted  -
        revoked   -         -        -       -       revoked  -          -        -          -
        expired   -         -        -       -       revoked  -          -        -          -
        exhausted -         -        -       -       revoked  -          -        -          -
    ";

    #[test]
    fn the_table_is_this_one() {
        let mut written = String::new();
        let head = Event::ALL.map(Event::name);
        let mut expected = head.join(" ") + "\n";
        for state in State::LIFE {
            let cells = Event::ALL.map(|event| state.after(event).map_or("-", State::name));
            expected += &format!("{state} {}\n", cells.join(" "));
        }
        for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
            written += &(line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n");
        }
        assert_eq!(written, expected);
    }

    #[test]
    fn what_is_not_yet_valid_is_active_but_for_its_packets() {
        let refusal = |state: State, event| state.after(event).map_err(|refusal| refusal.reason);
        for event in Event::ALL {
            assert_eq!(refusal(State::NotYetValid, event), refusal(State::Active, event), "{event}");
        }
        assert!(!State::NotYetValid.lets_packets_pass() && !State::NotYetValid.is_closed());
    }

    #[test]
    fn a_refusal_names_what_was_to_happen_and_says_why() {
        for state in State::LIFE {
            for event in Event::ALL {
                let Err(refusal) = state.after(event) else { continue };
                assert_eq!((refusal.state, refusal.event), (state, event));
                assert!(refusal.reason.len() > 10 && !refusal.reason.ends_with('.'));
                assert!(refusal.to_string().starts_with(&format!("{event} is not possible: ")));
            }
        }
        let error = State::Draft.after(Event::Activate).unwrap_err();
        assert_eq!(error.to_string(), "activate is not possible: it is not approved; have it signed first");
    }

    #[test]
    fn names_are_unique_and_what_is_stored() {
        let states: BTreeSet<State> = State::LIFE.into_iter().chain(State::LISTED).collect();
        let names: BTreeSet<&str> =
            states.iter().map(|it| it.name()).chain(Event::ALL.iter().map(|it| it.name())).collect();
        assert_eq!((states.len(), names.len()), (8, 8 + Event::ALL.len()));
        for state in states {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        for event in Event::ALL {
            assert_eq!(serde_json::to_string(&event).unwrap(), format!("\"{event}\""));
        }
    }

    proptest! {
        /// Whatever happens in whatever order: a closed one stays closed, one that lets packets pass was
        /// approved and activated, and one that was stayed was resumed since.
        #[test]
        fn lives_keep_what_the_law_needs(events in prop::collection::vec(select(&Event::ALL[..]), 0..40)) {
            let mut state = State::Draft;
            let mut happened = Vec::new();
            for event in events {
                let before = state;
                match state.after(event) {
                    Ok(next) => {
                        prop_assert!(!before.is_closed() || next == State::Revoked);
                        happened.push(event);
                        state = next;
                    }
                    Err(refusal) => prop_assert_eq!((refusal.state, refusal.event), (state, event)),
                }
                if state.lets_packets_pass() {
                    prop_assert_eq!(&happened[..2], &[Event::Approve, Event::Activate]);
                    let last = |wanted| happened.iter().rposition(|&event| event == wanted);
                    prop_assert!(last(Event::Stay) <= last(Event::Resume));
                }
                prop_assert_eq!(state.lets_packets_pass(), state == State::Active);
                let ends = [Event::Revoke, Event::Invalidate, Event::Supersede, Event::Expire, Event::Exhaust];
                let ended = happened.iter().any(|event| ends.contains(event));
                prop_assert_eq!(state.is_closed(), ended);
            }
        }
    }
}
