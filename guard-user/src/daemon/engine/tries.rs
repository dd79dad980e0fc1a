//! Tries at what the next look is to show.

use super::periods::SECOND;
use crate::exemption::Clocks;

/// How long after a failure it is tried again, nanoseconds.
const RETRY_NS: u64 = 5 * SECOND;
/// How long after something succeeded of which the next look shows nothing, nanoseconds.
const NO_EFFECT_NS: u64 = SECOND;

/// A try at something.
#[derive(Debug)]
pub(super) struct Try {
    /// Why it failed; `None` where it was said to have succeeded.
    pub(super) why: Option<String>,
    /// When it is to be tried again, nanoseconds of `CLOCK_BOOTTIME`.
    again_ns: u64,
}

impl Try {
    /// After the one before it, of which no look has shown an effect either.
    pub(super) fn after(before: Option<&Self>, result: Result<(), String>, now: Clocks) -> Self {
        let no_effect = "the kernel took it, and shows nothing of it";
        let why = result.err().or_else(|| before.map(|_| no_effect.to_owned()));
        let pause = if why.is_some() { RETRY_NS } else { NO_EFFECT_NS };
        Self { why, again_ns: now.boot_ns + pause }
    }

    pub(super) fn is_just_now(&self, now: Clocks) -> bool {
        now.boot_ns < self.again_ns
    }
}
