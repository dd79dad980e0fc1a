//! Tracks what was reported of each flow, so that events add up.
//!
//! A record's counts run from its begin, so what an event adds is the difference to what was reported before: an event that got
//! lost is made good by the next one, or by a sweep over all records, which also reports what came after a flow's last event.
//!
//! What an earlier daemon reported of a flow that is quiet since is known ([`Tracker::resume`]). Of a flow that went on when
//! that daemon ended it is not: its next event is marked as resumed and counts from the flow's begin.
//!
//! A record that gives way to another flow's takes with it what it counted after the last report. No packet waits for that to be
//! read, so a flow that was not settled by then is counted as evicted: packets of it may be in no event.

use std::collections::HashMap;

use guard_common::abi::{FlowKey, FlowRecord};

use super::event::Phase;

/// A flow is quiet after so long without a packet, nanoseconds: past the second between two of the kernel's events of it.
pub const QUIET_NS: u64 = 1_500_000_000;

/// A daemon at work for so long after its last sweep has swept again and kept that, nanoseconds: one is due each 5 s.
const UNKNOWN_NS: u64 = 8_000_000_000;

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
    fn of(record: &FlowRecord, seen: u64, is_settled: bool) -> Self {
        let FlowRecord { first_ns, packets, bytes, .. } = *record;
        Self { first_ns, packets, bytes, seen, is_settled }
    }
}

impl Tracker {
    /// Goes on from an earlier daemon, which swept at `swept_ns` of `CLOCK_BOOTTIME` for the last time: the
    /// flows that were quiet by then were reported. Without that an earlier daemon may have reported whatever there is
    /// at `now_ns`.
    #[must_use]
    pub fn resume(swept_ns: Option<u64>, now_ns: u64) -> Self {
        let unknown_ns = swept_ns.map_or(now_ns, |swept| now_ns.min(swept.saturating_add(UNKNOWN_NS)));
        Self { resumed_ns: swept_ns.unwrap_or_default(), unknown_ns, ..Self::default() }
    }

    /// Takes up one of the kernel's records before the first event, after [`resume`](Self::resume).
    pub fn take_up(&mut self, key: FlowKey, record: &FlowRecord) {
        if record.denied != 0 && record.last_ns.saturating_add(QUIET_NS) <= self.resumed_ns {
            self.flows.insert(key, Last::of(record, self.sweep, true));
        }
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

    /// One whole sweep over these records, and how many were evicted.
    fn sweep_all(tracker: &mut Tracker, records: &[(FlowKey, FlowRecord)], now_ns: u64) -> (Vec<Rest>, u64) {
        tracker.begin_sweep();
        let found =
            records.iter().filter_map(|(key, record)| tracker.sweep_one(key, record, now_ns)).collect();
        (found, tracker.end_sweep())
    }

    /// One whole sweep over these records.
    fn sweep(tracker: &mut Tracker, records: &[(FlowKey, FlowRecord)], now_ns: u64) -> Vec<Rest> {
        sweep_all(tracker, records, now_ns).0
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
        let exempt = FlowRecord { verdict: 0, reason: Reason::Exempt as u8, ..record(10, 10, 1) };
        let exempt_key = FlowKey { verdict: 0, reason: Reason::Exempt as u8, ..key(1) };
        let one = Added { packets: 1, bytes: 100 };
        assert_eq!(tracker.event(&exempt_key, &exempt), Some((Phase::New, one)));
        // The record was evicted and made anew.
        assert_eq!(tracker.event(&key(1), &record(20, 20, 1)), Some((Phase::New, one)));
    }

    #[test]
    fn a_settled_flow_that_begins_anew_has_lost_nothing() {
        let now = 10 * QUIET_NS;
        let (old, new) = (record(5, now - 2 * QUIET_NS, 7), record(now - 1, now - 1, 1));
        for swept in [true, false] {
            let mut tracker = Tracker::default();
            tracker.event(&key(1), &old);
            assert_eq!(sweep_all(&mut tracker, &[(key(1), old)], now), (vec![], 0));
            // The sweep sees the new record before its event is taken up.
            tracker.begin_sweep();
            match swept {
                true => assert_eq!(tracker.sweep_one(&key(1), &new, now), None),
                false => tracker.mark(&key(1), &new),
            }
            assert!(tracker.event(&key(1), &new).is_some());
            assert_eq!(tracker.end_sweep(), 0, "swept: {swept}");
        }
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
        let later = swept + 10 * QUIET_NS;
        let mut tracker = Tracker::resume(Some(swept), later);
        for (key, record) in [quiet, busy] {
            tracker.take_up(key, &record);
        }
        assert_eq!(sweep(&mut tracker, &[quiet, busy], later), [rest(busy, Phase::Resumed, 7)]);
        let more = Added { packets: 2, bytes: 200 };
        assert_eq!(tracker.event(&key(1), &record(5, later, 9)), Some((Phase::Continued, more)));
        // While no daemon ran: its first packet's event waited in the ring buffer.
        let first = Added { packets: 1, bytes: 100 };
        assert_eq!(tracker.event(&key(3), &record(swept - 1, swept - 1, 1)), Some((Phase::New, first)));
        // It may have reported what began after its last sweep, but not what began after the next one was due.
        let whole = |phase| Some((phase, Added { packets: 4, bytes: 400 }));
        assert_eq!(tracker.event(&key(4), &record(swept + 1, later, 4)), whole(Phase::Resumed));
        assert_eq!(tracker.event(&key(5), &record(swept + UNKNOWN_NS + 1, later, 4)), whole(Phase::New));
    }

    #[test]
    fn where_nobody_knows_what_an_earlier_daemon_reported_it_may_be_all_that_there_is() {
        let now = 100 * QUIET_NS;
        let mut tracker = Tracker::resume(None, now);
        let before = (key(1), record(now - 1, now - 1, 5));
        let first = (key(2), record(now - 1, now - 1, 1));
        let since = (key(3), record(now + 1, now + 1, 5));
        let phases = sweep(&mut tracker, &[before, first, since], 2 * now).into_iter().map(|rest| rest.phase);
        assert_eq!(phases.collect::<Vec<_>>(), [Phase::Resumed, Phase::Resumed, Phase::New]);
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
        assert_eq!(tracker.end_sweep(), 999, "what they counted after their events may be in none");
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
        assert_eq!(tracker.end_sweep(), 1);
        assert_eq!(sweep(&mut tracker, &[(key(1), new)], 10 * QUIET_NS), []);
    }

    #[test]
    fn a_flow_that_is_evicted_before_it_is_settled_is_a_loss_once() {
        let (mut tracker, now) = (Tracker::default(), 10 * QUIET_NS);
        let (quiet, busy) = ((key(1), record(5, 5, 1)), (key(2), record(5, now - 1, 1)));
        for (key, record) in [quiet, busy] {
            tracker.event(&key, &record);
        }
        assert_eq!(sweep_all(&mut tracker, &[quiet, busy], now), (vec![], 0));
        assert_eq!(sweep_all(&mut tracker, &[], now), (vec![], 1), "all of the quiet one was reported");
        assert_eq!(sweep_all(&mut tracker, &[], now), (vec![], 0));
        // The sweep itself settles what it reports, and a packet after that unsettles it, whatever sees it first.
        let more = (quiet.0, record(5, 6, 7));
        tracker.event(&quiet.0, &quiet.1);
        assert_eq!(sweep_all(&mut tracker, &[more], now), (vec![rest(more, Phase::Settled, 6)], 0));
        tracker.begin_sweep();
        tracker.mark(&more.0, &record(5, now, 8));
        assert_eq!((tracker.end_sweep(), sweep_all(&mut tracker, &[], now).1), (0, 1));
        // A record with another begin is another one.
        tracker.event(&busy.0, &busy.1);
        tracker.event(&busy.0, &record(now, now, 1));
        assert_eq!(sweep_all(&mut tracker, &[(busy.0, record(now, now, 1))], 2 * now), (vec![], 1));
        // What an earlier daemon has reported is settled.
        let mut tracker = Tracker::resume(Some(now), now);
        tracker.take_up(quiet.0, &quiet.1);
        assert_eq!(sweep_all(&mut tracker, &[], 2 * now), (vec![], 0));
    }

    proptest! {
        /// Records are evicted at any moment: in the end what is in no event is known to be missing.
        #[test]
        fn what_is_not_reported_is_told(steps in prop::collection::vec((0_u64..3, 0_u8..6), 1..60)) {
            let mut tracker = Tracker::default();
            let (mut now, mut sent, mut sum, mut evicted) = (10 * QUIET_NS, 0, 0, 0);
            let mut at: Option<FlowRecord> = None;
            for (more, fate) in steps {
                // The kernel sends an event for the first packet after a second, as for the first of all.
                let is_due = at.is_none_or(|at| now - at.last_ns >= QUIET_NS);
                now += 1;
                match fate {
                    0 => at = None,
                    1 => now += QUIET_NS,
                    2 => {
                        let all: Vec<_> = at.iter().map(|at| (key(1), *at)).collect();
                        let (found, gone) = sweep_all(&mut tracker, &all, now);
                        sum += found.iter().map(|flow| flow.added.packets).sum::<u64>();
                        evicted += gone;
                    }
                    3 => {
                        tracker.begin_sweep();
                        at.iter().for_each(|at| tracker.mark(&key(1), at));
                        evicted += tracker.end_sweep();
                    }
                    _ if more > 0 => {
                        sent += more;
                        let (first, packets) = at.map_or((now, 0), |at| (at.first_ns, at.packets));
                        if is_due {
                            let event = record(first, now, packets + 1);
                            sum += tracker.event(&key(1), &event).map_or(0, |(_, added)| added.packets);
                        }
                        at = Some(record(first, now, packets + more));
                    }
                    _ => {}
                }
            }
            let all: Vec<_> = at.iter().map(|at| (key(1), *at)).collect();
            let (found, gone) = sweep_all(&mut tracker, &all, now + 2 * QUIET_NS);
            sum += found.iter().map(|flow| flow.added.packets).sum::<u64>();
            prop_assert!(sum == sent || (sum < sent && evicted + gone > 0), "{} of {}", sum, sent);
        }

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
                        prop_assert_eq!(tracker.end_sweep(), 0);
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
