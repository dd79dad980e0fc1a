//! What is asked of a config that is to go by itself unless it is confirmed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::signed::SignatureText;

/// The longest time that a candidate waits for its confirmation, in seconds.
pub const MOST_UNCONFIRMED_SECONDS: u64 = 24 * 60 * 60;

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyWanted {
    /// Its file as the client has it, for messages and records.
    pub name: PathBuf,
    /// Its text.
    pub config: String,
    /// The signatures that lie beside its file.
    #[serde(default)]
    pub signatures: Vec<SignatureText>,
    /// For how long it is live without a confirmation, in seconds: from 1 to [`MOST_UNCONFIRMED_SECONDS`].
    pub seconds: u64,
    /// Whether it is meant that no interface of the host is guarded by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guard_nothing: bool,
}
