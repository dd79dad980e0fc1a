//! The disk refuses one step, as a full one does, and the process goes on.

use super::model::{End, ModelDisk};
use super::told::told;
use super::world::{Event, World};
use super::{kinds, load, named, now, open_ids, trail, who};
use crate::exemption::record::{Status, Use};
use crate::store::{Change, StoreError, Target, without_remedy};

/// What opens and failed is not open later; what closes and failed holds, and the next write keeps it.
#[test]
fn any_single_step_of_any_event_can_fail() {
    let before =
        [Event::Load(0), Event::Load(1), Event::Stay(1, 0), Event::Publish, Event::Charge(0, 999_000)];
    let events = [
        Event::Load(2),
        Event::Replace(0),
        Event::Stay(0, 0),
        Event::Resume(1, 0),
        Event::Revoke(0),
        Event::Invalidate(0),
        Event::Look(0),
        Event::Publish,
        Event::CloseWhatIsOver(true),
    ];
    let (origin, world) = World::after(&before);
    let mut choice = 0;
    for event in events {
        let mut failures = 0;
        for steps in 0.. {
            choice += 1;
            let (disk, mut world) = (origin.copy(), world.clone());
            let mut store = disk.open_store();
            world.compare(&mut store);
            disk.fail_after(steps);
            let failed = !world.happen(&mut store, event, &disk);
            let struck = disk.has_struck();
            world.go_on(&mut store);
            if failed {
                failures += 1;
                // Any write at all keeps what the last one could not.
                assert!(world.happen(&mut store, Event::Look(0), &disk), "{event:?}, step {steps}");
            }
            world.go_down(&disk, if choice % 2 == 0 { End::Killed } else { End::PowerLoss(choice) });
            world.compare(&mut disk.open_store());
            if !struck {
                break;
            }
        }
        assert!(failures > 0 || matches!(event, Event::Publish), "{event:?} never failed");
    }
}

#[test]
fn a_closing_that_failed_is_kept_by_the_same_call_and_told_once() {
    for change in [
        Change::Stay { order: "x".into() },
        Change::Revoke { why: "x".into() },
        Change::Invalidate { why: "x".into() },
    ] {
        let disk = ModelDisk::new();
        let mut store = disk.open_store();
        load(&mut store, &named("a", 1)).unwrap();
        disk.fail_after(0);
        let target = &Target::Id("a".into());
        let error = store.change(target, &change, &who(), now()).unwrap_err();
        assert!(matches!(error, StoreError::Disk { .. }), "{error}");
        assert!(open_ids(&store).is_empty(), "it is closed in this process");
        assert_eq!(kinds(&store).last().unwrap(), "load");
        store.change(target, &change, &who(), now()).unwrap();
        let told = trail(&store).into_iter().filter(|record| record.why == "x").count();
        assert_eq!(told, 1);
        // An order does not make less of it.
        let closed = store.kept.list(now())[0].state;
        store.change(target, &Change::Stay { order: "y".into() }, &who(), now()).unwrap();
        assert_eq!(store.kept.list(now())[0].state, closed);
        disk.restart(End::PowerLoss(1));
        assert!(open_ids(&disk.open_store()).is_empty());
    }
}

/// The disk is full for a while: closed is closed, and everything is kept in its order once there is room.
#[test]
fn what_the_disk_did_not_take_is_in_the_trail_in_its_order() {
    let disk = ModelDisk::new();
    let mut store = disk.open_store();
    for id in ["a", "b", "c"] {
        load(&mut store, &named(id, 1)).unwrap();
    }
    let change = |store: &mut crate::store::Store, id: &str, change| {
        disk.fail_after(0);
        assert!(store.change(&Target::Id(id.into()), &change, &who(), now()).is_err());
    };
    change(&mut store, "a", Change::Stay { order: "first".into() });
    change(&mut store, "b", Change::Revoke { why: "second".into() });
    change(&mut store, "a", Change::Revoke { why: "third".into() });
    assert_eq!(open_ids(&store), ["c"]);
    // Nothing was counted, and it is written all the same.
    store.checkpoint_use(&[(2, Use::default())], now()).unwrap();
    disk.restart(End::PowerLoss(2));
    let store = disk.open_store();
    assert_eq!(open_ids(&store), ["c"]);
    let told: Vec<String> =
        trail(&store).into_iter().map(|record| record.why).filter(|why| !why.is_empty()).collect();
    assert_eq!(told, ["first", "second", "third"]);
    let status = &store.kept.record(&("a".to_owned(), 1)).unwrap().status;
    assert!(matches!(status, Status::Revoked { why, .. } if why == "third"), "{status:?}");
}

#[test]
fn an_error_of_the_disk_says_what_to_do() {
    let error = |number| {
        let source = std::io::Error::from_raw_os_error(number);
        StoreError::Disk { path: "/var/lib/x".into(), step: "writing it", source }.to_string()
    };
    assert_eq!(
        error(libc::ENOSPC),
        "/var/lib/x: writing it failed: No space left on device (os error 28); make room on its file system"
    );
    for (number, word) in [
        (libc::EDQUOT, "make room"),
        (libc::EROFS, "for writing"),
        (libc::EACCES, "the daemon's user"),
        (libc::ENOTDIR, "remove the file"),
        (libc::ELOOP, "symbolic link"),
        (libc::EIO, "dmesg"),
    ] {
        let told = error(number);
        assert!(told.contains(word), "{told}");
        // Of what is over it is said why, and not what to do.
        let why = format!("/var/lib/x: writing it failed: {}", std::io::Error::from_raw_os_error(number));
        assert_eq!(without_remedy(&told), why);
        assert_eq!(without_remedy(&why), why);
    }
}

/// What a disk has that is gone for a while in the middle of a write and comes back: the write was reported as
/// failed, and may be there all the same.
#[test]
fn after_an_outage_of_any_length_at_any_step_the_store_goes_on_and_nothing_is_more_open() {
    let before =
        [Event::Load(0), Event::Load(1), Event::Stay(1, 0), Event::Publish, Event::Charge(0, 400_000)];
    let events = [
        Event::Load(2),
        Event::Replace(0),
        Event::Stay(0, 0),
        Event::Resume(1, 0),
        Event::Revoke(0),
        Event::Invalidate(0),
        Event::Look(0),
        Event::CloseWhatIsOver(true),
    ];
    let (origin, world) = World::after(&before);
    let (mut landed, mut outages) = (0, 0);
    for event in events {
        for (steps, failures) in (0..24).flat_map(|steps| [2, 3, 5, 9].map(|failures| (steps, failures))) {
            let (disk, mut world) = (origin.copy(), world.clone());
            let mut store = disk.open_store();
            let lines = trail(&store).len();
            disk.fail_during(steps, failures);
            if world.happen(&mut store, event, &disk) {
                continue;
            }
            outages += 1;
            let here = open_ids(&store);
            let on_disk = |disk: &ModelDisk| {
                let copy = disk.copy();
                copy.restart(End::Killed);
                copy.open_store()
            };
            landed += usize::from(trail(&on_disk(&disk)).len() > lines);
            let tries = (0..failures + 2).take_while(|_| !world.happen(&mut store, Event::Look(0), &disk));
            let tries = tries.count();
            assert!(tries <= failures, "{event:?}, {steps}, {failures}: it did not come back");
            // Nothing was opened by what failed, and a further look changes nothing.
            let open = open_ids(&store);
            assert!(open.iter().all(|id| here.contains(id)), "{event:?}, {steps}: {open:?} of {here:?}");
            assert_eq!(store.kept().unsaved(), []);
            let again = on_disk(&disk);
            assert_eq!(open_ids(&again), open, "{event:?}, {steps}, {failures}");
            told(&again);
            assert!(trail(&again).iter().all(|record| record.time >= now()));
            // Each byte is on its day once.
            let mut by_day = std::collections::BTreeMap::new();
            for row in again.use_by_day().unwrap() {
                *by_day.entry(row.key).or_insert(0) += row.used.bytes;
            }
            for (key, bytes) in by_day {
                assert_eq!(
                    again.kept.record(&key).unwrap().used().bytes,
                    bytes,
                    "{event:?}, {steps}, {failures}"
                );
            }
            load(&mut store, &named("later", 1).replace("US-Ireland MLAT 2001", "Another one")).unwrap();
        }
    }
    assert!(outages > 100 && landed > 10, "{outages} outages, {landed} of them after the write was there");
}

#[test]
fn a_load_that_was_reported_as_failed_and_is_on_the_disk_is_closed_there_with_its_reason() {
    let mut found = 0;
    for (steps, failures) in (0..24).flat_map(|steps| [2, 3, 5, 9].map(|failures| (steps, failures))) {
        let disk = ModelDisk::new();
        let mut store = disk.open_store();
        disk.fail_during(steps, failures);
        if load(&mut store, &named("a", 1)).is_ok() {
            continue;
        }
        while store.checkpoint_use(&[], now()).is_err() {}
        let key = ("a".to_owned(), 1);
        let Some(record) = store.kept.record(&key) else { continue };
        found += 1;
        assert!(
            matches!(&record.status, Status::Revoked { why, by: 1001, .. } if why.contains("reported as failed"))
        );
        assert_eq!(kinds(&store), ["approval", "approval", "load", "revoke"]);
        assert!(trail(&store)[3].why.contains("reported as failed"));
        disk.restart(End::PowerLoss(found));
        let mut store = disk.open_store();
        assert!(open_ids(&store).is_empty());
        load(&mut store, &named("a", 2)).unwrap();
    }
    assert!(found > 0, "it never happened");
}
