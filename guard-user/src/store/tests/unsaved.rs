//! Orders that the disk refused, or that were given while the store could not be opened: the file of the mark has them.

use std::fs;

use super::high_water::{Host, Memory, is_held, loaded};
use super::model::{End, ModelDisk};
use super::{key_of, named, now, open_ids, who};
use crate::store::{Change, MarkKeeper, Marks, Store, StoreError, Target};

/// Orders on more than single exemptions, which the disk refuses, and a restart.
#[test]
fn an_order_that_the_disk_refused_stands_after_a_restart() {
    let orders = [
        (Target::Pin("mail".into()), Change::Stay { order: "High Court 7".into() }),
        (Target::All, Change::Stay { order: "High Court 7".into() }),
        (Target::Key(key_of("a")), Change::RevokeKey { why: "it was lost".into() }),
        (Target::Instrument("US-Ireland MLAT 2001".into()), Change::Invalidate { why: "denounced".into() }),
    ];
    for (target, change) in orders {
        for lost in ["nothing", "the kernel's mark", "the file"] {
            let (disk, folder, kernel) = (ModelDisk::new(), tempfile::tempdir().unwrap(), Memory::default());
            let open = |kernel: &Memory| {
                let mut store = disk.open_store();
                let kernel: Box<dyn MarkKeeper + Send> = Box::new(kernel.clone());
                let marks = Marks::new(folder.path().to_owned(), Some(kernel));
                let older = store.mark_by(marks, &who(), now()).unwrap();
                (store, older)
            };
            let (mut store, _) = open(&kernel);
            assert!(loaded(&mut store, &named("a", 1)));
            disk.fail_after(0);
            store.change(&target, &change, &who(), now()).unwrap_err();
            store.keep_marks();
            assert_eq!(store.mark_fault(), None);
            drop(store);
            disk.restart(End::Killed);
            let kernel = if lost == "the kernel's mark" { Memory::default() } else { kernel };
            if lost == "the file" {
                fs::remove_file(folder.path().join("high-water.json")).unwrap();
            }
            let (mut store, older) = open(&kernel);
            assert_eq!(open_ids(&store), Vec::<String>::new(), "{target:?} without {lost}");
            assert!(!loaded(&mut store, &named("a", 2)), "{target:?} without {lost}");
            let is_unknown = older.as_ref().is_some_and(|older| !older.is_known);
            assert_eq!((older.is_some(), is_unknown), (lost == "the file", lost == "the file"), "{older:?}");
            // From then on the store has it, and the marks say nothing else.
            drop(store);
            let (store, older) = open(&kernel);
            assert_eq!((older, store.kept.unsaved_orders().count()), (None, 0));
            assert!(!kernel.read().unwrap().head.unwrap().is_pending());
        }
    }
}

/// A file of the mark from before, which has another order that the disk refused, is not the one that the kernel's mark is of.
#[test]
fn an_earlier_file_with_another_order_does_not_take_the_place_of_the_one_that_was_lost() {
    let (disk, folder, kernel) = (ModelDisk::new(), tempfile::tempdir().unwrap(), Memory::default());
    let file = folder.path().join("high-water.json");
    let open = || {
        let mut store = disk.open_store();
        let marks = Marks::new(folder.path().to_owned(), Some(Box::new(kernel.clone())));
        let older = store.mark_by(marks, &who(), now()).unwrap();
        (store, older)
    };
    let (mut store, _) = open();
    assert!(loaded(&mut store, &named("a", 1)));
    disk.fail_after(0);
    let stay = Change::Stay { order: "nobody's".into() };
    store.change(&Target::Pin("no-pin".into()), &stay, &who(), now()).unwrap_err();
    store.keep_marks();
    let earlier = fs::read(&file).unwrap();
    disk.fail_after(0);
    let fallen = Target::Instrument("US-Ireland MLAT 2001".into());
    store.change(&fallen, &Change::Invalidate { why: "denounced".into() }, &who(), now()).unwrap_err();
    store.keep_marks();
    drop(store);
    disk.restart(End::Killed);
    fs::write(&file, earlier).unwrap();
    let (mut store, older) = open();
    assert!(older.is_some_and(|older| !older.is_known));
    assert_eq!(open_ids(&store), Vec::<String>::new());
    assert!(!loaded(&mut store, &named("a", 2)));
}

/// Likewise where the order was given while the store could not be opened, by a daemon that then ended.
#[test]
fn a_file_from_before_an_order_that_was_noted_in_it_is_not_taken() {
    let (host, kernel) = (Host::new(), Memory::default());
    let marks = || Marks::new(host.at("mark"), Some(Box::new(kernel.clone())));
    let open = || {
        let mut store = Store::open(&host.at("state")).unwrap();
        let older = store.mark_by(marks(), &who(), now()).unwrap();
        (store, older)
    };
    let (mut store, _) = open();
    assert!(loaded(&mut store, &named("a", 1)));
    store.keep_marks();
    drop(store);
    let before = fs::read(host.at("mark/high-water.json")).unwrap();
    let locked = StoreError::Damaged { path: host.at("state"), reason: "it is locked".to_owned() };
    let mut store = Store::closed(&host.at("state"), &locked).noting_in(marks());
    let stay = Change::Stay { order: "High Court 7".into() };
    store.change(&Target::Pin("mail".into()), &stay, &who(), now()).unwrap_err();
    store.keep_marks();
    drop(store);
    let with_it = fs::read(host.at("mark/high-water.json")).unwrap();
    // With the file the order stands, and nothing else is closed.
    let before_that = kernel.read().unwrap();
    let (store, older) = open();
    assert_eq!((older, store.kept().orders().count()), (None, 1));
    drop(store);
    // As if that start had not been: the file from before instead.
    kernel.write(&before_that).unwrap();
    assert_ne!(before, with_it);
    fs::write(host.at("mark/high-water.json"), before).unwrap();
    let (store, older) = open();
    assert!(older.is_some());
    assert_eq!(open_ids(&store), Vec::<String>::new());
}

#[test]
fn an_order_that_was_given_while_the_store_was_closed_stands_after_a_restart() {
    let host = Host::new();
    let mut store = host.newest();
    assert!(loaded(&mut store, &named("a", 1)));
    drop(store);
    let locked = StoreError::Damaged { path: host.at("state"), reason: "it is locked".to_owned() };
    let closed = || Store::closed(&host.at("state"), &locked).noting_in(Marks::new(host.at("mark"), None));
    let target = Target::Pin("mail".into());
    for order in ["High Court 7", "High Court 8"] {
        let mut closed = closed();
        closed.change(&target, &Change::Stay { order: order.into() }, &who(), now()).unwrap_err();
        assert_eq!(closed.kept.unsaved_orders().count(), 1);
        closed.keep_marks();
        assert_eq!(closed.mark_fault(), None);
    }
    let text = fs::read_to_string(host.at("mark/high-water.json")).unwrap();
    assert!(text.contains("unsaved"), "{text}");
    let mut store = host.newest();
    assert_eq!(open_ids(&store), Vec::<String>::new());
    assert!(is_held(&store, &named("b", 1)));
    assert!(!loaded(&mut store, &named("b", 1)));
    assert_eq!(store.kept.orders().count(), 2);
    drop(store);
    // A file that is not there is not made: it would vouch for a store that nobody has looked at.
    fs::remove_dir_all(host.at("mark")).unwrap();
    let mut closed = closed();
    closed.change(&target, &Change::Stay { order: "High Court 9".into() }, &who(), now()).unwrap_err();
    closed.keep_marks();
    assert!(closed.mark_fault().unwrap().file.unwrap().contains("is not there") && !host.at("mark").exists());
}
