//! Lines held against schemas that others wrote: OCSF 1.8.0 as `ocsf-json-schema` (PyPI) makes JSON Schemas of it, and the
//! fields of ECS 9.4.0 as `@elastic/ecs` (npm) lists them. tests/make_log_schemas.py makes both files.

use std::collections::BTreeMap;

use guard_common::abi::{Hook, PlacedBy, Side};
use guard_common::verdict::{Reason, Verdict};
use jsonschema::Validator;
use serde_json::Value;

use super::super::Entry;
use super::super::difference::Difference;
use super::super::event::{Endpoint, Event, People, Phase, Process};
use super::super::lost::{Lost, What};
use super::super::pinned_copy::PinnedCopy;
use super::super::pinned_copy::tests::dumped;
use super::super::record::Record;
use super::super::record::tests::{records, rest, untagged as untagged_of_peer};
use super::super::untagged::{Service, Untagged};
use super::{dropped, envelope};
use crate::config::policy::LogFormat;

/// Records of every kind, verdict, reason, hook and phase, with and without what may be unknown.
fn all() -> Vec<Record> {
    let mut events = Vec::new();
    for &reason in Reason::ALL {
        for verdict in Verdict::ALL {
            for hook in Hook::ALL {
                events.push(Event { reason, verdict, hook, ..dropped() });
            }
        }
    }
    for phase in [Phase::New, Phase::Resumed, Phase::Continued, Phase::Settled] {
        events.push(Event { phase, ..dropped() });
    }
    for jurisdiction in ["IE", "unknown", "uncertain"] {
        let jurisdiction = jurisdiction.parse().unwrap();
        events.push(Event { jurisdiction, placed_by: PlacedBy::Nothing, ..dropped() });
    }
    let v6 = Endpoint { ip: "2001:db8::1".parse().unwrap(), port: None };
    let hostile = Process {
        command: "a\"\n\u{1b}[31m\u{202e}".into(),
        cgroup: Some("a b/\u{0}\n.service".into()),
        user: None,
        ..dropped().process.unwrap()
    };
    events.extend([
        Event { source: None, destination: None, community_id: None, ..dropped() },
        Event { source: None, interface: None, hook: Hook::Connect, ..dropped() },
        Event { source: Some(v6), destination: Some(v6), protocol: 58, ..dropped() },
        Event {
            tunnel: Some("203.0.113.9".parse().unwrap()),
            tunnel_source: Some("192.0.2.10".parse().unwrap()),
            protocol: 200,
            ..dropped()
        },
        Event { rule: None, policy: None, pins: vec![], tagged: vec![], ..dropped() },
        Event { process: Some(hostile), interface: Some("\u{7f}\u{1b}]0;x\u{7}".into()), ..dropped() },
        Event { process: None, volumes: vec![], packets: u64::MAX >> 1, ..dropped() },
        Event { exemption: Some("mlat-1".into()), verdict: Verdict::Pass, ..dropped() },
    ]);
    let copies = [
        dumped(),
        PinnedCopy { process: None, followed: vec![], ..dumped() },
        PinnedCopy { file: "/".to_owned(), ..dumped() },
    ];
    let entries = events.into_iter().map(Entry::Flow).chain(copies.map(Entry::Copy));
    entries
        .map(|entry| Record::Event(entry.into()))
        .chain(records())
        .chain([rest()])
        .chain(losses())
        .chain(untagged())
        .collect()
}

/// All that can be lost, and a difference of what was told twice.
fn losses() -> Vec<Record> {
    let [.., Record::Lost(lost), Record::Difference(difference), _, _] = records() else {
        panic!("other records")
    };
    let lost = What::ALL.map(|what| Record::Lost(Lost { what, ..lost }));
    let twice = Difference { packets: -3, bytes: i64::MIN, hook: Hook::Connect, ..difference };
    lost.into_iter().chain([Record::Difference(twice)]).collect()
}

/// Egress without a pin of each side, and the rest of a jurisdiction.
fn untagged() -> Vec<Record> {
    let [of_peer, served, bare] = [Side::Remote, Side::Local, Side::None].map(|side| {
        let mut it = untagged_of_peer();
        if let Some(service) = &mut it.service {
            let peer = if side == Side::Local { "2001:db8::7" } else { "198.51.100.7" };
            let port = service.port.filter(|_| side != Side::None);
            *service =
                Service { peer: peer.parse().unwrap(), side, port, interface: None, ..service.clone() };
        }
        it
    });
    let rest = Untagged {
        first: None,
        jurisdiction: "unknown".parse().unwrap(),
        service: None,
        policy: None,
        ..untagged_of_peer().without_people(People::Removed)
    };
    [of_peer, served, bare, rest].map(|it| Record::Untagged(Box::new(it))).into()
}

fn line(record: &Record, format: LogFormat) -> Value {
    serde_json::from_str(&record.to_line(format, &envelope())).unwrap()
}

#[test]
fn ocsf_lines_are_what_the_schema_has() {
    let schemas = [
        (4001, include_str!("../schemas/ocsf-1.8.0-network_activity.json")),
        (1001, include_str!("../schemas/ocsf-1.8.0-file_activity.json")),
        (6002, include_str!("../schemas/ocsf-1.8.0-application_lifecycle.json")),
        (1008, include_str!("../schemas/ocsf-1.8.0-event_log_actvity.json")),
    ];
    let schemas: BTreeMap<u64, Validator> = schemas
        .into_iter()
        .map(|(class, text)| {
            (class, jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap())
        })
        .collect();
    let mut seen = BTreeMap::new();
    for record in all() {
        let line = line(&record, LogFormat::Ocsf);
        let class = line["class_uid"].as_u64().unwrap();
        let errors: Vec<String> =
            schemas[&class].iter_errors(&line).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}\n{line:#}");
        assert_eq!(line["type_uid"].as_u64(), line["activity_id"].as_u64().map(|it| class * 100 + it));
        *seen.entry(class).or_insert(0) += 1;
        // The schema does refuse: what it requires, and what it does not know.
        for break_it in
            [|line: &mut Value| line["time"] = "now".into(), |line: &mut Value| line["kind"] = 1.into()]
        {
            let mut broken = line.clone();
            break_it(&mut broken);
            assert!(!schemas[&class].is_valid(&broken), "{broken}");
        }
    }
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), [1001, 1008, 4001, 6002]);
}

/// What is wrong with the value below this name, as the list of fields has it.
fn ecs_faults(fields: &Value, name: &str, value: &Value, faults: &mut Vec<String>) {
    if name == "BorderGuard" {
        return;
    }
    if let (Value::Object(keys), true) = (value, fields[name]["type"] != "flattened") {
        for (key, value) in keys {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            ecs_faults(fields, &name, value, faults);
        }
        return;
    }
    let Some(field) = fields.get(name) else { return faults.push(format!("{name} is no field")) };
    let values = match (value, field["is_array"] == true) {
        (Value::Array(values), true) => values.clone(),
        (Value::Array(_), false) | (_, true) => return faults.push(format!("{name}: {value}")),
        (value, false) => vec![value.clone()],
    };
    let allowed = field["allowed"].as_array();
    for value in values {
        let fits = match field["type"].as_str().unwrap() {
            "keyword" | "wildcard" | "match_only_text" | "constant_keyword" => value.is_string(),
            "long" => value.is_i64() || value.is_u64(),
            "date" => value.as_str().is_some_and(|it| it.parse::<jiff::Timestamp>().is_ok()),
            "ip" => value.as_str().is_some_and(|it| it.parse::<std::net::IpAddr>().is_ok()),
            other => panic!("{name} is of type {other}, which no line has yet"),
        };
        if !fits || allowed.is_some_and(|allowed| !allowed.contains(&value)) {
            faults.push(format!("{name}: {value}"));
        }
    }
}

#[test]
fn ecs_lines_are_what_the_schema_has() {
    let fields: Value = serde_json::from_str(include_str!("../schemas/ecs-9.4.0.json")).unwrap();
    let faults = |line: &Value| {
        let mut faults = Vec::new();
        ecs_faults(&fields, "", line, &mut faults);
        faults
    };
    for record in all() {
        let line = line(&record, LogFormat::Ecs);
        assert_eq!(faults(&line), Vec::<String>::new(), "{line:#}");
        for required in ["/@timestamp", "/ecs/version", "/event/kind", "/event/dataset"] {
            assert!(line.pointer(required).is_some(), "{required}: {line}");
        }
    }
    let wrong = serde_json::json!({
        "event": { "kind": "unheard-of", "category": "network", "sequence": "1" }, "source": { "ip": "a" }, "pin": 1,
    });
    assert_eq!(faults(&wrong).len(), 5);
}

/// The value at a path of names with dots between them.
fn at<'a>(line: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(line, |value, name| &value[name])
}

/// A number or a word as text; a moment as the same text in every format; a name as OCSF writes it in small letters.
fn plain(value: &Value, is_time: bool) -> String {
    match (value, is_time) {
        (Value::Number(ms), true) => {
            jiff::Timestamp::from_millisecond(ms.as_i64().unwrap()).unwrap().to_string().to_lowercase()
        }
        (Value::String(text), _) => text.to_lowercase(),
        (value, _) => value.to_string(),
    }
}

#[test]
fn the_docs_map_every_key_and_the_formats_say_the_same_by_it() {
    let docs = include_str!("../../../../docs/logs.md");
    let table = docs.split("<!-- mapping: begin -->").nth(1).unwrap();
    let table = table.split("<!-- mapping: end -->").next().unwrap();
    let event = Event {
        verdict: Verdict::Pass,
        reason: Reason::Exempt,
        exemption: Some("mlat-1".into()),
        tunnel_source: Some("192.0.2.10".parse().unwrap()),
        tunnel: Some("203.0.113.9".parse().unwrap()),
        cgroup: Some("mail.slice".into()),
        flow_packets: 7,
        flow_bytes: 420,
        mark: 5,
        ..dropped()
    };
    let record = Record::Event(std::sync::Arc::new(event.into()));
    let [flat, ocsf, ecs] =
        [LogFormat::Json, LogFormat::Ocsf, LogFormat::Ecs].map(|format| line(&record, format));
    let mut mapped = std::collections::BTreeSet::new();
    for row in table.lines().filter(|row| row.starts_with("| `")) {
        let cells: Vec<Vec<&str>> = row
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.split(',').map(|name| name.trim().trim_matches('`')).collect())
            .collect();
        let [keys, of_ocsf, of_ecs] = &cells[..] else { panic!("{row}") };
        let key = keys[0];
        let is_time = matches!(key, "time" | "flow_start");
        let expected = plain(at(&flat, key), is_time);
        assert_ne!(expected, "null", "{key}");
        for (line, names) in [(&ocsf, of_ocsf), (&ecs, of_ecs)] {
            for name in names {
                let said = plain(at(line, name), is_time);
                // ECS says which way it went beside what was done.
                let said = said.strip_prefix("egress-").filter(|_| key == "action").unwrap_or(&said);
                assert_eq!(said, expected, "{key} and {name}");
            }
        }
        mapped.insert(key.split('.').next().unwrap().to_owned());
    }
    let all: std::collections::BTreeSet<String> = flat.as_object().unwrap().keys().cloned().collect();
    assert_eq!(mapped, all);
}
