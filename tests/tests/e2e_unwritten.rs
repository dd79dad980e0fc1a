//! Lines of the event log that a run of the daemon could not write before its end, the next one says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, STORE, send};
use guard_tests::proc::{Process, retry_until};
use guard_user::health::ProblemCode;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use serde_json::Value;

/// The daemon with its event log on a pipe that holds one page, whose other end is returned, and its own log in a file.
fn with_full_pipe(bed: &Bed) -> (Process, File) {
    let fifo = bed.file("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let log = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    fcntl_setpipe_size(&log, 4096).unwrap();
    let mut shell = bed.host(STORE).unwrap().command("sh").unwrap();
    let (program, config, said) = (bed.program(), bed.config(), bed.file("said"));
    shell.arg("-c").arg(format!("exec {program:?} run --config {config:?} >{fifo:?} 2>{said:?}"));
    let daemon = Process::spawn("borderguard", shell).unwrap();
    daemon.wait_for(PATIENCE, "the daemon to answer", || bed.status().ok().map(drop)).unwrap();
    (daemon, log)
}

/// What is in the pipe, but for a line that is there in part.
fn lines_of(mut pipe: File) -> Vec<Value> {
    fcntl_setfl(&pipe, OFlags::NONBLOCK).unwrap();
    let (mut text, mut bytes) = (Vec::new(), [0; 8192]);
    while let Ok(count @ 1..) = pipe.read(&mut bytes) {
        text.extend_from_slice(&bytes[..count]);
    }
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = std::str::from_utf8(&text[..whole]).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind(lines: &[Value], kind: &str) -> usize {
    lines.iter().filter(|line| line["kind"] == kind).count()
}

#[test]
#[ignore = "needs root and BPF"]
fn lines_that_a_run_could_not_write_are_in_the_next_ones_log() {
    for (label, signal) in [("unread-term", Signal::TERM), ("unread-kill", Signal::KILL)] {
        let bed = Bed::new(label).unwrap();
        bed.configure(&format!("[log]\nformat = \"json\"\n{PIN}")).unwrap();
        let (daemon, pipe) = with_full_pipe(&bed);
        let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
        (20..80).for_each(|host| send(&socket, format!("203.0.113.{host}:9").parse().unwrap()));
        retry_until(PATIENCE, "the log to be stuck", || {
            let problems = bed.status().ok()?.problems;
            let stuck = problems.iter().find(|it| it.code == ProblemCode::LogUnwritable)?;
            stuck.message.contains("has not taken a line").then_some(())
        })
        .unwrap();
        daemon.signal(signal);
        daemon.wait(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        let given = fs::read_to_string(bed.file("state").join("event-log.given")).unwrap();
        let given = serde_json::from_str::<Value>(&given).unwrap()["given"].as_u64().unwrap();
        let first = lines_of(pipe);
        let written = first.len() - of_kind(&first, "lost") - of_kind(&first, "difference");
        assert!(given > written as u64, "{given} {written}");
        if signal == Signal::TERM {
            let said = fs::read_to_string(bed.file("said")).unwrap();
            let line = format!("{} lines of the event log could not be written", given - written as u64);
            assert!(said.contains(&line), "{line}: {said}");
        }

        let log = bed.file("events.log");
        bed.configure(&format!("[log]\nformat = \"json\"\nto = {log:?}\n{PIN}")).unwrap();
        let _next = bed.start(&[]).unwrap();
        let lines = || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
        };
        retry_until(PATIENCE, "the line of what was lost", || (of_kind(&lines(), "lost") > 0).then_some(()))
            .unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let lines = lines();
        assert_eq!(lines[0]["kind"], "start", "{lines:?}");
        let lost = lines.iter().filter(|it| it["kind"] == "lost" && it["what"] == "lines");
        let lost: u64 = lost.filter_map(|it| it["count"].as_u64()).sum();
        assert_eq!(lost, given - written as u64, "{lines:?}");
    }
}
