//! A config that was applied goes by itself unless it is confirmed, whatever happens meanwhile.

use super::inputs::{BAD, CONFIG, ONE, STOR, TWO};
use super::world::World;
use crate::audit::{Kind, Who};
use crate::control::protocol::{ApplyWanted, ErrorKind, Request, Response};
use crate::daemon::engine::{Asker, Input, SignedFile, Ticket};
use crate::digest::sha256;
use crate::exemption::record::ApprovedBy;
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;

const SECOND: u64 = 1_000_000_000;
/// A config without a pin.
const NO_PIN: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\n";

fn apply(text: &str) -> Request {
    apply_for(text, 300)
}

/// Asks for a candidate that waits for so many seconds.
pub(super) fn apply_for(text: &str, seconds: u64) -> Request {
    let (name, config) = ("/root/new.toml".into(), text.to_owned());
    let wanted = ApplyWanted { name, config, signatures: Vec::new(), seconds, guard_nothing: false };
    Request::Apply { wanted: Box::new(wanted) }
}

/// Asks for a candidate by which nothing need be guarded.
fn apply_to_guard_nothing(text: &str) -> Request {
    let Request::Apply { mut wanted } = apply(text) else { panic!("another request") };
    wanted.guard_nothing = true;
    Request::Apply { wanted }
}

/// A host that guards two interfaces, with a candidate that is live and guards one.
fn with_candidate() -> World {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    done(&mut world, apply(ONE));
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    world
}

fn ask(world: &mut World, request: Request) -> Ticket {
    let ticket = world.ask(request);
    world.settle();
    ticket
}

fn done(world: &mut World, request: Request) -> String {
    let ticket = ask(world, request);
    let Response::Done { message, .. } = world.answer(ticket) else { panic!("{:?}", world.answer(ticket)) };
    message.clone()
}

fn refused(world: &mut World, request: Request) -> (ErrorKind, String) {
    let ticket = ask(world, request);
    let Response::Error { kind, message, .. } = world.answer(ticket) else {
        panic!("{:?}", world.answer(ticket))
    };
    (*kind, message.clone())
}

/// How often the trail has a record of this kind, and why the last one is there.
fn recorded(world: &World, kind: Kind) -> (usize, String) {
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let records = lines.iter().map(|line| crate::audit::Stored::read(line.as_bytes()).unwrap());
    let of_kind: Vec<_> = records.filter(|record| record.kind == kind.name()).collect();
    (of_kind.len(), of_kind.last().map(|it| it.why.clone()).unwrap_or_default())
}

/// Whether a signature of this config counts no more.
fn is_spent(world: &World, text: &str) -> bool {
    world.store.kept().spent_signatures().unwrap().configs.contains(&sha256(text.as_bytes()))
}

/// What guards nothing takes a word of its own, and the way back guards again, or that is told.
#[test]
fn one_that_guards_no_interface_takes_a_word_of_its_own_and_the_way_back_guards_again() {
    for fails in [false, true] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        for (text, why) in [(STOR, "no interface of this host matches"), (NO_PIN, "it has no pin")] {
            let (kind, message) = refused(&mut world, apply(text));
            assert!(kind == ErrorKind::Failed && message.contains("guards no interface"), "{message}");
            assert!(message.contains(why) && message.contains("--guard-nothing"), "{message}");
            assert_eq!(world.kernel.guarded(), ["eth0"]);
        }
        let message = done(&mut world, apply_to_guard_nothing(STOR));
        assert!(message.contains("NOTHING is guarded now"), "{message}");
        assert!(world.kernel.guarded().is_empty() && world.codes().contains(&ProblemCode::NothingGuarded));
        if fails {
            world.kernel.fail(Operation::Attach, 1000);
        }
        world.pass(300 * SECOND);
        world.rest();
        let codes = world.codes();
        match fails {
            false => assert_eq!((world.kernel.guarded(), codes), (vec!["eth0".to_owned()], vec![])),
            true => {
                let both = [ProblemCode::NothingGuarded, ProblemCode::InterfaceNotGuarded];
                assert!(both.iter().all(|code| codes.contains(code)), "{codes:?}");
            }
        }
    }
}

#[test]
fn it_goes_when_its_time_is_over() {
    let mut world = with_candidate();
    let waits = world.status().unconfirmed.unwrap();
    assert_eq!(
        (waits.config.as_str(), waits.by.as_str(), waits.seconds_left),
        ("/root/new.toml", "root", 300)
    );
    assert_eq!(waits.sha256, sha256(ONE.as_bytes()));
    world.pass(299 * SECOND);
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    // Whatever the wall clock says.
    world.set_clock(-86_400);
    assert_eq!(world.status().unconfirmed.unwrap().seconds_left, 1);
    world.pass(SECOND);
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    assert_eq!(world.status().unconfirmed, None);
    assert_eq!(recorded(&world, Kind::RollBack), (1, "nobody confirmed it in time".to_owned()));
    assert_eq!((recorded(&world, Kind::Apply).0, recorded(&world, Kind::Confirm).0), (1, 0));
    // Neither was replaced by another one that anybody agreed to.
    assert!(!is_spent(&world, ONE) && !is_spent(&world, CONFIG));
    assert_eq!(world.codes(), [crate::health::ProblemCode::ClockSet]);
    assert_eq!(refused(&mut world, Request::Confirm { roll_back: false }).0, ErrorKind::NotFound);
    // Once more.
    done(&mut world, apply(ONE));
    assert_eq!(world.kernel.guarded(), ["eth0"]);
}

#[test]
fn it_stays_when_it_is_confirmed() {
    let mut world = with_candidate();
    world.pass(200 * SECOND);
    let message = done(&mut world, Request::Confirm { roll_back: false });
    assert!(message.contains("is policy.toml now"), "{message}");
    assert_eq!(world.status().unconfirmed, None);
    world.pass(200 * SECOND);
    world.rest();
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    assert_eq!((recorded(&world, Kind::RollBack).0, recorded(&world, Kind::Confirm).0), (0, 1));
    assert!(is_spent(&world, CONFIG) && !is_spent(&world, ONE), "the mark has moved");
    assert_eq!(world.config, ONE, "what the file has now");
    world.restart();
    world.settle();
    assert_eq!((world.kernel.guarded(), recorded(&world, Kind::RollBack).0), (vec!["eth0".to_owned()], 0));
}

#[test]
fn it_goes_at_once_where_that_is_asked_for() {
    let mut world = with_candidate();
    let message = done(&mut world, Request::Confirm { roll_back: true });
    assert!(message.contains("not live any more"), "{message}");
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    assert_eq!(recorded(&world, Kind::RollBack), (1, "it was asked for".to_owned()));
}

#[test]
fn a_start_goes_by_the_config_before_it() {
    let mut world = with_candidate();
    world.step(Input::Stop { with_host: false });
    world.settle();
    assert!(world.has_ended && world.log.iter().any(|line| line.contains("the kernel goes on by it")));
    world.has_ended = false;
    world.restart();
    world.settle();
    assert_eq!(
        (world.kernel.guarded(), world.status().unconfirmed),
        (vec!["eth0".to_owned(), "eth1".to_owned()], None)
    );
    let (count, why) = recorded(&world, Kind::RollBack);
    assert!(count == 1 && why.contains("started anew"), "{why}");
    assert!(!is_spent(&world, ONE) && !is_spent(&world, CONFIG));
    assert_eq!(world.store.reader().unwrap().last_config().unwrap().unwrap().bytes, CONFIG.as_bytes());
    // Once.
    world.restart();
    world.settle();
    assert_eq!(recorded(&world, Kind::RollBack).0, 1);
}

/// What left by an interface since a candidate let it go is told by itself, and the trail has that detachment.
#[test]
fn a_start_tells_what_left_since_a_candidate_let_an_interface_go() {
    let mut world = World::new(CONFIG, &["eth0"]);
    let index = world.kernel.add("eth1");
    world.kernel.send(index, 90);
    world.settle();
    world.kernel.send(index, 10);
    world.kernel.send_when_let_go(index, 4);
    done(&mut world, apply_to_guard_nothing(STOR));
    assert_eq!((world.kernel.guarded().len(), recorded(&world, Kind::Detach).0), (0, 2));
    world.kernel.send(index, 7);
    world.restart();
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    let late = world.problems().into_iter().filter(|it| it.code == ProblemCode::GuardedLate);
    let late: Vec<String> = late.map(|it| it.message).collect();
    let [told] = late.as_slice() else { panic!("{late:?}") };
    assert!(told.contains("it sent 11 packets in between") && told.contains("had let it go at"), "{told}");
    assert_eq!(recorded(&world, Kind::Detach), (2, String::new()));
}

#[test]
fn an_order_that_was_given_meanwhile_stands_after_it() {
    let mut world = World::with_one();
    done(&mut world, apply(TWO));
    assert_eq!((world.open(), world.kernel.pins()), (vec!["a".to_owned()], 2));
    let stayed = world.stay("a");
    world.settle();
    assert!(world.is_done(stayed) && world.open().is_empty(), "{:?}", world.answers);
    world.pass(301 * SECOND);
    world.rest();
    assert_eq!((world.kernel.pins(), world.open()), (1, vec![]));
    assert_eq!(world.differences(), Vec::<String>::new());
}

#[test]
fn a_way_back_that_the_kernel_refuses_is_a_problem_and_tried_again() {
    let mut world = with_candidate();
    world.kernel.fail(Operation::Publish, 1000);
    world.pass(301 * SECOND);
    world.settle();
    assert!(world.codes().contains(&ProblemCode::RollBackFailed), "{:?}", world.problems());
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    world.kernel.heal();
    world.rest();
    assert_eq!((world.kernel.guarded().len(), world.problems()), (2, vec![]));
    assert_eq!(recorded(&world, Kind::RollBack).0, 1);
}

#[test]
fn a_candidate_that_the_kernel_refuses_leaves_the_one_before_it() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.kernel.fail(Operation::Publish, 1);
    assert_eq!(refused(&mut world, apply(ONE)).0, ErrorKind::Failed);
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    let (kind, message) = refused(&mut world, apply(BAD));
    assert!(kind == ErrorKind::BadInput && message.starts_with("not applied"), "{message}");
    assert_eq!(world.status().unconfirmed, None);
    assert_eq!(recorded(&world, Kind::Refusal).0, 2);
    world.kernel.heal();
    world.rest();
    assert_eq!(world.problems(), []);
}

#[test]
fn what_reads_configs_and_databases_waits_for_it() {
    let mut world = with_candidate();
    for request in [Request::Reload {}, Request::ReloadPlan {}, Request::GeoAccept {}, apply(TWO)] {
        let (kind, message) = refused(&mut world, request);
        assert!(kind == ErrorKind::Busy && message.contains("borderguard confirm"), "{message}");
    }
    world.step(Input::Hangup);
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    let before = world.status().generation;
    world.pass(301 * SECOND);
    world.rest();
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    assert!(world.status().generation > before + 1, "the databases are taken then");
    done(&mut world, Request::Reload {});
}

#[test]
fn a_plan_changes_nothing() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    let before = world.status().generation;
    for (config, says) in [(ONE, "not guarded any more: eth1"), (CONFIG, "would be reloaded")] {
        world.config = config;
        let plan = ask(&mut world, Request::ReloadPlan {});
        let Response::Planned { message, .. } = world.answer(plan) else {
            panic!("{:?}", world.answer(plan))
        };
        assert!(message.contains(says), "{message}");
    }
    world.config = BAD;
    let (kind, message) = refused(&mut world, Request::ReloadPlan {});
    assert!(kind == ErrorKind::BadInput && message.contains("would stay live"), "{message}");
    assert_eq!((world.status().generation, world.problems()), (before, vec![]));
    assert_eq!((recorded(&world, Kind::Reload).0, recorded(&world, Kind::Refusal).0), (0, 0));
}

/// What opens is on the disk before it is live, as of a reload; what is confirmed is recorded as signed once.
#[test]
fn who_signed_it_is_recorded_first() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    let by = ApprovedBy { identity: "anne".to_owned(), role: None, fingerprint: "SHA256:x".to_owned() };
    let (digest, opens) = (sha256(ONE.as_bytes()), "the pin mail".to_owned());
    world.signed = vec![SignedFile { file: "new.toml".into(), sha256: digest, opens, by: vec![by] }];
    world.disk.fail_during(0, 1000);
    let (_, message) = refused(&mut world, apply(ONE));
    assert!(message.contains("can't have who signed it"), "{message}");
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.disk.heal();
    world.rest();
    done(&mut world, apply(ONE));
    done(&mut world, Request::Confirm { roll_back: false });
    assert_eq!((world.kernel.guarded(), recorded(&world, Kind::Approval).0), (vec!["eth0".to_owned()], 1));
}

#[test]
fn it_is_roots_alone() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    let who = Who { uid: 1001, user: Some("aoife".to_owned()), pid: None };
    let ticket = Ticket(9_999);
    world.step(Input::Request {
        ticket,
        request: apply(ONE),
        asker: Asker { who, sees_all: true, sees_people: true },
    });
    world.settle();
    let Response::Error { kind, .. } = world.answer(ticket) else { panic!("{:?}", world.answers) };
    assert_eq!((*kind, world.kernel.guarded().len()), (ErrorKind::NotPermitted, 2));
    assert_eq!(recorded(&world, Kind::Refusal).0, 1);
}

/// What a revoked key has signed does not go on until its time is over.
#[test]
fn it_goes_at_once_where_a_key_is_revoked_that_signed_it() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    let [own, other] = ["A", "B"].map(|first| format!("SHA256:{first}{}", "A".repeat(42)));
    let by = ApprovedBy { identity: "anne".to_owned(), role: None, fingerprint: own.clone() };
    let (digest, opens) = (sha256(ONE.as_bytes()), "the pin mail".to_owned());
    world.signed = vec![SignedFile { file: "new.toml".into(), sha256: digest, opens, by: vec![by] }];
    done(&mut world, apply(ONE));
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    let revoke = |key: &str| Request::ApprovalRevoke {
        key: key.to_owned(),
        why: "lost".to_owned(),
        unknown: true,
        dry_run: false,
    };
    done(&mut world, revoke(&other));
    world.rest();
    assert_eq!(world.kernel.guarded(), ["eth0"], "another key");
    let message = done(&mut world, revoke(&own));
    assert!(
        message.contains("/root/new.toml, which was applied and is signed with it, goes back"),
        "{message}"
    );
    world.rest();
    assert_eq!(
        (world.kernel.guarded(), world.status().unconfirmed),
        (vec!["eth0".to_owned(), "eth1".to_owned()], None)
    );
    assert_eq!(
        recorded(&world, Kind::RollBack),
        (1, "a key that signed what it opens is revoked".to_owned())
    );
}
