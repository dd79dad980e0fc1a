//! Interfaces above and below others.

use super::inputs::{BY_PORT, CONFIG};
use super::world::World;
use crate::control::protocol::Request;
use crate::daemon::engine::Input;
use crate::health::{Health, ProblemCode};
use crate::kernel::{Joined, Place};

#[test]
fn a_pin_by_interface_is_published_anew_where_that_comes_to_lie_below_another() {
    for (config, anew) in [(BY_PORT, 1), (CONFIG, 0)] {
        let mut world = World::new(config, &["eth0", "port0"]);
        world.settle();
        let before = world.kernel.published();
        world.kernel.put_below("port0", "eth0");
        world.step(Input::Changed);
        world.settle();
        assert_eq!(world.kernel.published() - before, anew);
    }
}

#[test]
fn a_pin_by_the_host_is_published_anew_for_an_interface_that_loops_back_and_for_no_other() {
    const BY_HOST: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
                           action = \"drop\"\nselect.sources = [\"host\"]\n";
    for (config, anew) in [(BY_HOST, [0, 1]), (CONFIG, [0, 0])] {
        let mut world = World::new(config, &["eth0"]);
        world.settle();
        let mut before = world.kernel.published();
        for (name, anew) in ["ctr0", "vx0"].into_iter().zip(anew) {
            world.kernel.add(name);
            if name == "vx0" {
                world.kernel.loop_back(name);
            }
            world.step(Input::Changed);
            world.settle();
            assert_eq!(world.kernel.published() - before, anew, "{name}");
            before = world.kernel.published();
        }
    }
}

#[test]
fn what_leaves_by_guarded_interfaces_below_is_counted_there_as_long_as_all_are_guarded() {
    let mut world = World::new(CONFIG, &["eth0"]);
    let upper = world.kernel.add("bond0");
    let lower = [world.kernel.add("eth1"), world.kernel.add("eth2")];
    world.kernel.leave_by("bond0", &lower);
    world.settle();
    let above = |world: &World| {
        let live = world.engine.publishing.live().unwrap();
        live.facts.interfaces.iter().filter(|it| it.is_counted_below).map(|it| it.index).collect::<Vec<_>>()
    };
    assert_eq!(above(&world), [upper]);
    // What a reload lets go is charged above from the moment on in which it is live.
    world.config = String::leak(CONFIG.replace("[\"eth*\"]", "[\"eth0\", \"eth1\", \"bond0\"]"));
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(above(&world), [0; 0]);
    world.config = CONFIG;
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(above(&world), [upper]);
    // One that nobody guards.
    let other = world.kernel.add("port0");
    world.kernel.leave_by("bond0", &[lower[0], other]);
    world.step(Input::Changed);
    world.settle();
    assert_eq!(above(&world), [0; 0]);
}

#[test]
fn an_uplink_that_nothing_guards_is_a_problem_until_the_config_names_or_accepts_it() {
    let mut world = World::new(CONFIG, &["eth0"]);
    let bridge = world.kernel.add("br0");
    world.kernel.add("port0");
    let port = Place {
        is_up: true,
        is_exit: true,
        is_wire: true,
        above: vec![(bridge, Joined::AsPort)],
        ..Place::default()
    };
    world.kernel.place("eth0", port.clone());
    world.kernel.place("port0", port);
    world.kernel.place("br0", Place { is_up: true, has_route: true, ..Place::default() });
    world.settle();
    let status = world.status();
    let [problem] = &status.problems[..] else { panic!("{:?}", status.problems) };
    assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::InterfaceUnguarded, Some("port0")));
    assert_eq!(
        (status.health, status.unguarded),
        (Health::Degraded, vec!["br0".to_owned(), "port0".to_owned()])
    );
    for config in [
        CONFIG.replace("[host]\n", "[host]\nunguarded = [\"port*\"]\n"),
        CONFIG.replace("[\"eth*\"]", "[\"eth*\", \"port0\"]"),
        CONFIG.replace("action = \"drop\"", "action = \"observe\""),
    ] {
        assert_ne!(config, CONFIG);
        world.config = String::leak(config);
        world.ask(Request::Reload {});
        world.settle();
        assert_eq!(world.codes(), [], "{}", world.config);
    }
}
