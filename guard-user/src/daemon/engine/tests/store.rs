//! A store that can't be opened, a disk that refuses, and orders that meet loads on their way to it.

use guard_common::abi::Count;
use guard_common::jurisdiction::Jurisdiction;

use super::inputs::{CONFIG, POST, document, prepared};
use super::world::{Part, World};
use crate::control::protocol::{Request, Response};
use crate::daemon::engine::{Input, Surroundings};
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;
use crate::kernel::{Counters, PermittedCount};
use crate::store::tests::model::ModelDisk;
use crate::store::{Key, Lost, MarkFault, PinCounts, Target, sha256};

fn slots_of(world: &World, key: &Key) -> Vec<u16> {
    world.store.kept().slots_of(std::slice::from_ref(key))
}

#[test]
fn a_store_that_opens_late_opens_what_it_has_with_the_counts_that_the_kernel_kept() {
    let mut world = World::with_one();
    let key = ("a".to_owned(), 1);
    let slot = slots_of(&world, &key)[0];
    world.kernel.spend(slot, 700);
    world.store_is_away = true;
    world.restart();
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new(), "what is open is not known");
    world.store_is_away = false;
    world.rest();
    assert_eq!(world.open(), ["a"]);
    assert_eq!(world.store.kept().record(&key).unwrap().used().bytes, 700, "no count was lost meanwhile");
}

/// What the kernel has counted of what its pin of number 0 permits.
fn crossed(packets: u64) -> Counters {
    let count = Count { packets, bytes: 100 * packets };
    let permitted = vec![PermittedCount { pin: 0, jurisdiction: Jurisdiction::UNKNOWN, count }];
    Counters { permitted, ..Counters::default() }
}

#[test]
fn a_start_without_the_store_keeps_apart_what_was_counted_before_it_and_since() {
    let mut world = World::with_one();
    let generation = world.engine.generation();
    // Of a time before the pin of this number was "mail".
    let mut counts = PinCounts::default();
    counts.switch(&prepared(POST).unwrap().policy.pins, generation, None::<&Counters>);
    counts.switch(&prepared(CONFIG).unwrap().policy.pins, generation, Some(&crossed(3)));
    world.store.save_pin_counts(&counts).unwrap();
    world.kernel.set_counters(crossed(7));
    world.store_is_away = true;
    // The number goes to another pin while nobody can read whose it was.
    world.config = POST;
    world.restart();
    world.rest();
    world.kernel.set_counters(crossed(12));
    world.store_is_away = false;
    world.rest();
    let after = world.store.pin_counts().unwrap();
    assert!(after.pins_of(world.engine.generation()).is_some_and(|pins| pins.len() == 1), "{after:?}");
    let rows = after.by_name(&crossed(12));
    let names: Vec<_> = rows.iter().map(|((pin, _), count)| (pin.as_str(), count.0)).collect();
    assert_eq!(names, [("mail", 4), ("post", 3 + 5)]);
}

/// Neither under the numbers of its pins, nor twice.
#[test]
fn what_was_counted_before_a_store_was_lost_is_booked_once_and_by_name() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.rest();
    world.kernel.set_counters(crossed(7));
    world.rest();
    world.disk = ModelDisk::new();
    world.restart();
    let booked = |world: &World| {
        let rows = world.store.reader().unwrap().counts_by_day().unwrap().into_iter();
        rows.map(|row| (row.judged.pin, row.packets)).collect::<Vec<_>>()
    };
    for _ in 0..7 {
        world.pass(1_000_000_000);
        world.all_but(Part::Kernel);
    }
    assert_eq!(booked(&world), []);
    world.rest();
    assert_eq!(booked(&world), [("mail".to_owned(), 7)]);
}

#[test]
fn a_store_that_opens_late_does_not_open_what_an_order_closed() {
    let mut world = World::with_one();
    world.disk.fail_during(0, 1000);
    let stayed = world.stay("a");
    world.settle();
    assert!(matches!(world.answer(stayed), Response::Error { .. }), "{:?}", world.answers);
    world.store_is_away = true;
    world.restart();
    world.rest();
    world.store_is_away = false;
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
    // What is live is recorded once it is known what was in force before: no record of it is lost.
    assert_eq!(world.codes(), Vec::<ProblemCode>::new(), "and the disk has the order by now");
}

#[test]
fn a_mark_that_the_kernel_refuses_is_tried_again_and_told() {
    let mut world = World::with_one();
    world.disk.fail_during(0, 1000);
    world.kernel.fail(Operation::Hold, 2);
    world.stay("a");
    world.all_but(Part::Store);
    let problems = world.engine.problems(world.clocks());
    assert!(problems.iter().any(|it| it.message.contains("a restart would open it")), "{problems:?}");
    for _ in 0..4 {
        world.pass(1_000_000_000);
        world.all_but(Part::Store);
    }
    let problems = world.engine.problems(world.clocks());
    assert!(!problems.iter().any(|it| it.message.contains("a restart would open it")), "{problems:?}");
    world.restart();
    world.settle();
    assert_eq!(world.open(), Vec::<String>::new());
}

#[test]
fn a_mark_that_is_not_wanted_any_more_is_gone_also_where_that_failed_first() {
    let mut world = World::with_one();
    world.stay("a");
    world.all_but(Part::Store);
    world.kernel.fail(Operation::Hold, 1);
    world.rest();
    assert_eq!(world.kernel.marked(), Vec::<u16>::new());
    let resumed = world.resume("a");
    world.rest();
    assert!(world.is_done(resumed));
    world.restart();
    world.settle();
    assert_eq!(world.open(), ["a"], "no order of before closes it");
}

#[test]
fn a_stay_of_a_version_that_is_replaced_meanwhile_is_marked_in_the_new_one() {
    let mut world = World::with_one();
    world.load("a", 2);
    world.stay("a");
    // The disk takes the load, and then nothing.
    world.work(Part::Store);
    world.disk.fail_during(0, 1000);
    world.settle();
    let slots = slots_of(&world, &("a".to_owned(), 2));
    assert_eq!(world.kernel.marked(), slots, "{:?}", world.answers);
    world.restart();
    world.settle();
    assert_eq!(world.open(), Vec::<String>::new());
}

#[test]
fn a_second_stay_wins_over_a_resumption_that_waits() {
    let mut world = World::with_one();
    let stayed = world.stay("a");
    world.work_until_answered(stayed);
    let resumed = world.resume("a");
    assert!(!world.answers.contains_key(&resumed), "it waits until the counts are settled");
    world.stay("a");
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new(), "the last order counts");
}

#[test]
fn an_instrument_that_falls_right_after_a_load_closes_what_was_loaded() {
    let mut world = World::with_one();
    let document = document("b", 1, world.clocks().wall);
    world.ask(Request::ExemptionLoad {
        document,
        name: "b".into(),
        signatures: Vec::new(),
        dry_run: false,
        refused: false,
    });
    let name = "US-Ireland MLAT 2001".to_owned();
    world.ask(Request::InstrumentInvalidate {
        name,
        why: "it fell".to_owned(),
        not_loaded: false,
        dry_run: false,
    });
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
}

#[test]
fn a_disk_that_refuses_for_long_is_told_for_as_long() {
    let mut world = World::with_one();
    world.disk.fail_during(0, 1000);
    world.stay("a");
    world.rest();
    assert!(world.codes().contains(&ProblemCode::OrderNotKept));
    let problems = world.problems();
    let told = problems.iter().find(|it| it.message.contains("in memory alone"));
    let order = world.store.kept().unsaved_orders().next().unwrap().to_string();
    assert!(
        told.is_some_and(|it| it.message.starts_with(&format!("1 order ({order}) is in memory alone: "))),
        "{problems:?}"
    );
    // What keeps it until then: the file, the kernel's mark alone, or nothing.
    let [file, kernel] = ["is full", "is gone"].map(|why| Some(why.to_owned()));
    for (file, kernel, words) in [
        (None, None, "A restart takes them from high-water.json"),
        (None, kernel.clone(), "A restart takes them from high-water.json"),
        (file.clone(), None, "a restart closes everything"),
        (file, kernel, "A RESTART LOSES THEM"),
    ] {
        let fault = Some(MarkFault { file, kernel }).filter(|it| *it != MarkFault::default());
        world.step(Input::Surroundings(Surroundings::Mark(fault)));
        let problems = world.problems();
        assert!(problems.iter().any(|it| it.message.contains(words)), "{words}: {problems:?}");
    }
    world.step(Input::Surroundings(Surroundings::Mark(None)));
    world.disk.heal();
    world.rest();
    assert!(!world.codes().contains(&ProblemCode::OrderNotKept));
}

#[test]
fn of_two_orders_at_once_the_second_is_refused_and_recorded() {
    let mut world = World::with_one();
    let (first, second) = (world.stay("a"), world.stay("a"));
    world.rest();
    assert!(world.is_done(first), "{:?}", world.answers);
    let Response::Error { message, .. } = world.answer(second) else { panic!("{:?}", world.answers) };
    assert!(message.contains("stands already") && !message.contains("may open it"), "{message}");
    let lines = world.store.audit_lines(0, 100).unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains("\"refusal\"")).count(), 1, "{lines:?}");
    assert_eq!(world.problems(), []);
}

#[test]
fn what_an_order_closed_is_not_shown_as_open_while_the_disk_hangs() {
    let mut world = World::with_one();
    world.stay("a");
    world.all_but(Part::Store);
    let state = |world: &mut World| world.engine.all_summaries(world.clocks())[0].state.name();
    assert_eq!(state(&mut world), "stayed");
    world.rest();
    assert_eq!(state(&mut world), "stayed");
    world.revoke("a");
    world.all_but(Part::Store);
    world.rest();
    assert_eq!(state(&mut world), "revoked");
}

#[test]
fn a_disk_that_refuses_uses_is_a_problem() {
    let mut world = World::with_one();
    let slot = slots_of(&world, &("a".to_owned(), 1))[0];
    world.disk.fail_during(0, 1000);
    world.kernel.spend(slot, 700);
    world.rest();
    assert!(world.codes().contains(&ProblemCode::StoreUnwritable), "{:?}", world.problems());
    world.disk.heal();
    world.rest();
    assert_eq!(world.codes(), []);
    let line = "what the exemptions have used can't be saved";
    let said: Vec<&String> = world.log.iter().filter(|it| it.contains(line)).collect();
    let different: std::collections::BTreeSet<_> = said.iter().collect();
    assert_eq!(said.len(), different.len(), "each is said once: {said:?}");
}

/// Every user who may look may read the trail and the problems.
#[test]
fn no_refusal_in_the_trail_names_a_confidential_instrument() {
    let mut world = World::with_one();
    let document = document("b", 1, world.clocks().wall)
        .replace("pins = ", "confidential = true\npins = ")
        .replace("US-Ireland MLAT 2001", "Harbour case treaty");
    world.ask(Request::ExemptionLoad {
        document,
        name: "b".into(),
        signatures: Vec::new(),
        dry_run: false,
        refused: false,
    });
    world.rest();
    let mut invalidate = |name: &str| {
        let request = Request::InstrumentInvalidate {
            name: name.to_owned(),
            why: "it fell".to_owned(),
            not_loaded: false,
            dry_run: false,
        };
        let ticket = world.ask(request);
        world.rest();
        let lines = world.store.audit_lines(0, 100).unwrap();
        (format!("{:?}", world.answer(ticket)), lines.last().unwrap().clone(), lines.join("\n"))
    };
    // Who asks may read it, and is told which is meant.
    let (answer, last, _) = invalidate("Harbor case treaty");
    assert!(answer.contains("Harbour case treaty"), "{answer}");
    assert!(last.contains(r#""subject":"(confidential)""#), "{last}");
    assert!(last.contains(&format!(r#""subject_sha256":"{}""#, sha256(b"Harbor case treaty"))), "{last}");
    invalidate("Harbour case treaty");
    let (answer, last, all) = invalidate("Harbour case treaty");
    assert!(answer.contains("Harbour case treaty") && answer.contains("already"), "{answer}");
    assert!(last.contains(r#""kind":"refusal""#), "{last}");
    assert!(!all.contains("Harbo"), "{all}");
    // One that everybody may read is named.
    invalidate("US-Ireland MLAT 2001");
    let (_, last, _) = invalidate("US-Ireland MLAT 2001");
    assert!(last.contains(r#""subject":"US-Ireland MLAT 2001""#) && last.contains("refusal"), "{last}");
}

#[test]
fn an_order_is_noted_while_the_store_can_not_be_read_and_holds_when_it_can() {
    let mut world = World::with_one();
    world.store_is_away = true;
    world.restart();
    world.rest();
    let stayed = world.stay("a");
    let list = world.ask(Request::ExemptionList {});
    world.rest();
    world.pass(3_000_000_000);
    world.rest();
    let Response::Error { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert!(message.contains("noted") && message.contains("store can't be read"), "{message}");
    assert!(matches!(world.answer(list), Response::Error { .. }), "not an empty list");
    assert!(world.codes().contains(&ProblemCode::OrderNotKept), "{:?}", world.problems());
    world.store_is_away = false;
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new(), "it never opened");
    let record = world.store.kept().record(&("a".to_owned(), 1)).unwrap().clone();
    assert!(!record.is_active(), "and the disk has the order");
}

#[test]
fn an_order_on_a_pin_is_taken_while_the_store_can_not_be_read() {
    let mut world = World::with_one();
    world.store_is_away = true;
    world.restart();
    world.rest();
    let stayed = world.ask(Request::ExemptionStay {
        target: Target::Pin("mail".to_owned()),
        order: "High Court 7".to_owned(),
        not_loaded: false,
        dry_run: false,
    });
    world.rest();
    let Response::Error { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert!(message.contains("could not be kept"), "{message}");
    // So it is in the file of the mark, which a daemon that is killed leaves behind.
    let unsaved: Vec<String> = world.store.kept().unsaved_orders().map(|it| it.order.clone()).collect();
    assert_eq!(unsaved, ["High Court 7"]);
    world.store_is_away = false;
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new(), "it never opened");
}

#[test]
fn records_that_were_lost_are_recorded_when_the_disk_takes_one_again() {
    let mut world = World::with_one();
    world.disk.fail_during(0, 1000);
    for _ in 0..3 {
        world.ask(Request::Reload {});
        world.rest();
    }
    world.disk.heal();
    // There is nothing else to record.
    world.pass(6_000_000_000);
    world.rest();
    assert_eq!(world.codes(), [ProblemCode::AuditGap]);
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let gaps: Vec<&String> = lines.iter().filter(|line| line.contains("\"kind\":\"gap\"")).collect();
    assert!(matches!(&gaps[..], [gap] if gap.contains("\"lost\":")), "{gaps:?}");
    // A second gap counts what was lost since the first.
    world.disk.fail_during(0, 1000);
    world.ask(Request::Reload {});
    world.rest();
    world.disk.heal();
    world.ask(Request::Reload {});
    world.rest();
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let lost = |line: &String| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        (record["kind"] == "gap").then(|| record["detail"]["lost"].as_u64().unwrap())
    };
    assert_eq!(lines.iter().filter_map(lost).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn what_an_earlier_daemon_could_not_record_the_trail_says_as_soon_as_the_disk_takes_it() {
    let mut world = World::with_one();
    world.disk.fail_during(0, 1000);
    let time = "2026-11-23T11:00:00Z".parse().unwrap();
    world.step(Input::RecordsLost(Lost { count: 7, from: time, to: time, why: "full".to_owned() }));
    world.rest();
    world.step(Input::LossUnkept(Some("nothing can be kept".to_owned())));
    let told = |world: &mut World| {
        world.problems().into_iter().find(|it| it.code == ProblemCode::AuditGap).map(|it| it.message)
    };
    assert!(
        told(&mut world).is_some_and(|it| it.contains("a restart now would lose")),
        "{:?}",
        told(&mut world)
    );
    world.disk.heal();
    world.pass(6_000_000_000);
    world.rest();
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let gaps: Vec<&String> = lines.iter().filter(|line| line.contains("\"kind\":\"gap\"")).collect();
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert!(gap.contains("\"lost\":7") && gap.contains("2026-11-23T11:00:00Z"), "{gap}");
    assert!(told(&mut world).is_some_and(|it| !it.contains("restart")), "what it says is kept now");
    assert!(
        told(&mut world).is_some_and(|it| it.contains("it takes records again")),
        "{:?}",
        told(&mut world)
    );
}
