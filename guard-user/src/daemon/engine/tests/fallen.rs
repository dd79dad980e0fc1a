//! The fall of an instrument and its restoration, as reports and receipts of what rests on it have them, and lifts of orders on
//! what has ended.

use super::inputs::document;
use super::record::{answer, receipt_of, with_key};
use super::world::World;
use crate::control::protocol::{Request, Response, SignedText};
use crate::exemption::{Lift, Target};
use crate::report::receipt::Receipt;
use crate::report::{Change, ExemptionEntry, Format, Report, redacted, render};
use crate::store::sha256;

const NAME: &str = "US-Ireland MLAT 2001";
const SECOND: u64 = 1_000_000_000;

fn done(world: &mut World, request: Request) {
    let answer = answer(world, request);
    assert!(matches!(answer, Response::Done { .. }), "{answer:?}");
    world.pass(SECOND);
}

fn fall(world: &mut World) {
    let (name, why) = (NAME.to_owned(), "denounced".to_owned());
    done(world, Request::InstrumentInvalidate { name, why, not_loaded: true, dry_run: false });
}

/// Restores it by a document, and returns the SHA-256 of that.
fn restore(world: &mut World) -> String {
    let kept = world.store.kept();
    let order = kept.orders().next().unwrap().summary();
    let text = Lift::of(&order, "in force again", None, Vec::new()).unwrap().to_toml();
    let hash = sha256(text.as_bytes());
    let resume = Request::ExemptionResume {
        target: Target::Instrument(NAME.to_owned()),
        order: None,
        why: "in force again".to_owned(),
        lift: Some(SignedText { document: text, signatures: Vec::new() }),
        dry_run: false,
        to_sign: false,
    };
    done(world, resume);
    hash
}

fn load(world: &mut World, id: &str, is_secret: bool) {
    let text = document(id, 1, world.clocks().wall);
    let secret = if is_secret { "confidential = true\npins = " } else { "pins = " };
    let loaded = world.load_text(id, text.replace("pins = ", secret));
    world.settle();
    assert!(world.is_done(loaded), "{:?}", world.answers);
    world.pass(SECOND);
}

fn revoke(world: &mut World, id: &str) {
    let (id, why) = (id.to_owned(), "withdrawn".to_owned());
    done(world, Request::ExemptionRevoke { id, why, dry_run: false });
}

fn report(world: &mut World) -> Report {
    let asked = Request::Report { from: Some("2000-01-01".to_owned()), until: None };
    let Response::Report { report } = answer(world, asked) else { panic!("{:?}", world.answers) };
    *report
}

fn told(report: &Report, id: &str) -> Vec<String> {
    let it: &ExemptionEntry = report.exemptions.iter().find(|it| it.id == id).unwrap();
    it.changes.iter().map(|it| format!("{}: {}", it.what, it.words())).collect()
}

fn whats(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.what.as_str()).collect()
}

/// Whoever reads that it fell reads on what ground the next transfer rests on it.
#[test]
fn what_is_loaded_after_a_restoration_has_it_in_report_register_and_receipt() {
    let mut world = World::new(with_key(), &["eth0"]);
    world.settle();
    load(&mut world, "one", false);
    load(&mut world, "two", false);
    fall(&mut world);
    let hash = restore(&mut world);
    load(&mut world, "next", false);
    let made = report(&mut world);
    let fell = format!("invalidate: denounced, on the instrument \"{NAME}\"");
    let lifted = format!(
        "resume: lifts the order denounced on the instrument \"{NAME}\": in force again; by the document {hash}"
    );
    for id in ["one", "two"] {
        assert_eq!(told(&made, id), ["load: ", &fell, &lifted], "{id}");
    }
    assert_eq!(told(&made, "next"), [fell.as_str(), &lifted, "load: "]);
    let next = made.exemptions.iter().find(|it| it.id == "next").unwrap();
    assert!(next.state == "active" && next.end() == next.valid_until, "{next:?}");
    let mut register = Vec::new();
    render(&made, Format::Register, &mut register).unwrap();
    let register = String::from_utf8(register).unwrap();
    let told = lifted.replacen("resume: ", "resume by root (0): ", 1).replace('"', "\"\"");
    assert_eq!(register.matches(&told).count(), 3, "{register}");
    let Response::Receipt { text, .. } = receipt_of(&mut world, "one") else { panic!("{:?}", world.answers) };
    let receipt = Receipt::read(text.as_bytes()).unwrap();
    assert_eq!(whats(&receipt.history), ["load", "invalidate", "resume"]);
    assert_eq!(receipt.history[2].document_sha256.as_ref(), Some(&hash));
    revoke(&mut world, "next");
    let Response::Receipt { text, .. } = receipt_of(&mut world, "next") else {
        panic!("{:?}", world.answers)
    };
    let receipt: Receipt = serde_json::from_str(&text).unwrap();
    assert_eq!(whats(&receipt.history), ["resume", "load", "revoke"]);
}

/// The trail has its words as hashes alone; the store knows them.
#[test]
fn of_a_confidential_one_it_is_told_in_words_to_those_who_see_all_and_to_nobody_else() {
    let mut world = World::new(with_key(), &["eth0"]);
    world.settle();
    load(&mut world, "ended", true);
    revoke(&mut world, "ended");
    fall(&mut world);
    restore(&mut world);
    load(&mut world, "next", true);
    let made = report(&mut world);
    for id in ["ended", "next"] {
        let told = told(&made, id);
        let has = |words: &str| told.iter().any(|it| it.contains(words));
        assert!(has(&format!("denounced, on the instrument \"{NAME}\"")), "{told:?}");
        assert!(
            has(&format!("lifts the order denounced on the instrument \"{NAME}\": in force again")),
            "{told:?}"
        );
    }
    let shown = redacted(&Report { redacted: true, ..made });
    let whats: Vec<_> = shown.exemptions.iter().map(|it| whats(&it.changes)).collect();
    assert_eq!(whats, [vec!["load", "revoke"], vec!["load"]]);
}

/// Whoever reads that a court or an authority stayed it reads that this was lifted, though nothing passes again by that.
#[test]
fn an_order_that_is_lifted_after_the_end_is_told_of_each_that_it_held() {
    let mut world = World::new(with_key(), &["eth0"]);
    world.settle();
    load(&mut world, "one", false);
    load(&mut world, "two", false);
    let target = || Target::Recipient("Requesting authority".to_owned());
    let order = || "CNIL 2026-1".to_owned();
    let stay = Request::ExemptionStay { target: target(), order: order(), not_loaded: false, dry_run: false };
    done(&mut world, stay);
    revoke(&mut world, "one");
    fall(&mut world);
    let (order, why) = (Some(order()), "withdrawn".to_owned());
    let resume =
        Request::ExemptionResume { target: target(), order, why, lift: None, dry_run: false, to_sign: false };
    done(&mut world, resume);
    let made = report(&mut world);
    let on = "on the recipient \"Requesting authority\"";
    let stayed = format!("stay: CNIL 2026-1, {on}");
    let fell = format!("invalidate: denounced, on the instrument \"{NAME}\"");
    let lifted = format!("resume: lifts the order CNIL 2026-1 {on}: withdrawn");
    assert_eq!(told(&made, "one"), ["load: ", &stayed, "revoke: withdrawn", &fell, &lifted]);
    assert_eq!(told(&made, "two"), ["load: ", &stayed, &fell, &lifted]);
    let mut register = Vec::new();
    render(&made, Format::Register, &mut register).unwrap();
    assert_eq!(String::from_utf8(register).unwrap().matches("lifts the order CNIL 2026-1").count(), 2);
    let of_one = vec!["load", "stay", "revoke", "invalidate", "resume"];
    let of_two = vec!["load", "stay", "invalidate", "resume"];
    for (id, has) in [("one", of_one), ("two", of_two)] {
        let Response::Receipt { text, .. } = receipt_of(&mut world, id) else {
            panic!("{:?}", world.answers)
        };
        let receipt = Receipt::read(text.as_bytes()).unwrap();
        assert_eq!(whats(&receipt.history), has, "{id}");
        let lift = receipt.history.last().unwrap();
        assert_eq!((lift.order.as_deref(), lift.still_held), (Some("CNIL 2026-1"), false));
    }
}
