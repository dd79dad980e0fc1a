//! Enforcement outlives the daemon, is taken over without a gap, and goes when it is told to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, US, names, packets,
};
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::proc::run_to_end;
use guard_tests::slow::{self, Part};
use guard_user::audit::NOT_FOUND;
use guard_user::health::ProblemCode;
use guard_user::kernel::View;
use rustix::process::Signal;
use serde_json::Value;

/// Packets that the kernel dropped as forbidden, asked without a daemon.
fn dropped(bed: &Bed) -> u64 {
    let totals = View::open(&bed.pin_path()).unwrap().totals().unwrap();
    let forbidden = totals.iter().filter(|row| row.reason == guard_common::verdict::Reason::Forbidden);
    forbidden.map(|row| row.count.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_killed_daemon_leaves_enforcement_in_place() {
    let bed = Bed::new("killed").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let generation = bed.status().unwrap().generation;
    daemon.kill(PATIENCE).unwrap();
    for family in Family::ALL {
        let before = dropped(&bed);
        assert_eq!(bed.send(10, MAIL_PORT, US, family).unwrap(), 0, "{family:?}");
        assert_eq!(dropped(&bed), before + 10, "counters go on, {family:?}");
        assert_eq!(bed.send(10, MAIL_PORT, BELGIUM, family).unwrap(), 10, "{family:?}");
    }
    let answer = bed.ask(&["status"]).unwrap();
    assert_eq!(answer.status.code(), Some(3), "no daemon is told apart: {answer:?}");
    let _again = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    assert!(status.generation > generation, "{} after {generation}", status.generation);
    assert_eq!(packets(&status, "egress", "drop", "forbidden"), 20, "what was counted is kept");
    assert_eq!(bed.send(10, MAIL_PORT, US, Family::V4).unwrap(), 0);
}

#[test]
#[ignore = "needs root and BPF"]
fn no_forbidden_packet_slips_through_a_restart() {
    let bed = Bed::new("restart").unwrap();
    bed.configure(PIN).unwrap();
    let mut daemon = bed.start(&[]).unwrap();
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let to = |host| SocketAddr::new(bed::address(host, Family::V4).unwrap(), CLIENT_PORT);
    let (forbidden, permitted) = (to(US), to(BELGIUM));
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let arrived = |host| bed.arrived(host, Family::V4).unwrap();
    let (us, belgium) = (arrived(US), arrived(BELGIUM));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for _ in 0..8 {
                    bed::send(&socket, forbidden);
                }
                bed::send(&socket, permitted);
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let restarts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..10 {
                daemon.kill(PATIENCE).unwrap();
                daemon = bed.start(&[]).unwrap();
                assert_eq!(arrived(US), us, "in round {round}");
            }
        }));
        done.store(true, Ordering::Relaxed);
        restarts.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    std::thread::sleep(Duration::from_millis(100));
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > 100, "{sent} rounds are too few to tell");
    assert_eq!(arrived(US), us);
    assert_eq!(arrived(BELGIUM) - belgium, sent, "and what is permitted never stops");
    assert_eq!(dropped(&bed), 8 * sent);
}

#[test]
#[ignore = "needs root and BPF"]
fn the_kernel_ends_an_exemption_without_a_daemon() {
    let bed = Bed::new("window").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let begin = Instant::now();
    bed.exempt("short", &["203.0.113.10/32"], 4, None).unwrap();
    daemon.kill(PATIENCE).unwrap();
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 5, "open for {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_millis(3900), "too slow to tell: {:?}", begin.elapsed());
    std::thread::sleep(Duration::from_millis(4200).saturating_sub(begin.elapsed()));
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "after {:?}", begin.elapsed());
}

#[test]
#[ignore = "needs root and BPF"]
fn the_kernel_ends_a_quota_without_a_daemon() {
    let bed = Bed::new("quota").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("small", &["203.0.113.10/32"], 600, Some(2_000)).unwrap();
    daemon.kill(PATIENCE).unwrap();
    let passed = bed.send(100, MAIL_PORT, US, Family::V4).unwrap();
    // Ethernet, IPv4 and UDP headers and the 21 bytes of a datagram are 63 bytes on the wire.
    assert_eq!(passed, 2_000 / 63, "as many as the quota has room for");
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let _again = bed.start(&[]).unwrap();
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "a new start gives no new quota");
}

/// The TC filters of the storage host's interface; nothing, and a complaint of tc's, where none ever was.
fn filters(bed: &Bed) -> String {
    let mut tc = bed.host(bed::STORE).unwrap().command("tc").unwrap();
    tc.args(["filter", "show", "dev", HOST_INTERFACE, "egress"]);
    run_to_end("tc", tc, PATIENCE).unwrap().1
}

#[test]
#[ignore = "needs root and BPF"]
fn detach_removes_everything() {
    let bed = Bed::new("detach").unwrap();
    bed.configure(&PIN.replace("action", "ingress = \"drop\"\naction")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let refused = bed.ask(&["detach"]).unwrap();
    assert!(!refused.status.success(), "a daemon that runs would attach again: {refused:?}");
    assert!(refused.complaint.contains("end it first"), "{refused:?}");
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
    // Before Linux 6.6 the TC program is a filter, and no link. The third is on the cgroup, and five more that
    // note who uses its sockets.
    let hooks = || {
        names(&bed.pin_path().join("links")).len()
            + usize::from(filters(&bed).contains(" egress direct-action"))
    };
    assert_eq!(hooks(), 8, "{:?}, {}", names(&bed.pin_path().join("links")), filters(&bed));

    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success(), "{}", daemon.log_tail());
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "SIGTERM ends the daemon alone");
    // A config that names another pin path now is no reason to believe that nothing is attached.
    let beside = bed.pin_path().with_file_name("another");
    let elsewhere = ["detach", "--if-attached", "--pin-path", beside.to_str().unwrap()];
    let refused = bed.ask(&elsewhere).unwrap();
    assert!(!refused.status.success() && refused.complaint.contains("Nothing was changed"), "{refused:?}");
    bed.tell(&["detach"]).unwrap();
    bed.tell(&["detach", "--if-attached"]).unwrap();
    assert!(!bed.pin_path().exists(), "{:?}", names(&bed.pin_path()));
    let shown = bed.host(bed::STORE).unwrap().ip(&["-d", "link", "show", "dev", HOST_INTERFACE]).unwrap();
    assert!(!shown.contains("xdp"), "{shown}");
    assert!(!filters(&bed).contains("egress"), "{}", filters(&bed));
    for family in Family::ALL {
        assert_eq!(bed.send(5, MAIL_PORT, US, family).unwrap(), 5, "{family:?}");
    }
    let again = bed.ask(&["detach"]).unwrap();
    assert!(!again.status.success() && again.complaint.contains("nothing"), "{again:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn another_abi_is_refused_and_goes_on() {
    let bed = Bed::new("abi").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    daemon.kill(PATIENCE).unwrap();
    bed::make_another_versions(&bed.pin_path()).unwrap();

    let refused = bed.spawn(&[]).unwrap();
    assert!(!refused.wait(PATIENCE).unwrap().success());
    assert!(refused.stderr().contains("borderguard detach"), "{}", refused.stderr());
    assert!(refused.stderr().contains("ABI"), "{}", refused.stderr());
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "still enforced");
    assert_eq!(bed.send(5, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 5);
    bed.tell(&["detach"]).unwrap();
    let _fresh = bed.start(&[]).unwrap();
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
}

/// Whether a process handles this signal (proc_pid_status(5), `SigCgt`).
fn handles(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or_default();
    caught >> (signal.as_raw() - 1) & 1 == 1
}

#[test]
#[ignore = "needs root and BPF"]
fn a_signal_to_reload_does_not_end_a_daemon_that_is_starting() {
    let bed = Bed::new("early").unwrap();
    bed.configure(PIN).unwrap();
    // A state directory that takes its time.
    slow::hang(&bed, Part::Files).unwrap();
    let daemon = slow::spawn(&bed).unwrap();
    daemon
        .wait_for(PATIENCE, "the daemon to listen for signals", || {
            handles(daemon.pid(), Signal::HUP).then_some(())
        })
        .unwrap();
    daemon.signal(Signal::HUP);
    slow::go_on(&bed, Part::Files).unwrap();
    daemon
        .wait_for(PATIENCE, "the daemon to answer", || {
            bed.status().ok().filter(|status| status.pid == daemon.pid()).map(drop)
        })
        .unwrap();
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_state_directory_that_was_removed_right_before_the_end_is_there_after_it() {
    let bed = Bed::new("stateend").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("kept", &["203.0.113.10/32"], 600, None).unwrap();
    std::fs::remove_dir_all(bed.file("state")).unwrap();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success(), "{}", daemon.log_tail());
    let _again = bed.start(&[]).unwrap();
    assert_eq!(bed.exemption("kept").unwrap().id, "kept");
    assert!(bed.passes(US).unwrap());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_start_that_finds_no_store_beside_an_earlier_guard_tells_it() {
    let bed = Bed::new("statelost").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("lost", &["203.0.113.10/32"], 600, None).unwrap();
    daemon.kill(PATIENCE).unwrap();
    std::fs::remove_dir_all(bed.file("state")).unwrap();
    let _again = bed.start(&[]).unwrap();
    let problems = bed.status().unwrap().problems;
    assert!(
        problems.iter().any(|it| it.code == ProblemCode::StoreOlder && it.message.contains("no store")),
        "{problems:?}"
    );
    assert!(!bed.passes(US).unwrap(), "what is not known is closed");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_guard_that_vanished_without_a_daemon_is_told_and_one_that_was_detached_is_not() {
    let bed = Bed::new("vanished").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert!(!bed.passes(US).unwrap());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success());
    for folder in ["links", "maps"] {
        for name in names(&bed.pin_path().join(folder)) {
            std::fs::remove_file(bed.pin_path().join(folder).join(name)).unwrap();
        }
    }
    // The daemon has ended, so nobody else looks whether it is time.
    let end = Instant::now() + PATIENCE;
    while !bed.passes(US).is_ok_and(|passes| passes) {
        assert!(Instant::now() < end, "the programs stay where they were");
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = bed.start(&[]).unwrap();
    let problems = bed.status().unwrap().problems;
    let lost: Vec<_> = problems.iter().filter(|it| it.code == ProblemCode::AttachmentLost).collect();
    assert!(matches!(&lost[..], [it] if it.message.contains("nobody who detached it")), "{problems:?}");
    let words = "found nothing of the guard on this host";
    assert_eq!((found_gone(&bed), gaps_with(&bed, words)), (vec![String::new()], 1));
    again.signal(Signal::TERM);
    assert!(again.wait(PATIENCE).unwrap().success());
    bed.tell(&["detach"]).unwrap();
    let third = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().problems, []);
    assert_eq!((found_gone(&bed).len(), gaps_with(&bed, words)), (1, 1));
    // By a config that names another store, whose trail would have it.
    third.signal(Signal::TERM);
    assert!(third.wait(PATIENCE).unwrap().success());
    let text = std::fs::read_to_string(bed.config()).unwrap();
    let (own, other) = (format!("{:?}", bed.file("state")), format!("{:?}", bed.file("other")));
    std::fs::write(bed.config(), text.replacen(&own, &other, 1)).unwrap();
    bed.tell(&["detach"]).unwrap();
    std::fs::write(bed.config(), text).unwrap();
    let _fourth = bed.start(&[]).unwrap();
    let codes: Vec<_> = bed.status().unwrap().problems.into_iter().map(|it| it.code).collect();
    assert_eq!(codes, [ProblemCode::AttachmentLost]);
    assert_eq!((found_gone(&bed).len(), gaps_with(&bed, words)), (2, 2));
}

/// What the trail says that starts found without a guard.
fn found_gone(bed: &Bed) -> Vec<String> {
    let found = bed.trail().unwrap().into_iter().filter(|it| it.kind == "detach" && it.why == NOT_FOUND);
    found
        .map(|it| {
            assert!(it.detail["last_seen"].is_string(), "{it:?}");
            it.subject
        })
        .collect()
}

/// How many gaps of the report have these words.
fn gaps_with(bed: &Bed, words: &str) -> usize {
    let report: Value = serde_json::from_str(&bed.tell(&["report", "--format", "json"]).unwrap()).unwrap();
    let gaps = report["gaps"].as_array().unwrap();
    gaps.iter().filter(|gap| gap.as_str().unwrap().contains(words)).count()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_second_guard_after_a_change_of_the_pin_path_is_told_by_reload_status_and_detach() {
    let bed = Bed::new("second").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let (first, second) = (bed.pin_path(), bed.pin_path().with_file_name("second"));
    let text = std::fs::read_to_string(bed.config()).unwrap();
    let pin_at = |path: &std::path::Path| {
        std::fs::write(bed.config(), text.replace(&format!("{first:?}"), &format!("{path:?}"))).unwrap();
    };
    pin_at(&second);
    let said = bed.tell(&["reload"]).unwrap();
    assert!(said.contains("`state.pin_path` was changed"), "{said}");
    let codes =
        |bed: &Bed| -> Vec<_> { bed.status().unwrap().problems.into_iter().map(|it| it.code).collect() };
    assert_eq!(codes(&bed), [ProblemCode::RestartNeeded]);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success());
    let daemon = bed.start(&[]).unwrap();
    assert!(codes(&bed).contains(&ProblemCode::SecondGuard), "{:?}", bed.status().unwrap().problems);
    // The store is the new daemon's.
    let said = bed.tell(&["detach", "--pin-path", &first.to_string_lossy()]).unwrap();
    assert!(said.contains("another Border Guard") && !said.contains("nothing is guarded"), "{said}");
    daemon
        .wait_for(PATIENCE, "the first one to be gone", || {
            (!codes(&bed).contains(&ProblemCode::SecondGuard)).then_some(())
        })
        .unwrap();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success());
    let said = bed.tell(&["detach"]).unwrap();
    assert!(said.contains("nothing is guarded any more"), "{said}");
    // The order of the docs: the old one is taken off before the next start, and nothing was lost.
    let daemon = bed.start(&[]).unwrap();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success());
    pin_at(&first);
    bed.tell(&["detach", "--pin-path", &second.to_string_lossy()]).unwrap();
    let _last = bed.start(&[]).unwrap();
    assert_eq!(codes(&bed), []);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_link_that_was_removed_while_no_daemon_ran_is_told_by_the_next() {
    let bed = Bed::new("unlinked").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success());
    for name in names(&bed.pin_path().join("links")) {
        std::fs::remove_file(bed.pin_path().join("links").join(name)).unwrap();
    }
    // The daemon has ended, so nobody else looks whether it is time.
    let end = Instant::now() + PATIENCE;
    while !bed.passes(US).is_ok_and(|passes| passes) {
        assert!(Instant::now() < end, "the programs stay where they were");
        std::thread::sleep(Duration::from_millis(50));
    }
    let again = bed.start(&[]).unwrap();
    let told = |code| {
        let problems = bed.status().unwrap().problems;
        problems
            .into_iter()
            .filter(|problem| problem.code == code)
            .filter_map(|it| it.subject)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(ProblemCode::GuardedLate), ["eth0"], "{}", again.log_tail());
    let lost = told(ProblemCode::AttachmentLost);
    assert!(matches!(&lost[..], [it] if it.starts_with("cgroup /")), "{lost:?}");
    assert_eq!(found_gone(&bed), [lost[0].as_str(), "eth0"]);
    assert_eq!(gaps_with(&bed, "found no guard at eth0"), 1);
    assert_eq!(gaps_with(&bed, "found nothing that refuses ways past the guard at cgroup /"), 1);
    // What the one before left whole is no news.
    again.signal(Signal::TERM);
    assert!(again.wait(PATIENCE).unwrap().success());
    let _third = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().problems, []);
}
