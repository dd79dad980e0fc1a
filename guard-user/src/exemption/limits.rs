//! Upper bounds of a document.

/// Bytes of a document.
pub const DOCUMENT_BYTES: usize = 256 << 10;
/// Bytes of the smallest quota: a full Ethernet frame without its checksum. With less no packet of a transfer fits.
pub(super) const LEAST_QUOTA: u64 = 1514;
/// Days of the longest window, five years: what is to last longer is approved again before that.
pub(super) const WINDOW_DAYS: i64 = 1827;
/// Minutes of the longest window of an emergency.
pub(super) const EMERGENCY_MINUTES: i64 = 30;
/// Signers of one role.
pub(super) const MAX_SIGNERS: u32 = 64;
