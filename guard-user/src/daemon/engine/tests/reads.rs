//! The status, whoever is stuck, and what is booked.

use super::super::{Input, Ticket};
use super::inputs::CONFIG;
use super::world::{Part, World};
use crate::control::protocol::{Request, Response};
use crate::control::status::Status;
use crate::health::ProblemCode;

fn status_of(world: &World, ticket: Ticket) -> Option<Status> {
    match world.answers.get(&ticket) {
        Some(Response::Status { status }) => Some((**status).clone()),
        None => None,
        other => panic!("no status: {other:?}"),
    }
}

#[test]
fn a_worker_that_is_stuck_does_not_keep_the_status_from_saying_so() {
    for (stuck, subject) in [(Part::Sampler, "counters"), (Part::Kernel, "kernel")] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.step(Input::Changed);
        let early = world.ask(Request::Status {});
        world.all_but(stuck);
        assert_eq!(status_of(&world, early), None, "it waits for a new look");
        assert!(world.engine.next_tick() <= world.clocks().boot_ns + 1_000_000_000);
        world.pass(1_000_000_000);
        assert!(status_of(&world, early).is_some(), "but not for ever");
        for _ in 0..6 {
            world.pass(1_000_000_000);
            world.all_but(stuck);
        }
        let late = world.ask(Request::Status {});
        world.pass(1_000_000_000);
        let problems = status_of(&world, late).unwrap().problems;
        let stuck = |it: &&crate::health::Problem| it.code == ProblemCode::WorkerStuck;
        let subjects: Vec<_> = problems.iter().filter(stuck).map(|it| it.subject.as_deref()).collect();
        assert_eq!(subjects, [Some(subject)], "{problems:?}");
    }
}

#[test]
fn whose_counts_they_are_is_kept_also_where_the_disk_refused_that_first() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.disk.fail_during(0, 1000);
    world.rest();
    world.disk.heal();
    world.rest();
    let generation = world.engine.generation();
    let kept = world.store.pin_counts().unwrap();
    assert!(kept.pins_of(generation).is_some_and(|pins| pins.len() == 1), "{kept:?}");
}

#[test]
fn that_the_flows_of_a_host_that_fell_quiet_were_reported_is_kept_once() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.rest();
    let one = crate::kernel::PermittedCount {
        pin: 0,
        jurisdiction: guard_common::jurisdiction::Jurisdiction::UNKNOWN,
        count: guard_common::abi::Count { packets: 1, bytes: 100 },
    };
    let counters = crate::kernel::Counters { permitted: vec![one], ..world.kernel.counters() };
    world.kernel.set_counters(counters);
    let grown_ns = world.clocks().boot_ns;
    let mut kept = Vec::new();
    for _ in 0..60 {
        world.pass(1_000_000_000);
        world.settle();
        kept.push(world.store.cursor().unwrap().unwrap().swept_ns);
    }
    kept.dedup();
    let last = *kept.last().unwrap();
    assert!(last >= grown_ns + crate::events::flows::QUIET_NS, "{kept:?} after {grown_ns}");
    // The write of the packet, and that of the end of its flow, at most; a quiet disk is left alone.
    assert!(kept.len() <= 3, "{kept:?}");
}
