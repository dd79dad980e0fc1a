//! Calls are refused where the config asks for it, and where every packet would meet the guard.

use super::super::Input;
use super::world::World;
use crate::control::protocol::Request;
use crate::health::ProblemCode;

const REFUSING: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[bypass]\nrefuse = false\n[sockets]\nrefuse = true\n[[pin]]\n\
    name = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"host\"]\n";
const OBSERVING: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\nobserve = true\n[bypass]\nrefuse = false\n[sockets]\n\
    refuse = true\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"host\"]\n";
const LEAVING: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[bypass]\nrefuse = false\n[[pin]]\n\
    name = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"host\"]\n";

/// Whether calls are refused, and why not.
fn state(world: &mut World) -> (bool, String) {
    let sockets = world.status().sockets;
    (sockets.refused, sockets.not_refused.unwrap_or_default())
}

#[test]
fn calls_are_refused_while_every_way_out_is_guarded() {
    let mut world = World::new(REFUSING, &["eth0"]);
    world.rest();
    assert_eq!(state(&mut world), (true, String::new()));
    assert_eq!(world.engine.refuses_in(), 1);
    let before = world.status().generation;
    world.kernel.add("other0");
    world.step(Input::Changed);
    world.rest();
    let (refused, why) = state(&mut world);
    assert!(!refused && why.contains("other0"), "{why}");
    assert_eq!((world.engine.refuses_in(), world.status().generation), (0, before + 1));
    world.kernel.delete("other0");
    world.step(Input::Changed);
    world.rest();
    assert_eq!((state(&mut world), world.engine.refuses_in()), ((true, String::new()), 1));
}

#[test]
fn calls_are_left_to_their_packets_without_the_key_and_while_observing() {
    let mut world = World::new(LEAVING, &["eth0"]);
    world.rest();
    assert_eq!((state(&mut world), world.engine.refuses_in()), ((false, String::new()), 0));
    let generation = world.status().generation;
    world.kernel.add("other0");
    world.step(Input::Changed);
    world.rest();
    assert_eq!(world.status().generation, generation, "it costs no generation");
    world.kernel.delete("other0");
    // The programs for it are loaded at the start alone.
    world.config = REFUSING;
    world.ask(Request::Reload {});
    world.rest();
    assert_eq!(world.engine.refuses_in(), 0);
    let (refused, why) = state(&mut world);
    assert!(!refused && why.contains("started again"), "{why}");
    assert!(world.codes().contains(&ProblemCode::RestartNeeded));

    let mut world = World::new(REFUSING, &["eth0"]);
    world.rest();
    for (config, refuse_in, why) in [(OBSERVING, 0, "host.observe"), (LEAVING, 0, ""), (REFUSING, 1, "")] {
        world.config = config;
        world.ask(Request::Reload {});
        world.rest();
        assert_eq!(world.engine.refuses_in(), refuse_in, "{config}");
        let (refused, not) = state(&mut world);
        assert!(
            refused == (refuse_in != 0) && not.contains(why) && not.is_empty() == why.is_empty(),
            "{not}"
        );
    }
}
