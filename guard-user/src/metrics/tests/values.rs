//! Each figure of a status is one sample, and none is made up.

use std::collections::BTreeSet;

use crate::control::status::{
    AuditStatus, CounterStatus, HookStatus, InterfaceStatus, PinStatus, Status, TotalStatus,
};
use crate::health::{Health, Problem, ProblemCode};
use crate::metrics::family::Metric;
use crate::metrics::values::{Daemon, Value, Values, of};

fn daemon() -> Daemon {
    let at = |text: &str| text.parse().unwrap();
    Daemon { start: at("2026-11-28T00:00:00Z"), read: at("2026-11-28T01:00:00Z"), slow_turns: 3 }
}

fn of_metric(values: &Values, metric: Metric) -> Vec<(Vec<&str>, Value)> {
    let samples = values.iter().filter(|(it, _)| *it == metric).flat_map(|(_, samples)| samples);
    samples.map(|it| (it.labels.iter().map(String::as_str).collect(), it.value)).collect()
}

fn count(values: &Values, metric: Metric, labels: &[&str]) -> Option<u64> {
    let found = of_metric(values, metric).into_iter().find(|(it, _)| it == labels);
    found.and_then(|(_, value)| if let Value::Count(count) = value { Some(count) } else { None })
}

#[test]
fn what_is_not_known_has_no_sample_and_what_is_not_so_is_0() {
    let values = of(&Status::default(), daemon());
    for absent in [
        Metric::GenerationTime,
        Metric::DatabaseTime,
        Metric::AuditVerified,
        Metric::AuditWhole,
        Metric::AuditRecords,
        Metric::PinPackets,
        Metric::ExemptionBytes,
    ] {
        assert_eq!(of_metric(&values, absent), [], "{absent:?}");
    }
    let problems = of_metric(&values, Metric::Problem);
    assert_eq!(problems.len(), ProblemCode::ALL.len());
    assert!(problems.iter().all(|(_, value)| *value == Value::Count(0)));
    assert_eq!(count(&values, Metric::Health, &["off"]), Some(1));
    assert_eq!(count(&values, Metric::Health, &["guarding"]), Some(0));
    assert_eq!(count(&values, Metric::SlowTurns, &[]), Some(3));
}

#[test]
fn each_figure_is_where_it_belongs() {
    let hooks = |names: &[&str]| {
        names.iter().map(|name| HookStatus { hook: (*name).to_owned(), mode: "tcx".into() }).collect()
    };
    let interface = |name: &str, hooks, problem: Option<&str>| InterfaceStatus {
        name: name.into(),
        index: Some(1),
        hooks,
        problem: problem.map(str::to_owned),
    };
    let status = Status {
        health: Health::Degraded,
        problems: vec![
            Problem::of(ProblemCode::InterfaceNotGuarded, "b", "x"),
            Problem::of(ProblemCode::InterfaceNotGuarded, "c", "x"),
        ],
        interfaces: vec![
            interface("a", hooks(&["egress", "ingress"]), None),
            interface("b", hooks(&["egress"]), Some("x")),
            interface("c", Vec::new(), Some("x")),
        ],
        pins: vec![PinStatus { ingress: "drop".into(), ..Default::default() }],
        totals: vec![TotalStatus {
            hook: "egress".into(),
            verdict: "drop".into(),
            reason: "forbidden".into(),
            packets: 7,
            bytes: 700,
        }],
        counters: vec![
            CounterStatus {
                pin: Some("mail".into()),
                jurisdiction: Some("US".into()),
                hook: "egress".into(),
                verdict: "drop".into(),
                reason: "forbidden".into(),
                packets: 5,
                bytes: 500,
            },
            CounterStatus { pin: None, packets: 99, ..Default::default() },
        ],
        audit: AuditStatus {
            verified: Some("2026-11-28T00:30:00Z".into()),
            whole: Some(true),
            records: Some(12),
        },
        ..Default::default()
    };
    let values = of(&status, daemon());
    assert_eq!(count(&values, Metric::Problem, &["interface-not-guarded", "critical"]), Some(1));
    assert_eq!(count(&values, Metric::HooksWanted, &["egress"]), Some(3));
    assert_eq!(count(&values, Metric::HooksAttached, &["egress"]), Some(2));
    assert_eq!(count(&values, Metric::HooksWanted, &["ingress"]), Some(3));
    assert_eq!(count(&values, Metric::HooksAttached, &["ingress"]), Some(1));
    assert_eq!(count(&values, Metric::InterfacesFaulty, &[]), Some(2));
    assert_eq!(count(&values, Metric::Packets, &["egress", "drop", "forbidden"]), Some(7));
    assert_eq!(count(&values, Metric::Bytes, &["egress", "drop", "forbidden"]), Some(700));
    let of_pin = of_metric(&values, Metric::PinPackets);
    assert_eq!(of_pin, [(vec!["mail", "US", "egress", "drop", "forbidden"], Value::Count(5))]);
    assert_eq!(count(&values, Metric::AuditRecords, &[]), Some(12));
    // No label set is there twice: a scraper refuses the whole page then.
    for (metric, samples) in values.iter() {
        let distinct: BTreeSet<&Vec<String>> = samples.iter().map(|it| &it.labels).collect();
        assert_eq!(distinct.len(), samples.len(), "{metric:?}");
    }
}
