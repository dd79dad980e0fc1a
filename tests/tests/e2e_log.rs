//! The event log in a file: it goes on after it was moved away, its numbers have no gap over a kill, and the queries of the
//! docs find in it what happened.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, send};
use guard_tests::proc::retry_until;
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
    assert_eq!(answers, [by_pin.as_str(), "", "[]\n", "[]\n"]);
}
