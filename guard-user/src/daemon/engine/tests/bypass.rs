//! Ways past the guard: refused where the config says so, told while they are not, and refused again.

use super::super::{BypassFacts, Input};
use super::inputs::{CONFIG, OPEN, prepared, the_only};
use super::world::World;
use crate::audit::NOT_FOUND;
use crate::control::protocol::Request;
use crate::daemon::runtime;
use crate::health::{Health, ProblemCode};
use crate::kernel::memory::Operation;

impl World {
    /// How what is on cgroups differs from what the config wants.
    pub(super) fn bypass_difference(&self) -> Option<String> {
        let on: Vec<u64> = self.kernel.bypass().attachments.iter().map(|it| it.cgroup).collect();
        let wanted: Vec<u64> = self.engine.bypass_cgroup().into_iter().collect();
        (on != wanted)
            .then(|| format!("ways past the guard are refused at {on:?}, and should be at {wanted:?}"))
    }

    /// How a look that was made now would find the cgroups by which ways past the guard are refused.
    pub(super) fn bypass_facts(&self) -> BypassFacts {
        let mut facts = runtime::facts::bypass(prepared(self.config).unwrap().policy.bypass.clone());
        facts.cgroup = facts.cgroup.map(|id| id + self.cgroups_remade);
        facts
    }
}

/// Why the audit trail has that the hook was detached, each time.
fn detached(world: &World) -> Vec<String> {
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let records = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let detached =
        records.filter(|record| record["kind"] == "detach" && record["detail"]["hook"] == "setsockopt");
    detached.map(|record| record["why"].as_str().unwrap_or_default().to_owned()).collect()
}

fn reload(world: &mut World, config: &'static str) {
    world.config = config;
    world.ask(Request::Reload {});
    world.rest();
}

#[test]
fn they_are_refused_from_the_start_and_as_a_reload_says() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let bypass = world.status().bypass;
    assert_eq!((bypass.refused, bypass.attached, bypass.cgroup.as_str()), (true, true, "/"));
    assert_eq!((world.bypass_difference(), world.problems()), (None, vec![]));
    reload(&mut world, OPEN);
    assert_eq!(world.kernel.bypass().attachments, []);
    let bypass = world.status().bypass;
    assert_eq!((bypass.refused, bypass.attached), (false, false));
    reload(&mut world, CONFIG);
    assert_eq!(world.kernel.bypass().attachments.len(), 1);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_host_that_is_only_observed_has_nothing_refused() {
    const OBSERVED: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\nobserve = true\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
         action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[bypass]\nrefuse = true\n";
    let mut world = World::new(OBSERVED, &["eth0"]);
    world.rest();
    assert_eq!((world.status().health, world.kernel.bypass().attachments), (Health::Observing, vec![]));
}

#[test]
fn a_hook_that_is_refused_is_told_and_tried_again() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.kernel.fail(Operation::Bypass, 2);
    world.settle();
    let problem = the_only(world.known_problems());
    assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::BypassOpen, Some("cgroup /")));
    assert!(problem.message.contains("the test says so"), "{problem}");
    world.rest();
    world.rest();
    assert_eq!((world.problems(), world.bypass_difference()), (vec![], None));
}

#[test]
fn a_hook_that_is_said_to_be_attached_and_is_not_seen_is_told() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.take_off_cgroups();
    world.kernel.fail(Operation::NoEffect, 1000);
    world.rest();
    let problems = world.problems();
    let open = problems.iter().find(|it| it.code == ProblemCode::BypassOpen).unwrap();
    assert!(open.message.contains("shows nothing of it"), "{open}");
    world.kernel.heal();
    world.rest();
    assert_eq!(world.bypass_difference(), None);
}

#[test]
fn a_hook_that_something_took_off_is_attached_again_and_told_for_a_minute() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.take_off_cgroups();
    world.step(Input::Changed);
    world.settle();
    assert_eq!(world.bypass_difference(), None);
    let problems = world.problems();
    let of_setsockopt = problems.iter().filter(|problem| problem.message.contains("at setsockopt"));
    let [problem] = &of_setsockopt.collect::<Vec<_>>()[..] else { panic!("{problems:?}") };
    assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::AttachmentLost, Some("cgroup /")));
    assert!(problem.message.contains("it is there again"), "{problem}");
    world.pass(61_000_000_000);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_hook_that_can_not_be_taken_off_is_told_until_it_is() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.fail(Operation::Bypass, 1);
    world.config = OPEN;
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::BypassBehind]);
    world.rest();
    assert_eq!((world.problems(), world.kernel.bypass().attachments), (vec![], vec![]));
}

#[test]
fn the_next_daemon_takes_the_hook_over_without_a_word() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let link = world.kernel.bypass().attachments[0].link;
    world.restart();
    world.settle();
    let attachments = world.kernel.bypass().attachments;
    assert_eq!((attachments.len(), attachments[0].link, attachments[0].is_current), (1, link, true));
    assert_eq!(world.problems(), []);
    let attached =
        |world: &World| world.log.iter().filter(|it| it.contains("are refused, at setsockopt")).count();
    assert_eq!(attached(&world), 2, "once for each daemon");
}

#[test]
fn a_cgroup_that_is_made_anew_is_no_other_programs_doing() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.cgroups_remade = 1000;
    world.kernel.take_off_cgroups();
    world.step(Input::Changed);
    world.settle();
    let problems = world.problems();
    let is_told = problems.iter().any(|it| it.message.contains("the cgroup was removed"));
    assert!(is_told, "{problems:?}");
    assert_eq!(detached(&world), ["its cgroup was removed"]);
}

#[test]
fn a_start_after_a_daemon_that_refused_nothing_is_no_loss() {
    let observes = CONFIG.replace("[host]\n", "[host]\nobserve = true\n");
    assert_ne!(observes, CONFIG);
    for before in [OPEN, String::leak(observes)] {
        let mut world = World::new(before, &["eth0"]);
        world.rest();
        world.config = CONFIG;
        world.restart();
        world.settle();
        assert_eq!(world.problems(), vec![], "{before}");
        assert_eq!(detached(&world), Vec::<String>::new());
    }
}

#[test]
fn a_program_that_a_start_does_not_find_is_told_and_recorded() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.remove_cgroups();
    world.restart();
    world.settle();
    let problems = world.problems();
    assert!(
        matches!(&problems[..], [problem] if problem.message.contains("the daemon's start found no program")),
        "{problems:?}"
    );
    assert_eq!(detached(&world), [NOT_FOUND]);
}

#[test]
fn a_config_that_names_another_cgroup_is_recorded_of_both() {
    use std::os::unix::fs::DirEntryExt;

    const ELSEWHERE: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
         action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[bypass]\ncgroup = \"OWN\"\n";
    // The oldest cgroup of this host but the root: another test's may go meanwhile.
    let root = crate::kernel::cgroup::root();
    let folders = std::fs::read_dir(&root).into_iter().flatten().flatten().filter(|it| it.path().is_dir());
    let Some(own) = folders.min_by_key(DirEntryExt::ino).and_then(|it| it.file_name().into_string().ok())
    else {
        return println!("this host has no cgroup below the root");
    };
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.config = String::leak(ELSEWHERE.replace("OWN", &own));
    world.ask(Request::Reload {});
    world.rest();
    assert_eq!((world.bypass_difference(), world.problems()), (None, vec![]));
    assert_eq!(detached(&world), ["the config names another cgroup"]);
}
