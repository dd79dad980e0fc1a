//! Whether the log takes lines, for `status`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line that is not taken for so long is not taken.
const STUCK: Duration = Duration::from_secs(5);

/// Whether the log takes lines. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Condition(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Why the last line could not be written.
    fault: Option<String>,
    /// Why it does not go where the config wants it.
    elsewhere: Option<String>,
    /// Since when a line is being written.
    since: Option<Instant>,
}

impl Condition {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line is being written.
    pub(super) fn begin(&self) {
        self.state().since = Some(Instant::now());
    }

    /// It was written, or not.
    pub(super) fn end(&self, written: &io::Result<()>) {
        let mut state = self.state();
        state.since = None;
        state.fault = written.as_ref().err().map(ToString::to_string);
    }

    /// It could go elsewhere as it should, or not.
    pub(super) fn moved(&self, moved: Result<(), String>) {
        self.state().elsewhere = moved.err();
    }

    /// What is wrong, as long as it is.
    #[must_use]
    pub fn faults(&self, now: Instant) -> Vec<String> {
        let state = self.state();
        let for_long =
            state.since.map(|since| now.saturating_duration_since(since)).filter(|it| *it >= STUCK);
        let stuck = for_long.map(|it| {
            format!("its destination has not taken a line for {} s: what reads it does not", it.as_secs())
        });
        let fault = state.fault.as_ref().map(|why| format!("the last line could not be written: {why}"));
        let elsewhere = state.elsewhere.as_ref().map(|why| format!("it stays where it was: {why}"));
        let told = |why| format!("the event log: {why}");
        stuck.or(fault).into_iter().chain(elsewhere).map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_problem_as_long_as_no_line_can_be_written_and_says_why() {
        let condition = Condition::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(600);
        assert_eq!(condition.faults(later), [""; 0]);
        condition.begin();
        condition.end(&Err(io::Error::from_raw_os_error(libc::ENOSPC)));
        let said = |at| condition.faults(at);
        let [why] = &said(later)[..] else { panic!("{:?}", said(later)) };
        assert!(why.contains("No space left on device"), "{why}");
        // The next one is not taken at all.
        condition.begin();
        assert!(said(later)[0].contains("has not taken a line for"), "{:?}", said(later));
        condition.end(&Ok(()));
        assert_eq!(condition.faults(later), [""; 0]);
        condition.moved(Err("closed".to_owned()));
        assert!(said(now)[0].contains("closed"));
        condition.moved(Ok(()));
        assert_eq!(condition.faults(later), [""; 0]);
    }
}
