//! The worker of the store, over disks that fail.

use std::collections::BTreeMap;

use super::*;
use crate::audit::{Kind, Record, Who};
use crate::store::tests::model::ModelDisk;
use crate::store::{Change, LostRecords, Target};

fn started() -> Record {
    Record {
        time: Timestamp::UNIX_EPOCH,
        kind: Kind::Start,
        who: Who { uid: 0, user: None, pid: None },
        subject: String::new(),
        why: String::new(),
        detail: serde_json::Map::new(),
    }
}

#[test]
fn a_database_that_panics_is_damaged_and_the_worker_goes_on() {
    let disk = ModelDisk::new();
    let folder = tempfile::tempdir().unwrap();
    let (inputs, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    let keeper = Keeper::new(folder.path().join("state"), inputs.clone());
    let at = StoreAt {
        state: folder.path().join("state"),
        mark: folder.path().join("mark"),
        pin_path: "pins".into(),
        is_anew: false,
        may_be_first: false,
    };
    let mut worker = Worker::start(disk.open_store(), at, keeper, inputs).unwrap();
    let record = || StoreJob::Record(started());
    disk.panic_after(0);
    for id in [1, 2] {
        worker.put(StoreId(id), record());
    }
    let who = Who { uid: 0, user: None, pid: None };
    let (target, change) = (Target::Id("a".to_owned()), Change::Revoke { why: "done".to_owned() });
    worker.put(StoreId(3), StoreJob::Change { target, change, who });
    worker.end(Instant::now() + Duration::from_secs(30));
    let (mut answered, mut changed, mut is_told) = (Vec::new(), Vec::new(), false);
    while let Ok(input) = outcomes.try_recv() {
        match input {
            Input::Stored { id, outcome: StoreOutcome::Saved(Err(_)), kept } => {
                assert!(!kept.is_usable(), "nothing is open");
                answered.push(id);
            }
            Input::Stored { id, outcome: StoreOutcome::Changed(Err(_)), .. } => changed.push(id),
            Input::Surroundings(Surroundings::Store(Some(fault))) => is_told = fault.is_damaged,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((answered, is_told), (vec![StoreId(1), StoreId(2)], true));
    assert_eq!(changed, [StoreId(3)]);
    let lost = LostRecords::open(&folder.path().join("state"), &folder.path().join("mark"), None);
    assert_eq!(lost.lost().map(|it| it.count), Some(2), "records; a change that was refused was not made");
    // What a job is answered by has the form that is waited for.
    let refused = |job: StoreJob| refusal_of(&job)(broken(Path::new("state")));
    assert!(
        matches!(refused(StoreJob::Tend { counts: Vec::new(), who: crate::daemon::engine::daemon(None), over_by: Timestamp::now() }),
        StoreOutcome::Tended { refused, .. } if refused.len() == 1)
    );
    assert!(matches!(refused(StoreJob::CheckPlace), StoreOutcome::Saved(Err(_))));
}

/// A disk may be too slow for a first start. What was held against none, for want of the store, was then held against all
/// that there was.
#[test]
fn a_store_that_is_opened_late_and_is_new_makes_the_start_the_first() {
    for (may_be_first, has_past) in [(true, false), (true, true), (false, false)] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let at = StoreAt {
            state: state.clone(),
            mark: folder.path().join("mark"),
            pin_path: folder.path().join("pins"),
            is_anew: true,
            may_be_first,
        };
        if has_past {
            let (mut store, _) = open(&StoreAt { mark: folder.path().join("other"), ..at.clone() }).unwrap();
            store.audit(started()).unwrap();
        }
        let kept = LastPolicy {
            bytes: b"[host]".to_vec(),
            observe: false,
            unheld: Some("the store can't be opened".to_owned()),
            users: BTreeMap::new(),
        };
        last_policy::write(&state, &kept).unwrap();
        let late = StoreError::Disk {
            path: state.clone(),
            step: "opening it",
            source: io::Error::from(io::ErrorKind::TimedOut),
        };
        let mut store = Store::closed(&state, &late);
        let (inputs, mut told) = tokio::sync::mpsc::unbounded_channel();
        open_again(&mut store, &at, true, &inputs);
        assert!(store.kept().is_usable());
        let mut is_first = false;
        while let Ok(input) = told.try_recv() {
            is_first |= matches!(input, Input::FirstStart);
        }
        assert_eq!(is_first, may_be_first && !has_past, "{may_be_first} {has_past}");
        let kept = last_policy::read(&state).unwrap().unwrap();
        assert_eq!(kept.unheld.is_none(), is_first);
    }
}
