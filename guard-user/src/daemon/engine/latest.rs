//! The latest time that is known: what was told as over stays over, whatever the wall clock says later.
//!
//! It is the floor under the wall clock for what ends: windows of exemptions, and keys. What begins is judged by the wall clock
//! alone. While the wall clock is behind it, windows go on to end by the clock since the boot. It rises as fast as that one does,
//! which nobody can set: a wall clock that jumps forward for a moment does not raise it, but for what the daemon told as ended
//! by then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::exemption::Clocks;

/// How far the wall clock may be behind without a word: so much a time synchronisation sets it back by itself.
const BEHIND: SignedDuration = SignedDuration::from_secs(2);

/// By how much the wall clock may be set while the daemon runs, at once or in all, without a word but the record's: windows are
/// for minutes and more.
const SET: Duration = Duration::from_secs(60);

/// What the wall clock was set by while the daemon runs, since somebody reloaded.
#[derive(Debug, Default)]
pub(super) struct WasSet {
    in_all: SignedDuration,
    /// From what to what, the last time.
    last: Option<(Timestamp, Timestamp)>,
    /// Whether it was ever so much that it is told. Who sets it back has not undone what was judged meanwhile.
    is_much: bool,
}

impl WasSet {
    /// It was set by this, and is `now` since then.
    pub(super) fn add(&mut self, by: SignedDuration, was: Timestamp, now: Timestamp) {
        self.in_all = self.in_all.saturating_add(by);
        self.last = Some((was, now));
        self.is_much |= by.unsigned_abs() > SET || self.in_all.unsigned_abs() > SET;
    }

    /// What is told of it.
    pub(super) fn told(&self) -> Option<String> {
        let (was, is) = self.last.filter(|_| self.is_much)?;
        Some(format!(
            "the wall clock was set while the daemon runs, the last time from {was:.0} to {is:.0}, and by {} s in all: windows \
             of exemptions, keys and the times of records go by it",
            self.in_all.as_secs()
        ))
    }
}

/// The latest time that is known.
#[derive(Debug)]
pub(super) struct Latest {
    time: Timestamp,
    /// When it was as late as that, nanoseconds of `CLOCK_BOOTTIME`, which says what has passed since.
    known_ns: u64,
    /// What was known before this daemon, by the audit trail and the marks.
    before: Option<Timestamp>,
    /// Why the kernel does not have it.
    pub(super) unkept: Option<String>,
    pub(super) was_set: WasSet,
}

impl Latest {
    pub(super) fn begin(now: Clocks) -> Self {
        Self { time: now.wall, known_ns: now.boot_ns, before: None, unkept: None, was_set: WasSet::default() }
    }

    /// What time it is by now at the least: what windows end by.
    pub(super) fn at_least(&self, now: Clocks) -> Timestamp {
        let passed = i64::try_from(now.boot_ns.saturating_sub(self.known_ns)).unwrap_or(i64::MAX);
        self.time.saturating_add(SignedDuration::from_nanos(passed)).unwrap_or(self.time)
    }

    /// Raises it as far as the boot clock has gone on, and not past the wall clock. Returns whether the wall clock was behind,
    /// and is no more: windows end by it again.
    pub(super) fn raise(&mut self, now: Clocks) -> bool {
        let is_behind = |latest: &Self| latest.at_least(now).duration_since(now.wall) > BEHIND;
        let was_behind = is_behind(self);
        let raised = now.wall.min(self.at_least(now));
        if raised > self.time {
            (self.time, self.known_ns) = (raised, now.boot_ns);
        }
        was_behind && !is_behind(self)
    }

    /// Takes up what was known before this daemon. Returns whether that is news and past what the wall clock says.
    pub(super) fn learn(&mut self, before: Option<Timestamp>, now: Clocks) -> bool {
        if before <= self.before {
            return false;
        }
        self.before = before;
        if let Some(before) = before.filter(|before| *before > self.time) {
            (self.time, self.known_ns) = (before.max(self.at_least(now)), now.boot_ns);
        }
        before.is_some_and(|before| before > now.wall)
    }

    /// What was known before this daemon, while the wall clock is behind it.
    pub(super) fn behind(&self, now: Clocks) -> Option<Timestamp> {
        self.before.filter(|before| before.duration_since(now.wall) > BEHIND)
    }
}
