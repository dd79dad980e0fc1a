//! What the flow history has: one line each, and who sent in a line of another file.

use std::sync::Arc;

use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::policy::LogFormat;
use crate::events::envelope::Envelope;
use crate::events::event::{Event, People, Process};
use crate::events::lost::{Lost, What};
use crate::events::pinned_copy::PinnedCopy;
use crate::events::record::Record;
use crate::events::summary::Summary;
use crate::events::untagged::Untagged;
use crate::events::{Entry, id::EventId};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Past {
    /// An event.
    Event(#[serde(with = "entry")] Arc<Entry>),
    /// Events above the log's budget, summed up.
    Summary {
        /// When the daemon started that reported them.
        session: Timestamp,
        /// The sum.
        summary: Summary,
    },
    /// Egress that no pin tags.
    Untagged {
        /// When the daemon started that looked.
        session: Timestamp,
        /// How much of it there was in a stretch of time.
        untagged: Box<Untagged>,
    },
    /// Records that the history did not take.
    Lost {
        /// When the daemon started that lost them.
        session: Timestamp,
        /// When that was noticed.
        time: Timestamp,
        /// How many.
        records: u64,
    },
}

impl Past {
    /// What the history keeps of a line of the log, if anything, of the daemon that started then.
    #[must_use]
    pub fn of(record: &Record, session: Timestamp) -> Option<Self> {
        match record {
            Record::Event(entry) => Some(Self::Event(Arc::clone(entry))),
            Record::Summary(summary) => Some(Self::Summary { session, summary: Summary::clone(summary) }),
            Record::Lost(_)
            | Record::Difference(_)
            | Record::Untagged(_)
            | Record::Canary(_)
            | Record::Start(_)
            | Record::End(_) => None,
        }
    }

    /// When the daemon started that reported it.
    #[must_use]
    pub fn session(&self) -> Timestamp {
        match self {
            Self::Event(entry) => entry.session(),
            Self::Summary { session, .. } | Self::Untagged { session, .. } | Self::Lost { session, .. } => {
                *session
            }
        }
    }

    /// The latest moment that it tells of.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Event(entry) => entry.time(),
            Self::Summary { summary, .. } => summary.last,
            Self::Untagged { untagged, .. } => untagged.last,
            Self::Lost { time, .. } => *time,
        }
    }

    /// The name of an event.
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        match self {
            Self::Event(entry) => Some(EventId { session: Some(entry.session()), number: entry.sequence() }),
            Self::Summary { .. } | Self::Untagged { .. } | Self::Lost { .. } => None,
        }
    }

    /// The highest number of an event of its session that it tells of.
    #[must_use]
    pub fn last_number(&self) -> Option<u64> {
        match self {
            Self::Event(entry) => Some(entry.sequence()),
            Self::Summary { summary, .. } => Some(summary.last_id),
            Self::Untagged { .. } | Self::Lost { .. } => None,
        }
    }

    /// The line that shows it, without its break.
    #[must_use]
    pub fn to_line(&self, format: LogFormat) -> String {
        let record = match self {
            Self::Event(entry) => Record::Event(Arc::clone(entry)),
            Self::Summary { summary, .. } => Record::Summary(Box::new(summary.clone())),
            Self::Untagged { untagged, .. } => Record::Untagged(untagged.clone()),
            Self::Lost { time, records, .. } => {
                Record::Lost(Lost { time: *time, what: What::History, count: *records })
            }
        };
        let mut line = record.to_line(format, &Envelope::outside(self.session()));
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// The same without users, commands, processes and cgroups.
    #[must_use]
    pub fn without_people(self, why: People) -> Self {
        match self {
            Self::Event(entry) => Self::Event(Arc::new(Arc::unwrap_or_clone(entry).without_people(why))),
            Self::Untagged { session, untagged } => {
                Self::Untagged { session, untagged: Box::new(untagged.without_people(why)) }
            }
            other @ (Self::Summary { .. } | Self::Lost { .. }) => other,
        }
    }

    /// The names of the pins of its flows.
    pub(crate) fn pins(&self) -> Vec<&str> {
        if let Self::Summary { summary, .. } = self {
            return summary.pin.iter().map(|pin| &**pin).collect();
        }
        let of_flow = self.flow().into_iter().flat_map(|event| event.tagged.iter().chain(&event.pins));
        of_flow.map(|pin| &**pin).collect()
    }

    /// Its flow, where it is of one.
    pub(crate) fn flow(&self) -> Option<&Event> {
        match self {
            Self::Event(entry) => entry.flow(),
            Self::Summary { .. } | Self::Untagged { .. } | Self::Lost { .. } => None,
        }
    }

    /// Who sent or wrote, where that is known.
    pub(crate) fn process(&self) -> Option<&Process> {
        match self {
            Self::Event(entry) => match &**entry {
                Entry::Flow(event) => event.process.as_ref(),
                Entry::Copy(copy) => copy.process.as_ref(),
            },
            Self::Untagged { untagged, .. } => untagged.process.as_ref(),
            Self::Summary { .. } | Self::Lost { .. } => None,
        }
    }

    /// Where its flows went; `None` where it does not say.
    pub(crate) fn jurisdiction(&self) -> Option<Jurisdiction> {
        match self {
            Self::Summary { summary, .. } => summary.group.map(|group| group.jurisdiction),
            Self::Untagged { untagged, .. } => Some(untagged.jurisdiction),
            Self::Event(_) | Self::Lost { .. } => self.flow().map(|event| event.jurisdiction),
        }
    }
}

/// A line of a segment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line<T> {
    /// The line's number in its segment, from 1.
    pub(super) n: u64,
    /// What it has.
    pub(super) it: T,
}

/// Users, commands, processes and cgroups of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WhoSent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
    #[serde(default, skip_serializing_if = "is_zero")]
    cgroup_id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl WhoSent {
    /// Takes them out of a record, where it has any.
    pub(super) fn take(past: Past) -> (Past, Option<Self>) {
        let sent = |process: &Option<Process>, cgroup_id: u64, cgroup: Option<&str>| Self {
            process: process.clone(),
            cgroup_id,
            cgroup: cgroup.map(str::to_owned),
        };
        let who = match &past {
            Past::Event(entry) => match &**entry {
                Entry::Flow(Event { process, cgroup, cgroup_id, people: People::Shown, .. }) => {
                    sent(process, *cgroup_id, cgroup.as_deref())
                }
                Entry::Copy(PinnedCopy { process, people: People::Shown, .. }) => sent(process, 0, None),
                Entry::Flow(_) | Entry::Copy(_) => return (past, None),
            },
            Past::Untagged { untagged, .. } if untagged.people.are_shown() => {
                sent(&untagged.process, untagged.cgroup_id, untagged.cgroup.as_deref())
            }
            _ => return (past, None),
        };
        match who.process.is_none() && who.cgroup.is_none() && who.cgroup_id == 0 {
            true => (past, None),
            false => (past.without_people(People::Removed), Some(who)),
        }
    }

    /// Puts them back.
    pub(super) fn put(self, past: Past) -> Past {
        let Self { process, cgroup_id, cgroup } = self;
        let (people, cgroup) = (People::Shown, cgroup.map(Into::into));
        let entry = match past {
            Past::Event(entry) => entry,
            Past::Untagged { session, untagged } => {
                let untagged = Box::new(Untagged { process, cgroup_id, cgroup, people, ..*untagged });
                return Past::Untagged { session, untagged };
            }
            other => return other,
        };
        Past::Event(Arc::new(match Arc::unwrap_or_clone(entry) {
            Entry::Flow(event) => Entry::Flow(Event { process, cgroup_id, cgroup, people, ..event }),
            Entry::Copy(copy) => Entry::Copy(PinnedCopy { process, people, ..copy }),
        }))
    }
}

/// An event that is shared.
mod entry {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::events::Entry;

    pub(super) fn serialize<S: Serializer>(entry: &Arc<Entry>, out: S) -> Result<S::Ok, S::Error> {
        Entry::serialize(entry, out)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Arc<Entry>, D::Error> {
        Entry::deserialize(input).map(Arc::new)
    }
}
