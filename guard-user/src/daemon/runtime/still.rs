//! Whether the kernel's counters of pins may be others than when they were read last.
//!
//! The kernel counts each packet in its totals, which are few, and then for its pins. Where no total of packets that a pin tags
//! has moved, nothing was counted for a pin.

use std::time::{Duration, Instant};

use guard_common::verdict::Reason;

use crate::kernel::TotalCount;

/// For how long totals have to stand still before the counters are read that are then taken for what they are: a processor may
/// have counted a packet in its total and not yet for its pins.
const SETTLES: Duration = Duration::from_secs(1);
/// How often they are taken for what they are, one time after another.
const LEFT_OUT: u8 = 11;

/// What was seen of the totals.
#[derive(Debug, Default)]
pub(super) struct Still {
    seen: Vec<TotalCount>,
    /// Since when they are so.
    since: Option<Instant>,
    /// Whether the counters were read long enough after that.
    is_settled: bool,
    left_out: u8,
}

impl Still {
    /// Looks at the totals before the counters are read. Whether those of pins are the ones that were read after the look
    /// before; else they are to be read.
    pub(super) fn look(&mut self, totals: &[TotalCount], now: Instant) -> bool {
        let is_of_pins = |it: &&TotalCount| !matches!(it.reason, Reason::Untagged | Reason::NotIp);
        let seen: Vec<TotalCount> = totals.iter().filter(is_of_pins).copied().collect();
        let Some(since) = self.since.filter(|_| self.seen == seen) else {
            *self = Self { seen, since: Some(now), ..Self::default() };
            return false;
        };
        if self.is_settled && self.left_out < LEFT_OUT {
            self.left_out += 1;
            return true;
        }
        self.is_settled = now.saturating_duration_since(since) >= SETTLES;
        self.left_out = 0;
        false
    }
}

#[cfg(test)]
mod tests {
    use guard_common::abi::{Count, Hook};
    use guard_common::verdict::Verdict;

    use super::*;

    fn totals(permitted: u64, untagged: u64) -> [TotalCount; 2] {
        let row = |reason, packets| TotalCount {
            hook: Hook::Egress,
            verdict: Verdict::Pass,
            reason,
            count: Count { packets, bytes: packets * 100 },
        };
        [row(Reason::Permitted, permitted), row(Reason::Untagged, untagged)]
    }

    #[test]
    fn counters_are_read_until_a_second_after_the_last_packet_of_a_pin_and_once_a_minute() {
        let (mut still, begin) = (Still::default(), Instant::now());
        let mut read =
            |permitted: u64, ms: u64| !still.look(&totals(permitted, ms), begin + Duration::from_millis(ms));
        // What no pin tags goes on all the while.
        assert_eq!([0, 5000, 10_000].map(|at| read(0, at)), [true, true, false]);
        assert_eq!([15_000, 20_000, 25_000].map(|at| read(1, at)), [true, true, false]);
        // Looks that come close one after another are no time in which a packet comes to its end.
        let close = [30_000, 30_001, 30_500, 31_000, 31_001].map(|at| read(2, at));
        assert_eq!(close, [true, true, true, true, false]);
        let read = (1..=60).filter(|at| read(2, 31_001 + at * 5000)).count();
        assert!((4..=5).contains(&read), "{read}");
    }
}
