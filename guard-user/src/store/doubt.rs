//! The transaction of which it is not known whether the disk has it.

use jiff::Timestamp;

use super::Key;
use crate::audit::{self, Who};
use crate::exemption::record::Record;

/// A transaction that failed, and that the disk may have all the same.
pub(super) struct Doubt {
    pub(super) records: Vec<(Key, Record)>,
    /// What it was to append to the trail.
    pub(super) lines: Vec<audit::Record>,
    /// The last line of the trail that it would make; `None` where it appends none.
    pub(super) last_line: Option<String>,
    /// Why the disk could not be asked yet.
    pub(super) why: String,
}

impl Doubt {
    /// When it was to be made.
    pub(super) fn time(&self) -> Timestamp {
        self.lines.last().map_or(Timestamp::UNIX_EPOCH, |record| record.time)
    }

    /// By whom.
    pub(super) fn who(&self) -> Who {
        let daemon = Who { uid: 0, user: None, pid: None };
        self.lines.last().map_or(daemon, |record| record.who.clone())
    }
}
