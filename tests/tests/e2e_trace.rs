//! `borderguard trace`: what it says of live packets is what `explain` says of them, and nothing else changes: not what passes,
//! not what is counted, and not what guards where the daemon or the client is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData, MapInfo};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US,
};
use guard_tests::proc::{Process, retry_until};
use serde_json::Value;

/// How long a trace goes on without its client, and the kernel's programs without the daemon.
const LEASE: Duration = Duration::from_secs(3);

/// A trace on the storage host, whose programs are on the interfaces.
fn trace(bed: &Bed, words: &[&str]) -> Process {
    let client = begin(bed, words);
    client
        .wait_for(PATIENCE, "the trace to begin", || {
            Some(()).filter(|()| client.stderr().contains("tracing:"))
        })
        .unwrap();
    client
}

fn begin(bed: &Bed, words: &[&str]) -> Process {
    let mut command = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    command.arg("trace").args(words).arg("--config").arg(bed.config());
    Process::spawn("borderguard", command).unwrap()
}

/// What a trace said, one object a packet.
fn told(client: &Process) -> Vec<Value> {
    let status = client.wait(PATIENCE).unwrap();
    assert!(status.success(), "{}", client.log_tail());
    client.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The maps of the programs on the storage host's interface at egress, and their programs' ids; none where one of them is
/// taken off while it is looked at.
fn attached(bed: &Bed) -> Option<Vec<(u32, Vec<MapInfo>)>> {
    let query = || SchedClassifier::query_tcx("eth0", TcAttachType::Egress).ok();
    let (_, found) = bed.host(STORE).unwrap().run(query).unwrap()?;
    let maps = |program: &ProgramInfo| -> Option<Vec<MapInfo>> {
        let ids = program.map_ids().ok()?.unwrap_or_default();
        ids.into_iter().map(|id| MapInfo::from_id(id).ok()).collect()
    };
    found.iter().map(|program| Some((program.id(), maps(program)?))).collect()
}

fn has(maps: &[MapInfo], name: &str) -> bool {
    maps.iter().any(|map| map.name_as_str() == Some(name))
}

/// The id of the program on the interface where it is the ordinary one.
fn ordinary(bed: &Bed) -> Option<u32> {
    match &attached(bed)?[..] {
        [(id, maps)] => (!has(maps, "AYA_LOGS")).then_some(*id),
        other => panic!("{other:?}"),
    }
}

/// How many packets the tracing program on the interface has logged.
fn logged(bed: &Bed) -> u64 {
    let found = attached(bed).unwrap();
    let map = found.iter().flat_map(|(_, maps)| maps).find(|map| map.name_as_str() == Some("TRACE_TAKEN"));
    let map = Map::from_map_data(MapData::from_id(map.unwrap().id()).unwrap()).unwrap();
    let taken: Array<_, u64> = map.try_into().unwrap();
    taken.get(&0, 0).unwrap()
}

/// Waits until the ordinary program is on the interface.
fn until_ordinary(bed: &Bed, within: Duration) -> u32 {
    retry_until(within, "the ordinary program", || ordinary(bed)).unwrap()
}

/// What `explain` says of a datagram of the pin to this client.
fn explained(bed: &Bed, to: &str, family: Family) -> Value {
    let end = |host, port| SocketAddr::new(bed::address(host, family).unwrap(), port).to_string();
    let (from, to) = (end(STORE, MAIL_PORT), end(to, CLIENT_PORT));
    let words = ["explain", "--from", &from, "--to", &to, "--proto", "udp", "--iface", "eth0", "--json"];
    serde_json::from_str(&bed.tell(&words).unwrap()).unwrap()
}

/// Packets that the pin's programs dropped.
fn dropped(bed: &Bed) -> u64 {
    let totals = bed.status().unwrap().totals;
    totals.iter().filter(|row| row.reason == "forbidden").map(|row| row.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_steps_of_live_packets_are_those_that_explain_has() {
    let bed = Bed::new("trace").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let before = ordinary(&bed).unwrap();
    let by_pin = ["--json", "--pin", "mail", "-n"];
    for family in Family::ALL {
        // Nothing of the other port is told, whose packets no pin tags.
        let client = trace(&bed, &[&by_pin[..], &["2", "--for", "2m"]].concat());
        assert_eq!(bed.send(2, OTHER_PORT, US, family).unwrap(), 2);
        assert_eq!(bed.send(1, MAIL_PORT, US, family).unwrap(), 0, "dropped");
        assert_eq!(bed.send(1, MAIL_PORT, BELGIUM, family).unwrap(), 1, "permitted");
        let told = told(&client);
        assert_eq!(told.len(), 2, "{told:?}");
        for (number, (to, verdict)) in [(US, "drop"), (BELGIUM, "pass")].into_iter().enumerate() {
            let (live, explained) = (&told[number], explained(&bed, to, family));
            assert_eq!((&live["verdict"], &live["packet"]), (&verdict.into(), &(number + 1).into()));
            for key in explained.as_object().unwrap().keys() {
                assert_eq!(live[key], explained[key], "{key} of {family:?} to {to}");
            }
            let frame = 14 + if family == Family::V4 { 20 } else { 40 } + 8 + "a mail of the mailbox".len();
            let (hook, interface) = (&live["hook"], &live["interface"]);
            assert_eq!((hook, interface, &live["bytes"]), (&"egress".into(), &"eth0".into(), &frame.into()));
            let generation = bed.status().unwrap().generation;
            assert_eq!((&live["generation"], &live["missing"]), (&generation.into(), &0.into()));
        }
    }
    // An exemption that is loaded while the trace goes on, and its stay: names are those of each generation.
    let client = trace(&bed, &[&by_pin[..], &["3", "--for", "2m", "--to", "203.0.113.0/24"]].concat());
    assert!(bed.passes(BELGIUM).unwrap(), "it is not asked for");
    bed.exempt("one", &["203.0.113.10/32"], 600, Some(1_000_000)).unwrap();
    assert_eq!(bed.send(2, MAIL_PORT, US, Family::V4).unwrap(), 2, "exempt");
    let exempt = explained(&bed, US, Family::V4);
    bed.tell(&["exemption", "stay", "one", "--order", "o-1"]).unwrap();
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 0, "stayed");
    let told = told(&client);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!((&exempt["reason"], &exempt["exemption"]), (&"exempt".into(), &"one".into()));
    for live in &told[..2] {
        assert_eq!(live["reason"], "exempt", "{live}");
    }
    // At the latest the second is told by the names of its generation, or says that it is not.
    let is_named = told[0]["exemption"] == "one" && told[0]["steps"] == exempt["steps"];
    let is_said = told[0]["steps"].to_string().contains("the names are of generation");
    assert!(is_named || is_said, "{}", told[0]);
    assert_eq!(told[2]["verdict"], "drop", "{}", told[2]);
    assert_eq!(until_ordinary(&bed, LEASE), before, "the program of before, and no other one");
    assert_eq!(
        bed.status().unwrap().problems.iter().filter(|it| it.code.as_str() == "trace-left").count(),
        0
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn a_trace_is_bounded_and_one_at_a_time() {
    let bed = Bed::new("trace-bounds").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let before = ordinary(&bed).unwrap();
    let client = trace(&bed, &["-n", "3", "--to", "203.0.113.10", "--for", "2m", "--json"]);
    assert!(ordinary(&bed).is_none());
    let refused = bed.ask(&["trace"]).unwrap();
    assert!(
        refused.status.code() == Some(1) && refused.complaint.contains("one trace or shadow runs at a time"),
        "{refused:?}"
    );
    let refused = bed.ask(&["trace", "--pin", "nobody", "--json"]).unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let lines = told(&client);
    assert_eq!(lines.iter().map(|it| it["packet"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(until_ordinary(&bed, LEASE), before);
    let refused = bed.ask(&["trace", "--pin", "nobody"]).unwrap();
    assert!(refused.status.code() == Some(2) && refused.complaint.contains("has mail"), "{refused:?}");
    // Of what goes elsewhere nothing is told, and the time ends it.
    let client = trace(&bed, &["--from", "192.0.2.0/24", "--to", "2001:db8::/32", "--for", "2s", "--json"]);
    let began = Instant::now();
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert_eq!(told(&client), Vec::<Value>::new());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(until_ordinary(&bed, LEASE), before);
    // For people.
    let client = trace(&bed, &["-n", "1", "--pin", "mail"]);
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert!(client.wait(PATIENCE).unwrap().success());
    let text = client.stdout();
    println!("{text}");
    let mut lines = text.lines();
    let generation = bed.status().unwrap().generation;
    assert_eq!(
        lines.next().unwrap(),
        format!("packet 1: egress by eth0, 63 bytes on the wire, judged by generation {generation}"),
        "{text}"
    );
    assert!(text.contains("\nverdict    drop, forbidden: "), "{text}");
    assert_eq!(dropped(&bed), 16);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_client_or_a_daemon_that_is_killed_ends_its_trace_and_the_guard_goes_on() {
    let bed = Bed::new("trace-killed").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let before = ordinary(&bed).unwrap();
    let client = trace(&bed, &["-n", "1000", "--for", "5m"]);
    client.kill(PATIENCE).unwrap();
    // The lease, and a second until the daemon looks.
    assert_eq!(until_ordinary(&bed, LEASE + Duration::from_secs(7)), before);

    let client = trace(&bed, &["-n", "1000", "--for", "5m", "--to", "203.0.113.10"]);
    assert_eq!(bed.send(2, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert_eq!(logged(&bed), 2);
    daemon.kill(PATIENCE).unwrap();
    assert!(!client.wait(PATIENCE).unwrap().success(), "{}", client.log_tail());
    assert!(ordinary(&bed).is_none(), "nobody swaps it back");
    std::thread::sleep(LEASE + Duration::from_millis(200));
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0, "it judges");
    assert_eq!(bed.send(3, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 3);
    assert_eq!(logged(&bed), 2, "the lease is over");
    let _daemon = bed.start(&[]).unwrap();
    let now = until_ordinary(&bed, PATIENCE);
    assert_ne!(now, before, "of the daemon that runs");
    assert_eq!(dropped(&bed), 5);
    // What it had begun is forgotten, and another one begins.
    let client = trace(&bed, &["-n", "1", "--to", "203.0.113.10", "--json"]);
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert_eq!(told(&client).len(), 1);
}

#[test]
#[ignore = "needs root and BPF"]
fn counters_are_exact_over_the_swap_and_a_daemon_that_ends_swaps_back() {
    let bed = Bed::new("trace-counts").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let to = SocketAddr::new(IpAddr::from([203, 0, 113, 10]), CLIENT_PORT);
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let is_over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                bed::send(&socket, to);
                sent += 1;
            }
            sent
        });
        let traces = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                let client = trace(&bed, &["-n", "20", "--pin", "mail", "--json"]);
                let told = told(&client);
                assert_eq!(told.len(), 20);
                assert!(told.iter().all(|it| it["verdict"] == "drop" && it["missing"] == 0));
                until_ordinary(&bed, LEASE);
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        traces.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent
    });
    assert!(sent > 1000, "{sent}");
    assert_eq!((dropped(&bed), bed.arrived(US, Family::V4).unwrap()), (sent, 0));
    drop(socket);
    // A daemon that ends puts the ordinary programs back itself.
    let _client = trace(&bed, &["-n", "1000", "--for", "5m"]);
    assert!(ordinary(&bed).is_none());
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    assert!(ordinary(&bed).is_some());
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
}
