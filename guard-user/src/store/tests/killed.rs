//! The same with a real process, a real file system and SIGKILL.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::told::{Is, told};
use super::world::{IDS, document, quota};
use super::{clocks, load, now, pins, who};
use crate::exemption::record::Use;
use crate::store::{Change, Key, Store, Target};

/// The folder of the child's store.
const FOLDER: &str = "BORDERGUARD_TEST_KILLED_FOLDER";
/// What the kernel has counted, as `slot=bytes` with spaces; not set where its counters begin anew.
const COUNTS: &str = "BORDERGUARD_TEST_KILLED_COUNTS";
/// Where the child's choices begin.
const SEED: &str = "BORDERGUARD_TEST_KILLED_SEED";
const KILLS: u64 = 1000;
/// Kills after which a new folder is begun, to keep it short.
const KILLS_EACH: u64 = 25;

/// A daemon without a kernel: it says on standard output what it is about to do, what is done, and what the kernel
/// lets through.
struct Child {
    store: Store,
    counts: BTreeMap<u16, u64>,
    /// Exemptions of the live generation by their slots, with what they may let through.
    table: Vec<(Vec<u16>, Key, u64)>,
    choice: u64,
}

fn say(words: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout();
    out.write_all(format!("@ {words}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

impl Child {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's generator (The Art of Computer Programming, 3.3.4), whose high bits are the good ones.
        self.choice =
            self.choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.choice >> 33) % limit
    }

    fn look(&mut self) {
        let counts: Vec<(u16, Use)> = self
            .store
            .kept
            .slots_in_use()
            .into_iter()
            .map(|slot| (slot, Use { bytes: self.counts.get(&slot).copied().unwrap_or(0), packets: 1 }))
            .collect();
        self.store.checkpoint_use(&counts, now()).unwrap();
        for summary in self.store.kept.list(now()) {
            say(format_args!("used {} {} {}", summary.id, summary.version, summary.used_bytes));
        }
    }

    fn publish(&mut self) {
        let entries = self.store.kept.kernel_exemptions(&clocks(), &pins());
        self.table.clear();
        for entry in entries {
            let of = self.store.kept.by_slot(entry.slot).unwrap();
            match self.table.last_mut().filter(|(slots, ..)| slots[0] == entry.account) {
                Some((slots, ..)) => slots.push(entry.slot),
                None => self.table.push((vec![entry.slot], (of.id.clone(), of.version), entry.quota)),
            }
        }
        self.look();
        let free = self.store.kept.slots_to_reset();
        for slot in &free {
            self.counts.remove(slot);
            say(format_args!("reset {slot}"));
        }
        self.store.slots_were_reset(&free).unwrap();
    }

    fn charge(&mut self) {
        if self.table.is_empty() {
            return;
        }
        let chosen = usize::try_from(self.choice % self.table.len() as u64).unwrap();
        let bytes = [1000, 100_000_000, 1 << 40][usize::try_from(self.below(3)).unwrap()];
        let (slots, (id, version), quota) = self.table[chosen].clone();
        let counted: u64 = slots.iter().filter_map(|slot| self.counts.get(slot)).sum();
        let more = bytes.min(quota.saturating_sub(counted));
        let recipient = usize::try_from(self.below(slots.len() as u64)).unwrap();
        let slot = slots[recipient];
        *self.counts.entry(slot).or_default() += more;
        say(format_args!("charge {id} {version} {more} {slot} {recipient}"));
    }

    fn change(&mut self, index: usize, doing: &str, done: &str, change: &Change) {
        let target = &Target::Id(IDS[index].into());
        let Ok(keys) = self.store.affected(target, change, now()) else { return };
        // An order that covers nothing open is kept, and nothing is to be said of it.
        let Some((id, version)) = keys.first() else {
            self.store.change(target, change, &who(), now()).unwrap();
            return;
        };
        say(format_args!("{doing} {id} {version}"));
        self.store.change(target, change, &who(), now()).unwrap();
        say(format_args!("{done} {id} {version}"));
    }

    fn load(&mut self, index: usize) {
        let id = IDS[index];
        let latest = self.store.kept.list(now()).into_iter().rfind(|summary| summary.id == id);
        let version = latest.map_or(1, |summary| summary.version + 1);
        let text = document(index, version, None);
        let open = self.store.kept.find(id, None).ok().and_then(|key| self.store.kept.record(&key).cloned());
        if open.is_none_or(|record| record.is_closed()) {
            if self.store.kept.orders().any(|order| order.covers == Target::Id(id.into())) {
                return;
            }
            say(format_args!("loading {id} {version}"));
            load(&mut self.store, &text).unwrap();
            say(format_args!("loaded {id} {version}"));
        }
    }
}

#[test]
#[ignore = "it is the child of a_process_that_is_killed_leaves_nothing_more_open, and runs until it is killed"]
fn child_that_is_killed() {
    let folder = std::env::var_os(FOLDER).expect("the parent names the folder");
    let counts = std::env::var(COUNTS).ok();
    let choice = std::env::var(SEED).unwrap().parse().unwrap();
    say(format_args!("begin"));
    let mut store = Store::open(Path::new(&folder)).unwrap();
    if counts.is_none() {
        store.counters_began_anew(now()).unwrap();
        say(format_args!("anew"));
    }
    store.grant().unwrap();
    let counts = counts.unwrap_or_default();
    let counts = counts.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let counts = counts.map(|(slot, bytes)| (slot.parse().unwrap(), bytes.parse().unwrap())).collect();
    let mut child = Child { store, counts, table: Vec::new(), choice };
    child.publish();
    loop {
        let index = usize::try_from(child.below(IDS.len() as u64)).unwrap();
        match child.below(12) {
            0..3 => child.load(index),
            3..5 => child.change(index, "staying", "stayed", &Change::Stay { order: "x".into() }),
            5..7 => {
                child.change(index, "resuming", "resumed", &Change::Resume { order: None, why: "x".into() })
            }
            7 => child.change(index, "revoking", "revoked", &Change::Revoke { why: "x".into() }),
            8 => {
                child.store.grant().unwrap();
            }
            9 => child.look(),
            10 => child.publish(),
            _ => child.charge(),
        }
    }
}

/// What the parent has read.
#[derive(Default)]
struct Book {
    said: BTreeMap<Key, Is>,
    /// What was begun, and not said to be done.
    begun: BTreeMap<Key, Is>,
    used: BTreeMap<Key, u64>,
    crossed: BTreeMap<Key, u64>,
    /// By recipient.
    crossed_to: BTreeMap<(Key, u32), u64>,
    counts: BTreeMap<u16, u64>,
    anew: bool,
    cut_short: u64,
    changes: u64,
}

impl Book {
    fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let key = |id: &str, version: &str| (id.to_owned(), version.parse().unwrap());
        match words[..] {
            ["@", "anew"] => self.anew = false,
            ["@", "reset", slot] => {
                self.counts.remove(&slot.parse().unwrap());
            }
            ["@", "used", id, version, bytes] => {
                self.used.insert(key(id, version), bytes.parse().unwrap());
            }
            ["@", "charge", id, version, more, slot, recipient] => {
                let more: u64 = more.parse().unwrap();
                let to: u32 = recipient.parse().unwrap();
                *self.counts.entry(slot.parse().unwrap()).or_default() += more;
                *self.crossed_to.entry((key(id, version), to)).or_default() += more;
                *self.crossed.entry(key(id, version)).or_default() += more;
            }
            ["@", what, id, version] => {
                self.changes += 1;
                let key = key(id, version);
                let (doing, is) = match what {
                    "loading" | "resuming" => (true, Is::Open),
                    "staying" => (true, Is::Stayed),
                    "revoking" => (true, Is::Closed),
                    "loaded" | "resumed" => (false, Is::Open),
                    "stayed" => (false, Is::Stayed),
                    "revoked" => (false, Is::Closed),
                    other => panic!("{other}"),
                };
                if doing {
                    self.begun.insert(key, is);
                } else {
                    self.begun.remove(&key);
                    self.said.insert(key, is);
                }
            }
            _ => {}
        }
    }

    /// Holds what the killed process left against what it has said.
    fn compare(&mut self, store: &Store, round: u64) {
        assert_eq!(store.kept.problems(), [], "round {round}");
        let told = told(store);
        let mut listed = BTreeSet::new();
        for summary in store.kept.list(now()) {
            let key = (summary.id, summary.version);
            let record = store.kept.record(&key).unwrap();
            let is = Is::of(record);
            assert_eq!(told.get(&key), Some(&is), "the trail and the record of {key:?} in round {round}");
            if let Some(begun) = self.begun.remove(&key) {
                self.cut_short += 1;
                if begun == is {
                    self.said.insert(key.clone(), is);
                }
            }
            assert_eq!(self.said.get(&key), Some(&is), "{key:?} in round {round}");
            let used = record.used().bytes;
            assert!(used >= self.used.get(&key).copied().unwrap_or(0), "{key:?} lost use in round {round}");
            let by_recipient = record.used_by_recipient(store.kept.document_of(&key).unwrap());
            if let [_, _] = by_recipient.as_slice() {
                for (at, told) in (0..).zip(&by_recipient) {
                    let crossed = self.crossed_to.get(&(key.clone(), at)).copied().unwrap_or(0);
                    assert!(told.bytes <= crossed, "{key:?}, recipient {at}, in round {round}");
                }
            }
            let index = IDS.iter().position(|id| *id == key.0).unwrap();
            if let (Some(quota), Some(crossed)) = (quota(index), self.crossed.get(&key)) {
                assert!(*crossed <= quota, "{key:?} let {crossed} bytes through in round {round}");
            }
            let stored = store.stored(&key).unwrap().unwrap();
            assert!(stored.bytes == document(index, key.1, None).as_bytes(), "{key:?} in round {round}");
            listed.insert(key);
        }
        // One that was cut short and is not there was never loaded; nothing else is missing.
        self.cut_short += self.begun.len() as u64;
        self.begun.clear();
        assert_eq!(listed, self.said.keys().cloned().collect(), "round {round}");
        assert_eq!(told.len(), listed.len());
        let entries = store.kept.kernel_exemptions(&clocks(), &pins());
        let slots: BTreeSet<u16> = entries.iter().map(|entry| entry.slot).collect();
        assert_eq!(slots.len(), entries.len(), "each has a slot of its own");
    }
}

#[test]
fn a_process_that_is_killed_leaves_nothing_more_open() {
    let mut folder = tempfile::tempdir().unwrap();
    let (mut book, mut cut_short, mut changes, mut spent) = (Book::default(), 0, 0, 0);
    for round in 0..KILLS {
        if round % KILLS_EACH == 0 {
            folder = tempfile::tempdir().unwrap();
            (cut_short, changes) = (cut_short + book.cut_short, changes + book.changes);
            spent += book.crossed.values().filter(|crossed| **crossed > 900_000).count();
            book = Book { anew: true, ..Book::default() };
        }
        // At times the whole host goes down, and the kernel's counts with it.
        if round % 5 == 4 {
            book.anew = true;
        }
        if book.anew {
            book.counts.clear();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "store::tests::killed::child_that_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(SEED, (round * 7919).to_string())
            .env_remove(COUNTS)
            .stdout(Stdio::piped());
        if !book.anew {
            let counts: Vec<String> =
                book.counts.iter().map(|(slot, bytes)| format!("{slot}={bytes}")).collect();
            command.env(COUNTS, counts.join(" "));
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("@ begin")), "the child must come so far");
        // Half of them spread over its start; the others behind some lines, however busy the host is.
        let micros = if round % 2 == 0 {
            round * 7919 % 29_989
        } else {
            let some = usize::try_from(round % 11).unwrap();
            lines.by_ref().take(some).map_while(Result::ok).for_each(|line| book.read(&line));
            round * 7919 % 2_999
        };
        // A step that meets every remainder.
        std::thread::sleep(Duration::from_micros(micros));
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            book.read(&line);
        }
        child.wait().unwrap();
        let store = Store::open(folder.path()).unwrap();
        book.compare(&store, round);
    }
    (cut_short, changes) = (cut_short + book.cut_short, changes + book.changes);
    assert!(
        cut_short > KILLS / 20,
        "{cut_short} of {KILLS} kills came in the middle of a change; {changes} lines"
    );
    assert!(changes > KILLS / 4 && spent > 0, "{changes} lines, {spent} spent much");
}
