//! What the kernel has counted and no line has.

use guard_common::abi::Hook;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;

/// By how much the kernel's counts of one hook, verdict and reason are above what the log's lines add up to: of events that
/// were lost, of lines that were, of flows whose records were evicted. Below zero where lines have told packets twice, as of a
/// flow that went on while the daemon was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// When it was seen.
    pub time: Timestamp,
    /// The hook.
    pub hook: Hook,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Packets.
    pub packets: i64,
    /// Bytes on the wire.
    pub bytes: i64,
}
