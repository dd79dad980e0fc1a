//! `borderguard explain` over whole captures, by itself and with the kernel's program beside it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use guard_tests::packet::Packet;
use guard_tests::pcap::{LinkType, Writer};
use guard_tests::privilege::can_bpf;
use guard_user::cli::explain::{Args, run};
use guard_user::exit::Exit;
use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = r#"approval = "none"
[host]
interfaces = ["eth0"]
[state]
directory = "/nonexistent/borderguard"
[[site]]
name = "ashburn"
jurisdiction = "US"
cidrs = ["203.0.113.0/24"]
[[pin]]
name = "mail"
home = "IE"
action = "drop"
[pin.select]
ports = ["tcp/143"]
"#;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

/// Runs the command with the policy above: its exit code and its output.
fn explain(folder: &Path, options: &[&str]) -> (Exit, String) {
    let config = folder.join("policy.toml");
    fs::write(&config, POLICY).unwrap();
    let command =
        ["explain", "--config", config.to_str().unwrap()].into_iter().chain(options.iter().copied());
    let Command { args } = Command::try_parse_from(command).unwrap();
    let mut out = Vec::new();
    let code = run(&args, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn capture(link: LinkType, frames: &[Vec<u8>]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frames.pcap");
    let mut writer = Writer::create(&file, link).unwrap();
    for frame in frames {
        writer.write(Duration::ZERO, frame).unwrap();
    }
    writer.finish().unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn frames(begin: &Packet) -> Vec<Vec<u8>> {
    let mail = |to: [u8; 4]| begin.clone().ipv4([192, 0, 2, 10], to).tcp(143, 50_000).payload("a mail");
    vec![
        mail([203, 0, 113, 30]).build(),
        mail([224, 0, 0, 5]).build(),
        mail([203, 0, 113, 30]).truncate(60).build(),
    ]
}

#[test]
fn each_frame_is_one_json_object_with_a_summary_at_the_end() {
    for (link, begin) in [(LinkType::Ethernet, Packet::ethernet()), (LinkType::RawIp, Packet::new())] {
        let (folder, file) = capture(link, &frames(&begin)[..2]);
        let (code, out) = explain(folder.path(), &["--json", "--pcap", &file]);
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = json!({
            "frame": 1, "verdict": "drop", "reason": "forbidden", "pins": ["mail"], "denied": ["mail"],
            "jurisdiction": "US", "placed_by": "site", "exemption": null, "destination": "203.0.113.30",
        });
        assert_eq!((code, &lines[0]), (Exit::Ok, &expected));
        assert_eq!(lines[1]["reason"], "link-scope");
        let counts = json!([
            { "verdict": "pass", "reason": "link-scope", "frames": 1 },
            { "verdict": "drop", "reason": "forbidden", "frames": 1 },
        ]);
        assert_eq!(lines[2], json!({ "summary": { "frames": 2, "cut": 0, "counts": counts } }));
    }
}

#[test]
fn a_flow_is_told_in_words_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let flow = ["--from", "192.0.2.10:143", "--to", "203.0.113.30:50000"];
    let (code, out) = explain(folder.path(), &flow);
    assert_eq!(code, Exit::Ok);
    assert!(out.starts_with("flow       tcp from 192.0.2.10:143 to 203.0.113.30:50000\n"), "{out}");
    assert!(out.contains("\nverdict    drop, forbidden: "), "{out}");
    let (_, out) = explain(folder.path(), &[&flow[..], &["--json"]].concat());
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&object["verdict"], &object["steps"][0]["step"]), (&json!("drop"), &json!("flow")));
}

/// What is mounted on this machine, but for what other tests mount meanwhile.
fn mounted() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| !line.contains("bg-")).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_kernel_judges_the_same_frames() {
    can_bpf().unwrap();
    let before = mounted();
    for (link, begin) in [(LinkType::Ethernet, Packet::ethernet()), (LinkType::RawIp, Packet::new())] {
        let (folder, file) = capture(link, &frames(&begin));
        let folder = folder.path().to_owned();
        // The command takes a mount namespace for the thread that it runs in.
        let judged = std::thread::spawn({
            let file = file.clone();
            move || explain(&folder, &["--pcap", &file, "--kernel"])
        });
        let (code, out) = judged.join().unwrap();
        assert_eq!(code, Exit::Ok, "{out}");
        assert!(out.contains("the kernel's program decides all 3 that it takes alike"), "{out}");
    }
    assert_eq!(mounted(), before, "the host's mounts are as before");
}

#[test]
fn what_goes_by_an_interface_that_is_not_guarded_is_said_to_be_judged_by_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let flow = ["--from", "192.0.2.10:143", "--to", "203.0.113.30:50000"];
    let guard = |iface: &str| {
        let (_, out) = explain(folder.path(), &[&flow[..], &["--iface", iface]].concat());
        out.lines().next().unwrap().to_owned()
    };
    assert!(guard("eth1").starts_with("guard      NOTHING judges what goes by eth1"), "{}", guard("eth1"));
    assert!(guard("eth0").starts_with("flow "), "{}", guard("eth0"));
    let (_, out) = explain(folder.path(), &[&flow[..], &["--iface", "eth1", "--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["steps"][0]["step"], "guard");
}
