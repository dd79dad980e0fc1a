//! The latest time that is known: what was told as over stays over, whatever the wall clock says later.
//!
//! It is the floor under the wall clock for what ends: windows of exemptions at a start, and keys. What begins is judged by the
//! wall clock alone. It rises as fast as the clock since the boot does, which nobody can set: a wall clock that jumps forward
//! for a moment does not raise it, but for what the daemon told as ended by then.

use jiff::{SignedDuration, Timestamp};

use crate::exemption::Clocks;

/// How far the wall clock may be behind without a word: so much a time synchronisation sets it back by itself.
const BEHIND: SignedDuration = SignedDuration::from_secs(2);

/// The latest time that is known.
#[derive(Debug)]
pub(super) struct Latest {
    time: Timestamp,
    /// When it was raised last, nanoseconds of `CLOCK_BOOTTIME`.
    raised_ns: u64,
    /// What was known before this daemon, by the audit trail and the marks.
    before: Option<Timestamp>,
    /// Why the kernel does not have it.
    pub(super) unkept: Option<String>,
}

impl Latest {
    pub(super) fn begin(now: Clocks) -> Self {
        Self { time: now.wall, raised_ns: now.boot_ns, before: None, unkept: None }
    }

    pub(super) const fn time(&self) -> Timestamp {
        self.time
    }

    /// Raises it as far as the boot clock has gone on, and not past the wall clock.
    pub(super) fn raise(&mut self, now: Clocks) {
        let passed = i64::try_from(now.boot_ns.saturating_sub(self.raised_ns)).unwrap_or(i64::MAX);
        let by_boot = self.time.saturating_add(SignedDuration::from_nanos(passed)).unwrap_or(self.time);
        self.time = self.time.max(now.wall.min(by_boot));
        self.raised_ns = now.boot_ns;
    }

    /// Takes up what was known before this daemon. Returns whether that is news and past what the wall clock says.
    pub(super) fn learn(&mut self, before: Option<Timestamp>, now: Clocks) -> bool {
        if before <= self.before {
            return false;
        }
        self.before = before;
        self.time = before.map_or(self.time, |before| before.max(self.time));
        before.is_some_and(|before| before > now.wall)
    }

    /// What was known before this daemon, while the wall clock is behind it.
    pub(super) fn behind(&self, now: Clocks) -> Option<Timestamp> {
        self.before.filter(|before| before.duration_since(now.wall) > BEHIND)
    }
}
