//! What the store says and keeps, without any crash.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use guard_common::abi::MAX_EXEMPTIONS;

use super::model::{End, ModelDisk};
use super::{GOOD, NOW, named, pins, time};
use crate::exemption::{Admission, Clocks, LoadError, State, Store, StoreError, Use};

const WHO: u32 = 1001;

fn load(store: &mut Store, text: &str) -> Result<Admission, LoadError> {
    store.load(Path::new("x.toml"), text.as_bytes(), &pins(), WHO, time(NOW))
}

fn clocks() -> Clocks {
    Clocks { wall: time(NOW), boot_ns: 5_000_000_000 }
}

fn error_code(error: &LoadError) -> &'static str {
    match error {
        LoadError::Document(errors) => errors.errors[0].kind.code(),
        LoadError::NoSlot => "no-slot",
        LoadError::Store(_) => "store",
    }
}

#[test]
fn the_kernel_is_given_what_the_document_says() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    let admission = load(&mut store, GOOD).unwrap();
    let [exemption] = &store.kernel_exemptions(&clocks(), &pins())[..] else { panic!("{store:?}") };
    assert_eq!(exemption, &admission.to_kernel(&clocks()));
    assert_eq!((exemption.slot, exemption.quota), (0, 1_000_000));
    assert_eq!(exemption.pins, ["mail", "files"]);
    assert_eq!(exemption.jurisdictions, []);
    let networks =
        ["198.51.100.20/32", "2001:db8:20::/48", "203.0.113.0/24"].map(|text| text.parse().unwrap());
    assert_eq!(exemption.networks, networks);
    assert_eq!(exemption.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tcp/443", "tcp/993"]);
    // It began 16 hours before, which is before the boot, and ends 13 days later.
    assert_eq!(exemption.valid_from_ns, 0);
    assert_eq!(exemption.valid_until_ns, (5 + 13 * 86_400) * 1_000_000_000);
    assert_eq!(store.by_slot(0), Some(&admission.document));
    assert_eq!(store.by_slot(1), None);
}

#[test]
fn pins_that_are_gone_and_windows_that_are_over_are_not_given_to_the_kernel() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    let with = |pins: &[&str], now: &str| {
        let pins: Vec<String> = pins.iter().map(|&pin| pin.to_owned()).collect();
        let clocks = Clocks { wall: time(now), boot_ns: 0 };
        store.kernel_exemptions(&clocks, &pins).into_iter().map(|it| it.pins).collect::<Vec<_>>()
    };
    assert_eq!(with(&["backup", "files"], NOW), [["files"]]);
    assert_eq!(with(&["backup"], NOW), Vec::<Vec<String>>::new());
    assert_eq!(with(&["mail"], "2026-12-14T23:59:59Z").len(), 1);
    assert_eq!(with(&["mail"], "2026-12-15T00:00:00Z").len(), 0);
    assert_eq!(
        with(&["mail"], "2020-01-01T00:00:00Z").len(),
        1,
        "the kernel keeps it closed until it begins"
    );
}

#[test]
fn lists_say_what_became_of_each() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    load(&mut store, &named("other", 4)).unwrap();
    store.checkpoint_use(0, Use { bytes: 998_487, packets: 700 }).unwrap();
    store.revoke("other", "the request was withdrawn", 0, time(NOW)).unwrap();
    for store in [store, disk.open_store().unwrap()] {
        let states =
            |now: &str| store.list(time(now)).into_iter().map(|summary| summary.state).collect::<Vec<_>>();
        assert_eq!(states("2026-11-30T00:00:00Z"), [State::Exhausted, State::Revoked]);
        assert_eq!(states("2026-12-15T00:00:00Z"), [State::Expired, State::Revoked]);
        let [good, other] = &store.list(time(NOW))[..] else { panic!() };
        assert_eq!((good.used_bytes, good.used_packets, good.slot), (998_487, 700, Some(0)));
        assert_eq!((good.loaded_at, good.loaded_by), (Some(time(NOW)), Some(WHO)));
        let revoked = other.revoked.as_ref().unwrap();
        assert_eq!(
            (revoked.why.as_str(), revoked.by, revoked.at),
            ("the request was withdrawn", 0, time(NOW))
        );
        assert_eq!((other.id.as_str(), other.version), ("other", 4));
        let json = serde_json::to_string(good).unwrap();
        assert_eq!(&serde_json::from_str::<crate::exemption::Summary>(&json).unwrap(), good);
    }
    let mut fresh = ModelDisk::default().open_store().unwrap();
    load(&mut fresh, GOOD).unwrap();
    assert_eq!(fresh.list(time("2026-11-30T00:00:00Z"))[0].state, State::NotYetValid);
    assert_eq!(fresh.list(time(NOW))[0].state, State::Active);
}

#[test]
fn what_is_open_cannot_be_loaded_again_and_what_was_revoked_needs_a_new_version() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    assert_eq!(error_code(&load(&mut store, GOOD).unwrap_err()), "still-open");
    assert_eq!(error_code(&load(&mut store, &named("mlat-1", 2)).unwrap_err()), "still-open");
    store.revoke("mlat-1", "stayed", WHO, time(NOW)).unwrap();
    let mut store = disk.open_store().unwrap();
    assert_eq!(error_code(&load(&mut store, GOOD).unwrap_err()), "old-version");
    assert!(store.kernel_exemptions(&clocks(), &pins()).is_empty());
    load(&mut store, &named("mlat-1", 2)).unwrap();
    assert_eq!(store.list(time(NOW)).len(), 2);
    let unknown = store.admit(Path::new("x"), named("b", 1).as_bytes(), &["web".to_owned()], time(NOW));
    assert_eq!(error_code(&unknown.unwrap_err()), "unknown-pin");
    let expired =
        store.admit(Path::new("x"), named("b", 1).as_bytes(), &pins(), time("2027-01-01T00:00:00Z"));
    assert_eq!(error_code(&expired.unwrap_err()), "expired");
}

#[test]
fn revocations_that_make_no_sense_are_refused() {
    let mut store = ModelDisk::default().open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    let mut revoke = |id: &str, why: &str| store.revoke(id, why, WHO, time(NOW));
    assert!(matches!(revoke("other", "x"), Err(StoreError::NotFound { .. })));
    assert!(matches!(revoke("mlat-1", " "), Err(StoreError::BadReason)));
    assert!(matches!(revoke("mlat-1", &"x".repeat(1001)), Err(StoreError::BadReason)));
    revoke("mlat-1", "\u{1b}[31m \"quoted\"\n").unwrap();
    assert!(matches!(revoke("mlat-1", "x"), Err(StoreError::Closed { .. })));
}

#[test]
fn a_slot_is_given_away_again_only_once_its_use_was_reset() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    for (id, slot) in [("a", 0), ("b", 1), ("c", 2)] {
        assert_eq!(load(&mut store, &named(id, 1)).unwrap().slot, slot);
    }
    store.revoke("b", "done", WHO, time(NOW)).unwrap();
    let mut store = disk.open_store().unwrap();
    assert_eq!(store.slots_to_reset(), [1]);
    assert_eq!(load(&mut store, &named("d", 1)).unwrap().slot, 3);
    store.checkpoint_use(1, Use { bytes: 77, packets: 1 }).unwrap();
    store.slot_was_reset(1).unwrap();
    // The kernel's count is zero from now on, and what was saved stays.
    store.checkpoint_use(1, Use::default()).unwrap();
    let mut store = disk.open_store().unwrap();
    assert_eq!(store.slots_to_reset(), Vec::<u16>::new());
    assert_eq!(store.list(time(NOW))[1].used_bytes, 77);
    assert_eq!(load(&mut store, &named("e", 1)).unwrap().slot, 1);
    // A slot in use is not given away by a report about it.
    store.slot_was_reset(0).unwrap();
    assert_eq!(load(&mut store, &named("f", 1)).unwrap().slot, 4);
}

#[test]
fn as_many_as_the_kernel_holds_and_not_one_more() {
    let mut store = ModelDisk::default().open_store().unwrap();
    for number in 0..MAX_EXEMPTIONS {
        assert_eq!(usize::from(load(&mut store, &named(&number.to_string(), 1)).unwrap().slot), number);
    }
    let error = load(&mut store, &named("more", 1)).unwrap_err();
    assert_eq!(
        (error_code(&error), error.to_string().starts_with("256 exemptions are loaded")),
        ("no-slot", true)
    );
    store.revoke("17", "room is needed", WHO, time(NOW)).unwrap();
    store.slot_was_reset(17).unwrap();
    assert_eq!(load(&mut store, &named("more", 1)).unwrap().slot, 17);
}

#[test]
fn expiry_is_kept_and_the_clock_set_back_does_not_open_again() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    assert_eq!(store.expire(time("2026-12-14T23:59:59Z")).unwrap(), Vec::<String>::new());
    assert_eq!(store.expire(time("2026-12-15T00:00:00Z")).unwrap(), ["mlat-1"]);
    assert_eq!(store.expire(time("2026-12-16T00:00:00Z")).unwrap(), Vec::<String>::new());
    let store = disk.open_store().unwrap();
    assert!(store.kernel_exemptions(&clocks(), &pins()).is_empty());
    assert_eq!((store.list(time(NOW))[0].state, store.slots_to_reset()), (State::Expired, vec![0]));
}

#[test]
fn a_quota_goes_on_when_the_kernel_s_counters_begin_anew() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    load(&mut store, &named("unbounded", 1).replace("quota_bytes = 1_000_000\n", "")).unwrap();
    let quotas = |store: &Store| {
        store.kernel_exemptions(&clocks(), &pins()).into_iter().map(|it| it.quota).collect::<Vec<_>>()
    };
    store.checkpoint_use(0, Use { bytes: 300_000, packets: 3 }).unwrap();
    store.checkpoint_use(1, Use { bytes: 5, packets: 1 }).unwrap();
    assert_eq!(quotas(&store), [1_000_000, u64::MAX], "the kernel's own count goes on");
    let mut store = disk.open_store().unwrap();
    store.counters_began_anew().unwrap();
    assert_eq!(quotas(&store), [700_000, u64::MAX]);
    // A look between a charge and its taking back shows too much for a moment.
    store.checkpoint_use(0, Use { bytes: 700_100, packets: 4 }).unwrap();
    let mut store = disk.open_store().unwrap();
    assert_eq!(store.list(time(NOW))[0].used_bytes, 1_000_000);
    store.counters_began_anew().unwrap();
    store.counters_began_anew().unwrap();
    assert_eq!(quotas(&store), [0, u64::MAX]);
    assert_eq!(store.list(time(NOW))[0].used_packets, 7);
}

#[test]
fn an_unchanged_count_is_not_written_again() {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, GOOD).unwrap();
    store.checkpoint_use(0, Use { bytes: 5, packets: 1 }).unwrap();
    let before = disk.steps_taken();
    store.checkpoint_use(0, Use { bytes: 5, packets: 1 }).unwrap();
    store.checkpoint_use(9, Use { bytes: 5, packets: 1 }).unwrap();
    assert_eq!(disk.steps_taken(), before);
}

/// Damages one file of a store with two exemptions, and looks at what the next process makes of it.
fn damaged(damage: impl Fn(&ModelDisk)) -> (Store, Vec<String>) {
    let disk = ModelDisk::default();
    let mut store = disk.open_store().unwrap();
    load(&mut store, &named("a", 1)).unwrap();
    load(&mut store, &named("b", 1)).unwrap();
    damage(&disk);
    disk.restart(End::Killed);
    let store = disk.open_store().unwrap();
    let open = store.kernel_exemptions(&clocks(), &pins());
    let ids = open.iter().map(|it| store.by_slot(it.slot).unwrap().id.clone()).collect();
    (store, ids)
}

#[test]
fn a_damaged_file_closes_its_exemption_and_the_rest_is_open() {
    type Damage = fn(&ModelDisk);
    let cases: [(&str, &str, Damage); 9] = [
        ("a.v1.json", "EOF", |disk| disk.damage("a.v1.json", |bytes| bytes.truncate(20))),
        ("a.v1.json", "EOF", |disk| disk.damage("a.v1.json", Vec::clear)),
        ("a.v1.json", "its format is 2", |disk| {
            disk.damage("a.v1.json", |bytes| {
                *bytes =
                    String::from_utf8_lossy(bytes).replace("\"format\": 1", "\"format\": 2").into_bytes();
            });
        }),
        ("a.v1.json", "its slot is past the last one", |disk| {
            disk.damage("a.v1.json", |bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace("\"slot\": 0", "\"slot\": 256").into_bytes();
            });
        }),
        ("a.v1.json", "it is active without a slot", |disk| {
            disk.damage("a.v1.json", |bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace("\"slot\": 0", "\"slot\": null").into_bytes();
            });
        }),
        ("a.v1.json", "it is about another exemption", |disk| {
            let other = disk.take("a.v1.json");
            disk.place("a.v1.json", &String::from_utf8_lossy(&other).replace("\"a\"", "\"z\"").into_bytes());
        }),
        ("a.v1.toml", "its bytes are not those that were loaded", |disk| {
            disk.damage("a.v1.toml", |bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace("1_000_000", "9_000_000").into_bytes();
            });
        }),
        ("a.v1.toml", "its bytes are not those that were loaded", |disk| {
            disk.damage("a.v1.toml", |b| b.truncate(3))
        }),
        ("a.v1.toml", "not found", |disk| drop(disk.take("a.v1.toml"))),
    ];
    for (file, reason, damage) in cases {
        let (mut store, open) = damaged(damage);
        assert_eq!(open, ["b"], "{file}: {reason}");
        let [problem] = store.problems() else { panic!("{reason}: {:?}", store.problems()) };
        assert_eq!(problem.file, Path::new("exemptions").join(file));
        assert!(problem.reason.contains(reason) && problem.reason.contains("is closed"), "{problem}");
        // The same version does not come back, and a new one never gets a slot that may be in use.
        assert!(load(&mut store, &named("a", 1)).is_err());
        let _open_or_unknown = store.revoke("a", "damaged", WHO, time(NOW));
        let admission = load(&mut store, &named("a", 2)).map_err(|error| error_code(&error).to_owned());
        match file.ends_with("toml") {
            true => assert_eq!(admission.unwrap().slot, 2),
            false => {
                assert_eq!(admission.unwrap_err(), "no-slot", "every slot that nobody holds may be in use");
                for slot in store.slots_to_reset() {
                    store.slot_was_reset(slot).unwrap();
                }
                assert_eq!(load(&mut store, &named("a", 2)).unwrap().slot, 0);
            }
        }
    }
}

#[test]
fn a_record_that_is_gone_leaves_its_document_closed() {
    let (store, open) = damaged(|disk| drop(disk.take("a.v1.json")));
    assert_eq!(open, ["b"]);
    let [problem] = store.problems() else { panic!("{:?}", store.problems()) };
    assert!(problem.reason.contains("its load was not finished"), "{problem}");
}

#[test]
fn two_that_claim_one_slot_are_both_closed() {
    let (store, open) = damaged(|disk| {
        disk.damage("b.v1.json", |bytes| {
            *bytes = String::from_utf8_lossy(bytes).replace("\"slot\": 1", "\"slot\": 0").into_bytes();
        });
    });
    assert_eq!((open, store.problems().len()), (Vec::<String>::new(), 2));
}

#[test]
fn files_of_others_are_named_and_left_alone_and_unfinished_ones_go() {
    let disk = ModelDisk::default();
    disk.place("notes.txt", b"x");
    disk.place("a.v1.json.tmp", b"{");
    let store = disk.open_store().unwrap();
    let [problem] = store.problems() else { panic!("{:?}", store.problems()) };
    assert_eq!(problem.file, Path::new("exemptions/notes.txt"));
    assert_eq!(disk.take("notes.txt"), b"x");
    assert_eq!(disk.open_store().unwrap().problems(), []);
}

#[test]
fn a_folder_is_for_its_owner_alone_and_for_one_process() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(&state.path().join("not/yet")).unwrap();
    load(&mut store, GOOD).unwrap();
    assert!(matches!(Store::open(&state.path().join("not/yet")), Err(StoreError::Held { .. })));
    let folder = state.path().join("not/yet/exemptions");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["mlat-1.v1.toml", "mlat-1.v1.json", "lock"] {
        assert_eq!(mode(&folder.join(file)), 0o600);
    }
    assert_eq!(std::fs::read(folder.join("mlat-1.v1.toml")).unwrap(), GOOD.as_bytes());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
    drop(store);
    let store = Store::open(&state.path().join("not/yet")).unwrap();
    assert_eq!((store.list(time(NOW)).len(), store.problems()), (1, &[][..]));
    assert!(matches!(Store::open(Path::new("/dev/null")), Err(StoreError::Disk { .. })));
}

#[test]
fn files_are_never_written_by_way_of_a_symbolic_link() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path()).unwrap();
    let target = state.path().join("target");
    std::fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, state.path().join("exemptions/mlat-1.v1.toml.tmp")).unwrap();
    assert_eq!(error_code(&load(&mut store, GOOD).unwrap_err()), "store");
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
}
