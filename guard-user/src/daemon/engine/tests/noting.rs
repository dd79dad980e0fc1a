//! Who makes and uses sockets: noted where the config says so, told while it is not, and noted again.

use guard_common::abi::failsafe::minute_at;
use guard_common::abi::{Relay, RelayKey};

use super::super::noting::wants_senders;
use super::super::{Input, NotingFacts};
use super::inputs::{CONFIG, OPEN, prepared, the_only};
use super::world::World;
use crate::control::protocol::Request;
use crate::daemon::runtime;
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;
use crate::kernel::{CgroupHook, ObservedRelay};

/// What the world's log has where sockets that were open already were to be named.
pub(super) const NAMED: &str = "open sockets are named";

impl World {
    fn named(&self) -> usize {
        self.log.iter().filter(|line| *line == NAMED).count()
    }

    /// How what is on cgroups differs from what the config wants.
    pub(super) fn noting_difference(&self) -> Option<String> {
        let mut on: Vec<(CgroupHook, u64)> =
            self.kernel.sockets().iter().map(|it| (it.hook, it.cgroup)).collect();
        on.sort_unstable();
        let at = self.engine.noting_cgroup();
        let wanted: Vec<(CgroupHook, u64)> =
            at.into_iter().flat_map(|at| CgroupHook::OF_SOCKETS.map(|hook| (hook, at))).collect();
        if self.kernel.notes_senders() != self.engine.notes_senders() {
            return Some("who sends is noted, and should not be, or the other way round".to_owned());
        }
        let noted = self.kernel.noted_volumes();
        let asked = self.engine.has_volumes() && self.engine.noting_cgroup().is_some();
        if noted.is_some() != asked {
            return Some("carriers are noted, and should not be, or the other way round".to_owned());
        }
        (on != wanted).then(|| format!("sockets are noted by {on:?}, and should be by {wanted:?}"))
    }

    /// How a look that was made now would find the cgroup in which sockets are noted.
    pub(super) fn noting_facts(&self) -> NotingFacts {
        let policy = prepared(self.config).unwrap().policy;
        let volumes = policy.volumes().into_iter().map(|volume| volume.path).collect();
        runtime::facts::noting(policy.sockets.clone(), wants_senders(&policy), volumes)
    }
}

fn reload(world: &mut World, config: &'static str) {
    world.config = config;
    world.ask(Request::Reload {});
    world.rest();
}

#[test]
fn addresses_that_the_kernel_does_not_know_are_told_where_a_pin_asks_for_them() {
    const BY_HOST: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[bypass]\nrefuse = false\n[[pin]]\nname = \"mail\"\n\
        home = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"host\"]\n";
    let mut world = World::new(CONFIG, &["eth0"]);
    world.kernel.lose_addresses(Some("3 addresses of the host are not known"));
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::AddressesUnknown), "no pin asks for them");
    reload(&mut world, BY_HOST);
    world.settle();
    assert!(world.codes().contains(&ProblemCode::AddressesUnknown));
    world.kernel.lose_addresses(None);
    world.pass(2_000_000_000);
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::AddressesUnknown));
}

#[test]
fn a_budget_that_is_used_up_is_told_until_the_minute_is_over() {
    const BUDGET: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[bypass]\nrefuse = false\n[[failsafe]]\nname = \"ssh\"\n\
        local_ports = [\"tcp/22\"]\npeers = [\"192.0.2.0/24\"]\nbytes_per_minute = 1000\n[[pin]]\nname = \"mail\"\n\
        home = \"IE\"\naction = \"drop\"\n[pin.select]\nports = [\"tcp/143\"]\n";
    let mut world = World::new(BUDGET, &["eth0"]);
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::FailsafeExhausted));
    world.kernel.refuse_failsafe(world.clocks().boot_ns);
    world.pass(1_000_000_000);
    world.settle();
    let told = world.problems().into_iter().find(|problem| problem.code == ProblemCode::FailsafeExhausted);
    let same_minute = minute_at(world.clocks().boot_ns) == minute_at(world.clocks().boot_ns - 1_000_000_000);
    assert_eq!(told.and_then(|problem| problem.subject), same_minute.then(|| "ssh".to_owned()));
    world.pass(60_000_000_000);
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::FailsafeExhausted));
}

#[test]
fn they_are_noted_from_the_start_and_as_a_reload_says() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    assert_eq!((world.noting_difference(), world.problems(), world.named()), (None, vec![], 1));
    let sockets = world.status().sockets;
    assert_eq!((sockets.noted, sockets.attached, sockets.cgroup.as_str()), (true, true, "/"));
    reload(&mut world, OPEN);
    assert_eq!(world.kernel.sockets(), []);
    let sockets = world.status().sockets;
    assert_eq!((sockets.noted, sockets.attached), (false, false));
    reload(&mut world, CONFIG);
    assert_eq!((world.noting_difference(), world.problems()), (None, vec![]));
    assert_eq!(world.named(), 2, "sockets that were made meanwhile are named too");
    world.rest();
    assert_eq!(world.named(), 2);
}

/// [`CONFIG`] with a pin that goes by who sends.
const SENDERS: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\n[pin.select]\nports = [\"tcp/143\"]\nusers = [999]\n";

#[test]
fn who_sends_is_noted_while_a_pin_goes_by_it() {
    let mut world = World::new(SENDERS, &["eth0"]);
    world.kernel.fail(Operation::Sockets, 1);
    world.settle();
    assert_eq!(world.known_problems()[0].code, ProblemCode::SocketsUnnoted);
    world.rest();
    assert_eq!((world.noting_difference(), world.problems()), (None, vec![]));
    assert!(world.kernel.notes_senders());
    world.restart();
    world.settle();
    assert_eq!((world.noting_difference(), world.kernel.notes_senders()), (None, true));
    reload(&mut world, CONFIG);
    assert_eq!((world.noting_difference(), world.kernel.notes_senders()), (None, false));
    reload(&mut world, SENDERS);
    assert!(world.kernel.notes_senders());
}

#[test]
fn hooks_that_are_refused_are_told_and_tried_again() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.kernel.fail(Operation::Sockets, 2);
    world.settle();
    let problem = the_only(world.known_problems());
    assert_eq!((problem.code, problem.subject.as_deref()), (ProblemCode::SocketsUnnoted, Some("cgroup /")));
    assert!(problem.message.contains("the test says so"), "{problem}");
    assert_eq!(world.named(), 0);
    world.rest();
    world.rest();
    assert_eq!((world.problems(), world.noting_difference(), world.named()), (vec![], None, 1));
}

#[test]
fn hooks_that_something_took_off_are_attached_again_and_said() {
    let mut world = World::new(OPEN, &["eth0"]);
    world.config = CONFIG;
    world.ask(Request::Reload {});
    world.rest();
    world.kernel.take_off_cgroups();
    world.step(Input::Changed);
    world.settle();
    assert_eq!(world.noting_difference(), None);
    let said = world.log.iter().filter(|it| it.contains("which note who uses sockets")).count();
    assert_eq!((said, world.named()), (1, 2));
}

/// The links stay, so that nothing is missing; what was opened meanwhile has no facts.
#[test]
fn hooks_that_something_gave_other_programs_are_told_recorded_and_set_back() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let named = world.named();
    world.kernel.exchange_on_cgroups();
    world.step(Input::Changed);
    world.settle();
    assert!(world.kernel.sockets().iter().all(|it| it.is_current));
    assert_eq!((world.noting_difference(), world.named()), (None, named + 1));
    let problems = world.problems();
    let lost = problems.iter().find(|it| it.code == ProblemCode::AttachmentLost).unwrap();
    assert_eq!(lost.subject.as_deref(), Some("cgroup /"));
    assert!(lost.message.contains("it is there again"), "{lost}");
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let recorded = lines.iter().filter(|line| line.contains("taken off by another program"));
    assert_eq!(recorded.filter(|line| line.contains("\"sockets\"")).count(), 1, "{lines:?}");
    world.pass(61_000_000_000);
    assert_eq!(world.problems(), []);
}

#[test]
fn the_next_daemon_takes_the_hooks_over() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let links = |world: &World| world.kernel.sockets().iter().map(|it| it.link).collect::<Vec<_>>();
    let before = links(&world);
    world.restart();
    world.settle();
    assert_eq!((links(&world), world.problems()), (before, vec![]));
    assert!(world.kernel.sockets().iter().all(|it| it.is_current));
}

/// [`CONFIG`] with a pin by volumes: something is mounted at one of them.
const VOLUMES: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\n[pin.select]\nvolumes = [\"/proc\", \"/srv/absent-volume\"]\n";

#[test]
fn carriers_are_noted_while_a_pin_selects_a_volume() {
    let mut world = World::new(VOLUMES, &["eth0"]);
    world.kernel.fail(Operation::Sockets, 1);
    world.settle();
    assert_eq!(world.known_problems()[0].code, ProblemCode::SocketsUnnoted);
    world.rest();
    assert_eq!(world.noting_difference(), None);
    let absent = world.known_problems();
    let absent: Vec<_> = absent.iter().map(|problem| (problem.code, problem.subject.as_deref())).collect();
    assert_eq!(absent, [(ProblemCode::VolumeAbsent, Some("/srv/absent-volume"))]);
    let noted = world.kernel.noted_volumes().unwrap();
    assert_eq!((noted.devices.into_values().collect::<Vec<_>>(), noted.spread), (vec![1], 3));
    // A daemon that starts again goes by the same slots, and so does a config with others before it.
    world.restart();
    world.settle();
    assert_eq!(world.noting_difference(), None);
    let again = world.kernel.noted_volumes().unwrap();
    reload(&mut world, VOLUMES.replace("[\"/proc\"", "[\"/a\", \"/proc\"").leak());
    let more = world.kernel.noted_volumes().unwrap();
    assert_eq!((&more.slots[..2], more.devices.len()), (&again.slots[..2], 1));
    assert_ne!(more.slots[2], 0);
    assert_eq!(world.noting_difference(), None);
    reload(&mut world, CONFIG);
    assert_eq!((world.noting_difference(), world.kernel.noted_volumes()), (None, None));
    assert_eq!(world.problems(), vec![]);
    reload(&mut world, VOLUMES);
    assert_eq!(world.kernel.noted_volumes().unwrap().slots, more.slots);
}

#[test]
fn who_is_handed_data_by_a_carrier_is_a_problem_until_it_is_answered() {
    let mut world = World::new(VOLUMES, &["eth0"]);
    world.settle();
    let handed = |volumes, command: &[u8], cgroup: &str| {
        let mut key = RelayKey::default();
        key.command[..command.len()].copy_from_slice(command);
        let relay = Relay { volumes, process: 7, from: 8, ..Relay::default() };
        let cgroup = Some(cgroup.to_owned()).filter(|it| !it.is_empty());
        ObservedRelay { key, relay, cgroup, from_cgroup: Some("db.slice/db.service".to_owned()) }
    };
    // Both volumes, one that the config does not name, and in no cgroup that is there.
    world.kernel.hand_on(handed(0b11, b"proxy", "web.slice/proxy.service"));
    world.kernel.hand_on(handed(1 << 40, b"other", "web.slice"));
    world.kernel.hand_on(handed(0b1, b"gone", ""));
    world.rest();
    let relays = |world: &mut World| {
        let problems = world.problems().into_iter().filter(|problem| problem.code == ProblemCode::Relay);
        let told = problems.map(|problem| problem.subject.unwrap()).collect::<Vec<_>>();
        let shown = world.status().carriers.relays;
        (told, shown.into_iter().map(|relay| (relay.command, relay.state)).collect::<Vec<_>>())
    };
    let state = |command: &str, state: &str| (command.to_owned(), state.to_owned());
    let shown = vec![state("proxy", "reported"), state("gone", "reported")];
    assert_eq!(relays(&mut world), (vec!["gone".to_owned(), "proxy".to_owned()], shown));
    let message =
        world.problems().into_iter().find(|it| it.subject.as_deref() == Some("proxy")).unwrap().message;
    for part in ["web.slice/proxy.service", "db.slice/db.service", "/proc, /srv/absent-volume"] {
        assert!(message.contains(part), "{message}");
    }
    // One whose cgroup is not known can't be accepted.
    reload(&mut world, format!("{VOLUMES}accept_relays = [\"web.slice\"]\n").leak());
    let shown = vec![state("proxy", "accepted"), state("gone", "reported")];
    assert_eq!(relays(&mut world), (vec!["gone".to_owned()], shown));
    // A carrier is nobody who is told of, and has slots of its own.
    reload(&mut world, format!("{VOLUMES}relays = \"tag\"\n").leak());
    assert_eq!(relays(&mut world), (vec![], vec![]));
    let tagged = world.kernel.noted_volumes().unwrap().tagged;
    assert_eq!(tagged.count_ones(), 2);
    world.kernel.hand_on(handed(tagged, b"proxy", "web.slice/proxy.service"));
    world.rest();
    assert_eq!(relays(&mut world), (vec![], vec![state("proxy", "carrier")]));
}
