//! A database that is not what was written: what can't be read is closed and named, and nothing else.

use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use redb::ReadableTable;

use super::model::{End, ModelDisk};
use super::{GOOD, clocks, kinds, load, named, now, open_ids, pins, trail, who};
use crate::audit::{Kind, Record};
use crate::exemption::record;
use crate::store::tables::{AUDIT, DOCUMENTS, META, RECORDS};
use crate::store::{Change, FILE, LoadError, Store, StoreError, Target};

type Batch<'a> = &'a redb::WriteTransaction;

/// Writes into a store with two exemptions behind its back, and opens it.
fn tampered(tamper: impl FnOnce(Batch<'_>)) -> Store {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    load(&mut store, &named("a", 1)).unwrap();
    load(&mut store, &named("b", 1)).unwrap();
    let database = store.disk.as_ref().unwrap();
    database
        .write(|batch| {
            tamper(batch);
            Ok(())
        })
        .unwrap();
    disk.restart(End::Killed);
    disk.try_open().unwrap()
}

pub(super) fn change_record(batch: Batch<'_>, id: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let mut table = batch.open_table(RECORDS).unwrap();
    let mut record: serde_json::Value =
        serde_json::from_slice(table.get((id, 1)).unwrap().unwrap().value()).unwrap();
    change(&mut record);
    table.insert((id, 1), serde_json::to_vec(&record).unwrap().as_slice()).unwrap();
}

fn put_record(batch: Batch<'_>, bytes: &[u8]) {
    batch.open_table(RECORDS).unwrap().insert(("a", 1), bytes).unwrap();
}

fn put_document(batch: Batch<'_>, bytes: &[u8]) {
    batch.open_table(DOCUMENTS).unwrap().insert(("a", 1), bytes).unwrap();
}

#[test]
fn a_record_that_cannot_be_read_closes_its_exemption_and_the_rest_is_open() {
    type Tamper = fn(Batch<'_>);
    let cases: [(&str, Tamper); 7] = [
        ("EOF", |batch| put_record(batch, b"")),
        ("EOF", |batch| put_record(batch, br#"{"format": 2, "sha256": "#)),
        ("its format is 4", |batch| change_record(batch, "a", |it| it["format"] = 4.into())),
        ("its counts by recipient are more", |batch| {
            change_record(batch, "a", |it| {
                it["before_by_recipient"] = serde_json::json!([{"bytes": 1, "packets": 0}]);
            });
        }),
        ("unknown field", |batch| change_record(batch, "a", |it| it["more"] = 1.into())),
        ("a place past the last one", |batch| change_record(batch, "a", |it| it["slots"] = vec![256].into())),
        ("unknown variant", |batch| change_record(batch, "a", |it| it["status"]["is"] = "open".into())),
    ];
    for (reason, tamper) in cases {
        let mut store = tampered(tamper);
        assert_eq!(open_ids(&store), ["b"], "{reason}");
        let [problem] = store.kept.problems() else { panic!("{reason}: {:?}", store.kept.problems()) };
        assert_eq!(problem.place, "a, version 1");
        assert!(!problem.reason.contains("confidential-kind"), "everybody may read it: {problem}");
        assert!(problem.reason.contains(reason) && problem.reason.contains("it is closed"), "{problem}");
        // The same version does not come back, and a new one never gets a slot that may be in use.
        let Err(LoadError::Document(errors)) = load(&mut store, &named("a", 1)) else { panic!("{reason}") };
        assert_eq!(errors.errors[0].kind.code(), "old-version");
        let full = load(&mut store, &named("a", 2));
        assert!(matches!(full, Err(LoadError::Store(StoreError::NoSlot { .. }))), "any slot may be its");
        let slots = store.kept.slots_to_reset();
        assert!(!slots.contains(&1) && slots.len() == 255);
        store.slots_were_reset(&slots).unwrap();
        assert_eq!(load(&mut store, &named("a", 2)).unwrap().slots, [0]);
    }
}

#[test]
fn a_document_that_is_not_the_one_that_was_loaded_is_closed() {
    type Tamper = fn(Batch<'_>);
    let cases: [(&str, Tamper); 6] = [
        ("not the one that was loaded", |batch| {
            put_document(batch, named("a", 1).replace("1_000_000", "9_000_000").as_bytes());
        }),
        ("not the one that was loaded", |batch| put_document(batch, b"id")),
        ("is missing", |batch| {
            batch.open_table(DOCUMENTS).unwrap().remove(("a", 1)).unwrap();
        }),
        ("another exemption's", |batch| {
            let other = named("z", 1);
            put_document(batch, other.as_bytes());
            let sha256 = crate::digest::sha256(other.as_bytes());
            change_record(batch, "a", |it| it["sha256"] = sha256.into());
        }),
        ("can't be used any more: instrument.type: ", |batch| {
            let document = named("a", 1).replace("treaty-request", "confidential-kind");
            put_document(batch, document.as_bytes());
            let sha256 = crate::digest::sha256(document.as_bytes());
            change_record(batch, "a", |it| it["sha256"] = sha256.into());
        }),
        ("has 0 places", |batch| change_record(batch, "a", |it| it["slots"] = Vec::<u16>::new().into())),
    ];
    for (reason, tamper) in cases {
        let mut store = tampered(tamper);
        assert_eq!(open_ids(&store), ["b"], "{reason}");
        let [problem] = store.kept.problems() else { panic!("{reason}: {:?}", store.kept.problems()) };
        assert!(problem.reason.contains(reason) && problem.reason.contains("it is closed"), "{problem}");
        let resumed = store.change(
            &Target::Id("a".into()),
            &Change::Resume { order: None, why: "x".into() },
            &who(),
            now(),
        );
        assert!(resumed.is_err());
        // A higher version takes its place.
        load(&mut store, &named("a", 2)).unwrap();
        assert_eq!(open_ids(&store), ["a", "b"]);
        assert_eq!(kinds(&store)[8..], ["supersede", "load"]);
    }
}

#[test]
fn two_that_claim_one_slot_are_both_closed() {
    let store = tampered(|batch| change_record(batch, "b", |it| it["slots"] = vec![0].into()));
    assert_eq!((open_ids(&store), store.kept.problems().len()), (Vec::new(), 2));
    let disk = store.disk.as_ref().unwrap();
    let open = disk.read(&store.path).unwrap().kernel_exemptions(&clocks(), &pins()).unwrap();
    assert_eq!(open, [], "who only looks sees the same");
}

#[test]
fn one_that_claims_a_slot_twice_is_closed() {
    let store = tampered(|batch| {
        let text = GOOD.replace("\"mlat-1\"", "\"a\"");
        put_document(batch, text.as_bytes());
        change_record(batch, "a", |it| {
            it["sha256"] = crate::digest::sha256(text.as_bytes()).into();
            it["slots"] = vec![7, 7].into();
        });
    });
    assert_eq!((open_ids(&store), store.kept.problems().len()), (vec!["b".to_owned()], 1));
}

/// Nothing is open, nothing can be changed, and what is there is left for whoever repairs it.
fn assert_unusable(store: &mut Store, reason: &str) {
    let [problem] = store.kept.problems() else { panic!("{reason}: {:?}", store.kept.problems()) };
    assert!(problem.reason.contains(reason) && problem.reason.contains("backup"), "{problem}");
    assert!(store.kept.kernel_exemptions(&clocks(), &pins()).is_empty() && store.kept.list(now()).is_empty());
    let damaged = |error: &LoadError| matches!(error, LoadError::Store(StoreError::Damaged { .. }));
    assert!(damaged(&load(store, &named("a", 1)).unwrap_err()));
    // The kernel's counts are reset all the same; then nothing is loaded either.
    let slots = store.kept.slots_to_reset();
    assert_eq!(slots.len(), 256);
    store.slots_were_reset(&slots).unwrap();
    assert!(damaged(&load(store, &named("a", 1)).unwrap_err()));
    assert!(
        store.change(&Target::Id("a".into()), &Change::Revoke { why: "x".into() }, &who(), now()).is_err()
    );
    let record = Record {
        time: now(),
        kind: Kind::Start,
        who: who(),
        subject: String::new(),
        why: String::new(),
        detail: serde_json::Map::new(),
    };
    assert!(matches!(store.audit(record), Err(StoreError::Damaged { .. })));
    assert!(store.counters_began_anew(now()).is_err(), "a guard does not start as if all were well");
    assert!(!store.grant().unwrap());
    assert!(
        store.audit_lines(0, 1).is_err() && store.use_by_day().is_err() && store.counts_by_day().is_err()
    );
    assert!(store.open_documents().unwrap().is_empty());
}

#[test]
fn a_file_that_is_no_store_opens_nothing_and_is_left_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join(FILE);
    drop(Store::open(state.path()).unwrap());
    let good = std::fs::read(&file).unwrap();
    let other = redb::Builder::new().create(state.path().join("other")).unwrap();
    let batch = other.begin_write().unwrap();
    batch.open_table(redb::TableDefinition::<u64, u64>::new("x")).unwrap();
    batch.commit().unwrap();
    drop(other);
    let contents = [
        Vec::new(),
        b"notes".to_vec(),
        vec![0; 100_000],
        good[..good.len() / 2].to_vec(),
        good[..100].to_vec(),
        std::fs::read(state.path().join("other")).unwrap(),
    ];
    for content in contents {
        std::fs::write(&file, &content).unwrap();
        let mut store = Store::open(state.path()).unwrap();
        assert_unusable(&mut store, "it can't be read");
        drop(store);
        // But for the marks of a database that was opened.
        let is_whole = content.starts_with(b"redb") && content.len() > good.len() / 2;
        assert!(is_whole || std::fs::read(&file).unwrap() == content, "{} bytes", content.len());
    }
}

#[test]
fn another_form_is_not_guessed_at() {
    let mut store = tampered(|batch| {
        batch.open_table(META).unwrap().insert("format", 2).unwrap();
    });
    assert_unusable(&mut store, "its form is 2, and this version reads 1");
}

#[test]
fn a_trail_that_ends_with_no_record_takes_none_and_what_is_closed_is_closed() {
    let mut store = tampered(|batch| {
        batch.open_table(AUDIT).unwrap().insert(7, "no record").unwrap();
    });
    assert_eq!(open_ids(&store), ["a", "b"]);
    let revoked = store.change(&Target::Id("a".into()), &Change::Revoke { why: "x".into() }, &who(), now());
    assert!(matches!(revoked, Err(StoreError::Damaged { .. })), "{revoked:?}");
    assert_eq!(open_ids(&store), ["b"]);
    assert!(load(&mut store, &named("c", 1)).is_err());
}

/// Bits to flip: in the header's bytes, all of them in the one that says which transaction is the last, and here
/// and there in the pages; those that are not used are zero, and looked at more coarsely.
fn flips(disk: &ModelDisk) -> Vec<(usize, usize)> {
    const LAST_TRANSACTION: usize = 9;
    let mut bytes = Vec::new();
    disk.damage(|it| bytes = it.clone());
    let mut flips: Vec<(usize, usize)> = (0..8).map(|bit| (LAST_TRANSACTION, bit)).collect();
    let mut place = 0;
    while place < bytes.len() {
        flips.push((place, place % 8));
        place += match (place < 512, bytes[place]) {
            (true, 0) => 7,
            (true, _) => 1,
            (false, 0) => 1499,
            (false, _) => 61,
        };
    }
    flips
}

/// Whichever byte is another one: nothing is open that was closed, no more is granted than the document says,
/// and nothing ends the program.
#[test]
fn a_byte_that_was_flipped_anywhere_opens_nothing() {
    let origin = ModelDisk::new();
    let mut store = origin.open_store();
    for id in ["open", "stayed", "revoked"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    let use_before = record::Use { bytes: 400_000, packets: 400 };
    store.checkpoint_use(&[(0, use_before)], now()).unwrap();
    store.change(&Target::Id("stayed".into()), &Change::Stay { order: "x".into() }, &who(), now()).unwrap();
    store.change(&Target::Id("revoked".into()), &Change::Revoke { why: "x".into() }, &who(), now()).unwrap();
    let lines = store.audit_lines(0, usize::MAX).unwrap();
    for clean in [false, true] {
        if clean {
            drop(origin.open_store());
        }
        origin.restart(End::Killed);
        let mut found = 0;
        for (place, bit) in flips(&origin) {
            let disk = origin.copy();
            disk.damage(|bytes| bytes[place] ^= 1 << bit);
            let opened = std::panic::catch_unwind(AssertUnwindSafe(|| disk.try_open()));
            let Ok(opened) = opened else { panic!("the byte {place} ends the program") };
            if let Ok(store) = opened {
                for entry in store.kept.kernel_exemptions(&clocks(), &pins()) {
                    let document = store.kept.by_slot(entry.slot).unwrap();
                    assert_eq!(document.id, "open", "the byte {place}");
                    assert!(entry.quota <= 1_000_000, "the byte {place}");
                }
                let intact = store.kept.problems().is_empty() && open_ids(&store) == ["open"];
                found += usize::from(!intact);
                let same = store.audit_lines(0, usize::MAX).is_ok_and(|now| now == lines);
                assert!(
                    same || store.last_audit_line().is_none()
                        || crate::audit::verify(store.audit_lines(0, usize::MAX).unwrap(), &[]).is_err()
                );
            }
        }
        assert!(found > 50, "{found}");
    }
}

#[test]
fn the_file_is_for_its_owner_alone_and_for_one_process() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("not/yet");
    let mut store = Store::open(&folder).unwrap();
    load(&mut store, GOOD).unwrap();
    assert!(matches!(Store::open(&folder), Err(StoreError::Held { .. })));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "one file");
    drop(store);
    let store = Store::open(&folder).unwrap();
    assert_eq!((store.kept.list(now()).len(), store.kept.problems()), (1, &[][..]));
    assert_eq!(trail(&store).len(), 3);
    assert!(matches!(Store::open(Path::new("/dev/null")), Err(StoreError::Disk { .. })));
}

#[test]
fn what_a_beginning_that_was_cut_short_left_is_no_store() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("store.new"), b"half").unwrap();
    let mut store = Store::open(state.path()).unwrap();
    assert_eq!(store.kept.problems(), []);
    load(&mut store, GOOD).unwrap();
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
}

#[test]
fn nothing_is_written_by_way_of_a_symbolic_link() {
    let state = tempfile::tempdir().unwrap();
    let target = state.path().join("target");
    std::fs::write(&target, "mine").unwrap();
    for name in [FILE, "store.new"] {
        let folder = state.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&target, folder.join(name)).unwrap();
        let opened = Store::open(&folder);
        assert!(name != FILE || matches!(opened, Err(StoreError::Disk { .. })), "{opened:?}");
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    }
}
