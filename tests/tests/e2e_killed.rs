//! What was acknowledged holds, whenever the daemon is killed, and whatever becomes of the kernel's side: nothing
//! is more open than before, no document is lost, and quotas go on where they were.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, STORE, US, exemption};
use guard_tests::proc::{Process, retry_until};
use guard_tests::program;
use guard_user::exemption::State;
use rustix::process::Signal;
use serde_json::Value;

const TO_US: [&str; 2] = ["203.0.113.10/32", "2001:db8:3::10/128"];
/// A datagram over IPv4 as a frame.
const FRAME: u64 = 63;

/// A number below this one, another one in each run.
fn below(bound: u64) -> u64 {
    RandomState::new().hash_one(0) % bound
}

/// The command line on the storage host, not waited for.
fn begin(bed: &Bed, words: &[String]) -> Process {
    let program = program::borderguard().unwrap();
    let mut command = bed.host(STORE).unwrap().command(&program.to_string_lossy()).unwrap();
    command.args(words).arg("--config").arg(bed.config());
    Process::spawn("borderguard", command).unwrap()
}

/// What must never get less, and never get lost.
#[derive(Default)]
struct Known {
    documents: BTreeMap<String, String>,
    used: BTreeMap<String, u64>,
}

impl Known {
    fn still_holds(&mut self, bed: &Bed) {
        let verified = bed.ask(&["audit", "verify"]).unwrap();
        assert!(verified.status.success(), "{verified:?}");
        for (id, document) in &self.documents {
            let shown: Value =
                serde_json::from_str(&bed.tell(&["exemption", "show", id, "--json"]).unwrap()).unwrap();
            assert_eq!(shown["document"].as_str(), Some(document.as_str()), "{id}");
        }
        for summary in bed.exemptions().unwrap() {
            let used = self.used.entry(summary.id.clone()).or_default();
            assert!(summary.used_bytes >= *used, "{}: {} after {used}", summary.id, summary.used_bytes);
            *used = summary.used_bytes;
        }
    }
}

/// Asks for a change of the exemption, and kills the daemon somewhere in the middle of it, or a little after.
/// Returns whether the change was acknowledged.
fn change_and_kill(bed: &Bed, daemon: &Process, words: &[String], takes: Duration) -> bool {
    let asked = begin(bed, words);
    std::thread::sleep(Duration::from_micros(below(takes.as_micros() as u64 * 3 / 2)));
    daemon.kill(PATIENCE).unwrap();
    asked.wait(PATIENCE).unwrap().success()
}

#[test]
#[ignore = "needs root and BPF"]
fn what_was_acknowledged_holds_wherever_the_daemon_is_killed() {
    const ROUNDS: usize = 16;
    let bed = Bed::new("killed").unwrap();
    bed.configure(PIN).unwrap();
    let mut daemon = bed.start(&[]).unwrap();
    let mut known = Known::default();
    // One that is open all along, with traffic all along.
    bed.exempt("steady", &TO_US[..1], 3600, Some(1 << 30)).unwrap();
    known.documents.insert("steady".to_owned(), fs::read_to_string(bed.file("steady.toml")).unwrap());
    let write = |id: &str| {
        bed.write(&format!("{id}.toml"), exemption(id, "mail", &TO_US[1..], 3600, Some(10_000_000))).unwrap()
    };
    let begun = Instant::now();
    let first = write("first");
    bed.tell(&["exemption", "load", &first]).unwrap();
    bed.tell(&["exemption", "revoke", "first", "--why", "x"]).unwrap();
    let takes = begun.elapsed() / 2;
    let passes = |what: &str| match bed.send(3, MAIL_PORT, US, Family::V6).unwrap() {
        3 => true,
        0 => false,
        some => panic!("{some} of 3 passed, {what}"),
    };

    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let to = SocketAddr::new(bed::address(US, Family::V4).unwrap(), CLIENT_PORT);
    let before = bed.arrived(US, Family::V4).unwrap();
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut acknowledged = 0;
    // Revocations of which the next daemon had the kernel's mark alone.
    let mut held_first = BTreeSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                bed::send(&socket, to);
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..ROUNDS {
                let id = format!("other-{}", round / 4);
                let words: Vec<&str> = match round % 4 {
                    0 => vec!["load", ""],
                    1 => vec!["stay", &id, "--order", "an order"],
                    2 => vec!["resume", &id, "--why", "lifted"],
                    _ => vec!["revoke", &id, "--why", "withdrawn"],
                };
                let mut words: Vec<String> =
                    ["exemption"].iter().chain(&words).map(|word| (*word).to_owned()).collect();
                if round % 4 == 0 {
                    words[2] = write(&id);
                }
                let opens = round % 2 == 0;
                let before = (round % 4 != 0).then(|| bed.exemption(&id).unwrap().state);
                let is_done = change_and_kill(&bed, &daemon, &words, takes);
                acknowledged += usize::from(is_done);
                if is_done {
                    // By the kernel alone: no daemon runs.
                    assert_eq!(passes("without a daemon"), opens, "{words:?} was acknowledged");
                }
                daemon = bed.start(&[]).unwrap();
                let after = bed.exemptions().unwrap().into_iter().find(|it| it.id == id).map(|it| it.state);
                let state = match round % 4 {
                    0 | 2 => State::Active,
                    1 => State::Stayed,
                    _ => State::Revoked,
                };
                match is_done {
                    true => assert_eq!(after, Some(state), "{words:?} was acknowledged"),
                    // Of an order that only the kernel had taken, the next daemon knows that it closed: it stays.
                    false => {
                        let held = !opens && after == Some(State::Stayed);
                        if held && state == State::Revoked {
                            held_first.insert(id.clone());
                        }
                        assert!(held || after == before || after == Some(state), "{words:?}: {after:?}");
                    }
                }
                assert_eq!(passes("after the restart"), after == Some(State::Active), "{words:?}: {after:?}");
                // Where it did not come to pass, it is asked for again, so that the next round can go on.
                if after != Some(state) {
                    bed.tell(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
                    assert_eq!(passes("at the second time"), opens, "{words:?}");
                }
                known
                    .documents
                    .insert(id.clone(), fs::read_to_string(bed.file(&format!("{id}.toml"))).unwrap());
                known.still_holds(&bed);
            }
        }));
        done.store(true, Ordering::Relaxed);
        rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("{acknowledged} of {ROUNDS} changes were acknowledged before the kill");
    std::thread::sleep(Duration::from_millis(300));
    let arrived = bed.arrived(US, Family::V4).unwrap() - before;
    assert_eq!(arrived, sent.load(Ordering::Relaxed), "the steady one's transfer never stopped");
    let steady = bed.exemption("steady").unwrap();
    assert_eq!(
        (steady.used_packets, steady.used_bytes),
        (arrived, arrived * FRAME),
        "and all of it is counted"
    );
    // Every change that came to pass is in the trail once.
    let trail = bed.trail().unwrap();
    for number in 0..ROUNDS / 4 {
        let id = format!("other-{number}");
        let told: Vec<&str> = trail
            .iter()
            .filter(|it| it.subject == id && it.kind != "refusal")
            .map(|it| it.kind.as_str())
            .collect();
        let mut expected = vec!["load", "stay", "resume", "revoke"];
        if held_first.contains(&id) {
            expected.insert(3, "stay");
        }
        assert_eq!(told, expected, "{id}");
    }
    assert_eq!(trail.iter().filter(|it| it.kind == "start").count(), ROUNDS + 1);
}

/// An exemption that was used and goes on, one that is stayed, and one that was revoked; returns the used bytes.
fn used_stayed_and_revoked(bed: &Bed, quota: u64) -> u64 {
    bed.exempt("used", &TO_US[..1], 3600, Some(quota)).unwrap();
    assert_eq!(bed.send(100, MAIL_PORT, US, Family::V4).unwrap(), 100);
    bed.exempt("stayed", &TO_US[1..], 3600, None).unwrap();
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V6).unwrap(), 10);
    bed.tell(&["exemption", "stay", "stayed", "--order", "an order"]).unwrap();
    bed.exempt("revoked", &TO_US[1..], 3600, None).unwrap();
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V6).unwrap(), 10);
    bed.tell(&["exemption", "revoke", "revoked", "--why", "withdrawn"]).unwrap();
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V6).unwrap(), 0);
    let used = bed.exemption("used").unwrap().used_bytes;
    assert_eq!(used, 100 * FRAME);
    used
}

/// The stay and the revocation hold, with their use, in the store and in the kernel.
fn are_still_closed(bed: &Bed) {
    let closed = [("stayed", State::Stayed), ("revoked", State::Revoked)];
    for (id, state) in closed {
        let shown = bed.exemption(id).unwrap();
        assert_eq!((shown.state, shown.used_packets), (state, 10), "{shown:?}");
    }
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V6).unwrap(), 0);
    bed.tell(&["audit", "verify"]).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn quotas_go_on_and_closed_stays_closed_over_a_reboot() {
    const QUOTA: u64 = 20_000;
    let bed = Bed::new("reboot").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let used = used_stayed_and_revoked(&bed, QUOTA);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success());
    // What passes while no daemon runs is of the quota, too.
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V4).unwrap(), 10);
    let used = used + 10 * FRAME;
    bed.tell(&["detach"]).unwrap();
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V4).unwrap(), 10, "nothing is guarded");

    let _daemon = bed.start(&[]).unwrap();
    are_still_closed(&bed);
    let shown = bed.exemption("used").unwrap();
    assert_eq!((shown.state, shown.used_bytes), (State::Active, used));
    let passed = bed.send(400, MAIL_PORT, US, Family::V4).unwrap();
    let left = QUOTA - used;
    // The daemon may end it while less than a full packet is left.
    assert!(
        passed * FRAME <= left && passed * FRAME + 1514 + FRAME > left,
        "{passed} passed of {left} bytes"
    );
    assert_eq!(bed.exemption("used").unwrap().used_bytes, used + passed * FRAME);
    bed.tell(&["exemption", "resume", "stayed", "--why", "lifted"]).unwrap();
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V6).unwrap(), 10);
    assert_eq!(bed.exemption("stayed").unwrap().used_packets, 20);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_crash_of_the_host_gives_nobody_a_byte_more() {
    // The second is granted to the kernel in parts, and what was not granted yet can still be used.
    for (quota, goes_on) in [(20_000, false), (1 << 30, true)] {
        let bed = Bed::new("crash").unwrap();
        bed.configure(PIN).unwrap();
        let daemon = bed.start(&[]).unwrap();
        let used = used_stayed_and_revoked(&bed, quota);
        let more = bed.send(50, MAIL_PORT, US, Family::V4).unwrap();
        daemon.kill(PATIENCE).unwrap();
        // Nobody could tell these to the disk.
        let more = more + bed.send(50, MAIL_PORT, US, Family::V4).unwrap();
        assert_eq!(more, 100);
        fs::remove_dir_all(bed.pin_path()).unwrap();

        let _daemon = bed.start(&[]).unwrap();
        are_still_closed(&bed);
        let shown = bed.exemption("used").unwrap();
        assert!(shown.used_bytes >= used + more * FRAME, "{shown:?}");
        assert!(shown.used_bytes <= quota, "{shown:?}");
        let passed = bed.send(10, MAIL_PORT, US, Family::V4).unwrap();
        assert_eq!(passed, if goes_on { 10 } else { 0 }, "{shown:?}");
        bed.tell(&["exemption", "resume", "stayed", "--why", "lifted"]).unwrap();
        assert_eq!(bed.send(10, MAIL_PORT, US, Family::V6).unwrap(), 10);
        let gaps: Value = serde_json::from_str(&bed.tell(&["report", "--format", "json"]).unwrap()).unwrap();
        let gaps = gaps["gaps"].as_array().unwrap();
        assert!(gaps.iter().any(|gap| gap.as_str().unwrap().contains("without a word")), "{gaps:?}");
    }
}

/// How far flows were reported is kept also where nothing is counted any more.
#[test]
#[ignore = "needs root and BPF"]
fn what_was_reported_before_the_host_fell_quiet_is_not_reported_again_after_a_kill() {
    let bed = Bed::new("killed-quiet").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let told = || bed.events().ok().filter(|events| !events.is_empty());
    let before = retry_until(PATIENCE, "the event", told).unwrap();
    assert_eq!(before.len(), 1);
    // Past the sweep that finds the flow quiet, and the look after it.
    std::thread::sleep(Duration::from_secs(14));
    daemon.kill(PATIENCE).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(bed.events().unwrap(), before, "that of the daemon before, which the history has");
}

/// A flow record outlives the exemption, and the daemon that knew its place in the kernel's tables.
#[test]
#[ignore = "needs root and BPF"]
fn an_exemption_that_is_closed_keeps_its_name_over_quick_restarts() {
    let bed = Bed::new("killed-name").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("steady", &TO_US[..1], 3600, None).unwrap();
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 3);
    let first = |event: &Value| event["session"].as_str().map(str::to_owned);
    let told = || bed.events().ok()?.first().and_then(first);
    let session = retry_until(PATIENCE, "an event", told).unwrap();
    bed.tell(&["exemption", "revoke", "steady", "--why", "it is over"]).unwrap();
    daemon.kill(PATIENCE).unwrap();
    for _ in 0..2 {
        bed.start(&[]).unwrap().kill(PATIENCE).unwrap();
    }
    let _daemon = bed.start(&[]).unwrap();
    let exempted = || {
        let mut events = bed.events().ok()?;
        events.retain(|event| event["reason"] == "exempt" && event["session"] != *session);
        (!events.is_empty()).then_some(events)
    };
    let events = retry_until(PATIENCE, "the flow that was not known as reported", exempted).unwrap();
    assert!(events.iter().all(|event| event["exemption"] == "steady"), "{events:?}");
    assert!(events.iter().all(|event| event["pins"] == serde_json::json!(["mail"])), "{events:?}");
}
