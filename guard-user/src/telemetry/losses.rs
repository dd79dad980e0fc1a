//! What was lost on the way, and since when.

use std::time::{Duration, Instant};

use guard_common::abi::Loss;

use crate::events::lost::What;
use crate::health::{Problem, ProblemCode};

/// How long a loss is a problem after it was seen last.
pub(super) const RECENT: Duration = Duration::from_secs(60);

/// One kind of loss: how many in all, and when there were more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    count: u64,
    at: Option<Instant>,
}

impl Counted {
    /// What was lost before is not news.
    pub(super) const fn from(count: u64) -> Self {
        Self { count, at: None }
    }

    /// Takes up how many there are by now, and returns how many of them are new.
    pub(super) fn take(&mut self, count: u64, now: Instant) -> u64 {
        let new = count.saturating_sub(self.count);
        self.count = count;
        if new > 0 {
            self.at = Some(now);
        }
        new
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.saturating_duration_since(at) < RECENT)
    }
}

/// What was lost, in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub(super) kernel: [Counted; Loss::COUNT],
    pub(super) evicted: Counted,
    pub(super) log: Counted,
    pub(super) diagnostics: Counted,
    /// Why the kernel can't be asked, while it can't.
    pub(super) unreadable: Option<String>,
}

impl Losses {
    /// What the kernel could not keep, by [`Loss`].
    #[must_use]
    pub fn kernel(&self) -> [u64; Loss::COUNT] {
        self.kernel.map(|counted| counted.count)
    }

    /// Flows whose records gave way to newer ones before it was seen that all of their packets were reported.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted.count
    }

    /// Lines of the event log that its destination did not take.
    #[must_use]
    pub const fn log(&self) -> u64 {
        self.log.count
    }

    /// Lines of the daemon's own log that standard error did not take.
    #[must_use]
    pub const fn diagnostics(&self) -> u64 {
        self.diagnostics.count
    }

    /// Losses of the last minute.
    pub(super) fn problems(&self, now: Instant) -> Vec<Problem> {
        let kernel = Loss::ALL.into_iter().zip(self.kernel).map(|(loss, counted)| {
            let message = format!("{} {} so far", counted.count, What::Kernel(loss).fate());
            (counted, Problem::of(ProblemCode::EventsLost, loss.name(), message))
        });
        let line = |counted: Counted, subject: &str, stream: &str| {
            let message =
                format!("{} lines were lost so far, because {stream} did not take them", counted.count);
            (counted, Problem::of(ProblemCode::LogLost, subject, message))
        };
        let evicted = {
            let message = format!("{} {} so far", self.evicted.count, What::Evicted.fate());
            (self.evicted, Problem::of(ProblemCode::EventsLost, "evicted", message))
        };
        let lines = [
            line(self.log, "events", "the log's destination"),
            line(self.diagnostics, "diagnostics", "standard error"),
        ];
        let recent = kernel
            .chain([evicted])
            .chain(lines)
            .filter(|(counted, _)| counted.is_recent(now))
            .map(|(_, it)| it);
        let unreadable = self.unreadable.iter().map(|why| {
            Problem::of(
                ProblemCode::CountersUnreadable,
                "losses",
                format!("what was lost can't be read: {why}"),
            )
        });
        recent.chain(unreadable).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_a_problem_for_a_minute() {
        let now = Instant::now();
        let mut losses = Losses { log: Counted::from(7), ..Losses::default() };
        assert_eq!(losses.problems(now), [], "what was lost before is no news");
        assert_eq!(losses.log.take(9, now), 2);
        assert_eq!(losses.kernel[Loss::Events as usize].take(5, now), 5);
        assert_eq!(losses.evicted.take(3, now), 3);
        let codes = |at| losses.problems(at).into_iter().map(|it| (it.code, it.subject)).collect::<Vec<_>>();
        let all = [
            (ProblemCode::EventsLost, Some(Loss::Events.name().to_owned())),
            (ProblemCode::EventsLost, Some("evicted".to_owned())),
            (ProblemCode::LogLost, Some("events".to_owned())),
        ];
        assert_eq!(codes(now), all);
        assert_eq!(codes(now + RECENT - Duration::from_millis(1)), all);
        assert_eq!(codes(now + RECENT), []);
        assert_eq!((losses.log(), losses.kernel()[Loss::Events as usize], losses.evicted()), (9, 5, 3));
    }
}
