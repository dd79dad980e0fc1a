//! A database whose file is removed, moved or replaced while it is open.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{load, named, now, open_ids, trail, who};
use crate::store::{Change, FILE, Misplaced, Store, StoreError, Target};

fn revoke(store: &mut Store, id: &str) {
    let change = Change::Revoke { why: "done".to_owned() };
    store.change(&Target::Id(id.to_owned()), &change, &who(), now()).unwrap();
}

fn how(result: Result<(), StoreError>) -> Option<Misplaced> {
    match result {
        Ok(()) => None,
        Err(StoreError::Misplaced { how, .. }) => Some(how),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_file_that_was_removed_is_written_anew_as_it_is_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("lib/borderguard");
    let mut store = Store::open(&state).unwrap();
    assert_eq!((how(store.check_place()), how(store.restore_place())), (None, None));
    for id in ["a", "b"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    fs::remove_dir_all(folder.path().join("lib")).unwrap();
    assert_eq!(how(store.check_place()), Some(Misplaced::Removed));
    revoke(&mut store, "a");
    assert_eq!(how(store.restore_place()), None);
    assert_eq!(how(store.check_place()), None);
    // It is the new file that is written from here on.
    load(&mut store, &named("c", 1)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    assert!(matches!(Store::open(&state), Err(StoreError::Held { .. })), "it is locked");
    let records = trail(&store);
    drop(store);
    let store = Store::open(&state).unwrap();
    assert_eq!((store.kept.problems(), open_ids(&store)), (&[][..], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(trail(&store), records);
}

#[test]
fn a_file_that_was_moved_is_left_alone_and_used_on() {
    let folder = tempfile::tempdir().unwrap();
    let (state, elsewhere) = (folder.path().join("state"), folder.path().join("elsewhere"));
    let mut store = Store::open(&state).unwrap();
    for id in ["a", "b"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    fs::rename(&state, &elsewhere).unwrap();
    assert_eq!(how(store.restore_place()), Some(Misplaced::Moved));
    assert!(!state.exists());
    revoke(&mut store, "a");
    // Also where it has to be opened again after a failure.
    store.disk.as_mut().unwrap().reopen().unwrap();
    revoke(&mut store, "b");
    fs::rename(&elsewhere, &state).unwrap();
    assert_eq!(how(store.restore_place()), None);
    drop(store);
    assert_eq!(open_ids(&Store::open(&state).unwrap()), Vec::<String>::new());
}

#[test]
fn another_file_in_its_place_is_neither_used_nor_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut store = Store::open(folder.path()).unwrap();
    load(&mut store, &named("a", 1)).unwrap();
    let old = fs::read(&path).unwrap();
    for moved in [true, false] {
        if moved {
            fs::rename(&path, folder.path().join("kept")).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, &old).unwrap();
        assert_eq!(how(store.restore_place()), Some(Misplaced::Replaced));
        store.disk.as_mut().unwrap().reopen().unwrap();
        store
            .audit(crate::audit::Record {
                time: now(),
                kind: crate::audit::Kind::Reload,
                who: who(),
                subject: String::new(),
                why: String::new(),
                detail: serde_json::Map::new(),
            })
            .unwrap();
        assert!(fs::read(&path).unwrap() == old);
        fs::remove_file(&path).unwrap();
        if moved {
            fs::rename(folder.path().join("kept"), &path).unwrap();
        }
        assert_eq!(how(store.restore_place()), None);
    }
    assert_eq!(trail(&store).len(), 5);
}

#[test]
fn where_it_cannot_be_written_anew_it_is_used_on_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut store = Store::open(&state).unwrap();
    load(&mut store, &named("a", 1)).unwrap();
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "a file where the folder was").unwrap();
    assert_eq!(how(store.check_place()), Some(Misplaced::Removed));
    for _ in 0..2 {
        let error = store.restore_place().unwrap_err();
        assert!(error.to_string().contains("writing it anew failed"), "{error}");
    }
    revoke(&mut store, "a");
    fs::remove_file(&state).unwrap();
    store.restore_place().unwrap();
    drop(store);
    let store = Store::open(&state).unwrap();
    assert_eq!((open_ids(&store).len(), trail(&store).len()), (0, 4));
}

#[test]
fn a_store_that_could_not_be_opened_has_nothing_open_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Store::open(folder.path()).unwrap();
    load(&mut first, &named("a", 1)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    let mut closed = Store::closed(folder.path(), &error);
    assert!(!closed.kept.is_usable() && open_ids(&closed).is_empty());
    let [problem] = closed.kept.problems() else { panic!() };
    assert!(problem.reason.contains("a daemon holds the store"), "{problem}");
    assert!(load(&mut closed, &named("b", 1)).is_err());
    let change = Change::Revoke { why: "x".to_owned() };
    assert!(closed.change(&Target::Id("a".to_owned()), &change, &who(), now()).is_err());
    assert_eq!(how(closed.restore_place()), None, "it has no place that could be another");
    drop(first);
    assert_eq!(open_ids(&Store::open(folder.path()).unwrap()), ["a"]);
}

#[test]
fn a_store_that_others_may_have_written_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let file = folder.path().join(FILE);
    for mode in [0o620, 0o602, 0o666] {
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("may write it"), "{error}");
    }
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    drop(Store::open(folder.path()).unwrap());
    // Only root can give a file away.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(5000), None).unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("belongs to the user 5000"), "{error}");
    }
}
