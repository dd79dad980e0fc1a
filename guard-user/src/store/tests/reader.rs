//! Who only looks sees what is open, and changes nothing.

use std::fs;

use super::{GOOD, clocks, load, named, now, pins, who};
use crate::store::{Change, FILE, Reader, Store, StoreError, Target};

#[test]
fn a_store_is_read_and_left_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path()).unwrap();
    for document in [GOOD.to_owned(), named("scc-7", 1), named("stayed", 1)] {
        load(&mut store, &document).unwrap();
    }
    for (id, change) in
        [("mlat-1", Change::Revoke { why: "a test".into() }), ("stayed", Change::Stay { order: "x".into() })]
    {
        store.change(&Target::Id(id.into()), &change, &who(), now()).unwrap();
    }
    // Who holds it is asked instead.
    assert!(matches!(Reader::open(state.path()), Err(StoreError::Held { .. })));
    let kernel = store.kept.kernel_exemptions(&clocks(), &pins());
    let lines = store.audit_lines(0, usize::MAX).unwrap();
    drop(store);

    let before = fs::read(state.path().join(FILE)).unwrap();
    let reader = Reader::open(state.path()).unwrap().unwrap();
    // Any number of them at once.
    let other = Reader::open(state.path()).unwrap().unwrap();
    let open = reader.kernel_exemptions(&clocks(), &pins()).unwrap();
    let [(id, exemption)] = &open[..] else { panic!("one is open: {open:?}") };
    assert_eq!((id.as_str(), std::slice::from_ref(exemption)), ("scc-7", &kernel[..]));
    assert_eq!(reader.audit_lines(0, usize::MAX).unwrap(), lines);
    assert_eq!(reader.audit_lines(3, 2).unwrap(), lines[2..4], "the first record is number 1");
    let stored = other.stored(&("mlat-1".to_owned(), 1)).unwrap().unwrap();
    assert_eq!(stored.bytes, GOOD.as_bytes());
    drop((reader, other));
    assert_eq!(fs::read(state.path().join(FILE)).unwrap(), before);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let state = tempfile::tempdir().unwrap();
    assert!(Reader::open(state.path()).unwrap().is_none());
    assert!(Reader::open(&state.path().join("nor/its/folder")).unwrap().is_none());
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

/// What a daemon that was killed leaves is no damage, and is read without any change to it.
#[test]
fn what_a_killed_daemon_left_is_read() {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path()).unwrap();
    load(&mut store, &named("a", 1)).unwrap();
    let file = state.path().join(FILE);
    let left = fs::read(&file).unwrap();
    drop(store);
    fs::write(&file, &left).unwrap();
    let reader = Reader::open(state.path()).unwrap().unwrap();
    let open = reader.kernel_exemptions(&clocks(), &pins()).unwrap();
    assert_eq!(open.len(), 1);
    assert!(matches!(Store::open(state.path()), Err(StoreError::Held { .. })), "not while it is read");
    drop(reader);
    assert_eq!(fs::read(&file).unwrap(), left);
    assert_eq!(Store::open(state.path()).unwrap().kept.list(now()).len(), 1);
}

#[test]
fn what_is_damaged_is_said() {
    let state = tempfile::tempdir().unwrap();
    for garbage in [&b""[..], b"garbage", &[0; 10_000]] {
        fs::write(state.path().join(FILE), garbage).unwrap();
        let error = Reader::open(state.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}
