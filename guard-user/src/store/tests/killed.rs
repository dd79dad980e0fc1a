//! The same with a real process, a real file system and SIGKILL.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{NOW, named, pins, time};
use crate::exemption::{Clocks, State, Store, Use};

/// The folder of the child's store.
const FOLDER: &str = "BORDERGUARD_TEST_KILLED_FOLDER";
const ROUNDS: u64 = 200;
/// Rounds after which a new folder is begun, to keep it short.
const ROUNDS_EACH: u64 = 20;

/// Changes exemptions as fast as it can, and says on standard output what it is about to do and what is
/// done.
#[test]
#[ignore = "it is the child of a_process_that_is_killed_leaves_nothing_more_open, and runs until it is killed"]
fn child_that_is_killed() {
    let folder = std::env::var_os(FOLDER).expect("the parent names the folder");
    let mut store = Store::open(Path::new(&folder)).unwrap();
    let say = |what: &str, id: &str, version: u32| {
        let mut out = std::io::stdout();
        out.write_all(format!("@ {what} {id} {version}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    say("ready", "-", 0);
    let now = time(NOW);
    for round in 0_u32.. {
        let id = ["a", "b", "c"][round as usize % 3];
        let latest = store.list(now).into_iter().filter(|summary| summary.id == id).max_by_key(|s| s.version);
        match latest {
            Some(summary) if summary.state == State::Active => {
                let slot = summary.slot.unwrap();
                store.checkpoint_use(slot, Use { bytes: 1000, packets: 1 }).unwrap();
                say("revoking", id, summary.version);
                store.revoke(id, "a reason", 7, now).unwrap();
                say("revoked", id, summary.version);
                if round % 2 == 0 {
                    store.slot_was_reset(slot).unwrap();
                }
            }
            other => {
                let version = other.map_or(1, |summary| summary.version + 1);
                say("loading", id, version);
                store.load(Path::new("x"), named(id, version).as_bytes(), &pins(), 7, now).unwrap();
                say("loaded", id, version);
            }
        }
    }
}

#[test]
fn a_process_that_is_killed_leaves_nothing_more_open() {
    let now = time(NOW);
    let mut folder = tempfile::tempdir().unwrap();
    let mut said: BTreeMap<(String, u32), String> = BTreeMap::new();
    let (mut cut_short, mut changes) = (0, 0);
    for round in 0..ROUNDS {
        if round % ROUNDS_EACH == 0 {
            folder = tempfile::tempdir().unwrap();
            said.clear();
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "exemption::tests::killed::child_that_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("@ ready")), "the child must come so far");
        // Spread over some changes, by a step that meets every remainder.
        std::thread::sleep(Duration::from_micros(round * 7919 % 9973));
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["@", what, id, version] = words[..] {
                said.insert((id.to_owned(), version.parse().unwrap()), what.to_owned());
                changes += 1;
            }
        }
        child.wait().unwrap();

        let store = Store::open(folder.path()).unwrap();
        let kernel = store.kernel_exemptions(&Clocks { wall: now, boot_ns: 0 }, &pins());
        let open: BTreeSet<(String, u32)> = kernel
            .iter()
            .map(|exemption| store.by_slot(exemption.slot).unwrap())
            .map(|document| (document.id.clone(), document.version))
            .collect();
        assert_eq!(open.len(), kernel.len(), "each has a slot of its own");
        for (key, what) in &mut said {
            match what.as_str() {
                "loaded" => assert!(open.contains(key), "{key:?} was lost in round {round}"),
                "revoked" => assert!(!open.contains(key), "{key:?} is open again in round {round}"),
                _ => {
                    cut_short += 1;
                    *what = if open.contains(key) { "loaded" } else { "revoked" }.to_owned();
                }
            }
        }
        assert!(open.iter().all(|key| said.contains_key(key)), "open and never loaded: {open:?} {said:?}");
        for problem in store.problems() {
            assert!(problem.reason.contains("its load was not finished"), "{problem}");
        }
        // A load that left no record can be tried again under the same version.
        said.retain(|key, what| {
            what != "revoked" || store.list(now).iter().any(|s| (&s.id, s.version) == (&key.0, key.1))
        });
    }
    assert!(cut_short > 20, "{cut_short} of {ROUNDS} kills came in the middle of a change; {changes} lines");
}
