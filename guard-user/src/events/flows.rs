//! Tracks what was reported of each flow, so that events add up.
//!
//! A record's counts run from its begin, so what an event adds is the difference to what was reported before:
//! an event that got lost is made good by the next one, or by a sweep over all records, which also reports the
//! packets that came after a flow's last event.
//!
//! What an earlier daemon reported of a flow that is quiet since is known ([`Tracker::resume`]). Of a flow that
//! went on when that daemon ended it is not: its next event is marked as resumed and counts from the flow's
//! begin.

use std::collections::HashMap;

use guard_common::abi::{FlowKey, FlowRecord};

use super::event::Phase;

/// A flow is quiet after so long without a packet, nanoseconds: past the second after which the kernel
/// would send an event for the next packet.
pub const QUIET_NS: u64 = 1_500_000_000;

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
    /// Number of the sweep that goes on, or of the last one.
    sweep: u64,
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
    verdict: u8,
    reason: u8,
    exemption: u16,
    /// The sweep before whose end an event came or the record was seen.
    seen: u64,
}

impl Last {
    fn of(record: &FlowRecord, seen: u64) -> Self {
        Self {
            seen,
            first_ns: record.first_ns,
            packets: record.packets,
            bytes: record.bytes,
            verdict: record.verdict,
            reason: record.reason,
            exemption: record.exemption,
        }
    }

    fn judged_as(&self, record: &FlowRecord) -> bool {
        (self.verdict, self.reason, self.exemption) == (record.verdict, record.reason, record.exemption)
    }
}

impl Tracker {
    /// Goes on from an earlier daemon, which swept at `swept_ns` of `CLOCK_BOOTTIME` for the last time: the
    /// flows that were quiet by then were reported.
    #[must_use]
    pub fn resume(swept_ns: u64) -> Self {
        Self { resumed_ns: swept_ns, ..Self::default() }
    }

    /// Takes up one of the kernel's records before the first event, after [`resume`](Self::resume).
    pub fn take_up(&mut self, key: FlowKey, record: &FlowRecord) {
        if record.denied != 0 && record.last_ns.saturating_add(QUIET_NS) <= self.resumed_ns {
            self.flows.insert(key, Last::of(record, self.sweep));
        }
    }

    /// How many flows it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The phase of a flow of which this daemon has reported nothing. An earlier one may have where it began
    /// before that one's end; a first packet is always news.
    fn first_phase(&self, record: &FlowRecord) -> Phase {
        let may_be_reported = record.first_ns <= self.resumed_ns && record.packets > 1;
        if may_be_reported { Phase::Resumed } else { Phase::New }
    }

    /// Takes up an event. `None` where it adds nothing: another CPU's later one overtook it.
    pub fn event(&mut self, key: &FlowKey, record: &FlowRecord) -> Option<(Phase, Added)> {
        let last = self.last(key, record);
        let phase = match last {
            Some(last) if last.judged_as(record) => Phase::Continued,
            Some(_) => Phase::New,
            None => self.first_phase(record),
        };
        let added = added(last, record);
        if phase == Phase::Continued && added == Added::default() {
            return None;
        }
        let is_newer = |known: &Last| (record.first_ns, record.packets) >= (known.first_ns, known.packets);
        if self.flows.get(key).is_none_or(is_newer) {
            self.flows.insert(*key, Last::of(record, self.sweep));
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
            self.mark(key);
            return None;
        }
        let phase = if last.is_some() { Phase::Settled } else { self.first_phase(record) };
        self.flows.insert(*key, Last::of(record, self.sweep));
        Some(Rest { key: *key, record: *record, phase, added })
    }

    /// Notes that the kernel has a record of the flow.
    pub fn mark(&mut self, key: &FlowKey) {
        if let Some(known) = self.flows.get_mut(key) {
            known.seen = self.sweep;
        }
    }

    /// Forgets the flows that the kernel has no record of any more: those that were neither swept, marked nor in
    /// an event since the sweep began. Only after every record was seen, and every event taken up that had come
    /// by then.
    pub fn end_sweep(&mut self) {
        let sweep = self.sweep;
        self.flows.retain(|_, last| last.seen == sweep);
        // After a flood its memory is given back; ordinary use keeps its room.
        if self.flows.capacity() > 4 * self.flows.len().max(1024) {
            self.flows.shrink_to(2 * self.flows.len());
        }
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
mod tests {
    use guard_common::verdict::{Reason, Verdict};
    use proptest::prelude::*;

    use super::*;

    fn record(first_ns: u64, last_ns: u64, packets: u64) -> FlowRecord {
        FlowRecord {
            first_ns,
            last_ns,
            packets,
            bytes: packets * 100,
            denied: 1,
            verdict: Verdict::Drop as u8,
            reason: Reason::Forbidden as u8,
            ..FlowRecord::default()
        }
    }

    fn key(sport: u16) -> FlowKey {
        FlowKey { sport, ..FlowKey::default() }
    }

    /// One whole sweep over these records.
    fn sweep(tracker: &mut Tracker, records: &[(FlowKey, FlowRecord)], now_ns: u64) -> Vec<Rest> {
        tracker.begin_sweep();
        let found =
            records.iter().filter_map(|(key, record)| tracker.sweep_one(key, record, now_ns)).collect();
        tracker.end_sweep();
        found
    }

    fn rest((key, record): (FlowKey, FlowRecord), phase: Phase, packets: u64) -> Rest {
        Rest { key, record, phase, added: Added { packets, bytes: packets * 100 } }
    }

    #[test]
    fn a_change_of_verdict_is_new_and_an_overtaken_event_is_silent() {
        let mut tracker = Tracker::default();
        let more = Added { packets: 4, bytes: 400 };
        assert_eq!(
            tracker.event(&key(1), &record(5, 5, 1)),
            Some((Phase::New, Added { packets: 1, bytes: 100 }))
        );
        assert_eq!(tracker.event(&key(1), &record(5, 9, 5)), Some((Phase::Continued, more)));
        assert_eq!(tracker.event(&key(1), &record(5, 8, 4)), None);
        let exempt = FlowRecord { verdict: 0, reason: Reason::Exempt as u8, ..record(5, 10, 6) };
        let one = Added { packets: 1, bytes: 100 };
        assert_eq!(tracker.event(&key(1), &exempt), Some((Phase::New, one)));
        // The record was evicted and made anew.
        assert_eq!(tracker.event(&key(1), &record(20, 20, 1)), Some((Phase::New, one)));
    }

    #[test]
    fn the_sweep_reports_the_rest_of_quiet_flows_once() {
        let mut tracker = Tracker::default();
        tracker.event(&key(1), &record(5, 5, 1));
        let now = 10 * QUIET_NS;
        let busy = (key(1), record(5, now - 1, 7));
        assert_eq!(sweep(&mut tracker, &[busy], now), []);
        let quiet = (key(1), record(5, now - QUIET_NS, 7));
        assert_eq!(sweep(&mut tracker, &[quiet], now), [rest(quiet, Phase::Settled, 6)]);
        assert_eq!(sweep(&mut tracker, &[quiet], now), []);
    }

    #[test]
    fn the_sweep_reports_a_flow_whose_event_was_lost_and_no_permitted_one() {
        let mut tracker = Tracker::default();
        let lost = (key(1), record(5, 5, 3));
        let permitted = (key(2), FlowRecord { denied: 0, ..record(5, 5, 3) });
        let found = sweep(&mut tracker, &[lost, permitted], 10 * QUIET_NS);
        assert_eq!(found, [rest(lost, Phase::New, 3)]);
    }

    #[test]
    fn what_an_earlier_daemon_reported_is_not_reported_again() {
        let swept = 100 * QUIET_NS;
        let quiet = (key(1), record(5, swept - QUIET_NS, 7));
        let busy = (key(2), record(5, swept - 1, 7));
        let mut tracker = Tracker::resume(swept);
        for (key, record) in [quiet, busy] {
            tracker.take_up(key, &record);
        }
        let later = swept + 10 * QUIET_NS;
        assert_eq!(sweep(&mut tracker, &[quiet, busy], later), [rest(busy, Phase::Resumed, 7)]);
        let more = Added { packets: 2, bytes: 200 };
        assert_eq!(tracker.event(&key(1), &record(5, later, 9)), Some((Phase::Continued, more)));
        // While no daemon ran: its first packet's event waited in the ring buffer.
        let first = Added { packets: 1, bytes: 100 };
        assert_eq!(tracker.event(&key(3), &record(swept - 1, swept - 1, 1)), Some((Phase::New, first)));
        let whole = Some((Phase::New, Added { packets: 4, bytes: 400 }));
        assert_eq!(tracker.event(&key(4), &record(swept + 1, later, 4)), whole);
    }

    #[test]
    fn flows_that_the_kernel_has_forgotten_are_forgotten_and_others_never() {
        let mut tracker = Tracker::default();
        for port in 0..1000 {
            tracker.event(&key(port), &record(5, 5, 1));
        }
        tracker.begin_sweep();
        let kept = (key(7), record(5, 5, 1));
        assert_eq!(tracker.sweep_one(&kept.0, &kept.1, 10 * QUIET_NS), None);
        // An event that comes while the sweep goes on is of a flow that it may have passed already.
        tracker.event(&key(2000), &record(6, 6, 1));
        tracker.end_sweep();
        assert_eq!(tracker.len(), 2);
        assert_eq!(tracker.event(&kept.0, &kept.1), None, "it was reported already");
        assert_eq!(tracker.event(&key(2000), &record(6, 6, 1)), None, "it was reported already");
    }

    #[test]
    fn a_record_that_was_made_anew_while_it_was_swept_is_not_reported_again() {
        let mut tracker = Tracker::default();
        let old = record(5, 5, 7);
        assert!(tracker.event(&key(1), &old).is_some());
        tracker.begin_sweep();
        let new = record(5 + QUIET_NS, 5 + QUIET_NS, 1);
        assert_eq!(tracker.event(&key(1), &new), Some((Phase::New, Added { packets: 1, bytes: 100 })));
        assert_eq!(tracker.sweep_one(&key(1), &old, 10 * QUIET_NS), None);
        tracker.end_sweep();
        assert_eq!(sweep(&mut tracker, &[(key(1), new)], 10 * QUIET_NS), []);
    }

    proptest! {
        /// Whatever events get lost or come out of order, before, after or within a sweep: in the end what was
        /// reported is what was counted.
        #[test]
        fn what_is_reported_adds_up(steps in prop::collection::vec((0_u64..50, 0_u8..6), 1..60)) {
            let mut tracker = Tracker::default();
            let (mut packets, mut sum) = (0, 0);
            let (mut delayed, mut sweeps) = (None, false);
            for (sent, fate) in steps {
                packets += sent;
                let now = record(1, 1, packets);
                match fate {
                    0 => {}
                    1 => delayed = Some(now),
                    2 if packets > 0 => {
                        let found = sweep(&mut tracker, &[(key(1), now)], 10 * QUIET_NS);
                        sum += found.iter().map(|flow| flow.added.packets).sum::<u64>();
                        sweeps = false;
                    }
                    3 => {
                        tracker.begin_sweep();
                        sweeps = true;
                    }
                    4 if sweeps && packets > 0 => {
                        let found = tracker.sweep_one(&key(1), &now, 10 * QUIET_NS);
                        sum += found.map_or(0, |flow| flow.added.packets);
                        tracker.end_sweep();
                        sweeps = false;
                    }
                    _ => {
                        for event in [Some(now), delayed.take()].into_iter().flatten() {
                            sum += tracker.event(&key(1), &event).map_or(0, |(_, added)| added.packets);
                        }
                    }
                }
            }
            let found = sweep(&mut tracker, &[(key(1), record(1, 1, packets))], 10 * QUIET_NS);
            sum += found.iter().map(|flow| flow.added.packets).sum::<u64>();
            prop_assert_eq!(sum, packets);
        }
    }
}
