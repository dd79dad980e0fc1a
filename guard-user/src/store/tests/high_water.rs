//! The mark of how far the store had come, against older stores that are put back.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

pub(crate) use super::memory::Memory;
use super::{key_of, load, named, now, open_ids, submit, trail, who};
use crate::audit;
use crate::exemption::record::Use;
use crate::store::{Change, FILE, LoadError, MarkKeeper, Marks, Older, Store, StoreError, Target};

pub(super) struct Host {
    folder: TempDir,
    kernel: Option<Memory>,
}

impl Host {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), kernel: Some(Memory::default()) }
    }

    pub(super) fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn kernel(&self) -> &Memory {
        self.kernel.as_ref().unwrap()
    }

    /// Where it is kept how far its store had come.
    pub(super) fn marks(&self) -> Marks {
        let kernel = self.kernel.clone().map(|it| Box::new(it) as Box<dyn MarkKeeper + Send>);
        Marks::new(self.at("mark"), kernel)
    }

    /// Starts a daemon's store.
    fn open(&self) -> (Store, Option<Older>) {
        let mut store = Store::open(&self.at("state")).unwrap();
        let older = store.mark_by(self.marks(), &who(), now()).unwrap();
        (store, older)
    }

    /// The store, where it is the newest.
    pub(super) fn newest(&self) -> Store {
        let (store, older) = self.open();
        assert_eq!(older, None);
        store
    }

    pub(super) fn keep(&self, what: &str, by: &str) {
        let from =
            if what == "state" { self.at("state").join(FILE) } else { self.at("mark/high-water.json") };
        fs::copy(from, self.at(by)).unwrap();
    }

    pub(super) fn put_back(&self, what: &str, by: &str) {
        let to = if what == "state" { self.at("state").join(FILE) } else { self.at("mark/high-water.json") };
        fs::copy(self.at(by), to).unwrap();
    }
}

/// One step of a daemon: what is done is marked.
fn done<T>(store: &mut Store, step: impl FnOnce(&mut Store) -> T) -> T {
    let came = step(store);
    store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
    store.keep_marks();
    assert_eq!(store.mark_fault(), None);
    came
}

fn change(store: &mut Store, target: Target, change: Change) {
    done(store, |store| store.change(&target, &change, &who(), now())).unwrap();
}

pub(super) fn loaded(store: &mut Store, text: &str) -> bool {
    done(store, |store| load(store, text)).is_ok()
}

pub(super) fn is_held(store: &Store, text: &str) -> bool {
    let admitted = submit(text, |submission| store.admit(submission, now()));
    matches!(admitted, Err(LoadError::Store(StoreError::HeldByOrder { .. })))
}

/// A host of which an old store is kept by the name `old`, and in which much was closed since.
fn closed_since() -> Host {
    let host = Host::new();
    let mut store = host.newest();
    for id in ["a", "b", "c", "d"] {
        assert!(loaded(&mut store, &named(id, 1)));
    }
    host.keep("mark", "old-mark");
    drop(store);
    host.keep("state", "old");
    let mut store = host.newest();
    assert_eq!(open_ids(&store), ["a", "b", "c", "d"]);
    change(&mut store, Target::Id("a".into()), Change::Revoke { why: "over".into() });
    change(&mut store, Target::Id("b".into()), Change::Stay { order: "High Court 7".into() });
    change(&mut store, Target::Key(key_of("c")), Change::RevokeKey { why: "it was lost".into() });
    let other = |version: u32| named("e", version).replace("US-Ireland MLAT 2001", "Budapest Convention");
    assert!(loaded(&mut store, &other(3)));
    let fallen = Target::Instrument("Budapest Convention".into());
    change(&mut store, fallen, Change::Invalidate { why: "it was denounced".into() });
    assert_eq!(open_ids(&store), ["d"]);
    host
}

/// What must hold of the host above once its old store is put back and all that it lacks is known.
fn nothing_came_back(store: &mut Store) {
    assert_eq!(open_ids(store), Vec::<String>::new());
    for id in ["a", "b", "c", "d"] {
        assert!(!loaded(store, &named(id, 1)), "{id}: its version was loaded once");
    }
    assert!(is_held(store, &named("b", 2)) && is_held(store, &named("c", 2)));
    assert!(store.kept().was_loaded("e") && !store.kept().was_loaded("x"), "one that this store never saw");
    let lost = named("e", 3).replace("US-Ireland MLAT 2001", "Something else");
    assert!(!loaded(store, &lost), "a version that this store never saw");
    assert!(loaded(store, &lost.replace("version = 3", "version = 4")));
    assert!(is_held(store, &named("f", 1).replace("US-Ireland MLAT 2001", "budapest convention")));
    assert!(loaded(store, &named("d", 2)), "what is approved anew passes");
    let record = trail(store).into_iter().find(|record| record.kind == "older-store").unwrap();
    assert!(record.detail["had"].as_u64() > record.detail["has"].as_u64(), "{record:?}");
}

#[test]
fn an_older_store_is_closed_and_learns_what_it_lacks() {
    let host = closed_since();
    host.put_back("state", "old");
    let (store, older) = host.open();
    let older = older.unwrap();
    assert!(older.is_known && older.had > older.has && older.revoked.len() == 4, "{older:?}");
    drop(store);
    // It is the newest one from now on.
    let mut store = host.newest();
    nothing_came_back(&mut store);
    drop(store);
    host.newest();
}

/// Who verifies a checkpoint finds in the trail alone which keys are revoked.
#[test]
fn a_revoked_key_that_an_older_store_lacks_is_recorded_and_once() {
    for is_removed in [false, true] {
        let host = closed_since();
        match is_removed {
            true => fs::remove_file(host.at("state").join(FILE)).unwrap(),
            false => host.put_back("state", "old"),
        }
        drop(host.open());
        host.newest();
        let found = trail(&host.newest()).into_iter().filter(|it| it.kind == "revoke-key");
        let found: Vec<audit::Stored> = found.collect();
        let ([record], key) = (&found[..], key_of("c")) else { panic!("{found:?}") };
        assert_eq!((record.subject.as_str(), record.detail["key"].as_str()), (&*key, Some(&*key)));
        assert_eq!(record.detail["taken_from"], "high-water.json");
        assert!(record.why.contains("older store") && !record.why.contains("it was lost"), "{record:?}");
    }
}

#[test]
fn the_file_alone_is_enough_as_after_a_reboot() {
    let mut host = closed_since();
    host.put_back("state", "old");
    host.kernel = Some(Memory::default());
    assert!(host.open().1.unwrap().is_known);
    nothing_came_back(&mut host.newest());
    // A kernel that keeps nothing is no reason to doubt.
    host.kernel = None;
    host.newest();
}

#[test]
fn without_the_file_nothing_is_loaded_before_somebody_says_so() {
    for how in ["gone", "put back too", "no JSON"] {
        let host = closed_since();
        host.put_back("state", "old");
        match how {
            "gone" => fs::remove_file(host.at("mark/high-water.json")).unwrap(),
            "put back too" => host.put_back("mark", "old-mark"),
            _ => fs::write(host.at("mark/high-water.json"), "{").unwrap(),
        }
        let (store, older) = host.open();
        let older = older.unwrap();
        assert!(!older.is_known, "{how}: {older:?}");
        assert_eq!(open_ids(&store), Vec::<String>::new());
        assert!(is_held(&store, &named("d", 2)) && is_held(&store, &named("g", 1)), "{how}");
        drop(store);
        let mut store = host.newest();
        assert!(is_held(&store, &named("g", 1)), "{how}: after a restart");
        let order = store.kept().orders().next().unwrap().order.clone();
        assert!(older.to_string().contains(&order), "{older}");
        change(&mut store, Target::All, Change::Resume { order: Some(order), why: "looked at".into() });
        assert_eq!(open_ids(&store), Vec::<String>::new(), "{how}: that opens nothing");
        assert!(loaded(&mut store, &named("d", 2)));
    }
}

#[test]
fn a_store_without_any_mark_may_be_an_older_one() {
    let mut host = closed_since();
    host.put_back("state", "old");
    fs::remove_dir_all(host.at("mark")).unwrap();
    host.kernel = Some(Memory::default());
    let (store, older) = host.open();
    let older = older.unwrap();
    assert!(older.had == 0 && !older.is_known && older.revoked.len() == 4, "{older:?}");
    assert!(is_held(&store, &named("d", 2)));
    // A store that begins has its mark before its first record: it is not taken for one of these.
    drop(store);
    let new = Host::new();
    drop(new.newest());
    assert!(new.at("mark/high-water.json").exists());
    new.newest();
}

#[test]
fn a_store_that_came_further_by_another_way_is_seen() {
    let host = closed_since();
    host.put_back("state", "old");
    // A daemon without marks makes as many records, of something else.
    let mut store = Store::open(&host.at("state")).unwrap();
    for _ in 0..20 {
        let record =
            Store::record_of(audit::Kind::Start, &("x".into(), 1), &who(), now(), "", serde_json::json!({}));
        store.audit(record).unwrap();
    }
    drop(store);
    let (store, older) = host.open();
    assert!(older.unwrap().is_known);
    nothing_came_back_but_record(&store);
}

/// Store and file went on elsewhere, from before what was closed, and have come further than the kernel's mark.
#[test]
fn a_store_that_came_further_elsewhere_with_its_file_does_not_say_what_it_lacks() {
    let host = closed_since();
    let elsewhere = Host::new();
    for folder in ["state", "mark"] {
        fs::create_dir(elsewhere.at(folder)).unwrap();
    }
    fs::copy(host.at("old"), elsewhere.at("state").join(FILE)).unwrap();
    fs::copy(host.at("old-mark"), elsewhere.at("mark/high-water.json")).unwrap();
    let (mut store, _) = elsewhere.open();
    for _ in 0..30 {
        let record =
            Store::record_of(audit::Kind::Start, &("x".into(), 1), &who(), now(), "", serde_json::json!({}));
        done(&mut store, |store| store.audit(record)).unwrap();
    }
    drop(store);
    fs::copy(elsewhere.at("state").join(FILE), host.at("state").join(FILE)).unwrap();
    fs::copy(elsewhere.at("mark/high-water.json"), host.at("mark/high-water.json")).unwrap();
    let (store, older) = host.open();
    assert!(!older.unwrap().is_known);
    assert!(is_held(&store, &named("z", 1)), "nothing is loaded until somebody lifts the order for that");
    assert!(store.kept.spent_signatures().is_err());
}

/// A config that was in force has signatures, which may be from before it was replaced.
#[test]
fn configs_that_were_replaced_are_known_to_an_older_store_and_to_a_new_one() {
    for is_lost in [false, true] {
        let host = Host::new();
        let mut store = host.newest();
        let takes = |store: &mut Store, text: &str| {
            let sha256 = crate::digest::sha256(text.as_bytes());
            let detail = serde_json::json!({"config_sha256": sha256});
            let record =
                Store::record_of(audit::Kind::Reload, &(String::new(), 0), &who(), now(), "", detail);
            done(store, |store| store.audit_config(record, text.as_bytes())).unwrap();
            sha256
        };
        let first = takes(&mut store, "first");
        let wide = takes(&mut store, "wide");
        drop(store);
        host.keep("state", "old");
        let mut store = host.newest();
        let narrow = takes(&mut store, "narrow");
        drop(store);
        match is_lost {
            false => host.put_back("state", "old"),
            true => fs::remove_file(host.at("state").join(FILE)).unwrap(),
        }
        let (store, older) = host.open();
        assert!(older.is_some_and(|older| older.is_known));
        let replaced = |store: &Store| store.kept.spent_signatures().unwrap().configs;
        assert!(replaced(&store).contains(&first) && replaced(&store).contains(&wide));
        assert!(!replaced(&store).contains(&narrow), "it was in force last");
        drop(store);
        assert!(replaced(&host.newest()).contains(&wide), "and over a restart");
    }
}

fn nothing_came_back_but_record(store: &Store) {
    assert_eq!(open_ids(store), Vec::<String>::new());
    assert!(is_held(store, &named("b", 2)) && is_held(store, &named("c", 2)));
}

#[test]
fn a_store_that_was_removed_is_begun_anew_and_learns_what_it_lacks() {
    let host = closed_since();
    fs::remove_file(host.at("state").join(FILE)).unwrap();
    let (mut store, older) = host.open();
    let older = older.unwrap();
    assert_eq!((older.has, older.is_known, older.revoked.len()), (0, true, 0));
    nothing_came_back(&mut store);
}

#[test]
fn a_mark_that_is_behind_says_nothing_and_one_that_fails_is_told() {
    let host = Host::new();
    let mut store = host.newest();
    assert!(loaded(&mut store, &named("a", 1)));
    // The power went before the mark was written.
    load(&mut store, &named("b", 1)).unwrap();
    drop(store);
    let mut store = host.newest();
    assert_eq!(open_ids(&store), ["a", "b"]);
    // Something else has the folder's name.
    fs::remove_dir_all(host.at("mark")).unwrap();
    fs::write(host.at("mark"), "").unwrap();
    load(&mut store, &named("c", 1)).unwrap();
    store.keep_marks();
    assert!(store.mark_fault().unwrap().file.unwrap().contains("high-water.json"));
    fs::remove_file(host.at("mark")).unwrap();
    store.keep_marks();
    assert_eq!(store.mark_fault(), None);
    assert!(Path::exists(&host.at("mark/high-water.json")));
    // One that was removed is made anew, though nothing has changed.
    fs::remove_dir_all(host.at("mark")).unwrap();
    store.keep_marks();
    assert!(Path::exists(&host.at("mark/high-water.json")));
}

fn used(bytes: u64) -> Use {
    Use { bytes, packets: bytes / 100 }
}

/// What the uses of these days come to, by exemption.
fn booked(store: &Store) -> Vec<(String, u64)> {
    store.use_by_day().unwrap().into_iter().map(|row| (row.key.0, row.used.bytes)).collect()
}

/// What the kernel counts in a place is of whoever has that place by then, and the older store does not know who that is.
#[test]
fn no_exemption_of_an_older_store_is_given_another_s_bytes() {
    for is_open in [true, false] {
        let host = Host::new();
        let mut store = host.newest();
        assert!(loaded(&mut store, &named("x1", 1)));
        assert_eq!(store.kept.slots_in_use(), [0]);
        store.checkpoint_use(&[(0, used(1_000))], now()).unwrap();
        let revoke = |store: &mut Store| {
            let revoke = Change::Revoke { why: "over".into() };
            store.change(&Target::Id("x1".into()), &revoke, &who(), now()).unwrap();
            store.keep_marks();
        };
        if !is_open {
            revoke(&mut store);
        }
        drop(store);
        host.keep("state", "old");
        let mut store = host.newest();
        if is_open {
            revoke(&mut store);
        }
        store.slots_were_reset(&[0]).unwrap();
        assert!(loaded(&mut store, &named("x2", 1)));
        assert_eq!(store.kept.slots_in_use(), [0], "the second one has the place of the first");
        store.checkpoint_use(&[(0, used(5_000))], now()).unwrap();
        drop(store);
        host.put_back("state", "old");
        let (mut store, older) = host.open();
        assert_eq!(older.unwrap().revoked.len(), usize::from(is_open));
        // What the kernel has by then.
        store.checkpoint_use(&[(0, used(7_000))], now()).unwrap();
        assert_eq!(booked(&store), [("x1".to_owned(), 1_000)]);
        assert_eq!(store.kept.list(now())[0].used_bytes, 1_000);
        // Nobody has a place before it is reset, also where the daemon ended before it had done so.
        drop(store);
        let mut store = host.newest();
        let refused = load(&mut store, &named("x3", 1));
        assert!(matches!(refused, Err(LoadError::Store(StoreError::NoSlot { free: 0, .. }))), "{refused:?}");
        store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
        assert!(loaded(&mut store, &named("x3", 1)));
        drop(store);
        assert_eq!(host.newest().kept.slots_to_reset(), [0; 0]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Load(usize),
    Revoke(usize),
    Stay(usize),
    Lift(usize),
    Key(usize),
    Instrument(usize),
}

const IDS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["US-Ireland MLAT 2001", "Budapest Convention", "SCC with Example Inc."];

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..IDS.len();
    prop_oneof![
        4 => id().prop_map(Step::Load),
        1 => id().prop_map(Step::Revoke),
        2 => id().prop_map(Step::Stay),
        1 => id().prop_map(Step::Lift),
        1 => id().prop_map(Step::Key),
        1 => id().prop_map(Step::Instrument),
    ]
}

fn document(id: usize, version: u32) -> String {
    named(IDS[id], version).replace("US-Ireland MLAT 2001", NAMES[id])
}

fn take(store: &mut Store, versions: &mut [u32; 3], step: Step) {
    let changed = |store: &mut Store, target, change| {
        let _may_be_refused = done(store, |store| store.change(&target, &change, &who(), now()));
    };
    match step {
        Step::Load(id) => {
            if loaded(store, &document(id, versions[id] + 1)) {
                versions[id] += 1;
            }
        }
        Step::Revoke(id) => changed(store, Target::Id(IDS[id].into()), Change::Revoke { why: "x".into() }),
        Step::Stay(id) => changed(store, Target::Id(IDS[id].into()), Change::Stay { order: "x".into() }),
        Step::Lift(id) => {
            let change = Change::Resume { order: Some("x".into()), why: "x".into() };
            changed(store, Target::Id(IDS[id].into()), change);
        }
        Step::Key(id) => changed(store, Target::Key(key_of(IDS[id])), Change::RevokeKey { why: "x".into() }),
        Step::Instrument(id) => {
            changed(store, Target::Instrument(NAMES[id].into()), Change::Invalidate { why: "x".into() });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is done, and whichever earlier store is put back: what was closed stays closed, and what an order held
    /// is held.
    #[test]
    fn nothing_that_was_closed_comes_back(
        before in prop::collection::vec(step(), 0..8),
        after in prop::collection::vec(step(), 1..8),
    ) {
        let host = Host::new();
        let mut store = host.newest();
        let mut versions = [0; 3];
        for it in before {
            take(&mut store, &mut versions, it);
        }
        drop(store);
        host.keep("state", "old");
        let mut store = host.newest();
        for it in after {
            take(&mut store, &mut versions, it);
        }
        let held: Vec<usize> = (0..3).filter(|id| is_held(&store, &document(*id, versions[*id] + 1))).collect();
        let came = store.last_audit_line().map(str::to_owned);
        drop(store);
        host.put_back("state", "old");
        let (mut store, older) = host.open();
        if let Some(older) = older {
            prop_assert!(older.is_known);
            prop_assert_eq!(open_ids(&store), Vec::<String>::new());
        } else {
            // Nothing was done since that left a record.
            prop_assert_eq!(store.last_audit_line().map(str::to_owned), came);
        }
        for (id, version) in versions.into_iter().enumerate() {
            for version in 1..=version {
                prop_assert!(!loaded(&mut store, &document(id, version)), "{id} {version}");
            }
        }
        for id in held {
            prop_assert!(is_held(&store, &document(id, versions[id] + 1)), "{id}");
        }
    }
}
