//! Events of one group, summed up where each would be one line too many.

use std::net::IpAddr;
use std::sync::Arc;

use guard_common::abi::Hook;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;

use super::event::{Event, Phase};
use super::peers::Peers;

/// Events of one group that were not written one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The pin: of the rule that decided, else the first that forbids; `None` where no pin is known.
    pub pin: Option<Arc<str>>,
    /// The hook that judged.
    pub hook: Hook,
    /// What it decided.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Source and jurisdiction of the group; `None` for what more groups there were, together.
    pub group: Option<Group>,
    /// The generation that judged the last of them.
    pub generation: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The pinned storage's address; `None` for calls, and where it could not be read.
    pub source: Option<IpAddr>,
    /// Where the destination is.
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
    pub(super) fn of(event: &Event, pin: Option<Arc<str>>, group: Option<Group>) -> Self {
        Self {
            pin,
            hook: event.hook,
            verdict: event.verdict,
            reason: event.reason,
            group,
            generation: event.generation,
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
    pub(super) fn add(&mut self, event: &Event) {
        self.generation = event.generation;
        self.events += 1;
        self.flows += u64::from(matches!(event.phase, Phase::New | Phase::Resumed));
        self.packets = self.packets.saturating_add(event.packets);
        self.bytes = self.bytes.saturating_add(event.bytes);
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
        self.peers.add(event.destination.map(|end| end.ip), event.packets, event.bytes);
    }
}
