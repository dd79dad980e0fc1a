//! What exemptions have let through, as the file of the mark has it, against older copies of the store with the same trail.

use std::fs;

use super::high_water::{Host, loaded};
use super::{GOOD, load, named, now, trail, who};
use crate::audit::Kind;
use crate::exemption::record::Use;
use crate::store::marks::USES_EVERY;
use crate::store::{Change, FILE, LACKING, Store, Target};

const MARK: &str = "mark/high-water.json";

/// What the kernel has counted in these slots is saved.
fn look(store: &mut Store, counts: &[(u16, u64)]) {
    let used = |(slot, bytes): &(u16, u64)| (*slot, Use { bytes: *bytes, packets: bytes / 100 });
    let counts: Vec<(u16, Use)> = counts.iter().map(used).collect();
    store.checkpoint_use(&counts, now()).unwrap();
}

/// What each exemption has used, in the order of their ids and versions.
fn used(store: &Store) -> Vec<u64> {
    store.kept.entries().map(|(_, entry)| entry.record.used().bytes).collect()
}

/// How many bytes each record has that were lacking, with the exemption.
fn lacking(store: &Store) -> Vec<(String, u64)> {
    let records = trail(store).into_iter().filter(|it| it.kind == Kind::Tampered.name());
    let of = |it: crate::audit::Stored| {
        (it.detail["exemption"].as_str().unwrap().to_owned(), it.detail[LACKING].as_u64().unwrap())
    };
    records.map(of).collect()
}

/// Has the daemon end in good order, and the next one begin, which finds nothing.
fn restarted(host: &Host, mut store: Store) -> Store {
    store.keep_last_marks();
    begun_after(host, store)
}

/// Has the daemon be killed, and the next one begin, which finds nothing.
fn begun_after(host: &Host, store: Store) -> Store {
    drop(store);
    let store = host.newest();
    assert_eq!((lacking(&store), store.kept.changed_tables().count()), (Vec::new(), 0));
    store
}

/// A host with two exemptions of the same pins, of whose store there is a copy by the name `old`: after that the first one, by its
/// number, has let more through, and the trail has no more.
fn used_since() -> Host {
    let host = Host::new();
    let mut store = host.newest();
    assert!(loaded(&mut store, &named("a", 1)) && loaded(&mut store, &named("b", 1)));
    look(&mut store, &[(0, 300_000), (1, 1_000)]);
    drop(store);
    host.keep("state", "old");
    let mut store = host.newest();
    look(&mut store, &[(0, 900_000), (1, 1_000)]);
    store.keep_last_marks();
    host
}

#[test]
fn an_older_copy_of_the_store_makes_no_quota_whole_though_another_one_has_the_use() {
    let host = used_since();
    host.put_back("state", "old");
    for _ in 0..2 {
        let store = host.newest();
        assert_eq!(used(&store), [900_000, 1_000]);
        // What the kernel has less than this is set back.
        let known = store.kept.counted_in_slots();
        assert_eq!(known.iter().map(|(_, it)| it.charged).collect::<Vec<_>>(), [900_000, 1_000]);
        assert_eq!(lacking(&store), [("a".to_owned(), 600_000)], "a second start finds no more");
        let kept = store.kept();
        let told: Vec<_> = kept.changed_tables().collect();
        let [("EXEMPTION_USE", words)] = told.as_slice() else { panic!("{told:?}") };
        assert!(words.contains("600000 bytes less in the use of the exemption \"a\" (version 1)"), "{words}");
        assert!(words.contains("or its disk has lost what it had confirmed"), "{words}");
    }
    // Root has lowered the one in the kernel, and raised the other one by as much.
    let mut store = host.newest();
    look(&mut store, &[(0, 300_000), (1, 601_000)]);
    assert_eq!(used(&store), [900_000, 601_000]);
    let by_day: u64 = store.use_by_day().unwrap().iter().map(|row| row.used.bytes).sum();
    assert_eq!(by_day, 1_501_000, "what was raised is in the sum of the day");
}

#[test]
fn what_the_kernel_still_has_is_not_counted_twice() {
    let host = Host::new();
    let mut store = host.newest();
    assert!(loaded(&mut store, GOOD));
    look(&mut store, &[(0, 100_000), (1, 200_000)]);
    drop(store);
    host.keep("state", "old");
    let mut store = host.newest();
    look(&mut store, &[(0, 100_000), (1, 700_000)]);
    store.keep_last_marks();
    drop(store);
    host.put_back("state", "old");
    let mut store = host.newest();
    look(&mut store, &[(0, 100_000), (1, 710_000)]);
    assert_eq!(used(&store), [810_000]);
    let key = ("mlat-1".to_owned(), 1);
    let (record, document) = (store.kept.record(&key).unwrap(), store.kept.document_of(&key).unwrap());
    let by_recipient: Vec<u64> = record.used_by_recipient(document).iter().map(|it| it.bytes).collect();
    assert_eq!(by_recipient, [100_000, 710_000]);
}

#[test]
fn after_a_reboot_an_older_copy_goes_on_with_the_marks_use() {
    let host = used_since();
    host.put_back("state", "old");
    let mut store = host.newest();
    store.counters_began_anew(now()).unwrap();
    // All of a small quota was granted, and counts as used.
    assert_eq!(used(&store), [1_000_000, 1_000_000]);
    assert_eq!(lacking(&store), [("a".to_owned(), 600_000)]);
}

#[test]
fn the_use_of_another_document_is_not_taken() {
    let host = used_since();
    let store = host.newest();
    let sha256 = store.kept.record(&("a".to_owned(), 1)).unwrap().sha256.clone();
    drop(store);
    host.put_back("state", "old");
    let text = fs::read_to_string(host.at(MARK)).unwrap();
    assert!(text.contains(&sha256));
    fs::write(host.at(MARK), text.replace(&sha256, &"0".repeat(64))).unwrap();
    assert_eq!(used(&begun_after(&host, host.newest())), [300_000, 1_000]);
}

#[test]
fn no_ordinary_end_is_taken_for_an_older_copy() {
    let host = Host::new();
    let mut store = host.newest();
    assert!(loaded(&mut store, &named("a", 1)));
    // Killed before the mark had what the store has, and after.
    look(&mut store, &[(0, 1_000)]);
    let mut store = begun_after(&host, store);
    look(&mut store, &[(0, 2_000)]);
    let mut store = restarted(&host, store);
    // The mark can't be written.
    fs::rename(host.at("mark"), host.at("mark-kept")).unwrap();
    fs::write(host.at("mark"), "").unwrap();
    look(&mut store, &[(0, 3_000)]);
    store.keep_last_marks();
    assert!(store.mark_fault().is_some());
    fs::remove_file(host.at("mark")).unwrap();
    fs::rename(host.at("mark-kept"), host.at("mark")).unwrap();
    let mut store = begun_after(&host, store);
    // Stayed, its place given back, resumed.
    look(&mut store, &[(0, 4_000)]);
    let mut done = |change: Change| {
        store.change(&Target::Id("a".into()), &change, &who(), now()).unwrap();
        store.slots_were_reset(&store.kept.slots_to_reset()).unwrap();
        store.keep_marks();
    };
    done(Change::Stay { order: "High Court 7".into() });
    done(Change::Resume { order: None, why: "it was lifted".into() });
    look(&mut store, &[(0, 1_000)]);
    let mut store = restarted(&host, store);
    assert_eq!(used(&store), [5_000]);
    // Renewed: the new document begins at zero.
    assert!(loaded(&mut store, &named("a", 2).replace("version = 2", "version = 2\nreplaces = 1")));
    let mut store = restarted(&host, store);
    assert_eq!(used(&store), [5_000, 0]);
    let slot = store.kept.slots_in_use()[0];
    look(&mut store, &[(slot, 7_000)]);
    store.keep_last_marks();
    drop(store);
    // Everything is detached by a command, which has no mark.
    let mut store = Store::open(&host.at("state")).unwrap();
    store.counters_end(&[(slot, Use { bytes: 8_000, packets: 80 })], now()).unwrap();
    let mut store = begun_after(&host, store);
    store.counters_began_anew(now()).unwrap();
    let mut store = restarted(&host, store);
    assert_eq!(used(&store), [5_000, 8_000]);
    // The host loses its power: what was granted counts as used.
    store.grant().unwrap();
    let mut store = restarted(&host, store);
    store.counters_began_anew(now()).unwrap();
    let mut store = restarted(&host, store);
    assert_eq!(used(&store), [5_000, 1_000_000]);
    // Closed, and nothing of it is in the mark any more.
    let revoke = Change::Revoke { why: "over".into() };
    store.change(&Target::Id("a".into()), &revoke, &who(), now()).unwrap();
    let store = restarted(&host, store);
    assert!(!fs::read_to_string(host.at(MARK)).unwrap().contains("\"uses\""));
    assert_eq!(used(&store), [5_000, 1_000_000]);
}

#[test]
fn a_store_that_was_lost_or_lacks_records_is_told_as_that_alone() {
    let host = used_since();
    fs::remove_file(host.at("state").join(FILE)).unwrap();
    let mut store = Store::open(&host.at("state")).unwrap();
    assert!(store.mark_by(host.marks(), &who(), now()).unwrap().is_some());
    assert_eq!((lacking(&store), used(&store)), (Vec::new(), Vec::new()));
    drop(store);
    let host = used_since();
    let mut store = host.newest();
    assert!(loaded(&mut store, &named("c", 1)));
    drop(store);
    host.put_back("state", "old");
    let mut store = Store::open(&host.at("state")).unwrap();
    assert_eq!(store.mark_by(host.marks(), &who(), now()).unwrap().unwrap().revoked.len(), 2);
    assert!(lacking(&store).is_empty());
}

#[test]
fn the_file_has_the_uses_with_each_change_and_else_every_few_seconds() {
    let host = Host::new();
    let mut store = host.newest();
    assert!(loaded(&mut store, &named("a", 1)));
    let text = || fs::read_to_string(host.at(MARK)).unwrap();
    let before = text();
    look(&mut store, &[(0, 1_000)]);
    store.keep_marks();
    assert_eq!(text(), before, "it was written just now");
    let long_ago = |store: &mut Store| {
        let (at, uses) = store.marks.uses.take().unwrap();
        store.marks.uses = Some((at.checked_sub(USES_EVERY).unwrap(), uses));
    };
    long_ago(&mut store);
    store.keep_marks();
    let first = text();
    assert!(first != before && first.contains("\"bytes\":1000"), "{first}");
    // Nothing has grown.
    fs::write(host.at(MARK), "").unwrap();
    long_ago(&mut store);
    store.keep_marks();
    assert_eq!(text(), "");
    // A change of the store takes them with it, and so does the end.
    look(&mut store, &[(0, 2_000)]);
    load(&mut store, &named("b", 1)).unwrap();
    store.keep_marks();
    assert!(text().contains("\"bytes\":2000"));
    look(&mut store, &[(0, 3_000)]);
    store.keep_last_marks();
    assert!(text().contains("\"bytes\":3000"));
}
