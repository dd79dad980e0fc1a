//! Snapshots of the exemptions, and loading what was admitted.

use proptest::prelude::*;

use super::model::{End, ModelDisk};
use super::world::{Event, World, events};
use super::{GOOD, OVER, clocks, load, named, now, open_ids, pins, submit, time, who};
use crate::compile::KernelExemption;
use crate::exemption::record::Use;
use crate::store::{Admission, Change, Kept, Store, StoreError, Target};

fn id(id: &str) -> Target {
    Target::Id(id.to_owned())
}

fn stay() -> Change {
    Change::Stay { order: "an order".to_owned() }
}

fn revoke() -> Change {
    Change::Revoke { why: "done".to_owned() }
}

fn admit(store: &Store, text: &str) -> Admission {
    submit(text, |submission| store.kept().admit(submission, now()).unwrap())
}

fn entries(kept: &Kept) -> Vec<KernelExemption> {
    kept.kernel_exemptions(&clocks(), &pins())
}

#[test]
fn what_goes_to_a_worker_and_back_borrows_nothing() {
    fn goes<T: Clone + Send + Sync + 'static>() {}
    goes::<Kept>();
    goes::<Admission>();
    goes::<Change>();
    goes::<Target>();
}

#[test]
fn a_snapshot_stays_as_it_was_and_the_next_one_has_the_change() {
    let mut store = ModelDisk::new().open_store();
    let empty = store.kept();
    load(&mut store, GOOD).unwrap();
    load(&mut store, &named("b", 1)).unwrap();
    let (good, b) = (("mlat-1".to_owned(), 1), ("b".to_owned(), 1));
    let both = store.kept();
    store.change(&id("b"), &revoke(), &who(), now()).unwrap();
    let one = store.kept();
    store.slots_were_reset(&one.slots_to_reset()).unwrap();
    assert_eq!([&empty, &both, &one, &store.kept()].map(|kept| entries(kept).len()), [0, 3, 2, 2]);
    assert_eq!(both.by_slot(2).unwrap().id, "b");
    assert!(both.record(&b).unwrap().is_active() && one.record(&b).unwrap().is_closed());
    assert_eq!(both.slots_of(&[good.clone(), b.clone()]), [0, 1, 2]);
    assert_eq!(
        (both.slots_of(std::slice::from_ref(&b)), both.accounts_of(std::slice::from_ref(&b))),
        (vec![2], vec![2])
    );
    assert_eq!((one.slots_to_reset(), store.kept().slots_to_reset()), (vec![2], vec![]));
    assert_eq!(store.kept().slots_of(&[b, ("none".to_owned(), 1)]), Vec::<u16>::new());
    assert_eq!(both.list(now()).len(), 2);
    assert!(empty.find("b", None).is_err() && both.find("b", None).is_ok());
}

#[test]
fn what_is_over_is_named_before_it_is_closed() {
    let mut store = ModelDisk::new().open_store();
    for id in ["a", "b", "c"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    store.change(&id("c"), &revoke(), &who(), now()).unwrap();
    store.checkpoint_use(&[(1, Use { bytes: 999_000, packets: 1 })], now()).unwrap();
    let over = |moment| store.kept().is_over(moment).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!((over(now()), over(time(OVER))), (vec!["b".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    store.close_what_is_over(&who(), now(), now()).unwrap();
    assert_eq!(store.kept().is_over(now()), []);
}

#[test]
fn a_closing_that_the_disk_refused_is_in_the_snapshot_and_named_until_it_is_kept() {
    for change in [stay(), revoke()] {
        let disk = ModelDisk::new();
        let mut store = disk.open_store();
        load(&mut store, &named("a", 1)).unwrap();
        assert_eq!(store.kept().unsaved(), []);
        disk.fail_after(0);
        store.change(&id("a"), &change, &who(), now()).unwrap_err();
        let kept = store.kept();
        assert_eq!((entries(&kept), kept.unsaved()), (vec![], vec![("a".to_owned(), 1)]));
        store.checkpoint_use(&[], now()).unwrap();
        assert_eq!((entries(&store.kept()), store.kept().unsaved()), (vec![], vec![]));
        assert_eq!(kept.unsaved(), [("a".to_owned(), 1)], "a snapshot does not change");
    }
}

#[test]
fn an_admitted_document_is_loaded_as_it_was_admitted_and_once() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("other", 1)).unwrap();
    let admission = admit(&store, GOOD);
    assert_eq!(admission.slots(), [1, 2]);
    assert_eq!(admission.approvals().len(), 2);
    let planned = store.kept().kernel_exemptions_with(&admission, &clocks(), &pins());
    assert_eq!(entries(&store.kept()).len(), 1, "nothing is changed by looking");
    let key = store.load_admitted(&admission, &who(), now()).unwrap();
    assert_eq!((&key, key.0.as_str()), (&admission.key(), "mlat-1"));
    let mut live = entries(&store.kept());
    live.sort_by_key(|entry| entry.slot);
    assert_eq!(live, planned);
    let stored = store.stored(&key).unwrap().unwrap();
    assert_eq!((stored.bytes.as_slice(), stored.signatures.len()), (GOOD.as_bytes(), 2));
    let again = store.load_admitted(&admission, &who(), now()).unwrap_err();
    assert!(matches!(again, StoreError::Outdated { .. }), "{again}");
    assert_eq!(
        again.to_string(),
        "the exemption \"mlat-1\" or its slots in the kernel's table changed after it was checked: load it again"
    );
    disk.restart(End::Killed);
    assert_eq!(open_ids(&disk.open_store()).len(), 2);
}

#[test]
fn an_admission_is_refused_once_what_it_rests_on_has_changed() {
    let next = named("a", 2).replace("version = 2", "version = 2\nreplaces = 1");
    type Meanwhile = fn(&mut Store);
    let cases: [(&str, Meanwhile); 4] = [
        ("its slot was given away", |store| {
            load(store, &named("quick", 1)).unwrap();
        }),
        ("the version that it replaces was stayed", |store| {
            store.change(&id("a"), &stay(), &who(), now()).unwrap();
        }),
        ("the version that it replaces was closed", |store| {
            store.change(&id("a"), &revoke(), &who(), now()).unwrap();
        }),
        ("another one took the place of that version", |store| {
            load(store, &named("a", 3).replace("version = 3", "version = 3\nreplaces = 1")).unwrap();
        }),
    ];
    for (what, meanwhile) in cases {
        let disk = ModelDisk::new();
        let mut store = disk.open_store();
        load(&mut store, &named("a", 1)).unwrap();
        let admission = admit(&store, &next);
        meanwhile(&mut store);
        let before = (entries(&store.kept()), store.last_audit_line().map(str::to_owned));
        let refused = store.load_admitted(&admission, &who(), now());
        assert!(matches!(&refused, Err(StoreError::Outdated { id }) if id == "a"), "{what}: {refused:?}");
        let after = (entries(&store.kept()), store.last_audit_line().map(str::to_owned));
        assert_eq!(before, after, "{what}");
    }
    // What does not matter to it does not keep it out.
    let mut store = ModelDisk::new().open_store();
    for id in ["a", "b"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    let admission = admit(&store, &next);
    store.checkpoint_use(&[(0, Use { bytes: 500, packets: 1 })], now()).unwrap();
    store.change(&id("b"), &stay(), &who(), now()).unwrap();
    store.load_admitted(&admission, &who(), now()).unwrap();
    assert_eq!(store.kept().list(now())[0].used_bytes, 500);
    assert_eq!(entries(&store.kept()).iter().map(|entry| entry.slot).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_load_that_the_disk_refused_is_not_in_the_snapshot() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let admission = admit(&store, GOOD);
    disk.fail_after(0);
    let refused = store.load_admitted(&admission, &who(), now());
    assert!(matches!(refused, Err(StoreError::Disk { .. })), "{refused:?}");
    assert_eq!((entries(&store.kept()), store.kept().list(now()).len()), (vec![], 0));
}

/// Whether nothing of these is open that the disk does not have open, or open for more.
fn is_on_the_disk(open: &[KernelExemption], disk: &ModelDisk) -> bool {
    let copy = disk.copy();
    copy.restart(End::Killed);
    let there = entries(&copy.open_store().kept());
    open.iter().all(|entry| {
        there.iter().any(|it| {
            let quota = it.quota.max(entry.quota);
            entry.quota <= it.quota
                && KernelExemption { quota, ..it.clone() } == KernelExemption { quota, ..entry.clone() }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever happens, and whichever step of it fails: no snapshot has anything open that is not on the disk.
    #[test]
    fn no_snapshot_is_more_open_than_the_disk(
        rounds in prop::collection::vec((events(), 0..60_usize), 1..4),
    ) {
        let disk = ModelDisk::new();
        let mut world = World::default();
        let mut store = disk.open_store();
        prop_assert!(world.happen(&mut store, Event::Load(0), &disk));
        for (events, steps) in rounds {
            disk.fail_after(steps);
            for event in events {
                let done = world.happen(&mut store, event, &disk);
                prop_assert!(is_on_the_disk(&entries(&store.kept()), &disk), "{event:?}");
                if !done {
                    world.go_on(&mut store);
                    prop_assert!(world.happen(&mut store, Event::Look(0), &disk));
                }
            }
        }
    }
}
