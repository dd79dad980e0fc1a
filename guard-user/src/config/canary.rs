//! How often a pin's canary is sent.

use jiff::SignedDuration;

/// How often a pin's canary is sent, and whether it has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// From one to the next; a second at least.
    pub every: SignedDuration,
    /// Within this time the collector of the log has to hand each back; `None`: it need not.
    pub returned_within: Option<SignedDuration>,
}
