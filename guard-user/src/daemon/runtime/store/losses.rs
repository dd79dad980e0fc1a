//! Notes which records the disk refuses, for the next daemon where this one ends before the trail says so.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::in_kernel;
use crate::audit::Kind;
use crate::daemon::engine::{Input, StoreJob, StoreOutcome};
use crate::store::LostRecords;

/// What a job tells the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// Nothing by itself: where the disk refuses it, nothing was done.
    Nothing,
    /// Of something that was done.
    Record,
    /// That it lacks so many records.
    Gap(u64),
}

impl Tells {
    pub(super) fn of(job: &StoreJob) -> Self {
        match job {
            StoreJob::Record(record) if record.kind == Kind::Gap => {
                Self::Gap(record.detail.get("lost").and_then(Value::as_u64).unwrap_or_default())
            }
            StoreJob::Record(_) | StoreJob::RecordConfig { .. } => Self::Record,
            _ => Self::Nothing,
        }
    }
}

/// What was lost.
pub(super) struct Losses {
    kept: LostRecords,
    fault: Option<String>,
}

impl Losses {
    /// Has the engine know what an earlier daemon has left.
    pub(super) fn begin([state, mark, pin_path]: [&Path; 3], inputs: &UnboundedSender<Input>) -> Self {
        let kept = LostRecords::open(state, mark, Some(in_kernel::keeper(pin_path)));
        if let Some(lost) = kept.lost() {
            let _nobody_is_left = inputs.send(Input::RecordsLost(lost.clone()));
        }
        Self { kept, fault: None }
    }

    /// Takes up what came of a job.
    pub(super) fn note(&mut self, tells: Tells, outcome: &StoreOutcome, inputs: &UnboundedSender<Input>) {
        let StoreOutcome::Saved(saved) = outcome else { return };
        let kept = match (tells, saved) {
            (Tells::Record, Err(error)) => self.kept.add(Timestamp::now(), &error.to_string()),
            (Tells::Gap(count), Ok(())) => self.kept.recorded(count),
            _ => return,
        };
        if self.fault != kept.clone().err() {
            self.fault = kept.err();
            let _nobody_is_left = inputs.send(Input::LossUnkept(self.fault.clone()));
        }
    }
}
