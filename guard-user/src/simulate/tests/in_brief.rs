//! Flows in brief come to what their lines come to, and two windows to what each comes to alone.

use std::sync::Arc;

use guard_common::abi::PlacedBy;
use guard_common::verdict::Reason;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::events::Event;
use crate::events::brief::Batch;
use crate::events::event::{Endpoint, People, Phase, Process};
use crate::events::tests::{dropped, envelope};

/// An event, or the record of the kernel that it was made of, with whether its reader sees people.
#[derive(Clone, Debug)]
struct Told {
    event: Event,
    is_record: bool,
    sees_people: bool,
}

impl Told {
    fn line(&self) -> Value {
        let event = match self.sees_people {
            true => self.event.clone(),
            false => self.event.clone().without_people(People::Hidden),
        };
        let line = if self.is_record { event.to_flow_json(&envelope()) } else { event.to_json(&envelope()) };
        serde_json::from_str(&line).unwrap()
    }

    fn tell(&self, traffic: &mut Traffic) {
        match self.is_record {
            true => traffic.live(&self.line()),
            false => traffic.recorded(&self.line()),
        }
    }

    fn add(&self, batch: &mut Batch) {
        match self.is_record {
            true => batch.add_record(&self.event, self.sees_people),
            false => batch.add_event(&self.event, self.sees_people),
        }
    }
}

/// So many seconds after the first moment at which anything is.
fn moment(seconds: i64) -> Timestamp {
    dropped().time + SignedDuration::from_secs(seconds)
}

fn end() -> impl Strategy<Value = Option<Endpoint>> {
    let ip = prop::sample::select(vec!["192.0.2.10", "198.51.100.7", "2001:db8::7"]);
    let port = prop::option::of(prop::sample::select(vec![22_u16, 143, 40_000]));
    let end = (ip, port).prop_map(|(ip, port)| Endpoint { ip: ip.parse().unwrap(), port });
    prop::option::weighted(0.9, end)
}

fn process() -> impl Strategy<Value = Option<Process>> {
    let cgroup = prop::sample::select(vec![None, Some("system.slice/dovecot.service"), Some("docker/0123")]);
    let user = prop::option::of(Just("dovecot"));
    let process = (1_u32..3, cgroup, user).prop_map(|(pid, cgroup, user)| Process {
        pid,
        command: "imap \"x\"".into(),
        uid: 90 + pid,
        user: user.map(Into::into),
        cgroup_id: 9,
        cgroup: cgroup.map(Into::into),
    });
    prop::option::of(process)
}

fn told() -> impl Strategy<Value = Told> {
    let names = || prop::sample::select(vec![vec![], vec!["mail"], vec!["mail", "all"]]);
    let decided = (
        prop::sample::select(Hook::ALL.to_vec()),
        prop::sample::select(Verdict::ALL.to_vec()),
        prop::sample::select(vec![Reason::Forbidden, Reason::Permitted, Reason::Exempt]),
        names(),
        names(),
        prop::sample::select(vec!["US", "unknown"]),
        prop::sample::select(vec![PlacedBy::Site, PlacedBy::Database]),
        prop::option::weighted(0.2, Just("mlat-1")),
    );
    let sent = (
        process(),
        prop::option::of(Just("user.slice/session-1.scope")),
        prop::sample::select(vec![People::Shown, People::Removed]),
        prop::option::weighted(0.9, Just("eth0")),
        0_u32..2,
        prop::option::weighted(0.1, Just("203.0.113.9")),
        any::<bool>(),
    );
    let phase = prop::sample::select(vec![Phase::New, Phase::Resumed, Phase::Continued, Phase::Settled]);
    let rest = (
        end(),
        end(),
        prop::sample::select(vec![6_u8, 17, 47]),
        (0_i64..20, 0_i64..20),
        (0_u64..5, 0_u64..500),
        (1_u64..3, prop::option::weighted(0.9, Just("9f86d0"))),
        phase,
    );
    let how = (any::<bool>(), prop::bool::weighted(0.8));
    (decided, sent, rest, how).prop_map(|(decided, sent, rest, (is_record, sees_people))| {
        let (hook, verdict, reason, pins, tagged, jurisdiction, placed_by, exemption) = decided;
        let (process, cgroup, people, interface, mark, tunnel, is_tunnelled) = sent;
        let (source, destination, protocol, times, (packets, bytes), (generation, policy), phase) = rest;
        let event = Event {
            time: moment(times.0.max(times.1)),
            flow_start: moment(times.0.min(times.1)),
            phase,
            hook,
            verdict,
            reason,
            pins: shared(pins),
            tagged: shared(tagged),
            jurisdiction: jurisdiction.parse().unwrap(),
            placed_by,
            source,
            destination,
            tunnel: tunnel.map(|ip| ip.parse().unwrap()),
            is_tunnelled,
            protocol,
            interface: interface.map(Into::into),
            mark,
            cgroup: cgroup.map(Into::into),
            process,
            people,
            packets,
            bytes,
            flow_packets: packets + 1,
            flow_bytes: bytes + 60,
            exemption: exemption.map(Into::into),
            generation,
            policy: policy.map(Into::into),
            ..dropped()
        };
        Told { event, is_record, sees_people }
    })
}

fn shared(names: Vec<&str>) -> Vec<Arc<str>> {
    names.into_iter().map(Into::into).collect()
}

/// All that there is of it.
fn all(traffic: Traffic) -> String {
    let counts = (traffic.events, traffic.records, traffic.untagged, traffic.first, traffic.last);
    let (not_judged, interfaces) = (traffic.not_judged, traffic.interfaces());
    let flows: Vec<_> = traffic.in_windows().collect();
    format!("{counts:?}\n{not_judged:?}\n{interfaces:?}\n{flows:#?}")
}

/// What a window has, in whatever order.
fn window(flows: impl Iterator<Item = (Seen, Option<Amount>)>) -> Vec<String> {
    let known = flows.filter_map(|(seen, amount)| {
        let flow = &seen.flow;
        let ends = (flow.hook, flow.source, flow.destination, flow.protocol);
        Some(format!("{ends:?} {:?} {:?} {:?}", seen.tagged, seen.judged, amount?))
    });
    let mut known: Vec<String> = known.collect();
    known.sort_unstable();
    known
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn in_brief_flows_come_to_what_their_lines_come_to(
        told in prop::collection::vec(told(), 0..60),
        since in prop::option::of(0_i64..20),
        recent in prop::option::of(0_i64..20),
        at_once in 1_usize..40,
    ) {
        let begun = || {
            let traffic = Traffic::new(since.map(moment));
            match recent {
                Some(recent) => traffic.with_recent(moment(recent)),
                None => traffic,
            }
        };
        let (mut plain, mut brief) = (begun(), begun());
        told.iter().for_each(|it| it.tell(&mut plain));
        for some in told.chunks(at_once) {
            let mut batch = Batch::default();
            some.iter().for_each(|it| it.add(&mut batch));
            brief.brief(&Batch::read(&batch.to_line()).unwrap());
        }
        prop_assert_eq!(all(brief), all(plain));
    }

    #[test]
    fn two_windows_at_once_have_what_each_has_alone(
        told in prop::collection::vec(told(), 0..60),
        since in prop::option::of(0_i64..20),
        recent in 0_i64..20,
    ) {
        let mut both = Traffic::new(since.map(moment)).with_recent(moment(recent));
        let mut first = Traffic::new(since.map(moment));
        let mut second = Traffic::new(Some(moment(recent)));
        for it in &told {
            [&mut both, &mut first, &mut second].into_iter().for_each(|traffic| it.tell(traffic));
        }
        prop_assert_eq!((both.events, both.records, both.first), (first.events, first.records, first.first));
        prop_assert_eq!(both.not_judged, first.not_judged);
        let both: Vec<(Seen, [Option<Amount>; 2])> = both.in_windows().collect();
        for (number, alone) in [first, second].into_iter().enumerate() {
            let alone = window(alone.in_windows().map(|(seen, [amount, _])| (seen, amount)));
            let together = window(both.iter().map(|(seen, parts)| (seen.clone(), parts[number])));
            prop_assert_eq!(together, alone);
        }
    }
}
