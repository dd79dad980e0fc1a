//! What exemptions let out in each run of the kernel's counters, and what counts as used because a run ended without a word.

use std::collections::BTreeMap;

use super::damage::change_record;
use super::model::{End, ModelDisk};
use super::{GOOD, load, named, time};
use crate::exemption::record::Use;
use crate::store::days::day;
use crate::store::tables::{COUNTS_BY_RUN, META, PRESUMED_BY_DAY, USE_BY_RUN};
use crate::store::{Judged, Run, Store};

fn judged(reason: &str) -> Judged {
    Judged {
        pin: "mail".to_owned(),
        hook: "egress".to_owned(),
        jurisdiction: "US".to_owned(),
        verdict: "pass".to_owned(),
        reason: reason.to_owned(),
    }
}

/// What was counted by pin and what was charged by then, in bytes, since the kernel's counters began.
fn look(store: &mut Store, moment: &str, counted: u64, charged: u64) {
    let sums = BTreeMap::from([(judged("exempt"), (1, counted)), (judged("permitted"), (1, 7))]);
    store.record_counts(&sums, time(moment)).unwrap();
    store.checkpoint_use(&[(0, Use { bytes: charged, packets: 1 })], time(moment)).unwrap();
}

/// Days and bytes.
type Days = Vec<(String, u64)>;

/// The days and bytes by pin, and by exemption, of each run.
fn told(store: &Store) -> Vec<(Days, Days)> {
    let of = |Run { counts, used }: Run| {
        assert!(counts.iter().all(|row| row.judged == judged("exempt")));
        assert!(used.iter().all(|row| row.key.0 == "a" && row.recipient.is_none()));
        let counts = counts.into_iter().map(|row| (row.day, row.bytes));
        (counts.collect(), used.into_iter().map(|row| (row.day, row.used.bytes)).collect())
    };
    store.reader().unwrap().runs().unwrap().into_iter().map(of).collect()
}

fn on(rows: &[(i8, u64)]) -> Days {
    rows.iter().map(|(day, bytes)| (format!("2026-12-{day:02}"), *bytes)).collect()
}

#[test]
fn each_run_of_the_kernels_counters_has_what_was_counted_in_it() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    // As in a store of before runs were told apart.
    load(&mut store, &named("a", 1).replace("quota_bytes = 1_000_000\n", "")).unwrap();
    look(&mut store, "2026-12-02T10:00:00Z", 100, 200);
    assert_eq!(told(&store), [(on(&[(2, 100)]), on(&[(2, 200)]))]);
    // The host goes down in the middle of a day.
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    store.counters_began_anew(time("2026-12-03T12:30:00Z")).unwrap();
    look(&mut store, "2026-12-02T11:00:00Z", 30, 10);
    look(&mut store, "2026-12-03T11:00:00Z", 50, 15);
    // A daemon that is killed ends no run.
    disk.restart(End::Killed);
    let mut store = disk.open_store();
    look(&mut store, "2026-12-03T12:00:00Z", 55, 16);
    let first = (on(&[(2, 100)]), on(&[(2, 200)]));
    let second = (on(&[(2, 30), (3, 25)]), on(&[(2, 10), (3, 6)]));
    assert_eq!(told(&store), [first.clone(), second.clone()]);
    store.counters_began_anew(time("2026-12-03T12:30:00Z")).unwrap();
    store.counters_began_anew(time("2026-12-03T12:30:00Z")).unwrap();
    look(&mut store, "2026-12-03T13:00:00Z", 9, 8);
    assert_eq!(told(&store), [first.clone(), second, (on(&[(3, 9)]), on(&[(3, 8)]))]);
    // All of them together are what the days have.
    let days = store.use_by_day().unwrap().into_iter().map(|row| row.used.bytes).sum::<u64>();
    assert_eq!(days, 200 + 16 + 8);
    // Without the tables all of it is of one run.
    let database = store.disk.as_ref().unwrap();
    database
        .write(|batch| {
            batch.delete_table(USE_BY_RUN)?;
            batch.delete_table(COUNTS_BY_RUN)?;
            batch.open_table(META)?.remove("run")?;
            Ok(())
        })
        .unwrap();
    let whole = (on(&[(2, 130), (3, 34)]), on(&[(2, 210), (3, 14)]));
    assert_eq!(told(&store), [whole]);
}

/// Nobody is known to have received it, also where one alone might have.
#[test]
fn what_was_granted_before_the_host_went_down_is_no_recipients() {
    let (one, _) = GOOD.rsplit_once("[[recipient]]").unwrap();
    for document in [one, GOOD] {
        let disk = ModelDisk::new();
        let mut store = disk.open_store();
        load(&mut store, document).unwrap();
        let moment = time("2026-12-03T23:00:00Z");
        store.checkpoint_use(&[(0, Use { bytes: 300, packets: 2 })], moment).unwrap();
        disk.restart(End::PowerLoss(1));
        let mut store = disk.open_store();
        for _ in 0..2 {
            store.counters_began_anew(moment).unwrap();
            let it = store.kept.list(moment).remove(0);
            assert_eq!((it.used_bytes, it.used_packets, it.presumed_bytes), (1_000_000, 2, 999_700));
            assert_eq!((it.unattributed_bytes, it.unattributed_packets), (999_700, 0));
            assert_eq!((it.recipients[0].used_bytes, it.recipients[0].used_packets), (300, 2));
            let reader = store.reader().unwrap();
            let used: Vec<_> = reader.use_by_day().unwrap().into_iter().map(|row| row.used.bytes).collect();
            assert_eq!(used, [300], "what is known to have left");
            let presumed = reader.presumed_by_day().unwrap();
            let [row] = presumed.as_slice() else { panic!("{presumed:?}") };
            assert_eq!((row.day.as_str(), row.key.0.as_str(), row.bytes), ("2026-12-03", "mlat-1", 999_700));
        }
        // An earlier version did not note how much that was.
        let database = store.disk.as_ref().unwrap();
        database
            .write(|batch| {
                change_record(batch, "mlat-1", |it| {
                    assert!(it.as_object_mut().unwrap().remove("presumed").is_some());
                });
                batch.delete_table(PRESUMED_BY_DAY)?;
                Ok(())
            })
            .unwrap();
        // It stays so over restarts and in other places of the kernel's tables.
        disk.restart(End::Killed);
        let mut store = disk.open_store();
        store.counters_end(&[], moment).unwrap();
        let it = store.kept.list(moment).remove(0);
        assert_eq!((it.presumed_bytes, it.recipients[0].used_bytes), (999_700, 300));
        assert_eq!(presumed(&store), on(&[(3, 999_700)]), "on the day on which it was last seen at work");
    }
}

/// A clock that was ahead for a while says nothing of when the host last ran.
#[test]
fn what_counts_as_used_is_of_no_day_that_is_still_to_come() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    store.checkpoint_use(&[(0, Use { bytes: 300, packets: 2 })], time("2026-12-09T00:00:00Z")).unwrap();
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    store.counters_began_anew(time("2026-12-03T12:00:00Z")).unwrap();
    assert_eq!(presumed(&store), on(&[(3, 999_700)]));
}

/// Without a battery the clock is at 1970 until the network sets it.
#[test]
fn what_counts_as_used_is_of_no_day_before_it_was_loaded() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    let loaded = store.kept.list(time("2026-12-03T12:00:00Z"))[0].loaded_at.unwrap();
    store.counters_began_anew(time("1970-01-01T00:01:00Z")).unwrap();
    assert_eq!(presumed(&store), [(day(loaded), 1_000_000)]);
}

/// The days and bytes of what counts as used and is not known to have left.
fn presumed(store: &Store) -> Days {
    let rows = store.reader().unwrap().presumed_by_day().unwrap();
    rows.into_iter().map(|row| (row.day, row.bytes)).collect()
}
