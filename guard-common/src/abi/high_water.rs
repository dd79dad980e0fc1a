//! How far the audit trail had come, which config went live last, and the latest time that is known, kept in the kernel apart
//! from the disk.

use core::mem::size_of;

/// The end of the audit trail as the disk had it last, and what the trail is to have next. No program goes by it: it is kept for
/// a daemon that starts again, so that an older store which was put back is seen, a config of which nothing was written before
/// the daemon was killed, and a wall clock that was set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HighWater {
    /// Sequence number of the last record; 0: none was kept here yet.
    pub sequence: u64,
    /// SHA-256 of its line.
    pub hash: [u8; 32],
    /// SHA-256 of the notes on configs that were live while no record could be written; zeroes: there are none.
    pub unrecorded: [u8; 32],
    /// SHA-256 of the first of these configs.
    pub config: [u8; 32],
    /// Since when that was live, seconds since 1970.
    pub since: u64,
    /// SHA-256 of what the config that went live last judges by; zeroes: none did yet.
    pub live: [u8; 32],
    /// SHA-256 of the first config that went live of which neither trail nor notes have anything.
    pub untold: [u8; 32],
    /// Since when that was live, seconds since 1970.
    pub untold_since: u64,
    /// How many went live since then, with it; 0: trail or notes have all of them.
    pub untold_count: u64,
    /// The latest time that the daemon has judged by, nanoseconds since 1970; 0: none is known.
    pub time: u64,
    /// When that was, nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// 1: by one of the configs that are noted was only observed; 0: by none.
    pub observed: u64,
    /// Likewise of those that went live of which neither trail nor notes have anything.
    pub untold_observed: u64,
    /// How many records the trail lacks without saying so; 0: none.
    pub lost: u64,
    /// When the first of them was given up, seconds since 1970.
    pub lost_from: u64,
    /// When the last of them was.
    pub lost_to: u64,
}

const _: () = assert!(size_of::<HighWater>() == 8 + 3 * 32 + 8 + 2 * 32 + 9 * 8);

impl HighWater {
    /// Says that a config goes live: by this it judges, this is its SHA-256, and this is the time, seconds since 1970. Where it
    /// is the one that did last, and is told, nothing is new.
    pub fn goes_live(&mut self, judges: [u8; 32], config: [u8; 32], since: u64) {
        if self.live == judges {
            return;
        }
        if self.untold_count == 0 {
            (self.untold, self.untold_since) = (config, since);
        }
        (self.live, self.untold_count) = (judges, self.untold_count.saturating_add(1));
    }

    /// Says that by the config that goes live is only observed.
    pub const fn only_observes(&mut self) {
        if self.untold_count > 0 {
            self.untold_observed = 1;
        }
    }

    /// Takes that back: the config that judges so did not go live, and before it was said this was so.
    pub fn did_not_go_live(&mut self, judges: [u8; 32], before: &Self) {
        if self.live != judges || before.live == judges {
            return;
        }
        // What is told meanwhile stays told.
        self.untold_count = self.untold_count.min(before.untold_count);
        self.live = before.live;
        self.untold_observed = before.untold_observed;
        if self.untold_count == 0 {
            (self.untold, self.untold_since, self.untold_observed) = ([0; 32], 0, 0);
        }
    }

    /// Says that the daemon judges by this time now: nanoseconds since 1970, and of `CLOCK_BOOTTIME`.
    pub const fn is_by(&mut self, time: u64, now_ns: u64) {
        (self.time, self.time_ns) = (time, now_ns);
    }

    /// What that time is by now, in nanoseconds since 1970, by a clock that nobody can set; `None` where none is known.
    #[must_use]
    pub const fn latest(&self, now_ns: u64) -> Option<u64> {
        match self.time {
            0 => None,
            time => Some(time.saturating_add(now_ns.saturating_sub(self.time_ns))),
        }
    }

    /// Says that trail or notes have the config that judges so, and with it all that went live before it.
    pub fn is_told(&mut self, judges: [u8; 32]) {
        if self.live == judges {
            (self.untold, self.untold_since, self.untold_count) = ([0; 32], 0, 0);
            self.untold_observed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven configs, by what they judge by and their digest.
    fn of(number: u8) -> [u8; 32] {
        [number; 32]
    }

    #[test]
    fn the_first_config_that_nobody_told_of_is_known_until_the_last_is_told() {
        let mut mark = HighWater::default();
        mark.goes_live(of(1), of(1), 100);
        mark.is_told(of(1));
        assert_eq!((mark.untold_count, mark.live), (0, of(1)));
        mark.goes_live(of(1), of(1), 200);
        assert_eq!(mark.untold_count, 0, "the one that is live already");
        mark.goes_live(of(2), of(2), 300);
        mark.goes_live(of(1), of(1), 400);
        assert_eq!((mark.untold, mark.untold_since, mark.untold_count), (of(2), 300, 2));
        mark.is_told(of(2));
        assert_eq!(mark.untold_count, 2, "another one is live by then");
        mark.is_told(of(1));
        assert_eq!((mark.untold, mark.untold_count), ([0; 32], 0));
    }

    #[test]
    fn that_only_was_observed_is_known_until_it_is_told() {
        let mut mark = HighWater::default();
        mark.goes_live(of(1), of(1), 100);
        mark.is_told(of(1));
        // The one that is live already, and told.
        mark.goes_live(of(1), of(1), 200);
        mark.only_observes();
        assert_eq!(mark.untold_observed, 0);
        let before = mark;
        mark.goes_live(of(2), of(2), 300);
        mark.only_observes();
        assert_eq!(mark.untold_observed, 1);
        mark.did_not_go_live(of(2), &before);
        assert_eq!(mark, before);
        mark.goes_live(of(2), of(2), 300);
        mark.only_observes();
        mark.goes_live(of(1), of(1), 400);
        assert_eq!(mark.untold_observed, 1, "by one of them");
        mark.is_told(of(1));
        assert_eq!(mark.untold_observed, 0);
    }

    #[test]
    fn a_time_that_was_known_goes_on_by_the_clock_that_nobody_can_set() {
        let mut mark = HighWater::default();
        assert_eq!(mark.latest(50), None);
        mark.is_by(1_000, 50);
        assert_eq!(
            (mark.latest(50), mark.latest(95), mark.latest(0)),
            (Some(1_000), Some(1_045), Some(1_000))
        );
    }

    #[test]
    fn what_did_not_go_live_leaves_what_was() {
        let mut mark = HighWater::default();
        mark.goes_live(of(1), of(1), 100);
        for is_told in [false, true] {
            if is_told {
                mark.is_told(of(1));
            }
            let before = mark;
            mark.goes_live(of(2), of(2), 200);
            mark.did_not_go_live(of(2), &before);
            assert_eq!(mark, before);
        }
        let before = mark;
        mark.goes_live(of(1), of(1), 300);
        mark.did_not_go_live(of(1), &before);
        assert_eq!(mark, before, "it was live, and is");
    }
}
