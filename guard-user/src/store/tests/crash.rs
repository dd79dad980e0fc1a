//! The process ends at any step of any sequence of changes, and the next one finds nothing more open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::model::{End, ModelDisk};
use super::{NOW, named, pins, time};
use crate::exemption::{Clocks, Store, Use};

const IDS: [&str; 4] = ["a", "b.v1", "..", "d"];

#[derive(Clone, Debug)]
enum Change {
    Load(usize),
    Revoke(usize),
    Count(usize, u64),
    ResetSlots,
    CountersBeganAnew,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let id = 0..IDS.len();
    let change = prop_oneof![
        4 => id.clone().prop_map(Change::Load),
        3 => id.clone().prop_map(Change::Revoke),
        3 => (id, 1..200_000_u64).prop_map(|(id, bytes)| Change::Count(id, bytes)),
        1 => Just(Change::ResetSlots),
        1 => Just(Change::CountersBeganAnew),
    ];
    prop::collection::vec(change, 1..12)
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Killed), any::<u64>().prop_map(End::PowerLoss)]
}

/// What one version of an exemption must be, as far as was said.
#[derive(Clone, Copy, Debug)]
struct Said {
    slot: u16,
    open: bool,
    /// The use that was saved; more may be.
    used: u64,
}

/// What the store has said to its user.
#[derive(Debug, Default)]
struct Book {
    said: BTreeMap<(String, u32), Said>,
    /// Slots whose use was not said to be reset since a closed exemption had them.
    unclean: BTreeSet<u16>,
    /// What the kernel has counted for each slot.
    kernel: BTreeMap<u16, u64>,
    /// The kernel's counters have begun anew, and the store has not said that it knows.
    anew: bool,
    /// What was asked for last, when there was no answer.
    unanswered: Option<(Change, Option<(String, u32)>)>,
}

impl Book {
    fn latest(&self, id: &str) -> Option<((String, u32), Said)> {
        let versions = self.said.iter().filter(|((its_id, _), _)| its_id == id);
        versions.map(|(key, said)| (key.clone(), *said)).max_by_key(|((_, version), _)| *version)
    }

    /// Asks for a change that makes sense; false where the process has ended over it.
    fn change(&mut self, store: &mut Store, change: &Change, disk: &ModelDisk) -> bool {
        let id = |index: usize| IDS[index];
        let now = time(NOW);
        match *change {
            Change::Load(index) => {
                let latest = self.latest(id(index));
                if latest.as_ref().is_some_and(|(_, said)| said.open) {
                    return true;
                }
                let key = (id(index).to_owned(), latest.map_or(1, |((_, version), _)| version + 1));
                let document = named(&key.0, key.1);
                let result = store.load(Path::new("x"), document.as_bytes(), &pins(), 7, now);
                match result {
                    Ok(admission) => {
                        assert!(!self.unclean.contains(&admission.slot), "{self:?}");
                        let said = Said { slot: admission.slot, open: true, used: 0 };
                        assert!(self.said.values().all(|other| !other.open || other.slot != said.slot));
                        self.said.insert(key, said);
                    }
                    Err(error) => {
                        assert!(disk.has_ended(), "{error}");
                        self.unanswered = Some((change.clone(), Some(key)));
                    }
                }
            }
            Change::Revoke(index) => {
                let Some((key, said)) = self.latest(id(index)).filter(|(_, said)| said.open) else {
                    return true;
                };
                match store.revoke(&key.0, "a reason", 7, now) {
                    Ok(()) => {
                        self.unclean.insert(said.slot);
                        self.said.get_mut(&key).unwrap().open = false;
                    }
                    Err(error) => {
                        assert!(disk.has_ended(), "{error}");
                        let open = store.kernel_exemptions(&Clocks { wall: now, boot_ns: 0 }, &pins());
                        assert!(
                            open.iter().all(|exemption| exemption.slot != said.slot),
                            "closed at least here"
                        );
                        self.unanswered = Some((change.clone(), Some(key)));
                    }
                }
            }
            Change::Count(index, bytes) => {
                let Some((key, said)) = self.latest(id(index)).filter(|(_, said)| said.open) else {
                    return true;
                };
                let room = 1_000_000 - said.used;
                let counted = self.kernel.entry(said.slot).or_default();
                let more = bytes.min(room);
                *counted += more;
                let result = store.checkpoint_use(said.slot, Use { bytes: *counted, packets: 1 });
                match result {
                    Ok(()) => self.said.get_mut(&key).unwrap().used += more,
                    Err(error) => {
                        assert!(disk.has_ended(), "{error}");
                        self.unanswered = Some((change.clone(), Some(key)));
                    }
                }
            }
            Change::ResetSlots => {
                for slot in store.slots_to_reset() {
                    self.kernel.remove(&slot);
                    match store.slot_was_reset(slot) {
                        Ok(()) => drop(self.unclean.remove(&slot)),
                        Err(error) => {
                            assert!(disk.has_ended(), "{error}");
                            // It is zero in the kernel; whether the store knows is open, and either is right.
                            self.unclean.remove(&slot);
                            self.unanswered = Some((change.clone(), None));
                            break;
                        }
                    }
                }
            }
            Change::CountersBeganAnew => {
                self.kernel.clear();
                self.anew = true;
                match store.counters_began_anew() {
                    Ok(()) => self.anew = false,
                    Err(error) => {
                        assert!(disk.has_ended(), "{error}");
                        self.unanswered = Some((change.clone(), None));
                    }
                }
            }
        }
        self.unanswered.is_none()
    }

    /// Holds the store of the next process against what was said, and takes over what was left open.
    fn compare(&mut self, store: &mut Store) {
        let now = time(NOW);
        if std::mem::take(&mut self.anew) {
            store.counters_began_anew().unwrap();
        }
        let summaries = store.list(now);
        let kernel = store.kernel_exemptions(&Clocks { wall: now, boot_ns: 0 }, &pins());
        for problem in store.problems() {
            assert!(problem.reason.contains("its load was not finished"), "{problem}");
        }
        let unanswered = self.unanswered.take();
        let unanswered_key = unanswered.as_ref().and_then(|(_, key)| key.clone());
        let mut slots = BTreeSet::new();
        for exemption in &kernel {
            assert!(slots.insert(exemption.slot), "two have the slot {}", exemption.slot);
            let document = store.by_slot(exemption.slot).unwrap();
            let key = (document.id.clone(), document.version);
            let asked = unanswered_key.as_ref() == Some(&key);
            let summary = summaries.iter().find(|s| (&s.id, s.version) == (&key.0, key.1)).unwrap();
            match self.said.get_mut(&key) {
                Some(said) => {
                    assert!(said.open, "{key:?} is open again after it was said to be closed");
                    assert_eq!(said.slot, exemption.slot);
                    assert!(summary.used_bytes >= said.used, "{key:?} has lost use");
                    assert!(
                        exemption.quota
                            <= 1_000_000
                                - summary
                                    .used_bytes
                                    .saturating_sub(self.kernel.get(&said.slot).copied().unwrap_or(0))
                    );
                    said.used = summary.used_bytes;
                }
                None => {
                    assert!(asked, "{key:?} is open, and its load was never asked for");
                    assert!(!self.unclean.contains(&exemption.slot));
                    self.said.insert(key, Said { slot: exemption.slot, open: true, used: 0 });
                }
            }
        }
        for (key, said) in &mut self.said {
            if said.open && !slots.contains(&said.slot) {
                let revoking = matches!(unanswered, Some((Change::Revoke(_), _)));
                assert!(revoking && unanswered_key.as_ref() == Some(key), "{key:?} was lost");
                said.open = false;
                self.unclean.insert(said.slot);
            }
        }
        let to_reset: BTreeSet<u16> = store.slots_to_reset().into_iter().collect();
        assert!(self.unclean.is_subset(&to_reset), "{:?} and {to_reset:?}", self.unclean);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_more_open_after_the_process_has_ended_at_any_step(
        lives in prop::collection::vec((changes(), 0..120_usize, end()), 1..5),
    ) {
        let disk = ModelDisk::default();
        let mut book = Book::default();
        for (changes, steps, end) in lives {
            let mut store = disk.open_store().unwrap();
            book.compare(&mut store);
            disk.end_after(steps);
            for change in &changes {
                if !book.change(&mut store, change, &disk) {
                    break;
                }
            }
            drop(store);
            disk.restart(end);
        }
        book.compare(&mut disk.open_store().unwrap());
    }
}

/// Every step of one change, one after the other, rather than some by chance.
#[test]
fn each_single_step_of_load_and_revoke_can_be_the_last() {
    let mut steps_in_all = 0;
    for end in [End::Killed].into_iter().chain((0..16).map(End::PowerLoss)) {
        for last in [Change::Load(1), Change::Revoke(0), Change::Count(0, 5), Change::CountersBeganAnew] {
            for steps in 0.. {
                let disk = ModelDisk::default();
                let mut book = Book::default();
                let mut store = disk.open_store().unwrap();
                for change in [Change::Load(0), Change::Count(0, 9)] {
                    assert!(book.change(&mut store, &change, &disk));
                }
                disk.end_after(steps);
                let finished = book.change(&mut store, &last, &disk);
                drop(store);
                disk.restart(end);
                book.compare(&mut disk.open_store().unwrap());
                steps_in_all += 1;
                if finished {
                    break;
                }
            }
        }
    }
    assert!(steps_in_all > 17 * (12 + 6 + 6 + 6), "{steps_in_all} steps");
}

/// The disk refuses one step, and the process goes on.
#[test]
fn a_load_that_failed_is_not_open_later_and_a_revocation_that_failed_holds_and_can_be_repeated() {
    let now = time(NOW);
    let clocks = Clocks { wall: now, boot_ns: 0 };
    let open = |store: &Store| store.kernel_exemptions(&clocks, &pins()).len();
    for end in [End::Killed].into_iter().chain((0..16).map(End::PowerLoss)) {
        for steps in 0.. {
            let disk = ModelDisk::default();
            let mut store = disk.open_store().unwrap();
            disk.fail_after(steps);
            let loaded = store.load(Path::new("x"), named("a", 1).as_bytes(), &pins(), 7, now).is_ok();
            assert_eq!(open(&store), usize::from(loaded));
            disk.restart(end);
            assert_eq!(open(&disk.open_store().unwrap()), usize::from(loaded), "step {steps}, {end:?}");
            if loaded {
                assert!(steps >= 12, "{steps} steps");
                break;
            }
        }
        for steps in 0.. {
            let disk = ModelDisk::default();
            let mut store = disk.open_store().unwrap();
            store.load(Path::new("x"), named("a", 1).as_bytes(), &pins(), 7, now).unwrap();
            disk.fail_after(steps);
            let revoked = store.revoke("a", "a reason", 7, now).is_ok();
            assert_eq!(open(&store), 0, "the disk's failure at step {steps} must not keep it open");
            if !revoked {
                store.revoke("a", "a reason", 7, now).unwrap();
            }
            disk.restart(end);
            let reopened = disk.open_store().unwrap();
            assert_eq!((open(&reopened), reopened.problems()), (0, &[][..]));
            if revoked {
                assert!(steps >= 6, "{steps} steps");
                break;
            }
        }
    }
}
