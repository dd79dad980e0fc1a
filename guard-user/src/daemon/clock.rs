//! The two clocks: `CLOCK_BOOTTIME`, by which the kernel program judges and which nobody can set, and the
//! wall clock, by which people write.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_ns: u64,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Clock {
    /// Both clocks now.
    #[must_use]
    pub fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(boot.tv_nsec).unwrap_or_default();
        Self {
            boot_ns: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
            wall: Timestamp::now(),
        }
    }

    /// The wall clock's time at a moment of the boot clock, as the wall clock stands now.
    #[must_use]
    pub fn wall(&self, boot_ns: u64) -> Timestamp {
        let difference = i128::from(boot_ns) - i128::from(self.boot_ns);
        let nanosecond = self.wall.as_nanosecond().saturating_add(difference);
        let bounded = nanosecond.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
        Timestamp::from_nanosecond(bounded).unwrap_or(self.wall)
    }

    /// When the boot clock began, by the wall clock: moves only where somebody sets the wall clock.
    #[must_use]
    pub fn boot(&self) -> Timestamp {
        self.wall(0)
    }

    /// By how much the wall clock was set since an earlier reading.
    #[must_use]
    pub fn jump_since(&self, earlier: &Self) -> SignedDuration {
        self.boot().duration_since(earlier.boot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_maps_to_wall_time_and_back_ends_are_bounded() {
        let clock = Clock { boot_ns: 10_000_000_000, wall: "2026-11-23T12:00:10Z".parse().unwrap() };
        assert_eq!(clock.wall(9_500_000_000).to_string(), "2026-11-23T12:00:09.5Z");
        assert_eq!(clock.boot().to_string(), "2026-11-23T12:00:00Z");
        assert!(clock.wall(u64::MAX) > clock.wall);
        let last = Clock { boot_ns: 0, wall: Timestamp::MAX };
        assert_eq!(last.wall(u64::MAX), Timestamp::MAX);
    }

    #[test]
    fn only_setting_the_wall_clock_is_a_jump() {
        let before = Clock { boot_ns: 0, wall: "2026-11-23T12:00:00Z".parse().unwrap() };
        let later = Clock { boot_ns: 7_000_000_000, wall: "2026-11-23T12:00:07Z".parse().unwrap() };
        assert!(later.jump_since(&before).is_zero());
        let set = Clock { boot_ns: 8_000_000_000, wall: "2026-11-23T11:00:08Z".parse().unwrap() };
        assert_eq!(set.jump_since(&later), SignedDuration::from_hours(-1));
        let (one, two) = (Clock::now(), Clock::now());
        assert!(two.boot_ns >= one.boot_ns && two.jump_since(&one).abs() < SignedDuration::from_secs(1));
    }
}
