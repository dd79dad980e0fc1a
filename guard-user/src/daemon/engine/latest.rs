//! The latest time that is known: what was told as over stays over, whatever the wall clock says later.
//!
//! It is the floor under the wall clock for what ends: windows of exemptions, and keys. What begins is judged by the wall clock
//! alone. While the wall clock is behind it, windows go on to end by the clock since the boot. It rises as fast as that one does,
//! which nobody can set: a wall clock that jumps forward for a moment does not raise it, but for what the daemon told as ended
//! by then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::periods::SECOND;
use crate::exemption::Clocks;

/// How far the wall clock may be behind without a word: so much a time synchronisation sets it back by itself.
const BEHIND: SignedDuration = SignedDuration::from_secs(2);

/// By how much the wall clock may be set while the daemon runs, at once or in all, without a word but the record's: windows are
/// for minutes and more.
const SET: Duration = Duration::from_secs(60);

/// For how long a wall clock that was set forward has to go on without being set until that is told no more, nanoseconds. So a
/// host that boots with a wrong clock, which the time synchronisation then sets, needs nobody.
const STEADY_NS: u64 = 600 * SECOND;

/// What the wall clock was set by while the daemon runs, since somebody reloaded or it was found steady.
#[derive(Debug, Default)]
pub(super) struct WasSet {
    in_all: SignedDuration,
    /// The most that it was ahead of where it began.
    furthest: SignedDuration,
    /// From what to what, the last time.
    last: Option<(Timestamp, Timestamp)>,
    /// When that was, nanoseconds of `CLOCK_BOOTTIME`.
    last_ns: u64,
    /// Whether it was ever so much that it is told. Who sets it back has not undone what was judged meanwhile.
    is_much: bool,
    /// Why that is told until somebody has looked, and not only until it is steady.
    stays: Option<String>,
}

impl WasSet {
    /// It was set by this, and is `now` since then.
    pub(super) fn add(&mut self, by: SignedDuration, was: Timestamp, now: Clocks) {
        self.in_all = self.in_all.saturating_add(by);
        self.furthest = self.furthest.max(self.in_all);
        self.last = Some((was, now.wall));
        self.last_ns = now.boot_ns;
        let back = self.furthest.saturating_sub(self.in_all);
        self.is_much |= [by, self.in_all, back].into_iter().any(|it| it.unsigned_abs() > SET);
        if back.unsigned_abs() > SET {
            self.stays.get_or_insert_with(|| "it was set back".to_owned());
        }
    }

    /// What the wall clock would be had it only been set back: where it was set forward, windows that begin after that have
    /// begun by this alone. `None` where nothing of it is told, or it is known already that it stays.
    pub(super) fn without_it(&self, now: Clocks) -> Option<Timestamp> {
        let is_asked = self.is_much && self.stays.is_none();
        is_asked.then(|| now.wall.checked_sub(self.in_all.max(SignedDuration::ZERO)).unwrap_or(now.wall))
    }

    /// The window of this exemption has begun by it.
    pub(super) fn has_opened(&mut self, id: &str) {
        self.stays = Some(format!("the window of {id} began by it"));
    }

    /// Forgets it where it was set forward, opened nothing, and has gone on for long enough. Returns whether it did.
    pub(super) fn settle(&mut self, now: Clocks) -> bool {
        let is_steady = now.boot_ns.saturating_sub(self.last_ns) >= STEADY_NS;
        let is_over = self.is_much && self.stays.is_none() && is_steady;
        if is_over {
            *self = Self::default();
        }
        is_over
    }

    /// What is told of it.
    pub(super) fn told(&self) -> Option<String> {
        let (was, is) = self.last.filter(|_| self.is_much)?;
        let until = match &self.stays {
            Some(why) => format!("Told until a reload or a start, for {why}"),
            None => format!("Told until it was not set for {} minutes", STEADY_NS / SECOND / 60),
        };
        Some(format!(
            "the wall clock was set while the daemon runs, the last time from {was:.0} to {is:.0}, and by {} s in all: windows \
             of exemptions, keys and the times of records go by it. {until}",
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
