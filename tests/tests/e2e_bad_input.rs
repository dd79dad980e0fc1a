//! Bad input while the daemon runs: one clear error each, and the running generation stays live.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, PATIENCE, PIN, US, exemption};
use guard_tests::proc::{Process, retry_until};
use rustix::process::Signal;
use serde_json::Value;

struct Running {
    bed: Bed,
    daemon: Process,
    generation: u64,
}

impl Running {
    fn new(label: &str) -> Self {
        let bed = Bed::new(label).unwrap();
        bed.configure(PIN).unwrap();
        let daemon = bed.start(&[]).unwrap();
        let generation = bed.status().unwrap().generation;
        Self { bed, daemon, generation }
    }

    /// What the command line says when the config as it is now is loaded.
    fn refused_reload(&self) -> String {
        let answer = self.bed.ask(&["reload"]).unwrap();
        assert!(!answer.status.success(), "{answer:?}");
        assert!(answer.complaint.contains("stays live"), "{answer:?}");
        answer.complaint
    }

    /// The daemon is the same, judges by the same generation, and enforces.
    fn is_untouched(&self) {
        assert_eq!(self.daemon.ended(), None, "{}", self.daemon.log_tail());
        let status = self.bed.status().unwrap();
        assert_eq!((status.pid, status.generation), (self.daemon.pid(), self.generation));
        assert_eq!(self.bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
        assert_eq!(self.bed.send(3, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 3);
        assert!(!self.daemon.stderr().contains("panicked"), "{}", self.daemon.log_tail());
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn every_error_of_a_config_is_reported_on_sighup() {
    let running = Running::new("errors");
    let wrong = PIN
        .replace("\"IE\"", "\"XX\"")
        .replace("udp/143", "udp/99999")
        .replace("192.0.2.10/32", "192.0.2.10/24");
    running.bed.configure(&wrong).unwrap();
    running.daemon.signal(Signal::HUP);
    let said = running
        .daemon
        .wait_for(PATIENCE, "the refusal", || {
            Some(running.daemon.stderr()).filter(|said| said.contains("not reloaded"))
        })
        .unwrap();
    for error in ["XX", "99999", "192.0.2.10/24"] {
        assert!(said.contains(error), "{error} is not told of: {said}");
    }
    running.is_untouched();
    let again = running.refused_reload();
    for error in ["XX", "99999", "192.0.2.10/24"] {
        assert!(again.contains(error), "{error} is not told of: {again}");
    }
    fs::write(running.bed.config(), [0xff, 0xfe, 0, b'[']).unwrap();
    assert!(running.daemon.ended().is_none());
    running.bed.configure(PIN).unwrap();
    running.is_untouched();
}

#[test]
#[ignore = "needs root and BPF"]
fn databases_that_are_none_are_refused() {
    let running = Running::new("mmdb");
    let file = running.bed.file("geo.mmdb");
    let with_file = format!("{PIN}[geo]\nfiles = [{file:?}]\n");
    running.bed.configure(&with_file).unwrap();
    let marker = b"\xab\xcd\xefMaxMind.com";
    let truncated = [&[0; 4096][..], marker, b"\xe9\x4dbinary_format"].concat();
    // Metadata that say they are a map with nothing in it that a database needs.
    let wrong = [&[0; 64][..], marker, b"\xe1\x4ddatabase_type\x44Wine"].concat();
    for content in [&b""[..], b"this is no database", &truncated, &wrong, &[0xff; 100_000]] {
        fs::write(&file, content).unwrap();
        let said = running.refused_reload();
        assert!(said.contains("geo.mmdb"), "{said}");
        running.is_untouched();
    }
    fs::remove_file(&file).unwrap();
    assert!(running.refused_reload().contains("geo.mmdb"));
    running.is_untouched();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_table_over_its_limit_is_refused_whole() {
    let running = Running::new("limit");
    let mut sources = String::new();
    for number in 0..1100 {
        write!(sources, "\"2001:db8:1:{number:x}::/64\", ").unwrap();
    }
    running.bed.configure(&PIN.replace("\"192.0.2.10/32\"", &format!("{sources}\"192.0.2.10/32\""))).unwrap();
    let said = running.refused_reload();
    assert!(said.contains("1024"), "the limit is named: {said}");
    running.is_untouched();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_missing_interface_is_told_of_and_keeps_nothing_else_from_being_guarded() {
    let running = Running::new("missing");
    running.bed.configure_for(&["eth0", "eth9"], PIN).unwrap();
    running.bed.tell(&["reload"]).unwrap();
    let status = running.bed.status().unwrap();
    assert!(
        status.problems.iter().any(|problem| problem.subject.as_deref() == Some("eth9")),
        "{:?}",
        status.problems
    );
    assert_eq!(running.bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert_eq!(running.bed.send(3, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 3);
}

#[test]
#[ignore = "needs root and BPF"]
fn exemptions_that_cannot_be_are_refused() {
    let running = Running::new("exemption");
    let file = running.bed.file("bad.toml");
    for (text, tells, code) in [
        (exemption("a", "letters", &["203.0.113.10/32"], 600, None), "letters", "unknown-pin"),
        (exemption("b", "mail", &["203.0.113.10/24"], 600, None), "203.0.113.10/24", "host-bits"),
        ("id = 1\nwhat = 2\n".to_owned(), "what", "wrong-type"),
        ("= = =".to_owned(), "bad.toml", "syntax"),
    ] {
        fs::write(&file, text).unwrap();
        let answer = running.bed.ask(&["exemption", "load", &file.to_string_lossy()]).unwrap();
        assert!(!answer.status.success() && answer.complaint.contains(tells), "{tells}: {answer:?}");
        for dry in [&[][..], &["--dry-run"]] {
            let load = ["exemption", "load", &file.to_string_lossy(), "--json"];
            let answer = running.bed.ask(&[&load[..], dry].concat()).unwrap();
            assert_eq!(answer.status.code(), Some(2));
            let error = &serde_json::from_str::<Value>(&answer.out).unwrap()["error"];
            assert_eq!((&error["kind"], &error["exit"]), (&"bad-input".into(), &2.into()), "{error}");
            assert!(error["codes"].as_array().unwrap().contains(&code.into()), "{error}");
            assert!(error["message"].as_str().unwrap().contains(tells), "{error}");
        }
        running.is_untouched();
    }
    let answer = running.bed.ask(&["exemption", "revoke", "never-was", "--why", "x", "--json"]).unwrap();
    assert!(!answer.status.success() && answer.complaint.contains("never-was"), "{answer:?}");
    let error = &serde_json::from_str::<Value>(&answer.out).unwrap()["error"];
    assert_eq!((&error["kind"], &error["codes"]), (&"not-found".into(), &vec!["no-such-exemption"].into()));
    running.is_untouched();
}

#[test]
#[ignore = "needs root and BPF"]
fn garbage_on_the_control_socket_harms_nobody() {
    let running = Running::new("garbage");
    let huge = [&b"{\"request\":\""[..], &vec![b'a'; 8 << 20], b"\"}\n"].concat();
    let deep = [&vec![b'['; 100_000][..], b"\n"].concat();
    for bytes in [&b"\n"[..], b"hello\n", b"{\n", b"\xff\xfe\x00\n", b"{\"request\":\"fly\"}\n", &deep, &huge]
    {
        let mut stream = UnixStream::connect(running.bed.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        // It may be cut off before all of it is sent.
        let _cut_off = stream.write_all(bytes);
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        if bytes.len() < 1000 {
            read.unwrap();
            assert!(answer.contains("\"error\"") && answer.lines().count() == 1, "{answer}");
        }
        running.is_untouched();
    }
    // Clients that connect and say nothing keep nobody out for long.
    let silent: Vec<UnixStream> =
        (0..40).filter_map(|_| UnixStream::connect(running.bed.socket()).ok()).collect();
    assert!(!silent.is_empty());
    drop(silent);
    retry_until(PATIENCE, "the daemon to answer again", || running.bed.status().ok()).unwrap();
    running.is_untouched();
}
