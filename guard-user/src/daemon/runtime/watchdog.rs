//! The service manager's watchdog (sd_watchdog_enabled(3)): it restarts a daemon whose loop has stopped.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// When to say that the loop goes on.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// The one that the service manager asks for by `WATCHDOG_USEC`, if it is this process that is meant. Must be
    /// called inside a tokio runtime.
    pub(super) fn of_service_manager() -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_another = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
        let period = number("WATCHDOG_USEC").filter(|_| !for_another).map(Duration::from_micros);
        Self(period.filter(|period| !period.is_zero()).map(|period| {
            // Twice in each period, as sd_watchdog_enabled(3) advises.
            let mut ticks = interval(period / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits until it is time to say so; for ever where nobody wants to hear it.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }
}
