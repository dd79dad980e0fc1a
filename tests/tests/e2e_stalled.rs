//! What may not hold up the guard: a log that nobody reads, clients that do not read, and a flood of new flows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, PATIENCE, PIN, STORE, US, packets};
use guard_tests::proc::{Process, retry_until};
use guard_tests::program;
use guard_tests::resources::memory_kib;
use guard_user::control::status::InterfaceStatus;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use serde_json::Value;

/// Bounds for a debug build on a machine that does other things, too; the bench has the figures.
const SOON: Duration = Duration::from_secs(5);

/// The daemon with standard output and standard error on a pipe that holds one page, whose other end is returned.
fn with_full_pipe(bed: &Bed) -> (Process, File) {
    let fifo = bed.file("log");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let log = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    fcntl_setpipe_size(&log, 4096).unwrap();
    let mut shell = bed.host(STORE).unwrap().command("sh").unwrap();
    let (program, config) = (program::borderguard().unwrap(), bed.config());
    shell.arg("-c").arg(format!("exec {program:?} run --config {config:?} --verbose >{fifo:?} 2>&1"));
    let daemon = Process::spawn("borderguard", shell).unwrap();
    daemon.wait_for(PATIENCE, "the daemon to answer", || bed.status().ok().map(drop)).unwrap();
    (daemon, log)
}

fn interface(bed: &Bed, name: &str) -> Option<InterfaceStatus> {
    bed.status().unwrap().interfaces.into_iter().find(|interface| interface.name == name)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let bed = Bed::new("pipe").unwrap();
    bed.configure_for(&["eth0", "new*"], PIN).unwrap();
    let (daemon, log) = with_full_pipe(&bed);
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 1);
    // Lines for both: events on standard output, what the daemon does on standard error.
    for _ in 0..30 {
        bed.tell(&["reload"]).unwrap();
    }
    bed.tell(&["exemption", "stay", "one", "--order", "x"]).unwrap();
    for family in Family::ALL {
        assert_eq!(bed.send(20, MAIL_PORT, US, family).unwrap(), 0);
    }
    assert_eq!(bed.send(1, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 1);
    bed.host(STORE).unwrap().link("new0", bed.router(), "new0").unwrap();
    retry_until(SOON, "new0 to be guarded", || {
        interface(&bed, "new0").filter(|found| found.problem.is_none() && !found.hooks.is_empty())
    })
    .unwrap();
    assert!(bed.events().unwrap().len() >= 3, "events are there, read or not");
    // It ends, too, with lines that nobody takes.
    daemon.signal(Signal::TERM);
    let begin = Instant::now();
    daemon.wait(PATIENCE).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    drop(log);
}

/// Sends datagrams of the mailbox to the US from two threads, each of a new flow, until they are to stop; returns how
/// many.
fn flood(bed: &Bed, stop: &AtomicBool) -> u64 {
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let send = |first_host: u8| {
        let mut sent = 0_u64;
        for flow in 0_u32.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let host = first_host + u8::try_from(flow >> 15 & 63).unwrap();
            let port = 1024 + u16::try_from(flow & 0x7fff).unwrap();
            let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, host)), port);
            sent += u64::from(socket.send_to(b"x", to).is_ok());
        }
        sent
    };
    std::thread::scope(|scope| {
        let threads = [20, 120].map(|first_host| scope.spawn(move || send(first_host)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flood_of_new_flows_is_counted_and_its_log_is_bounded() {
    const SECONDS: u64 = 6;
    let bed = Bed::new("flood").unwrap();
    bed.configure(&format!("[log]\nformat = \"json\"\n{PIN}")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    // Followers of events that do not read.
    let followers: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut follower = UnixStream::connect(bed.socket()).unwrap();
            follower.write_all(b"{\"request\":\"events\",\"follow\":true}\n").unwrap();
            follower
        })
        .collect();
    let before = packets(&bed.status().unwrap(), "egress", "drop", "forbidden");
    let (stop, begin) = (AtomicBool::new(false), Instant::now());
    let (sent, worst) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&bed, &stop));
        let mut worst = Duration::ZERO;
        while begin.elapsed() < Duration::from_secs(SECONDS) {
            for words in [&["status"][..], &["exemption", "list"]] {
                let asked = Instant::now();
                assert!(bed.ask(words).unwrap().is_done());
                worst = worst.max(asked.elapsed());
            }
        }
        stop.store(true, Ordering::Relaxed);
        (flood.join().unwrap(), worst)
    });
    let seconds = begin.elapsed().as_secs() + 1;
    assert!(sent > 10_000, "{sent} datagrams are no flood");
    assert!(worst < SOON, "an answer took {worst:?} under {} flows a second", sent / seconds);
    let status = bed.status().unwrap();
    assert_eq!(packets(&status, "egress", "drop", "forbidden") - before, sent, "every packet is counted");
    let lost: u64 = status.losses.iter().map(|loss| loss.count).sum();
    let is_told = status.problems.iter().any(|problem| problem.code.as_str() == "events-lost");
    assert!(lost == 0 || is_told, "{lost} lost: {:?}", status.problems);
    let most = memory_kib(daemon.pid(), "VmHWM").unwrap();
    assert!(most < 300 << 10, "{most} KiB");
    drop(followers);

    // The last lines are written at the end.
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    let (mut lines, mut summed, mut counted) = (0, 0, 0);
    for line in daemon.stdout().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let packets = line["packets"].as_u64().unwrap_or_default();
        match line["kind"].as_str().unwrap() {
            "event" => lines += 1,
            "summary" => summed += line["events"].as_u64().unwrap(),
            "start" | "end" | "lost" => {}
            other => panic!("{other}: {line}"),
        }
        counted += packets;
    }
    // 50 at once, 20 a second, and a summary each second; some seconds pass before and after the flood.
    assert!(lines <= 50 + 20 * (seconds + 20), "{lines} lines in {seconds} s");
    assert!(lines + summed > 1000, "{lines} lines and {summed} events summed up");
    assert!(counted <= sent, "{counted} packets reported of {sent}");
    if lost == 0 {
        assert_eq!(counted, sent, "nothing was lost, so every packet is in the log or in a summary");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn two_thousand_silent_connections_keep_no_request_out() {
    let bed = Bed::new("silent").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let mut held = Vec::new();
    for _ in 0..2000 {
        held.push(UnixStream::connect(bed.socket()).unwrap());
        // The test's own descriptors are bounded, too.
        if held.len() > 800 {
            held.remove(0);
        }
    }
    let begin = Instant::now();
    assert!(bed.ask(&["status"]).unwrap().is_done());
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    // Each thread that looks at the kernel has the maps open for itself; of connections there are at most 192.
    assert!(descriptors < 500, "{descriptors} descriptors are open");
    // Those that had to go were told so.
    let told = held.iter_mut().rev().skip(100).any(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let mut text = String::new();
        let _timed_out = stream.read_to_string(&mut text);
        text.contains("\"busy\"")
    });
    assert!(told);
}
