//! What a reload opens and nobody has to sign is on record before it is live.

use super::super::{Input, SignedFile};
use super::inputs::{CONFIG, ONE};
use super::world::{Part, World};
use crate::audit::{Kind, Stored};
use crate::config::policy::Policy;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::daemon::engine::Ticket;
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;
use crate::store::last_policy::LastPolicy;
use crate::store::sha256;

/// [`CONFIG`] with signatures asked for of what the next one opens.
const ASKING: &str = "[host]\ninterfaces = [\"eth*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
     action = \"drop\"\nselect.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = \"/etc/borderguard/signers\"\n\
     [[approval.signer]]\nidentity = \"aoife@example.org\"\nuser = \"aoife\"\nroles = [\"legal\"]\n\
     [[approval.rule]]\nrequired = [{ role = \"legal\", count = 1 }]\n\
     [approval.policy]\nrequired = [{ role = \"legal\", count = 1 }]\n";

/// The line of the log that says what is kept as what the next config is held against.
pub(super) fn kept(config: Option<LastPolicy>) -> String {
    let text = config.map(|it| String::from_utf8(it.bytes).unwrap());
    format!("kept: {}", text.as_deref().unwrap_or("nothing"))
}

/// What the loader leaves to be kept of a config that opens and that nobody has to sign.
pub(super) fn to_keep(policy: &Policy) -> Option<LastPolicy> {
    let (bytes, users) = (policy.text.to_vec(), policy.named_users());
    let asks = policy.approval.as_ref().is_some_and(|approvals| !approvals.policy.is_empty());
    asks.then_some(LastPolicy { bytes, observe: false, unheld: None, users })
}

/// All such lines so far.
fn kept_so_far(world: &World) -> Vec<String> {
    world.log.iter().filter(|line| line.starts_with("kept: ")).cloned().collect()
}

/// A host by [`CONFIG`], whose file has this text now, which opens.
fn opening(text: &'static str) -> World {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    opens(&mut world, text);
    world
}

fn opens(world: &mut World, text: &'static str) {
    let (sha256, opens) = (sha256(text.as_bytes()), "the pin mail".to_owned());
    world.config = text;
    world.signed = vec![SignedFile { file: "policy.toml".into(), sha256, opens, by: Vec::new() }];
}

fn failed(world: &World, ticket: Ticket) -> String {
    let Response::Error { kind: ErrorKind::Failed, message, .. } = world.answer(ticket) else {
        panic!("{:?}", world.answer(ticket))
    };
    message.clone()
}

/// The kinds of the records of configs, with what opens.
fn recorded(world: &World) -> Vec<(String, Option<String>)> {
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    let records = lines.iter().map(|line| Stored::read(line.as_bytes()).unwrap());
    let of_configs =
        records.filter(|it| [Kind::Reload, Kind::Opening].iter().any(|kind| it.kind == kind.name()));
    let what = |it: Stored| {
        let opens = it.detail.get("opens").and_then(|it| it.as_str()).map(str::to_owned);
        (it.kind, opens)
    };
    of_configs.map(what).collect()
}

#[test]
fn it_waits_for_its_record_and_what_closes_does_not() {
    let mut world = opening(ONE);
    world.disk.fail_during(0, 1000);
    // The first one is refused already, and so is each after it.
    for _ in 0..2 {
        let reload = world.ask(Request::Reload {});
        world.settle();
        let message = failed(&world, reload);
        assert!(message.contains("can't have a record of it") && message.contains("stays live"), "{message}");
        assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
        let codes = world.codes();
        assert!([ProblemCode::ConfigRefused, ProblemCode::AuditGap].iter().all(|it| codes.contains(it)));
    }
    world.signed.clear();
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload), "{:?}", world.answers);
    // It is taken, and what it does not name is let go once that can be on record.
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.disk.heal();
    world.rest();
    // What closed on the full disk is on record as soon as the disk takes it.
    let reloaded = ("reload".to_owned(), None);
    assert_eq!(recorded(&world), std::slice::from_ref(&reloaded));
    opens(&mut world, CONFIG);
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload), "{:?}", world.answers);
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    let opened = ("opening".to_owned(), Some("the pin mail".to_owned()));
    assert_eq!(recorded(&world), [reloaded.clone(), opened, reloaded]);
}

/// What was refused is nothing that the next config is held against: what is live is, where it asks for signatures.
#[test]
fn what_is_refused_is_not_what_the_next_config_is_held_against() {
    let mut world = opening(ASKING);
    world.disk.fail_during(0, 1000);
    let reload = world.ask(Request::Reload {});
    world.settle();
    failed(&world, reload);
    let (nothing, asking) = ("kept: nothing".to_owned(), format!("kept: {ASKING}"));
    assert_eq!(kept_so_far(&world), std::slice::from_ref(&nothing));
    // Neither this one nor what is live would have been kept.
    opens(&mut world, ONE);
    let reload = world.ask(Request::Reload {});
    world.settle();
    failed(&world, reload);
    assert_eq!(kept_so_far(&world), std::slice::from_ref(&nothing));
    world.disk.heal();
    world.rest();
    opens(&mut world, ASKING);
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload), "{:?}", world.answers);
    assert_eq!(kept_so_far(&world), [nothing.clone(), asking.clone()]);
    // A disk that does not answer refuses it later.
    opens(&mut world, CONFIG);
    let reload = world.ask(Request::Reload {});
    world.all_but(Part::Store);
    world.pass(10_000_000_000);
    world.all_but(Part::Store);
    failed(&world, reload);
    assert_eq!(kept_so_far(&world), [nothing, asking.clone(), asking]);
}

/// A daemon that is killed in between leaves nothing that its next start would go by in the place of its file.
#[test]
fn what_nobody_signs_is_kept_when_its_record_is_on_the_disk() {
    let mut world = opening(ASKING);
    let reload = world.ask(Request::Reload {});
    world.all_but(Part::Store);
    assert!(kept_so_far(&world).is_empty() && !world.answers.contains_key(&reload), "{:?}", world.log);
    while kept_so_far(&world).is_empty() && world.has_job(Part::Store) {
        world.work(Part::Store);
    }
    // And before it is live.
    assert_eq!(recorded(&world), [("opening".to_owned(), Some("the pin mail".to_owned()))]);
    assert_eq!(kept_so_far(&world), [format!("kept: {ASKING}")]);
    world.settle();
    assert!(world.is_done(reload), "{:?}", world.answers);
    assert_eq!(kept_so_far(&world), [format!("kept: {ASKING}")]);
}

/// On record and kept, and then refused by the kernel: what is live takes its place again, as it was.
#[test]
fn what_the_kernel_refuses_is_not_what_the_next_config_is_held_against() {
    let mut world = opening(ASKING);
    let mut expected = vec![format!("kept: {ASKING}"), "kept: nothing".to_owned()];
    world.kernel.fail(Operation::Publish, 1);
    let reload = world.ask(Request::Reload {});
    world.settle();
    failed(&world, reload);
    assert_eq!(kept_so_far(&world), expected);
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload), "{:?}", world.answers);
    expected.push(format!("kept: {ASKING}"));
    assert_eq!(kept_so_far(&world), expected);
    // That it was held against none is told on where the next one is not made live.
    world.step(Input::ConfigOfTrail(Err("it is damaged".to_owned())));
    assert!(world.codes().contains(&ProblemCode::ConfigUnheld));
    // What closes is kept by the loader, before anybody knows whether the kernel takes it.
    world.config = ONE;
    world.signed.clear();
    world.kernel.fail(Operation::Publish, 1);
    let reload = world.ask(Request::Reload {});
    world.settle();
    failed(&world, reload);
    expected.push(format!("kept: {ASKING}"));
    assert_eq!(kept_so_far(&world), expected);
    assert!(world.codes().contains(&ProblemCode::ConfigUnheld));
}

#[test]
fn a_disk_that_does_not_answer_holds_up_no_other_reload() {
    let mut world = opening(ONE);
    let reload = world.ask(Request::Reload {});
    world.all_but(Part::Store);
    assert!(!world.answers.contains_key(&reload));
    world.pass(10_000_000_000);
    world.all_but(Part::Store);
    let message = failed(&world, reload);
    assert!(message.contains("has not answered in 10 seconds"), "{message}");
    // Another one that opens meanwhile does not go by the answer to the first.
    let again = world.ask(Request::Reload {});
    world.all_but(Part::Store);
    assert!(failed(&world, again).contains("has not answered yet"));
    world.signed.clear();
    let closes = world.ask(Request::Reload {});
    world.all_but(Part::Store);
    assert!(world.is_done(closes), "{:?}", world.answers);
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0"]);
}

/// Two notes are made of what is live while the store can't be opened: that has to do.
#[test]
fn a_store_that_can_not_be_opened_is_not_waited_for() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.store_is_away = true;
    world.restart();
    world.rest();
    opens(&mut world, ONE);
    let reload = world.ask(Request::Reload {});
    world.rest();
    assert!(world.is_done(reload), "{:?}", world.answers);
    assert_eq!(world.kernel.guarded(), ["eth0"]);
    // What is to be kept does not wait for a record either.
    assert_eq!(kept_so_far(&world), ["kept: nothing"]);
}

/// An interface that is let go is not judged any more: like a config that opens, that is on record first.
#[test]
fn nothing_is_let_go_while_the_trail_takes_no_record() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.disk.fail_during(0, 1 << 20);
    world.ask(Request::Reload {});
    world.rest();
    world.config = ONE;
    let reload = world.ask(Request::Reload {});
    world.rest();
    let Response::Done { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
    assert!(message.contains("still guarded, though the config does not name it: eth1"), "{message}");
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.disk.heal();
    world.pass(6_000_000_000);
    world.rest();
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"], "until somebody reloads");
    let reload = world.ask(Request::Reload {});
    world.rest();
    let Response::Done { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
    assert!(message.contains("not guarded any more: eth1"), "{message}");
    assert_eq!(world.kernel.guarded(), ["eth0"]);
}

#[test]
fn databases_are_not_accepted_while_the_trail_takes_no_record() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.disk.fail_during(0, 1 << 20);
    world.ask(Request::Reload {});
    world.rest();
    let accept = world.ask(Request::GeoAccept {});
    world.rest();
    assert!(failed(&world, accept).contains("the audit trail takes no record now"), "{:?}", world.answers);
    world.disk.heal();
    world.pass(6_000_000_000);
    world.rest();
    let accept = world.ask(Request::GeoAccept {});
    world.rest();
    assert!(matches!(world.answer(accept), Response::Done { .. }), "{:?}", world.answers);
}
