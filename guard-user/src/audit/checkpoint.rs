//! A checkpoint: how long the trail was, and how it ended, at some moment; kept elsewhere and signed, so
//! that an end that is cut off or written anew is found.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::chain::Head;
use crate::approval::{self, AllowedSigners, Approval, Refusal};
use crate::digest::from_hexadecimal;

/// Bytes of a checkpoint's text.
pub const CHECKPOINT_BYTES: usize = 1024;
/// Bytes of a host's name (hostname(7)).
const HOST_BYTES: usize = 253;
const TITLE: &str = "borderguard audit checkpoint 1";

/// How a trail ended at some moment. Its `Display` is the text that is signed; `FromStr` reads it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of which host.
    host: String,
    /// When it was made.
    pub time: Timestamp,
    /// The last record.
    pub head: Head,
}

/// Why a text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Something that a checkpoint does not have.
    #[error("this is not a checkpoint: {0}")]
    Malformed(&'static str),
    /// It was altered, or no signature on it counts.
    #[error("the checkpoint's signature does not count: {0}")]
    Refused(#[from] Refusal),
}

impl Checkpoint {
    /// Of a host's trail; characters that a host's name can't have become hyphens.
    #[must_use]
    pub fn new(host: &str, time: Timestamp, head: Head) -> Self {
        let host = host.chars().map(|c| if is_host_character(c) { c } else { '-' }).take(HOST_BYTES);
        Self { host: host.collect(), time, head }
    }

    /// Of which host's trail it is.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Reads a checkpoint that was signed with `ssh-keygen -Y sign -n borderguard-audit`; returns it with the approval
    /// that its signature gives.
    ///
    /// # Errors
    /// Where the signature does not count, or the signed text is not a checkpoint.
    pub fn read_signed(
        text: &[u8],
        signature: &[u8],
        identities: &[&str],
        allowed: &AllowedSigners,
        now: Timestamp,
    ) -> Result<(Self, Approval), CheckpointError> {
        let approval = approval::verify(text, signature, approval::AUDIT, identities, allowed, now)?;
        let text = std::str::from_utf8(text).map_err(|_| CheckpointError::Malformed("it is not text"))?;
        Ok((text.parse()?, approval))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, time, head } = self;
        writeln!(
            f,
            "{TITLE}\nhost {host}\ntime {time}\nsequence {}\nhash {}",
            head.sequence,
            head.hash_text()
        )
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::Malformed;
        if text.len() > CHECKPOINT_BYTES {
            return Err(bad("it is too long"));
        }
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(bad("its first line is another"));
        }
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let host = field("host").ok_or(bad("the line with the host is missing"))?;
        let time = field("time").and_then(|text| text.parse().ok()).ok_or(bad("it has no time"))?;
        let sequence =
            field("sequence").and_then(|text| text.parse().ok()).ok_or(bad("it has no sequence"))?;
        let hash = field("hash").and_then(from_hexadecimal).ok_or(bad("it has no hash"))?;
        let checkpoint = Self { host: host.to_owned(), time, head: Head { sequence, hash } };
        // There is one way to write it, so that nothing hides in another.
        if checkpoint.to_string() != text || !host.chars().all(is_host_character) {
            return Err(bad("it is not written as checkpoints are"));
        }
        Ok(checkpoint)
    }
}

fn is_host_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}
