//! Whatever happens in whatever order: nothing is more open than the store says nor than an order allows, what is
//! wanted and what is seen meet in the end, and no difference is without a problem.

use proptest::prelude::*;

use super::super::Input;
use super::databases::OnDisk;
use super::inputs::{BAD, CONFIG, ONE, OPEN};
use super::unconfirmed::apply_for;
use super::world::{Part, World};
use crate::control::protocol::Request;
use crate::health::{Problem, ProblemCode};
use crate::kernel::memory::{MemoryKernel, Operation};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Load(u8),
    Stay(u8),
    Resume(u8),
    Revoke(u8),
    Invalidate,
    Reload(u8),
    ReplaceDatabases(u8),
    AcceptDatabases,
    Apply(u8, u8),
    Confirm(bool),
    Work(u8, u8),
    Pass(u16),
    SetClock(i16),
    Add(u8),
    Delete(u8),
    Rename(u8, u8),
    TakeOff(u8),
    TakeOffCgroups,
    RemoveEntries,
    Tamper(u8),
    Changed,
    FailKernel(u8, u8),
    FailDisk(u8),
    Spend(u8),
    Restart,
    StoreAway(bool),
    Status,
}

const NAMES: [&str; 4] = ["eth0", "eth1", "stor0", "eth2"];
const IDS: [&str; 3] = ["a", "b", "c"];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u8..3).prop_map(Event::Load),
        4 => (0_u8..3).prop_map(Event::Stay),
        3 => (0_u8..3).prop_map(Event::Resume),
        1 => (0_u8..3).prop_map(Event::Revoke),
        1 => Just(Event::Invalidate),
        2 => (0_u8..4).prop_map(Event::Reload),
        2 => (0_u8..3).prop_map(Event::ReplaceDatabases),
        1 => Just(Event::AcceptDatabases),
        2 => (0_u8..4, 1_u8..10).prop_map(|(which, seconds)| Event::Apply(which, seconds)),
        1 => any::<bool>().prop_map(Event::Confirm),
        12 => (0_u8..5, 1_u8..6).prop_map(|(part, times)| Event::Work(part, times)),
        3 => (0_u16..6000).prop_map(Event::Pass),
        1 => (-5000_i16..5000).prop_map(Event::SetClock),
        1 => (0_u8..4).prop_map(Event::Add),
        1 => (0_u8..4).prop_map(Event::Delete),
        2 => (0_u8..4, 0_u8..4).prop_map(|(from, to)| Event::Rename(from, to)),
        1 => (0_u8..4).prop_map(Event::TakeOff),
        1 => Just(Event::TakeOffCgroups),
        1 => Just(Event::RemoveEntries),
        2 => any::<u8>().prop_map(Event::Tamper),
        2 => Just(Event::Changed),
        2 => (0_u8..11, 1_u8..3).prop_map(|(operation, times)| Event::FailKernel(operation, times)),
        2 => (0_u8..12).prop_map(Event::FailDisk),
        1 => (0_u8..8).prop_map(Event::Spend),
        1 => Just(Event::Restart),
        1 => any::<bool>().prop_map(Event::StoreAway),
        1 => Just(Event::Status),
    ]
}

fn happen(world: &mut World, event: &Event, versions: &mut [u32; 3]) {
    let id = |at: u8| IDS[usize::from(at)];
    let name = |at: u8| NAMES[usize::from(at)];
    match *event {
        Event::Load(at) => {
            versions[usize::from(at)] += 1;
            world.load(id(at), versions[usize::from(at)]);
        }
        Event::Stay(at) => drop(world.stay(id(at))),
        Event::Resume(at) => drop(world.resume(id(at))),
        Event::Revoke(at) => drop(world.revoke(id(at))),
        Event::Invalidate => {
            let name = "US-Ireland MLAT 2001".to_owned();
            world.ask(Request::InstrumentInvalidate {
                name,
                why: "it fell".to_owned(),
                not_loaded: false,
                dry_run: false,
            });
        }
        Event::Reload(which) => {
            world.config = [CONFIG, ONE, BAD, OPEN][usize::from(which)];
            world.ask(Request::Reload {});
        }
        Event::ReplaceDatabases(which) => {
            world.on_disk = [OnDisk::Good, OnDisk::Waiting, OnDisk::Bad][usize::from(which)];
            world.step(Input::DatabasesReplaced);
        }
        Event::AcceptDatabases => drop(world.ask(Request::GeoAccept {})),
        Event::Apply(which, seconds) => {
            let text = [CONFIG, ONE, BAD, OPEN][usize::from(which)];
            world.ask(apply_for(text, u64::from(seconds)));
        }
        Event::Confirm(roll_back) => drop(world.ask(Request::Confirm { roll_back })),
        Event::Work(part, times) => {
            let parts = [Part::Kernel, Part::Store, Part::Sockets, Part::Sampler, Part::Loader];
            for _ in 0..times {
                world.work(parts[usize::from(part)]);
            }
        }
        Event::Pass(millis) => world.pass(u64::from(millis) * 1_000_000),
        Event::SetClock(seconds) => world.set_clock(i64::from(seconds)),
        Event::Add(at) => drop(world.kernel.add(name(at))),
        Event::Delete(at) => world.kernel.delete(name(at)),
        Event::Rename(from, to) => world.kernel.rename(name(from), name(to)),
        Event::TakeOff(at) => world.kernel.take_off(name(at)),
        Event::TakeOffCgroups => world.kernel.take_off_cgroups(),
        Event::RemoveEntries => world.kernel.remove_entries(),
        Event::Tamper(table) => {
            let tables = MemoryKernel::tables();
            world.kernel.tamper(tables[usize::from(table) % tables.len()]);
        }
        Event::Changed => world.step(Input::Changed),
        Event::FailKernel(operation, times) => {
            let all = [
                Operation::Publish,
                Operation::Wait,
                Operation::Observe,
                Operation::Attach,
                Operation::Release,
                Operation::Uses,
                Operation::Reset,
                Operation::Hold,
                Operation::Restore,
                Operation::Bypass,
                Operation::Sockets,
            ];
            world.kernel.fail(all[usize::from(operation)], u32::from(times));
        }
        Event::FailDisk(steps) => world.disk.fail_after(usize::from(steps)),
        Event::Spend(slot) => world.kernel.spend(u16::from(slot), 1500),
        Event::Restart => {
            if world.config == BAD {
                world.config = CONFIG;
            }
            world.restart();
        }
        Event::StoreAway(is_away) => world.store_is_away = is_away,
        Event::Status => drop(world.ask(Request::Status {})),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The world itself holds every generation against the store and the orders as it is made.
    #[test]
    fn nothing_opens_that_may_not_and_all_is_well_in_the_end(events in prop::collection::vec(event(), 1..60)) {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        let mut versions = [0; 3];
        for event in &events {
            happen(&mut world, event, &mut versions);
        }
        // Failures end.
        world.kernel.heal();
        world.disk.heal();
        world.store_is_away = false;
        world.on_disk = OnDisk::Good;
        if world.config == BAD {
            world.config = CONFIG;
        }
        // By then nothing waits for a confirmation.
        world.rest();
        world.rest();
        let reload = world.ask(Request::Reload {});
        world.rest();
        world.rest();
        prop_assert!(world.is_done(reload), "{:?}", world.answers.get(&reload));

        // What is wanted and what is seen have met.
        let kept = world.store.kept();
        let open: Vec<String> = world.open();
        let active = kept.list(world.clocks().wall).into_iter().filter(super::world::is_open);
        let mut wanted: Vec<String> = active.map(|it| it.id).collect();
        wanted.sort();
        let mut open = open;
        open.sort();
        prop_assert_eq!(&open, &wanted);
        for id in world.closings.values() {
            prop_assert!(!open.contains(id), "{} was closed, and is open", id);
        }
        prop_assert_eq!(world.kernel.tampered(), Vec::<&str>::new());
        prop_assert_eq!(world.bypass_difference(), None);
        prop_assert_eq!(world.noting_difference(), None);
        let problems = world.problems();
        // A name that no interface has, a record that no disk took, and a clock that a start found behind stay; what was taken
        // off is told for a while.
        let stays = |it: &&Problem| {
            use ProblemCode::{AttachmentLost, AuditGap, InterfaceMissing};
            matches!(it.code, InterfaceMissing | AuditGap | AttachmentLost)
                || it.message.contains("the wall clock is behind")
        };
        let others: Vec<_> = problems.iter().filter(|it| !stays(it)).collect();
        let nothing_to_guard = world.kernel.guarded().is_empty();
        prop_assert!(nothing_to_guard || others.is_empty(), "{:?}\n{:?}", others, world.log.iter().rev().take(8).collect::<Vec<_>>());
        // Every request was answered.
        for ticket in world.tickets() {
            let is_answered = world.answers.contains_key(&ticket) || world.lost.contains(&ticket);
            prop_assert!(is_answered, "{:?} has no answer", ticket);
        }
    }

    /// While anything differs, the status says so or it is being mended at this very moment.
    #[test]
    fn no_difference_is_without_a_problem(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        let mut versions = [0; 3];
        for event in &events {
            happen(&mut world, event, &mut versions);
        }
        world.step(Input::Changed);
        // What a look could not read in time for what it was for, the next look is for.
        let mut differs = Vec::new();
        for _ in 0..3 {
            world.pass(6_000_000_000);
            world.settle();
            differs = world.differences();
            if differs.is_empty() || !world.known_problems().is_empty() {
                return Ok(());
            }
        }
        prop_assert!(false, "{:?}", differs);
    }
}
