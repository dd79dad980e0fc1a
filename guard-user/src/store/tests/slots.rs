//! Places in the kernel's tables.

use guard_common::abi::MAX_EXEMPTIONS;

use super::model::{End, ModelDisk};
use super::{GOOD, clocks, load, named, now, open_ids, pins, who};
use crate::exemption::record::Use;
use crate::store::{Change, LoadError, StoreError, Target};

fn stay(store: &mut crate::store::Store, id: &str) {
    store.change(&Target::Id(id.into()), &Change::Stay { order: "an order".into() }, &who(), now()).unwrap();
}

fn revoke(store: &mut crate::store::Store, id: &str) {
    store.change(&Target::Id(id.into()), &Change::Revoke { why: "done".into() }, &who(), now()).unwrap();
}

#[test]
fn a_slot_is_given_away_again_only_once_its_use_was_reset() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    assert_eq!(load(&mut store, GOOD).unwrap().slots, [0, 1]);
    for (id, slot) in [("b", 2), ("c", 3)] {
        assert_eq!(load(&mut store, &named(id, 1)).unwrap().slots, [slot]);
    }
    revoke(&mut store, "mlat-1");
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert_eq!(store.kept.slots_to_reset(), [0, 1]);
    assert_eq!(store.kept.slots_in_use(), [2, 3, 0, 1]);
    assert_eq!(load(&mut store, &named("d", 1)).unwrap().slots, [4]);
    store.checkpoint_use(&[(0, Use { bytes: 77, packets: 1 })], now()).unwrap();
    // One of the two is not enough.
    store.slots_were_reset(&[1]).unwrap();
    assert_eq!(store.kept.slots_to_reset(), [0, 1]);
    store.slots_were_reset(&[0, 1]).unwrap();
    // The kernel's count is zero from now on, and what was saved stays.
    store.checkpoint_use(&[(0, Use::default())], now()).unwrap();
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert_eq!(store.kept.slots_to_reset(), Vec::<u16>::new());
    let good = store.kept.list(now()).into_iter().find(|summary| summary.id == "mlat-1").unwrap();
    assert_eq!((good.used_bytes, good.slot), (77, None));
    assert_eq!(load(&mut store, &named("e", 1)).unwrap().slots, [0]);
    // A slot in use is not given away by a report about it.
    store.slots_were_reset(&[0]).unwrap();
    assert_eq!(load(&mut store, &named("f", 1)).unwrap().slots, [1]);
}

#[test]
fn as_many_as_the_kernel_holds_and_not_one_more() {
    let mut store = ModelDisk::new().open_store();
    for number in 0..MAX_EXEMPTIONS - 1 {
        let slots = load(&mut store, &named(&number.to_string(), 1)).unwrap().slots;
        assert_eq!(slots, [u16::try_from(number).unwrap()]);
    }
    // Never a part of one.
    let error = load(&mut store, GOOD).unwrap_err();
    assert!(
        matches!(error, LoadError::Store(StoreError::NoSlot { wanted: 2, free: 1, renewed: 0 })),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "2 places for recipients are needed, one for each, and 1 of the kernel's 256 is free: revoke an exemption that is not needed"
    );
    load(&mut store, &named("last", 1)).unwrap();
    assert_eq!(store.kept.kernel_exemptions(&clocks(), &pins()).len(), MAX_EXEMPTIONS);
    let error = load(&mut store, &named("more", 1)).unwrap_err();
    assert!(
        matches!(error, LoadError::Store(StoreError::NoSlot { wanted: 1, free: 0, renewed: 0 })),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "1 place for a recipient is needed, and 0 of the kernel's 256 are free: revoke an exemption that is not needed"
    );
    revoke(&mut store, "17");
    assert!(load(&mut store, &named("more", 1)).is_err(), "its use is not saved yet");
    store.slots_were_reset(&[17]).unwrap();
    assert_eq!(load(&mut store, &named("more", 1)).unwrap().slots, [17]);
}

/// What is renewed goes on until its new version is live: there is no moment in which one place is of both.
#[test]
fn a_renewal_without_a_free_place_is_told_what_gives_one_back() {
    let mut store = ModelDisk::new().open_store();
    for number in 0..MAX_EXEMPTIONS {
        load(&mut store, &named(&number.to_string(), 1)).unwrap();
    }
    let next = named("17", 2).replace("version = 2", "version = 2\nreplaces = 1");
    let error = load(&mut store, &next).unwrap_err();
    let is_full = matches!(error, LoadError::Store(StoreError::NoSlot { wanted: 1, free: 0, renewed: 1 }));
    assert!(is_full, "{error}");
    assert_eq!(
        error.to_string(),
        "1 place for a recipient is needed, and 0 of the kernel's 256 are free: revoke another exemption that is not needed, or \
         load this one once the version that it renews is over, which has 1 of them until this one is live"
    );
    assert_eq!(open_ids(&store).len(), MAX_EXEMPTIONS, "and it goes on");
    // As the hint says.
    revoke(&mut store, "18");
    store.slots_were_reset(&[18]).unwrap();
    assert_eq!(load(&mut store, &next).unwrap().slots, [18]);
    assert_eq!(store.kept.slots_to_reset(), [17]);
}

#[test]
fn what_is_stayed_gives_its_places_away_and_gets_others() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, GOOD).unwrap();
    store.checkpoint_use(&[(0, Use { bytes: 400_000, packets: 4 })], now()).unwrap();
    stay(&mut store, "mlat-1");
    assert_eq!(store.kept.slots_to_reset(), [0, 1]);
    store.slots_were_reset(&[0, 1]).unwrap();
    assert_eq!(load(&mut store, &named("b", 1)).unwrap().slots, [0]);
    store
        .change(
            &Target::Id("mlat-1".into()),
            &Change::Resume { order: None, why: "lifted".into() },
            &who(),
            now(),
        )
        .unwrap();
    let entries = store.kept.kernel_exemptions(&clocks(), &pins());
    let entries: Vec<_> = entries.iter().map(|it| (it.slot, it.account, it.quota)).collect();
    assert_eq!(entries, [(0, 0, 1_000_000), (1, 1, 600_000), (2, 1, 600_000)]);
}

/// Between the reset in the kernel and the word of it the daemon may end, or the disk refuse: then the kernel
/// would count from zero what the store holds against the quota only once.
#[test]
fn what_is_stayed_is_not_resumed_in_places_that_may_have_been_reset() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    store.checkpoint_use(&[(0, Use { bytes: 400_000, packets: 4 })], now()).unwrap();
    stay(&mut store, "a");
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    let resume = Change::Resume { order: None, why: "lifted".into() };
    let error = store.change(&Target::Id("a".into()), &resume, &who(), now()).unwrap_err();
    assert!(error.to_string().contains("reload"), "{error}");
    store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
    store.change(&Target::Id("a".into()), &resume, &who(), now()).unwrap();
    assert_eq!(store.kept.kernel_exemptions(&clocks(), &pins())[0].quota, 600_000);
    assert_eq!(open_ids(&store), ["a"]);
}

#[test]
fn without_a_free_place_nothing_is_resumed() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("stayed", 1)).unwrap();
    stay(&mut store, "stayed");
    store.slots_were_reset(&[0]).unwrap();
    for number in 0..MAX_EXEMPTIONS {
        load(&mut store, &named(&number.to_string(), 1)).unwrap();
    }
    let resumed = store.change(
        &Target::Id("stayed".into()),
        &Change::Resume { order: None, why: "lifted".into() },
        &who(),
        now(),
    );
    assert!(matches!(resumed, Err(StoreError::NoSlot { wanted: 1, free: 0, .. })), "{resumed:?}");
}

/// A store that begins beside the tables of an earlier daemon, without any mark.
#[test]
fn places_that_an_unknown_store_gave_are_reset_before_anybody_has_them() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    store.began_beside_tables().unwrap();
    assert!(load(&mut store, &named("a", 1)).is_err());
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert!(load(&mut store, &named("a", 1)).is_err());
    store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
    load(&mut store, &named("a", 1)).unwrap();
    store.began_beside_tables().unwrap();
    load(&mut store, &named("b", 1)).unwrap();
}
