//! Steps by name: what the property draws reaches what it is to test.

use super::{Step, World, now};
use crate::exemption::{Clocks, State};

/// How many exemptions pass.
fn passes(world: &World) -> usize {
    let kept = world.store.as_ref().unwrap().kept();
    kept.kernel_exemptions(&Clocks { wall: now(), boot_ns: 5_000_000_000 }, &["mail".to_owned()]).len()
}

/// The steps above reach what they are to test: all is loaded, held, lifted, closed and put back.
#[test]
fn what_the_rules_approve_is_loaded_and_lifted() {
    let mut world = World::new();
    world.take(Step::Load(0, 0b001));
    assert_eq!(passes(&world), 0, "one as legal alone");
    world.take(Step::Load(0, 0b101));
    world.take(Step::Rule(1));
    world.take(Step::Load(1, 0b101));
    assert_eq!(passes(&world), 1);
    world.take(Step::Load(1, 0b011));
    assert_eq!(passes(&world), 2);
    world.take(Step::Keep);
    world.take(Step::Stay(4));
    assert_eq!(passes(&world), 0);
    world.take(Step::Lift(0, 0b101));
    assert_eq!(passes(&world), 0);
    world.take(Step::Lift(0, 0b011));
    assert_eq!(passes(&world), 2);
    world.take(Step::LiftAgain);
    assert_eq!(passes(&world), 0);
    world.take(Step::Lift(0, 0b011));
    world.take(Step::RevokeKey(2));
    assert_eq!(passes(&world), 1);
    assert!(world.orders.is_empty(), "it had lifted the order, and others did after it");
    world.take(Step::PutBack(0, false));
    assert_eq!(passes(&world), 0, "an older store closes what was open in it");
    world.take(Step::Load(1, 0b011));
    assert_eq!(passes(&world), 1, "{}", world.refused);
}

/// A key approves no lift any more either, once it is revoked: the orders that fell by it stand again.
#[test]
fn what_a_revoked_key_lifted_stands_again() {
    let mut world = World::new();
    world.take(Step::Load(0, 0b101));
    world.take(Step::Stay(4));
    world.take(Step::Invalidate(1));
    world.take(Step::Rule(1));
    for _ in 0..2 {
        world.take(Step::Lift(0, 0b011));
    }
    assert_eq!((passes(&world), world.orders.len()), (1, 0), "two orders are lifted");
    world.take(Step::RevokeKey(1));
    assert_eq!((passes(&world), world.orders.len()), (0, 2));
    let kept = world.store().kept();
    assert!(kept.list(now()).iter().all(|it| it.state == State::Stayed), "and can be lifted anew");
    // Over a restart as well.
    world.take(Step::Keep);
    assert_eq!(passes(&world), 0);
}

/// What nobody lifted anew closes what was restored by it, and has no place beside what it closes.
#[test]
fn an_instrument_that_a_revoked_key_restored_falls_again() {
    let mut world = World::new();
    world.take(Step::Invalidate(0));
    world.take(Step::Rule(1));
    world.take(Step::Lift(0, 0b011));
    world.take(Step::Rule(0));
    world.take(Step::Load(0, 0b101));
    assert_eq!(world.open.len(), 1);
    world.take(Step::RevokeKey(1));
    assert!(world.open.is_empty());
    let list = world.store().kept().list(now());
    let why = list[0].revoked.as_ref().unwrap().why.as_str();
    assert!(why.starts_with("it fell (in force again: the key SHA256:"), "{why}");
    world.take(Step::Load(2, 0b101));
    assert!(world.open.is_empty() && world.refused.contains("has fallen"), "{}", world.refused);
}

/// The order that an older store closes everything by is lifted as any other, by who could approve all that may come.
#[test]
fn the_daemons_own_order_is_lifted_as_any_other() {
    let mut world = World::new();
    world.take(Step::Invalidate(0));
    world.take(Step::Keep);
    world.take(Step::Stay(0));
    world.take(Step::PutBack(0, true));
    let standing = world.orders.len();
    assert_eq!(standing, 2, "{:?}", world.orders);
    for at in 0..2 {
        world.take(Step::Lift(at, 0b101));
    }
    assert!(world.orders.len() < standing, "{:?}", world.orders);
}
