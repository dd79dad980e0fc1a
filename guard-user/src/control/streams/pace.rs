//! How much of its time the thread of readers spends on lines.

use std::time::{Duration, Instant};

use super::past::SHARE;

/// The thread's time is counted in windows of this length.
const WINDOW: Duration = Duration::from_millis(50);

/// Keeps the thread's work within its share of time.
#[derive(Clone, Debug)]
pub(super) struct Pace(std::rc::Rc<std::cell::Cell<(Instant, Duration)>>);

impl Default for Pace {
    fn default() -> Self {
        Self(std::rc::Rc::new(std::cell::Cell::new((Instant::now(), Duration::ZERO))))
    }
}

impl Pace {
    /// Counts this work, lets others run, and waits for the next window where this one is used up.
    pub(super) async fn spend(&self, work: Duration) {
        let (mut window, mut spent) = self.0.get();
        let now = Instant::now();
        if now.saturating_duration_since(window) >= WINDOW {
            (window, spent) = (now, Duration::ZERO);
        }
        spent += work;
        self.0.set((window, spent));
        match spent >= SHARE {
            true => tokio::time::sleep_until((window + WINDOW).into()).await,
            false => tokio::task::yield_now().await,
        }
    }
}
