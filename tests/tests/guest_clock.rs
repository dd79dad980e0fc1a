//! The wall clock is set while the daemon runs, and while it does not: windows of exemptions follow it, and what
//! has ended stays ended. In the guests of `cargo xtask vm` alone, for a machine has one wall clock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use guard_tests::bed::{Bed, PATIENCE, PIN, US, exemption_within};
use guard_tests::proc::{Process, retry_until};
use guard_user::exemption::State;
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

const HOUR: i64 = 3600;

/// Sets the wall clock by so many seconds.
fn turn_clock(seconds: i64) {
    assert!(std::env::var_os("BORDERGUARD_GUEST").is_some(), "this would set the clock of the whole machine");
    let now = clock_gettime(ClockId::Realtime);
    clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + seconds, ..now }).unwrap();
}

/// A daemon with an exemption that began an hour ago and has an hour to go.
fn open(label: &str) -> (Bed, Process) {
    let bed = Bed::new(label).unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let (now, hour) = (Timestamp::now(), SignedDuration::from_secs(HOUR));
    let text = exemption_within("window", "mail", &["203.0.113.10/32"], now - hour..now + hour, None);
    // Its store opens when the disk has answered, which the start does not wait for.
    let load = || bed.load("window.toml", &text).ok();
    retry_until(PATIENCE, "the store to take an exemption", load).unwrap();
    assert!(bed.passes(US).unwrap());
    (bed, daemon)
}

/// Waits until the daemon says that the exemption is in this state, and returns whether packets pass then.
fn in_state(bed: &Bed, state: State) -> bool {
    let now = || bed.exemption("window").unwrap().state;
    let is_there = || (now() == state).then_some(());
    retry_until(PATIENCE, "the state", is_there)
        .unwrap_or_else(|error| panic!("{state:?} is wanted, and it is {:?}: {error}", now()));
    bed.passes(US).unwrap()
}

/// Waits until packets pass, or do not: the kernel has the new window within a second.
fn wait_until_passes(bed: &Bed, wanted: bool) {
    retry_until(PATIENCE, "the kernel to have the window", || {
        bed.passes(US).is_ok_and(|passes| passes == wanted).then_some(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_clock_that_is_set_back_closes_until_it_is_right_again() {
    let (bed, daemon) = open("clock-back");
    turn_clock(-2 * HOUR);
    wait_until_passes(&bed, false);
    assert!(!in_state(&bed, State::NotYetValid));
    turn_clock(2 * HOUR);
    wait_until_passes(&bed, true);
    assert!(in_state(&bed, State::Active));
    let log = daemon.log_tail();
    assert!(log.contains("the wall clock was set by"), "{log}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_clock_that_is_set_past_the_end_closes_for_good() {
    let (bed, _daemon) = open("clock-forth");
    turn_clock(2 * HOUR);
    wait_until_passes(&bed, false);
    assert!(!in_state(&bed, State::Expired));
    // At once: the daemon has said that it is expired, whether or not the store has closed it yet.
    turn_clock(-2 * HOUR);
    // Longer than the daemon takes to follow the clock.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert!(!in_state(&bed, State::Expired), "what has ended is not opened by a clock");
    let ends = bed.trail().unwrap().into_iter().filter(|it| it.kind == "expire").count();
    assert_eq!(ends, 1);
    // Its records are in the order of their numbers, whatever the clock said.
    bed.tell(&["audit", "verify"]).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_clock_that_is_set_while_no_daemon_runs_is_followed_at_its_start() {
    let (bed, daemon) = open("clock-none");
    drop(daemon);
    turn_clock(2 * HOUR);
    let _daemon = bed.start(&[]).unwrap();
    assert!(!in_state(&bed, State::Expired));
    turn_clock(-2 * HOUR);
}

/// The kernel has closed it by a clock that nobody can set, and no daemon was there to say so.
#[test]
#[ignore = "needs root and BPF"]
fn a_clock_that_is_set_back_while_no_daemon_runs_opens_nothing_that_has_ended() {
    let bed = Bed::new("clock-ended").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let (now, hour) = (Timestamp::now(), SignedDuration::from_secs(HOUR));
    let window = now - hour..now + SignedDuration::from_secs(60);
    let text = exemption_within("window", "mail", &["203.0.113.10/32"], window, None);
    bed.load("window.toml", &text).unwrap();
    assert!(bed.passes(US).unwrap());
    drop(daemon);
    wait_until_passes(&bed, false);
    turn_clock(-HOUR);
    let _daemon = bed.start(&[]).unwrap();
    assert!(!in_state(&bed, State::Expired));
    turn_clock(HOUR);
}
