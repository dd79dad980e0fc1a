//! What each recipient of one exemption received, over restarts, stays and detaches, and in stores that earlier versions of
//! this program have written.

use std::collections::BTreeSet;

use super::damage::change_record;
use super::model::{End, ModelDisk};
use super::{GOOD, clocks, load, now, pins, time, who};
use crate::compile::KernelExemption;
use crate::exemption::Summary;
use crate::exemption::record::Use;
use crate::store::{Change, Key, Store, Target};

/// Two recipients that an earlier version had in one slot, and one that had its own.
fn three() -> String {
    let court = "\n[[recipient]]\nname = \"Court\"\njurisdiction = \"US\"\ncidrs = [\"198.51.100.96/27\"]\nports = [\"tcp/443\"]\n";
    let (before, last) = GOOD.rsplit_once("[[recipient]]").unwrap();
    format!("{before}{court}[[recipient]]{last}")
}

fn key() -> Key {
    ("mlat-1".to_owned(), 1)
}

fn used(bytes: u64, packets: u64) -> Use {
    Use { bytes, packets }
}

fn shown(store: &Store) -> Summary {
    store.kept.list(now()).remove(0)
}

/// Bytes of each recipient, of no recipient, and in all.
fn told(store: &Store) -> (Vec<u64>, u64, u64) {
    let summary = shown(store);
    let by_recipient: Vec<u64> = summary.recipients.iter().map(|it| it.used_bytes).collect();
    let all = by_recipient.iter().sum::<u64>() + summary.unattributed_bytes;
    assert_eq!(all, summary.used_bytes, "the parts are the whole");
    let packets: u64 = summary.recipients.iter().map(|it| it.used_packets).sum();
    assert_eq!(packets + summary.unattributed_packets, summary.used_packets);
    (by_recipient, summary.unattributed_bytes, summary.used_bytes)
}

/// Day, recipient and bytes of each row.
fn days(store: &Store) -> Vec<(String, Option<usize>, u64)> {
    store.use_by_day().unwrap().into_iter().map(|row| (row.day, row.recipient, row.used.bytes)).collect()
}

fn look(store: &mut Store, counts: &[(u16, Use)], moment: &str) {
    store.checkpoint_use(counts, time(moment)).unwrap();
}

fn stay(store: &mut Store) {
    store.change(&Target::Id(key().0), &Change::Stay { order: "an order".into() }, &who(), now()).unwrap();
}

fn resume(store: &mut Store) {
    let resume = Change::Resume { order: None, why: "lifted".into() };
    store.change(&Target::Id(key().0), &resume, &who(), now()).unwrap();
}

fn entries(store: &Store) -> Vec<KernelExemption> {
    store.kept.kernel_exemptions(&clocks(), &pins())
}

#[test]
fn each_recipient_has_a_slot_and_a_count_of_its_own_and_one_quota_for_all() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    assert_eq!(load(&mut store, &three()).unwrap().slots, [0, 1, 2]);
    let named: Vec<_> = entries(&store).iter().map(|it| (it.slot, it.account, it.networks.len())).collect();
    assert_eq!(named, [(0, 0, 2), (1, 0, 1), (2, 0, 1)], "in the order of the document, on one account");
    look(&mut store, &[(0, used(100, 1)), (1, used(2_000, 2)), (2, used(0, 0))], "2026-12-02T00:00:00Z");
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    look(&mut store, &[(2, used(30_000, 3)), (1, used(2_500, 3))], "2026-12-03T00:00:00Z");
    assert_eq!(told(&store), (vec![100, 2_500, 30_000], 0, 32_600));
    let expected = [(2, Some(0), 100), (2, Some(1), 2_000), (3, Some(1), 500), (3, Some(2), 30_000)];
    let expected = expected.map(|(day, recipient, bytes)| (format!("2026-12-0{day}"), recipient, bytes));
    assert_eq!(days(&store), expected);
    // Its places go to another, and it gets others: each count stays with its recipient.
    stay(&mut store);
    store.slots_were_reset(&[0, 1, 2]).unwrap();
    assert_eq!(load(&mut store, &super::named("other", 1)).unwrap().slots, [0]);
    resume(&mut store);
    assert_eq!(store.kept.slots_of(&[key()]), [1, 2, 3]);
    let quotas: BTreeSet<u64> = entries(&store).iter().filter(|it| it.slot > 0).map(|it| it.quota).collect();
    assert_eq!(quotas, BTreeSet::from([1_000_000 - 32_600]));
    look(&mut store, &[(3, used(1, 1)), (0, used(9, 9))], "2026-12-03T00:00:00Z");
    assert_eq!(told(&store), (vec![100, 2_500, 30_001], 0, 32_601));
    // Detached in good order, and begun anew.
    store.counters_end(&[(1, used(5, 1)), (3, used(2, 2))], now()).unwrap();
    store.counters_began_anew(now()).unwrap();
    assert_eq!(told(&store), (vec![105, 2_500, 30_002], 0, 32_607));
    store.grant().unwrap();
    // What was granted and may have passed before the power was lost was counted for nobody.
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    store.counters_began_anew(now()).unwrap();
    assert_eq!(told(&store), (vec![105, 2_500, 30_002], 1_000_000 - 32_607, 1_000_000));
}

#[test]
fn no_recipient_s_count_goes_back_and_all_together_are_not_past_the_quota() {
    let mut store = ModelDisk::new().open_store();
    load(&mut store, &three()).unwrap();
    look(&mut store, &[(0, used(600_000, 6)), (1, used(300_000, 3))], "2026-12-02T00:00:00Z");
    look(&mut store, &[(0, used(500_000, 5)), (1, used(350_000, 4))], "2026-12-02T00:00:00Z");
    assert_eq!(told(&store), (vec![600_000, 350_000, 0], 0, 950_000));
    look(&mut store, &[(0, used(640_000, 7)), (1, used(400_000, 5))], "2026-12-02T00:00:00Z");
    assert_eq!(told(&store), (vec![640_000, 360_000, 0], 0, 1_000_000));
}

/// A store as version 2 of the records' form had it, with this document and these slots, of which so much was used, and with
/// the present one's entries for the kernel.
fn of_format_2(document: &str, slots: &[u16], counted: u64, before: u64) -> ModelDisk {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, document).unwrap();
    look(&mut store, &[(0, used(counted, 1))], "2026-12-02T00:00:00Z");
    let database = store.disk.as_ref().unwrap();
    database
        .write(|batch| {
            change_record(batch, "mlat-1", |record| {
                record["format"] = 2.into();
                record["slots"] = slots.into();
                record["before"]["bytes"] = before.into();
                let fields = record.as_object_mut().unwrap();
                assert!(fields.remove("counted_by_slot").is_some());
                assert!(fields.remove("before_by_recipient").is_some());
            });
            batch.delete_table(super::super::tables::USE_BY_RECIPIENT)?;
            Ok(())
        })
        .unwrap();
    disk.restart(End::Killed);
    disk
}

/// Whatever these let through, whoever is named together with whom.
fn reach(entries: &[KernelExemption]) -> BTreeSet<String> {
    let one = |it: &KernelExemption| {
        let (places, ports) = (&it.jurisdictions, &it.ports);
        let network = |network: &ipnetwork::IpNetwork| format!("{network} in {:?} at {ports:?}", it.placed);
        let whole = places.iter().map(|place| format!("{place} at {ports:?}"));
        it.networks.iter().map(network).chain(whole).collect::<Vec<_>>()
    };
    entries.iter().flat_map(one).collect()
}

#[test]
fn what_an_earlier_version_opened_stays_open_as_it_was_and_its_use_is_nobody_s() {
    let mut now_open = ModelDisk::new().open_store();
    load(&mut now_open, &three()).unwrap();
    let disk = of_format_2(&three(), &[0, 1], 4_000, 1_000);
    let mut store = disk.open_store();
    assert!(store.kept.record(&key()).unwrap().is_active());
    let open = entries(&store);
    assert_eq!(open.iter().map(|it| (it.slot, it.account)).collect::<Vec<_>>(), [(0, 0), (1, 0)]);
    assert_eq!(reach(&open), reach(&entries(&now_open)));
    assert_eq!(told(&store), (vec![0, 0, 0], 5_000, 5_000));
    assert_eq!(days(&store), [("2026-12-02".to_owned(), None, 4_000)]);
    // The kernel's maps are others, for their ABI is: they count from zero. The slot of two recipients is nobody's.
    store.counters_end(&[], now()).unwrap();
    store.counters_began_anew(now()).unwrap();
    store.grant().unwrap();
    look(&mut store, &[(0, used(70, 1)), (1, used(8, 1))], "2026-12-02T00:00:00Z");
    assert_eq!(told(&store), (vec![0, 0, 8], 5_070, 5_078));
    assert_eq!(days(&store), [("2026-12-02".to_owned(), Some(2), 8), ("2026-12-02".to_owned(), None, 4_070)]);
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert_eq!(told(&store), (vec![0, 0, 8], 5_070, 5_078));
    // Opened anew, each has a slot of its own.
    stay(&mut store);
    store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
    resume(&mut store);
    assert_eq!((entries(&store).len(), reach(&entries(&store))), (3, reach(&entries(&now_open))));
    look(&mut store, &[(1, used(11, 1))], "2026-12-02T00:00:00Z");
    assert_eq!(told(&store), (vec![0, 11, 8], 5_070, 5_089));
}

#[test]
fn what_an_earlier_version_closed_or_could_not_open_is_not_open() {
    for slots in [&[][..], &[0], &[0, 1, 2, 3]] {
        let disk = of_format_2(&three(), slots, 0, 0);
        let store = disk.try_open().unwrap();
        assert_eq!((entries(&store), store.kept.problems().len()), (vec![], 1), "{slots:?}");
    }
}

/// All that the only one may receive it received, also by the word of an earlier version; but for what such a version charged since
/// the host went down, which is on no day.
#[test]
fn what_has_one_recipient_was_that_one_s_before_too() {
    let (one, _) = GOOD.rsplit_once("[[recipient]]").unwrap();
    for (charged, all) in [(0, 4_000), (1_000, 5_000)] {
        let store = of_format_2(one, &[0], 4_000, charged).open_store();
        assert_eq!(told(&store), (vec![4_000], charged, all));
        assert_eq!(shown(&store).presumed_bytes, charged);
        assert_eq!(entries(&store).len(), 1);
    }
}

/// What was counted while no daemon ran, over the end of a window or an order, passed before that.
#[test]
fn no_transfer_is_dated_after_the_end_of_its_exemption() {
    let seen = |store: &Store| store.kept.record(&key()).unwrap().seen.unwrap();
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &three()).unwrap();
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    assert_eq!(store.kept().counted_before(), None);
    let (over, later) = (time(super::OVER), "2026-12-20T00:00:00Z");
    look(&mut store, &[(0, used(100, 1))], later);
    assert_eq!(seen(&store), (over, over));
    disk.restart(End::Killed);
    assert_eq!(disk.open_store().kept().counted_before(), Some(time(later)), "that is when it was looked at");
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &three()).unwrap();
    look(&mut store, &[(0, used(100, 1))], "2026-12-03T00:00:00Z");
    let revoke = Change::Revoke { why: "over".into() };
    store.change(&Target::Id(key().0), &revoke, &who(), time("2026-12-04T00:00:00Z")).unwrap();
    look(&mut store, &[(0, used(900, 9))], "2026-12-05T00:00:00Z");
    assert_eq!(seen(&store), (time("2026-12-03T00:00:00Z"), time("2026-12-04T00:00:00Z")));
}
