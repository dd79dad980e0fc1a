//! A canary was judged: a frame that the daemon made, which a pin is to forbid. It is no violation, and in no sum.

use std::fmt::Write as _;
use std::sync::Arc;

use guard_common::abi::CanaryEvent;

use super::enrich::{Context, enrich};
use super::event::{Endpoint, Event, protocol};
use super::flows::Added;
use super::text::{decapitalized, verb, word};
use crate::canary::{self, Written};

/// A canary that the kernel program has judged. It did not leave the host, whatever the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Its number.
    pub number: u64,
    /// The pin that it was sent for; `None` for one that another daemon sent.
    pub pin: Option<Arc<str>>,
    /// What was decided, as of a flow.
    pub event: Event,
    /// What is told that the line was written.
    pub written: Written,
}

impl Canary {
    /// The event in words.
    #[must_use]
    pub fn of(raw: &CanaryEvent, sent: Option<(Arc<str>, Written)>, context: Context<'_>) -> Self {
        let (pin, written) = sent.map_or_else(Default::default, |(pin, written)| (Some(pin), written));
        let added = Added { packets: raw.event.record.packets, bytes: raw.event.record.bytes };
        let event = enrich(&raw.event, super::event::Phase::New, added, context);
        Self { number: raw.number, pin, event, written }
    }

    /// Its number, as it is handed back.
    #[must_use]
    pub fn name(&self) -> String {
        canary::name(self.number)
    }

    /// The event in one line for people, without a line break.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Event { time, verdict, reason, jurisdiction, generation, .. } = &self.event;
        let interface = self.event.interface.as_deref().unwrap_or("an interface without a name");
        let name = self.name();
        let pin = self.pin.as_deref().unwrap_or_default();
        let mut line = format!("{time:.3} canary {name} for pin {} at {}", word(pin), word(interface));
        // Writing to a string does not fail.
        if let (Some(source), Some(destination)) = (self.event.source, self.event.destination) {
            let of = |end: Endpoint| end.ip;
            let _ok =
                write!(line, ", {} {} to {}", protocol(self.event.protocol), of(source), of(destination));
        }
        let _ok = write!(
            line,
            " in {jurisdiction}: {}; {} [kind=canary canary={name} pin={} interface={} verdict={} reason={} \
             generation={generation}]",
            verb(*verdict),
            decapitalized(reason.meaning()),
            word(pin),
            word(interface),
            verdict.name(),
            reason.name(),
        );
        line
    }
}
