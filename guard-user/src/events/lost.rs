//! What the log says of the lines that it lost.

use jiff::Timestamp;

/// Lines that were lost, because the log's destination did not take them in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed last.
    pub time: Timestamp,
    /// How many since the last record of this kind.
    pub lines: u64,
}
