//! What is told of a flow holds, whatever is not known of it.

mod in_brief;
mod unexplained;
mod unguarded;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use guard_common::abi::{Direction, Hook, Side, service_port};
use guard_common::packet::Addr;
use guard_common::verdict::Verdict;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::compare::Pair;
use super::*;
use crate::compile::InterfaceFact;
use crate::compile::tests::generate::{Case, case, host};
use crate::compile::tests::reference::{Content, Loaded, PlainPacket};
use crate::config::{self, Policy};
use crate::explain::flow::End;
use crate::explain::{Explainer, Flow, NamedExemption, Surroundings};
use crate::geo::{GeoDb, Info, Runs};

fn explainer(case: &Case, interfaces: &[InterfaceFact]) -> Explainer {
    let exemptions = case
        .exemptions
        .iter()
        .map(|kernel| NamedExemption { id: format!("E-{}", kernel.slot), kernel: kernel.clone() })
        .collect();
    let explainer = Explainer::new(case.policy.clone(), case.db.clone(), exemptions, None).unwrap();
    let explainer = explainer.with_interfaces(interfaces.to_vec()).unwrap();
    explainer.with_addresses(case.addresses.iter().copied().map(Addr::from).collect())
}

/// Where a packet comes from, with all that is true of it.
fn surroundings(plain: &PlainPacket) -> Surroundings {
    let facts = host();
    let name_of =
        |index| facts.interfaces.iter().find(|fact| fact.index == index).map(|fact| fact.names[0].clone());
    let from = Surroundings {
        interface: name_of(plain.interface),
        is_forwarded: plain.came_in_by != 0,
        came_in_by: name_of(plain.came_in_by),
        mark: plain.mark,
        ..Surroundings::default()
    };
    if from.is_forwarded {
        return from;
    }
    let cgroup = facts.cgroups.iter().find(|fact| fact.id.is_some_and(|id| plain.cgroups.contains(&id)));
    let carried = facts.volumes.iter().filter(|fact| plain.volumes.contains(&fact.slot));
    Surroundings {
        cgroup: cgroup.map(|fact| format!("{}/below", fact.path)),
        user: plain.users.first().map(|uid| (uid.to_string(), *uid)),
        volumes: carried.map(|fact| fact.volume.path.clone()).collect(),
        direction: plain.direction,
        ..from
    }
}

/// What a record has of it.
fn recorded(full: &Surroundings, now: &Policy, (hides, forgets): (bool, bool)) -> Surroundings {
    let noted = |path: &&std::path::PathBuf| now.pins.iter().any(|pin| pin.select.volumes.contains(path));
    Surroundings {
        interface: full.interface.clone().filter(|_| !forgets),
        mark: full.mark,
        cgroup: full.cgroup.clone().filter(|_| !hides),
        user: full.user.clone().filter(|_| !hides),
        volumes: full.volumes.iter().filter(noted).cloned().collect(),
        ..Surroundings::default()
    }
}

/// What the history has of a flow that no pin tags: without this host's address, the higher port, mark and volumes.
fn untagged(seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    let flow = &mut seen.flow;
    let is_v6 = flow.source.address.is_ipv6();
    flow.source.address = if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let side = match (flow.source.port, flow.destination.port) {
        (Some(own), Some(peer)) => service_port(own, peer).1,
        _ => Side::None,
    };
    match side {
        Side::Local => flow.destination.port = Some(u16::MAX),
        Side::Remote => flow.source.port = Some(u16::MAX),
        Side::None => {}
    }
    (flow.from.mark, flow.from.volumes) = (0, Vec::new());
    Seen { unknown_end: Some(side), ..seen }
}

#[test]
fn whatever_is_not_known_no_flow_is_told_wrong() {
    let facts = host().interfaces;
    let names: Vec<String> = facts.iter().map(|fact| fact.names[0].clone()).collect();
    let (decided, changed, open) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let found_untagged = Cell::new(0);
    let hidden = (any::<bool>(), prop::bool::weighted(0.1));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) };
    // What no pin tags is rarely found out: as many rounds as that takes, of which one nearly always does.
    for _ in 0..12 {
        proptest!(config.clone(), |((case, other) in (case(12), case(0)), hidden in hidden)| {
            prop_assume!(case.loaded == Loaded::All && other.loaded == Loaded::All);
            let other = Case { addresses: case.addresses.clone(), ..other };
            let (now, then) = (explainer(&case, &facts), explainer(&other, &facts));
            let needs = Needs::of(&case.policy, &other.policy, &names);
            for plain in &case.packets {
                let Content::Ip { layers, .. } = &plain.content else { continue };
                let layer = &layers[0];
                let end = |address, port| End { address, port };
                let ports = layer.ports;
                let full = surroundings(plain);
                let flow = Flow {
                    time: jiff::Timestamp::UNIX_EPOCH,
                    hook: plain.hook,
                    source: end(layer.src, ports.map(|it| it.0)),
                    destination: end(layer.dst, ports.map(|it| it.1)),
                    protocol: layer.proto,
                    from: recorded(&full, &case.policy, hidden),
                    tunnel: None,
                    no_people: hidden.0.then(|| "hidden".to_owned()),
                };
                let Ok(packet) = flow.packet() else { continue };
                let origin = |side: &Explainer| match plain.hook {
                    Hook::Egress => side.origin(&full, plain.wire_len),
                    _ => side.origin(&Surroundings { interface: full.interface.clone(), ..Surroundings::default() }, plain.wire_len),
                };
                let judge = |side: &Explainer| side.judge(plain.hook, &packet, &origin(side), plain.now);
                let truth = Pair { now: judge(&now), then: judge(&then) };
                let seen = Seen {
                    flow,
                    tagged: truth.now.pins.clone(),
                    policy: Some("in force".to_owned()),
                    judged: Some((3, truth.now.reason)),
                    is_tunnelled: false,
                    sender: String::new(),
                    amount: Amount { flows: 1, packets: 1, bytes: plain.wire_len },
                    unknown_end: None,
                };
                let sides = |then| Sides {
                    now: &now,
                    then,
                    policy: Some("in force"),
                    generation: Some(3),
                    same_places: std::ptr::eq(then, &now),
                    boot_ns: plain.now,
                };
                let unchanged = sides(&now).compare(&seen, &Needs::of(&case.policy, &case.policy, &names));
                prop_assert!(matches!(unchanged, Found::Same(_)), "{unchanged:?}");
                let kind = Kind::of(truth.now.verdict, truth.then.verdict);
                match sides(&then).compare(&seen, &needs) {
                    Found::Changed(told, _) => {
                        prop_assert_eq!(Some(told), kind, "{:?} of {:?}", truth, full);
                        decided.set(decided.get() + 1);
                        changed.set(changed.get() + 1);
                    }
                    Found::Same(_) => {
                        prop_assert_eq!(None, kind, "{:?} of {:?}", truth, full);
                        decided.set(decided.get() + 1);
                    }
                    Found::NotKnown(lacks) => {
                        prop_assert!(!lacks.is_empty() && !lacks.contains(&Lack::Kernel), "{lacks:?}: {full:?}");
                        open.set(open.get() + 1);
                    }
                    Found::NotJudged => prop_assert!(false, "a packet can be made"),
                }
                if plain.hook != Hook::Egress || !truth.now.pins.is_empty() {
                    continue;
                }
                // The same as the history has it of what no pin tags.
                let seen = untagged(&seen);
                let own = case.addresses.iter().copied().chain([layer.src]);
                let of = |then: &Policy| Needs::of(&case.policy, then, &names).with_addresses(&case.policy, then, own.clone());
                let needs = of(&case.policy);
                let unchanged = sides(&now).compare(&seen, &needs);
                // Of too many possibilities none is looked at.
                let is_known = !possible::possibilities(&seen, &needs).0.is_empty();
                prop_assert!(matches!(unchanged, Found::Same(_)) || !is_known, "{unchanged:?}");
                match sides(&then).compare(&seen, &of(&other.policy)) {
                    Found::Changed(told, _) => {
                        prop_assert_eq!(Some(told), kind, "{:?} of {:?}", truth, full);
                        found_untagged.set(found_untagged.get() + 1);
                    }
                    Found::Same(_) => prop_assert_eq!(None, kind, "{:?} of {:?}", truth, full),
                    Found::NotKnown(lacks) => prop_assert!(!lacks.is_empty() && !lacks.contains(&Lack::Kernel)),
                    Found::NotJudged => prop_assert!(false, "a packet can be made"),
                }
            }
        });
        if found_untagged.get() > 0 {
            break;
        }
    }
    assert!(found_untagged.get() > 0, "none of what no pin tags was found to be dropped or flagged");
    let (decided, changed, open) = (decided.get(), changed.get(), open.get());
    assert!(decided > open && changed > 5 && open > 0, "{decided} decided, {changed} changed, {open} open");
}

fn policy(pins: &str) -> Policy {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"boston\"\njurisdiction = \"US\"\n\
         cidrs = [\"198.51.100.0/24\"]\n{pins}"
    );
    config::parse(Path::new("p.toml"), text.as_bytes(), &config::Surroundings::new(None)).unwrap().policy
}

/// A policy as what packets are judged by, where no database places any address.
fn side(policy: &Policy) -> Explainer {
    let info = Info { source: "a test's".to_owned(), ..Info::default() };
    let database = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info };
    Explainer::new(policy.clone(), database, Vec::new(), Some("eth0")).unwrap()
}

/// Both, with the config in force, where it is known by this digest.
fn sides<'a>(now: &'a Explainer, then: &'a Explainer, policy: Option<&'a str>) -> Sides<'a> {
    Sides { now, then, policy, generation: None, same_places: false, boot_ns: 5 }
}

fn line(kind: &str, hook: &str, amounts: [u64; 2], rest: &Value) -> Value {
    let mut line = json!({
        "kind": kind, "hook": hook, "time": "2026-11-23T12:00:00Z", "flow_start": "2026-11-23T11:00:00Z",
        "source": { "ip": "192.0.2.10", "port": 143 }, "destination": { "ip": "198.51.100.7", "port": 40000 },
        "protocol_number": 6, "verdict": "drop", "reason": "forbidden", "pins": ["mail"], "tagged": ["mail"],
        "jurisdiction": "US", "policy": "x", "people": "shown", "interface": "eth0",
        "packets": amounts[0], "bytes": amounts[1], "flow_packets": amounts[0], "flow_bytes": amounts[1],
    });
    for (key, value) in rest.as_object().unwrap() {
        line[key] = value.clone();
    }
    line
}

#[test]
fn a_flow_of_the_history_and_of_the_table_counts_once() {
    let mut traffic = Traffic::new(None);
    let process = json!({ "process": { "command": "imap", "pid": 7, "uid": 97, "unit": "dovecot.service" } });
    traffic.recorded(&line("event", "egress", [1, 60], &process));
    traffic.recorded(&line("event", "egress", [4, 240], &json!({ "time": "2026-11-23T12:01:00Z" })));
    traffic.live(&line("flow", "egress", [7, 420], &json!({})));
    // The same ends under another verdict, as before a reload.
    let permitted =
        json!({ "verdict": "pass", "reason": "permitted", "pins": [], "cgroup": "a.slice/b.service/c" });
    traffic.live(&line("flow", "egress", [2, 100], &permitted));
    traffic.recorded(&line("event", "connect", [3, 0], &json!({ "source": null })));
    traffic.recorded(&line("summary", "egress", [50, 5000], &json!({ "flows": 9 })));
    traffic.recorded(&line("lost", "egress", [0, 0], &json!({ "count": 4 })));
    assert_eq!((traffic.events, traffic.records), (2, 2));
    assert_eq!(traffic.last.unwrap().to_string(), "2026-11-23T12:01:00Z");
    let not_judged = traffic.not_judged;
    assert_eq!(not_judged.calls, Amount { flows: 1, packets: 3, bytes: 0 });
    assert_eq!((not_judged.summed_up, not_judged.lost), (Amount { flows: 9, packets: 50, bytes: 5000 }, 4));
    let flows: Vec<(String, Amount)> = traffic.flows().map(|seen| (seen.sender, seen.amount)).collect();
    let of = |packets, bytes| Amount { flows: 1, packets, bytes };
    assert_eq!(
        flows,
        [("imap (dovecot.service)".to_owned(), of(7, 420)), ("b.service".to_owned(), of(2, 100))]
    );
}

#[test]
fn since_a_moment_the_events_of_a_forbidden_flow_say_how_much_came() {
    let mut traffic = Traffic::new(Some("2026-11-23T11:30:00Z".parse().unwrap()));
    traffic.recorded(&line("event", "egress", [1, 60], &json!({})));
    traffic.live(&line("flow", "egress", [1000, 60_000], &json!({})));
    traffic.live(&line("flow", "egress", [5, 50], &json!({ "verdict": "pass", "pins": [] })));
    traffic.live(&line(
        "flow",
        "egress",
        [9, 90],
        &json!({ "pins": ["old"], "time": "2026-11-23T11:29:59Z" }),
    ));
    let mut bytes: Vec<u64> = traffic.flows().map(|seen| seen.amount.bytes).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, [50, 60]);
}

#[test]
fn who_may_not_be_seen_is_one_group() {
    let mut traffic = Traffic::new(None);
    traffic.live(&line("flow", "egress", [1, 1], &json!({ "people": "hidden", "process": null })));
    assert_eq!(traffic.flows().next().unwrap().sender, "(hidden)");
}

#[test]
fn a_change_is_told_with_its_pin_peer_and_sender() {
    let pin = |permit: &str, rest: &str| {
        policy(&format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n{rest}"
        ))
    };
    let (now, then) = (pin("", ""), pin("\"US\"", ""));
    let (of_now, of_then) = (side(&now), side(&then));
    let mut traffic = Traffic::new(None);
    traffic.recorded(&line("event", "egress", [2, 120], &json!({})));
    let seen = traffic.flows().next().unwrap();
    for (now, then, policies, kind) in
        [(&of_now, &of_then, (&now, &then), Kind::Opens), (&of_then, &of_now, (&then, &now), Kind::Drops)]
    {
        let compared = sides(now, then, None);
        let mut sums = Sums::default();
        sums.add(&seen, compared.compare(&seen, &Needs::of(policies.0, policies.1, &[])));
        assert_eq!(sums.of(kind), Amount { flows: 1, packets: 2, bytes: 120 });
        assert_eq!(sums.groups.len(), 1);
        let group = sums.groups.keys().next().unwrap();
        assert_eq!(
            (group.pins.join(" "), group.peer.to_string()),
            ("mail".to_owned(), "198.51.100.7".to_owned())
        );
        assert_eq!((group.process.as_str(), group.then.jurisdiction), ("(not known)", Some("US")));
    }
    // A pin of the candidate that goes by what was not noted.
    let by_user =
        pin("\"US\"", "[[pin]]\nname = \"of-seven\"\nhome = \"IE\"\naction = \"drop\"\nselect.users = [7]\n");
    let of_users = side(&by_user);
    let compared = sides(&of_then, &of_users, Some("x"));
    let needs = Needs::of(&then, &by_user, &[]);
    let found = compared.compare(&seen, &needs);
    assert_eq!(found, Found::NotKnown(vec![Lack::Sender]));
    let mut sums = Sums::default();
    sums.add(&seen, found);
    assert!(sums.may_differ() && sums.groups.is_empty());
    // What the config in force did not come to is not taken for known.
    let other = Seen { tagged: vec!["mail".to_owned(), "another".to_owned()], ..seen };
    let compared = sides(&of_now, &of_then, Some("x"));
    assert_eq!(compared.compare(&other, &Needs::default()), Found::NotKnown(vec![Lack::Kernel]));
}

#[test]
fn every_verdict_has_its_kind() {
    for now in Verdict::ALL {
        for then in Verdict::ALL {
            let passes = |verdict: Verdict| verdict != Verdict::Drop;
            let expected = match (passes(now), passes(then)) {
                (true, false) => Some(Kind::Drops),
                (false, true) => Some(Kind::Opens),
                _ if now == then => None,
                _ if (now as u8) < then as u8 => Some(Kind::Flags),
                _ => Some(Kind::Unflags),
            };
            assert_eq!(Kind::of(now, then), expected, "{now:?} {then:?}");
        }
    }
}

#[test]
fn permitted_flows_without_records_are_known_by_their_sums() {
    let pin = |name: &str, permit: &str, rest: &str| {
        format!(
            "[[pin]]\nname = \"{name}\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\n{rest}select.ports = [\"tcp/143\"]\n"
        )
    };
    let now = policy(
        &(pin("a", "\"BE\", \"DE\"", "")
            + &pin("b", "\"BE\"", "record = \"all\"\n")
            + &pin("c", "\"BE\"", "")),
    );
    let then = policy(&(pin("a", "\"DE\"", "") + &pin("b", "", "")));
    let row = |pin: &str, jurisdiction: &str, packets| Permitted {
        pin: pin.to_owned(),
        jurisdiction: jurisdiction.to_owned(),
        packets,
        bytes: 10 * packets,
    };
    let rows =
        [row("a", "BE", 3), row("a", "DE", 4), row("a", "US", 0), row("b", "BE", 5), row("c", "BE", 6)];
    let found = Unrecorded::of(&now, &then, &rows);
    assert_eq!(found.pins, ["a", "c"]);
    let forbidden: Vec<_> =
        found.forbidden.iter().map(|it| (it.pin.as_str(), it.jurisdiction.as_str(), it.bytes)).collect();
    assert_eq!(forbidden, [("a", "BE", 30)]);
}

#[test]
fn who_opened_a_connection_is_looked_at_both_ways() {
    let by = |direction: &str| {
        policy(&format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect = {{ ports = [\"tcp/143\"], direction = \"{direction}\" }}\n"
        ))
    };
    let mut traffic = Traffic::new(None);
    traffic.recorded(&line("event", "egress", [2, 120], &json!({})));
    let seen = traffic.flows().next().unwrap();
    let (served, opened) = (by("served"), by("opened"));
    let (possible, lacks) = possible::possibilities(&seen, &Needs::of(&served, &opened, &[]));
    let ways: Vec<Direction> = possible.iter().map(|it| it.from.direction).collect();
    assert_eq!(
        (ways, lacks),
        (vec![Direction::Unknown, Direction::Served, Direction::Opened], vec![Lack::Direction])
    );
}

#[test]
fn what_no_pin_tags_is_judged_by_what_may_be_true_of_it() {
    let pin = |select: &str| {
        policy(&format!(
            "[[pin]]\nname = \"etcd\"\nhome = \"IE\"\naction = \"drop\"\nselect = {{ {select} }}\n"
        ))
    };
    let now = pin("ports = [\"tcp/143\"]");
    let own = ["192.0.2.10", "192.0.2.11", "2001:db8::1"].map(|it| it.parse::<IpAddr>().unwrap());
    let row = json!({
        "kind": "untagged", "time": "2026-11-23T12:00:00Z", "peer": "198.51.100.7", "protocol_number": 6,
        "side": "remote", "port": 2380, "interface": "eth0", "interface_index": 2, "policy": "x", "people": "shown",
        "cgroup": "system.slice/etcd.service", "jurisdiction": "US", "packets": 3, "bytes": 300,
        "process": { "command": "etcd", "pid": 7, "uid": 97, "unit": "etcd.service" },
    });
    let rest = json!({ "kind": "untagged", "peer": null, "jurisdiction": "US", "packets": 5, "bytes": 500 });
    let mut traffic = Traffic::new(None);
    [&row, &row, &rest].into_iter().for_each(|line| traffic.recorded(line));
    assert_eq!((traffic.untagged, traffic.not_judged.untagged.bytes), (2, 500));
    let seen = traffic.flows().next().unwrap();
    assert_eq!(seen.amount, Amount { flows: 1, packets: 6, bytes: 600 });
    let of_now = side(&now);
    for (select, expected) in [
        ("cgroups = [\"system.slice/etcd.service\"]", Ok(Kind::Drops)),
        ("remote_ports = [\"tcp/2380\"]", Ok(Kind::Drops)),
        ("sources = [\"192.0.2.0/24\"]", Ok(Kind::Drops)),
        ("sources = [\"host\"]", Ok(Kind::Drops)),
        ("users = [97]", Ok(Kind::Drops)),
        ("ports = [\"tcp/1-65535\"]", Ok(Kind::Drops)),
        // What this host serves on a lower port is no flow of this one.
        ("ports = [\"tcp/443\"]", Err(&[][..])),
        ("remote_ports = [\"tcp/443\"]", Err(&[])),
        ("sources = [\"192.0.2.10/32\"]", Err(&[Lack::Address])),
        ("ports = [\"tcp/40000\"]", Err(&[Lack::Port])),
        ("marks = [\"7\"]", Err(&[Lack::Mark])),
    ] {
        let then = pin(select);
        let of_then = side(&then);
        let compared = sides(&of_now, &of_then, Some("x"));
        let needs = Needs::of(&now, &then, &[]).with_addresses(&now, &then, own.into_iter());
        match (compared.compare(&seen, &needs), expected) {
            (Found::Changed(kind, pair), Ok(expected)) => {
                assert_eq!(
                    (kind, pair.now.reason.name(), pair.then.denied),
                    (expected, "untagged", vec!["etcd".to_owned()])
                );
            }
            (Found::Same(_), Err(&[])) => {}
            (Found::NotKnown(lacks), Err(expected)) if !expected.is_empty() => {
                assert_eq!(lacks, expected, "{select}")
            }
            (found, expected) => panic!("{select}: {found:?}, not {expected:?}"),
        }
    }
    // A tunnel may carry what the candidate's pin knows.
    let mut tunnel = row.clone();
    (tunnel["protocol_number"], tunnel["side"], tunnel["port"]) = (47.into(), "none".into(), Value::Null);
    let mut traffic = Traffic::new(None);
    traffic.recorded(&tunnel);
    let seen = traffic.flows().next().unwrap();
    for (then, expected) in [(pin("sources = [\"10.0.0.0/8\"]"), vec![Lack::Inside]), (now.clone(), vec![])] {
        let of_then = side(&then);
        let compared = sides(&of_now, &of_then, Some("x"));
        let needs = Needs::of(&now, &then, &[]).with_addresses(&now, &then, own.into_iter());
        match compared.compare(&seen, &needs) {
            Found::NotKnown(lacks) => assert_eq!(lacks, expected),
            found => assert!(matches!(found, Found::Same(_)) && expected.is_empty(), "{found:?}"),
        }
    }
}
