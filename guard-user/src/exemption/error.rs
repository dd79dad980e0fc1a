//! What can be wrong with an exemption's document.

use std::io;

use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::document::DOCUMENT_BYTES;
use crate::config;
use crate::config::finding::{Explain, quoted};

/// What is wrong. Its `Display` is one sentence for the compliance officer; [`hint`](Self::hint) says
/// what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// What can be wrong with any document that this program reads.
    #[error(transparent)]
    Common(#[from] config::ErrorKind),
    /// The document is longer than [`DOCUMENT_BYTES`].
    #[error("the document has more than {DOCUMENT_BYTES} bytes")]
    TooLong,
    /// A version that is none.
    #[error("{number} is no version")]
    BadVersion {
        /// What is there.
        number: i128,
    },
    /// A quota of nothing, or of more than can be counted.
    #[error("{number} is no quota")]
    BadQuota {
        /// What is there.
        number: i128,
    },
    /// Not one line of text.
    #[error("{} {reason}", quoted(text))]
    BadLine {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A time that is another one in each zone.
    #[error("{text} has no zone, and is another moment in each")]
    NoZone {
        /// What is there.
        text: String,
    },
    /// A time that no calendar has.
    #[error("{text} is no moment that there is")]
    NoSuchTime {
        /// What is there.
        text: String,
    },
    /// The window ends before it begins.
    #[error("the window ends at {until}, and does not begin before {from}")]
    ReversedWindow {
        /// Its begin.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
    /// The window is over.
    #[error("the exemption has expired: it ended at {until}, and now it is {now}")]
    Expired {
        /// Its end.
        until: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// A pin that the config does not have.
    #[error("there is no pin {}", quoted(name))]
    UnknownPin {
        /// What is there.
        name: String,
        /// What was probably meant.
        meant: Option<String>,
        /// The pins that there are.
        known: Vec<String>,
    },
    /// A recipient by networks and by jurisdictions.
    #[error("the recipient has cidrs and jurisdictions, and it is open which of them bound it")]
    TwoReaches,
    /// A network of all addresses.
    #[error("{network} is everybody")]
    Everybody {
        /// The network.
        network: IpNetwork,
    },
    /// The id is in use.
    #[error("an exemption {} is open already, in version {version}", quoted(id))]
    StillOpen {
        /// The id.
        id: String,
        /// The version that is open.
        version: u32,
    },
    /// The version was loaded before, or a later one.
    #[error("version {version} of {} can't be loaded: version {earlier} was, and is closed", quoted(id))]
    OldVersion {
        /// The id.
        id: String,
        /// The document's version.
        version: u32,
        /// The highest version so far.
        earlier: u32,
    },
    /// GDPR Art. 48.
    #[error(
        "an order of a third country's court or authority is by itself no ground for a transfer (GDPR Art. 48)"
    )]
    ForeignOrderAlone,
    /// GDPR Art. 49.
    #[error("a derogation must be bounded in bytes, and there is no quota_bytes (GDPR Art. 49)")]
    UnboundedDerogation,
}

impl ErrorKind {
    /// The document can't be opened or read.
    pub(super) fn unreadable(error: &io::Error) -> Self {
        config::ErrorKind::Unreadable { reason: error.to_string() }.into()
    }

    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Common(kind) => common_hint(kind),
            Self::TooLong => {
                "an exemption has a few dozen lines; is this the right file? Join networks where they are many"
                    .into()
            }
            Self::BadVersion { .. } => format!("write a number from 1 to {}", u32::MAX),
            Self::BadQuota { .. } => {
                "write the bytes that may leave, such as 5_000_000_000; leave the key away for no bound".into()
            }
            Self::BadLine { .. } => "write one line of text".into(),
            Self::NoZone { text } => format!("write {text}Z for UTC, or {text}+01:00"),
            Self::NoSuchTime { .. } => "for example 2026-12-01T09:00:00+01:00".into(),
            Self::ReversedWindow { .. } => "exchange the two, or correct the one that is wrong".into(),
            Self::Expired { .. } => "ask for a renewed approval with a later valid_until".into(),
            Self::UnknownPin { meant: Some(meant), known, .. } => {
                format!("did you mean {}? The config has {}", quoted(meant), names(known))
            }
            Self::UnknownPin { known, .. } if known.is_empty() => "the config has no pins".into(),
            Self::UnknownPin { known, .. } => format!("the config has {}", names(known)),
            Self::TwoReaches => {
                "keep the cidrs to bound it to them; anybody in a jurisdiction is a [[recipient]] of its own"
                    .into()
            }
            Self::Everybody { .. } => "name the recipient's own networks".into(),
            Self::StillOpen { id, version } => {
                format!("revoke it first, and load this as version {} or later of {id}", u64::from(*version) + 1)
            }
            Self::OldVersion { earlier, .. } => {
                format!("have the document approved again as version {} or later", u64::from(*earlier) + 1)
            }
            Self::ForeignOrderAlone => "name the ground that it rests on: a treaty-request under an \
                                        international agreement, or another instrument of Chapter V"
                .into(),
            Self::UnboundedDerogation => "add quota_bytes, the bytes that the one transfer needs".into(),
        }
    }

    /// A short name that stays the same from release to release, for programs that read the output.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Common(kind) => kind.code(),
            Self::TooLong => "file-too-long",
            Self::BadVersion { .. } => "bad-version",
            Self::BadQuota { .. } => "bad-quota",
            Self::BadLine { .. } => "bad-line",
            Self::NoZone { .. } => "no-zone",
            Self::NoSuchTime { .. } => "no-such-time",
            Self::ReversedWindow { .. } => "reversed-window",
            Self::Expired { .. } => "expired",
            Self::UnknownPin { .. } => "unknown-pin",
            Self::TwoReaches => "two-reaches",
            Self::Everybody { .. } => "everybody",
            Self::StillOpen { .. } => "still-open",
            Self::OldVersion { .. } => "old-version",
            Self::ForeignOrderAlone => "foreign-order-alone",
            Self::UnboundedDerogation => "unbounded-derogation",
        }
    }
}

impl Explain for ErrorKind {
    fn hint(&self) -> String {
        self.hint()
    }

    fn code(&self) -> &'static str {
        self.code()
    }
}

/// Hints that speak of a config where a document needs another word.
fn common_hint(kind: &config::ErrorKind) -> String {
    use config::ErrorKind as Common;
    match kind {
        Common::NoDimension { .. } => "say by what its packets are known: its own networks as cidrs, or \
                                       anybody in its jurisdictions"
            .into(),
        Common::Syntax { reason } if reason.contains("duplicate key") => {
            "a key can be given once; only [[recipient]] repeats".into()
        }
        Common::GroupNotCountry { .. } | Common::MarkNotCountry { .. } => {
            "name each country, such as \"US\", or the recipient's networks as cidrs".into()
        }
        kind => kind.hint(),
    }
}

fn names(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    if let Some(rest) = names.len().checked_sub(SHOWN).filter(|&rest| rest > 0) {
        shown.push(format!("and {rest} more"));
    }
    shown.join(", ")
}
