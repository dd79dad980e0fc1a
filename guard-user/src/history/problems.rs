//! What is wrong with the flow history, and what it did not take.

use std::time::{Duration, Instant};

use crate::health::{Problem, ProblemCode};

/// How long a loss is a problem after it was seen last.
const RECENT: Duration = Duration::from_secs(60);

/// One kind of loss: how many in all, how many are told, and when there were more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    pub(super) count: u64,
    at: Option<Instant>,
}

impl Lost {
    pub(super) fn add(&mut self, now: Instant) {
        self.count += 1;
        self.at = Some(now);
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.saturating_duration_since(at) < RECENT)
    }
}

/// What is not as it should be.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Why the history can't be written, while it can't.
    pub(super) history: Option<String>,
    /// Why copies can't be written, while they can't.
    pub(super) hold: Option<String>,
    /// Whether the copies have reached their bound.
    pub(super) is_hold_full: bool,
    /// Records that the history did not take.
    pub(super) lost: Lost,
    /// Events under a legal hold that were not copied.
    pub(super) not_copied: Lost,
}

impl Faults {
    pub(super) fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.is_hold_full {
            let count = self.not_copied.count;
            let message = format!(
                "{count} events under a legal hold were not copied so far, because the copies have reached `history.hold_size`"
            );
            problems.push(Problem::new(ProblemCode::HoldFull, message));
        }
        if let Some(why) = &self.hold {
            problems.push(Problem::new(ProblemCode::HoldUnwritable, why.clone()));
        } else if !self.is_hold_full && self.not_copied.is_recent(now) {
            let count = self.not_copied.count;
            let message = format!(
                "{count} events under a legal hold were not copied so far: the disk did not take them in time"
            );
            problems.push(Problem::new(ProblemCode::HoldUnwritable, message));
        }
        if let Some(why) = &self.history {
            problems.push(Problem::new(ProblemCode::HistoryUnwritable, why.clone()));
        }
        if self.lost.is_recent(now) {
            let message = format!(
                "{} records of the flow history were lost so far, because the disk did not take them in time",
                self.lost.count
            );
            problems.push(Problem::new(ProblemCode::HistoryLost, message));
        }
        problems
    }
}
