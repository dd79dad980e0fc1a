//! Upper bounds of a document.

/// Bytes of a document.
pub const DOCUMENT_BYTES: usize = 256 << 10;
/// Signers of one role.
pub(super) const MAX_SIGNERS: u32 = 64;
