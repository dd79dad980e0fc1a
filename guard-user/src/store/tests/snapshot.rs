//! Who only looks sees what is open, beside whoever holds the store, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{GOOD, NOW, named, pins, time};
use crate::exemption::{Clocks, Snapshot, Store};

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_held_store_is_read_and_left_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let clocks = Clocks { wall: time(NOW), boot_ns: 5_000_000_000 };
    let mut store = Store::open(state.path()).unwrap();
    for document in [GOOD.to_owned(), named("scc-7", 1)] {
        store.load(Path::new("x.toml"), document.as_bytes(), &pins(), 0, time(NOW)).unwrap();
    }
    store.revoke("mlat-1", "a test", 0, time(NOW)).unwrap();
    let folder = state.path().join("exemptions");
    // What the holder is writing just now.
    fs::write(folder.join("scc-7.tmp"), "half").unwrap();
    let before = contents(&folder);

    let snapshot = Snapshot::read(state.path()).unwrap();
    let [(id, exemption)] = &snapshot.open_exemptions(&clocks, &pins())[..] else { panic!("one is open") };
    assert_eq!(id, "scc-7");
    assert_eq!(store.kernel_exemptions(&clocks, &pins()), std::slice::from_ref(exemption));
    assert!(snapshot.problems().is_empty(), "{:?}", snapshot.problems());
    assert_eq!(contents(&folder), before);
}

#[test]
fn a_store_that_is_not_there_is_empty_and_is_not_made() {
    let state = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::read(state.path()).unwrap();
    let clocks = Clocks { wall: time(NOW), boot_ns: 0 };
    assert!(snapshot.open_exemptions(&clocks, &pins()).is_empty());
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}
