//! Whether a sweep over the flow records could find anything.
//!
//! A full table has 65,536 records, and most hosts' stand still. The kernel counts every packet in its totals: where none moved
//! that has events, no record did.

use guard_common::abi::{Count, total_at};

use crate::events::has_events;

/// Sweeps that are made after the totals stood still: a processor may have counted a packet in its total and not yet in its
/// flow's record when the first one came by.
const SWEPT: u8 = 2;
/// Sweeps that are left out at most, one after another.
const LEFT_OUT: u8 = 11;

/// What was seen of the totals.
#[derive(Debug, Default)]
pub(super) struct Still {
    seen: Vec<(u32, Count)>,
    /// Looks at which they stood still.
    looks: u8,
}

impl Still {
    /// Looks at the totals before a sweep. Whether it can be left out.
    pub(super) fn look(&mut self, totals: &[(u32, Count)]) -> bool {
        let eventful = |(index, _): &&(u32, Count)| {
            total_at(*index).is_some_and(|(_, verdict, reason)| has_events(verdict, reason))
        };
        let seen: Vec<_> = totals.iter().filter(eventful).copied().collect();
        match self.seen == seen {
            true => self.looks += 1,
            false => *self = Self { seen, looks: 0 },
        }
        let can_be_left_out = self.looks > SWEPT;
        if self.looks >= SWEPT + LEFT_OUT {
            self.looks = SWEPT - 1;
        }
        can_be_left_out
    }

    /// The next sweep is to be made: the one before it was not, or not wholly.
    pub(super) fn unsettle(&mut self) {
        self.looks = 0;
    }
}

#[cfg(test)]
mod tests {
    use guard_common::abi::{Hook, total_index};
    use guard_common::verdict::{Reason, Verdict};

    use super::*;

    fn totals(forbidden: u64, permitted: u64) -> Vec<(u32, Count)> {
        let row = |verdict: Verdict, reason: Reason, packets: u64| {
            (total_index(Hook::Egress, verdict as u8, reason as u8), Count { packets, bytes: packets * 100 })
        };
        vec![
            row(Verdict::Drop, Reason::Forbidden, forbidden),
            row(Verdict::Pass, Reason::Permitted, permitted),
        ]
    }

    #[test]
    fn sweeps_are_left_out_where_nothing_with_events_moved_and_not_for_ever() {
        let mut still = Still::default();
        let made = |still: &mut Still, forbidden: u64, looks: u64| {
            (0..looks).map(|at| u8::from(!still.look(&totals(forbidden, at)))).collect::<Vec<u8>>()
        };
        assert_eq!(made(&mut still, 1, 5), [1, 1, 1, 0, 0]);
        assert_eq!(made(&mut still, 2, 4), [1, 1, 1, 0]);
        still.unsettle();
        assert_eq!(made(&mut still, 2, 4), [1, 1, 0, 0]);
        let long = made(&mut still, 2, 120);
        assert!(long.chunks(13).all(|some| some.contains(&1)), "{long:?}");
        assert!(long.iter().filter(|it| **it == 1).count() < 24, "{long:?}");
    }

    #[test]
    fn before_the_first_packet_it_sweeps_twice() {
        let mut still = Still::default();
        assert_eq!([(); 4].map(|()| still.look(&[])), [false, false, true, true]);
    }
}
