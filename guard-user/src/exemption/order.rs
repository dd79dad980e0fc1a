//! An order that stays exemptions, and what it covers.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::error::ErrorKind;
use super::record::{ApprovedBy, Covered};
use super::summary::OrderSummary;
use super::values;
use crate::config;
use crate::text::{escaped, look_alike};

/// Version of the form of an order's row.
pub(crate) const FORMAT: u32 = 1;

/// Which exemptions a change is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The one of this id that is not closed.
    Id(String),
    /// Every one that rests on the instrument of this name and is not closed.
    Instrument(String),
    /// Every one that covers the pin of this name and is not closed. Of orders alone.
    Pin(String),
    /// Every one with a recipient of this name that is not closed. Of orders alone.
    Recipient(String),
    /// Every one that has a signature of the key of this fingerprint and is not closed. Of orders alone.
    Key(String),
    /// Every one that is not closed. Of orders alone.
    All,
}

impl Target {
    /// What it covers, in words: `the pin mail`, `all exemptions`.
    #[must_use]
    pub fn words(&self) -> String {
        let of = match self {
            Self::Id(_) => "the exemption",
            Self::Instrument(_) => "the instrument",
            Self::Pin(_) => "the pin",
            Self::Recipient(_) => "the recipient",
            Self::Key(_) => "the key",
            Self::All => return "all exemptions".to_owned(),
        };
        format!("{of} {}", self.name())
    }

    /// The name of the exemption, instrument, pin or recipient, or the key's fingerprint; empty for all.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Id(name)
            | Self::Instrument(name)
            | Self::Pin(name)
            | Self::Recipient(name)
            | Self::Key(name) => name,
            Self::All => "",
        }
    }

    /// What it names.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Id(_) => "exemption",
            Self::Instrument(_) => "instrument",
            Self::Pin(_) => "pin",
            Self::Recipient(_) => "recipient",
            Self::Key(_) => "key",
            Self::All => "all",
        }
    }

    /// As a record of an exemption has it.
    pub(crate) fn covered(&self) -> Covered {
        Covered { covers: self.kind().to_owned(), name: self.name().to_owned() }
    }

    /// What is wrong with its name, where no document can have it: an order on it would cover nothing for ever.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Id(name) | Self::Pin(name) => {
                let of = config::values::name(name).err();
                of.map(|_| {
                    "is none that one can have: use a to z, 0 to 9, hyphen, underscore and dot".to_owned()
                })
            }
            Self::Instrument(name) | Self::Recipient(name) => match values::line(name).err()? {
                ErrorKind::BadLine { reason, .. } => Some(reason),
                other => Some(other.to_string()),
            },
            Self::Key(_) | Self::All => None,
        }
    }

    /// Whether it means an exemption of this document and these approvals. Names of instruments and recipients are free
    /// text: those that look alike are one.
    #[must_use]
    pub fn covers(&self, document: &Document, approvals: &[ApprovedBy]) -> bool {
        match self {
            Self::Id(id) => *id == document.id,
            Self::Instrument(name) => document.rests_on(name),
            Self::Pin(name) => document.pins.contains(name),
            Self::Recipient(name) => document.recipients.iter().any(|it| look_alike(name, &it.name)),
            Self::Key(fingerprint) => approvals.iter().any(|it| it.fingerprint == *fingerprint),
            Self::All => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("every exemption"),
            _ => write!(f, "the {} \"{}\"", self.kind(), escaped(self.name())),
        }
    }
}

/// What an order came of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderKind {
    /// A court or an authority has what it covers stayed.
    #[default]
    Stay,
    /// The instrument that it covers has fallen.
    Fallen,
    /// The key that it covers approves nothing any more. It is never lifted.
    RevokedKey,
}

impl OrderKind {
    /// The name in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stay => "stay",
            Self::Fallen => "fallen",
            Self::RevokedKey => "revoked-key",
        }
    }
}

/// An order that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingOrder {
    /// Version of this form.
    pub(crate) format: u32,
    /// What it covers.
    pub covers: Target,
    /// Its reference, as it was given; of a fallen instrument or a revoked key why that is.
    pub order: String,
    /// What it came of.
    #[serde(default)]
    pub kind: OrderKind,
    /// When it was given.
    pub at: Timestamp,
    /// The Unix user that gave it.
    pub by: u32,
}

impl StandingOrder {
    pub(crate) fn new(covers: &Target, order: &str, (at, by): (Timestamp, u32)) -> Self {
        let (covers, order) = (covers.clone(), order.to_owned());
        Self { format: FORMAT, covers, order, kind: OrderKind::Stay, at, by }
    }

    /// That an instrument has fallen.
    pub(crate) fn fallen(instrument: &str, why: &str, given: (Timestamp, u32)) -> Self {
        let covers = Target::Instrument(instrument.to_owned());
        Self { kind: OrderKind::Fallen, ..Self::new(&covers, why, given) }
    }

    /// That a key approves nothing any more.
    pub(crate) fn revoked_key(fingerprint: &str, why: &str, given: (Timestamp, u32)) -> Self {
        Self { kind: OrderKind::RevokedKey, ..Self::new(&Target::Key(fingerprint.to_owned()), why, given) }
    }

    /// Why a document that it covers is not loaded, and what would lift it.
    #[must_use]
    pub fn held(&self) -> String {
        match (self.kind, &self.covers) {
            (OrderKind::Fallen, Target::Instrument(name)) => format!(
                "the instrument that it rests on has fallen, which is kept of \"{name}\": \"{}\"; `borderguard instrument restore \
                 \"{name}\"` lets documents rest on it again",
                escaped(&self.order),
                name = escaped(name)
            ),
            (OrderKind::RevokedKey, _) => format!(
                "{self}, which nothing lifts, and approved it: have it signed with another key, and take that signature away"
            ),
            _ => format!("an order holds it, and has to be lifted first: {self}"),
        }
    }

    /// As lists show it.
    #[must_use]
    pub fn summary(&self) -> OrderSummary {
        let Self { covers, order, kind, at, by, .. } = self;
        let (covers, name) = (covers.kind().to_owned(), covers.name().to_owned());
        OrderSummary { order: order.clone(), kind: kind.name().to_owned(), covers, name, at: *at, by: *by }
    }

    /// The key of its row: what it covers, and its reference.
    pub(crate) fn row(&self) -> String {
        row(self.kind, &self.covers, &self.order)
    }
}

/// The key of the row of an order of this kind and reference that covers this. Words may be the same for what a court has
/// stayed and for what has fallen.
pub(crate) fn row(kind: OrderKind, covers: &Target, order: &str) -> String {
    format!("{} {} {} {order}", kind.name(), covers.kind(), serde_json::Value::from(covers.name()))
}

impl fmt::Display for StandingOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = escaped(&self.order);
        match self.kind {
            OrderKind::Stay => write!(f, "\"{order}\" on {}", self.covers),
            OrderKind::Fallen => write!(f, "{} has fallen: \"{order}\"", self.covers),
            OrderKind::RevokedKey => write!(f, "{} is revoked: \"{order}\"", self.covers),
        }
    }
}
