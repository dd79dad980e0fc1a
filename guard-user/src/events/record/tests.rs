//! The lines of every kind in every format.

use guard_common::abi::{Hook, PlacedBy, Side};
use guard_common::verdict::{Reason, Verdict};
use serde_json::Value;

use super::super::event::{Endpoint, Event, People, Process};
use super::super::lost::What;
use super::super::peers::Peers;
use super::super::pinned_copy::tests::dumped;
use super::super::run::LastLine;
use super::super::summary::Group;
use super::super::tests::{dropped, envelope};
use super::super::untagged::Service;
use super::*;
use crate::canary::Written;

fn summary() -> Summary {
    let mut peers = Peers::default();
    for (peer, packets) in [("198.51.100.7", 800), ("198.51.100.8", 24)] {
        peers.add(Some(peer.parse().unwrap()), packets, packets * 60);
    }
    Summary {
        first_id: 8,
        last_id: 90,
        pin: Some("mail".into()),
        hook: Hook::Egress,
        verdict: Verdict::Drop,
        reason: Reason::Forbidden,
        is_resumed: false,
        group: Some(Group {
            source: Some("192.0.2.10".parse().unwrap()),
            jurisdiction: "US".parse().unwrap(),
        }),
        generation: 3,
        events: 412,
        flows: 410,
        packets: 824,
        bytes: 49_440,
        first: "2026-11-23T12:00:01.5Z".parse().unwrap(),
        last: "2026-11-23T12:00:02.25Z".parse().unwrap(),
        peers,
    }
}

/// A push that no pin knows.
pub(in super::super) fn untagged() -> Untagged {
    let Event { process, policy, .. } = dropped();
    Untagged {
        first: Some("2026-11-23T11:55:01Z".parse().unwrap()),
        last: "2026-11-23T12:00:01Z".parse().unwrap(),
        jurisdiction: "US".parse().unwrap(),
        service: Some(Service {
            peer: "198.51.100.7".parse().unwrap(),
            placed_by: PlacedBy::Site,
            protocol: 6,
            side: Side::Remote,
            port: Some(873),
            interface: Some("eth0".into()),
            ifindex: 2,
        }),
        cgroup_id: 9,
        cgroup: Some("system.slice/backup.service".into()),
        process: process.map(|it| Process {
            command: "rsync".into(),
            cgroup: Some("system.slice/backup.service".into()),
            user: Some("backup".into()),
            uid: 34,
            ..it
        }),
        people: People::Shown,
        packets: 1204,
        bytes: 1_747_000,
        policy,
    }
}

/// A canary at `eth0`.
fn canary() -> Canary {
    let end = |ip: &str, port| Some(Endpoint { ip: ip.parse().unwrap(), port: Some(port) });
    let event = Event {
        reason: Reason::PlaceUnknown,
        jurisdiction: "unknown".parse().unwrap(),
        placed_by: PlacedBy::Nothing,
        source: end("192.0.2.10", 143),
        destination: end("198.51.100.254", 9),
        ..dropped()
    };
    Canary { number: 0x4be2_0d1c_97a3_5f08, pin: Some("mail".into()), event, written: Written::default() }
}

/// One of each kind.
pub(in super::super) fn records() -> [Record; 9] {
    let [flow, copy] = [Entry::Flow(dropped()), Entry::Copy(dumped())].map(|it| Record::Event(it.into()));
    let start = Start {
        time: "2026-11-23T11:00:01Z".parse().unwrap(),
        generation: Some(3),
        policy: dropped().policy,
        predecessor: Some(LastLine { session: "2026-11-20T08:00:00Z".parse().unwrap(), sequence: 4112 }),
    };
    let time = "2026-11-23T12:00:03Z".parse().unwrap();
    let lost = Record::Lost(Lost { time, what: What::Lines, count: 17 });
    let difference = Record::Difference(Difference {
        time,
        hook: Hook::Egress,
        verdict: Verdict::Drop,
        reason: Reason::Forbidden,
        packets: 31,
        bytes: 1860,
    });
    let summary = Record::Summary(summary().into());
    let canary = Record::Canary(Box::new(canary()));
    let untagged = Record::Untagged(Box::new(untagged()));
    [flow, copy, canary, summary, untagged, lost, difference, Record::Start(start), Record::End(End { time })]
}

/// What is summed up beyond the groups that are told apart.
pub(in super::super) fn rest() -> Record {
    Record::Summary(Box::new(Summary { group: None, pin: None, ..summary() }))
}

const FORMATS: [LogFormat; 4] = [LogFormat::Ocsf, LogFormat::Ecs, LogFormat::Json, LogFormat::Text];

#[test]
fn the_docs_show_each_kind_of_line_in_each_format_as_it_is() {
    let docs = include_str!("../../../../docs/logs.md");
    let lines =
        records().into_iter().flat_map(|record| FORMATS.map(|format| record.to_line(format, &envelope())));
    let missing: Vec<String> = lines
        .map(|line| line.trim_end().replace(VERSION, "VERSION"))
        .filter(|line| !docs.lines().any(|shown| shown == line))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_line_says_what_kind_it_is_and_has_its_number_and_host() {
    for record in records() {
        for format in FORMATS {
            let text = record.to_line(format, &envelope());
            assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text}");
            let kind = record.kind();
            let Ok(line) = serde_json::from_str::<Value>(&text) else {
                let is_whole = text.contains(&format!("[kind={kind} ")) || text.contains("[kind=end ");
                assert!(is_whole && text.ends_with(" host=store seq=41 schema=1]\n"), "{text}");
                continue;
            };
            let [at_kind, at_number, at_host, at_schema] = match format {
                LogFormat::Ocsf => {
                    ["/unmapped/kind", "/metadata/sequence", "/device/hostname", "/unmapped/schema"]
                }
                LogFormat::Ecs => {
                    ["/BorderGuard/kind", "/event/sequence", "/host/hostname", "/BorderGuard/schema"]
                }
                LogFormat::Json | LogFormat::Text => ["/kind", "/sequence", "/host", "/schema"],
            };
            let at = |pointer| line.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {line}"));
            assert_eq!((at(at_kind), at(at_number)), (&kind.into(), &41.into()));
            assert_eq!((at(at_host), at(at_schema)), (&"store".into(), &1.into()));
        }
    }
}

#[test]
fn a_summary_has_the_same_sums_in_each_format() {
    let record = &records()[3];
    let line = |format| serde_json::from_str::<Value>(&record.to_line(format, &envelope())).unwrap();
    let [ocsf, ecs, json] = [LogFormat::Ocsf, LogFormat::Ecs, LogFormat::Json].map(line);
    let of = |value: &Value, packets: &str, bytes: &str, events: &str| {
        [packets, bytes, events].map(|at| value.pointer(at).unwrap().as_u64().unwrap())
    };
    assert_eq!(of(&json, "/packets", "/bytes", "/events"), [824, 49_440, 412]);
    assert_eq!(of(&ocsf, "/traffic/packets", "/traffic/bytes", "/count"), [824, 49_440, 412]);
    assert_eq!(of(&ecs, "/network/packets", "/network/bytes", "/BorderGuard/events"), [824, 49_440, 412]);
    for (line, at) in
        [(&json, "/peers/0/ip"), (&ocsf, "/unmapped/peers/0/ip"), (&ecs, "/BorderGuard/peers/0/ip")]
    {
        assert_eq!(line.pointer(at).unwrap(), "198.51.100.7");
    }
}
