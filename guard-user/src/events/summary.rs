//! Events of one group, summed up where each would be one line too many.

use std::net::IpAddr;
use std::sync::Arc;

use guard_common::abi::Hook;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, Phase};
use super::peers::Peers;
use super::stored;

/// Events of one group that were not written one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The pin: of the rule that decided, else the first that forbids; `None` where no pin is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub pin: Option<Arc<str>>,
    /// The hook that judged.
    #[serde(with = "stored::hook")]
    pub hook: Hook,
    /// What it decided.
    #[serde(with = "stored::verdict")]
    pub verdict: Verdict,
    /// Why.
    #[serde(with = "stored::reason")]
    pub reason: Reason,
    /// Whether they are of phase `resumed`, and so count from their flows' begin, which earlier lines have told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_resumed: bool,
    /// Source and jurisdiction of the group; `None` for what more groups there were, together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// The generation that judged the last of them.
    pub generation: u64,
    /// The lowest number of an event that it stands for.
    pub first_id: u64,
    /// The highest one.
    pub last_id: u64,
    /// How many events it stands for.
    pub events: u64,
    /// How many of these were the first of a flow under the verdict.
    pub flows: u64,
    /// The events' packets.
    pub packets: u64,
    /// The events' bytes on the wire.
    pub bytes: u64,
    /// The earliest of the events' times.
    pub first: Timestamp,
    /// The latest of the events' times.
    pub last: Timestamp,
    /// The events' peers.
    pub peers: Peers,
}

/// What events are told apart by, besides pin, hook, verdict and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The pinned storage's address; `None` for calls, and where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Where the destination is.
    #[serde(with = "stored::jurisdiction")]
    pub jurisdiction: Jurisdiction,
}

impl Group {
    /// The group of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self { source: event.source.map(|end| end.ip), jurisdiction: event.jurisdiction }
    }
}

impl Summary {
    /// No events yet, of the kind of this one.
    pub(crate) fn of(event: &Event, pin: Option<Arc<str>>, group: Option<Group>) -> Self {
        Self {
            pin,
            hook: event.hook,
            verdict: event.verdict,
            reason: event.reason,
            is_resumed: event.phase == Phase::Resumed,
            group,
            generation: event.generation,
            first_id: event.sequence,
            last_id: event.sequence,
            events: 0,
            flows: 0,
            packets: 0,
            bytes: 0,
            first: event.time,
            last: event.time,
            peers: Peers::default(),
        }
    }

    /// Adds an event of the same group.
    pub(crate) fn add(&mut self, event: &Event) {
        self.generation = event.generation;
        self.first_id = self.first_id.min(event.sequence);
        self.last_id = self.last_id.max(event.sequence);
        self.events += 1;
        self.flows += u64::from(matches!(event.phase, Phase::New | Phase::Resumed));
        self.packets = self.packets.saturating_add(event.packets);
        self.bytes = self.bytes.saturating_add(event.bytes);
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
        self.peers.add(event.destination.map(|end| end.ip), event.packets, event.bytes);
    }
}
