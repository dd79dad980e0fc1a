//! What threads that work for the daemon have in common: a sign of life, an end that is not waited for for ever, and, of those
//! that only tell what happened, that they give way to others.

pub mod alarm;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

/// By how much a thread gives way to others that only tells what happened (nice(2)). It is the most there is: under a flood what
/// is permitted goes on beside it, and what it has no time for is counted as lost.
const GIVES_WAY: i32 = 19;

/// How often it is looked whether a thread has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A thread's signs of life, given by itself and looked at by others.
#[derive(Debug)]
pub struct Heartbeat {
    began: Instant,
    /// Milliseconds from `began` to the last sign.
    last: AtomicU64,
}

impl Default for Heartbeat {
    /// The first sign is given now.
    fn default() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// Gives a sign of life.
    pub fn beat(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// How long there was none.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        now.saturating_duration_since(self.began).saturating_sub(last)
    }
}

/// Has the calling thread, and those that it makes from now on, give way to others. For what tells of packets, and never for what
/// decides about them.
pub fn give_way() {
    if let Err(error) = rustix::process::nice(GIVES_WAY) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        warn!(%error, "the thread {name} can't give way to others");
    }
}

/// Waits so long at most for a thread's end; whether it has ended, and not by a panic. One that goes on is left alone.
pub fn join_within(thread: JoinHandle<()>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    thread.is_finished() && thread.join().is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_is_silent_since_its_last_sign() {
        let heartbeat = Heartbeat::default();
        let silent = |after| heartbeat.silent_for(heartbeat.began + after);
        assert_eq!(silent(Duration::ZERO), Duration::ZERO);
        assert_eq!(silent(Duration::from_secs(9)), Duration::from_secs(9));
        std::thread::sleep(Duration::from_millis(20));
        heartbeat.beat();
        let after = silent(Duration::from_secs(9));
        assert!(after <= Duration::from_millis(8_980), "{after:?}");
        // Looked at from before the sign.
        assert_eq!(silent(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_thread_that_goes_on_is_given_up_and_one_that_ends_is_joined() {
        let long = Duration::from_secs(60);
        let (end, ended) = mpsc::channel::<()>();
        let hung = std::thread::spawn(move || {
            let _dropped = ended.recv();
        });
        let begin = Instant::now();
        assert!(!join_within(hung, Duration::from_millis(30)));
        assert!(begin.elapsed() >= Duration::from_millis(30) && begin.elapsed() < long);
        drop(end);
        assert!(join_within(std::thread::spawn(|| ()), long));
        assert!(!join_within(std::thread::spawn(|| panic!("a test ends this thread")), long));
    }
}
