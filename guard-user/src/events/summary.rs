//! Events of one kind, summed up where each would be one line too many.

use std::sync::Arc;

use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;

use super::event::{Event, Phase};

/// Events of one kind that were not written one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When the daemon started.
    pub session: Timestamp,
    /// The pin: of the rule that decided, else the first that forbids; `None` where no pin is known.
    pub pin: Option<Arc<str>>,
    /// The hook's verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
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
}

impl Summary {
    /// No events yet, of the kind of this one.
    pub(super) fn of(event: &Event, pin: Option<Arc<str>>) -> Self {
        Self {
            session: event.session,
            pin,
            verdict: event.verdict,
            reason: event.reason,
            events: 0,
            flows: 0,
            packets: 0,
            bytes: 0,
            first: event.time,
            last: event.time,
        }
    }

    /// Adds an event of the same kind.
    pub(super) fn add(&mut self, event: &Event) {
        self.events += 1;
        self.flows += u64::from(matches!(event.phase, Phase::New | Phase::Resumed));
        self.packets = self.packets.saturating_add(event.packets);
        self.bytes = self.bytes.saturating_add(event.bytes);
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
    }
}
