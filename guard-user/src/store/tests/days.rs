//! What crossed on which day.

use std::collections::BTreeMap;

use super::model::{End, ModelDisk};
use super::{load, named, time};
use crate::exemption::record::Use;
use crate::store::{Judged, Store};

fn judged(pin: &str) -> Judged {
    Judged {
        pin: pin.to_owned(),
        hook: "egress".to_owned(),
        jurisdiction: "US".to_owned(),
        verdict: "drop".to_owned(),
        reason: "forbidden".to_owned(),
    }
}

fn counts(store: &Store) -> Vec<(String, String, u64, u64)> {
    let rows = store.counts_by_day().unwrap();
    rows.into_iter().map(|row| (row.day, row.judged.pin, row.packets, row.bytes)).collect()
}

fn row(day: &str, pin: &str, packets: u64, bytes: u64) -> (String, String, u64, u64) {
    (day.to_owned(), pin.to_owned(), packets, bytes)
}

#[test]
fn use_is_added_to_the_day_on_which_it_was_seen() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    load(&mut store, &named("b", 2)).unwrap();
    let look = |store: &mut Store, moment: &str, a: u64, b: u64| {
        let counts = [(0, Use { bytes: a, packets: a / 10 }), (1, Use { bytes: b, packets: b / 10 })];
        store.checkpoint_use(&counts, time(moment)).unwrap();
    };
    look(&mut store, "2026-12-02T23:59:59.9Z", 100, 0);
    look(&mut store, "2026-12-03T00:00:00Z", 150, 70);
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    look(&mut store, "2026-12-03T01:00:00Z", 150, 90);
    // The kernel counts from zero again, and what was granted and may have crossed is on no day.
    store.counters_began_anew(time("2026-12-03T11:30:00Z")).unwrap();
    look(&mut store, "2026-12-04T00:00:00+03:00", 0, 0);
    let days: Vec<_> = store
        .use_by_day()
        .unwrap()
        .into_iter()
        .map(|row| (row.day, row.key.0, row.key.1, row.used.bytes, row.used.packets))
        .collect();
    let expected =
        [("2026-12-02", "a", 1, 100, 10), ("2026-12-03", "a", 1, 50, 5), ("2026-12-03", "b", 2, 90, 9)];
    let expected: Vec<_> = expected
        .iter()
        .map(|&(day, id, version, bytes, packets)| (day.to_owned(), id.to_owned(), version, bytes, packets))
        .collect();
    assert_eq!(days, expected);
}

#[test]
fn counts_grow_over_restarts_and_over_new_beginnings_of_the_kernel_s() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let book = |store: &mut Store, moment: &str, sums: &[(&str, u64, u64)]| {
        let sums: BTreeMap<_, _> =
            sums.iter().map(|&(pin, packets, bytes)| (judged(pin), (packets, bytes))).collect();
        store.record_counts(&sums, time(moment)).unwrap();
    };
    let (first, second) = ("2026-12-02", "2026-12-03");
    book(&mut store, "2026-12-02T10:00:00Z", &[("mail", 3, 300), ("files", 1, 10)]);
    book(&mut store, "2026-12-02T11:00:00Z", &[("mail", 3, 300), ("files", 2, 30)]);
    assert_eq!(counts(&store), [row(first, "files", 2, 30), row(first, "mail", 3, 300)]);
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    book(&mut store, "2026-12-03T11:00:00Z", &[("mail", 5, 550)]);
    assert_eq!(counts(&store)[2..], [row(second, "mail", 2, 250)]);
    store.counters_began_anew(time("2026-12-03T11:30:00Z")).unwrap();
    disk.restart(End::PowerLoss(2));
    let mut store = disk.open_store();
    book(&mut store, "2026-12-03T12:00:00Z", &[("mail", 1, 100), ("files", 1, 1)]);
    let expected = [
        row(first, "files", 2, 30),
        row(first, "mail", 3, 300),
        row(second, "files", 1, 1),
        row(second, "mail", 3, 350),
    ];
    assert_eq!(counts(&store), expected);
    // A disk that refuses loses nothing: the next call books it all.
    disk.fail_after(0);
    let sums = BTreeMap::from([(judged("mail"), (9, 900))]);
    assert!(store.record_counts(&sums, time("2026-12-03T13:00:00Z")).is_err());
    store.record_counts(&sums, time("2026-12-03T13:00:00Z")).unwrap();
    assert_eq!(counts(&store).last(), Some(&row(second, "mail", 11, 1150)));
}
