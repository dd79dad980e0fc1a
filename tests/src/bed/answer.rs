//! What a command came to.

use std::process::ExitStatus;

/// What a command ended with and printed.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub complaint: String,
}

impl Answer {
    /// Whether the command did its work. Codes above 4 are of `status` alone, and say how the guard is.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.status.code(), Some(0 | 5..=7))
    }
}
