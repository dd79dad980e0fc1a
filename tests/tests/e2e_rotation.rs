//! The event log with the programs that keep logs: Debian's logrotate, by the configuration that is shipped, and
//! systemd-journald, in a mount namespace of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, STORE, names, send};
use guard_tests::proc::{Process, retry_until, run_to_end};
use guard_tests::storm;
use rustix::process::Signal;
use serde_json::Value;

/// By hook, verdict and reason: packets and bytes.
type Sums = BTreeMap<[String; 3], [u64; 2]>;

/// What the kernel has counted of what lines are about.
fn counted(bed: &Bed) -> Sums {
    let totals = bed.status().unwrap().totals.into_iter();
    let forbidden =
        totals.filter(|row| row.verdict != "pass" || ["exempt", "failsafe"].contains(&&*row.reason));
    forbidden.map(|row| ([row.hook, row.verdict, row.reason], [row.packets, row.bytes])).collect()
}

/// What lines of flat JSON add up to.
fn told(lines: &[Value]) -> Sums {
    let mut sums = BTreeMap::<[String; 3], [i64; 2]>::new();
    for line in lines.iter().filter(|line| line["packets"].is_number()) {
        let key = ["hook", "verdict", "reason"].map(|key| line[key].as_str().unwrap().to_owned());
        let sum = sums.entry(key).or_default();
        for (sum, key) in sum.iter_mut().zip(["packets", "bytes"]) {
            *sum += line[key].as_i64().unwrap();
        }
    }
    let whole = |sum: i64| u64::try_from(sum).unwrap();
    sums.into_iter().map(|(key, sum)| (key, sum.map(whole))).filter(|(_, sum)| *sum != [0, 0]).collect()
}

/// The lines of all files of a log, the ones that were compressed too.
fn lines(folder: &Path) -> Vec<Value> {
    let mut all = Vec::new();
    for name in names(folder) {
        let file = folder.join(&name);
        let text = match name.ends_with(".gz") {
            true => {
                let done = Command::new("gzip").arg("-dc").arg(&file).output().unwrap();
                assert!(
                    done.status.success(),
                    "{}: {}",
                    file.display(),
                    String::from_utf8_lossy(&done.stderr)
                );
                String::from_utf8(done.stdout).unwrap()
            }
            false => fs::read_to_string(&file).unwrap(),
        };
        all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    all
}

/// Each number of each run is there once.
fn are_whole(lines: &[Value]) {
    let mut of_runs = BTreeMap::<&str, Vec<u64>>::new();
    for line in lines {
        of_runs
            .entry(line["session"].as_str().unwrap())
            .or_default()
            .push(line["sequence"].as_u64().unwrap());
    }
    for (run, mut numbers) in of_runs {
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "lines of the run of {run}");
    }
}

/// The configuration that is shipped, for this log and this daemon: there is no service manager here to send its signal.
fn configuration(log: &Path, daemon: &Process) -> String {
    let mut text = include_str!("../../packaging/logrotate").to_owned();
    let signal = format!("kill -USR1 {}", daemon.pid());
    for (shipped, here) in [
        ("/var/log/borderguard/events.log {", format!("{} {{", log.display())),
        ("systemctl kill --signal=SIGUSR1 --kill-whom=main borderguard.service", signal),
    ] {
        assert_eq!(text.matches(shipped).count(), 1, "{shipped}");
        text = text.replace(shipped, &here);
    }
    text
}

/// Every line is in one of the files, and all add up to the kernel's counters.
#[test]
#[ignore = "needs root and BPF"]
fn logrotate_loses_no_line_and_has_none_twice() {
    const ROTATIONS: usize = 4;
    let bed = Bed::new("rotation").unwrap();
    let folder = bed.file("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("events.log");
    let config = format!("[log]\nto = {log:?}\nformat = \"json\"\n{}", storm::config());
    bed.configure(&config).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let shipped = bed.write("logrotate.conf", configuration(&log, &daemon)).unwrap();
    let mut storm = bed.host(STORE).unwrap().command(env!("CARGO_BIN_EXE_guard-storm")).unwrap();
    storm.args(["7", "1"]);
    let storm = Process::spawn("storm", storm).unwrap();
    let quiet = bed.sender(MAIL_PORT, Family::V4).unwrap();
    for turn in 0..ROTATIONS {
        std::thread::sleep(Duration::from_millis(1500));
        send(&quiet, format!("203.0.113.{}:9", 20 + turn).parse().unwrap());
        let mut logrotate = Command::new("/usr/sbin/logrotate");
        logrotate.arg("--force").arg("--state").arg(bed.file("logrotate.state")).arg(&shipped);
        let (status, out, complaint) = run_to_end("logrotate", logrotate, PATIENCE).unwrap();
        assert!(status.success() && complaint.is_empty(), "{status}: {out}{complaint}");
    }
    storm.wait(PATIENCE).unwrap();
    send(&quiet, "203.0.113.5:9".parse().unwrap());
    let counted = retry_until(Duration::from_secs(60), "the lines to add up to the counters", || {
        let (counted, told) = (counted(&bed), told(&lines(&folder)));
        println!("told {told:?}, counted {counted:?}");
        (told == counted).then_some(counted)
    })
    .unwrap();
    assert!(counted.values().map(|[packets, _]| packets).sum::<u64>() > 10_000, "{counted:?}");
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    let all = lines(&folder);
    are_whole(&all);
    assert!(all.iter().any(|line| line["kind"] == "end"));
    let files: BTreeSet<String> = names(&folder).into_iter().collect();
    let expected = ["events.log", "events.log.1", "events.log.2.gz", "events.log.3.gz", "events.log.4.gz"];
    assert_eq!(files, expected.map(str::to_owned).into());
}

/// A program in a mount namespace in which the journal's sockets and files are those of a folder.
fn beside_a_journal(bed: &Bed, folder: &Path, program: &str, words: &[&str]) -> Command {
    // The test's BPF file system is below /run too.
    let script = "set -e; mkdir -p /run/borderguard-tests; mount --rbind /run/borderguard-tests \"$0/pins\"; \
        mount -t tmpfs tmpfs /run; cd /run; mkdir -p borderguard-tests systemd/journal systemd/journald.conf.d log/journal; \
        mount --rbind \"$0/pins\" borderguard-tests; mount --bind \"$0/sockets\" systemd/journal; \
        mount --bind \"$0/entries\" log/journal; cp \"$0/journald.conf\" systemd/journald.conf.d/test.conf; exec \"$@\"";
    let mut command = bed.host(STORE).unwrap().command("unshare").unwrap();
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(folder)
        .arg(program)
        .args(words);
    command
}

/// The entries of the journal that the daemon made.
fn entries(folder: &Path) -> Vec<Value> {
    let mut journalctl = Command::new("journalctl");
    journalctl.arg("--directory").arg(folder.join("entries")).args([
        "-t",
        "borderguard",
        "-o",
        "json",
        "--quiet",
        "--all",
    ]);
    let (status, out, complaint) = run_to_end("journalctl", journalctl, PATIENCE).unwrap();
    assert!(status.success(), "{complaint}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What journalctl reads back is what the daemon gave: each line as it is, with its fields and the daemon's process.
#[test]
#[ignore = "needs root and BPF"]
fn journald_keeps_each_line_with_its_fields() {
    const FLOWS: u64 = 30;
    let bed = Bed::new("journald").unwrap();
    let folder: PathBuf = bed.file("journal");
    ["sockets", "entries", "pins"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
    // Nothing of the host's: neither its messages nor its consoles.
    let settings = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nForwardToSyslog=no\nForwardToKMsg=no\n\
                    ForwardToConsole=no\nForwardToWall=no\nRateLimitIntervalSec=0\n";
    fs::write(folder.join("journald.conf"), settings).unwrap();
    let journald = beside_a_journal(&bed, &folder, "/lib/systemd/systemd-journald", &[]);
    let journald = Process::spawn("journald", journald).unwrap();
    let socket = folder.join("sockets/socket");
    journald.wait_for(PATIENCE, "journald's socket", || socket.exists().then_some(())).unwrap();

    bed.configure(&format!("[log]\nto = \"journald\"\nformat = \"json\"\n{PIN}")).unwrap();
    let (program, config) = (bed.program().to_string_lossy(), bed.config());
    let words = ["run", "--config", config.to_str().unwrap()];
    let daemon = Process::spawn("borderguard", beside_a_journal(&bed, &folder, &program, &words)).unwrap();
    daemon
        .wait_for(PATIENCE, "the daemon to be ready", || {
            daemon.stderr().contains("ready: generation").then_some(())
        })
        .unwrap();
    let sender = bed.sender(MAIL_PORT, Family::V4).unwrap();
    (20..20 + FLOWS).for_each(|host| send(&sender, format!("203.0.113.{host}:9").parse().unwrap()));
    let of_line =
        |entry: &Value| -> Value { serde_json::from_str(entry["MESSAGE"].as_str().unwrap()).unwrap() };
    let all = retry_until(PATIENCE, "every packet to be in the journal", || {
        let all = entries(&folder);
        let lines: Vec<Value> = all.iter().map(of_line).collect();
        (told(&lines) == counted(&bed) && !all.is_empty()).then_some(all)
    })
    .unwrap();
    let dropped: u64 = counted(&bed).values().map(|[packets, _]| packets).sum();
    assert_eq!(dropped, FLOWS);
    are_whole(&all.iter().map(of_line).collect::<Vec<_>>());
    for entry in &all {
        let line = of_line(entry);
        let field = |name: &str| entry[name].as_str().map(str::to_owned);
        let said = |value: &Value| value.as_str().map(str::to_owned);
        assert_eq!(field("BORDERGUARD_KIND"), said(&line["kind"]), "{entry}");
        assert_eq!(field("BORDERGUARD_SEQUENCE"), Some(line["sequence"].to_string()));
        assert_eq!(field("_PID"), Some(daemon.pid().to_string()));
        assert_eq!(
            (field("_TRANSPORT"), field("SYSLOG_IDENTIFIER")),
            (Some("journal".into()), Some("borderguard".into()))
        );
        if line["kind"] == "event" {
            let told =
                ["VERDICT", "REASON", "JURISDICTION"].map(|name| field(&format!("BORDERGUARD_{name}")));
            assert_eq!(told, ["drop", "forbidden", "US"].map(|it| Some(it.to_owned())), "{entry}");
            assert_eq!(
                (field("BORDERGUARD_PIN"), field("PRIORITY")),
                (Some("mail".into()), Some("4".into()))
            );
            assert_eq!(field("BORDERGUARD_ID"), Some(line["id"].to_string()));
        }
    }
    assert!(all.iter().filter(|entry| entry["BORDERGUARD_KIND"] == "event").count() >= 20);
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    let last = entries(&folder).pop().unwrap();
    assert_eq!((&last["BORDERGUARD_KIND"], &last["PRIORITY"]), (&"end".into(), &"6".into()), "{last}");
    journald.signal(Signal::TERM);
    journald.wait(PATIENCE).unwrap();
}
