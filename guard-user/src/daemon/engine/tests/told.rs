//! What the answers to orders say of what still passes, of what is kept out, and of what a dry run would come to.

use jiff::SignedDuration;

use super::inputs::{APPROVED, CONFIG, document};
use super::world::World;
use crate::control::protocol::{Request, Response, SignedText};
use crate::exemption::Lift;
use crate::store::Target;

fn answer(world: &mut World, request: Request) -> Response {
    let ticket = world.ask(request);
    world.settle();
    world.answer(ticket).clone()
}

fn done(answer: Response) -> String {
    let Response::Done { message, .. } = answer else { panic!("{answer:?}") };
    message
}

fn resume(target: &Target, order: &str, dry_run: bool) -> Request {
    Request::ExemptionResume {
        target: target.clone(),
        order: Some(order.to_owned()),
        why: "lifted".to_owned(),
        lift: None,
        dry_run,
        to_sign: false,
    }
}

#[test]
fn what_begins_later_is_told_as_such_beside_a_closing() {
    let mut world = World::with_one();
    // Its window is from two hours on.
    let wall = world.clocks().wall;
    let later = world.load_text("later", document("later", 1, wall + SignedDuration::from_hours(3)));
    world.settle();
    assert!(world.is_done(later), "{:?}", world.answer(later));
    let begins = wall + SignedDuration::from_hours(2);
    let stayed = world.stay("a");
    world.settle();
    let message = done(world.answer(stayed).clone());
    let expected = format!(
        "data of these pins WILL PASS to the same recipients by later once it begins ({begins}); stayed: a"
    );
    assert_eq!(message, expected);
    // One that is open is told apart.
    world.load("b", 1);
    world.settle();
    world.load("c", 1);
    world.settle();
    let beside = "data of these pins STILL PASSES to the same recipients by c; data of these pins WILL PASS";
    // A dry run says it too, and not of what would be closed itself.
    let (id, why) = ("b".to_owned(), "withdrawn".to_owned());
    let would = world.ask(Request::ExemptionRevoke { id, why, dry_run: true });
    world.rest();
    let Response::Planned { message, .. } = world.answer(would).clone() else { panic!() };
    assert!(message.starts_with(beside) && message.contains("; would be revoked: b"), "{message}");
    let revoked = world.revoke("b");
    world.settle();
    let message = done(world.answer(revoked).clone());
    assert!(message.starts_with(beside), "{message}");
}

#[test]
fn a_fall_that_is_lifted_leaves_those_of_names_that_look_like_its() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    for (name, why) in [("US-Ireland MLAT 2001", "denounced"), ("us-ireland mlat 2001", "struck down")] {
        let (name, why) = (name.to_owned(), why.to_owned());
        let falls = Request::InstrumentInvalidate { name, why, not_loaded: true, dry_run: false };
        done(answer(&mut world, falls));
    }
    let mlat = Target::Instrument("US-Ireland MLAT 2001".to_owned());
    let Response::Planned { message, .. } = answer(&mut world, resume(&mlat, "denounced", true)) else {
        panic!()
    };
    let others = "; nothing that rests on an instrument of this name is loaded as long as these stand: the instrument \
                  \"us-ireland mlat 2001\" has fallen: \"struck down\"";
    assert_eq!(
        message,
        format!(
            "the order that the instrument \"US-Ireland MLAT 2001\" has fallen (\"denounced\") would be lifted; nothing \
             passes again by that: what was closed with the instrument stays closed{others}"
        )
    );
    let message = done(answer(&mut world, resume(&mlat, "denounced", false)));
    assert_eq!(message, format!("the order is lifted; nothing passes again by that{others}"));
    // The last one leaves nothing.
    let last = Target::Instrument("us-ireland mlat 2001".to_owned());
    let message = done(answer(&mut world, resume(&last, "struck down", false)));
    assert_eq!(message, "the order is lifted; nothing passes again by that");
}

#[test]
fn a_dry_run_of_a_lift_is_refused_for_what_the_lift_would_be() {
    let mut world = World::new(APPROVED, &["eth0"]);
    world.settle();
    let order = "High Court 1".to_owned();
    let stays = Request::ExemptionStay { target: Target::All, order, not_loaded: true, dry_run: false };
    done(answer(&mut world, stays));
    let lifts = |lift: Option<SignedText>, dry_run, to_sign| Request::ExemptionResume {
        target: Target::All,
        order: Some("High Court 1".to_owned()),
        why: "lifted".to_owned(),
        lift,
        dry_run,
        to_sign,
    };
    for dry_run in [true, false] {
        let refused = answer(&mut world, lifts(None, dry_run, false));
        let is_refused =
            matches!(&refused, Response::Error { message, .. } if message.contains("takes signatures"));
        assert!(is_refused, "{dry_run}: {refused:?}");
    }
    // By this the document is written.
    let planned = answer(&mut world, lifts(None, true, true));
    assert!(matches!(planned, Response::Planned { .. }), "{planned:?}");
    // It is no way to lift anything.
    let refused = answer(&mut world, lifts(None, false, true));
    assert!(matches!(refused, Response::Error { .. }), "{refused:?}");
    let kept = world.store.kept();
    let stands = kept.orders().next().unwrap().summary();
    let document = Lift::of(&stands, "lifted", None, Vec::new()).unwrap().to_toml();
    for dry_run in [true, false] {
        let signed = SignedText { document: document.clone(), signatures: Vec::new() };
        let refused = answer(&mut world, lifts(Some(signed), dry_run, false));
        assert!(matches!(refused, Response::Error { .. }), "{dry_run}: {refused:?}");
    }
}
