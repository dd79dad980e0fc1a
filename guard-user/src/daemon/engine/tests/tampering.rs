//! Tables that somebody else changes: told, recorded once a minute, and published anew.

use serde_json::Value;

use super::super::Input;
use super::inputs::CONFIG;
use super::world::World;
use crate::control::protocol::Request;
use crate::health::{Problem, ProblemCode};
use crate::kernel::memory::{MemoryKernel, Operation};

const SECOND: u64 = 1_000_000_000;

fn told(world: &mut World) -> Vec<Problem> {
    world.problems().into_iter().filter(|it| it.code == ProblemCode::TablesChanged).collect()
}

fn records(world: &World) -> Vec<(String, u64)> {
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records = records.filter(|record| record["kind"] == "tampered");
    let of = |record: Value| {
        (record["subject"].as_str().unwrap().to_owned(), record["detail"]["times"].as_u64().unwrap())
    };
    records.map(of).collect()
}

#[test]
fn any_table_is_told_recorded_and_right_again() {
    for table in MemoryKernel::tables() {
        let mut world = World::with_one();
        let published = world.kernel.published();
        world.kernel.tamper(table);
        assert_eq!(world.kernel.tampered(), [table]);
        world.step(Input::Changed);
        world.settle();
        assert_eq!(world.kernel.tampered(), [] as [&str; 0], "{table}");
        assert_eq!(world.open(), ["a"], "{table}: what it opened is closed");
        assert_eq!(world.kernel.published(), published + 1, "{table}: what was looked up by it is forgotten");
        let problems = told(&mut world);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].subject.as_deref(), Some(table));
        assert!(problems[0].message.contains("right again"), "{problems:?}");
        assert_eq!(records(&world), [(table.to_owned(), 1)]);
        let line = world.log.iter().find(|line| line.contains("somebody else has changed it")).unwrap();
        assert!(line.contains(table), "{line}");
        // It stays told until somebody reloads, and nothing is published for it once more.
        world.rest();
        assert_eq!(told(&mut world).len(), 1);
        assert_eq!(world.kernel.published(), published + 1);
        let reload = world.ask(Request::Reload {});
        world.settle();
        assert!(world.is_done(reload));
        assert_eq!(told(&mut world), []);
    }
}

#[test]
fn one_that_is_changed_again_and_again_is_recorded_once_a_minute() {
    let mut world = World::with_one();
    for _ in 0..30 {
        world.kernel.tamper("CONTROL");
        world.pass(SECOND);
        world.settle();
    }
    assert_eq!(records(&world), [("CONTROL".to_owned(), 1)]);
    assert!(told(&mut world)[0].message.contains("29 times before that"));
    world.pass(60 * SECOND);
    world.settle();
    assert_eq!(records(&world), [("CONTROL".to_owned(), 1), ("CONTROL".to_owned(), 29)]);
}

#[test]
fn what_can_not_be_published_anew_is_told_as_open_and_tried_again() {
    let mut world = World::with_one();
    world.kernel.fail(Operation::Publish, 1);
    world.kernel.tamper("POLICY");
    world.kernel.tamper("V4_ENTRIES");
    world.step(Input::Changed);
    world.settle();
    assert_eq!(world.kernel.tampered(), ["POLICY", "V4_ENTRIES"]);
    let codes = world.codes();
    assert!(
        codes.contains(&ProblemCode::TablesBehind) && codes.contains(&ProblemCode::TablesChanged),
        "{codes:?}"
    );
    assert!(told(&mut world).iter().all(|it| it.message.contains("it is being published anew")));
    world.rest();
    assert_eq!(world.kernel.tampered(), [] as [&str; 0]);
    assert!(told(&mut world).iter().all(|it| it.message.contains("right again")));
    assert_eq!(records(&world).len(), 2, "each was found once");
}

/// It has what it had, so that nothing is published for it; it stays told, over reloads too.
#[test]
fn a_table_that_somebody_freezes_is_told_and_recorded_once_with_what_helps() {
    let mut world = World::with_one();
    let published = world.kernel.published();
    world.kernel.freeze("HELD");
    for _ in 0..3 {
        world.pass(SECOND);
        world.settle();
    }
    let problems = told(&mut world);
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.subject.as_deref(), Some("HELD"));
    for words in ["somebody has frozen it", "BPF_MAP_FREEZE", "does not help", "`borderguard detach`"] {
        assert!(problem.message.contains(words), "{problem}");
    }
    assert_eq!((world.kernel.published(), records(&world)), (published, vec![("HELD".to_owned(), 1)]));
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload));
    assert_eq!((told(&mut world).len(), records(&world).len()), (1, 1));
}

#[test]
fn a_daemon_that_starts_again_goes_on_as_if_nothing_was() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.tamper("POLICY");
    world.restart();
    world.settle();
    assert_eq!(world.kernel.tampered(), [] as [&str; 0]);
    assert_eq!(world.open(), [] as [&str; 0]);
}

#[test]
fn a_program_that_takes_the_place_of_the_guards_is_told_recorded_and_gone() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.exchange("eth0");
    world.step(Input::Changed);
    world.settle();
    let problems = world.problems();
    let lost = problems.iter().find(|it| it.code == ProblemCode::AttachmentLost).unwrap();
    assert_eq!(lost.subject.as_deref(), Some("eth0"));
    let status = world.status();
    assert!(status.interfaces.iter().all(|it| it.problem.is_none()), "{:?}", status.interfaces);
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    assert!(lines.iter().any(|line| line.contains("taken off by another program")), "{lines:?}");
}
