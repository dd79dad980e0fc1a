//! What the history has: events of flows, and of carriers that wrote elsewhere.

use super::Event;
use super::pinned_copy::PinnedCopy;

/// An event of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are of flows")]
pub enum Entry {
    /// Of a flow.
    Flow(Event),
    /// Of a carrier that wrote to a file off its volumes.
    Copy(PinnedCopy),
}

impl Entry {
    /// Its number.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match self {
            Self::Flow(event) => event.sequence,
            Self::Copy(copy) => copy.sequence,
        }
    }

    /// Gives it its number.
    pub(super) const fn set_sequence(&mut self, sequence: u64) {
        match self {
            Self::Flow(event) => event.sequence = sequence,
            Self::Copy(copy) => copy.sequence = sequence,
        }
    }

    /// The event of a flow, where it is one.
    #[must_use]
    pub const fn flow(&self) -> Option<&Event> {
        match self {
            Self::Flow(event) => Some(event),
            Self::Copy(_) => None,
        }
    }

    /// The event in one line for people, without a line break.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Flow(event) => event.to_text(),
            Self::Copy(copy) => copy.to_text(),
        }
    }

    /// The event as one JSON object in one line, without a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Flow(event) => event.to_json(),
            Self::Copy(copy) => copy.to_json(),
        }
    }
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self::Flow(event)
    }
}
