//! The Dublin demo as a program: it shows what it must, fails when it must, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use guard_tests::proc::{Process, run_to_end};
use guard_tests::scratch::Scratch;
use rustix::process::Signal;

const DEADLINE: Duration = Duration::from_secs(180);

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guard-demo"));
    command.args(arguments);
    command
}

/// What a process of this id has left in any of the places that the demo uses.
fn traces(pid: u32) -> Vec<String> {
    let temporary = std::env::temp_dir();
    let places = [Path::new("/run/netns"), Path::new("/run/borderguard-tests"), &temporary];
    let entries = places.into_iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("bg-{pid}-"))).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn without_a_guard_everything_arrives() {
    let process = Process::spawn("guard-demo", demo(&["--without-guard"])).unwrap();
    let status = process.wait(DEADLINE).unwrap();
    let shown = process.stdout();
    assert!(status.success(), "{shown}\n{}", process.stderr());
    assert!(shown.contains("✔ nowhere") && !shown.contains('✘'), "{shown}");
    assert!(!shown.contains('\x1b'), "no colours where there is no terminal");
    for line in shown.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    assert_eq!(traces(process.pid()), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_guard_that_does_not_start_is_told() {
    let process = Process::spawn("guard-demo", demo(&["--borderguard", "/bin/false"])).unwrap();
    assert_eq!(process.wait(DEADLINE).unwrap().code(), Some(1));
    assert!(process.stderr().contains("borderguard ended too early"), "{}", process.stderr());
    assert_eq!(traces(process.pid()), Vec::<String>::new());
    let (status, _, complaint) =
        run_to_end("guard-demo", demo(&["--borderguard", "/none"]), DEADLINE).unwrap();
    assert!(!status.success() && complaint.contains("no borderguard program at /none"), "{complaint}");
}

/// A program that answers like a guard, but lets everything through.
const IDLE_GUARD: &str = r#"#!/bin/sh
now=$(date +%s%N)
case "$1" in
run) exec sleep infinity ;;
status) printf '{"counters":[
    {"pin":null,"jurisdiction":null,"verdict":"pass","reason":"untagged","packets":%s,"bytes":1},
    {"pin":"mailbox","jurisdiction":null,"verdict":"pass","reason":"permitted","packets":%s,"bytes":1}]}' "$now" "$now" ;;
exemption) echo '{"approvals":[]}' ;;
audit) echo '{"whole":true}' ;;
report) echo '{"exemptions":[],"traffic":[]}' ;;
esac
"#;

#[test]
#[ignore = "needs root and BPF"]
fn a_guard_that_stops_nothing_fails_the_demo() {
    let folder = Scratch::new("idle-guard").unwrap();
    let program = folder.path().join("borderguard");
    fs::write(&program, IDLE_GUARD).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let process = Process::spawn("guard-demo", demo(&["--borderguard", &program.to_string_lossy()])).unwrap();
    assert_eq!(process.wait(DEADLINE).unwrap().code(), Some(1));
    // Long lines are broken: read them as one.
    let shown = process.stdout().split_whitespace().collect::<Vec<_>>().join(" ");
    for difference in [
        "act 2: mailbox for 203.0.113.30: nothing may arrive, but 2580850 bytes did",
        "act 2: mailbox for 2001:db8:ff::40: the verdict must be drop, place-unknown, but was pass, permitted",
        "act 3: the wider config, unsigned must be refused",
        "act 4: the warrant must be refused, and the refusal must say: Art. 48",
        "act 4: the request, unsigned must be refused",
        "act 5: it must be approved by both",
        "act 5: mailbox for 203.0.113.30: the verdict must be pass, exempt, but was pass, permitted",
        "act 6: not one byte may arrive after it was stayed",
        "act 7: not one byte may arrive after it was revoked",
        "act 7: the client must see a reset, and no hang",
        "act 8: the mailbox's copy for US must not arrive",
        "act 9: the audit trail must have the six refusals",
        "act 9: the report must say what crossed, and why",
        "act 10: a receipt of the exemption that is closed must be written",
    ] {
        assert!(shown.contains(difference), "{difference}\n{shown}\n{}", process.stderr());
    }
    assert!(
        shown.contains("│ ✔ Belgium │ 198.51.100.20 │ mailbox │ BE │ pass │ permitted │ 2,580,850 │"),
        "{shown}"
    );
    assert!(shown.contains("│ ✘ US │ 203.0.113.30 │ mailbox │ US │ pass │ permitted │"), "{shown}");
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interrupted_demo_leaves_nothing() {
    let process = Process::spawn("guard-demo", demo(&["--without-guard"])).unwrap();
    process
        .wait_for(DEADLINE, "the first row", || process.stdout().contains("✔ Belgium").then_some(()))
        .unwrap();
    assert!(!traces(process.pid()).is_empty());
    process.signal(Signal::INT);
    assert!(!process.wait(DEADLINE).unwrap().success());
    assert_eq!(traces(process.pid()), Vec::<String>::new());
}
