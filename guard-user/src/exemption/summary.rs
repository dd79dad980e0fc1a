//! An exemption as lists and the control socket show it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Document, Reach};
use super::record::{Record, Status, Use};

/// What an exemption is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It lets its transfer through.
    Active,
    /// Its window has not begun.
    NotYetValid,
    /// Its window is over.
    Expired,
    /// Its quota is spent, but for less than a full packet.
    Exhausted,
    /// It was closed for good.
    Revoked,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Active, Self::NotYetValid, Self::Expired, Self::Exhausted, Self::Revoked];

    /// The name in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One exemption: what it allows and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// What it is now.
    pub state: State,
    /// The kind of legal act.
    pub instrument: String,
    /// The act or the case.
    pub reference: String,
    /// The pins that it covers.
    pub pins: Vec<String>,
    /// Who may receive.
    pub recipients: Vec<RecipientSummary>,
    /// The recipients' ports; empty: any, of any protocol.
    pub ports: Vec<String>,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity.
    pub valid_until: Timestamp,
    /// Bytes on the wire that it may let through; null for no bound.
    pub quota_bytes: Option<u64>,
    /// Bytes on the wire that it has let through.
    pub used_bytes: u64,
    /// Packets that it has let through.
    pub used_packets: u64,
    /// Its place in the kernel's tables, which events and flows name it by; null once it is free again.
    pub slot: Option<u16>,
    /// When it was loaded; null where it is not.
    pub loaded_at: Option<Timestamp>,
    /// The Unix user that loaded it; null where it is not loaded.
    pub loaded_by: Option<u32>,
    /// When, why and by whom it was revoked; null where it was not.
    pub revoked: Option<RevokedSummary>,
}

/// Who may receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientSummary {
    /// Who it is.
    pub name: String,
    /// Its networks; empty where it is anybody in the jurisdictions.
    pub cidrs: Vec<String>,
    /// The jurisdictions; empty where it has networks.
    pub jurisdictions: Vec<String>,
}

/// How an exemption was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSummary {
    /// When.
    pub at: Timestamp,
    /// The reason that was given.
    pub why: String,
    /// The Unix user that did it.
    pub by: u32,
}

impl Summary {
    /// A document that is not loaded.
    #[must_use]
    pub fn of_document(document: &Document, now: Timestamp) -> Self {
        let recipients = document.recipients.iter().map(|recipient| {
            let (cidrs, jurisdictions) = match &recipient.reach {
                Reach::Networks(networks) => (words(networks), Vec::new()),
                Reach::Jurisdictions(jurisdictions) => (Vec::new(), words(jurisdictions)),
            };
            RecipientSummary { name: recipient.name.clone(), cidrs, jurisdictions }
        });
        Self {
            id: document.id.clone(),
            version: document.version,
            state: state(document, Use::default(), now),
            instrument: document.instrument.to_string(),
            reference: document.reference.clone(),
            pins: document.pins.clone(),
            recipients: recipients.collect(),
            ports: words(&document.ports),
            valid_from: document.valid_from,
            valid_until: document.valid_until,
            quota_bytes: document.quota_bytes,
            used_bytes: 0,
            used_packets: 0,
            slot: None,
            loaded_at: None,
            loaded_by: None,
            revoked: None,
        }
    }

    /// A document that was loaded, with what became of it.
    pub(super) fn of_loaded(document: &Document, record: &Record, now: Timestamp) -> Self {
        let used = record.used();
        let (state, revoked) = match &record.status {
            Status::Active {} => (state(document, used, now), None),
            Status::Expired { .. } => (State::Expired, None),
            Status::Revoked { at, why, by } => {
                (State::Revoked, Some(RevokedSummary { at: *at, why: why.clone(), by: *by }))
            }
        };
        Self {
            state,
            used_bytes: used.bytes,
            used_packets: used.packets,
            slot: record.slot,
            loaded_at: Some(record.loaded_at),
            loaded_by: Some(record.loaded_by),
            revoked,
            ..Self::of_document(document, now)
        }
    }
}

fn state(document: &Document, used: Use, now: Timestamp) -> State {
    /// A full Ethernet frame without its checksum: with less left the kernel refuses the transfer's
    /// packets, though a small one may still go.
    const FULL_PACKET: u64 = 1514;
    let left = document.quota_bytes.map(|quota| quota.saturating_sub(used.bytes));
    if now >= document.valid_until {
        State::Expired
    } else if used.bytes > 0 && left.is_some_and(|left| left < FULL_PACKET) {
        State::Exhausted
    } else if now < document.valid_from {
        State::NotYetValid
    } else {
        State::Active
    }
}

fn words<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}
