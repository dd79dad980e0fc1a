//! `borderguard selftest`: what it sends becomes what it should on this machine, a daemon that runs beside it keeps all as it was,
//! and nothing is left of one that is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aya::maps::loaded_maps;
use guard_tests::bed::{self, Bed, PATIENCE, PIN, STORE};
use guard_tests::proc::{Process, retry_until, run_to_end};
use guard_tests::user::as_user;
use rustix::process::Signal;
use serde_json::{Value, json};

/// How soon the kernel frees what nobody has any more.
const SOON: Duration = Duration::from_secs(20);
/// A user that owns nothing.
const NOBODY: u32 = 65_534;
/// Kinds of packets that are sent each to both kinds of destinations.
const KINDS: usize = 12;

/// What a self-test said, and its exit code.
fn told(bed: &Bed) -> (Value, Option<i32>) {
    let answer = bed.ask(&["selftest", "--json"]).unwrap();
    let object = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    (object, answer.status.code())
}

/// Result, verdict, and whether it came out at the other end, of the tries of a pin to where it may not go.
fn forbidden(object: &Value, pin: &str) -> Vec<(Value, Value, Value)> {
    let tries = object["tries"].as_array().unwrap().iter();
    let of_pin = tries.filter(|it| it["pin"] == pin && it["to"] == "forbidden");
    of_pin.map(|it| (it["result"].clone(), it["verdict"].clone(), it["received"].clone())).collect()
}

/// What a daemon has in the kernel and has counted for its pins.
fn of_daemon(bed: &Bed) -> Value {
    let status = bed.status().unwrap();
    let entries = ["maps", "links"].map(|folder| {
        let names: BTreeSet<String> = bed::names(&bed.pin_path().join(folder)).into_iter().collect();
        names
    });
    json!({
        "generation": status.generation,
        "interfaces": status.interfaces,
        "counters": status.counters,
        "pins": status.pins,
        "events": status.events,
        "dropped": bed::packets(&status, "egress", "drop", "forbidden"),
        "entries": entries,
    })
}

#[test]
#[ignore = "needs root and BPF"]
fn every_kind_becomes_what_it_should_beside_a_daemon_that_keeps_all_as_it_was() {
    let bed = Bed::new("selftest").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let before = of_daemon(&bed);
    let links = bed.host(STORE).unwrap().ip(&["-o", "link"]).unwrap();
    let (object, exit) = told(&bed);
    assert_eq!((&object["failed"], &object["not_tried"], exit), (&json!(0), &json!(0), Some(0)), "{object}");
    assert_eq!(object["ok"], 2 * KINDS + 2, "{object}");
    let dropped = (json!("ok"), json!("drop"), json!(false));
    assert_eq!(forbidden(&object, "(self-test)"), vec![dropped.clone(); KINDS]);
    assert_eq!(forbidden(&object, "mail"), [dropped]);
    let text = bed.ask(&["selftest"]).unwrap();
    assert_eq!(text.status.code(), Some(0), "{text:?}");
    let lines = [
        "ok (self-test), ipv4-udp, forbidden: drop forbidden, not received",
        "ok (self-test), ipv6-later-fragment, permitted: pass permitted, received",
        "ok mail, udp, forbidden: drop forbidden, not received",
        "26 ok, 0 failed, 0 not tried",
    ];
    for line in lines {
        assert!(text.out.lines().any(|it| it == line), "{line}: {}", text.out);
    }
    assert_eq!(of_daemon(&bed), before);
    assert_eq!(bed.host(STORE).unwrap().ip(&["-o", "link"]).unwrap(), links);
    assert!(daemon.ended().is_none());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_pin_that_flags_is_expected_to_and_one_that_can_not_be_tried_is_said_so() {
    let bed = Bed::new("selftest").unwrap();
    bed.configure(&PIN.replace("\"drop\"", "\"flag\"")).unwrap();
    let (object, exit) = told(&bed);
    assert_eq!(exit, Some(0), "{object}");
    assert_eq!(forbidden(&object, "mail"), [(json!("ok"), json!("flag"), json!(true))]);
    bed.configure(&PIN.replace("[pin.select]\n", "[pin.select]\ninterfaces = [\"absent0\"]\n")).unwrap();
    let (object, exit) = told(&bed);
    assert_eq!(exit, Some(5), "{object}");
    assert_eq!(forbidden(&object, "mail"), [(json!("not-tried"), Value::Null, Value::Null)]);
    bed.configure(&PIN.replace("\"IE\"", "\"XX\"")).unwrap();
    assert_eq!(bed.ask(&["selftest"]).unwrap().status.code(), Some(2));
    let (program, config) = (bed.program().to_owned(), bed.config());
    let ask = || {
        as_user("nobody", NOBODY, || {
            let mut command = Command::new(&program);
            command.args(["selftest", "--config"]).arg(&config);
            run_to_end("borderguard", command, PATIENCE).unwrap()
        })
    };
    let (status, _, complaint) = bed.host(STORE).unwrap().run(ask).unwrap();
    assert_eq!(status.code(), Some(4), "{complaint}");
}

/// Ids that the descriptors of a process name by this word; `None` where it has ended.
fn ids(process: &Process, word: &str) -> Option<BTreeSet<u32>> {
    let folder = PathBuf::from(format!("/proc/{}/fdinfo", process.pid()));
    let infos = fs::read_dir(folder).ok()?.flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok()).collect::<Vec<_>>();
    let lines = texts.iter().flat_map(|text| text.lines());
    let numbers = lines.filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
    Some(numbers.collect())
}

#[test]
#[ignore = "needs root and BPF"]
fn nothing_is_left_of_one_that_is_killed() {
    let bed = Bed::new("selftest").unwrap();
    bed.configure(PIN).unwrap();
    let mut command = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    command.arg("selftest").arg("--config").arg(bed.config());
    let process = Process::spawn("borderguard", command).unwrap();
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    let store = bed.host(STORE).unwrap().run(|| fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
    // In a network that it has made it is the program itself, and no copy of this process any more.
    let maps = retry_until(PATIENCE, "the self-test to have maps in a network of its own", || {
        assert!(process.ended().is_none(), "{}", process.log_tail());
        let network = fs::read_link(format!("/proc/{}/ns/net", process.pid())).ok()?;
        let is_own = network != here && network != store;
        ids(&process, "map_id:").filter(|maps| is_own && !maps.is_empty())
    })
    .unwrap();
    process.signal(Signal::KILL);
    assert!(!process.wait(PATIENCE).unwrap().success());
    retry_until(SOON, "the maps of the killed self-test to be freed", || {
        let there: BTreeSet<u32> = loaded_maps().flatten().map(|map| map.id()).collect();
        maps.is_disjoint(&there).then_some(())
    })
    .unwrap();
    let links = bed.host(STORE).unwrap().ip(&["-o", "link"]).unwrap();
    assert!(!links.contains("selftest"), "{links}");
    assert!(!bed.pin_path().exists(), "nothing was pinned where the daemon pins");
    // The next one is as good as the first.
    assert_eq!(told(&bed).1, Some(0));
}
