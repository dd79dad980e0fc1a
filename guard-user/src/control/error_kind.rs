//! Why a request was not carried out, for programs.

use serde::{Deserialize, Serialize};

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request is no JSON object of a known kind, too long, or did not come in time.
    BadRequest,
    /// The peer lacks the right that the request takes.
    NotPermitted,
    /// A config, a database or an exemption document can't be used.
    BadInput,
    /// There is no such thing as the request names.
    NotFound,
    /// The kernel or the disk refused.
    Failed,
    /// Too many clients are connected, or the daemon is ending.
    Busy,
}

impl ErrorKind {
    /// Its name, as it goes over the socket.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotPermitted => "not-permitted",
            Self::BadInput => "bad-input",
            Self::NotFound => "not-found",
            Self::Failed => "failed",
            Self::Busy => "busy",
        }
    }
}
