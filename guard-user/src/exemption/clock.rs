//! The two clocks: documents speak of wall-clock time, the kernel judges by `CLOCK_BOOTTIME`.

use std::fs;
use std::io;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Where the kernel says which boot this is (random(4)): the boot clock begins anew with each.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The id of this boot.
///
/// # Errors
/// Where the kernel does not say it.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// `CLOCK_REALTIME`.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME` in nanoseconds: what `bpf_ktime_get_boot_ns` reads. It goes on in suspend, and
    /// cannot be set.
    pub boot_ns: u64,
}

impl Clocks {
    /// Reads both clocks together: the wall clock between two readings of the other, again where
    /// something came in between.
    #[must_use]
    pub fn read() -> Self {
        const CLOSE_NS: u64 = 20_000;
        const ATTEMPTS: usize = 8;
        let mut best = Self::read_once();
        for _ in 1..ATTEMPTS {
            if best.1 <= CLOSE_NS {
                break;
            }
            let next = Self::read_once();
            if next.1 < best.1 {
                best = next;
            }
        }
        best.0
    }

    /// The clocks, and the nanoseconds that reading them took.
    fn read_once() -> (Self, u64) {
        let boot = || nanoseconds(clock_gettime(ClockId::Boottime));
        let before = boot();
        let wall = Timestamp::now();
        let took = boot().saturating_sub(before);
        (Self { wall, boot_ns: before.saturating_add(took / 2) }, took)
    }

    /// A moment by the boot clock, in nanoseconds: 0 where it was before the boot, `u64::MAX` where it is
    /// past what the clock can say, which is in some 584 years.
    #[must_use]
    pub fn boot_time_of(&self, moment: Timestamp) -> u64 {
        let ahead = moment.as_nanosecond().saturating_sub(self.wall.as_nanosecond());
        let boot = i128::from(self.boot_ns).saturating_add(ahead);
        u64::try_from(boot.max(0)).unwrap_or(u64::MAX)
    }

    /// Nanoseconds by which the wall clock is behind a moment; 0 where it is not.
    #[must_use]
    pub fn behind_ns(&self, moment: Timestamp) -> u64 {
        let behind = moment.as_nanosecond().saturating_sub(self.wall.as_nanosecond());
        u64::try_from(behind.max(0)).unwrap_or(u64::MAX)
    }

    /// Nanoseconds that the wall clock was set forward since the earlier reading, below zero for back.
    /// Windows that were given to the kernel by then are off by as much.
    #[must_use]
    pub fn wall_set_since(&self, earlier: &Self) -> i128 {
        let wall = self.wall.as_nanosecond().saturating_sub(earlier.wall.as_nanosecond());
        wall.saturating_sub(i128::from(self.boot_ns) - i128::from(earlier.boot_ns))
    }
}

impl Clocks {
    /// What the wall clock was set by since the earlier reading, where it is so much that windows have to be
    /// computed anew: half a second, so that they are right to within a second. A clock that is only slewed
    /// takes the other along, and never comes so far.
    #[must_use]
    pub fn wall_jumped_since(&self, earlier: &Self) -> Option<i128> {
        const JUMP_NS: u128 = 500_000_000;
        Some(self.wall_set_since(earlier)).filter(|moved| moved.unsigned_abs() >= JUMP_NS)
    }
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(SECOND).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64, boot_ns: u64) -> Clocks {
        Clocks { wall: Timestamp::from_second(seconds).unwrap(), boot_ns }
    }

    #[test]
    fn moments_are_as_far_ahead_by_either_clock_and_saturate() {
        let clocks = at(1_000, 50_000_000_000);
        let boot = |seconds| clocks.boot_time_of(Timestamp::from_second(seconds).unwrap());
        assert_eq!(boot(1_000), 50_000_000_000);
        assert_eq!(boot(1_007), 57_000_000_000);
        assert_eq!(boot(950), 0);
        assert_eq!(boot(900), 0);
        assert_eq!(clocks.boot_time_of(Timestamp::MIN), 0);
        assert_eq!(clocks.boot_time_of(Timestamp::MAX), u64::MAX);
        assert_eq!(at(1_000, u64::MAX).boot_time_of(Timestamp::MAX), u64::MAX);
    }

    #[test]
    fn how_far_the_wall_clock_is_behind_is_never_below_nothing() {
        let clocks = at(1_000, 50);
        let behind = |seconds| clocks.behind_ns(Timestamp::from_second(seconds).unwrap());
        assert_eq!((behind(1_007), behind(1_000), behind(9)), (7_000_000_000, 0, 0));
        assert_eq!(at(-100_000_000_000, 0).behind_ns(Timestamp::MAX), u64::MAX);
    }

    #[test]
    fn a_wall_clock_that_is_set_is_seen() {
        let earlier = at(1_000, 5_000_000_000);
        assert_eq!(at(1_010, 15_000_000_000).wall_set_since(&earlier), 0);
        assert_eq!(at(1_040, 15_000_000_000).wall_set_since(&earlier), 30_000_000_000);
        assert_eq!(at(970, 15_000_000_000).wall_set_since(&earlier), -40_000_000_000);
    }

    /// A window that was given to the kernel before the jump is wrong by it, and right again once it is computed
    /// from the clocks after it.
    #[test]
    fn a_jump_of_half_a_second_or_more_moves_windows_and_less_does_not() {
        let earlier = at(1_000, 5_000_000_000);
        let later = |wall_ms: i64| Clocks {
            wall: Timestamp::from_millisecond(wall_ms).unwrap(),
            boot_ns: 15_000_000_000,
        };
        for quiet in [1_010_000, 1_010_499, 1_009_501] {
            assert_eq!(later(quiet).wall_jumped_since(&earlier), None, "{quiet}");
        }
        let end = Timestamp::from_second(1_100).unwrap();
        for (wall_ms, moved_ms) in
            [(1_010_500, 500), (1_009_500, -500), (1_040_000, 30_000), (10_000, -1_000_000)]
        {
            let now = later(wall_ms);
            assert_eq!(now.wall_jumped_since(&earlier), Some(moved_ms * 1_000_000));
            let moved = i128::from(now.boot_time_of(end)) - i128::from(earlier.boot_time_of(end));
            assert_eq!(moved, -moved_ms * 1_000_000, "the end comes as much sooner");
        }
    }

    #[test]
    fn the_clocks_of_this_host_agree_about_a_moment() {
        let first = Clocks::read();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let second = Clocks::read();
        assert!(second.boot_ns > first.boot_ns);
        let moment = second.wall.saturating_add(SignedDuration::from_secs(60)).unwrap();
        let apart = first.boot_time_of(moment).abs_diff(second.boot_time_of(moment));
        assert!(apart < 50_000_000, "{apart} ns apart");
    }

    proptest! {
        #[test]
        fn later_moments_are_never_earlier_by_the_boot_clock(
            wall in -377_705_023_201_i64..253_402_207_200, boot_ns: u64,
            one in -377_705_023_201_i64..253_402_207_200, other in -377_705_023_201_i64..253_402_207_200,
        ) {
            let boot = |seconds| at(wall, boot_ns).boot_time_of(Timestamp::from_second(seconds).unwrap());
            prop_assert!(boot(one.min(other)) <= boot(one.max(other)));
        }
    }
}
