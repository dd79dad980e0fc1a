//! Entries in bpffs that the host's first process does not see. In a guest: elsewhere that process may be another's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use guard_tests::bed::{Bed, PATIENCE, PIN, STORE};
use guard_tests::proc::{Process, retry_until};
use guard_user::health::ProblemCode;

#[test]
#[ignore = "needs root and BPF"]
fn pins_that_end_with_the_daemon_are_told_of() {
    assert!(std::fs::metadata("/proc/1/root/sys").is_ok(), "the first process can be looked at in a guest");
    let bed = Bed::new("private").unwrap();
    bed.configure(PIN).unwrap();
    // Where bpffs belongs, and not the folder that the test bed has mounted for itself.
    let text = std::fs::read_to_string(bed.config()).unwrap();
    let own = bed.pin_path().to_string_lossy().into_owned();
    assert!(text.contains(&own), "{text}");
    std::fs::write(bed.config(), text.replace(&own, "/sys/fs/bpf/bg-guest-pins")).unwrap();
    let is_told = || bed.status().unwrap().problems.iter().any(|it| it.code == ProblemCode::PinsPrivate);
    let daemon = bed.start(&[]).unwrap();
    assert!(!is_told());
    drop(daemon);
    bed.tell(&["detach"]).unwrap();
    // As `ip netns exec` starts it.
    let words = "mount -t sysfs sysfs /sys && exec \"$0\" run --config \"$1\"";
    let mut command = bed.host(STORE).unwrap().command("unshare").unwrap();
    command
        .args(["--mount", "--propagation", "slave", "sh", "-c", words])
        .arg(bed.program())
        .arg(bed.config());
    let daemon = Process::spawn("borderguard", command).unwrap();
    retry_until(PATIENCE, "the daemon", || bed.status().ok()).unwrap();
    assert!(is_told(), "{}", daemon.stderr());
    drop(daemon);
    assert!(std::fs::metadata("/sys/fs/bpf/bg-guest-pins").is_err(), "and nothing of it is left");
}
