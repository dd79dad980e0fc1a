//! Legal holds by which nothing is held are told, and those in force.

use super::inputs::{CONFIG, the_only};
use super::unconfirmed::apply_for;
use super::world::World;
use crate::control::protocol::{Request, Response};
use crate::health::ProblemCode;

/// [`CONFIG`] with these legal holds.
fn with_holds(names: &[&str]) -> &'static str {
    format!("{CONFIG}[history]\nhold = {names:?}\n").leak()
}

/// What is answered that says it.
fn said(world: &mut World, request: Request) -> String {
    let ticket = world.ask(request);
    world.settle();
    match world.answer(ticket) {
        Response::Done { message, .. } | Response::Planned { message, .. } => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hold_that_is_no_pin_and_was_never_loaded_is_told_until_it_is() {
    let mut world = World::with_one();
    assert_eq!((world.problems(), world.status().holds), (vec![], vec![]));
    world.config = with_holds(&["mail", "a", "mlat-1"]);
    let message = said(&mut world, Request::Reload {});
    let names_it = message.contains("the legal hold \"mlat-1\" is neither a pin of the config nor the id");
    assert!(names_it && message.matches("legal hold").count() == 1, "{message}");
    let problem = the_only(world.problems());
    assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::HoldUnknown, Some("mlat-1")));
    assert_eq!(world.status().holds, ["mail", "a", "mlat-1"]);
    world.rest();
    assert!(world.log.iter().any(|line| line.starts_with("hold-unknown mlat-1: ")), "{:?}", world.log);
    world.load("mlat-1", 1);
    world.settle();
    assert_eq!(world.problems(), []);
    // One that is closed was loaded all the same.
    world.revoke("mlat-1");
    world.settle();
    assert_eq!(world.problems(), []);
    let message = said(&mut world, Request::Reload {});
    assert!(!message.contains("legal hold"), "{message}");
}

#[test]
fn a_plan_and_an_applied_config_name_it_with_what_may_be_meant() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.load("mlat-2026-0150", 1);
    world.settle();
    let slip = with_holds(&["mlat-2026-0l50"]);
    world.config = slip;
    let told = "the legal hold \"mlat-2026-0l50\" (did you mean \"mlat-2026-0150\"?) is neither";
    for request in [Request::ReloadPlan {}, apply_for(slip, 300)] {
        let message = said(&mut world, request);
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(world.codes(), [ProblemCode::HoldUnknown]);
    assert!(said(&mut world, Request::Confirm { roll_back: true }).contains("not live any more"));
    assert_eq!(world.codes(), []);
}
