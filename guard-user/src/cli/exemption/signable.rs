//! What is shown and then signed, of whatever kind.

use serde_json::Value;

/// What is to be signed, once it was checked.
pub(super) struct Signable {
    /// The very bytes.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of them.
    pub(super) sha256: String,
    /// What a signature over them is made for.
    pub(super) namespace: &'static str,
    /// All that they say, as it is shown.
    pub(super) shown: Vec<u8>,
    /// The same for programs, and what it is.
    pub(super) object: (&'static str, Value),
    /// What is to be told beside it, and is no error.
    pub(super) warnings: Vec<String>,
}
