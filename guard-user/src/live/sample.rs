//! A daemon to show, for the tests of what shows it: two looks at its status, two seconds apart, and its events.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::event::{Endpoint, Event, Process};
use super::feed::News;
use super::sums::tests::event;
use crate::control::status::{
    CounterStatus, DatabaseStatus, HookStatus, InterfaceStatus, PinStatus, PlaceStatus, Status, TotalStatus,
    UntaggedStatus, VerdictStatus,
};
use crate::exemption::summary::{ExporterSummary, InstrumentSummary, OrderSummary, RecipientSummary};
use crate::exemption::{State, Summary};
use crate::health::{Health, Problem, ProblemCode};

/// When it is.
pub(crate) fn now() -> Timestamp {
    at("2026-11-23T12:00:04Z")
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An exemption of 2 GiB, of which a quarter is used.
pub(crate) fn exemption() -> Summary {
    Summary {
        id: "mlat-2026-0142".into(),
        version: 1,
        state: State::Active,
        replaces: None,
        confidential: false,
        instrument: InstrumentSummary {
            kind: "treaty-request".into(),
            name: "US-Ireland MLAT 2001".into(),
            reference: "2026/0142".into(),
            ..Default::default()
        },
        hosts: Vec::new(),
        emergency: None,
        purpose: "evidence".into(),
        data_categories: vec!["e-mail".into()],
        exporter: ExporterSummary::default(),
        assessment: None,
        submitter: None,
        required: Vec::new(),
        pins: vec!["mail".into()],
        recipients: vec![RecipientSummary {
            name: "Requesting authority".into(),
            jurisdiction: "US".into(),
            ..Default::default()
        }],
        valid_from: at("2026-11-20T00:00:00Z"),
        valid_until: at("2026-11-26T00:00:00Z"),
        quota_bytes: Some(2 << 30),
        used_bytes: 512 << 20,
        used_packets: 400_000,
        unattributed_bytes: 0,
        unattributed_packets: 0,
        presumed_bytes: 0,
        slot: Some(0),
        loaded_at: Some(at("2026-11-20T00:00:00Z")),
        loaded_by: Some(0),
        revoked: None,
        stayed: None,
        orders: Vec::new(),
        particulars: Vec::new(),
        due: Vec::new(),
        done: Vec::new(),
        sha256: "07".repeat(32),
        approved_by: vec!["aoife@example.org".into()],
        approved_as: vec!["legal".into()],
    }
}

/// The same under an order that stays it.
pub(crate) fn stayed() -> Summary {
    let order = OrderSummary {
        order: "High Court, 2026/5512".into(),
        kind: "stay".into(),
        covers: "exemption".into(),
        name: "eio-2026-7".into(),
        at: at("2026-11-23T09:30:00Z"),
        by: 0,
    };
    Summary {
        id: "eio-2026-7".into(),
        state: State::Stayed,
        pins: vec!["records".into()],
        quota_bytes: None,
        used_bytes: 0,
        used_packets: 0,
        valid_until: at("2026-12-31T00:00:00Z"),
        orders: vec![order],
        ..exemption()
    }
}

/// The status after so many looks.
pub(crate) fn status(looks: u64) -> Status {
    let hook = |hook: &str, mode: &str| HookStatus { hook: hook.into(), mode: mode.into() };
    let rows: [(&str, &str, &str, &str, u64, u64); 6] = [
        ("mail", "BE", "pass", "permitted", 1_204_000 + 2400 * looks, 1100),
        ("mail", "US", "drop", "forbidden", 41_000 + 24 * looks, 60),
        ("mail", "US", "pass", "exempt", 400_000, 1342),
        ("mail", "unknown", "drop", "place-unknown", 310, 60),
        ("records", "DE", "pass", "permitted", 88_000 + 100 * looks, 900),
        ("records", "CN", "flag", "forbidden", 12 + 2 * looks, 1500),
    ];
    let counters: Vec<CounterStatus> = rows
        .iter()
        .map(|(pin, place, verdict, reason, packets, size)| CounterStatus {
            pin: Some((*pin).into()),
            jurisdiction: Some((*place).into()),
            hook: "egress".into(),
            verdict: (*verdict).into(),
            reason: (*reason).into(),
            packets: *packets,
            bytes: packets * size,
        })
        .collect();
    let of_pin = |name: &str, home: &str, action: &str, line| {
        let verdicts = ["pass", "flag", "drop"].map(|verdict| {
            let its = counters.iter().filter(|it| it.pin.as_deref() == Some(name) && it.verdict == verdict);
            let (packets, bytes) = its.fold((0, 0), |(p, b), it| (p + it.packets, b + it.bytes));
            VerdictStatus { verdict: verdict.into(), packets, bytes }
        });
        PinStatus {
            name: name.into(),
            home: home.into(),
            action: action.into(),
            ingress: "off".into(),
            line,
            verdicts: verdicts.into(),
            top: Vec::new(),
        }
    };
    let pins = vec![of_pin("mail", "IE", "drop", 12), of_pin("records", "DE", "flag", 21)];
    let totals = counters.iter().map(|it| TotalStatus {
        hook: it.hook.clone(),
        verdict: it.verdict.clone(),
        reason: it.reason.clone(),
        packets: it.packets,
        bytes: it.bytes,
    });
    Status {
        health: Health::Degraded,
        version: "0.1.0".into(),
        pid: 811,
        kernel: "6.12.48".into(),
        config: "/etc/borderguard/policy.toml".into(),
        fingerprint: "9f86d081884c7d65".into(),
        generation: 3,
        since: "2026-11-23T08:00:00Z".into(),
        approval_required: true,
        problems: vec![Problem::of(
            ProblemCode::InterfaceMissing,
            "wg0",
            "there is no such interface; it is guarded as soon as it appears",
        )],
        interfaces: vec![
            InterfaceStatus {
                name: "eth0".into(),
                index: Some(2),
                hooks: vec![hook("egress", "tcx"), hook("ingress", "xdp-native")],
                problem: None,
            },
            InterfaceStatus {
                name: "wg0".into(),
                problem: Some("no such device".into()),
                ..Default::default()
            },
        ],
        untagged: UntaggedStatus {
            jurisdictions: vec![PlaceStatus {
                jurisdiction: "FR".into(),
                packets: 9000 + 50 * looks,
                bytes: 7_200_000 + 40_000 * looks,
            }],
            flows: Vec::new(),
        },
        totals: totals.collect(),
        pins,
        counters,
        database: DatabaseStatus { source: "the embedded one".into(), ..Default::default() },
        exemptions: vec![stayed(), exemption()],
        events: 3,
        ..Default::default()
    }
}

/// What the daemon's log had.
pub(crate) fn events() -> Vec<Event> {
    let first = event(1, 24);
    let process = |command: &str, unit: &str| {
        first.process.clone().map(|it| Process { command: command.into(), unit: Some(unit.into()), ..it })
    };
    let to = |ip: &str| Some(Endpoint { ip: ip.into(), port: Some(40_000) });
    vec![
        first.clone(),
        Event {
            destination: to("203.0.113.9"),
            jurisdiction: "CN".into(),
            verdict: "flag".into(),
            pins: vec!["records".into()],
            process: process("rsync", "replica.service"),
            ..event(2, 12)
        },
        Event {
            destination: to("2001:db8:3::30"),
            jurisdiction: "unknown".into(),
            reason: "place-unknown".into(),
            process: None,
            ..event(3, 310)
        },
    ]
}

/// All that comes in two looks.
pub(crate) fn news() -> Vec<News> {
    let begin = Instant::now();
    let mut news = vec![News::Status(Box::new(status(0)), begin)];
    news.extend(events().into_iter().map(|event| News::Event(Box::new(event))));
    news.push(News::Status(Box::new(status(1)), begin + Duration::from_secs(2)));
    news
}
