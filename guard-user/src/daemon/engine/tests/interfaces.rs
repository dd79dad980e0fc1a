//! What is guarded, and what lets it go.

use super::super::{Input, Sight, Surroundings};
use super::inputs::{CGROUP, CONFIG, ONE, STOR};
use super::world::{Part, World};
use crate::compile::{CgroupFact, HostFacts};
use crate::control::protocol::Request;
use crate::health::{Health, ProblemCode};
use crate::kernel::memory::Operation;
use crate::kernel::{DeviceElsewhere, Elsewhere, Kernel};

fn guarded(world: &World) -> Vec<String> {
    world.kernel.guarded()
}

#[test]
fn interfaces_that_the_config_names_are_guarded_and_others_listed() {
    let mut world = World::new(CONFIG, &["eth0", "other0", "eth1"]);
    world.settle();
    assert_eq!(guarded(&world), ["eth0", "eth1"]);
    let status = world.status();
    assert_eq!((status.health, status.unguarded), (Health::Guarding, vec!["other0".to_owned()]));
}

#[test]
fn a_new_interface_is_guarded_and_one_that_took_an_index_too() {
    let mut world = World::new(CONFIG, &[]);
    world.settle();
    assert_eq!(world.status().health, Health::Off);
    let index = world.kernel.add("eth7");
    world.step(Input::Changed);
    world.settle();
    assert_eq!((guarded(&world), world.problems()), (vec!["eth7".to_owned()], vec![]));
    // Another one has its index by now: what was known of it says nothing.
    world.kernel.reuse(index, "eth8");
    assert_eq!(guarded(&world), Vec::<String>::new());
    world.step(Input::Changed);
    world.settle();
    assert_eq!(guarded(&world), ["eth8"]);
}

#[test]
fn a_reload_drops_a_renamed_interface_that_had_lost_its_program_too() {
    let mut world = World::new(ONE, &["eth0"]);
    world.settle();
    world.kernel.take_off("eth0");
    world.kernel.rename("eth0", "stor0");
    world.ask(Request::Reload {});
    world.rest();
    assert_eq!(guarded(&world), Vec::<String>::new());
    assert_eq!(world.codes(), [ProblemCode::NothingGuarded, ProblemCode::InterfaceMissing]);
}

#[test]
fn what_an_interface_had_sent_before_it_was_guarded_is_told_once() {
    let mut world = World::new(CONFIG, &[]);
    world.settle();
    let index = world.kernel.add("eth7");
    world.kernel.send(index, 3);
    world.rest();
    assert_eq!(world.problems(), [], "it took no time");
    world.kernel.send(index, 5);
    world.kernel.rename("eth7", "eth8");
    world.rest();
    world.restart();
    world.rest();
    let told = world.log.iter().filter(|line| line.contains("had sent"));
    let line = "eth7 is guarded: egress by tcx; it had sent 3 packets when that began";
    assert_eq!(told.collect::<Vec<_>>(), [line]);
}

#[test]
fn an_interface_that_was_there_before_the_config_named_it_is_not_called_late() {
    let mut world = World::new(ONE, &["eth0"]);
    let index = world.kernel.add("eth1");
    world.kernel.send(index, 3);
    world.settle();
    world.config = CONFIG;
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload));
    assert_eq!((guarded(&world), world.problems()), (vec!["eth0".to_owned(), "eth1".to_owned()], vec![]));
}

#[test]
fn an_interface_that_the_config_of_a_start_is_the_first_to_name_is_not_called_late() {
    for (before, is_late) in [(ONE, false), (CONFIG, true)] {
        let mut world = World::new(before, &["eth0"]);
        world.settle();
        let named = world.engine.config.policy.host.interfaces.clone();
        let index = world.kernel.add("eth1");
        world.kernel.send(index, 3);
        world.config = CONFIG;
        world.restart();
        world.engine.named_before = Some(named);
        world.settle();
        let late = world.problems().into_iter().find(|it| it.code == ProblemCode::GuardedLate);
        assert_eq!(late.is_some(), is_late, "{late:?}");
        assert!(late.is_none_or(|it| it.message.contains("was guarded by ")));
    }
}

#[test]
fn an_interface_that_is_guarded_late_is_told_for_a_minute() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let index = world.kernel.add("eth2");
    world.kernel.send(index, 3);
    // The daemon is stopped meanwhile.
    world.pass(10_000_000_000);
    world.settle();
    let told = world.problems();
    assert!(
        matches!(&told[..], [it] if it.code == ProblemCode::GuardedLate && it.message.contains("sent 3 packets")),
        "{told:?}"
    );
    let lines = world.log.iter().filter(|line| line.contains("had sent"));
    assert_eq!(lines.count(), 1, "{:?}", world.log);
    world.pass(61_000_000_000);
    world.settle();
    assert_eq!(world.problems(), []);
    // One that had sent nothing is not late whenever it is guarded.
    world.kernel.add("eth3");
    world.pass(10_000_000_000);
    world.settle();
    assert_eq!((guarded(&world).len(), world.problems()), (3, vec![]));
}

#[test]
fn a_renamed_interface_stays_guarded_until_a_reload() {
    let mut world = World::new(ONE, &["eth0"]);
    world.settle();
    world.kernel.rename("eth0", "stor0");
    world.rest();
    assert_eq!(guarded(&world), ["stor0"]);
    assert_eq!(world.codes(), [ProblemCode::InterfaceMissing, ProblemCode::InterfaceRenamed]);
    world.restart();
    world.rest();
    assert_eq!(guarded(&world), ["stor0"], "a restart is no reload");
    world.kernel.take_off("stor0");
    world.rest();
    assert_eq!(guarded(&world), ["stor0"], "and it is attached again under its new name");
    world.restart();
    world.rest();
    assert_eq!(guarded(&world), ["stor0"], "and that is no reload either");
    assert_eq!(world.codes(), [ProblemCode::InterfaceMissing, ProblemCode::InterfaceRenamed]);
    world.ask(Request::Reload {});
    world.rest();
    assert_eq!(guarded(&world), Vec::<String>::new());
    assert_eq!(world.status().health, Health::Off);
}

#[test]
fn an_interface_that_a_reload_named_anew_is_known_by_that_name() {
    let mut world = World::new(ONE, &["eth0"]);
    world.settle();
    world.kernel.rename("eth0", "stor0");
    world.config = STOR;
    world.ask(Request::Reload {});
    world.rest();
    assert_eq!((guarded(&world), world.problems()), (vec!["stor0".to_owned()], vec![]));
    world.kernel.rename("stor0", "stor1");
    for _ in 0..2 {
        world.rest();
        assert_eq!(guarded(&world), ["stor1"]);
        assert_eq!(world.codes(), [ProblemCode::InterfaceMissing, ProblemCode::InterfaceRenamed]);
        world.restart();
    }
}

#[test]
fn swapped_names_and_a_way_to_another_namespace_and_back_let_nothing_go() {
    let mut world = World::new(ONE, &["eth0", "eth1"]);
    world.settle();
    world.kernel.rename("eth0", "x");
    world.kernel.rename("eth1", "eth0");
    world.kernel.rename("x", "eth1");
    world.rest();
    assert_eq!(guarded(&world), ["eth1", "eth0"], "the one that has the name now, and the one that had it");
    world.kernel.move_away("eth0");
    world.rest();
    world.kernel.move_back("eth0");
    world.rest();
    assert!(guarded(&world).contains(&"eth0".to_owned()));
    assert_eq!(world.codes(), [ProblemCode::InterfaceRenamed]);
}

#[test]
fn what_is_taken_off_is_attached_again_and_told() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.take_off("eth0");
    world.kernel.fail(Operation::Attach, 2);
    world.pass(5_000_000_000);
    world.settle();
    assert!(world.codes().contains(&ProblemCode::InterfaceNotGuarded));
    assert!(world.log.iter().any(|line| line.contains("taken Border Guard off")), "{:?}", world.log);
    world.rest();
    world.rest();
    assert_eq!(
        (guarded(&world), world.codes()),
        (vec!["eth0".to_owned()], vec![ProblemCode::AttachmentLost])
    );
    world.pass(60_000_000_000);
    assert_eq!(world.problems(), [], "and it is told for a minute after that");
}

#[test]
fn one_look_that_fails_lets_nothing_go() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.fail(Operation::Observe, 3);
    world.pass(5_000_000_000);
    world.settle();
    assert_eq!(guarded(&world), ["eth0"]);
    assert_eq!(world.codes(), [ProblemCode::InterfacesUnseen]);
    world.rest();
    world.rest();
    assert_eq!(world.problems(), []);
}

#[test]
fn entries_that_are_gone_are_made_anew() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.remove_entries();
    world.kernel.fail(Operation::Restore, 1);
    world.kernel.fail(Operation::Attach, 1);
    world.pass(5_000_000_000);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::EntriesMissing], "what is there goes on guarding");
    world.rest();
    world.rest();
    assert_eq!(world.problems(), []);
}

#[test]
fn a_deleted_interface_s_entries_are_forgotten_once() {
    let mut world = World::new(ONE, &["eth0"]);
    world.settle();
    world.kernel.delete("eth0");
    world.step(Input::Changed);
    world.rest();
    assert_eq!(
        (guarded(&world), world.codes()),
        (vec![], vec![ProblemCode::NothingGuarded, ProblemCode::InterfaceMissing])
    );
}

#[test]
fn entries_that_cannot_be_made_anew_are_tried_again_with_a_pause() {
    let mut world = World::new(ONE, &["eth0"]);
    world.settle();
    world.kernel.remove_entries();
    world.kernel.fail(Operation::Restore, 2);
    world.step(Input::Changed);
    world.settle();
    assert_eq!(guarded(&world), ["eth0"], "the link goes on");
    assert!(!world.codes().is_empty(), "and it is told");
    world.rest();
    world.rest();
    assert_eq!((guarded(&world), world.codes()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn what_is_said_to_be_done_and_is_not_seen_is_tried_again_with_a_pause_and_told() {
    let mut world = World::new(ONE, &["eth0"]);
    world.kernel.fail(Operation::NoEffect, 1000);
    world.rest();
    let problem =
        world.problems().into_iter().find(|it| it.code == ProblemCode::InterfaceNotGuarded).unwrap();
    assert!(problem.message.contains("shows nothing of it"), "{problem}");
    world.kernel.heal();
    world.rest();
    assert_eq!(world.problems(), []);
    world.kernel.fail(Operation::NoEffect, 1000);
    world.kernel.remove_entries();
    world.rest();
    assert!(world.codes().contains(&ProblemCode::EntriesMissing));
    world.kernel.heal();
    world.rest();
    assert_eq!(world.problems(), []);
}

#[test]
fn an_interface_that_can_not_be_let_go_is_told_and_tried_again() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.config = ONE;
    world.kernel.fail(Operation::Release, 1);
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(guarded(&world), ["eth0", "eth1"]);
    assert_eq!(world.codes(), [ProblemCode::InterfaceNotReleased]);
    world.rest();
    assert_eq!((guarded(&world), world.problems()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn an_interface_that_is_renamed_while_it_is_let_go_is_not_said_to_be_gone() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.config = ONE;
    world.ask(Request::Reload {});
    while !world.is_releasing() {
        for part in [Part::Loader, Part::Kernel] {
            world.work(part);
            if world.is_releasing() {
                break;
            }
        }
    }
    world.kernel.rename("eth1", "eth7");
    world.work(Part::Kernel);
    let said = |world: &World, name: &str| {
        let line = format!("{name} is not guarded any more");
        world.log.iter().any(|it| it.contains(&line))
    };
    assert!(!said(&world, "eth1"), "{:?}", world.log);
    assert_eq!(guarded(&world), ["eth0", "eth7"]);
    world.rest();
    assert_eq!(guarded(&world), ["eth0"], "{:?}", world.log);
    assert!(said(&world, "eth7"), "{:?}", world.log);
}

#[test]
fn what_took_the_program_off_is_a_problem_until_it_is_back() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.take_off("eth0");
    world.kernel.fail(Operation::Attach, 1);
    world.step(Input::Changed);
    world.settle();
    assert!(world.codes().contains(&ProblemCode::AttachmentLost), "{:?}", world.problems());
    world.rest();
    let [problem] = &world.problems()[..] else { panic!("{:?}", world.problems()) };
    assert_eq!(problem.code, ProblemCode::AttachmentLost);
    assert!(problem.message.contains("2026-11-26T12:00:00.000Z and before"), "{problem}");
    assert!(problem.message.contains("it is there again"), "{problem}");
}

#[test]
fn a_program_that_ran_first_is_a_problem_for_a_minute_after_it_is_gone() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let mut after = |programs: &[&str]| {
        world.kernel.run_before("eth0", programs);
        world.step(Input::Changed);
        world.settle();
        world.problems()
    };
    let [problem] = &after(&["other (7)"])[..] else { panic!("one problem") };
    assert_eq!(problem.code, ProblemCode::AttachmentNotFirst);
    assert!(
        problem.message.contains("tcx is not the first program at egress: other (7) can let"),
        "{problem}"
    );
    let told = after(&[]);
    assert!(
        told.iter().any(|it| it.message.contains("tcx was not the first program at egress at")),
        "{told:?}"
    );
    world.pass(61_000_000_000);
    assert_eq!(world.problems(), vec![]);
}

#[test]
fn a_status_is_of_the_moment_in_which_it_is_asked_for() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.take_off("eth0");
    world.kernel.fail(Operation::Attach, 1);
    let codes: Vec<_> = world.status().problems.into_iter().map(|it| it.code).collect();
    assert!(codes.contains(&ProblemCode::AttachmentLost), "{codes:?}");
}

#[test]
fn a_stay_takes_effect_while_the_host_can_not_be_looked_at() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    world.kernel.fail(Operation::Observe, 1000);
    world.restart();
    world.settle();
    let stayed = world.stay("a");
    world.rest();
    assert!(world.is_done(stayed), "{:?}", world.answers);
    assert_eq!(world.open(), Vec::<String>::new());
}

#[test]
fn a_clock_that_was_set_is_told_until_the_windows_have_followed() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.set_clock(-30);
    let codes = |world: &World| -> Vec<ProblemCode> {
        world.engine.problems(world.clocks()).into_iter().map(|it| it.code).collect()
    };
    assert!(codes(&world).contains(&ProblemCode::ClockSet), "{:?}", codes(&world));
    world.settle();
    assert_eq!(codes(&world), []);
}

#[test]
fn a_cgroup_that_was_made_again_is_told_until_it_is_in_the_tables() {
    let mut world = World::new(CGROUP, &["eth0"]);
    world.settle();
    let cgroup = CgroupFact { path: "absent.slice/mail.service".to_owned(), id: Some(77), level: 2 };
    let cgroups = HostFacts { cgroups: vec![cgroup], ..HostFacts::default() };
    let observed = world.kernel.observe().unwrap();
    let (bypass, noting) = (world.bypass_facts(), world.noting_facts());
    world.step(Input::Observed(Ok(Box::new(Sight { observed, cgroups, bypass, noting }))));
    let problems = world.engine.problems(world.clocks());
    assert_eq!(problems.iter().map(|it| it.code).collect::<Vec<_>>(), [ProblemCode::CgroupUnplaced]);
    world.pass(3_000_000);
    world.work(Part::Kernel);
    assert!(world.log.iter().any(|line| line.contains("made again")), "{:?}", world.log);
    let unplaced = world.status().unplaced;
    assert_eq!((unplaced.times, unplaced.milliseconds), (1, 3));
}

#[test]
fn a_host_without_a_pin_is_not_guarded() {
    let mut world = World::new("approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n", &["eth0"]);
    world.rest();
    assert_eq!(world.codes(), [ProblemCode::NothingGuarded]);
}

#[test]
fn what_a_reload_takes_off_is_not_called_another_programs_work() {
    const INGRESS: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
                           ingress = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
    const EGRESS: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
                          select.ports = [\"tcp/143\"]\n";
    let mut world = World::new(INGRESS, &["eth0"]);
    world.settle();
    world.config = EGRESS;
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!((guarded(&world), world.codes()), (vec!["eth0".to_owned()], vec![]));
    assert!(!world.log.iter().any(|line| line.contains("taken")), "{:?}", world.log);
    assert!(world.status().interfaces[0].hooks.iter().all(|hook| hook.hook == "egress"));
}

#[test]
fn more_interfaces_than_are_attached_at_once_are_all_guarded() {
    let names: Vec<String> = (10..60).map(|number| format!("eth{number}")).collect();
    let mut world = World::new(CONFIG, &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.settle();
    assert_eq!((guarded(&world), world.codes()), (names, vec![]));
}

#[test]
fn a_look_that_does_not_come_back_is_a_problem() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.step(Input::Changed);
    let codes = |world: &World| {
        let problems = world.engine.problems(world.clocks());
        problems.iter().map(|it| it.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&world), []);
    world.pass(1_500_000_000);
    assert_eq!(codes(&world), [ProblemCode::InterfacesUnseen]);
    world.work(Part::Kernel);
    world.settle();
    assert_eq!(codes(&world), []);
}

#[test]
fn a_device_in_another_namespace_is_told_of_unless_what_it_is_made_on_is_guarded() {
    let mut world = World::new(ONE, &["eth0"]);
    let (other, bridge) = (world.kernel.add("eth5"), world.kernel.add("br0"));
    world.settle();
    let guarded_index = world.status().interfaces.iter().find_map(|it| it.index).unwrap();
    let mut codes = |made_on| {
        let device =
            DeviceElsewhere { name: "mv0".to_owned(), made_on, command: "sh".to_owned(), process: 7 };
        let found = Elsewhere { devices: vec![device], unseen: None };
        world.step(Input::Surroundings(Surroundings::Elsewhere(found)));
        world.settle();
        world.codes()
    };
    let told = [ProblemCode::NamespaceUnguarded];
    assert_eq!(codes(None), told, "hardware");
    assert_eq!(codes(Some(guarded_index)), []);
    assert_eq!(codes(Some(other)), told);
    assert_eq!(codes(Some(bridge)), told);
    assert_eq!(codes(Some(99)), told, "one that nobody has seen");
    world.kernel.put_below("eth0", "br0");
    world.step(Input::Changed);
    let mut found = Elsewhere { devices: Vec::new(), unseen: None };
    world.step(Input::Surroundings(Surroundings::Elsewhere(found.clone())));
    world.settle();
    assert_eq!(world.codes(), []);
    found.unseen = Some("refused".to_owned());
    world.step(Input::Surroundings(Surroundings::Elsewhere(found)));
    assert_eq!(world.codes(), told);
}
