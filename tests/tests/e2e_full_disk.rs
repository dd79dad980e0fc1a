//! A disk without room: what it could not take is told by the next run of the daemon, and no config is live without a word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::{Path, PathBuf};

use guard_tests::bed::{Bed, PATIENCE, PIN, US};
use guard_tests::cleanup::{self, Undo};
use guard_tests::proc::{Process, retry_until};
use guard_user::audit::Stored;
use guard_user::digest::sha256;
use guard_user::health::ProblemCode;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use serde_json::Value;

/// A bed whose daemon keeps its state on a disk of its own.
struct OnDisk {
    bed: Bed,
    disk: PathBuf,
    _undo: Undo,
}

impl OnDisk {
    fn new(name: &str) -> Self {
        let bed = Bed::new(name).unwrap();
        bed.configure(PIN).unwrap();
        let disk = bed.file("disk");
        fs::create_dir(&disk).unwrap();
        let at = disk.clone();
        let ((), undo) = cleanup::make(|| {
            mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), c"size=48m")?;
            Ok::<_, rustix::io::Errno>(((), move || {
                let _gone = unmount(&at, UnmountFlags::DETACH);
            }))
        })
        .unwrap();
        let state = disk.join("state");
        let text = fs::read_to_string(bed.config()).unwrap();
        let changed =
            text.replace(&format!("directory = {:?}", bed.file("state")), &format!("directory = {state:?}"));
        assert_ne!(text, changed);
        fs::write(bed.config(), changed).unwrap();
        Self { bed, disk, _undo: undo }
    }

    fn has(&self, code: ProblemCode) -> bool {
        self.bed.status().unwrap().problems.iter().any(|it| it.code == code)
    }

    /// Fills the disk until it takes no records any more.
    fn fill(&self) {
        for turn in 0..50 {
            // Each time anew: a file that the daemon could not write whole is taken away and leaves its place free.
            fill(&self.disk, turn);
            let _refused_or_not = self.bed.ask(&["reload"]).unwrap();
            if self.has(ProblemCode::AuditGap) {
                return;
            }
        }
        panic!("the disk takes records");
    }

    fn make_room(&self) {
        for entry in fs::read_dir(&self.disk).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fill")) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn records_that_a_full_disk_refused_are_a_gap_of_the_trail_after_a_restart() {
    let on_disk = OnDisk::new("full");
    let bed = &on_disk.bed;
    let daemon = bed.start(&[]).unwrap();
    on_disk.fill();
    for _ in 0..3 {
        let _refused_or_not = bed.ask(&["reload"]).unwrap();
    }
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    on_disk.make_room();
    let next = bed.start(&[]).unwrap();
    let verified = || -> Value {
        let said = bed.tell(&["audit", "verify", "--json"]).unwrap();
        serde_json::from_str(&said).unwrap()
    };
    retry_until(PATIENCE, "the gap to be in the trail", || {
        (verified()["gaps"].as_u64() > Some(0)).then_some(())
    })
    .unwrap();
    assert!(
        on_disk.has(ProblemCode::AuditGap)
            && next.stderr().contains("could not be written before the last daemon's end")
    );
    let (said, words) = (verified(), bed.tell(&["audit", "verify"]).unwrap());
    // A disk that is nearly full may take one of them between two that it refuses.
    let gaps = said["gaps"].as_u64().unwrap();
    assert!(said["whole"] == Value::Bool(true) && (1..=2).contains(&gaps), "{said}");
    assert!(said["lost"].as_u64() >= Some(4), "{said}");
    let plural = if gaps == 1 { "" } else { "s" };
    assert!(words.contains(&format!("{gaps} gap{plural} in it, of {} records", said["lost"])), "{words}");
}

/// Who fills the disk has another config judge for a while by a start, and puts the config back, by a reload or by killing the
/// daemon.
#[test]
#[ignore = "needs root and BPF"]
fn what_was_live_while_the_disk_was_full_is_in_the_trail_when_all_is_put_back() {
    for (name, is_killed) in [("full-killed", true), ("full-reload", false)] {
        let on_disk = OnDisk::new(name);
        let bed = &on_disk.bed;
        let killed = |daemon: Process| {
            daemon.signal(Signal::KILL);
            daemon.wait(PATIENCE).unwrap();
        };
        let arrives = || bed.passes(US).unwrap();
        let daemon = bed.start(&[]).unwrap();
        assert!(!arrives());
        on_disk.fill();
        let honest = fs::read_to_string(bed.config()).unwrap();
        let wide = honest.replacen("permit = [", "permit = [\"US\", ", 1);
        fs::write(bed.config(), &wide).unwrap();
        let answer = bed.ask(&["reload"]).unwrap();
        assert!(!answer.is_done() && !arrives(), "{answer:?}");
        killed(daemon);
        // What the daemon that ended had kept free.
        fill(&on_disk.disk, 100);
        let mut daemon = bed.start(&[]).unwrap();
        fill(&on_disk.disk, 101);
        assert!(arrives(), "a host without a guard lets everything pass");
        fs::write(bed.config(), &honest).unwrap();
        if is_killed {
            killed(daemon);
            fill(&on_disk.disk, 102);
            daemon = bed.start(&[]).unwrap();
        } else {
            assert!(bed.ask(&["reload"]).unwrap().is_done());
        }
        assert!(!arrives());
        on_disk.make_room();
        let wide = sha256(wide.as_bytes());
        let has_it = |it: &Stored| it.detail.get("config_sha256").is_some_and(|it| it == wide.as_str());
        let is_told = || bed.trail().ok()?.iter().any(has_it).then_some(());
        retry_until(PATIENCE, "the other config to be in the trail", is_told).unwrap();
        daemon.kill(PATIENCE).unwrap();
    }
}

/// Writes files until the disk takes not even a small one.
fn fill(disk: &Path, turn: u32) {
    let mut size = 1 << 20;
    for number in 0.. {
        // What is written of a file before the disk is full stays.
        if fs::write(disk.join(format!("fill{turn}-{number}")), vec![1_u8; size]).is_err() {
            size /= 2;
        }
        if size < 512 {
            break;
        }
    }
}
