//! The law pack of the engine: what is told and refused where there is none to go by.

use super::inputs::CONFIG;
use super::world::World;
use crate::control::protocol::{Request, Response};
use crate::health::ProblemCode;

/// Why a load was refused, as its codes.
fn refusal(world: &mut World, id: &str) -> Vec<String> {
    let ticket = world.load(id, 1);
    world.settle();
    match world.answer(ticket) {
        Response::Error { codes, .. } => codes.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pack_that_is_over_is_a_problem_and_loads_nothing_new() {
    let mut world = World::with_one();
    world.settle();
    assert_eq!(world.codes(), []);
    let open = world.open();
    assert_eq!(open.len(), 1);
    let over = crate::exemption::LawPack::embedded().unwrap().ends();
    let ahead = over.duration_since(world.clocks().wall).as_secs();
    world.set_clock(ahead);
    world.settle();
    assert!(world.codes().contains(&ProblemCode::LawPackUnusable), "{:?}", world.problems());
    assert_eq!(refusal(&mut world, "late"), ["law-pack-expired"]);
    world.set_clock(-ahead);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::ClockSet]);
}

#[test]
fn a_named_pack_that_is_not_there_is_a_problem_and_loads_nothing_new() {
    let named = format!("{CONFIG}\n[law]\npack = \"/no/such\"\nsha256 = \"{}\"\n", "07".repeat(32));
    let mut world = World::with_one();
    world.settle();
    let open = world.open();
    world.config = Box::leak(named.into_boxed_str());
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::LawPackUnusable]);
    assert_eq!(refusal(&mut world, "late"), ["law-pack"]);
    assert_eq!(world.open(), open, "what is open stays so");
    world.config = CONFIG;
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(world.codes(), []);
}
