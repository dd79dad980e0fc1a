//! Quotas over crashes: the kernel is given a quota in slices, each of which is on the disk as granted before
//! the kernel has it.
//!
//! What the kernel lets through is read every second and kept every few; a host that loses its power in
//! between would forget the rest, and the exemption would be more open than before. So what was granted counts
//! as used after a reboot, and what is granted ahead is bounded: an eighth of the quota, at least
//! `SMALLEST`. With no daemon running the kernel stops at the end of the slice.
//!
//! The daemon looks at such an account many times a second, so that a transfer does not meet the end of a slice
//! before the next one is granted: half of the smallest lasts 0.1 seconds at 10 Gbit/s.

use crate::exemption::document::Document;
use crate::exemption::record::Record;

/// Bytes of the smallest slice: what a host at 10 Gbit/s sends in 0.2 seconds.
pub(super) const SMALLEST: u64 = 256 << 20;

/// The part of a quota that is granted ahead.
const PARTS: u64 = 8;

/// How much of this quota the kernel is given ahead.
pub(super) fn slice(quota: u64) -> u64 {
    quota.min((quota / PARTS).max(SMALLEST))
}

/// What may still pass by what the disk has, for whoever has no counts of the kernel's. Where nothing is granted ahead
/// of what was counted, the counts have ended and what was granted was given back: then a start grants anew, from all
/// that is left of the quota.
pub(super) fn left_as_recorded(document: &Document, record: &Record) -> u64 {
    let Some(quota) = document.quota_bytes else { return u64::MAX };
    let used = record.used().bytes;
    let is_settled = record.counted.bytes == 0 && record.granted <= record.before.bytes;
    let most = if is_settled { quota } else { quota.min(record.granted) };
    most.saturating_sub(used)
}

/// What the kernel may let through in the present slots.
pub(super) fn left(document: &Document, record: &Record) -> u64 {
    match document.quota_bytes {
        None => u64::MAX,
        Some(quota) => quota.min(record.granted).saturating_sub(record.before.bytes),
    }
}
