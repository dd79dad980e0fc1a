//! How often the engine looks at what, nanoseconds.

/// One second.
pub(super) const SECOND: u64 = 1_000_000_000;
/// How often quotas are looked at that are granted in part: a tenth of what half a slice lasts at 1 Gbit/s, and
/// half of what it lasts at 10.
pub(super) const QUOTAS: u64 = SECOND / 20;
/// How often kernel and host are looked at, uses are saved and windows looked at.
pub(super) const EACH_SECOND: u64 = SECOND;
/// How often what failed is tried again, and what crossed is booked.
pub(super) const WATCHDOG: u64 = 5 * SECOND;
/// How often what exemptions have let through is held against their uses: all days that are kept are read for that.
pub(super) const COMPARE: u64 = 10 * 60 * SECOND;
/// How often a stale database is warned of.
pub(super) const EACH_DAY: u64 = 24 * 60 * 60 * SECOND;
