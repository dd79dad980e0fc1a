//! Quotas, in slices, over the beginnings and ends of the kernel's counters.

use super::model::{End, ModelDisk};
use super::{clocks, load, named, now, open_ids, pins, trail, who};
use crate::exemption::record::Use;
use crate::store::quota::SMALLEST;
use crate::store::{Change, Store, Target};

const GIB: u64 = 1 << 30;

fn with_quota(id: &str, quota: u64) -> String {
    named(id, 1).replace("1_000_000", &quota.to_string())
}

fn quotas(store: &Store) -> Vec<u64> {
    store.kept.kernel_exemptions(&clocks(), &pins()).into_iter().map(|it| it.quota).collect()
}

fn look(store: &mut Store, bytes: u64) {
    store.checkpoint_use(&[(0, Use { bytes, packets: 1 })], now()).unwrap();
}

#[test]
fn a_quota_goes_on_when_the_kernel_s_counters_begin_anew() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &with_quota("a", 4 * GIB)).unwrap();
    load(&mut store, &named("unbounded", 1).replace("quota_bytes = 1_000_000\n", "")).unwrap();
    assert_eq!(quotas(&store), [GIB / 2, u64::MAX]);
    look(&mut store, 300);
    store.checkpoint_use(&[(1, Use { bytes: 5, packets: 1 })], now()).unwrap();
    assert_eq!(quotas(&store), [GIB / 2, u64::MAX], "the kernel's own count goes on");
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    store.counters_began_anew(now()).unwrap();
    assert_eq!(quotas(&store), [0, u64::MAX], "what was granted counts as used until more is");
    assert!(store.grant().unwrap());
    assert_eq!(quotas(&store), [GIB / 2, u64::MAX]);
    let used: Vec<_> =
        store.kept.list(now()).into_iter().map(|it| (it.used_bytes, it.used_packets)).collect();
    assert_eq!(used, [(GIB / 2, 1), (5, 1)]);
    // Anew before anything was let through: nothing more is lost than what was granted.
    disk.restart(End::PowerLoss(2));
    let mut store = disk.open_store();
    for _ in 0..3 {
        store.counters_began_anew(now()).unwrap();
        assert_eq!(store.kept.list(now())[0].used_bytes, GIB, "a second call changes nothing");
    }
    // After eight of them nothing is left.
    for _ in 2..8 {
        store.grant().unwrap();
        store.counters_began_anew(now()).unwrap();
    }
    assert!(!store.grant().unwrap());
    assert_eq!(quotas(&store), [0, u64::MAX]);
    assert_eq!(store.kept.list(now())[0].used_bytes, 4 * GIB);
}

#[test]
fn more_is_granted_before_the_slice_runs_out_and_never_more_than_the_quota() {
    let mut store = ModelDisk::new().open_store();
    let quota = GIB + 77;
    load(&mut store, &with_quota("a", quota)).unwrap();
    assert_eq!(quotas(&store), [SMALLEST]);
    assert!(!store.grant().unwrap(), "all of it is left");
    look(&mut store, SMALLEST / 2 - 1);
    assert!(!store.grant().unwrap(), "more than half is left");
    look(&mut store, SMALLEST / 2);
    assert!(store.grant().unwrap());
    assert_eq!(quotas(&store), [SMALLEST / 2 + SMALLEST]);
    let mut used = SMALLEST / 2;
    for _ in 0..100 {
        used = (used + SMALLEST / 3).min(quotas(&store)[0]);
        look(&mut store, used);
        store.grant().unwrap();
    }
    assert_eq!((used, quotas(&store)), (quota, vec![quota]));
    assert!(!store.grant().unwrap());
}

#[test]
fn a_grant_is_due_by_what_the_kernel_has_counted() {
    let mut store = ModelDisk::new().open_store();
    let due = |store: &Store, bytes| store.kept.is_grant_due(&[(0, Use { bytes, packets: 1 })]);
    assert!(!store.kept.has_more_to_grant());
    load(&mut store, &with_quota("a", 2 * SMALLEST)).unwrap();
    assert!(store.kept.has_more_to_grant());
    assert!(!store.kept.is_grant_due(&[]) && !due(&store, SMALLEST / 2 - 1) && due(&store, SMALLEST / 2));
    look(&mut store, SMALLEST / 2);
    assert!(store.kept.is_grant_due(&[]), "saved, and not granted yet");
    assert!(store.grant().unwrap());
    assert!(store.kept.has_more_to_grant() && !due(&store, SMALLEST - 1) && due(&store, SMALLEST));
    store.change(&Target::Id("a".into()), &Change::Stay { order: "x".into() }, &who(), now()).unwrap();
    assert!(
        !store.kept.has_more_to_grant() && !due(&store, SMALLEST),
        "nothing is granted to what is stayed"
    );
    store.slots_were_reset(&[0]).unwrap();
    store
        .change(&Target::Id("a".into()), &Change::Resume { order: None, why: "x".into() }, &who(), now())
        .unwrap();
    assert!(store.kept.has_more_to_grant() && !due(&store, SMALLEST / 2 - 1), "the count began anew");
    look(&mut store, SMALLEST / 2);
    assert!(store.grant().unwrap());
    assert!(!store.kept.has_more_to_grant() && !due(&store, 2 * SMALLEST), "all of it is granted");
}

#[test]
fn a_small_quota_is_one_slice() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    assert_eq!(quotas(&store), [1_000_000]);
    look(&mut store, 999_000);
    assert!(!store.grant().unwrap());
}

#[test]
fn a_look_between_a_charge_and_its_taking_back_does_not_stay() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    look(&mut store, 1_000_100);
    assert_eq!(store.kept.list(now())[0].used_bytes, 1_000_000);
}

#[test]
fn a_list_with_the_kernel_s_counts_has_them_without_a_write() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    load(&mut store, &named("b", 1)).unwrap();
    look(&mut store, 300);
    let counts =
        [(0, Use { bytes: 500, packets: 2 }), (1, Use { bytes: 7, packets: 1 }), (9, Use::default())];
    let used = |store: &Store, counts: &[(u16, Use)]| -> Vec<u64> {
        store.kept.list_with(counts, now()).into_iter().map(|it| it.used_bytes).collect()
    };
    assert_eq!(used(&store, &counts), [500, 7]);
    assert_eq!(used(&store, &[(0, Use { bytes: 299, packets: 1 })]), [300, 0], "no count goes back");
    disk.restart(End::Killed);
    assert_eq!(used(&disk.open_store(), &[]), [300, 0]);
}

#[test]
fn what_was_granted_and_not_used_is_given_back_in_good_order() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &with_quota("a", 4 * GIB)).unwrap();
    store.counters_end(&[(0, Use { bytes: 300, packets: 3 })], now()).unwrap();
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    store.counters_began_anew(now()).unwrap();
    assert_eq!(store.kept.list(now())[0].used_bytes, 300);
    store.grant().unwrap();
    assert_eq!(quotas(&store), [GIB / 2]);
    // So it is by a stay, once its places are free.
    look(&mut store, 1000);
    store.change(&Target::Id("a".into()), &Change::Stay { order: "x".into() }, &who(), now()).unwrap();
    store.slots_were_reset(&[0]).unwrap();
    store.counters_began_anew(now()).unwrap();
    assert_eq!(store.kept.list(now())[0].used_bytes, 1300);
    assert!(!store.grant().unwrap(), "nothing is granted to what is stayed");
    store
        .change(&Target::Id("a".into()), &Change::Resume { order: None, why: "x".into() }, &who(), now())
        .unwrap();
    assert_eq!(quotas(&store), [GIB / 2]);
}

#[test]
fn open_documents_say_what_is_left_in_their_places() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &named("a", 1)).unwrap();
    load(&mut store, &named("b", 1).replace("quota_bytes = 1_000_000\n", "")).unwrap();
    load(&mut store, &named("c", 1)).unwrap();
    look(&mut store, 400);
    store.change(&Target::Id("c".into()), &Change::Stay { order: "x".into() }, &who(), now()).unwrap();
    let open = store.open_documents().unwrap();
    let left: Vec<_> = open.iter().map(|it| (it.slots.clone(), it.left)).collect();
    assert_eq!(left, [(vec![0], Some(999_600)), (vec![1], None)]);
    assert_eq!(open[0].bytes, named("a", 1).as_bytes());
}

/// What is left by the disk alone, for who has no counts of the kernel's.
fn recorded(store: &Store) -> Vec<u64> {
    let reader = store.disk.as_ref().unwrap().read(&store.path).unwrap();
    reader.kernel_exemptions(&clocks(), &pins()).unwrap().into_iter().map(|(_, it)| it.quota).collect()
}

#[test]
fn without_the_kernel_s_counts_what_is_left_is_what_the_disk_last_had() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &with_quota("a", 4 * GIB)).unwrap();
    look(&mut store, 300);
    assert_eq!(recorded(&store), [GIB / 2 - 300], "the kernel stops at what was granted");
    store.counters_end(&[(0, Use { bytes: 1000, packets: 3 })], now()).unwrap();
    assert_eq!(recorded(&store), [4 * GIB - 1000], "a start grants again of all that is left");
    store.counters_began_anew(now()).unwrap();
    store.grant().unwrap();
    look(&mut store, 4 * GIB);
    assert_eq!(recorded(&store), [0]);
}

#[test]
fn an_unchanged_count_is_not_written_again_and_counts_are_not_told() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    let told = trail(&store);
    look(&mut store, 5);
    let before = disk.steps_taken();
    look(&mut store, 5);
    look(&mut store, 4);
    store.checkpoint_use(&[(9, Use { bytes: 5, packets: 1 })], now()).unwrap();
    assert!(!store.grant().unwrap());
    assert_eq!(disk.steps_taken(), before);
    assert_eq!((open_ids(&store).len(), trail(&store)), (1, told));
}
