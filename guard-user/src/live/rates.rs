//! Amounts a second: the difference of two looks at the kernel's counters over the time between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::control::status::Status;

/// Packets and bytes, or as many a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Packets, GSO segments counted as one; calls where a hook of calls counted them.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl Amount {
    /// Both together; what is more than a number holds is the most that it holds.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Self::and)
    }
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Everything of this verdict, each packet once.
    Total {
        /// The verdict's name.
        verdict: String,
    },
    /// What is of this pin. A packet of several pins is in each.
    Pinned {
        /// The pin's name.
        pin: String,
        /// The jurisdiction; empty where no destination was placed.
        jurisdiction: String,
        /// The verdict's name.
        verdict: String,
    },
    /// Egress of no pin.
    Untagged {
        /// The peer's jurisdiction.
        jurisdiction: String,
    },
}

/// All that a status counts, at one moment.
#[derive(Clone, Debug)]
pub struct Counts {
    amounts: BTreeMap<Counter, Amount>,
    at: Instant,
}

impl Counts {
    /// Those of a status that came at this moment.
    #[must_use]
    pub fn of(status: &Status, at: Instant) -> Self {
        let totals = status.totals.iter().map(|row| {
            let counter = Counter::Total { verdict: row.verdict.clone() };
            (counter, Amount { packets: row.packets, bytes: row.bytes })
        });
        let pinned = status.counters.iter().filter_map(|row| {
            let counter = Counter::Pinned {
                pin: row.pin.clone()?,
                jurisdiction: row.jurisdiction.clone().unwrap_or_default(),
                verdict: row.verdict.clone(),
            };
            Some((counter, Amount { packets: row.packets, bytes: row.bytes }))
        });
        let untagged = status.untagged.jurisdictions.iter().map(|row| {
            let counter = Counter::Untagged { jurisdiction: row.jurisdiction.clone() };
            (counter, Amount { packets: row.packets, bytes: row.bytes })
        });
        let mut amounts: BTreeMap<Counter, Amount> = BTreeMap::new();
        for (counter, amount) in totals.chain(pinned).chain(untagged) {
            let sum = amounts.entry(counter).or_default();
            *sum = sum.and(amount);
        }
        Self { amounts, at }
    }

    /// Each counter with its amount.
    pub fn iter(&self) -> impl Iterator<Item = (&Counter, Amount)> {
        self.amounts.iter().map(|(counter, amount)| (counter, *amount))
    }

    /// The sum of those that are wanted.
    pub fn sum(&self, wanted: impl Fn(&Counter) -> bool) -> Amount {
        self.iter().filter(|(counter, _)| wanted(counter)).map(|(_, amount)| amount).sum()
    }

    /// The sum of everything of a verdict, each packet once.
    #[must_use]
    pub fn of_verdict(&self, wanted: &str) -> Amount {
        self.sum(|counter| matches!(counter, Counter::Total { verdict } if verdict == wanted))
    }

    /// Amounts a second since an earlier moment; none where no time has passed, or where the counters began anew
    /// meanwhile.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<Self> {
        let elapsed = self.at.checked_duration_since(before.at).filter(|it| !it.is_zero())?;
        let began_anew = before.amounts.iter().any(|(counter, was)| {
            self.amounts.get(counter).is_some_and(|is| is.packets < was.packets || is.bytes < was.bytes)
        });
        if began_anew {
            return None;
        }
        let rate = |(counter, is): (&Counter, &Amount)| {
            let was = before.amounts.get(counter).copied().unwrap_or_default();
            let a_second = Amount {
                packets: a_second(is.packets.saturating_sub(was.packets), elapsed),
                bytes: a_second(is.bytes.saturating_sub(was.bytes), elapsed),
            };
            (counter.clone(), a_second)
        };
        Some(Self { amounts: self.amounts.iter().map(rate).collect(), at: self.at })
    }
}

/// So many in this time, a second, rounded to the nearest.
fn a_second(count: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos().max(1);
    let rate = (u128::from(count) * 1_000_000_000 + nanos / 2) / nanos;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control::status::{CounterStatus, TotalStatus};

    fn status(packets: u64) -> Status {
        let row = |pin: &str, verdict: &str, packets| CounterStatus {
            pin: Some(pin.into()),
            jurisdiction: Some("US".into()),
            hook: "egress".into(),
            verdict: verdict.into(),
            reason: "forbidden".into(),
            packets,
            bytes: packets.saturating_mul(100),
        };
        Status {
            totals: vec![TotalStatus { verdict: "drop".into(), packets, ..Default::default() }],
            // Two reasons of one verdict are one amount.
            counters: vec![row("a", "drop", packets), row("a", "drop", 1), row("b", "pass", 7)],
            ..Default::default()
        }
    }

    #[test]
    fn a_rate_is_the_difference_over_the_time_that_really_passed() {
        let begin = Instant::now();
        let before = Counts::of(&status(10), begin);
        let after = Counts::of(&status(40), begin + Duration::from_millis(1500));
        let rates = after.since(&before).unwrap();
        let is_of = |name: &'static str| move |counter: &Counter| matches!(counter, Counter::Pinned { pin, .. } if pin == name);
        assert_eq!(rates.sum(is_of("a")), Amount { packets: 20, bytes: 2000 });
        assert_eq!(rates.sum(is_of("b")), Amount::default());
        assert_eq!(after.sum(is_of("a")), Amount { packets: 41, bytes: 4100 });
    }

    #[test]
    fn counters_that_began_anew_and_no_time_have_no_rate() {
        let begin = Instant::now();
        let (low, high) =
            (Counts::of(&status(10), begin + Duration::from_secs(1)), Counts::of(&status(40), begin));
        assert!(low.since(&high).is_none());
        assert!(high.since(&high).is_none());
        // The clock can't go back; if it did, nothing is made up.
        assert!(Counts::of(&status(50), begin).since(&low).is_none());
    }

    proptest! {
        #[test]
        fn a_rate_times_the_time_is_the_difference(count: u64, millis in 1_u64..100_000) {
            let elapsed = Duration::from_millis(millis);
            let rate = u128::from(a_second(count, elapsed));
            let back = rate * elapsed.as_nanos();
            let exact = u128::from(count) * 1_000_000_000;
            if rate < u128::from(u64::MAX) {
                prop_assert!(back.abs_diff(exact) <= elapsed.as_nanos() / 2 + 1);
            } else {
                prop_assert!(exact / elapsed.as_nanos() >= u128::from(u64::MAX) - 1);
            }
        }
    }
}
