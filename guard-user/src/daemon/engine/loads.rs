//! The loads of exemptions that are not answered yet.

use super::Ticket;
use crate::audit::Who;
use crate::control::protocol::SignatureText;
use crate::store::Key;

/// Loads that are not answered yet.
#[derive(Default)]
pub(super) struct Loads {
    /// Those that the store has not done.
    pub(super) asked: Vec<(Ticket, Asked)>,
    /// Those that are kept and not live yet.
    pub(super) kept: Vec<Loaded>,
}

pub(super) struct Asked {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) who: Who,
    pub(super) wanted: Wanted,
}

impl Asked {
    /// The document's id and version, where it is one.
    pub(super) fn named(&self) -> Option<(String, u32)> {
        let table: toml::Table = std::str::from_utf8(&self.bytes).ok()?.parse().ok()?;
        let version = table.get("version")?.as_integer()?;
        Some((table.get("id")?.as_str()?.to_owned(), version.try_into().ok()?))
    }
}

/// What is to come of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is loaded.
    Load,
    /// It is said what loading it would come to.
    Plan,
    /// It is recorded that it is refused.
    Refusal,
}

pub(super) struct Loaded {
    pub(super) ticket: Ticket,
    pub(super) key: Key,
    pub(super) message: String,
    /// Whether the counts for the answer are being read.
    pub(super) reading: bool,
}

/// A document as a client handed it in.
pub(super) struct Handed {
    pub(super) document: String,
    pub(super) name: String,
    pub(super) signatures: Vec<SignatureText>,
    pub(super) wanted: Wanted,
}

impl Loads {
    /// Whether the store may be about to open one.
    pub(super) fn are_on_their_way(&self) -> bool {
        self.asked.iter().any(|(_, asked)| asked.wanted == Wanted::Load)
    }
}
