//! Whether a pin is ready for a stricter action, and each reason why it is not.

use std::fmt;

use jiff::SignedDuration;

use crate::config::share::Share;

/// Why a pin is not ready. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// All of the daemon observes: the pin's action does not count, and so is not tried.
    Observes,
    /// The flow history is off, so that nobody knows what was forbidden in all that time.
    NoHistory,
    /// The pin is not judged as it is for so long.
    Early {
        /// For how long it is.
        seen: SignedDuration,
        /// For how long it has to be.
        wanted: SignedDuration,
    },
    /// Flows of the last day would be dropped, and no exemption covers them.
    Recent {
        /// How many there were.
        flows: u64,
        /// How many there may be.
        most: u64,
    },
    /// More of all flows would newly be dropped than goes.
    NewDrops {
        /// How many of how many, and why.
        words: String,
    },
}

/// What readiness is judged by.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Whether all of the daemon observes.
    pub(super) observes: bool,
    /// Whether there is a flow history.
    pub(super) has_history: bool,
    /// For how long the pin is judged as it is.
    pub(super) seen: SignedDuration,
    /// Flows of the last day that would be dropped.
    pub(super) recent: u64,
    /// What of all flows would newly be dropped, where that is more than goes.
    pub(super) new_drops: Option<String>,
}

/// What has to be known of a pin before it is ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// For how long it has to be judged as it is.
    pub(super) min_seen: SignedDuration,
    /// Flows of the last day that may be dropped by it.
    pub(super) max_recent: u64,
}

/// Every reason why a pin is not ready; none where it is.
pub(super) fn reasons(facts: &Facts, bounds: Bounds) -> Vec<Reason> {
    let Facts { observes, has_history, seen, recent, new_drops } = facts;
    let Bounds { min_seen, max_recent } = bounds;
    let early = Reason::Early { seen: *seen, wanted: min_seen };
    let of = [
        observes.then_some(Reason::Observes),
        (!has_history && min_seen > SignedDuration::ZERO).then_some(Reason::NoHistory),
        (*seen < min_seen).then_some(early),
        (*recent > max_recent).then_some(Reason::Recent { flows: *recent, most: max_recent }),
        new_drops.clone().map(|words| Reason::NewDrops { words }),
    ];
    of.into_iter().flatten().collect()
}

impl Reason {
    /// A short name that stays the same from release to release.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Observes => "observes",
            Self::NoHistory => "no-history",
            Self::Early { .. } => "early",
            Self::Recent { .. } => "recent",
            Self::NewDrops { .. } => "new-drops",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observes => f.write_str(
                "the daemon observes (host.observe, --observe), so that no pin's action counts: end that first",
            ),
            Self::NoHistory => {
                f.write_str("the flow history is off (history.directory): nobody knows what was forbidden so far")
            }
            Self::Early { seen, wanted } => write!(
                f,
                "it is judged as it is for {}, and {} are asked for (--min-seen)",
                days(*seen),
                days(*wanted)
            ),
            Self::Recent { flows, most } => write!(
                f,
                "{flows} flows of the last 24 hours would be dropped, with no exemption, and {most} may be (--max-recent)"
            ),
            Self::NewDrops { words } => f.write_str(words),
        }
    }
}

/// A time in the two greatest units that it has.
pub(super) fn days(time: SignedDuration) -> String {
    const UNITS: [(i64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let seconds = time.as_secs().max(0);
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut left = seconds;
    let parts: Vec<String> = UNITS
        .iter()
        .skip(first)
        .take(2)
        .filter_map(|(unit, name)| {
            let count = left / unit;
            left %= unit;
            (count > 0 || seconds == 0).then(|| format!("{count}{name}"))
        })
        .collect();
    parts.join(" ")
}

impl Bounds {
    /// What to say so that a pin counts as ready whatever these reasons say; `None` where nothing does that.
    pub(super) fn meant(reasons: &[Reason]) -> Option<String> {
        let mut words = Vec::new();
        for reason in reasons {
            let word = match reason {
                Reason::Observes => return None,
                Reason::NoHistory | Reason::Early { .. } => "--min-seen 0s".to_owned(),
                Reason::Recent { flows, .. } => format!("--max-recent {flows}"),
                Reason::NewDrops { .. } => format!("--max-new-drops {}", Share::percent(100)),
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        Some(words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units() {
        for (seconds, words) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_661, "1h 1m"),
            (86_400, "1d"),
            (8 * 86_400 + 7_300, "8d 2h"),
            (-5, "0s"),
        ] {
            assert_eq!(days(SignedDuration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn each_bound_is_a_reason_of_its_own() {
        let hours = SignedDuration::from_hours;
        let bounds = Bounds { min_seen: hours(168), max_recent: 2 };
        let good = Facts { observes: false, has_history: true, seen: hours(168), recent: 2, new_drops: None };
        let codes = |facts: &Facts| reasons(facts, bounds).iter().map(Reason::code).collect::<Vec<_>>();
        assert!(codes(&good).is_empty());
        for (facts, code) in [
            (Facts { observes: true, ..good.clone() }, "observes"),
            (Facts { has_history: false, ..good.clone() }, "no-history"),
            (Facts { seen: hours(167), ..good.clone() }, "early"),
            (Facts { recent: 3, ..good.clone() }, "recent"),
            (Facts { new_drops: Some("x".into()), ..good.clone() }, "new-drops"),
        ] {
            assert_eq!(codes(&facts), [code]);
        }
        let all = Facts {
            has_history: false,
            seen: hours(1),
            recent: 9,
            new_drops: Some("x".into()),
            observes: false,
        };
        let found = reasons(&all, bounds);
        assert_eq!(
            Bounds::meant(&found).as_deref(),
            Some("--min-seen 0s --max-recent 9 --max-new-drops 100%")
        );
        assert_eq!(Bounds::meant(&reasons(&Facts { observes: true, ..all.clone() }, bounds)), None);
        let none = Bounds { min_seen: SignedDuration::ZERO, max_recent: 9 };
        assert_eq!(reasons(&all, none).len(), 1, "what is not asked for is no reason");
    }
}
