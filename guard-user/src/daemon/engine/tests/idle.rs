//! How much is done where nothing happens.

use super::super::changes::DISK_NS;
use super::super::{Input, Surroundings};
use super::world::{Part, World};
use crate::health::{Problem, ProblemCode};

const SECOND: u64 = 1_000_000_000;

#[test]
fn surroundings_are_known_until_they_are_others() {
    let mut world = World::with_one();
    let control = |why: &[&str]| {
        Surroundings::Control(why.iter().map(|why| Problem::new(ProblemCode::SocketMissing, *why)).collect())
    };
    let (well, gone) = (control(&[]), control(&["its file is gone"]));
    assert!(world.engine.knows(&well) && !world.engine.knows(&gone));
    world.step(Input::Surroundings(gone.clone()));
    world.settle();
    assert!(world.engine.knows(&gone) && !world.engine.knows(&well));
    assert!(!world.engine.knows(&control(&["another one is in its place"])));
    assert!(world.engine.knows(&Surroundings::Loop(None)), "of the loop nothing was said");
    assert!(!world.engine.knows(&Surroundings::Loop(Some("it was held up for 600 ms".to_owned()))));
    assert!(world.codes().contains(&ProblemCode::SocketMissing));
    // To be told it again asks for nothing.
    let actions = world.engine.step(Input::Surroundings(gone), world.now);
    assert!(actions.is_empty(), "{actions:?}");
    world.step(Input::Surroundings(well.clone()));
    assert!(world.engine.knows(&well));
    assert!(!world.codes().contains(&ProblemCode::SocketMissing));
}

#[test]
fn where_nothing_happens_it_ticks_once_a_second_and_does_what_is_due_every_few() {
    let mut world = World::with_one();
    world.rest();
    let (begin, mut looks) = (world.now.boot_ns, 0);
    for _ in 0..30 {
        world.settle();
        let (now, next) = (world.now.boot_ns, world.engine.next_tick());
        assert!(next <= now + SECOND, "{next} at {now}");
        // A wake is late by a moment.
        world.pass(next.saturating_sub(now) + 100_000);
        looks += u64::from(world.has_job(Part::Sampler));
    }
    let passed = world.now.boot_ns - begin;
    assert!(passed >= 28 * SECOND, "{passed}");
    assert!((5..=6).contains(&looks), "{looks}");
}

#[test]
fn a_deadline_is_never_later_than_the_next_tick_says() {
    let mut world = World::with_one();
    world.rest();
    // Not at the begin of a second of the engine's.
    world.pass(SECOND / 3);
    // The disk does not answer: whoever orders is told so in time, and not with the look of the next second.
    let stay = world.stay("a");
    let begin = world.now.boot_ns;
    for _ in 0..100 {
        world.all_but(Part::Store);
        if world.answers.contains_key(&stay) {
            break;
        }
        let (now, next) = (world.now.boot_ns, world.engine.next_tick());
        world.pass(next.saturating_sub(now).max(1));
    }
    assert!(world.answers.contains_key(&stay), "nobody is told");
    let late = world.now.boot_ns - begin;
    assert!(late <= DISK_NS + SECOND / 10, "{late}, and the disk has {DISK_NS}");
}
