//! Canaries: each goes its way unseen by everything else, and each stage that one does not reach is named in `status`. At the
//! other end of the interface somebody listens who is no part of the guard.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use guard_common::abi::PolicyTable;
use guard_tests::bed::{Bed, Family, PATIENCE, PIN, STORE, US};
use guard_tests::bpffs;
use guard_tests::netns::Netns;
use guard_tests::proc::retry_until;
use guard_tests::raw_map::RawMap;
use guard_user::control::status::Status;
use guard_user::health::ProblemCode;
use guard_user::kernel::{Interface, View};
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SocketFlags, SocketType, recv, socket_with,
};
use serde_json::Value;

/// A config whose pin has a canary each second, and whose log is this file.
fn config(log: &Path, more: &str) -> String {
    let pin = PIN.replace("action = ", &format!("canary = \"1s\"\n{more}action = "));
    format!("[log]\nformat = \"json\"\nto = {log:?}\n{pin}")
}

fn canaries(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    // The last one may be there in part.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["kind"] == "canary").collect()
}

/// What is said of canaries that did not reach a stage.
fn missing(bed: &Bed) -> Option<String> {
    let problems = bed.status().unwrap().problems;
    let found = problems.into_iter().find(|problem| problem.code == ProblemCode::CanaryMissing)?;
    assert_eq!(found.subject.as_deref(), Some("mail"));
    Some(found.message)
}

/// Waits for the problem that a canary was not what is said here.
fn is_missing(bed: &Bed, words: &str) -> String {
    let found = || missing(bed).filter(|message| message.contains(words));
    retry_until(PATIENCE, words, found).unwrap()
}

fn is_well(bed: &Bed) {
    retry_until(PATIENCE, "canaries to be well", || missing(bed).is_none().then_some(())).unwrap();
}

/// Takes every frame that comes to a namespace.
struct Tap(OwnedFd);

impl Tap {
    fn on(netns: &Netns) -> Self {
        // `ETH_P_ALL` (linux/if_ether.h), in network order.
        let all = Protocol::from_raw(RawProtocol::new(u32::from(3_u16.to_be())).unwrap());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Self(
            netns
                .run(|| socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(all)))
                .unwrap()
                .unwrap(),
        )
    }

    /// The canaries among the frames that came since the last look.
    fn canaries(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut bytes = [0; 2048];
        while let Ok((_, length)) = recv(self.0.as_fd(), &mut bytes[..], RecvFlags::empty()) {
            let frame = &bytes[..length];
            if frame.windows(19).any(|text| text == b"Border Guard canary") {
                found.push(frame.to_vec());
            }
        }
        found
    }
}

/// Does something again and again, as fast as it can, while something else is waited for.
fn meanwhile<T>(again: impl Fn() + Sync, wait: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                again();
            }
        });
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
        is_over.store(true, Ordering::Relaxed);
        found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// All that is counted of packets that a pin tags.
fn counted(status: &Status) -> u64 {
    let forbidden = status.totals.iter().filter(|row| row.reason != "untagged" && row.reason != "not-ip");
    forbidden.map(|row| row.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_canary_is_dropped_and_logged_and_nothing_else_knows_of_it() {
    let bed = Bed::new("canary").unwrap();
    let log = bed.file("events.log");
    bed.configure(&config(&log, "")).unwrap();
    let tap = Tap::on(bed.router());
    let daemon = bed.start(&[]).unwrap();
    retry_until(PATIENCE, "three canaries", || (canaries(&log).len() >= 3).then_some(())).unwrap();
    for line in canaries(&log) {
        let of = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            ["pin", "interface", "verdict", "reason", "jurisdiction"].map(of),
            ["mail", "eth0", "drop", "forbidden", "US"],
            "{line}"
        );
        assert_eq!((&line["source"]["ip"], &line["source"]["port"]), (&"192.0.2.10".into(), &143.into()));
    }
    let status = bed.status().unwrap();
    assert_eq!((missing(&bed), counted(&status), status.events), (None, 0, 0), "{status:?}");
    assert_eq!((bed.events().unwrap(), tap.canaries()), (Vec::new(), Vec::new()));
    // Of two, one comes back that was in the log, and none that was not.
    let last = canaries(&log).pop().unwrap();
    bed.tell(&["canary", "confirm", last["canary"].as_str().unwrap()]).unwrap();
    for (name, code) in [("0123456789abcdef", 1), ("feed", 2)] {
        let refused = bed.ask(&["canary", "confirm", name]).unwrap();
        assert!(!refused.status.success() && refused.status.code() <= Some(code), "{refused:?}");
    }
    drop(daemon);
    assert_eq!(tap.canaries(), Vec::<Vec<u8>>::new());
}

#[test]
#[ignore = "needs root and BPF"]
fn one_that_no_program_judged_has_left_and_goes_no_further_than_the_other_end() {
    let bed = Bed::new("canary-link").unwrap();
    let log = bed.file("events.log");
    bed.configure(&config(&log, "")).unwrap();
    let tap = Tap::on(bed.router());
    let beyond = Tap::on(bed.host(US).unwrap());
    let _daemon = bed.start(&[]).unwrap();
    let before = bed.arrived(US, Family::V4).unwrap();
    let index = bed.host(STORE).unwrap().run(|| Interface::by_name("eth0").unwrap().index).unwrap();
    let entry = bed.pin_path().join(format!("links/{index}-eth0-egress"));
    // The daemon attaches it again and again.
    let off = || drop(bpffs::detach(&entry));
    let why = meanwhile(off, || is_missing(&bed, "was not judged"));
    assert!(why.contains("at eth0") && why.contains("has LEFT by the interface"), "{why}");
    let left = tap.canaries();
    assert!(!left.is_empty());
    for frame in left {
        assert_eq!(frame[..6], [1, 0x80, 0xc2, 0, 0, 0xe], "no bridge forwards it");
        // Behind the Ethernet header the IPv4 header: its TTL is the ninth byte.
        assert_eq!((frame[14], frame[22]), (0x45, 1));
    }
    assert_eq!((beyond.canaries(), bed.arrived(US, Family::V4).unwrap()), (Vec::new(), before));
    is_well(&bed);
}

#[test]
#[ignore = "needs root and BPF"]
fn one_that_is_judged_otherwise_by_a_changed_table_does_not_leave_and_is_told() {
    let bed = Bed::new("canary-table").unwrap();
    let log = bed.file("events.log");
    bed.configure(&config(&log, "")).unwrap();
    let tap = Tap::on(bed.router());
    let _daemon = bed.start(&[]).unwrap();
    retry_until(PATIENCE, "a canary", || canaries(&log).pop()).unwrap();
    let map = RawMap::open(&bed.pin_path().join("maps/POLICY")).unwrap();
    // No pin drops any more: both are observed.
    for (offset, verdict) in
        [(offset_of!(PolicyTable, drop), "observe"), (offset_of!(PolicyTable, pins), "pass")]
    {
        // Again and again, for the daemon publishes anew what it finds changed.
        let change = || {
            for slot in 0..2_u32 {
                let none = |bytes: &mut [u8]| bytes[offset..offset + 8].fill(0);
                map.change(&slot.to_ne_bytes(), none).unwrap();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let why = meanwhile(change, || is_missing(&bed, &format!("its verdict was {verdict}")));
        assert!(why.contains("was not judged"), "{why}");
    }
    assert_eq!(tap.canaries(), Vec::<Vec<u8>>::new(), "whatever the verdict");
    assert_eq!(counted(&bed.status().unwrap()), 0);
}

#[test]
#[ignore = "needs root and BPF"]
fn one_that_is_not_counted_is_told() {
    let bed = Bed::new("canary-count").unwrap();
    bed.configure(&config(&bed.file("events.log"), "")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let map = Map::from_map_data(MapData::from_pin(bed.pin_path().join("maps/CANARIES")).unwrap()).unwrap();
    let counts = std::sync::Mutex::new((PerCpuArray::<_, [u64; 2]>::try_from(map).unwrap(), 100));
    let cpus = nr_cpus().unwrap();
    let other = || {
        let mut counts = counts.lock().unwrap();
        counts.1 += 7;
        let values = PerCpuValues::try_from(vec![[counts.1, 0]; cpus]).unwrap();
        counts.0.set(0, values, 0).unwrap();
    };
    meanwhile(other, || is_missing(&bed, "was not counted"));
    is_well(&bed);
}

#[test]
#[ignore = "needs root and BPF"]
fn one_that_the_log_does_not_take_is_told_until_the_log_takes_one() {
    let bed = Bed::new("canary-log").unwrap();
    let folder = bed.file("logs");
    let log = folder.join("events.log");
    bed.configure(&config(&log, "")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    is_missing(&bed, "was not logged: its line was not written");
    fs::create_dir(&folder).unwrap();
    is_well(&bed);
    assert!(!canaries(&log).is_empty());
}

#[test]
#[ignore = "needs root and BPF"]
fn one_that_the_collector_does_not_hand_back_is_told_until_it_does() {
    let bed = Bed::new("canary-back").unwrap();
    let log = bed.file("events.log");
    bed.configure(&config(&log, "canary_returned_within = \"3s\"\n")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    is_missing(&bed, "was not returned");
    // The collector begins: it hands back what it has not yet.
    let known = std::sync::atomic::AtomicUsize::new(0);
    let collect = || {
        for line in canaries(&log).into_iter().skip(known.load(Ordering::Relaxed)) {
            known.fetch_add(1, Ordering::Relaxed);
            bed.tell(&["canary", "confirm", line["canary"].as_str().unwrap()]).unwrap();
        }
    };
    meanwhile(collect, || {
        is_well(&bed);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(6) {
            assert_eq!(missing(&bed), None);
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn one_that_the_kernel_does_not_take_is_told() {
    let bed = Bed::new("canary-sent").unwrap();
    let pin = config(&bed.file("events.log"), "").replace("\"192.0.2.10/32\", ", "");
    bed.configure(&pin).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let mtu = |bytes: &str| bed.host(STORE).unwrap().ip(&["link", "set", "eth0", "mtu", bytes]).unwrap();
    mtu("68");
    let why = is_missing(&bed, "was not sent");
    assert!(why.contains("Message too long"), "{why}");
    mtu("1500");
    is_well(&bed);
    // And one that is for nobody: every documentation address is permitted.
    let text = fs::read_to_string(bed.config()).unwrap();
    let open = text.replace("permit = [\"EU\"]", "permit = [\"EU\", \"unknown\", \"US\"]");
    fs::write(bed.config(), open).unwrap();
    bed.tell(&["reload"]).unwrap();
    is_missing(&bed, "none can be made that it forbids");
    let view = View::open(&bed.pin_path()).unwrap();
    assert!(view.live_generation().unwrap() >= 2);
}
