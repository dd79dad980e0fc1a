//! Configs that are read again, and the end.

use super::super::Input;
use super::world::{BAD, CONFIG, ONE, World};
use crate::control::protocol::{Request, Response};
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;

#[test]
fn a_config_that_is_refused_leaves_the_old_one_live_and_is_a_problem() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.config = BAD;
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(matches!(world.answer(reload), Response::Error { .. }), "{:?}", world.answers);
    assert_eq!(world.codes(), [ProblemCode::ConfigRefused]);
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.config = ONE;
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload));
    assert_eq!((world.kernel.guarded(), world.problems()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn a_config_that_the_kernel_refuses_is_not_half_live() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.config = ONE;
    world.kernel.fail(Operation::Publish, 1);
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(matches!(world.answer(reload), Response::Error { .. }), "{:?}", world.answers);
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"], "interfaces follow the config that is live");
    assert!(world.codes().contains(&ProblemCode::ConfigRefused));
}

#[test]
fn requests_to_reload_while_one_is_on_its_way_are_each_answered_by_a_later_reading() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let first = world.ask(Request::Reload {});
    let second = world.ask(Request::Reload {});
    world.step(Input::Hangup);
    world.rest();
    assert!(world.is_done(first) && world.is_done(second), "{:?}", world.answers);
}

#[test]
fn the_end_waits_for_what_is_to_be_kept() {
    for with_host in [false, true] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.load("a", 1);
        world.settle();
        world.step(Input::Stop { with_host });
        assert!(!world.has_ended);
        world.settle();
        assert!(world.has_ended, "{:?}", world.log);
        assert_eq!(world.open().is_empty(), with_host, "what is enforced goes on without a daemon");
        assert_eq!(world.kernel.guarded(), ["eth0"]);
        let refused = world.load("b", 1);
        assert!(matches!(world.answer(refused), Response::Error { .. }));
    }
}

#[test]
fn an_end_with_a_broken_kernel_or_disk_is_an_end() {
    for operation in [Operation::Publish, Operation::Uses, Operation::Reset] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.load("a", 1);
        world.settle();
        world.kernel.fail(operation, 100);
        world.step(Input::Stop { with_host: true });
        world.rest();
        assert!(world.has_ended, "{operation:?}: {:?}", world.log);
    }
}
