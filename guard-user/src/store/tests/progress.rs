//! Which pins the kernel's counts are of, and up to when flows were reported.

use std::collections::BTreeMap;
use std::path::Path;

use guard_common::abi::Hook;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use proptest::prelude::*;

use super::model::{End, ModelDisk};
use super::now;
use crate::config::policy::{Pin, Policy};
use crate::store::{Cursor, Judgement, PinCounts, Progress, Rows, Store};

fn judgement() -> Judgement {
    let jurisdiction = Jurisdiction::from_index(9).unwrap();
    Judgement::new(Hook::Egress, Verdict::Drop, Reason::Forbidden, jurisdiction)
}

/// Pins of these names.
fn pins(names: &[&str]) -> Vec<Pin> {
    policy(names).pins
}

fn policy(names: &[&str]) -> Policy {
    let mut text = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n".to_owned();
    for name in names {
        text += &format!(
            "[[pin]]\nname = \"{name}\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n"
        );
    }
    let surroundings = crate::config::Surroundings::new(None);
    crate::config::parse(Path::new("policy.toml"), text.as_bytes(), &surroundings).unwrap().policy
}

fn counted(rows: &[(u8, u64)]) -> Rows<u8> {
    rows.iter().map(|&(pin, packets)| ((pin, judgement()), (packets, packets * 10))).collect()
}

fn shown(counts: &PinCounts, rows: &[(u8, u64)]) -> String {
    let named = counts.by_name(&counted(rows));
    named.iter().map(|((name, _), count)| format!("{name} {} {}; ", count.0, count.1)).collect()
}

fn switched(counts: &mut PinCounts, names: &[&str], generation: u64, rows: &[(u8, u64)]) {
    counts.switch(&pins(names), generation, Some(&counted(rows)));
}

#[test]
fn counts_stay_with_their_pins_when_numbers_change_hands() {
    let mut counts = PinCounts::default();
    switched(&mut counts, &["mail", "backup"], 1, &[]);
    assert!(!counts.change_hands(&pins(&["mail", "backup", "new"])));
    assert!(counts.change_hands(&pins(&["mail"])));
    assert!(counts.change_hands(&pins(&["backup", "mail"])));
    switched(&mut counts, &["backup", "mail"], 2, &[(0, 5), (1, 7)]);
    assert_eq!(shown(&counts, &[(0, 5), (1, 7)]), "backup 7 70; mail 5 50; ");
    assert_eq!(shown(&counts, &[(0, 6), (1, 9)]), "backup 8 80; mail 7 70; ");
    switched(&mut counts, &["other"], 3, &[(0, 6), (1, 9)]);
    assert_eq!(shown(&counts, &[(0, 7), (1, 9)]), "backup 8 80; mail 7 70; other 1 10; ");
    // The same pins again, and one more: nothing is set aside.
    switched(&mut counts, &["other", "mail"], 4, &[(0, 9), (1, 9)]);
    assert_eq!(shown(&counts, &[(0, 9), (1, 10)]), "backup 8 80; mail 8 80; other 3 30; ");
}

#[test]
fn a_number_without_a_pin_is_shown_as_a_number() {
    assert_eq!(shown(&PinCounts::default(), &[(3, 1)]), "#3 1 10; ");
}

#[test]
fn pins_are_known_for_their_own_generation_alone() {
    let mut counts = PinCounts::default();
    assert_eq!(counts.pins_of(0), None);
    switched(&mut counts, &["mail"], 4, &[]);
    let [mail] = counts.pins_of(4).unwrap() else { panic!() };
    assert_eq!((mail.name.as_str(), mail.line), ("mail", 4));
    assert_eq!(counts.pins_of(5), None);
}

#[test]
fn they_outlive_the_daemon_and_begin_anew_with_the_kernel_s_counters() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    assert_eq!(store.pin_counts().unwrap(), PinCounts::default());
    let mut counts = PinCounts::default();
    switched(&mut counts, &["mail", "backup"], 1, &[]);
    switched(&mut counts, &["backup"], 2, &[(0, 5), (1, 7)]);
    store.save_pin_counts(&counts).unwrap();
    disk.restart(End::PowerLoss(1));
    let mut store = disk.open_store();
    assert_eq!(store.pin_counts().unwrap(), counts);
    assert_eq!(shown(&store.pin_counts().unwrap(), &[(0, 6), (1, 7)]), "backup 8 80; mail 5 50; ");
    store.counters_began_anew(now()).unwrap();
    disk.restart(End::PowerLoss(2));
    assert_eq!(disk.open_store().pin_counts().unwrap(), PinCounts::default());
}

#[test]
fn everything_is_saved_at_once_or_not_at_all_and_not_again_where_nothing_changed() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let mut counts = PinCounts::default();
    switched(&mut counts, &["mail"], 1, &[]);
    let cursor = Cursor { boot: "one".to_owned(), swept_ns: 7 };
    let judged = counts.judged(&counted(&[(0, 5)]));
    assert_eq!(judged.values().copied().collect::<Vec<_>>(), [(5, 50)]);
    let progress = Progress { pin_counts: Some(&counts), judged: Some(&judged), cursor: Some(&cursor) };
    disk.fail_after(2);
    assert!(store.save_progress(progress, now()).is_err());
    let nothing = (PinCounts::default(), None, 0);
    let saved = |store: &Store| {
        let days = store.counts_by_day().unwrap().len();
        (store.pin_counts().unwrap(), store.cursor().unwrap(), days)
    };
    assert_eq!(saved(&disk_copy(&disk)), nothing);
    store.save_progress(progress, now()).unwrap();
    let before = disk.steps_taken();
    store.save_progress(progress, now()).unwrap();
    store.save_cursor(&cursor).unwrap();
    store.record_counts(&judged, now()).unwrap();
    store.record_counts(&BTreeMap::new(), now()).unwrap();
    assert_eq!(disk.steps_taken(), before, "nothing is written");
    disk.restart(End::PowerLoss(3));
    assert_eq!(saved(&disk.open_store()), (counts, Some(cursor), 1));
}

fn disk_copy(disk: &ModelDisk) -> Store {
    let copy = disk.copy();
    copy.restart(End::Killed);
    copy.open_store()
}

#[test]
fn a_cursor_is_of_its_boot_and_not_of_the_future() {
    let cursor = Cursor { boot: "one".to_owned(), swept_ns: 7 };
    assert_eq!(cursor.reported_until("one", 10), Some(7));
    assert_eq!(cursor.reported_until("one", 7), Some(7));
    assert_eq!(cursor.reported_until("one", 6), None);
    assert_eq!(cursor.reported_until("two", 10), None);
    let boot = crate::exemption::clock::boot_id().unwrap();
    assert_eq!((boot.len(), boot.trim()), (36, boot.as_str()));
}

/// What the version before this one left: its database, and two files beside it.
const COUNTS: &str = r#"{"format":1,"generation":4,"pins":[
    {"name":"backup","line":9,"action":"flag","ingress":"drop"},
    {"name":"mail","line":3,"action":"observe","ingress":"off"}],
    "base":[[0,{"hook":0,"verdict":3,"reason":6,"jurisdiction":9},5,50],
            [1,{"hook":0,"verdict":3,"reason":6,"jurisdiction":9},7,70]],
    "archive":[["mail",{"hook":0,"verdict":3,"reason":6,"jurisdiction":9},5,50],
               ["backup",{"hook":0,"verdict":3,"reason":6,"jurisdiction":9},7,70]]}"#;
const CURSOR: &str = r#"{"boot":"e0b3","swept_ns":77}"#;

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// A database as the version before this one made it.
fn former_store(folder: &Path) {
    let database = redb::Database::create(folder.join("store.redb")).unwrap();
    let batch = database.begin_write().unwrap();
    batch.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 1).unwrap();
    let table = redb::TableDefinition::<&str, (u64, u64)>::new("booked");
    let row = r#"{"pin":"mail","hook":"egress","jurisdiction":"IE","verdict":"drop","reason":"forbidden"}"#;
    batch.open_table(table).unwrap().insert(row, (5, 50)).unwrap();
    let table = redb::TableDefinition::<(&str, &str), (u64, u64)>::new("counts-by-day");
    batch.open_table(table).unwrap().insert(("2026-11-20", row), (5, 50)).unwrap();
    batch.commit().unwrap();
}

#[test]
fn an_upgrade_loses_no_counts() {
    let folder = tempfile::tempdir().unwrap();
    former_store(folder.path());
    write(folder.path(), "counts.json", COUNTS);
    write(folder.path(), "told.json", CURSOR);
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.kept.problems(), []);
    assert_eq!(store.take_over_files().unwrap(), []);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["store.redb"]);
    drop(store);
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.take_over_files().unwrap(), []);
    let counts = store.pin_counts().unwrap();
    let six: Judgement =
        serde_json::from_str(r#"{"hook":0,"verdict":3,"reason":6,"jurisdiction":9}"#).unwrap();
    let rows = Rows::from([((0, six), (6, 60)), ((1, six), (9, 90))]);
    let named: Vec<_> = counts.by_name(&rows).into_iter().map(|((name, _), count)| (name, count)).collect();
    assert_eq!(named, [("backup".to_owned(), (8, 80)), ("mail".to_owned(), (7, 70))]);
    let pins: Vec<_> = counts.pins_of(4).unwrap().iter().map(|pin| format!("{pin:?}")).collect();
    assert_eq!(
        pins,
        [
            "PinInfo { name: \"backup\", line: 9, action: Flag, ingress: Drop }",
            "PinInfo { name: \"mail\", line: 3, action: Observe, ingress: Off }"
        ]
    );
    assert_eq!(store.cursor().unwrap().unwrap().reported_until("e0b3", 100), Some(77));
    assert_eq!(store.counts_by_day().unwrap().len(), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_left_and_the_other_taken() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "counts.json", r#"{"format":2}"#);
    write(folder.path(), "told.json", CURSOR);
    let mut store = Store::open(folder.path()).unwrap();
    for _ in 0..2 {
        let [problem] = &store.take_over_files().unwrap()[..] else { panic!() };
        assert!(problem.place.ends_with("/counts.json"), "{problem}");
        assert!(problem.reason.contains("Remove it"), "{problem}");
    }
    assert!(folder.path().join("counts.json").exists() && !folder.path().join("told.json").exists());
    assert_eq!(store.pin_counts().unwrap(), PinCounts::default());
    assert_eq!(store.cursor().unwrap().unwrap().swept_ns, 77);
}

#[test]
fn files_stay_where_the_database_cannot_take_them() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "store.redb", "no database");
    write(folder.path(), "told.json", CURSOR);
    let mut store = Store::open(folder.path()).unwrap();
    assert!(store.take_over_files().is_err() && folder.path().join("told.json").exists());
}

#[test]
fn what_numbers_stood_for_in_earlier_generations_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let mut counts = PinCounts::default();
    for (generation, names, held) in
        [(4, ["mail"], vec![(3, "one")]), (5, ["mail"], vec![]), (6, ["files"], vec![(3, "two")])]
    {
        switched(&mut counts, &names, generation, &[]);
        counts.hold(held.into_iter());
    }
    store.save_pin_counts(&counts).unwrap();
    let kept = store.pin_counts().unwrap();
    let of = |generation| {
        let (pins, held) = kept.names_of(generation)?;
        Some((pins[0].name.clone(), held.map(|(slot, id)| format!("{slot} {id}")).collect::<String>()))
    };
    let named = |pin: &str, held: &str| Some((pin.to_owned(), held.to_owned()));
    assert_eq!([3, 7].map(of), [None, None]);
    assert_eq!([4, 5].map(of), [named("mail", "3 one"), named("mail", "3 one")]);
    assert_eq!(of(6), named("files", "3 two"));
    // What an earlier version wrote has none of it.
    let older = String::from_utf8(counts.to_bytes().unwrap()).unwrap();
    let (older, _) = older.split_once(",\"holders\"").unwrap();
    let older = PinCounts::from_bytes(format!("{older}}}").as_bytes()).unwrap();
    assert!(older.names_of(6).is_none() && older.pins_of(6).is_some());
}

proptest! {
    /// However often numbers change hands, and whichever daemon it was: each packet is shown under the pin that it
    /// was counted for, and none twice.
    #[test]
    fn each_packet_is_shown_under_its_own_pin(
        rounds in prop::collection::vec(
            (prop::sample::subsequence(vec!["a", "b", "c", "d"], 1..4), any::<bool>(),
             prop::collection::vec((0..4_usize, 0..1000_u64), 0..6), any::<bool>()),
            1..8,
        ),
    ) {
        let mut kernel: Rows<u8> = Rows::new();
        let mut crossed: BTreeMap<String, u64> = BTreeMap::new();
        let mut counts = PinCounts::default();
        for (generation, (mut names, reverse, packets, restart)) in (1_u64..).zip(rounds) {
            if reverse {
                names.reverse();
            }
            counts.switch(&pins(&names), generation, Some(&kernel));
            for (number, packets) in packets {
                let Some(name) = names.get(number) else { continue };
                let row = kernel.entry((u8::try_from(number).unwrap(), judgement())).or_default();
                *row = (row.0 + packets, row.1 + packets * 10);
                if packets > 0 {
                    *crossed.entry((*name).to_owned()).or_default() += packets;
                }
            }
            if restart {
                counts = PinCounts::from_bytes(&counts.to_bytes().unwrap()).unwrap();
            }
            let shown: BTreeMap<String, u64> =
                counts.by_name(&kernel).into_iter().map(|((name, _), (packets, _))| (name, packets)).collect();
            prop_assert_eq!(&shown, &crossed);
        }
    }
}
