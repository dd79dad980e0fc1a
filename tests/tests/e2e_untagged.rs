//! What leaves without a pin is seen: by jurisdiction always, and by peer, service and cgroup while the guard observes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US, address,
};
use guard_tests::cgroup::{self, Cgroup};
use guard_user::control::status::{UntaggedFlowStatus, UntaggedStatus};
use rustix::process::Signal;
use serde_json::{Value, json};

const SENT: u64 = 10;
/// Where the storage pushes to: no port of a pin's.
const PUSH_PORT: u16 = 50_000;

/// Sends from a socket that is made in this cgroup, from this port of the storage to the US.
fn send_from(bed: &Bed, cgroup: &Cgroup, port: u16, family: Family) {
    let from = SocketAddr::new(address(STORE, family).unwrap(), port);
    let make = || bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap();
    let socket = cgroup::inside(cgroup.path(), make).unwrap();
    for _ in 0..SENT {
        bed::send(&socket, SocketAddr::new(address(US, family).unwrap(), CLIENT_PORT));
    }
}

fn packets(untagged: &UntaggedStatus, jurisdiction: &str) -> u64 {
    let of_it = untagged.jurisdictions.iter().filter(|place| place.jurisdiction == jurisdiction);
    of_it.map(|place| place.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_push_that_no_pin_knows_is_seen_with_its_peer_port_and_cgroup() {
    let bed = Bed::new("untagged").unwrap();
    bed.configure(PIN).unwrap();
    let service = Cgroup::new("replica").unwrap();
    let name = service.path().file_name().unwrap().to_str().unwrap().to_owned();
    let _daemon = bed.start(&["--observe"]).unwrap();
    for family in Family::ALL {
        send_from(&bed, &service, PUSH_PORT, family);
        assert_eq!(bed.send(SENT, OTHER_PORT, BELGIUM, family).unwrap(), SENT);
        // What a pin tags is no part of it.
        assert_eq!(bed.send(SENT, MAIL_PORT, US, family).unwrap(), SENT);
    }
    let untagged = bed.status().unwrap().untagged;
    assert_eq!((packets(&untagged, "US"), packets(&untagged, "BE")), (2 * SENT, 2 * SENT), "{untagged:?}");
    for family in Family::ALL {
        let to = |host: &str| address(host, family).unwrap().to_string();
        let is_push = |flow: &&UntaggedFlowStatus| flow.peer == to(US);
        let pushes: Vec<&UntaggedFlowStatus> = untagged.flows.iter().filter(is_push).collect();
        let [push] = &pushes[..] else { panic!("one flow to the US: {untagged:?}") };
        assert_eq!((push.jurisdiction.as_str(), push.protocol.as_str()), ("US", "udp"));
        assert_eq!((push.side.as_str(), push.port, push.packets), ("remote", Some(CLIENT_PORT), SENT));
        assert_eq!(push.cgroup.as_deref(), Some(name.as_str()));
        assert!(push.interface.is_some() && push.bytes > 0, "{push:?}");
        let served = untagged.flows.iter().find(|flow| flow.peer == to(BELGIUM)).unwrap();
        assert_eq!((served.side.as_str(), served.port), ("local", Some(OTHER_PORT)), "{served:?}");
        assert_eq!((served.packets, served.jurisdiction.as_str()), (SENT, "BE"), "{served:?}");
    }
    let text = bed.ask(&["status"]).unwrap().out;
    assert!(text.contains("egress without a pin: ") && text.contains(&name), "{text}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_guard_that_drops_counts_it_by_jurisdiction_alone() {
    let bed = Bed::new("untagged").unwrap();
    bed.configure(PIN).unwrap();
    // What was seen while an earlier daemon observed is not shown as seen now.
    let observing = bed.start(&["--observe"]).unwrap();
    assert_eq!(bed.send(SENT, OTHER_PORT, BELGIUM, Family::V4).unwrap(), SENT);
    assert_eq!(bed.status().unwrap().untagged.flows.len(), 1);
    observing.kill(PATIENCE).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        assert_eq!(bed.send(SENT, OTHER_PORT, US, family).unwrap(), SENT);
        assert_eq!(bed.send(SENT, MAIL_PORT, US, family).unwrap(), 0);
    }
    let untagged = bed.status().unwrap().untagged;
    assert_eq!(packets(&untagged, "US"), 2 * SENT, "{untagged:?}");
    assert_eq!(untagged.flows, []);
}

#[test]
#[ignore = "needs root and BPF"]
fn an_event_names_the_cgroup_of_the_socket_that_sent() {
    let bed = Bed::new("sender").unwrap();
    bed.configure(PIN).unwrap();
    let service = Cgroup::new("mailer").unwrap();
    let name = service.path().file_name().unwrap().to_str().unwrap().to_owned();
    let _daemon = bed.start(&[]).unwrap();
    send_from(&bed, &service, MAIL_PORT, Family::V4);
    let event = bed.event(Duration::from_secs(5), "an event", |event| event["jurisdiction"] == "US").unwrap();
    assert_eq!(event["cgroup"], name.as_str(), "{event}");
}

/// What the history has of egress without a pin.
fn recorded(bed: &Bed, words: &[&str]) -> Vec<Value> {
    let answer = bed.tell(&[&["events", "--json", "--reason", "untagged"], words].concat()).unwrap();
    answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sum(rows: &[Value], jurisdiction: &str) -> u64 {
    let of_it = rows.iter().filter(|row| row["jurisdiction"] == jurisdiction);
    of_it.map(|row| row["packets"].as_u64().unwrap()).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_history_has_it_and_simulate_says_what_a_new_pin_would_drop() {
    let bed = Bed::new("untagged").unwrap();
    // The one whose sockets are noted.
    let service = bed.cgroup();
    let name = service.path().file_name().unwrap().to_str().unwrap().to_owned();
    let with = |select: &str| {
        let pin = format!(
            "[[pin]]\nname = \"push\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n{select}\n"
        );
        bed.configure(&format!("{PIN}{pin}")).unwrap();
        fs::read_to_string(bed.config()).unwrap()
    };
    let by_cgroup = with(&format!("select = {{ cgroups = [\"{name}\"], sent_by = \"socket\" }}"));
    let by_mark = with("select.marks = [\"7\"]");
    bed.configure(PIN).unwrap();
    let observing =
        fs::read_to_string(bed.config()).unwrap().replacen("[host]\n", "[host]\nobserve = true\n", 1);
    fs::write(bed.config(), &observing).unwrap();
    let by_cgroup = bed.write("cgroup.toml", by_cgroup).unwrap();
    let by_mark = bed.write("mark.toml", by_mark).unwrap();

    let first = bed.start(&[]).unwrap();
    for family in Family::ALL {
        send_from(&bed, service, PUSH_PORT, family);
        assert_eq!(bed.send(SENT, OTHER_PORT, BELGIUM, family).unwrap(), SENT);
    }
    // It is no violation, and not among them.
    assert!(bed.events().unwrap().iter().all(|event| event["kind"] != "untagged"));
    let before = recorded(&bed, &[]);
    assert_eq!((sum(&before, "US"), sum(&before, "BE")), (2 * SENT, 2 * SENT), "{before:?}");
    first.signal(Signal::TERM);
    first.wait(PATIENCE).unwrap();
    // While no daemon runs it is counted, and nobody looks at the peers.
    send_from(&bed, service, PUSH_PORT, Family::V4);
    let second = bed.start(&[]).unwrap();
    send_from(&bed, service, PUSH_PORT, Family::V4);
    let all = recorded(&bed, &[]);
    assert_eq!((sum(&all, "US"), sum(&all, "BE")), (4 * SENT, 2 * SENT), "{all:?}");
    let kernels = bed.status().unwrap().untagged;
    assert_eq!((packets(&kernels, "US"), packets(&kernels, "BE")), (4 * SENT, 2 * SENT));
    let push = all.iter().find(|row| row["peer"] == address(US, Family::V4).unwrap().to_string()).unwrap();
    assert_eq!(
        (&push["protocol"], &push["side"], &push["port"]),
        (&"udp".into(), &"remote".into(), &CLIENT_PORT.into())
    );
    assert_eq!((&push["cgroup"], &push["verdict"]), (&name.as_str().into(), &"pass".into()), "{push}");
    assert_eq!(push["process"]["pid"], std::process::id(), "{push}");
    assert!(all.iter().any(|row| row["is_rest"] == true && row["packets"] == SENT), "{all:?}");
    for (words, count) in
        [(&["--to", "BE"][..], 2), (&["--verdict", "drop"], 0), (&["--pin", "mail"], 0), (&["-n", "1"], 1)]
    {
        assert_eq!(recorded(&bed, words).len(), count, "{words:?}");
    }
    let answer = bed.ask(&["events", "--reason", "untagged", "--follow"]).unwrap();
    assert!(answer.complaint.contains("makes no events to follow"), "{answer:?}");
    let text = bed.tell(&["events", "--reason", "untagged", "--to", "US"]).unwrap();
    assert!(text.contains(" in US, no pin, by ") && text.contains(&format!("cgroup={name}")), "{text}");

    let simulate = |file: &str| {
        let answer = bed.ask(&["simulate", "--json", file]).unwrap();
        let told: Value =
            serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        (answer.status.code().unwrap(), told)
    };
    let (code, told) = simulate(&by_cgroup);
    assert_eq!((code, &told["totals"]["drops"]["packets"]), (1, &(3 * SENT).into()), "{told}");
    let changes = told["changes"].as_array().unwrap();
    let of_push = changes.iter().filter(|change| change["pins"] == json!(["push"]));
    assert!(
        of_push.clone().count() == 2 && of_push.clone().all(|it| it["now"]["reason"] == "untagged"),
        "{told}"
    );
    // Of what goes where the candidate permits nothing says that no other pin of it would have known it.
    assert_eq!(
        (&told["not_known"][0]["packets"], &told["window"]["not_judged"]["untagged"]["packets"]),
        (&(2 * SENT).into(), &SENT.into()),
        "{told}"
    );
    let text = bed.ask(&["simulate", &by_cgroup]).unwrap().out;
    assert!(text.contains("pass untagged, then drop forbidden"), "{text}");
    // What nothing says of these packets is not taken for unchanged.
    let (code, told) = simulate(&by_mark);
    assert_eq!((code, &told["changes"], &told["same"]["packets"]), (1, &json!([]), &0.into()), "{told}");
    let by_its_mark = told["not_known"].as_array().unwrap().iter().find(|it| it["lacks"] == json!(["mark"]));
    assert_eq!(by_its_mark.unwrap()["packets"], 3 * SENT, "{told}");

    // It comes true.
    fs::copy(&by_cgroup, bed.config()).unwrap();
    bed.tell(&["reload"]).unwrap();
    let dropped = || bed::packets(&bed.status().unwrap(), "egress", "drop", "forbidden");
    let before = dropped();
    send_from(&bed, service, PUSH_PORT, Family::V4);
    assert_eq!(dropped() - before, SENT);
    second.kill(PATIENCE).unwrap();
}
