//! `borderguard bundle` with the real daemon, read by tar(1): all that somebody needs who is to help, and no address where it was
//! redacted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_tests::proc::{retry_until, run_to_end};
use serde_json::Value;

const FILES: [&str; 6] =
    ["about.json", "policy.toml", "status.json", "problems.json", "doctor.json", "audit.jsonl"];

/// The archive's files, as tar(1) takes them out.
fn unpacked(archive: &Path, into: &Path) -> BTreeMap<String, String> {
    fs::create_dir(into).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--file"]).arg(archive).arg("--directory").arg(into);
    let (status, _, complaint) = run_to_end("tar", tar, PATIENCE).unwrap();
    assert!(status.success(), "{complaint}");
    let entries = fs::read_dir(into.join("borderguard-bundle")).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

fn json(files: &BTreeMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&files[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
#[ignore = "needs root and BPF"]
fn an_archive_has_what_helps_and_no_address_where_it_was_redacted() {
    let bed = Bed::new("bundle").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 0);
    retry_until(PATIENCE, "the drop", || bed.events().unwrap().first().cloned()).unwrap();
    let (whole, redacted) = (bed.file("whole.tar"), bed.file("redacted.tar"));
    let told = bed.tell(&["bundle", &whole.to_string_lossy()]).unwrap();
    assert!(
        told.contains("WITH addresses") && told.contains("audit.jsonl") && !told.contains("without "),
        "{told}"
    );
    bed.tell(&["bundle", "--redact", &redacted.to_string_lossy()]).unwrap();
    assert_eq!(fs::metadata(&whole).unwrap().permissions().mode() & 0o7777, 0o600);

    let files = unpacked(&whole, &bed.file("whole"));
    let mut names = FILES.map(str::to_owned);
    names.sort();
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), names);
    assert_eq!(files["policy.toml"], fs::read_to_string(bed.config()).unwrap());
    assert_eq!(json(&files, "status.json")["health"], "guarding");
    assert_eq!(json(&files, "doctor.json")["schema"], 1);
    assert_eq!(json(&files, "about.json")["missing"], Value::Array(Vec::new()));
    let records: Vec<Value> =
        files["audit.jsonl"].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().any(|record| record["kind"] == "start"), "{records:?}");
    let keys: Vec<&String> = records[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["kind", "sequence", "time"]);

    let files = unpacked(&redacted, &bed.file("redacted"));
    assert_eq!(json(&files, "about.json")["host"], Value::Null);
    assert_eq!(json(&files, "status.json")["people"], "hidden");
    for (name, text) in &files {
        for address in ["192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:"] {
            assert!(!text.contains(address), "{address} is in {name}: {text}");
        }
    }
    // What is not an address is as it was, and the same address has one name.
    let socket = format!("socket = {:?}", bed.socket());
    assert!(files["policy.toml"].contains(&socket) && files["policy.toml"].contains("address-"), "{files:?}");

    // A file that is there is not written over.
    let again = bed.ask(&["bundle", &whole.to_string_lossy()]).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(again.complaint.contains("not there yet"), "{}", again.complaint);

    // Without a daemon it is told what is missing; the store has the trail.
    drop(daemon);
    let alone = bed.file("alone.tar");
    let told = bed.tell(&["bundle", &alone.to_string_lossy()]).unwrap();
    assert!(told.contains("without status.json: no daemon answers"), "{told}");
    let files = unpacked(&alone, &bed.file("alone"));
    assert!(!files.contains_key("status.json") && files.contains_key("audit.jsonl"), "{:?}", files.keys());
    assert_eq!(json(&files, "about.json")["missing"][0]["file"], "status.json");
}
