//! A disk or a source of names that does not answer holds up no stay, no interface and no quota.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::time::{Duration, Instant};

use guard_tests::bed::{self, Bed, Family, MAIL_PORT, PIN, US};
use guard_tests::netns::Netns;
use guard_tests::proc::{Process, retry_until, run_to_end};
use guard_tests::signing::{COMPLIANCE, Signers};
use guard_tests::slow::{self, Part};
use guard_user::approval::POLICY;
use guard_user::control::client::{ClientError, ask};
use guard_user::control::protocol::{Request, Response};
use guard_user::health::ProblemCode;
use guard_user::store::{Target, last_policy, sha256};
use rustix::process::Signal;

/// Bounds for a debug build on a machine that does other things, too; the storm's test has the figures.
const SOON: Duration = Duration::from_secs(5);
const TO_US: &str = "203.0.113.10/32";

fn store(bed: &Bed) -> &Netns {
    bed.host(guard_tests::bed::STORE).unwrap()
}

fn stay(bed: &Bed, id: &str) -> std::thread::JoinHandle<Result<Response, ClientError>> {
    let (socket, id) = (bed.socket(), id.to_owned());
    std::thread::spawn(move || {
        let request = Request::ExemptionStay {
            target: Target::Id(id),
            order: "High Court 1".to_owned(),
            not_loaded: false,
            dry_run: false,
        };
        ask(&socket, &request)
    })
}

fn guards_a_new_interface(bed: &Bed, name: &str) {
    store(bed).link(name, bed.router(), name).unwrap();
    let guarded = || {
        let found = bed.status().ok()?.interfaces.into_iter().find(|interface| interface.name == name)?;
        (found.problem.is_none() && !found.hooks.is_empty()).then_some(())
    };
    retry_until(SOON, &format!("{name} to be guarded"), guarded).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_disk_that_hangs_at_the_start_holds_up_no_guard() {
    let bed = Bed::new("slow-start").unwrap();
    bed.configure_for(&["eth0", "new*"], PIN).unwrap();
    slow::hang(&bed, Part::Disk).unwrap();
    let _daemon = slow::start(&bed).unwrap();
    assert!(!bed.passes(US).unwrap());
    guards_a_new_interface(&bed, "new0");
    let has = |code| bed.status().unwrap().problems.iter().any(|problem| problem.code == code);
    assert!(has(ProblemCode::StoreUnavailable), "{:?}", bed.status().unwrap().problems);
    slow::go_on(&bed, Part::Disk).unwrap();
    let opened = || (!has(ProblemCode::StoreUnavailable)).then_some(());
    retry_until(Duration::from_secs(20), "the store to be opened", opened).unwrap();
    bed.exempt("one", &[TO_US], 600, None).unwrap();
    assert!(bed.passes(US).unwrap());
}

/// As after a boot, when nothing is attached.
#[test]
#[ignore = "needs root and BPF"]
fn files_that_can_t_be_opened_at_the_start_hold_up_no_guard() {
    let bed = Bed::new("slow-files").unwrap();
    bed.configure_for(&["eth0", "new*"], PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    daemon.kill(SOON).unwrap();
    drop(daemon);
    bed.tell(&["detach"]).unwrap();
    assert!(bed.passes(US).unwrap(), "nothing guards");
    slow::hang(&bed, Part::Files).unwrap();
    let daemon = slow::start(&bed).unwrap();
    retry_until(SOON, "what is forbidden to be dropped", || bed.passes(US).is_ok_and(|it| !it).then_some(()))
        .unwrap();
    guards_a_new_interface(&bed, "new0");
    slow::go_on(&bed, Part::Files).unwrap();
    daemon.kill(SOON).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_disk_that_hangs_keeps_no_order_from_the_kernel() {
    let bed = Bed::new("slow-disk").unwrap();
    bed.configure_for(&["eth0", "new*"], PIN).unwrap();
    let daemon = slow::start(&bed).unwrap();
    bed.exempt("one", &[TO_US], 600, None).unwrap();
    assert!(bed.passes(US).unwrap());
    slow::hang(&bed, Part::Disk).unwrap();
    let begin = Instant::now();
    let answer = stay(&bed, "one");
    retry_until(SOON, "the stay to reach the kernel", || {
        bed.passes(US).is_ok_and(|passes| !passes).then_some(())
    })
    .unwrap();
    assert!(begin.elapsed() < SOON);
    guards_a_new_interface(&bed, "new0");
    // The answer says that it is not on the disk, and the status that it is not kept.
    let message = answer.join().unwrap().unwrap_err().to_string();
    assert!(message.contains("no packet passes any more"), "{message}");
    let problems = bed.status().unwrap().problems;
    assert!(problems.iter().any(|problem| problem.code == ProblemCode::OrderNotKept), "{problems:?}");
    // Not even a kill opens it again: the kernel holds the order.
    daemon.kill(SOON).unwrap();
    slow::go_on(&bed, Part::Disk).unwrap();
    let _next = bed.start(&[]).unwrap();
    assert!(!bed.passes(US).unwrap(), "the order holds over a restart");
    let kept = || {
        let stayed = bed.exemption("one").ok()?.state.name() == "stayed";
        (stayed && bed.status().ok()?.problems.iter().all(|it| it.code != ProblemCode::OrderNotKept))
            .then_some(())
    };
    retry_until(SOON, "the order to be on the disk", kept).unwrap();
}

/// The service manager kills who takes longer than 90 seconds.
#[test]
#[ignore = "needs root and BPF"]
fn a_daemon_is_stopped_in_time_though_its_disk_hangs() {
    let bed = Bed::new("slow-stop").unwrap();
    bed.configure_for(&["eth0"], PIN).unwrap();
    let daemon = slow::start(&bed).unwrap();
    bed.exempt("one", &[TO_US], 600, None).unwrap();
    slow::hang(&bed, Part::Disk).unwrap();
    let begin = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.wait(Duration::from_secs(60)).unwrap();
    eprintln!("stopped after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    assert!(bed.passes(US).unwrap(), "the last generation goes on");
    slow::go_on(&bed, Part::Disk).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn to_detach_loses_no_order_that_only_the_kernel_has() {
    let bed = Bed::new("slow-detach").unwrap();
    bed.configure_for(&["eth0"], PIN).unwrap();
    for (id, of_another_version) in [("one", false), ("two", true)] {
        let daemon = slow::start(&bed).unwrap();
        leave_an_order_to_the_kernel(&bed, &daemon, id);
        if of_another_version {
            bed::make_another_versions(&bed.pin_path()).unwrap();
        }
        let said = bed.tell(&["detach"]).unwrap();
        assert_eq!(said.contains("what was counted last can't be read"), of_another_version, "{said}");
        let next = bed.start(&[]).unwrap();
        assert!(!bed.passes(US).unwrap(), "the order holds");
        assert_eq!(bed.exemption(id).unwrap().state.name(), "stayed");
        next.kill(SOON).unwrap();
    }
    // Who names no store is told what that means.
    let daemon = slow::start(&bed).unwrap();
    leave_an_order_to_the_kernel(&bed, &daemon, "three");
    let program = guard_tests::program::borderguard().unwrap();
    let mut command = bed.host(bed::STORE).unwrap().command(&program.to_string_lossy()).unwrap();
    command.args(["detach", "--pin-path"]).arg(bed.pin_path());
    let (status, _, said) = run_to_end("borderguard", command, SOON).unwrap();
    assert!(!status.success() && said.contains("ORDERS ARE LOST"), "{said}");
}

/// Loads an exemption and has it stayed while the disk hangs, and ends the daemon before the disk has it.
fn leave_an_order_to_the_kernel(bed: &Bed, daemon: &Process, id: &str) {
    bed.exempt(id, &[TO_US], 600, None).unwrap();
    slow::hang(bed, Part::Disk).unwrap();
    let message = stay(bed, id).join().unwrap().unwrap_err().to_string();
    assert!(message.contains("no packet passes any more"), "{message}");
    daemon.kill(SOON).unwrap();
    slow::go_on(bed, Part::Disk).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_source_of_names_that_hangs_holds_up_nobody() {
    let bed = Bed::new("slow-names").unwrap();
    bed.configure_for(&["eth0", "new*"], PIN).unwrap();
    let _daemon = slow::start(&bed).unwrap();
    bed.exempt("one", &[TO_US], 600, None).unwrap();
    slow::hang(&bed, Part::Names).unwrap();
    let begin = Instant::now();
    assert!(matches!(stay(&bed, "one").join().unwrap().unwrap(), Response::Done { .. }));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0);
    guards_a_new_interface(&bed, "new0");
    slow::go_on(&bed, Part::Names).unwrap();
}

/// What a config closes waits for no disk, and what one opens does: the next is held against what is live meanwhile, and the record
/// and the file follow.
#[test]
#[ignore = "needs root and BPF"]
fn a_config_that_closes_waits_for_no_disk_and_one_that_opens_does() {
    let bed = Bed::new("slow-config").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    let asked = "[approval.policy]\nrequired = [{ role = \"compliance\", count = 1 }]\n";
    bed.configure(&format!("{PIN}{}{asked}", signers.config())).unwrap();
    let narrow = fs::read_to_string(bed.config()).unwrap();
    let permits = |place: &str| narrow.replacen("permit = [", &format!("permit = [{place:?}, "), 1);
    let (wide, state) = (permits("US"), bed.file("state"));
    fs::write(bed.config(), &wide).unwrap();
    let _daemon = slow::start(&bed).unwrap();
    assert!(bed.passes(US).unwrap());
    let reload = |text: &str| {
        fs::write(bed.config(), text).unwrap();
        bed.ask(&["reload"]).unwrap()
    };
    let has = |code| bed.status().unwrap().problems.into_iter().find(|problem| problem.code == code);
    // What the databases and the comparison take is no wait for the disk.
    let begin = Instant::now();
    assert!(reload(&format!("# first\n{wide}")).is_done());
    let soon = 3 * begin.elapsed() + SOON;
    slow::hang(&bed, Part::Disk).unwrap();
    for text in [&narrow, &format!("# once more\n{narrow}")] {
        let begin = Instant::now();
        let answer = reload(text);
        assert!(answer.is_done() && begin.elapsed() < soon, "{answer:?} after {:?}", begin.elapsed());
        assert!(!bed.passes(US).unwrap());
    }
    let problem = has(ProblemCode::ConfigUnkept).expect("it is told until the disk has it");
    assert!(problem.message.contains("policy.last") && problem.message.contains("not answered"), "{problem}");
    // What opens is held against what is live, though the disk has the one before, and its signatures are of no use yet.
    let again = format!("# again\n{wide}");
    assert!(!reload(&wide).is_done() && !bed.passes(US).unwrap());
    fs::write(bed.config(), &again).unwrap();
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    let answer = reload(&again);
    assert!(!answer.is_done() && !bed.passes(US).unwrap(), "{answer:?}");
    slow::go_on(&bed, Part::Disk).unwrap();
    let kept = || {
        let last = last_policy::read(&state).ok()??;
        (has(ProblemCode::ConfigUnkept).is_none() && last.bytes.ends_with(narrow.as_bytes())).then_some(())
    };
    retry_until(Duration::from_secs(20), "the live config to be kept", kept).unwrap();
    let recorded = || {
        let trail = bed.trail().ok()?;
        let is_it = |of: &str| trail.iter().any(|it| it.kind == "reload" && it.detail["config_sha256"] == of);
        is_it(&sha256(narrow.as_bytes())).then_some(())
    };
    retry_until(SOON, "the reload to be recorded", recorded).unwrap();
    assert!(!bed.passes(US).unwrap());

    // Likewise where the disk does not even say which one is kept.
    slow::hang(&bed, Part::Config).unwrap();
    let narrower = narrow.replacen("permit = [\"EU\"]", "permit = []", 1);
    let begin = Instant::now();
    let answer = reload(&narrower);
    assert!(answer.is_done() && begin.elapsed() < soon, "{answer:?} after {:?}", begin.elapsed());
    let answer = reload(&again);
    assert!(!answer.is_done() && answer.complaint.contains("What opens waits for the disk"), "{answer:?}");
    assert!(!bed.passes(US).unwrap());
    slow::go_on(&bed, Part::Config).unwrap();
    let taken = || reload(&again).is_done().then_some(());
    retry_until(Duration::from_secs(20), "what is signed to be taken", taken).unwrap();
    assert!(bed.passes(US).unwrap());
}
