//! Where a run of the daemon begins and ends in the log.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The first line of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// When it was made.
    pub time: Timestamp,
    /// The newest generation by then; `None` where none was published yet.
    pub generation: Option<u64>,
    /// SHA-256 of that generation's config, where it is known.
    pub policy: Option<Arc<str>>,
    /// The last line of the run before; `None` where none is known.
    pub predecessor: Option<LastLine>,
}

/// The last line of a run that ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When it was made.
    pub time: Timestamp,
}

/// The last line that a run has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLine {
    /// When the run's daemon started.
    pub session: Timestamp,
    /// The line's number.
    pub sequence: u64,
}
