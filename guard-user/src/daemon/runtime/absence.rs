//! That the daemon did not run for a while, and was not ended.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tracing::error;

use super::Daemon;
use crate::daemon::engine::Input;
use crate::exemption::Clocks;

/// Between two turns of the loop: it wakes each second, also where there is nothing to do.
const ABSENT: Duration = Duration::from_secs(5);

impl Daemon {
    /// Takes note of the time between two turns, by a clock that stands still while the host sleeps: nothing leaves then. What was
    /// exchanged meanwhile and put back nobody has seen, so that it is on record, and a gap of the report.
    pub(super) fn notice_absence(&mut self, since: Duration) {
        if since <= ABSENT {
            return;
        }
        error!("the daemon did not run for {} s and was not ended: nothing was looked at", since.as_secs());
        self.slow_turn = Some((Instant::now(), since));
        let now = Clocks::read().wall;
        let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
        self.step(Input::Absent(now.checked_sub(since).unwrap_or(now)));
    }
}
