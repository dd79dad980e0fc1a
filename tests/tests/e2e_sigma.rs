//! The Sigma rules of `packaging/sigma`: sigma-cli finds nothing wrong with them and converts each for the languages that
//! docs/logs.md has queries in; and as SQLite runs them, they find just the lines that they are about.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use guard_tests::bed::{Bed, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, send};
use guard_tests::proc::retry_until;
use serde_json::{Value, json};

fn here(path: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", here("../.tools/sigma")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn sigma(words: &[&str]) -> String {
    let done = python().args(["-m", "sigma.cli.main"]).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let out = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "sigma {words:?}: {said}\n{out}");
    out
}

fn rules() -> Vec<String> {
    let folder = fs::read_dir(here("../packaging/sigma")).unwrap();
    let mut rules: Vec<String> =
        folder.map(|entry| entry.unwrap().path().to_string_lossy().into_owned()).collect();
    rules.sort();
    rules
}

/// The lines that each rule finds, by its file's name.
fn found(lines: &[Value]) -> BTreeMap<String, Vec<usize>> {
    let mut script = python();
    script.arg(here("sigma_on_lines.py")).args(rules());
    let mut running = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    lines.iter().for_each(|line| writeln!(input, "{line}").unwrap());
    drop(input);
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success());
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The places of the lines of which this holds.
fn of(lines: &[Value], holds: impl Fn(&Value) -> bool) -> Vec<usize> {
    (0..lines.len()).filter(|at| holds(&lines[*at])).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn rules_are_sound_and_are_converted_for_every_language_of_the_docs() {
    let folder = here("../packaging/sigma").to_string_lossy().into_owned();
    let checked = sigma(&["check", "--fail-on-error", "--fail-on-issues", &folder]);
    assert!(checked.contains("Found 0 errors, 0 condition errors and 0 issues"), "{checked}");
    for target in ["splunk", "lucene", "esql", "loki", "kusto"] {
        for rule in rules() {
            let query = sigma(&["convert", "--target", target, "--without-pipeline", &rule]);
            assert!(query.contains("class_uid"), "{target} {rule}: {query}");
        }
    }
    let docs = include_str!("../../docs/logs.md");
    for rule in rules() {
        let name = Path::new(&rule).file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            docs.contains(&format!("| [`{name}`](../packaging/sigma/{name}) |")),
            "{name} in docs/logs.md"
        );
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn each_rule_finds_the_lines_that_it_is_about_and_no_others() {
    let bed = Bed::new("sigma").unwrap();
    let log = bed.file("events.log");
    let flagging = PIN
        .replace("name = \"mail\"", "name = \"files\"")
        .replace("\"drop\"", "\"flag\"")
        .replace("\"udp/143\", \"tcp/143\"", "\"udp/389\"");
    bed.configure(
        &format!("[log]\nto = {log:?}\n{PIN}{flagging}")
            .replace("action = \"drop\"", "canary = \"1s\"\naction = \"drop\""),
    )
    .unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for port in [MAIL_PORT, OTHER_PORT] {
        let socket = bed.sender(port, Family::V4).unwrap();
        (20..30).for_each(|host| send(&socket, format!("203.0.113.{host}:9").parse().unwrap()));
    }
    let mut lines: Vec<Value> = retry_until(PATIENCE, "lines of each kind", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let whole = text.rsplit_once('\n')?.0;
        let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let has = |key: &str, value: &str| lines.iter().any(|line| line["unmapped"][key] == value);
        (has("verdict", "drop") && has("verdict", "flag") && has("kind", "canary")).then_some(lines)
    })
    .unwrap();
    // What is rare: the lines of the docs, which a test of the program holds against what it writes, and what of them is
    // another case.
    let docs = include_str!("../../docs/logs.md").lines();
    let shown: Vec<Value> = docs
        .filter(|line| line.starts_with('{'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["class_uid"].is_u64())
        .collect();
    let with = |kind: &str, pointer: &str, value: Value| {
        let mut line = shown.iter().find(|line| line["unmapped"]["kind"] == kind).unwrap().clone();
        *line.pointer_mut(pointer).unwrap() = value;
        line
    };
    lines.extend([
        with("pinned-copy", "/unmapped/followed", json!([])),
        with("event", "/status_code", json!("opaque")),
        with("event", "/unmapped/phase", json!("resumed")),
    ]);
    lines.extend(shown.iter().cloned());

    let found = found(&lines);
    let is = |line: &Value, key: &str, value: &str| line["unmapped"][key] == value;
    let expected = [
        (
            "egress_dropped.yml",
            of(&lines, |line| {
                let is_told = is(line, "kind", "event") || is(line, "kind", "summary");
                is_told && is(line, "verdict", "drop") && !is(line, "phase", "resumed")
            }),
        ),
        ("egress_flagged.yml", of(&lines, |line| is(line, "verdict", "flag"))),
        ("lines_lost.yml", of(&lines, |line| is(line, "kind", "lost"))),
        ("unjudgeable.yml", of(&lines, |line| line["status_code"] == "opaque")),
        (
            "volume_copy.yml",
            of(&lines, |line| is(line, "kind", "pinned-copy") && line["unmapped"]["followed"] == json!([])),
        ),
    ];
    for (rule, lines) in &expected {
        assert!(!lines.is_empty(), "nothing shows {rule}");
        assert_eq!(found[*rule], *lines, "{rule}");
    }
    assert_eq!(found.len(), expected.len());
}
