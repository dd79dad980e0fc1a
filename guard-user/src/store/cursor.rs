//! Up to when flows were reported.

/// Up to when flows were reported, so that a daemon that starts again does not report them twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The boot, as [`boot_id`](crate::exemption::clock::boot_id) names it.
    pub boot: String,
    /// When the flow records were last gone over, nanoseconds of `CLOCK_BOOTTIME`.
    pub swept_ns: u64,
}

impl Cursor {
    /// Up to when flows were reported, as seen at `now_ns` of `CLOCK_BOOTTIME` in this boot. `None` where the cursor
    /// is of another boot, or of the future.
    #[must_use]
    pub fn reported_until(&self, boot: &str, now_ns: u64) -> Option<u64> {
        (self.boot == boot && self.swept_ns <= now_ns).then_some(self.swept_ns)
    }
}
