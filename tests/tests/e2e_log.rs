//! The event log in a file: it goes on after it was moved away, its numbers have no gap over a kill, and the queries of the
//! docs find in it what happened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, STORE, send};
use guard_tests::proc::{Process, retry_until};
use guard_tests::storm;
use rustix::process::Signal;
use serde_json::Value;

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["unmapped"]["kind"] == kind).collect()
}

fn number(line: &Value) -> u64 {
    line["metadata"]["sequence"].as_u64().unwrap()
}

/// The numbers of one run, from its first line on.
fn numbers(lines: &[Value], session: &Value) -> Vec<u64> {
    lines.iter().filter(|line| line["unmapped"]["session"] == *session).map(number).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_file_goes_on_where_it_was_moved_and_its_numbers_have_no_gap() {
    let bed = Bed::new("log").unwrap();
    let [log, moved] = ["events.log", "events.log.1"].map(|name| bed.file(name));
    bed.configure(&format!("[log]\nto = {log:?}\n{PIN}")).unwrap();
    let first = bed.start(&[]).unwrap();
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    // More flows than one kind may have lines at once: the rest is summed up.
    const FLOWS: u64 = 150;
    (20..20 + FLOWS).for_each(|host| send(&socket, format!("203.0.113.{host}:9").parse().unwrap()));
    let told =
        |lines: &[Value]| lines.iter().filter_map(|line| line["traffic"]["packets"].as_u64()).sum::<u64>();
    retry_until(PATIENCE, "every packet to be in the log", || (told(&lines(&log)) == FLOWS).then_some(()))
        .unwrap();

    // As logrotate does with `create`.
    fs::rename(&log, &moved).unwrap();
    first.signal(Signal::USR1);
    retry_until(PATIENCE, "the file to be made anew", || log.exists().then_some(())).unwrap();
    send(&socket, "203.0.113.5:9".parse().unwrap());
    retry_until(PATIENCE, "a line in it", || (!lines(&log).is_empty()).then_some(())).unwrap();
    let _killed = first.kill(PATIENCE).unwrap();
    let last = lines(&log).pop().unwrap();

    let second = bed.start(&[]).unwrap();
    retry_until(PATIENCE, "the next run's first line", || {
        (!of_kind(&lines(&log), "start").is_empty()).then_some(())
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    second.signal(Signal::TERM);
    second.wait(PATIENCE).unwrap();

    let all = [lines(&moved), lines(&log)].concat();
    let starts = of_kind(&all, "start");
    let [one, other] = &starts[..] else { panic!("{starts:?}") };
    assert!(one["unmapped"]["predecessor"].is_null() && one["policy"]["uid"].is_string(), "{one}");
    let predecessor = &other["unmapped"]["predecessor"];
    assert_eq!(predecessor["session"], one["unmapped"]["session"]);
    assert_eq!(predecessor["sequence"].as_u64(), Some(number(&last)));
    for start in [one, other] {
        let numbers = numbers(&all, &start["unmapped"]["session"]);
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
    assert_eq!(of_kind(&all, "end").len(), 1, "a run that was killed has no end");
    assert!(!of_kind(&all, "summary").is_empty() && of_kind(&all, "event").len() >= 50);
    queries_of_the_docs_find_it(&moved, FLOWS);
}

/// What the docs' query makes of this file, by hook, verdict and reason: packets and bytes.
fn told(file: &Path) -> BTreeMap<[String; 3], [u64; 2]> {
    let docs = include_str!("../../docs/logs.md");
    let query = docs.split("```jq\n").nth(2).unwrap().split("```").next().unwrap();
    let done = Command::new("jq").args(["-n", "-c", query]).arg(file).output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
    let row = |row: Value| {
        let name = |key: &str| row[key].as_str().unwrap().to_owned();
        let key = ["hook", "verdict", "reason"].map(name);
        (key, ["packets", "bytes"].map(|key| row[key].as_u64().unwrap()))
    };
    rows.into_iter().map(row).filter(|(_, amounts)| *amounts != [0, 0]).collect()
}

/// What the kernel has counted of what lines are about.
fn counted(bed: &Bed) -> BTreeMap<[String; 3], [u64; 2]> {
    let totals = bed.status().unwrap().totals.into_iter();
    let forbidden =
        totals.filter(|row| row.verdict != "pass" || ["exempt", "failsafe"].contains(&&*row.reason));
    forbidden.map(|row| ([row.hook, row.verdict, row.reason], [row.packets, row.bytes])).collect()
}

/// A storm with a kill in its middle, restarts, and a log that can't be written for a while: afterwards the lines add up to
/// the kernel's counters, also of those that `detach` has removed.
#[test]
#[ignore = "needs root and BPF"]
fn lines_add_up_to_the_counters_over_storms_kills_and_a_detach() {
    let bed = Bed::new("logsum").unwrap();
    let log = bed.file("events.log");
    bed.configure(&format!("[log]\nto = {log:?}\n{}", storm::config())).unwrap();
    let first = bed.start(&[]).unwrap();
    let quiet = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let storm = |seed: u32| {
        let mut command = bed.host(STORE).unwrap().command(env!("CARGO_BIN_EXE_guard-storm")).unwrap();
        command.args(["2".to_owned(), seed.to_string()]);
        Process::spawn("storm", command).unwrap()
    };
    let running = storm(1);
    send(&quiet, "203.0.113.5:9".parse().unwrap());
    std::thread::sleep(Duration::from_millis(700));
    let _killed = first.kill(PATIENCE).unwrap();
    running.wait(PATIENCE).unwrap();
    send(&quiet, "203.0.113.5:9".parse().unwrap());

    let second = bed.start(&[]).unwrap();
    let running = storm(2);
    // As a disk that takes nothing: no file may have its name.
    let moved = bed.file("events.log.1");
    fs::rename(&log, &moved).unwrap();
    fs::create_dir(&log).unwrap();
    second.signal(Signal::USR1);
    running.wait(PATIENCE).unwrap();
    send(&quiet, "203.0.113.5:9".parse().unwrap());
    std::thread::sleep(Duration::from_secs(2));
    fs::remove_dir(&log).unwrap();
    fs::rename(&moved, &log).unwrap();
    let counted = retry_until(Duration::from_secs(90), "the lines to add up to the counters", || {
        let counted = counted(&bed);
        let told = told(&log);
        println!("told {told:?}, counted {counted:?}");
        (told == counted).then_some(counted)
    })
    .unwrap();
    let dropped = counted.values().map(|[packets, _]| packets).sum::<u64>();
    assert!(dropped > 20_000, "{counted:?}");
    let lines = lines(&log);
    let differences = of_kind(&lines, "difference");
    assert!(!differences.is_empty() && !of_kind(&lines, "lost").is_empty());

    // What comes after the daemon's end, and goes with the counters.
    second.signal(Signal::TERM);
    second.wait(PATIENCE).unwrap();
    (20..60).for_each(|host| send(&quiet, format!("203.0.113.{host}:9").parse().unwrap()));
    bed.tell(&["detach"]).unwrap();
    let _third = bed.start(&[]).unwrap();
    let sum = |log: &Path| told(log).values().map(|[packets, _]| packets).sum::<u64>();
    retry_until(Duration::from_secs(60), "what detach has left to be in the log", || {
        (sum(&log) == dropped + 40).then_some(())
    })
    .unwrap();
}

/// Runs each of the docs' queries for jq on this file.
fn queries_of_the_docs_find_it(file: &Path, dropped: u64) {
    let docs = include_str!("../../docs/logs.md");
    let queries = docs.split("```jq\n").skip(1).map(|text| text.split("```").next().unwrap());
    let answers: Vec<String> = queries
        .map(|query| {
            let done = Command::new("jq").args(["-n", "-c", query]).arg(file).output().unwrap();
            assert!(done.status.success(), "{query}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        })
        .collect();
    let by_pin = format!("[{{\"pin\":\"mail\",\"jurisdiction\":\"US\",\"packets\":{dropped}}}]\n");
    let by_verdict = answers[1].replace(char::is_numeric, "");
    assert!(
        by_verdict.starts_with(r#"[{"hook":"egress","verdict":"drop","reason":"forbidden","packets":"#),
        "{answers:?}"
    );
    let [first, _, rest @ ..] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.as_str(), rest), (by_pin.as_str(), &["", "[]\n", "[]\n"].map(str::to_owned)[..]));
}

/// A few flows go on while one daemon ends in order and the next one is killed: what lines tell of each adds up to what was
/// dropped, with nothing twice and no flow told as one of which more may be told.
#[test]
#[ignore = "needs root and BPF"]
fn flows_that_go_on_over_an_end_and_a_kill_are_told_exactly() {
    const FLOWS: u16 = 5;
    let bed = Bed::new("logflows").unwrap();
    let log = bed.file("events.log");
    bed.configure(&format!("[log]\nto = {log:?}\n{PIN}")).unwrap();
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let first = bed.start(&[]).unwrap();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                (0..FLOWS)
                    .for_each(|port| send(&socket, format!("203.0.113.20:{}", 1000 + port).parse().unwrap()));
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::thread::sleep(Duration::from_millis(2500));
            first.signal(Signal::TERM);
            first.wait(PATIENCE).unwrap();
            let second = bed.start(&[]).unwrap();
            std::thread::sleep(Duration::from_millis(2700));
            let _killed = second.kill(PATIENCE).unwrap();
            let third = bed.start(&[]).unwrap();
            std::thread::sleep(Duration::from_millis(2600));
            third
        }));
        is_over.store(true, Ordering::Relaxed);
        let _third = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let of_flow = |lines: &[Value], port: u16| {
            let events: Vec<Value> = of_kind(lines, "event")
                .into_iter()
                .filter(|it| it["dst_endpoint"]["port"] == port)
                .cloned()
                .collect();
            let packets = events.iter().filter_map(|it| it["traffic"]["packets"].as_u64()).sum::<u64>();
            (packets, events)
        };
        let is_told = || {
            let (sent, lines) = (sent.load(Ordering::Relaxed), lines(&log));
            (0..FLOWS).all(|port| of_flow(&lines, 1000 + port).0 == sent).then_some(())
        };
        let told = retry_until(Duration::from_secs(30), "every flow's packets to be told", is_told);
        let (sent, lines) = (sent.load(Ordering::Relaxed), lines(&log));
        for port in 0..FLOWS {
            let (packets, events) = of_flow(&lines, 1000 + port);
            let phases: Vec<&Value> = events.iter().map(|it| &it["unmapped"]["phase"]).collect();
            assert_eq!(packets, sent, "{phases:?}");
            assert_eq!(phases.iter().filter(|phase| **phase == "new").count(), 1, "{phases:?}");
            assert!(phases.iter().all(|phase| **phase != "resumed"), "{phases:?}");
        }
        told.unwrap();
        assert_eq!(of_kind(&lines, "difference").len(), 0, "{:?}", of_kind(&lines, "difference"));
        assert_eq!(of_kind(&lines, "start").len(), 3);
    });
}
