//! Configs that are live while the disk of a store that is open takes no record.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::high_water::Memory;
use super::model::{End, ModelDisk};
use super::unrecorded::{of, record};
use super::{now, trail, who};
use crate::audit::Kind;
use crate::digest::from_hexadecimal;
use crate::store::unrecorded::live_by;
use crate::store::{GoesLive, MarkKeeper, Marks, Store, StoreError};

/// So many steps the disk refuses: until it heals.
const FULL: usize = 1 << 20;

/// A host whose daemons have one disk, and a mark elsewhere.
struct Host {
    disk: ModelDisk,
    folder: TempDir,
    kernel: Memory,
}

impl Host {
    /// One on which the config `honest` is in force.
    fn new() -> Self {
        let host =
            Self { disk: ModelDisk::new(), folder: tempfile::tempdir().unwrap(), kernel: Memory::default() };
        let mut store = host.starts();
        host.takes(&mut store, Kind::Start, "honest").unwrap();
        host.ends(store);
        host
    }

    fn starts(&self) -> Store {
        let kernel: Box<dyn MarkKeeper + Send> = Box::new(self.kernel.clone());
        let mut store = self.disk.open_store();
        let marks = Marks::new(self.folder.path().to_owned(), Some(kernel));
        assert_eq!(store.mark_by(marks, &who(), now()).unwrap(), None);
        store
    }

    /// A daemon makes this config live, and then has it recorded.
    fn takes(&self, store: &mut Store, kind: Kind, text: &str) -> Result<(), StoreError> {
        let record = record(kind, text);
        let judges = live_by(&record.detail).unwrap();
        let config = from_hexadecimal(&of(text).unwrap()).unwrap();
        let since = now().as_second().cast_unsigned();
        self.kernel.goes_live(&GoesLive { judges, config, since, observe: false });
        let written = store.audit_config(record, text.as_bytes());
        store.keep_marks();
        written
    }

    fn ends(&self, store: Store) {
        drop(store);
        self.disk.restart(End::Killed);
    }
}

/// The configs of the trail: by which kind of record, which one, and whether as another one.
fn configs(store: &Store) -> Vec<(String, String, bool)> {
    let of = |it: crate::audit::Stored| {
        let config = it.detail.get("config_sha256")?.as_str()?.to_owned();
        Some((it.kind, config, it.detail.get("other").is_some_and(|other| other == true)))
    };
    trail(store).into_iter().filter_map(of).collect()
}

fn row(kind: Kind, text: &str, is_other: bool) -> (String, String, bool) {
    (kind.name().to_owned(), of(text).unwrap(), is_other)
}

#[test]
fn what_the_disk_refused_is_recorded_when_it_takes_records_again_and_before_what_comes_after() {
    for is_by_the_next_config in [false, true] {
        let host = Host::new();
        let mut store = host.starts();
        host.disk.fail_during(0, FULL);
        host.takes(&mut store, Kind::Start, "other").unwrap_err();
        assert_eq!(store.mark_fault(), None, "the mark has another disk");
        host.disk.heal();
        if is_by_the_next_config {
            host.takes(&mut store, Kind::Reload, "honest").unwrap();
        } else {
            store.keep_marks();
            host.takes(&mut store, Kind::Reload, "honest").unwrap();
        }
        let all = [
            row(Kind::Start, "honest", false),
            row(Kind::Start, "other", false),
            row(Kind::Reload, "honest", false),
        ];
        assert_eq!(configs(&store), all);
        host.ends(store);
        let store = host.starts();
        assert_eq!((configs(&store).len(), store.kept().other_config()), (3, None), "nothing is told twice");
    }
}

/// The daemon is killed before there is room, and the next one has the config of before, with or without the file of the mark.
#[test]
fn what_the_disk_refused_is_known_to_the_next_daemon() {
    for is_file_put_back in [false, true] {
        let host = Host::new();
        let file = host.folder.path().join("high-water.json");
        let before = fs::read(&file).unwrap();
        let mut store = host.starts();
        host.disk.fail_during(0, FULL);
        host.takes(&mut store, Kind::Start, "other").unwrap_err();
        host.ends(store);
        if is_file_put_back {
            fs::write(&file, &before).unwrap();
        }
        let mut store = host.starts();
        host.takes(&mut store, Kind::Start, "honest").unwrap();
        let all = [
            row(Kind::Start, "honest", false),
            row(Kind::Unrecorded, "other", true),
            row(Kind::Start, "honest", false),
        ];
        assert_eq!(configs(&store), all, "put back: {is_file_put_back}");
        assert!(store.kept().other_config().is_some_and(|words| words.contains(&of("other").unwrap())));
    }
}

/// The same daemon goes back to the config of before while the disk is full, and is killed after that.
#[test]
fn all_that_the_disk_refused_is_known_to_the_next_daemon_in_its_order() {
    let host = Host::new();
    let mut store = host.starts();
    host.disk.fail_during(0, FULL);
    host.takes(&mut store, Kind::Start, "other").unwrap_err();
    host.takes(&mut store, Kind::Reload, "honest").unwrap_err();
    host.ends(store);
    let store = host.starts();
    let all = [
        row(Kind::Start, "honest", false),
        row(Kind::Unrecorded, "other", true),
        row(Kind::Unrecorded, "honest", true),
    ];
    assert_eq!(configs(&store), all);
}

/// What a reload takes while the trail takes no record closes, for what opens is refused then: it is no other config.
#[test]
fn what_a_reload_closed_on_a_full_disk_is_no_other_config() {
    let host = Host::new();
    let mut store = host.starts();
    host.disk.fail_during(0, FULL);
    host.takes(&mut store, Kind::Reload, "narrower").unwrap_err();
    host.ends(store);
    let store = host.starts();
    let all = [row(Kind::Start, "honest", false), row(Kind::Unrecorded, "narrower", false)];
    assert_eq!((&configs(&store)[..], store.kept().other_config()), (&all[..], None));
}

/// A yes to geo databases opens without being held against anything: another one is another one.
#[test]
fn databases_that_the_disk_had_no_record_of_are_known_by_themselves() {
    let of_databases = |name: &str| {
        let mut record = record(Kind::Reload, "honest");
        record.detail.insert("databases_alone".to_owned(), true.into());
        record.detail.insert(crate::store::JUDGED.to_owned(), false.into());
        record.detail.insert("geo_sha256".to_owned(), name.into());
        record.detail.insert("database".to_owned(), name.into());
        record
    };
    for is_killed in [false, true] {
        let host = Host::new();
        let mut store = host.starts();
        host.disk.fail_during(0, FULL);
        store.audit_config(of_databases("wide"), b"honest").unwrap_err();
        store.keep_marks();
        if is_killed {
            host.ends(store);
            store = host.starts();
            let words = store.kept().other_config().unwrap_or_default().to_owned();
            assert!(words.contains("with the geo database wide"), "{words}");
        } else {
            host.disk.heal();
            store.audit_config(of_databases("geo"), b"honest").unwrap();
        }
        let found: Vec<_> =
            trail(&store).into_iter().filter_map(|it| it.detail.get("geo_sha256").cloned()).collect();
        assert!(found.contains(&"wide".into()), "killed: {is_killed}: {found:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The disk takes so many steps more.
    Fills(usize),
    HasRoom,
    /// This config goes live by a reload.
    Reload(usize),
    /// The daemon is killed, and the next one takes this config.
    Restart(usize),
    /// Something else is recorded.
    Other,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_usize..60).prop_map(Step::Fills),
        1 => Just(Step::HasRoom),
        3 => (0_usize..3).prop_map(Step::Reload),
        2 => (0_usize..3).prop_map(Step::Restart),
        1 => Just(Step::Other),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the disk refuses and whenever the daemon is killed, the trail has every config that was live once a start finds
    /// room.
    #[test]
    fn no_config_was_live_that_the_trail_does_not_come_to_have(steps in steps()) {
        let host = Host::new();
        let texts = ["honest", "other", "third"];
        let mut lived = BTreeSet::from([of("honest").unwrap()]);
        let mut store = host.starts();
        let _refused = host.takes(&mut store, Kind::Start, "honest");
        for step in steps {
            match step {
                Step::Fills(steps) => host.disk.fail_during(steps, FULL),
                Step::HasRoom => host.disk.heal(),
                Step::Reload(which) => {
                    lived.insert(of(texts[which]).unwrap());
                    let _refused = host.takes(&mut store, Kind::Reload, texts[which]);
                }
                Step::Restart(which) => {
                    host.ends(store);
                    store = host.starts();
                    lived.insert(of(texts[which]).unwrap());
                    let _refused = host.takes(&mut store, Kind::Start, texts[which]);
                }
                Step::Other => {
                    let _refused = store.audit(record(Kind::Signers, "none"));
                    store.keep_marks();
                }
            }
        }
        host.ends(store);
        let store = host.starts();
        let found: BTreeSet<String> = configs(&store).into_iter().map(|(_, config, _)| config).collect();
        prop_assert!(lived.is_subset(&found), "{lived:?} {found:?}");
    }
}
