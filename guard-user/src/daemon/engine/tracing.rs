//! What looks at live packets beside the verdicts, if anything: a trace, or a shadow. Both have other programs in the place of
//! the ordinary ones, so that one of them runs at a time.

use std::collections::BTreeMap;

use guard_common::abi::traced::TraceTarget;

use super::Ticket;
use super::periods::SECOND;
use super::shadow::ShadowRun;
use crate::audit::Who;
use crate::config::policy::Pin;
use crate::control::protocol::TraceWanted;
use crate::control::trace::{MOST_NAME, MOST_PACKETS, MOST_SECONDS, TRACE_LEASE, network};

/// How long the other programs may take until they are on the interfaces, nanoseconds.
const LOADING_NS: u64 = 60 * SECOND;

/// What is known of traces and shadows.
#[derive(Default)]
pub(super) struct Tracing {
    /// The one that runs.
    pub(super) run: Option<Run>,
    /// Whether the ordinary programs are asked for, and it is not known what came of it.
    pub(super) is_ending: bool,
    /// Why they could not be put back, the last time.
    pub(super) left: Option<String>,
}

/// A trace or a shadow that runs.
pub(super) struct Run {
    /// Its name.
    pub(super) id: String,
    /// Who asked for it.
    pub(super) who: Who,
    pub(super) task: Task,
    /// Until when it goes on at most, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) until: u64,
    /// Until when it goes on without a request.
    pub(super) lease: u64,
    /// Whether the other programs are on the interfaces.
    pub(super) is_on: bool,
    /// The request that waits for the kernel.
    pub(super) asked: Option<Ticket>,
}

/// What is done with live packets.
pub(super) enum Task {
    /// Their steps are told.
    Trace(TraceRun),
    /// A candidate judges them too.
    Shadow(Box<ShadowRun>),
}

/// The two kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Trace,
    Shadow,
}

impl Kind {
    /// In words.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Shadow => "shadow",
        }
    }
}

/// A trace.
pub(super) struct TraceRun {
    pub(super) wanted: TraceWanted,
    /// How many packets were told.
    pub(super) told: u64,
    /// Whether all were counted at the last look.
    pub(super) is_full: bool,
}

impl Run {
    pub(super) fn new(id: String, who: Who, task: Task, now: u64) -> Self {
        let mut run = Self { id, who, task, until: now + LOADING_NS, lease: 0, is_on: false, asked: None };
        run.renew(now);
        run
    }

    /// Its client has asked.
    pub(super) fn renew(&mut self, now: u64) {
        self.lease = now + TRACE_LEASE.as_nanos() as u64;
    }

    /// The other programs are on the interfaces.
    pub(super) fn is_on_since(&mut self, now: u64) {
        let seconds = match &self.task {
            Task::Trace(trace) => trace.wanted.seconds,
            Task::Shadow(shadow) => shadow.seconds,
        };
        self.is_on = true;
        self.until = now + seconds * SECOND;
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.task {
            Task::Trace(_) => Kind::Trace,
            Task::Shadow(_) => Kind::Shadow,
        }
    }

    /// Who has it, in words.
    pub(super) fn by(&self) -> String {
        let user = self.who.user.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        let process = self.who.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        format!("the user {user}({}{process})", self.who.uid)
    }
}

/// What the kernel's program is to look at until then; `None` where the policy does not have the pin.
pub(super) fn target(wanted: &TraceWanted, deadline_ns: u64, pins: &[Pin]) -> Option<TraceTarget> {
    let (from, to) = (wanted.from.map(network), wanted.to.map(network));
    Some(TraceTarget {
        from: from.unwrap_or_default(),
        to: to.unwrap_or_default(),
        pins: pins_of(wanted.pin.as_deref(), pins)?,
        deadline_ns,
        packets: wanted.packets,
    })
}

/// The numbers of the pin of this name, one for each way in which it is known, a bit each; 0 where none is named, and `None`
/// where there is none of the name.
fn pins_of(name: Option<&str>, pins: &[Pin]) -> Option<u64> {
    let Some(name) = name else { return Some(0) };
    let numbers = pins.iter().enumerate().filter(|(_, pin)| pin.name == name);
    let bits = numbers.fold(0, |bits, (number, _)| bits | 1 << number);
    (bits != 0).then_some(bits)
}

/// What is wrong with what is asked for.
pub(super) fn fault(id: &str, wanted: &TraceWanted, pins: &[Pin]) -> Option<String> {
    let known = || {
        let names: BTreeMap<&str, ()> = pins.iter().map(|pin| (pin.name.as_str(), ())).collect();
        names.into_keys().collect::<Vec<_>>().join(", ")
    };
    if id.is_empty() || id.len() > MOST_NAME {
        return Some(format!("a trace has a name of 1 to {MOST_NAME} bytes"));
    }
    if !(1..=MOST_PACKETS).contains(&wanted.packets) {
        return Some(format!("a trace tells of 1 to {MOST_PACKETS} packets, and not of {}", wanted.packets));
    }
    if !(1..=MOST_SECONDS).contains(&wanted.seconds) {
        return Some(format!(
            "a trace goes on for 1 to {MOST_SECONDS} seconds, and not for {}",
            wanted.seconds
        ));
    }
    if pins_of(wanted.pin.as_deref(), pins).is_none() {
        let name = wanted.pin.as_deref().unwrap_or_default();
        return Some(format!("the live policy has no pin {name:?}; it has {}", known()));
    }
    None
}
