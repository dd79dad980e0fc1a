//! What becomes of quotas when the daemon ends with its host, and when the host ends without a word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_user::exemption::State;
use guard_user::kernel::LinuxKernel;
use rustix::process::Signal;

const QUOTA: u64 = 1_000_000;
const PACKETS: u64 = 10;

/// A bed whose systemd says this of the host, with one exemption of which some was used.
fn used(label: &str, system_state: &str) -> (Bed, u64) {
    let bed = Bed::new(label).unwrap();
    let folder = bed.file("bin");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("systemctl");
    fs::write(&program, format!("#!/bin/sh\necho {system_state}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32"], 600, Some(QUOTA)).unwrap();
    assert_eq!(bed.send(PACKETS, MAIL_PORT, US, Family::V4).unwrap(), PACKETS);
    let used = bed.exemption("one").unwrap().used_bytes;
    assert!(used > 0 && used < QUOTA / 2, "{used}");
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    (bed, used)
}

/// The kernel forgets everything, as it does when the host goes down.
fn forget(bed: &Bed) {
    LinuxKernel::detach(&bed.pin_path()).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_quota_goes_on_exactly_where_it_was_after_a_shutdown_in_good_order() {
    let (bed, used) = used("shutdown", "stopping");
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "closed from then on");
    forget(&bed);
    let _daemon = bed.start(&[]).unwrap();
    let exemption = bed.exemption("one").unwrap();
    assert_eq!((exemption.used_bytes, exemption.state), (used, State::Active));
    assert_eq!(bed.send(PACKETS, MAIL_PORT, US, Family::V4).unwrap(), PACKETS);
    assert_eq!(bed.exemption("one").unwrap().used_bytes, 2 * used);
}

/// A shutdown that was called off: the daemon starts again on the maps that it left.
#[test]
#[ignore = "needs root and BPF"]
fn a_shutdown_that_was_called_off_counts_nothing_twice() {
    let (bed, used) = used("called-off", "stopping");
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.exemption("one").unwrap().used_bytes, used);
    assert_eq!(bed.send(PACKETS, MAIL_PORT, US, Family::V4).unwrap(), PACKETS);
    assert_eq!(bed.exemption("one").unwrap().used_bytes, 2 * used);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_was_granted_counts_as_used_after_a_crash_of_the_host() {
    let (bed, _) = used("crash", "running");
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 5, "it stays open without a daemon");
    forget(&bed);
    let _daemon = bed.start(&[]).unwrap();
    let exemption = bed.exemption("one").unwrap();
    assert_eq!((exemption.used_bytes, exemption.state), (QUOTA, State::Exhausted));
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "never more open than before");
}
