//! An event for tests, and an envelope.

mod schemas;

use std::sync::Arc;

use guard_common::abi::{Hook, PlacedBy};
use guard_common::verdict::{Reason, Verdict};

use super::envelope::Envelope;
use super::event::{Endpoint, Event, People, Phase, Process, Rule};
use super::{Entry, record::Record};
use crate::config::policy::LogFormat;
use crate::text::Unseen;

/// A dropped connection of the pin `mail`.
pub(crate) fn dropped() -> Event {
    let time: jiff::Timestamp = "2026-11-23T12:00:01.5Z".parse().unwrap();
    Event {
        sequence: 7,
        session: "2026-11-23T11:00:00Z".parse().unwrap(),
        time,
        phase: Phase::New,
        hook: Hook::Egress,
        verdict: Verdict::Drop,
        reason: Reason::Forbidden,
        pins: vec!["mail".into()],
        tagged: vec!["mail".into(), "all".into()],
        rule: Some(Rule { pin: "mail".into(), file: "/etc/borderguard/policy.toml".into(), line: 12 }),
        jurisdiction: "US".parse().unwrap(),
        placed_by: PlacedBy::Site,
        source: Some(Endpoint { ip: "192.0.2.10".parse().unwrap(), port: Some(143) }),
        destination: Some(Endpoint { ip: "198.51.100.7".parse().unwrap(), port: Some(40_000) }),
        tunnel: None,
        tunnel_source: None,
        is_tunnelled: false,
        protocol: 6,
        tcp_flags: 0x12,
        ifindex: 2,
        interface: Some("eth0".into()),
        mark: 0,
        volumes: vec!["/srv/mail-ie".into()],
        cgroup_id: 0,
        cgroup: None,
        process: Some(Process {
            pid: 4711,
            command: "imap".into(),
            uid: 97,
            user: Some("dovecot".into()),
            cgroup_id: 9,
            cgroup: Some("system.slice/dovecot.service".into()),
        }),
        people: People::Shown,
        packets: 1,
        bytes: 60,
        flow_packets: 1,
        flow_bytes: 60,
        flow_start: time,
        exemption: None,
        generation: 3,
        policy: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
        community_id: Some("1:sY8xnBAsvMxb5gMY9zEP53B9M4E=".into()),
    }
}

/// Of the 41st line of a host's log.
pub(crate) fn envelope() -> Envelope {
    Envelope { host: "store".into(), session: dropped().session, sequence: Some(41) }
}

/// Of a line that is looked at on a terminal.
#[test]
fn no_line_has_what_a_terminal_takes_for_its_own_and_the_values_stay() {
    let command = "\u{9b}31m\u{202e}\u{7f}x";
    let mut event = dropped();
    event.process.as_mut().unwrap().command = command.into();
    let record = Record::Event(Arc::new(Entry::Flow(event)));
    for (format, at) in [
        (LogFormat::Text, None),
        (LogFormat::Json, Some("/process/command")),
        (LogFormat::Ocsf, Some("/actor/process/name")),
        (LogFormat::Ecs, Some("/process/name")),
    ] {
        let line = record.to_line(format, &envelope());
        assert_eq!(Unseen::find(line.trim_end_matches('\n')), None, "{line}");
        let Some(at) = at else { continue };
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read.pointer(at).and_then(|it| it.as_str()), Some(command), "{line}");
    }
}
