use std::path::Path;

use guard_common::verdict::{Reason, Verdict};
use proptest::prelude::*;

use super::super::told_flows::ToldFlows;
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

fn by_sweep(swept_ns: u64) -> Resume {
    Resume { swept_ns: Some(swept_ns), last_ns: None }
}

fn key(sport: u16) -> FlowKey {
    FlowKey { sport, ..FlowKey::default() }
}

/// One whole sweep over these records, and how many were evicted.
fn sweep_all(tracker: &mut Tracker, records: &[(FlowKey, FlowRecord)], now_ns: u64) -> (Vec<Rest>, u64) {
    tracker.begin_sweep();
    let found = records.iter().filter_map(|(key, record)| tracker.sweep_one(key, record, now_ns)).collect();
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
    let mut tracker = Tracker::resume(by_sweep(swept), &KnownFlows::default(), later);
    for (key, record) in [quiet, busy] {
        tracker.take_up(key, &record, &KnownFlows::default());
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
fn what_began_before_an_earlier_daemon_s_last_line_is_not_new_however_old_its_sweep_is() {
    let (swept, last) = (QUIET_NS, 100 * QUIET_NS);
    let now = 2 * last;
    let mut tracker =
        Tracker::resume(Resume { swept_ns: Some(swept), last_ns: Some(last) }, &KnownFlows::default(), now);
    let told = (key(1), record(last - 1, last - 1, 5));
    let not_told = (key(2), record(last + 1, last + 1, 5));
    let found = [rest(told, Phase::Resumed, 5), rest(not_told, Phase::New, 5)];
    assert_eq!(sweep(&mut tracker, &[told, not_told], now), found);
    // Soon after its sweep too: it has told nothing since.
    let mut tracker =
        Tracker::resume(Resume { swept_ns: Some(last), last_ns: Some(last) }, &KnownFlows::default(), now);
    assert_eq!(sweep(&mut tracker, &[not_told], now), [rest(not_told, Phase::New, 5)]);
}

#[test]
fn where_nobody_knows_what_an_earlier_daemon_reported_it_may_be_all_that_there_is() {
    let now = 100 * QUIET_NS;
    let mut tracker = Tracker::resume(Resume::default(), &KnownFlows::default(), now);
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
    let mut tracker = Tracker::resume(by_sweep(now), &KnownFlows::default(), now);
    tracker.take_up(quiet.0, &quiet.1, &KnownFlows::default());
    assert_eq!(sweep_all(&mut tracker, &[], 2 * now), (vec![], 0));
}

/// The tracker of a daemon that starts after this one has ended in order.
fn next_run(state: &Path, tracker: &Tracker, records: &[(FlowKey, FlowRecord)]) -> Tracker {
    ToldFlows::open(state, "a test", None).keep_all(&tracker.all_told(), 1000);
    let known = ToldFlows::open(state, "a test", None).take_known();
    let mut tracker = Tracker::resume(Resume::default(), &known, u64::MAX);
    records.iter().for_each(|(key, record)| tracker.take_up(*key, record, &known));
    tracker
}

#[test]
fn what_an_earlier_daemon_has_told_of_a_flow_is_gone_on_from() {
    let state = tempfile::tempdir().unwrap();
    let now = 100 * QUIET_NS;
    let mut tracker = Tracker::default();
    tracker.event(&key(1), &record(5, now, 7));
    let records = [(key(1), record(5, now, 9)), (key(2), record(6, now, 4))];
    let mut tracker = next_run(state.path(), &tracker, &records);
    let more = Added { packets: 2, bytes: 200 };
    let whole = Added { packets: 4, bytes: 400 };
    assert_eq!(tracker.event(&key(1), &records[0].1), Some((Phase::Continued, more)));
    // Of all others nothing was told, whenever they began.
    assert_eq!(tracker.event(&key(2), &records[1].1), Some((Phase::New, whole)));
    // A record that was made anew in the place of one that was told is another flow's.
    let mut tracker = next_run(state.path(), &tracker, &[(key(1), record(now, now, 3))]);
    let fresh = Added { packets: 3, bytes: 300 };
    assert_eq!(tracker.event(&key(1), &record(now, now, 3)), Some((Phase::New, fresh)));
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

    /// Whatever events get lost or come out of order, before, after or within a sweep, and whichever daemons end in order: in the
    /// end what was reported is what was counted.
    #[test]
    fn what_is_reported_adds_up(steps in prop::collection::vec((0_u64..50, 0_u8..7), 1..60)) {
        let state = tempfile::tempdir().unwrap();
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
                5 => {
                    tracker = next_run(state.path(), &tracker, &[(key(1), now)]);
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
