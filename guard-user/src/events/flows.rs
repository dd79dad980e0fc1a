//! What was told of each flow, so that events add up.
//!
//! A record's counts run from its begin, so what an event adds is the difference to what was told before:
//! an event that got lost is made good by the next one, or by the sweep, which also tells the packets that
//! came after a flow's last event.
//!
//! What an earlier daemon told of a flow that is quiet since is known ([`Told::resume`]). Of a flow that went
//! on when that daemon ended it is not: its next event is marked as resumed and counts from the flow's begin.

use std::collections::HashMap;

use guard_common::abi::{FlowKey, FlowRecord};

use super::event::Phase;

/// A flow is quiet after so long without a packet, nanoseconds: past the second after which the kernel
/// would send an event for the next packet.
pub const QUIET_NS: u64 = 1_500_000_000;

/// Packets and bytes that an event tells anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// What was told of the flows that the kernel has records of.
#[derive(Debug, Default)]
pub struct Told {
    flows: HashMap<FlowKey, Last>,
    /// An earlier daemon told events up to here, nanoseconds of `CLOCK_BOOTTIME`; 0 without one.
    resumed_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    first_ns: u64,
    packets: u64,
    bytes: u64,
    verdict: u8,
    reason: u8,
    exemption: u16,
}

impl Last {
    fn of(record: &FlowRecord) -> Self {
        Self {
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

impl Told {
    /// Goes on from an earlier daemon, which swept at `swept_ns` of `CLOCK_BOOTTIME` for the last time: the
    /// flows that were quiet by then were told.
    #[must_use]
    pub fn resume(records: impl IntoIterator<Item = (FlowKey, FlowRecord)>, swept_ns: u64) -> Self {
        let was_told =
            |record: &FlowRecord| record.denied != 0 && record.last_ns.saturating_add(QUIET_NS) <= swept_ns;
        let told = records.into_iter().filter(|(_, record)| was_told(record));
        Self { flows: told.map(|(key, record)| (key, Last::of(&record))).collect(), resumed_ns: swept_ns }
    }

    /// The phase of a flow of which this daemon has told nothing. An earlier one may have told of it where
    /// it began before that one's end; a first packet is always news.
    fn first_phase(&self, record: &FlowRecord) -> Phase {
        let may_be_told = record.first_ns <= self.resumed_ns && record.packets > 1;
        if may_be_told { Phase::Resumed } else { Phase::New }
    }

    /// Takes up an event. `None` where it tells nothing new: another CPU's later one overtook it.
    pub fn event(&mut self, key: &FlowKey, record: &FlowRecord) -> Option<(Phase, Added)> {
        let last = self.flows.get(key).copied().filter(|last| last.first_ns == record.first_ns);
        let phase = match last {
            Some(last) if last.judged_as(record) => Phase::Continued,
            Some(_) => Phase::New,
            None => self.first_phase(record),
        };
        let added = added(last, record);
        if phase == Phase::Continued && added == Added::default() {
            return None;
        }
        if last.is_none_or(|last| record.packets >= last.packets) {
            self.flows.insert(*key, Last::of(record));
        }
        Some((phase, added))
    }

    /// Goes over all flow records of the kernel: what quiet flows have that was not told, and forgets the
    /// flows that the kernel has no record of any more. `now_ns` is `CLOCK_BOOTTIME`.
    pub fn sweep(
        &mut self,
        records: impl IntoIterator<Item = (FlowKey, FlowRecord)>,
        now_ns: u64,
    ) -> Vec<(FlowKey, FlowRecord, Phase, Added)> {
        let mut kept = HashMap::with_capacity(self.flows.len());
        let mut found = Vec::new();
        for (key, record) in records {
            // Permitted flows have records where the config asks, but no events.
            if record.denied == 0 {
                continue;
            }
            let last = self.flows.get(&key).copied().filter(|last| last.first_ns == record.first_ns);
            let added = added(last, &record);
            let quiet = now_ns.saturating_sub(record.last_ns) >= QUIET_NS;
            if quiet && added != Added::default() {
                let phase = if last.is_some() { Phase::Settled } else { self.first_phase(&record) };
                kept.insert(key, Last::of(&record));
                found.push((key, record, phase, added));
            } else if let Some(last) = last {
                kept.insert(key, last);
            }
        }
        self.flows = kept;
        found
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

    #[test]
    fn a_change_of_verdict_is_new_and_an_overtaken_event_is_silent() {
        let mut told = Told::default();
        let more = Added { packets: 4, bytes: 400 };
        assert_eq!(
            told.event(&key(1), &record(5, 5, 1)),
            Some((Phase::New, Added { packets: 1, bytes: 100 }))
        );
        assert_eq!(told.event(&key(1), &record(5, 9, 5)), Some((Phase::Continued, more)));
        assert_eq!(told.event(&key(1), &record(5, 8, 4)), None);
        let exempt = FlowRecord { verdict: 0, reason: Reason::Exempt as u8, ..record(5, 10, 6) };
        let one = Added { packets: 1, bytes: 100 };
        assert_eq!(told.event(&key(1), &exempt), Some((Phase::New, one)));
        // The record was evicted and made anew.
        assert_eq!(told.event(&key(1), &record(20, 20, 1)), Some((Phase::New, one)));
    }

    #[test]
    fn the_sweep_tells_the_rest_of_quiet_flows_once() {
        let mut told = Told::default();
        told.event(&key(1), &record(5, 5, 1));
        let now = 10 * QUIET_NS;
        let busy = (key(1), record(5, now - 1, 7));
        assert_eq!(told.sweep([busy], now), vec![]);
        let quiet = (key(1), record(5, now - QUIET_NS, 7));
        let found = told.sweep([quiet], now);
        assert_eq!(found, vec![(quiet.0, quiet.1, Phase::Settled, Added { packets: 6, bytes: 600 })]);
        assert_eq!(told.sweep([quiet], now), vec![]);
    }

    #[test]
    fn the_sweep_tells_a_flow_whose_event_was_lost_and_no_permitted_one() {
        let mut told = Told::default();
        let lost = (key(1), record(5, 5, 3));
        let permitted = (key(2), FlowRecord { denied: 0, ..record(5, 5, 3) });
        let found = told.sweep([lost, permitted], 10 * QUIET_NS);
        assert_eq!(found, vec![(lost.0, lost.1, Phase::New, Added { packets: 3, bytes: 300 })]);
    }

    #[test]
    fn what_an_earlier_daemon_told_is_not_told_again() {
        let swept = 100 * QUIET_NS;
        let quiet = (key(1), record(5, swept - QUIET_NS, 7));
        let busy = (key(2), record(5, swept - 1, 7));
        let mut told = Told::resume([quiet, busy], swept);
        let later = swept + 10 * QUIET_NS;
        let all = Added { packets: 7, bytes: 700 };
        assert_eq!(told.sweep([quiet, busy], later), vec![(busy.0, busy.1, Phase::Resumed, all)]);
        let more = Added { packets: 2, bytes: 200 };
        assert_eq!(told.event(&key(1), &record(5, later, 9)), Some((Phase::Continued, more)));
        // While no daemon ran: its first packet's event waited in the ring buffer.
        let first = Added { packets: 1, bytes: 100 };
        assert_eq!(told.event(&key(3), &record(swept - 1, swept - 1, 1)), Some((Phase::New, first)));
        let whole = Some((Phase::New, Added { packets: 4, bytes: 400 }));
        assert_eq!(told.event(&key(4), &record(swept + 1, later, 4)), whole);
    }

    proptest! {
        /// Whatever events get lost or come out of order, in the end what was told is what was counted.
        #[test]
        fn what_is_told_adds_up(steps in prop::collection::vec((0_u64..50, 0_u8..4), 1..60)) {
            let mut told = Told::default();
            let (mut packets, mut sum) = (0, 0);
            let mut delayed = None;
            for (sent, fate) in steps {
                packets += sent;
                let now = record(1, 1, packets);
                match fate {
                    0 => {}
                    1 => delayed = Some(now),
                    2 => {
                        let found = told.sweep((packets > 0).then_some((key(1), now)), 10 * QUIET_NS);
                        sum += found.iter().map(|flow| flow.3.packets).sum::<u64>();
                    }
                    _ => {
                        for event in [Some(now), delayed.take()].into_iter().flatten() {
                            sum += told.event(&key(1), &event).map_or(0, |(_, added)| added.packets);
                        }
                    }
                }
            }
            let found = told.sweep([(key(1), record(1, 1, packets))], 10 * QUIET_NS);
            sum += found.iter().map(|flow| flow.3.packets).sum::<u64>();
            prop_assert_eq!(sum, packets);
        }
    }
}
