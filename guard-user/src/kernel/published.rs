//! What a publication took.

use std::fmt;
use std::time::Duration;

/// A generation that was made live, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The generation.
    pub generation: u64,
    /// Filling the idle tables and holding them against what was written.
    pub fill: Duration,
    /// Changing the live word: the next packet is judged by the new tables.
    pub flip: Duration,
    /// Waiting for packets that were still being judged by the old tables.
    pub wait: Duration,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "generation {} (fill {}, flip {}, wait {})",
            self.generation,
            micros(self.fill),
            micros(self.flip),
            micros(self.wait)
        )
    }
}

/// Microseconds as people write them, for logs.
fn micros(duration: Duration) -> String {
    format!("{} us", duration.as_micros())
}
