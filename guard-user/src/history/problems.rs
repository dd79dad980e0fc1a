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
    /// Events under a legal hold that the bound of the copies kept out.
    pub(super) kept_out: Lost,
    /// Events under a legal hold that the disk did not take in time.
    pub(super) late: Lost,
    /// Events of which it is not known whether they are under a legal hold.
    pub(super) unnamed: Lost,
}

impl Faults {
    /// Events under a legal hold, or perhaps under one, that were not copied.
    pub(super) const fn not_copied(&self) -> u64 {
        self.kept_out.count + self.late.count + self.unnamed.count
    }

    pub(super) fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.is_hold_full {
            let count = self.kept_out.count;
            let message = format!(
                "{count} events under a legal hold were not copied so far, because the copies have reached `history.hold_size`"
            );
            problems.push(Problem::new(ProblemCode::HoldFull, message));
        }
        let mut of_holds: Vec<String> = self.hold.iter().cloned().collect();
        if self.hold.is_none() && self.late.is_recent(now) {
            let count = self.late.count;
            of_holds.push(format!(
                "{count} events under a legal hold were not copied so far: the disk did not take them in time"
            ));
        }
        if self.unnamed.is_recent(now) {
            let count = self.unnamed.count;
            of_holds.push(format!(
                "{count} events of before this start were not copied so far: which exemption or pin they are of is not known, \
                 and so not whether a legal hold covers them"
            ));
        }
        if !of_holds.is_empty() {
            problems.push(Problem::new(ProblemCode::HoldUnwritable, of_holds.join("; ")));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bound kept out is not the disk's fault, also once there is room again.
    #[test]
    fn each_reason_for_a_missing_copy_is_told_as_itself() {
        let now = Instant::now();
        let told = |faults: &Faults| {
            let problems = faults.problems(now).into_iter();
            problems.map(|it| (it.code, it.message)).collect::<Vec<_>>()
        };
        let mut faults = Faults::default();
        faults.kept_out.add(now);
        faults.kept_out.add(now);
        assert_eq!((told(&faults), faults.not_copied()), (vec![], 2));
        faults.is_hold_full = true;
        faults.late.add(now);
        let both = told(&faults);
        assert!(both[0].1.starts_with("2 events") && both[1].1.starts_with("1 events"), "{both:?}");
        assert_eq!((both[0].0, both[1].0), (ProblemCode::HoldFull, ProblemCode::HoldUnwritable));
        let mut faults = Faults::default();
        faults.unnamed.add(now);
        let [(code, message)] = told(&faults).try_into().unwrap();
        assert_eq!(code, ProblemCode::HoldUnwritable);
        assert!(message.contains("not known") && !message.contains("in time"), "{message}");
        assert_eq!(faults.problems(now + RECENT), vec![]);
    }
}
