//! Others are kept from what is the guard's where the config says so; who tries is told and on record, until a reload.

use guard_common::abi::protect::Attempt;
use serde_json::Value;

use super::super::Input;
use super::inputs::{CONFIG, the_only};
use super::world::World;
use crate::control::protocol::Request;
use crate::health::{Problem, ProblemCode};
use crate::kernel::Refused;
use crate::kernel::memory::Operation;

const PROTECTED: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[protect]\nlsm = true\n[[pin]]\nname = \"mail\"\n\
     home = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
const SECOND: u64 = 1_000_000_000;

fn refused(attempt: Attempt, command: &str) -> Refused {
    Refused { attempt, command: command.to_owned(), process: 4711, user: 0, number: 33, times: 1, last_ns: 5 }
}

fn look(world: &mut World) {
    world.step(Input::Changed);
    world.settle();
}

fn told(world: &World) -> Vec<Problem> {
    world.known_problems().into_iter().filter(|it| it.code == ProblemCode::ChangeDenied).collect()
}

/// Of each record its command, what was tried, and how often.
fn records(world: &World) -> Vec<(String, String, u64)> {
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |record: Value| {
        let detail = &record["detail"];
        (text(&record["subject"]), text(&detail["attempt"]), detail["times"].as_u64().unwrap())
    };
    records.filter(|record| record["kind"] == "change-denied").map(of).collect()
}

fn reload(world: &mut World, config: &'static str) {
    world.config = config;
    let reload = world.ask(Request::Reload {});
    world.rest();
    assert!(world.is_done(reload));
}

#[test]
fn others_are_kept_from_it_as_the_config_says() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.rest();
    assert!(!world.kernel.is_protected());
    assert_eq!(world.status().protect, Default::default());
    reload(&mut world, PROTECTED);
    assert!(world.kernel.is_protected());
    let protect = world.status().protect;
    assert_eq!((protect.lsm, protect.on, protect.not_on, protect.denied), (true, true, None, 0));
    assert_eq!(world.problems(), []);
    reload(&mut world, CONFIG);
    assert!(!world.kernel.is_protected());
    assert_eq!(world.problems(), []);
}

#[test]
fn a_daemon_that_starts_again_has_it_on_again() {
    let mut world = World::new(PROTECTED, &["eth0"]);
    world.settle();
    assert!(world.kernel.is_protected());
    world.restart();
    assert!(!world.kernel.is_protected(), "it ends with the daemon");
    world.settle();
    assert!(world.kernel.is_protected());
    assert!(world.log.iter().any(|line| line.contains("are kept from the guard's maps")), "{:?}", world.log);
}

#[test]
fn what_the_kernel_refuses_is_told_and_tried_again_and_the_host_is_guarded() {
    let mut world = World::new(PROTECTED, &["eth0"]);
    world.kernel.fail(Operation::Protect, 2);
    world.settle();
    let problem = the_only(world.known_problems());
    assert_eq!((problem.code, problem.subject), (ProblemCode::ProtectUnavailable, None));
    assert!(problem.message.contains("the test says so"), "{}", problem.message);
    let protect = world.status().protect;
    assert!(protect.lsm && !protect.on && protect.not_on.unwrap().contains("the test says so"));
    assert_eq!(world.status().interfaces.len(), 1);
    assert!(world.engine.is_ready(), "the daemon does not wait for it");
    world.rest();
    world.rest();
    assert!(world.kernel.is_protected());
    assert_eq!(world.problems(), []);
}

#[test]
fn who_tries_is_told_and_recorded_once_a_minute_until_a_reload() {
    let mut world = World::new(PROTECTED, &["eth0"]);
    world.settle();
    for _ in 0..3 {
        world.kernel.refuse(refused(Attempt::OpenMap, "python3"));
        look(&mut world);
    }
    world.kernel.refuse(refused(Attempt::ChangeLink, "bpftool"));
    look(&mut world);
    let problems = told(&world);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(problems[0].subject.as_deref(), Some("bpftool"));
    assert!(problems[1].message.contains("process 4711") && problems[1].message.contains("3 times"));
    assert!(world.log.iter().any(|line| line.contains("python3") && line.contains("was refused")));
    let of = |command: &str, attempt: &str, times| (command.to_owned(), attempt.to_owned(), times);
    let first = [of("python3", "open-map", 1), of("bpftool", "change-link", 1)];
    assert_eq!(records(&world), first);
    world.pass(60 * SECOND);
    look(&mut world);
    assert_eq!(records(&world)[2..], [of("python3", "open-map", 2)]);
    assert_eq!(world.status().protect.denied, 4);
    // What is not recorded by then is by the reload.
    world.kernel.refuse(refused(Attempt::OpenMap, "python3"));
    look(&mut world);
    reload(&mut world, PROTECTED);
    assert_eq!(records(&world)[3..], [of("python3", "open-map", 1)]);
    assert_eq!(told(&world), []);
}

#[test]
fn commands_without_end_are_told_together() {
    let mut world = World::new(PROTECTED, &["eth0"]);
    world.settle();
    for number in 0..100 {
        world.kernel.refuse(refused(Attempt::OpenMap, &format!("command-{number}")));
    }
    look(&mut world);
    let problems = told(&world);
    assert_eq!(problems.len(), 17, "{problems:?}");
    let others = problems.iter().find(|it| it.subject.as_deref() == Some("other commands")).unwrap();
    assert!(others.message.contains("84 times"), "{}", others.message);
    assert_eq!(world.status().protect.denied, 100);
}
