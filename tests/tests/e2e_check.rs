//! `check` names what `run` stumbles over: what keeps it from starting is an error, what it goes on without a warning.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use guard_tests::bed::{Bed, PATIENCE, PIN_BOTH_WAYS, STORE};
use guard_tests::cleanup;
use guard_tests::proc::run_to_end;
use guard_tests::program;
use guard_user::health::ProblemCode;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::{Value, json};

/// What `check` says of the bed's config, and its exit code.
fn check(bed: &Bed) -> (Option<i32>, Value) {
    check_by(bed, &["--json"])
}

fn check_by(bed: &Bed, words: &[&str]) -> (Option<i32>, Value) {
    let program = program::borderguard().unwrap();
    let mut command = bed.host(STORE).unwrap().command(&program.to_string_lossy()).unwrap();
    command.arg("check").args(words).arg(bed.config());
    let (status, out, complaint) = run_to_end("borderguard", command, PATIENCE).unwrap();
    (status.code(), serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{complaint}")))
}

fn codes(findings: &Value) -> BTreeSet<&str> {
    findings.as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect()
}

/// Puts other text into the config, where the old one is there once.
fn edit(bed: &Bed, from: &str, to: &str) {
    let text = fs::read_to_string(bed.config()).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    fs::write(bed.config(), text.replace(from, to)).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_keeps_a_start_from_succeeding_is_an_error() {
    let bed = Bed::new("refused").unwrap();
    let geo = |file: &str| format!("{PIN_BOTH_WAYS}[geo]\nfiles = [{file:?}]\n");
    let file = |name: &str| bed.file(name).to_string_lossy().into_owned();
    fs::write(bed.file("none.mmdb"), "this is no database").unwrap();
    let (missing, none, folder) = (file("missing.mmdb"), file("none.mmdb"), file("."));
    let pin_path = bed.pin_path().to_string_lossy().into_owned();
    for (rest, edited, code) in [
        (geo(&missing), None, "geo-file"),
        (geo(&none), None, "geo-file"),
        (geo(&folder), None, "geo-file"),
        (PIN_BOTH_WAYS.to_owned(), Some(file("pins")), "pin-path"),
        (PIN_BOTH_WAYS.to_owned(), Some("/sys/fs/bpf/border.guard".to_owned()), "pin-path"),
    ] {
        bed.configure(&rest).unwrap();
        if let Some(other) = edited {
            edit(&bed, &pin_path, &other);
        }
        let (exit, said) = check(&bed);
        assert_eq!((exit, codes(&said["errors"])), (Some(2), BTreeSet::from([code])), "{said}");
        let error = &said["errors"][0];
        assert!(error["line"].as_u64().unwrap() > 1, "{said}");
        let started = bed.ask(&["run"]).unwrap();
        assert!(!started.status.success(), "{code}: {started:?}");
        let message = error["message"].as_str().unwrap();
        assert!(started.complaint.contains(message), "{message}\n{}", started.complaint);
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_start_goes_on_without_is_a_warning() {
    let bed = Bed::new("without").unwrap();
    let rest = PIN_BOTH_WAYS
        .replace("\nports =", "\nsent_by = \"socket\"\ncgroups = [\"bg-no-such.slice\"]\nports =")
        + "[control.groups]\nview = [\"bg-no-such\"]\n[geo]\nmax_age = \"1h\"\n";
    bed.configure_for(&["eth0", "eth9"], &rest).unwrap();
    let state = bed.file("state").to_string_lossy().into_owned();
    fs::write(bed.file("file"), "").unwrap();
    edit(&bed, &format!("directory = {state:?}"), &format!("directory = {:?}", bed.file("file")));
    let (exit, said) = check(&bed);
    let found =
        ["interface-missing", "cgroup-missing", "group-unresolved", "database-stale", "state-unusable"];
    assert_eq!((exit, codes(&said["warnings"])), (Some(0), BTreeSet::from(found)), "{said}");

    let daemon = bed.start(&[]).unwrap();
    let met = [
        ProblemCode::InterfaceMissing,
        ProblemCode::CgroupMissing,
        ProblemCode::GroupsUnresolved,
        ProblemCode::DatabaseStale,
        ProblemCode::StoreUnavailable,
    ];
    let wanted: BTreeSet<ProblemCode> = met.into_iter().collect();
    daemon
        .wait_for(PATIENCE, "the problems that check warned of", || {
            let problems: BTreeSet<ProblemCode> =
                bed.status().ok()?.problems.iter().map(|problem| problem.code).collect();
            wanted.is_subset(&problems).then_some(())
        })
        .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_file_system_that_takes_no_file_is_a_warning() {
    let bed = Bed::new("readonly").unwrap();
    bed.configure(PIN_BOTH_WAYS).unwrap();
    let mounted = bed.file("readonly");
    fs::create_dir(&mounted).unwrap();
    let at = mounted.clone();
    let ((), _undo) = cleanup::make(|| {
        rustix::mount::mount("tmpfs", &mounted, "tmpfs", MountFlags::RDONLY, c"size=64k")?;
        Ok::<_, rustix::io::Errno>(((), move || {
            let _gone = rustix::mount::unmount(&at, UnmountFlags::DETACH);
        }))
    })
    .unwrap();
    let state = mounted.join("state");
    edit(&bed, &format!("directory = {:?}", bed.file("state")), &format!("directory = {state:?}"));
    let (exit, said) = check(&bed);
    assert_eq!((exit, codes(&said["warnings"])), (Some(0), BTreeSet::from(["state-unusable"])), "{said}");
    assert_eq!(
        check_by(&bed, &["--json", "--strict"]),
        (Some(2), said.clone()),
        "a warning is an error then"
    );
    let message = said["warnings"][0]["message"].as_str().unwrap();
    assert!(message.contains("can't be made in") && message.contains("Read-only file system"), "{message}");
    let _daemon = bed.start(&[]).unwrap();
    let problems = bed.status().unwrap().problems;
    assert!(problems.iter().any(|problem| problem.code == ProblemCode::StoreUnavailable), "{problems:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_cannot_be_made_is_a_warning() {
    let bed = Bed::new("socket").unwrap();
    bed.configure(PIN_BOTH_WAYS).unwrap();
    let open = bed.file("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    edit(&bed, &bed.socket().to_string_lossy(), &open.join("s").to_string_lossy());
    let (exit, said) = check(&bed);
    assert_eq!((exit, codes(&said["warnings"])), (Some(0), BTreeSet::from(["socket-unusable"])), "{said}");
    let message = said["warnings"][0]["message"].as_str().unwrap();
    let daemon = bed.spawn(&[]).unwrap();
    daemon
        .wait_for(PATIENCE, "the daemon to say the same", || daemon.stderr().contains(message).then_some(()))
        .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn of_a_config_without_a_warning_a_daemon_has_no_problem() {
    let bed = Bed::new("good").unwrap();
    bed.configure(PIN_BOTH_WAYS).unwrap();
    let clean = |bed: &Bed| {
        let (exit, said) = check(bed);
        assert_eq!((exit, codes(&said["warnings"])), (Some(0), BTreeSet::new()), "{said}");
        assert_eq!(check_by(bed, &["--json", "--strict"]).0, Some(0));
        assert_eq!(said["not_looked_at"], serde_json::json!([]));
    };
    clean(&bed);
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().problems, []);
    // What the daemon holds is not in its own way.
    clean(&bed);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_no_pin_knows_is_listed_by_check_and_by_status() {
    let bed = Bed::new("unpinned").unwrap();
    let store = bed.host(STORE).unwrap();
    store.ip(&["address", "add", "192.0.2.77/24", "dev", "eth0"]).unwrap();
    let listen = |at: &str| store.run(|| TcpListener::bind(at).unwrap()).unwrap();
    let (_web, _mail, _own) = (listen("[::]:8080"), listen("192.0.2.10:143"), listen("127.0.0.1:8081"));
    bed.configure(PIN_BOTH_WAYS).unwrap();
    let (exit, said) = check(&bed);
    let _daemon = bed.start(&[]).unwrap();
    let status = serde_json::to_value(bed.status().unwrap()).unwrap();
    for unpinned in [&said["unpinned"], &status["unpinned"]] {
        assert_eq!((exit, &unpinned["addresses"]), (Some(0), &json!(["192.0.2.77"])), "{said}");
        let sockets: Vec<_> = unpinned["sockets"].as_array().unwrap().iter().collect();
        let [web] = sockets[..] else { panic!("{unpinned}") };
        assert_eq!(
            (&web["protocol"], &web["port"], &web["address"]),
            (&json!("tcp"), &json!(8080), &json!(null))
        );
        assert_eq!(unpinned["answered"], json!([]), "{unpinned}");
    }
    // What the kernel answers to a process's spoofed packets has no cgroup.
    let by_cgroup =
        PIN_BOTH_WAYS.to_owned() + "[[pin.select]]\nsent_by = \"socket\"\ncgroups = [\"bg-no-such.slice\"]\n";
    bed.configure(&by_cgroup).unwrap();
    assert_eq!(check(&bed).1["unpinned"]["answered"], json!(["mail"]));
    bed.tell(&["reload"]).unwrap();
    let status = serde_json::to_value(bed.status().unwrap()).unwrap();
    assert_eq!(status["unpinned"]["answered"], json!(["mail"]), "{status}");
}
