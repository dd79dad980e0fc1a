//! A daemon that is stopped by a signal and goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::time::Duration;

use guard_tests::bed::{Bed, PATIENCE, PIN};
use guard_tests::proc::retry_until;
use guard_user::health::ProblemCode;
use rustix::process::Signal;
use serde_json::Value;

/// Whoever stops the daemon, exchanges something, puts it back and lets it go on leaves a record of that time.
#[test]
#[ignore = "needs root and BPF"]
fn a_daemon_that_was_stopped_has_that_on_record() {
    let bed = Bed::new("stopped").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let has = || bed.trail().unwrap().iter().any(|it| it.kind == "unwatched");
    assert!(!has());
    daemon.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(6));
    daemon.signal(Signal::CONT);
    retry_until(PATIENCE, "the time to be on record", || has().then_some(())).unwrap();
    let told = bed.status().unwrap().problems;
    assert!(told.iter().any(|it| it.code == ProblemCode::LoopSlow), "{told:?}");
    let report: Value = serde_json::from_str(&bed.tell(&["report", "--format", "json"]).unwrap()).unwrap();
    let gaps = report["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap.as_str().unwrap().starts_with("the daemon was stopped")), "{gaps:?}");
    drop(daemon);
}
