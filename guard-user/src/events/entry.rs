//! What the history has: events of flows, and of carriers that wrote elsewhere.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::event::People;
use super::pinned_copy::PinnedCopy;
use super::severity::Severity;
use super::{Event, ecs, ocsf};
use crate::config::policy::LogFormat;
use crate::text::visible_json;

/// An event of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

    /// The event in one line, without a line break.
    #[must_use]
    pub fn to_line(&self, format: LogFormat, envelope: &Envelope) -> String {
        let line = match (self, format) {
            (Self::Flow(event), LogFormat::Text) => return event.to_text(),
            (Self::Copy(copy), LogFormat::Text) => return copy.to_text(),
            (Self::Flow(event), LogFormat::Json) => event.to_json(envelope),
            (Self::Copy(copy), LogFormat::Json) => copy.to_json(envelope),
            (Self::Flow(event), LogFormat::Ocsf) => ocsf::event(event, envelope).to_string(),
            (Self::Copy(copy), LogFormat::Ocsf) => ocsf::copy(copy, envelope).to_string(),
            (Self::Flow(event), LogFormat::Ecs) => ecs::event(event, envelope).to_string(),
            (Self::Copy(copy), LogFormat::Ecs) => ecs::copy(copy, envelope).to_string(),
        };
        // The name of a command may have what turns a terminal around, on which somebody looks at the log.
        visible_json(&line).into_owned()
    }

    /// How severe it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Flow(event) => event.severity(),
            Self::Copy(copy) => copy.severity(),
        }
    }

    /// When that was: the flow's last packet by then, or the write.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Flow(event) => event.time,
            Self::Copy(copy) => copy.time,
        }
    }

    /// The same without users, commands, processes and cgroups.
    #[must_use]
    pub fn without_people(self, people: People) -> Self {
        match self {
            Self::Flow(event) => Self::Flow(event.without_people(people)),
            Self::Copy(copy) => Self::Copy(copy.without_people(people)),
        }
    }

    /// When the daemon started that reported it.
    #[must_use]
    pub const fn session(&self) -> Timestamp {
        match self {
            Self::Flow(event) => event.session,
            Self::Copy(copy) => copy.session,
        }
    }
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self::Flow(event)
    }
}
