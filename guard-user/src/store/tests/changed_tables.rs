//! Tables in the kernel that were found changed, and what is in no exemption's use: told over restarts until somebody reloads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{End, ModelDisk};
use super::{now, trail, who};
use crate::audit::{Kind, Record, Who};
use crate::digest::sha256;
use crate::store::{Store, UNATTRIBUTED};

fn told(store: &Store) -> Vec<(String, String)> {
    let kept = store.kept();
    kept.changed_tables().map(|(table, words)| (table.to_owned(), words.to_owned())).collect()
}

fn record(kind: Kind, subject: &str, detail: &Value) -> Record {
    let (subject, why) = (subject.to_owned(), String::new());
    Record { time: now(), kind, who: who(), subject, why, detail: detail.as_object().cloned().unwrap() }
}

fn reload(store: &mut Store, who: Who) {
    let record = record(Kind::Reload, "", &json!({"config_sha256": sha256(b"x")}));
    store.audit_config(Record { who, ..record }, b"x").unwrap();
}

fn restarted(disk: &ModelDisk) -> Store {
    disk.restart(End::Killed);
    disk.open_store()
}

#[test]
fn a_table_that_was_changed_is_told_by_the_next_daemons_until_somebody_reloads() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    let detail = json!({"entries": 3, "first": "word 7", "found": "2026-12-02T00:00:00Z", "times": 1});
    store.audit(record(Kind::Tampered, "POLICY", &detail)).unwrap();
    let frozen = json!({"entries": 0, "first": "", "found": "2026-12-02T00:00:00Z", "frozen": true});
    store.audit(record(Kind::Tampered, "HELD", &frozen)).unwrap();
    assert!(told(&store).is_empty(), "the daemon that has found it tells it by itself");
    for _ in 0..2 {
        store = restarted(&disk);
        let told = told(&store);
        let [(table, words)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(table, "POLICY");
        let expected = "3 entries were other before 2026-12-02T00:00:00Z, the first one word 7";
        assert!(words.contains(expected), "{words}");
    }
    reload(&mut store, Who { pid: Some(std::process::id()), ..who() });
    assert_eq!(told(&store).len(), 1, "nobody has asked for that one");
    reload(&mut store, who());
    assert!(told(&store).is_empty());
    assert!(told(&restarted(&disk)).is_empty());
}

#[test]
fn what_is_in_no_exemptions_use_is_told_and_recorded_where_it_grows() {
    let note = |store: &mut Store, bytes: u64| {
        let found = BTreeMap::from([("mail".to_owned(), bytes)]);
        store.note_unattributed(&found, &who(), now()).unwrap();
    };
    let recorded = |store: &Store| {
        let records = trail(store).into_iter().filter(|it| it.kind == Kind::Tampered.name());
        let bytes = records.map(|it| {
            assert_eq!((it.subject.as_str(), it.detail["pin"].as_str()), ("EXEMPTION_USE", Some("mail")));
            it.detail[UNATTRIBUTED].as_u64().unwrap()
        });
        bytes.collect::<Vec<u64>>()
    };
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    // What an older version has left, or a loss of power.
    note(&mut store, 500);
    note(&mut store, 500);
    note(&mut store, 400);
    assert_eq!((recorded(&store), told(&store).len()), (Vec::new(), 0));
    note(&mut store, 800);
    for _ in 0..2 {
        note(&mut store, 800);
        assert_eq!(recorded(&store), [300]);
        let told = told(&store);
        let [(table, words)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(table, "EXEMPTION_USE");
        assert!(words.contains("300 bytes of the pin \"mail\""), "{words}");
        store = restarted(&disk);
    }
    note(&mut store, 900);
    assert_eq!(recorded(&store), [300, 100]);
    reload(&mut store, who());
    note(&mut store, 900);
    assert!(told(&store).is_empty(), "somebody knows of it");
    // The host went down: what was in the one sum by then, and not in the other, is nobody's doing.
    store.counters_began_anew(now()).unwrap();
    note(&mut store, 1000);
    assert_eq!((recorded(&store).len(), told(&store).len()), (2, 0));
    note(&mut store, 1001);
    assert_eq!((recorded(&store), told(&store).len()), (vec![300, 100, 1], 1));
}
