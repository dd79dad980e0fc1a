//! Tables that somebody else changes: told, recorded once a minute, and published anew.

use guard_common::abi::{Count, ExemptionUse, Hook};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use serde_json::Value;

use super::super::Input;
use super::inputs::{CONFIG, the_only};
use super::world::{PARTS, World};
use crate::control::protocol::Request;
use crate::health::{Problem, ProblemCode};
use crate::kernel::memory::{MemoryKernel, Operation};
use crate::kernel::{Counters, Kernel as _, OutcomeCount};

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
    let problem = the_only(told(&mut world));
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

/// What is told of a table is told by the next daemon too.
#[test]
fn a_table_that_was_changed_is_told_over_restarts_until_somebody_reloads() {
    let mut world = World::with_one();
    world.kernel.tamper("HELD");
    world.step(Input::Changed);
    world.settle();
    for _ in 0..2 {
        world.restart();
        world.rest();
        let problem = the_only(told(&mut world));
        assert_eq!(problem.subject.as_deref(), Some("HELD"));
        assert!(problem.message.contains("an earlier daemon has found"), "{problem}");
    }
    is_told_no_more_after_a_reload(&mut world);
}

fn is_told_no_more_after_a_reload(world: &mut World) {
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload));
    assert_eq!(told(world), []);
    world.restart();
    world.rest();
    assert_eq!(told(world), []);
}

/// What the kernel has counted of the pin of number 0 as let through by exemptions.
fn exempted(bytes: u64) -> Counters {
    let count = Count { packets: 1, bytes };
    let (hook, verdict, reason) = (Hook::Egress, Verdict::Pass, Reason::Exempt);
    let row = OutcomeCount { pin: 0, jurisdiction: Jurisdiction::UNKNOWN, hook, verdict, reason, count };
    Counters { outcomes: vec![row], ..Counters::default() }
}

fn slot(world: &World) -> u16 {
    world.store.kept().slots_of(&[("a".to_owned(), 1)])[0]
}

#[test]
fn bytes_that_are_in_no_exemptions_use_are_told_over_restarts_and_recorded_once() {
    let mut world = World::with_one();
    let slot = slot(&world);
    world.rest();
    world.kernel.spend(slot, 700);
    world.kernel.set_counters(exempted(700));
    world.rest();
    // What a daemon had not saved when it was killed is read by the next one.
    world.kernel.spend(slot, 50);
    world.kernel.set_counters(exempted(750));
    world.restart();
    world.rest();
    assert_eq!(told(&mut world), []);
    // Root lowers it before that.
    world.kernel.set_counters(exempted(1000));
    world.kernel.reset_exemption_use(slot, ExemptionUse::default()).unwrap();
    for _ in 0..2 {
        world.restart();
        world.rest();
        let problem = the_only(told(&mut world));
        assert_eq!(problem.subject.as_deref(), Some("EXEMPTION_USE"));
        assert!(problem.message.contains("250 bytes of the pin \"mail\""), "{problem}");
        assert_eq!(records(&world), [("EXEMPTION_USE".to_owned(), 1)]);
    }
    is_told_no_more_after_a_reload(&mut world);
}

/// Pins and exemptions are counted in two maps, which are read one after the other, in whatever order the parts work.
#[test]
fn counts_that_grow_while_they_are_read_are_no_finding() {
    let mut world = World::with_one();
    let (slot, mut bytes) = (slot(&world), 0);
    for round in 0..200 {
        for part in PARTS.into_iter().cycle().skip(round % PARTS.len()).take(PARTS.len()) {
            bytes += 100;
            world.kernel.spend(slot, 100);
            world.kernel.set_counters(exempted(bytes));
            world.work(part);
        }
        if round % 20 == 19 {
            world.restart();
        } else if round % 3 == 0 {
            let _nobody_waits_for_it = world.ask(Request::Status {});
        } else {
            world.pass(SECOND / 2);
        }
    }
    world.rest();
    assert_eq!(told(&mut world), []);
    assert_eq!(records(&world), []);
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
