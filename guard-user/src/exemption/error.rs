//! What can be wrong with an exemption's document.

use std::io;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::law::{Breach, By};
use super::layout::Hiding;
use super::limits::{DOCUMENT_BYTES, EMERGENCY_MINUTES, LEAST_QUOTA, MAX_SIGNERS, WINDOW_DAYS};
use super::particulars::Law;
use crate::approval;
use crate::config;
use crate::config::finding::{Explain, quoted};
use crate::text::{OtherScript, Unseen};

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
    #[error("{number} is not a version")]
    BadVersion {
        /// What is there.
        number: i128,
    },
    /// A quota of nothing, or of more than can be counted.
    #[error("{number} is not a quota")]
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
        reason: String,
    },
    /// A text, or a key, with a character that nobody sees.
    #[error("{} {what}", quoted(text))]
    Unseen {
        /// What is there.
        text: String,
        /// The first such character.
        what: Unseen,
    },
    /// A text that stands for none.
    #[error("{} says nothing", quoted(text))]
    SaysNothing {
        /// What is there.
        text: String,
    },
    /// A quota that no packet of a transfer fits into.
    #[error("no packet fits into a quota of {number} bytes")]
    SmallQuota {
        /// The quota.
        number: u64,
    },
    /// A window that is longer than anybody approves.
    #[error("the window has {days} days, and {WINDOW_DAYS} are the most")]
    LongWindow {
        /// How long it is.
        days: i64,
    },
    /// An emergency that lasts longer than one.
    #[error("the window of an emergency has {seconds} seconds, and {} are the most", EMERGENCY_MINUTES * 60)]
    LongEmergency {
        /// How long it is.
        seconds: i64,
    },
    /// A comment, or what stands between the keys, has a character that nobody sees.
    #[error("this line {what}")]
    UnseenInLine {
        /// The first such character of the line.
        what: Unseen,
    },
    /// A part of the text is hidden from who reads it as plain text.
    #[error("{what}")]
    Hidden {
        /// How.
        what: Hiding,
    },
    /// A name with letters of several scripts.
    #[error("{} {what}", quoted(text))]
    MixedScripts {
        /// What is there.
        text: String,
        /// The first letter of another script.
        what: OtherScript,
    },
    /// A time that is another one in each zone.
    #[error("{text} has no zone, and is another moment in each")]
    NoZone {
        /// What is there.
        text: String,
    },
    /// A time that no calendar has.
    #[error("{text} is not a moment that exists")]
    NoSuchTime {
        /// What is there.
        text: String,
    },
    /// Not a number of signers.
    #[error("{number} is not a number of signers")]
    BadCount {
        /// What is there.
        number: i128,
    },
    /// Not a number of data subjects.
    #[error("{number} is not a number of data subjects")]
    BadSubjects {
        /// What is there.
        number: i128,
    },
    /// The law pack is over.
    #[error(
        "the law pack, as of {as_of}, was to be looked at again by {by}: nobody knows whether the law is still so"
    )]
    LawPackExpired {
        /// Its last day.
        by: jiff::civil::Date,
        /// Its date.
        as_of: jiff::civil::Date,
    },
    /// A day on which something is said to have been done, and that is still to come.
    #[error("{day} is not over: nothing was done on it yet")]
    DoneLater {
        /// When that day begins.
        day: jiff::Timestamp,
    },
    /// Not a SHA-256 in hexadecimal.
    #[error("{} is not a SHA-256", quoted(text))]
    BadDigest {
        /// What is there.
        text: String,
    },
    /// Not an identity that signatures can go by.
    #[error("{} is not an identity", quoted(text))]
    BadIdentity {
        /// What is there.
        text: String,
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
    /// A network of all addresses.
    #[error("{network} is everybody")]
    Everybody {
        /// The network.
        network: IpNetwork,
    },
    /// Networks of all addresses together.
    #[error("the networks of the recipients are {network} together, which is everybody")]
    EverybodyTogether {
        /// The network.
        network: IpNetwork,
    },
    /// A network that is larger than one may be without a word on why.
    #[error("{network} is larger than a /{bits}, and nothing says why")]
    LargeNetwork {
        /// The network.
        network: IpNetwork,
        /// The shortest prefix.
        bits: u8,
    },
    /// Networks that have more addresses together than one may have without a word on why.
    #[error(
        "the {family} networks of the recipients are larger together than a /{bits}, and nothing says why"
    )]
    LargeTogether {
        /// The family of addresses.
        family: &'static str,
        /// The shortest prefix.
        bits: u8,
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
    #[error("{}", old_version(id, (*version, *earlier), *is_open))]
    OldVersion {
        /// The id.
        id: String,
        /// The document's version.
        version: u32,
        /// The highest version so far.
        earlier: u32,
        /// Whether that, or one below it, is open.
        is_open: bool,
        /// Whether the document names a version that it replaces.
        replaces: bool,
    },
    /// A version can't take the place of itself or a later one.
    #[error("version {version} can't replace version {replaced}")]
    ReplacesLater {
        /// The document's version.
        version: u32,
        /// What stands in `replaces`.
        replaced: u32,
    },
    /// What is to be replaced is not open.
    #[error("version {replaced} of {} is not open, so that nothing can replace it", quoted(id))]
    ReplacesClosed {
        /// The id.
        id: String,
        /// What stands in `replaces`.
        replaced: u32,
        /// The version that is open, if there is one.
        open: Option<u32>,
    },
    /// A recipient's network is placed in another jurisdiction than the recipient.
    #[error(
        "{network} of {} is not all in {jurisdiction}, {amount} elsewhere: {address} is placed in {place}",
        quoted(recipient)
    )]
    PlacedElsewhere {
        /// The network.
        network: IpNetwork,
        /// The recipient.
        recipient: String,
        /// The recipient's jurisdiction.
        jurisdiction: Jurisdiction,
        /// How much of it is elsewhere.
        amount: String,
        /// An address of the network.
        address: std::net::IpAddr,
        /// Where it is placed.
        place: Jurisdiction,
    },
    /// Nobody can approve it by this config.
    #[error(transparent)]
    NotApprovable(#[from] approval::Hopeless),
    /// A rule of law is broken.
    #[error("{}", breach.said(*by))]
    Law {
        /// What breaks it.
        breach: Breach,
        /// By whose articles it is said.
        by: By,
    },
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
                "write the bytes that may leave, such as 5_000_000_000; leave out the key for no bound".into()
            }
            Self::BadLine { .. } => "write one line of text".into(),
            Self::Unseen { .. } => {
                "write it without: who signs the document has to see all of it, and each reader the same".into()
            }
            Self::SaysNothing { .. } => "write what an auditor can look up, or leave out a key that is not required".into(),
            Self::SmallQuota { .. } => {
                format!("write what the transfer needs, at least {LEAST_QUOTA} bytes, the length of a full packet")
            }
            Self::LongEmergency { .. } => "end it earlier, or have it approved by the rules: leave out `emergency`".into(),
            Self::LongWindow { .. } => "end it earlier, and renew it: each time it is approved again".into(),
            Self::UnseenInLine { .. } => "remove it: who signs the document signs this line as well".into(),
            Self::Hidden { what } => what.hint(),
            Self::MixedScripts { .. } => {
                "write the name in one script: letters of several look alike. Latin ones may stand with Chinese, Japanese and \
                 Korean"
                    .into()
            }
            Self::NoZone { text } if !text.contains(':') => {
                format!("write the moment with its zone, such as {text}T00:00:00Z")
            }
            Self::NoZone { text } => format!("write {text}Z for UTC, or {text}+01:00"),
            Self::NoSuchTime { .. } => "for example 2026-12-01T09:00:00+01:00".into(),
            Self::BadCount { .. } => format!("write a number from 1 to {MAX_SIGNERS}"),
            Self::BadSubjects { .. } => "write how many there are at most, from 1".into(),
            Self::LawPackExpired { .. } => {
                "name a newer pack in the config ([law], docs/law.md), or install a newer version; what is loaded keeps its end"
                    .into()
            }
            Self::DoneLater { .. } => "write the day on which it was done, once it is done; until then leave out done".into(),
            Self::BadDigest { .. } => "write the 64 digits that sha256sum prints for the act's file".into(),
            Self::BadIdentity { text } if text.trim() != text => {
                format!("write it without the blank at its begin or end: {}", quoted(text.trim()))
            }
            Self::BadIdentity { .. } => {
                "write it like an e-mail address, such as aoife@example.org: letters, digits and . _ % + -".into()
            }
            Self::UnknownPin { meant: Some(meant), known, .. } => {
                format!("did you mean {}? The config has {}", quoted(meant), names(known))
            }
            Self::UnknownPin { known, .. } if known.is_empty() => "the config has no pins".into(),
            Self::UnknownPin { known, .. } => format!("the config has {}", names(known)),
            Self::LargeNetwork { .. } | Self::LargeTogether { .. } => {
                "name the recipient's own hosts or networks; where it has as many, say why by large_network = \"...\" in the \
                 [[recipient]], which approvers sign"
                    .into()
            }
            Self::Everybody { .. } | Self::EverybodyTogether { .. } => "name the recipient's own networks".into(),
            Self::StillOpen { id, version } => {
                let next = u64::from(*version) + 1;
                format!("renew it with replaces = {version}, or revoke it and load this as version {next} of {id}")
            }
            Self::ReplacesLater { version: 1, .. } => "the first version replaces nothing".into(),
            Self::ReplacesLater { version, .. } => {
                format!("write the version that is open, at most {}, or raise version", version - 1)
            }
            Self::ReplacesClosed { open: Some(open), .. } => format!("version {open} is open: write replaces = {open}"),
            Self::ReplacesClosed { .. } => {
                "leave out replaces; what was closed is approved anew, with a higher version".into()
            }
            Self::OldVersion { earlier, is_open, replaces, .. } => {
                let next = u64::from(*earlier) + 1;
                match (*is_open, *replaces) {
                    (true, _) => format!("where it is to be renewed, write version = {next} or higher and replaces = {earlier}"),
                    (false, true) => {
                        format!("have the document approved again as version {next} or later, without replaces")
                    }
                    (false, false) => format!("have the document approved again as version {next} or later"),
                }
            }
            Self::PlacedElsewhere { .. } => "name the country that it is in, or narrower networks; where the database is \
                                             wrong, a [[site]] of the config says so, or anywhere = true in the \
                                             [[recipient]], which approvers sign"
                .into(),
            Self::NotApprovable(_) => {
                "ask for fewer, or for other roles, or let the config and its allowed signers name who is missing".into()
            }
            Self::Law { breach, by } => breach.hint(*by),
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
            Self::Unseen { .. } | Self::UnseenInLine { .. } => "unseen-character",
            Self::Hidden { what: Hiding::Escape { .. } } => "escaped-character",
            Self::Hidden { what: Hiding::Gap { .. } } => "wide-gap",
            Self::Hidden { what: Hiding::EmptyLines { .. } } => "empty-lines",
            Self::MixedScripts { .. } => "mixed-scripts",
            Self::SaysNothing { .. } => "says-nothing",
            Self::SmallQuota { .. } => "small-quota",
            Self::LongEmergency { .. } => "long-emergency",
            Self::LongWindow { .. } => "long-window",
            Self::NoZone { .. } => "no-zone",
            Self::NoSuchTime { .. } => "no-such-time",
            Self::BadCount { .. } => "bad-count",
            Self::BadSubjects { .. } => "bad-subjects",
            Self::LawPackExpired { .. } => "law-pack-expired",
            Self::DoneLater { .. } => "done-later",
            Self::BadDigest { .. } => "bad-digest",
            Self::BadIdentity { .. } => "bad-identity",
            Self::UnknownPin { .. } => "unknown-pin",
            Self::Everybody { .. } | Self::EverybodyTogether { .. } => "everybody",
            Self::LargeNetwork { .. } | Self::LargeTogether { .. } => "large-network",
            Self::StillOpen { .. } => "still-open",
            Self::OldVersion { .. } => "old-version",
            Self::ReplacesLater { .. } => "replaces-later",
            Self::ReplacesClosed { .. } => "replaces-closed",
            Self::PlacedElsewhere { .. } => "placed-elsewhere",
            Self::NotApprovable(hopeless) => hopeless.code(),
            Self::Law { breach, .. } => breach.rule().name(),
        }
    }
}

impl From<Breach> for ErrorKind {
    /// By the articles of the GDPR, until it is known which law is at the home of the pins.
    fn from(breach: Breach) -> Self {
        Self::Law { breach, by: By::Law(Law::Eu) }
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

/// That a version was loaded before, or a later one.
fn old_version(id: &str, (version, earlier): (u32, u32), is_open: bool) -> String {
    let closed = if is_open { "" } else { ", and is closed" };
    match version == earlier {
        true => format!("version {version} of {} was loaded already{closed}", quoted(id)),
        false => {
            format!("version {version} of {} can't be loaded: version {earlier} was{closed}", quoted(id))
        }
    }
}

/// Hints that speak of a config where a document needs another word.
fn common_hint(kind: &config::ErrorKind) -> String {
    use config::ErrorKind as Common;
    match kind {
        Common::Syntax { reason } if reason.contains("duplicate key") => {
            "a key and a [table] can be given once; only [[recipient]] and [[approval.required]] repeat".into()
        }
        Common::GroupNotCountry { .. } | Common::MarkNotCountry { .. } => {
            "name the recipient's country, such as \"US\"; one in another country is a [[recipient]] of its own"
                .into()
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
