//! What closes does not wait, and nothing but an order on the disk opens it again.

use jiff::SignedDuration;

use super::super::Ticket;
use super::inputs::{CONFIG, document};
use super::world::{Part, World};
use crate::control::protocol::{Request, Response};
use crate::exemption::{State, Summary};
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;
use crate::store::Target;

/// A stay that the kernel has and the disk has just refused.
fn refused_stay() -> (World, Ticket) {
    let mut world = World::with_one();
    world.disk.fail_after(0);
    let stayed = world.stay("a");
    world.work(Part::Sockets);
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    world.work(Part::Store);
    (world, stayed)
}

#[test]
fn a_load_opens_when_the_disk_has_it_and_not_before() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let loaded = world.load("a", 1);
    for _ in 0..20 {
        world.work(Part::Kernel);
    }
    assert_eq!(world.open(), Vec::<String>::new());
    world.work(Part::Store);
    world.settle();
    assert_eq!(world.open(), ["a"]);
    assert!(world.is_done(loaded));
}

#[test]
fn a_stay_is_in_the_kernel_while_the_disk_has_not_answered() {
    let mut world = World::with_one();
    let stayed = world.stay("a");
    world.work(Part::Sockets);
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    assert_eq!(world.open(), Vec::<String>::new());
    assert!(!world.answers.contains_key(&stayed), "the answer waits for the disk");
    world.settle();
    assert!(world.is_done(stayed), "{:?}", world.answer(stayed));
}

#[test]
fn a_stay_waits_for_sockets_but_not_long() {
    let mut world = World::with_one();
    world.stay("a");
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    assert_eq!(world.open(), ["a"], "packets pass until both ends can be told");
    world.pass(20_000_000);
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    assert_eq!(world.open(), Vec::<String>::new(), "whose sockets are many is cut all the same");
}

#[test]
fn a_disk_that_does_not_answer_is_told_after_a_while_and_the_closing_holds() {
    let mut world = World::with_one();
    let stayed = world.stay("a");
    world.work(Part::Sockets);
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    world.pass(2_100_000_000);
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    let Response::Error { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert!(message.contains("no packet passes any more"), "{message}");
    assert_eq!(world.open(), Vec::<String>::new());
}

#[test]
fn a_stay_that_the_disk_refused_holds_over_a_restart_until_it_is_lifted() {
    let (mut world, _) = refused_stay();
    assert_eq!(world.open(), Vec::<String>::new());
    world.restart();
    assert_eq!(world.store.kept().unsaved(), [], "the disk knows nothing of it");
    world.settle();
    assert_eq!(world.open(), Vec::<String>::new(), "and it is not opened all the same");
    world.rest();
    // The daemon may have ended before the kernel refused packets: nothing claims that they were.
    let is_logged =
        |it: &String| it.contains("exemption a had been begun") && it.contains("since this start");
    assert!(world.log.iter().any(is_logged), "{:?}", world.log);
    let list = world.ask(Request::ExemptionOrders {});
    world.rest();
    let Response::Orders { orders } = world.answer(list) else { panic!("{:?}", world.answers) };
    let [order] = &orders[..] else { panic!("{orders:?}") };
    let is_told =
        order.order.contains("had been begun before") && order.order.contains("in force since then");
    assert!(is_told, "{order:?}");
    assert_eq!(world.open(), Vec::<String>::new());
    assert_eq!(world.problems(), [], "the disk has it now");
    let resumed = world.resume("a");
    world.rest();
    assert!(world.is_done(resumed), "{:?}", world.answer(resumed));
    assert_eq!(world.open(), ["a"]);
}

/// The log would have had each order as a problem, and as mended, whose write an input met halfway.
#[test]
fn an_order_that_is_being_written_is_no_problem_until_it_is_late() {
    let mut world = World::with_one();
    let not_kept =
        |world: &World| world.known_problems().iter().any(|it| it.code == ProblemCode::OrderNotKept);
    let stayed = world.stay("a");
    world.work(Part::Sockets);
    for _ in 0..5 {
        world.work(Part::Kernel);
    }
    world.pass(1_000_000_000);
    assert!(world.has_job(Part::Store) && !not_kept(&world), "{:?}", world.known_problems());
    assert!(!world.engine.logged.iter().any(|it| it.code == ProblemCode::OrderNotKept));
    world.pass(1_100_000_000);
    assert!(not_kept(&world), "the disk is late: {:?}", world.known_problems());
    world.rest();
    assert!(world.answers.contains_key(&stayed) && !not_kept(&world));
}

#[test]
fn what_the_disk_refused_is_a_problem_until_it_is_kept() {
    let (mut world, stayed) = refused_stay();
    assert!(world.engine.problems(world.clocks()).iter().any(|it| it.code == ProblemCode::OrderNotKept));
    world.rest();
    let Response::Error { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert!(message.contains("could not be kept"), "{message}");
    assert_eq!(world.problems(), []);
}

#[test]
fn a_stay_that_the_kernel_refused_says_so_and_is_tried_again() {
    let mut world = World::with_one();
    world.kernel.fail(Operation::Publish, 1);
    let stayed = world.stay("a");
    world.settle();
    let Response::Error { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert!(message.contains("STILL PASS"), "{message}");
    assert!(world.codes().contains(&ProblemCode::TablesBehind));
    world.rest();
    assert_eq!((world.open(), world.problems()), (Vec::new(), Vec::new()));
}

#[test]
fn a_stay_of_what_is_about_to_be_resumed_wins() {
    let mut world = World::with_one();
    world.stay("a");
    world.settle();
    world.resume("a");
    let stayed = world.stay("a");
    world.rest();
    assert!(world.is_done(stayed), "{:?}", world.answer(stayed));
    assert_eq!(world.open(), Vec::<String>::new());
}

#[test]
fn a_load_and_an_order_meet_in_any_order_of_workers() {
    let parts = [Part::Kernel, Part::Store, Part::Sockets];
    for seed in 0_usize..200 {
        let mut world = World::with_one();
        world.load("b", 1);
        let mut number = seed;
        for step in 0..6 {
            world.work(parts[number % 3]);
            number /= 3;
            if step == seed % 5 {
                world.stay("a");
            }
        }
        world.rest();
        assert_eq!(world.open(), ["b"], "seed {seed}");
    }
}

#[test]
fn a_window_that_ends_closes_and_a_clock_that_is_set_back_opens_nothing_early() {
    let mut world = World::with_one();
    let published = world.kernel.published();
    world.set_clock(-30);
    world.settle();
    assert!(world.kernel.published() > published, "windows follow the clock");
    assert_eq!(world.open(), ["a"]);
    world.set_clock(2 * 3600);
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
    world.set_clock(-2 * 3600);
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new(), "what expired stays so");
}

#[test]
fn what_ended_stays_so_where_the_clock_is_set_back_before_the_store_has_closed_it() {
    let mut world = World::with_one();
    world.rest();
    // Nothing is done between the two: the daemon only saw that the clock was past the end, and may have said so.
    world.set_clock(2 * 3600);
    world.set_clock(-2 * 3600);
    world.all_but(Part::Store);
    assert_eq!(world.open(), Vec::<String>::new(), "it is not opened to be closed then");
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
    let is_expired = |it: Summary| it.id == "a" && it.state == State::Expired;
    assert!(world.store.kept().list(world.clocks().wall).into_iter().any(is_expired));
    // What is loaded after that and ends before the moment that the clock showed is open.
    world.load("b", 1);
    world.rest();
    assert_eq!(world.open(), ["b"]);
}

/// The kernel judges by a clock that nobody can set: what it has seen the end of is over, though no daemon was there to say
/// so, and the wall clock was set back since.
#[test]
fn what_ended_while_no_daemon_ran_stays_so_where_the_clock_is_set_back_before_the_start() {
    for back in [10, 3 * 3600] {
        let mut world = World::with_one();
        world.rest();
        world.now.boot_ns += 2 * 3600 * 1_000_000_000;
        world.now.wall += SignedDuration::from_secs(2 * 3600 - back);
        world.restart();
        world.all_but(Part::Store);
        assert_eq!(world.open(), Vec::<String>::new(), "{back} s back");
        world.rest();
        assert_eq!(world.open(), Vec::<String>::new(), "{back} s back");
        let is_expired = |it: Summary| it.id == "a" && it.state == State::Expired;
        assert!(world.store.kept().list(world.clocks().wall).into_iter().any(is_expired));
    }
}

#[test]
fn a_resumption_right_after_a_stay_waits_until_its_counts_are_settled() {
    let mut world = World::with_one();
    let stayed = world.stay("a");
    world.work_until_answered(stayed);
    let resumed = world.resume("a");
    world.settle();
    assert!(world.is_done(resumed), "{:?}", world.answer(resumed));
    assert_eq!(world.open(), ["a"]);
}

#[test]
fn what_two_orders_hold_passes_when_the_last_is_lifted_and_nothing_is_loaded_before() {
    let mut world = World::with_one();
    let order = |world: &mut World, target: Target, order: &str| {
        let order = order.to_owned();
        let asked = Request::ExemptionStay { target, order, not_loaded: false, dry_run: false };
        let ticket = world.ask(asked);
        world.rest();
        world.answer(ticket).clone()
    };
    let lift = |world: &mut World, target: Target, order: Option<&str>| {
        let (order, why) = (order.map(str::to_owned), "lifted".to_owned());
        let ticket = world.ask(Request::ExemptionResume {
            target,
            order,
            why,
            lift: None,
            dry_run: false,
            to_sign: false,
        });
        world.rest();
        world.answer(ticket).clone()
    };
    let a = || Target::Id("a".to_owned());
    let pin = || Target::Pin("mail".to_owned());
    let refused = order(&mut world, Target::Pin("no-pin".to_owned()), "High Court 1");
    assert!(
        matches!(&refused, Response::Error { message, .. } if message.contains("--not-loaded")),
        "{refused:?}"
    );
    assert!(matches!(order(&mut world, a(), "High Court 1"), Response::Done { .. }));
    assert!(matches!(order(&mut world, pin(), "Court of Appeal 2"), Response::Done { .. }));
    assert_eq!(world.open(), Vec::<String>::new());
    let answer = lift(&mut world, a(), Some("High Court 1"));
    assert!(
        matches!(&answer, Response::Done { message, .. } if message.contains("Court of Appeal 2")),
        "{answer:?}"
    );
    assert_eq!(world.open(), Vec::<String>::new());
    let document = document("b", 1, world.clocks().wall);
    let load = |dry_run| Request::ExemptionLoad {
        document: document.clone(),
        name: "b".into(),
        signatures: Vec::new(),
        dry_run,
        refused: false,
    };
    for dry_run in [true, false] {
        let ticket = world.ask(load(dry_run));
        world.rest();
        let answer = world.answer(ticket);
        assert!(
            matches!(answer, Response::Error { message, .. } if message.contains("Court of Appeal 2")),
            "{answer:?}"
        );
    }
    assert!(matches!(lift(&mut world, pin(), None), Response::Done { .. }));
    assert_eq!(world.open(), ["a"]);
    assert_eq!(world.problems(), []);
}

/// [`CONFIG`](super::inputs::CONFIG) with a pin that permits where the exemption's recipient is.
const PERMITS: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     permit = [\"US\"]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n";

#[test]
fn what_passes_by_the_policy_itself_is_told_with_each_closing_and_with_the_load() {
    let mut world = World::new(PERMITS, &["eth0"]);
    world.settle();
    let loaded = world.load("a", 1);
    world.rest();
    let Response::Done { message, .. } = world.answer(loaded) else { panic!("{:?}", world.answers) };
    assert!(
        message.ends_with("; NOT NEEDED, and with no use that is counted, as far as the pin mail permits US"),
        "{message}"
    );
    let planned = world.ask(Request::ExemptionStay {
        target: Target::Id("a".to_owned()),
        order: "High Court 1".to_owned(),
        not_loaded: false,
        dry_run: true,
    });
    world.rest();
    let still =
        "data STILL PASSES by the policy itself, whatever exemptions there are: the pin mail permits US; ";
    let Response::Planned { message, .. } = world.answer(planned) else { panic!("{:?}", world.answers) };
    assert!(message.starts_with(&format!("{still}would be stayed: a")), "{message}");
    let stayed = world.stay("a");
    world.rest();
    let Response::Done { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert_eq!(*message, format!("{still}stayed: a"));
    let mut world = World::with_one();
    let stayed = world.stay("a");
    world.rest();
    let Response::Done { message, .. } = world.answer(stayed) else { panic!("{:?}", world.answers) };
    assert_eq!(message, "stayed: a");
}

/// [`CONFIG`](super::inputs::CONFIG) with a failsafe rule to where the exemption's recipient is.
const RESCUE: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n[[failsafe]]\nname = \"rescue\"\n\
     peers = [\"203.0.113.0/24\"]\nbytes_per_minute = 1000\n[[failsafe]]\nname = \"other\"\npeers = [\"192.0.2.0/24\"]\n\
     [[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n";

/// Every closing says it where the config only observes, or the pin is gone, whatever it is on.
#[test]
fn what_a_config_that_only_observes_lets_pass_is_told_with_each_closing() {
    let observes = RESCUE.replace("interfaces =", "observe = true\ninterfaces =");
    let gone = RESCUE.replace("name = \"mail\"", "name = \"records\"");
    for (text, passes) in [
        (observes, "the config only observes (`host.observe`); "),
        (gone, "the config has no pin mail, and by that name judges nothing; "),
    ] {
        for target in [Target::Id("a".to_owned()), Target::Pin("mail".to_owned())] {
            let mut world = World::new(RESCUE, &["eth0"]);
            world.settle();
            world.load("a", 1);
            world.rest();
            world.config = text.clone().leak();
            world.ask(Request::Reload {});
            world.rest();
            let asked = world.ask(Request::ExemptionStay {
                target: target.clone(),
                order: "High Court 1".to_owned(),
                not_loaded: true,
                dry_run: false,
            });
            world.rest();
            let (Response::Done { message, .. } | Response::Planned { message, .. }) = world.answer(asked)
            else {
                panic!("{:?}", world.answers)
            };
            let still =
                format!("data STILL PASSES by the policy itself, whatever exemptions there are: {passes}");
            assert!(message.starts_with(&still), "{target:?}: {message}");
        }
    }
}

/// No order reaches what a failsafe rule lets pass: each says so, whatever it is on.
#[test]
fn what_passes_by_a_failsafe_rule_is_told_with_each_closing() {
    let stay = |target: Target, dry_run| Request::ExemptionStay {
        target,
        order: "High Court 1".to_owned(),
        not_loaded: false,
        dry_run,
    };
    let recipient = || Target::Recipient("Requesting authority".to_owned());
    let by_rescue = "the failsafe rule rescue lets packets of the pin mail pass to";
    let of_recipient = format!("{by_rescue} US, 1000 bytes a minute at most; ");
    let of_pin = format!(
        "the failsafe rule other lets packets of the pin mail pass to its peers, {by_rescue} its peers, 1000 "
    );
    let why = || "withdrawn".to_owned();
    let instrument = "US-Ireland MLAT 2001".to_owned();
    let closings = [
        (stay(Target::Id("a".to_owned()), true), &of_recipient),
        (stay(Target::Id("a".to_owned()), false), &of_recipient),
        (stay(recipient(), false), &of_recipient),
        (stay(Target::Instrument(instrument.clone()), false), &of_recipient),
        (stay(Target::Pin("mail".to_owned()), true), &of_pin),
        (stay(Target::Pin("mail".to_owned()), false), &of_pin),
        (stay(Target::All, false), &of_pin),
        (Request::ExemptionRevoke { id: "a".to_owned(), why: why(), dry_run: false }, &of_recipient),
        (
            Request::InstrumentInvalidate { name: instrument, why: why(), not_loaded: false, dry_run: false },
            &of_recipient,
        ),
    ];
    for (request, passes) in closings {
        let mut world = World::new(RESCUE, &["eth0"]);
        world.settle();
        world.load("a", 1);
        world.rest();
        let asked = world.ask(request.clone());
        world.rest();
        let (Response::Done { message, .. } | Response::Planned { message, .. }) = world.answer(asked) else {
            panic!("{:?}", world.answers)
        };
        let still =
            format!("data STILL PASSES by the policy itself, whatever exemptions there are: {passes}");
        assert!(message.starts_with(&still), "{request:?}: {message}");
    }
    // Also where nothing is open any more that the order covers.
    let mut world = World::new(RESCUE, &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.rest();
    world.revoke("a");
    world.rest();
    for (target, passes) in [(recipient(), &of_recipient), (Target::Pin("mail".to_owned()), &of_pin)] {
        let asked = world.ask(stay(target, false));
        world.rest();
        let Response::Done { message, .. } = world.answer(asked) else { panic!("{:?}", world.answers) };
        assert!(message.contains(passes.as_str()) && message.contains("the order is kept"), "{message}");
    }
}
