//! The thread: nobody waits for it, and what is wrong with the disk is a problem until it is mended.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::{all, numbers};
use crate::config::policy::{FlowHistory, LegalHold};
use crate::events::event::Event;
use crate::events::record::Record;
use crate::events::{Entry, tests::dropped};
use crate::health::ProblemCode;
use crate::history::hold::Held;
use crate::history::{Past, Settings, Worker};

fn settings(folder: &Path, hold: &[&str]) -> Settings {
    let names: Vec<String> = hold.iter().map(|name| (*name).to_owned()).collect();
    let day = SignedDuration::from_hours(24);
    Settings {
        config: FlowHistory {
            directory: Some(folder.join("history")),
            max_size: 64 << 20,
            max_age: 90 * day,
            people_age: 30 * day,
            hold: LegalHold { names: names.clone(), directory: folder.join("hold"), max_size: 1 << 20 },
        },
        pins: vec!["mail".into()],
        held: names.into_iter().map(|name| Held { name, transfers: Vec::new() }).collect(),
    }
}

fn record(number: u64) -> Record {
    let time = jiff::Timestamp::now();
    Record::Event(Arc::new(Entry::Flow(Event { sequence: number, time, ..dropped() })))
}

fn codes(worker: &Worker) -> Vec<ProblemCode> {
    worker.problems(Instant::now()).into_iter().map(|problem| problem.code).collect()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_put_is_there_after_the_end_and_a_hold_has_its_copies() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(settings(folder.path(), &["mail"]), dropped().session).unwrap();
    for number in 1..=1000 {
        worker.put(&record(number));
    }
    wait("the folders to be open", || folder.path().join("hold").exists());
    let Record::Event(entry) = record(7) else { panic!() };
    worker.hold(&entry);
    let other = Event { pins: vec![], tagged: vec!["etcd".into()], ..dropped() };
    worker.hold(&Arc::new(Entry::Flow(other)));
    assert_eq!((worker.lacks_pin("mail"), worker.lacks_pin("x")), (None, Some(vec!["mail".to_owned()])));
    drop(worker);
    assert_eq!(numbers(&all(&folder.path().join("history"))), (1..=1000).collect::<Vec<_>>());
    let copies: Vec<_> = fs::read_dir(folder.path().join("hold")).unwrap().collect();
    let [Ok(copy)] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!(fs::read_to_string(copy.path()).unwrap().lines().count(), 1);
}

#[test]
fn a_hold_is_in_force_at_once_when_the_config_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(settings(folder.path(), &[]), dropped().session).unwrap();
    wait("the folder", || folder.path().join("history").exists());
    worker.set(settings(folder.path(), &["mail"]));
    let Record::Event(entry) = record(7) else { panic!() };
    worker.hold(&entry);
    wait("the copy", || fs::read_dir(folder.path().join("hold")).is_ok_and(|copies| copies.count() == 1));
    assert_eq!((worker.lost(), codes(&worker)), ((0, 0), vec![]));
}

#[test]
fn a_disk_that_refuses_is_a_problem_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    // A file in the place of the folder.
    fs::write(folder.path().join("history"), "").unwrap();
    let worker = Worker::start(settings(folder.path(), &[]), dropped().session).unwrap();
    wait("the problem", || codes(&worker).contains(&ProblemCode::HistoryUnwritable));
    let begin = Instant::now();
    for number in 1..=10_000 {
        worker.put(&record(number));
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "nobody waits");
    wait("the loss", || worker.lost().0 == 10_000);
    assert_eq!(codes(&worker), [ProblemCode::HistoryUnwritable, ProblemCode::HistoryLost]);
    fs::remove_file(folder.path().join("history")).unwrap();
    wait("the end of the problem", || !codes(&worker).contains(&ProblemCode::HistoryUnwritable));
    worker.put(&record(10_001));
    drop(worker);
    let found = all(&folder.path().join("history"));
    let [Past::Lost { records: 10_000, .. }, Past::Event(_)] = &found[..] else { panic!("{found:?}") };
}

#[test]
fn it_is_kept_elsewhere_or_not_at_all_once_the_config_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(settings(folder.path(), &[]), dropped().session).unwrap();
    wait("the folder", || folder.path().join("history").exists());
    let mut next = settings(folder.path(), &[]);
    next.config.directory = Some(folder.path().join("other"));
    worker.set(next.clone());
    wait("the other folder", || folder.path().join("other").exists());
    worker.put(&record(1));
    next.config.directory = None;
    wait("the record", || !all(&folder.path().join("other")).is_empty());
    worker.set(next);
    assert!(!worker.is_kept() && worker.reader(None).unwrap().is_none());
    worker.put(&record(2));
    drop(worker);
    assert_eq!(numbers(&all(&folder.path().join("other"))), [1]);
}
