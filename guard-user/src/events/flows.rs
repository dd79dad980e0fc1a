//! Tracks what was reported of each flow, so that events add up.
//!
//! A record's counts run from its begin, so what an event adds is the difference to what was reported before: an event that got
//! lost is made good by the next one, or by a sweep over all records, which also reports what came after a flow's last event.
//!
//! What an earlier daemon reported of a flow that is quiet since is known ([`Tracker::resume`]), and of one that went on when
//! that daemon ended where it has left that ([`KnownFlows`]). Of others it is not: their next event is marked as resumed and counts
//! from the flow's begin.
//!
//! A record that gives way to another flow's takes with it what it counted after the last report. No packet waits for that to be
//! read, so a flow that was not settled by then is counted as evicted: packets of it may be in no event.

use std::collections::HashMap;

use guard_common::abi::{Count, FlowKey, FlowRecord};

use super::event::Phase;
use super::told_flows::{KnownFlows, ToldFlow};

/// A flow is quiet after so long without a packet, nanoseconds: past the second between two of the kernel's events of it.
pub const QUIET_NS: u64 = 1_500_000_000;

/// A daemon at work for so long after its last sweep has swept again and kept that, nanoseconds: one is due each 5 s.
const UNKNOWN_NS: u64 = 8_000_000_000;

/// Up to when an earlier daemon reported, nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// When it swept last: flows that were quiet by then were reported.
    pub swept_ns: Option<u64>,
    /// It reported no flow that began later.
    pub last_ns: Option<u64>,
}

/// Packets and bytes that an event adds to what was reported before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// What was reported of the flows that the kernel has records of.
///
/// It grows by events alone, and a sweep takes it down to the flows that the kernel has records of: its owner
/// bounds it by sweeping in time.
#[derive(Debug, Default)]
pub struct Tracker {
    flows: HashMap<FlowKey, Last>,
    /// An earlier daemon reported events up to here, nanoseconds of `CLOCK_BOOTTIME`; 0 without one.
    resumed_ns: u64,
    /// An earlier daemon may have reported flows that began up to here.
    unknown_ns: u64,
    /// Number of the sweep that goes on, or of the last one.
    sweep: u64,
    /// Flows whose records were evicted before they were settled, since the last sweep's end.
    evicted: u64,
}

/// What a sweep found of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The flow.
    pub key: FlowKey,
    /// Its record.
    pub record: FlowRecord,
    /// Where in the flow's life it stands.
    pub phase: Phase,
    /// What was not reported yet.
    pub added: Added,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    first_ns: u64,
    packets: u64,
    bytes: u64,
    /// The sweep before whose end an event came or the record was seen.
    seen: u64,
    /// Whether the record was seen quiet with nothing that was not reported: its next packet has an event.
    is_settled: bool,
}

impl Last {
    const fn told(&self, key: FlowKey) -> ToldFlow {
        let Self { first_ns, packets, bytes, .. } = *self;
        ToldFlow { key, first_ns, told: Some(Count { packets, bytes }) }
    }

    fn of(record: &FlowRecord, seen: u64, is_settled: bool) -> Self {
        let FlowRecord { first_ns, packets, bytes, .. } = *record;
        Self { first_ns, packets, bytes, seen, is_settled }
    }
}

impl Tracker {
    /// Goes on from an earlier daemon. Where it is not known up to when that one reported, it may have reported whatever there
    /// is at `now_ns` of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn resume(Resume { swept_ns, last_ns }: Resume, known: &KnownFlows, now_ns: u64) -> Self {
        let by_sweep = swept_ns.map(|swept| swept.saturating_add(UNKNOWN_NS));
        let unknown_ns = match known.are_all() {
            true => 0,
            false => last_ns.or(by_sweep).map_or(now_ns, |until| now_ns.min(until)),
        };
        Self { resumed_ns: swept_ns.unwrap_or_default(), unknown_ns, ..Self::default() }
    }

    /// Takes up one of the kernel's records before the first event, after [`resume`](Self::resume).
    pub fn take_up(&mut self, key: FlowKey, record: &FlowRecord, known: &KnownFlows) {
        if record.denied == 0 {
            return;
        }
        if record.last_ns.saturating_add(QUIET_NS) <= self.resumed_ns {
            self.flows.insert(key, Last::of(record, self.sweep, true));
        } else if let Some(Count { packets, bytes }) = known.told(&key, record.first_ns, record.packets) {
            let (first_ns, seen) = (record.first_ns, self.sweep);
            self.flows.insert(key, Last { first_ns, packets, bytes, seen, is_settled: false });
        }
    }

    /// What was reported of this flow, if anything.
    #[must_use]
    pub fn told(&self, key: &FlowKey) -> Option<ToldFlow> {
        self.flows.get(key).map(|last| last.told(*key))
    }

    /// What was reported of each flow: first of those of which there may be more to report.
    #[must_use]
    pub fn all_told(&self) -> Vec<ToldFlow> {
        let (settled, others): (Vec<_>, Vec<_>) = self.flows.iter().partition(|(_, last)| last.is_settled);
        others.into_iter().chain(settled).map(|(key, last)| last.told(*key)).collect()
    }

    /// How many flows it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether it knows this one.
    #[must_use]
    pub fn has(&self, key: &FlowKey) -> bool {
        self.flows.contains_key(key)
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The phase of a flow of which this daemon has reported nothing. An earlier one may have where it began
    /// before that one's end, which is known to some seconds.
    fn first_phase(&self, record: &FlowRecord) -> Phase {
        if record.first_ns <= self.unknown_ns { Phase::Resumed } else { Phase::New }
    }

    /// Takes up an event. `None` where it adds nothing: another CPU's later one overtook it.
    pub fn event(&mut self, key: &FlowKey, record: &FlowRecord) -> Option<(Phase, Added)> {
        let last = self.last(key, record);
        // The key has the judgement: what is judged in another way is another flow.
        // The ring buffer gives each event once: that of a first packet no earlier daemon took up.
        let first = if record.packets == 1 { Phase::New } else { self.first_phase(record) };
        let phase = if last.is_some() { Phase::Continued } else { first };
        let added = added(last, record);
        if phase == Phase::Continued && added == Added::default() {
            return None;
        }
        let is_newer = |known: &Last| (record.first_ns, record.packets) >= (known.first_ns, known.packets);
        if self.flows.get(key).is_none_or(is_newer) {
            self.keep(*key, Last::of(record, self.sweep, false));
        }
        Some((phase, added))
    }

    /// Begins to go over all flow records of the kernel, each of which is to be given to
    /// [`sweep_one`](Self::sweep_one) or to [`mark`](Self::mark). Events may be taken up meanwhile.
    ///
    /// A flow must not be swept before those of its events that are older than the sweep's `now_ns` were taken
    /// up: they would be reported again if its record is evicted.
    pub fn begin_sweep(&mut self) {
        self.sweep += 1;
    }

    /// What a quiet flow has that was not reported, if anything. `now_ns` is `CLOCK_BOOTTIME`.
    pub fn sweep_one(&mut self, key: &FlowKey, record: &FlowRecord, now_ns: u64) -> Option<Rest> {
        // Permitted flows have records where the config asks, but no events. A record that was evicted and made
        // anew while the sweep had it in its hands is in the event that came meanwhile.
        let is_old = self.flows.get(key).is_some_and(|known| known.first_ns > record.first_ns);
        if record.denied == 0 || is_old {
            return None;
        }
        let last = self.last(key, record);
        let added = added(last, record);
        let is_quiet = now_ns.saturating_sub(record.last_ns) >= QUIET_NS;
        if !is_quiet || added == Added::default() {
            if let Some(known) = self.flows.get_mut(key) {
                known.seen = self.sweep;
                // Of one that was evicted and made anew, the event that is still to come tells.
                if known.first_ns == record.first_ns {
                    known.is_settled = is_quiet;
                }
            }
            return None;
        }
        let phase = if last.is_some() { Phase::Settled } else { self.first_phase(record) };
        self.keep(*key, Last::of(record, self.sweep, true));
        Some(Rest { key: *key, record: *record, phase, added })
    }

    /// Notes that the kernel has this record of the flow.
    pub fn mark(&mut self, key: &FlowKey, record: &FlowRecord) {
        if let Some(known) = self.flows.get_mut(key) {
            known.seen = self.sweep;
            if known.first_ns == record.first_ns {
                known.is_settled &= known.packets == record.packets;
            }
        }
    }

    /// Keeps what was reported. A record with another begin has taken the place of one that was evicted.
    fn keep(&mut self, key: FlowKey, last: Last) {
        let before = self.flows.insert(key, last);
        let is_evicted = before.is_some_and(|before| before.first_ns != last.first_ns && !before.is_settled);
        self.evicted += u64::from(is_evicted);
    }

    /// Forgets the flows that the kernel has no record of any more: those that were neither swept, marked nor in
    /// an event since the sweep began. Only after every record was seen, and every event taken up that had come
    /// by then.
    ///
    /// Returns how many flows since the last time lost their record before they were settled.
    #[must_use]
    pub fn end_sweep(&mut self) -> u64 {
        let (sweep, mut evicted) = (self.sweep, std::mem::take(&mut self.evicted));
        self.flows.retain(|_, last| {
            let is_known = last.seen == sweep;
            evicted += u64::from(!is_known && !last.is_settled);
            is_known
        });
        // After a flood its memory is given back; ordinary use keeps its room.
        if self.flows.capacity() > 4 * self.flows.len().max(1024) {
            self.flows.shrink_to(2 * self.flows.len());
        }
        evicted
    }

    /// What was reported of this flow; a record that was evicted and made anew begins at nothing.
    fn last(&self, key: &FlowKey, record: &FlowRecord) -> Option<Last> {
        self.flows.get(key).copied().filter(|last| last.first_ns == record.first_ns)
    }
}

fn added(last: Option<Last>, record: &FlowRecord) -> Added {
    match last {
        Some(last) => Added {
            packets: record.packets.saturating_sub(last.packets),
            bytes: record.bytes.saturating_sub(last.bytes),
        },
        None => Added { packets: record.packets, bytes: record.bytes },
    }
}

#[cfg(test)]
mod tests;
