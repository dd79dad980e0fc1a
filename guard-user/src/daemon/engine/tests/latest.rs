//! What was told as over stays over, whatever the wall clock says at a later start.

use jiff::SignedDuration;

use super::inputs::CONFIG;
use super::world::{Part, World};
use crate::audit::{Kind, Stored};
use crate::exemption::{State, Summary};
use crate::health::ProblemCode;

const HOUR: i64 = 3600;
const SECOND: u64 = 1_000_000_000;

/// The records of the clock that say that it was behind at a start.
fn told_at_start(world: &World) -> usize {
    let reader = world.store.reader().unwrap();
    let lines = reader.audit_lines(1, usize::MAX).unwrap();
    let records = lines.iter().map(|line| Stored::read(line.as_bytes()).unwrap());
    records.filter(|it| it.kind == Kind::ClockSet.name() && it.detail.contains_key("at_start")).count()
}

fn is_expired(world: &World) -> bool {
    let is_expired = |it: Summary| it.id == "a" && it.state == State::Expired;
    world.store.kept().list(world.clocks().wall).into_iter().any(is_expired)
}

/// The disk never had it: the kernel has by which time the daemon judged.
#[test]
fn a_window_that_ended_while_the_store_took_nothing_is_not_opened_by_a_clock_that_is_set_back() {
    for is_away in [false, true] {
        let mut world = World::with_one();
        world.rest();
        // The next daemon is the one that sees the end: its store can't be opened, or hangs.
        world.store_is_away = is_away;
        if is_away {
            world.restart();
        }
        world.pass(2 * 3600 * SECOND);
        world.all_but(Part::Store);
        assert_eq!(world.open(), Vec::<String>::new());
        world.now.wall -= SignedDuration::from_hours(2);
        world.store_is_away = false;
        world.restart();
        world.all_but(Part::Store);
        assert_eq!(world.open(), Vec::<String>::new(), "away {is_away}");
        world.rest();
        assert_eq!((world.open(), is_expired(&world)), (Vec::<String>::new(), true), "away {is_away}");
        assert_eq!((told_at_start(&world), world.codes()), (1, vec![ProblemCode::ClockSet]));
        // What is loaded by now is open all the same.
        world.load("b", 1);
        world.rest();
        assert_eq!(world.open(), ["b"]);
        // It is told by every start until the clock is past that again.
        world.restart();
        world.rest();
        assert_eq!((told_at_start(&world), world.codes()), (2, vec![ProblemCode::ClockSet]));
        world.set_clock(2 * HOUR + 10);
        world.rest();
        assert_eq!(world.codes(), []);
        world.restart();
        world.rest();
        assert_eq!((told_at_start(&world), world.codes()), (2, vec![]));
    }
}

/// A start with a store that can't be opened does not forget it either, nor what it opens later.
#[test]
fn a_start_without_a_store_keeps_the_time_for_when_it_opens() {
    let mut world = World::with_one();
    world.rest();
    world.pass(2 * 3600 * SECOND);
    world.all_but(Part::Store);
    world.now.wall -= SignedDuration::from_hours(2);
    world.store_is_away = true;
    world.restart();
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
    world.store_is_away = false;
    for _ in 0..10 {
        world.pass(SECOND);
        world.rest();
        assert_eq!(world.open(), Vec::<String>::new());
    }
    assert!(is_expired(&world));
}

/// A wall clock that was ahead for a moment ends what the daemon told as ended by it, and no more.
#[test]
fn a_clock_that_jumps_forward_for_a_moment_raises_nothing() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.set_clock(365 * 24 * HOUR);
    world.rest();
    world.set_clock(-365 * 24 * HOUR);
    world.pass(2 * SECOND);
    world.rest();
    world.restart();
    world.rest();
    assert_eq!((told_at_start(&world), world.codes()), (0, vec![]));
    world.load("a", 1);
    world.rest();
    assert_eq!(world.open(), ["a"]);
    // Keys that end within the year sign on.
    assert!(world.engine.spent_signatures().unwrap().latest.unwrap() <= world.clocks().wall);
}

/// Keys that had ended sign nothing again: not by a reload with the clock set back, nor behind a restart.
#[test]
fn the_time_that_keys_are_held_against_is_never_set_back() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let was = world.clocks().wall;
    world.set_clock(-48 * HOUR);
    world.settle();
    let second = SignedDuration::from_secs(1);
    let latest = |world: &World| world.engine.spent_signatures().unwrap().latest.unwrap();
    assert!(latest(&world) >= was - second);
    for _ in 0..2 {
        world.restart();
        world.rest();
        assert!(latest(&world) >= was - second);
    }
}
