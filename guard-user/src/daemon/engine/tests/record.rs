//! What a regulator takes: receipts, the configs behind the audit trail, and clocks that were set.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{Asker, Input, Ticket};
use super::inputs::{CONFIG, document};
use super::world::World;
use crate::approval::tests::oracle::{ED25519, key};
use crate::approval::{AllowedSigners, RECEIPT, verify};
use crate::audit::{Kind, Who};
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::exemption::Target;
use crate::health::ProblemCode;
use crate::report::receipt::Receipt;
use crate::store::sha256;

/// [`CONFIG`] with a key of the host and a command for time stamps.
pub(super) fn with_key() -> &'static str {
    let key = key(ED25519).file.display();
    let text = format!("{CONFIG}[record]\nhost_key = \"{key}\"\ntime_stamp = [\"/bin/stamp\", \"x\"]\n");
    Box::leak(text.into_boxed_str())
}

fn trail(world: &World) -> Vec<Value> {
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn last(world: &World, kind: Kind) -> Value {
    let records = trail(world);
    records.into_iter().rfind(|record| record["kind"] == kind.name()).unwrap()
}

pub(super) fn answer(world: &mut World, request: Request) -> Response {
    let ticket = world.ask(request);
    world.settle();
    world.answer(ticket).clone()
}

pub(super) fn receipt_of(world: &mut World, id: &str) -> Response {
    answer(
        world,
        Request::ExemptionReceipt { id: id.to_owned(), version: None, not_written: None, right_only: false },
    )
}

#[test]
fn a_receipt_is_of_what_is_closed_and_signed_by_the_hosts_key() {
    let mut world = World::new(with_key(), &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    for open in ["active", "stayed"] {
        let Response::Error { kind, message, .. } = receipt_of(&mut world, "a") else { panic!("{open}") };
        assert_eq!(kind, ErrorKind::BadInput);
        assert!(message.starts_with(&format!("a version 1 is {open}, and a receipt is of")), "{message}");
        world.stay("a");
        world.settle();
    }
    assert!(trail(&world).iter().all(|record| record["kind"] != Kind::Receipt.name()));
    let (id, not_written) = ("a".to_owned(), None);
    let asked = Request::ExemptionReceipt { id, version: None, not_written, right_only: true };
    assert!(matches!(answer(&mut world, asked), Response::Planned { .. }));
    assert!(trail(&world).iter().all(|record| record["kind"] != Kind::Receipt.name()));
    world.revoke("a");
    world.settle();
    let Response::Receipt { text, signature, public_key, time_stamp } = receipt_of(&mut world, "a") else {
        panic!("{:?}", world.answers)
    };
    assert_eq!(
        (public_key, time_stamp),
        (key(ED25519).public.clone(), vec!["/bin/stamp".into(), "x".into()])
    );
    let receipt = Receipt::read(text.as_bytes()).unwrap();
    let allowed = format!("{} {}\n", receipt.host, key(ED25519).public);
    let allowed = AllowedSigners::parse(allowed.as_bytes(), &TimeZone::UTC).unwrap();
    let is_taken = |text: &str| {
        let host = [receipt.host.as_str()];
        let now = Timestamp::now();
        verify(text.as_bytes(), signature.as_bytes(), RECEIPT, &host, &allowed, now).is_ok()
    };
    assert!(is_taken(&text) && !is_taken(&format!("{text}\n")));
    let of = &receipt.exemption;
    assert_eq!((of.id.as_str(), of.version, of.state.as_str()), ("a", 1, "revoked"));
    let loaded = last(&world, Kind::Load);
    assert_eq!(json!(of.document_sha256), loaded["detail"]["sha256"]);
    assert_eq!(receipt.orders.len(), 1);
    let history: Vec<&str> = receipt.history.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(history, ["load", "stay", "revoke"]);
    // The last record is that it was given.
    let given = trail(&world).last().unwrap().clone();
    assert_eq!((&given["kind"], &given["subject"]), (&json!("receipt"), &json!("a")));
    let line = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap().pop().unwrap();
    assert_eq!(receipt.audit.sha256, sha256(line.as_bytes()));
    // The tables are those that are live now, of which the start had the places.
    let started = last(&world, Kind::Start);
    assert_eq!(json!(receipt.tables.geo_sha256), started["detail"]["geo_sha256"]);
    assert_ne!(json!(receipt.tables.policy_sha256), started["detail"]["policy_sha256"]);
    assert!([&receipt.program.sha256, &receipt.tables.policy_sha256].iter().all(|hash| hash.len() == 64));
    let Response::Error { kind, .. } = receipt_of(&mut world, "b") else { panic!("there is no b") };
    assert_eq!(kind, ErrorKind::NotFound);
}

/// Nobody closed it: its assessment was not looked at in time.
#[test]
fn what_ends_by_its_review_is_told_with_that_and_as_the_daemons() {
    let mut world = World::new(with_key(), &["eth0"]);
    world.settle();
    let wall = world.clocks().wall;
    let by = wall + SignedDuration::from_mins(30);
    world.load_text("a", document("a", 1, wall).replace("2099-01-01", &by.to_string()));
    world.settle();
    assert_eq!(world.open(), ["a"], "{:?}", world.answers);
    world.set_clock(31 * 60);
    world.rest();
    let Response::Receipt { text, .. } = receipt_of(&mut world, "a") else { panic!("{:?}", world.answers) };
    let receipt = Receipt::read(text.as_bytes()).unwrap();
    assert_eq!((receipt.exemption.state.as_str(), receipt.exemption.review_by), ("expired", Some(by)));
    let end = receipt.history.last().unwrap();
    assert_eq!((end.what.as_str(), end.who.as_str()), ("expire", "the daemon"));
    assert_eq!(end.why, format!("its assessment was to be reviewed before {by}"));
    assert_ne!(receipt.history[0].who, "the daemon");
}

#[test]
fn without_a_key_there_is_no_receipt_and_the_answer_says_how_to_have_one() {
    let mut world = World::with_one();
    world.revoke("a");
    world.settle();
    let Response::Error { kind, message, .. } = receipt_of(&mut world, "a") else { panic!() };
    assert!(kind == ErrorKind::BadInput && message.contains("record.host_key"), "{message}");
}

#[test]
fn the_trail_names_the_config_and_the_store_has_its_text() {
    let mut world = World::with_one();
    world.config = with_key();
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload));
    for (kind, text) in [(Kind::Start, CONFIG), (Kind::Load, CONFIG), (Kind::Reload, with_key())] {
        let named = last(&world, kind)["detail"]["config_sha256"].as_str().unwrap().to_owned();
        assert_eq!(named, sha256(text.as_bytes()), "{kind}");
        let kept = answer(&mut world, Request::AuditConfig { sha256: named });
        assert_eq!(kept, Response::Config { text: text.to_owned() });
    }
    let none = answer(&mut world, Request::AuditConfig { sha256: "0".repeat(64) });
    assert!(matches!(none, Response::Error { kind: ErrorKind::NotFound, .. }), "{none:?}");
    // Nobody was asked.
    assert_eq!(last(&world, Kind::Load)["detail"]["required"], Value::Null);
}

#[test]
fn a_clock_that_is_set_is_on_record() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    for (seconds, by_ms) in [(3600, 3_600_000), (-7200, -7_200_000)] {
        world.set_clock(seconds);
        world.settle();
        let record = last(&world, Kind::ClockSet);
        let moved = record["detail"]["by_ms"].as_i64().unwrap();
        assert!((moved - by_ms).abs() < 1000, "{record}");
        let at = |name: &str| record["detail"][name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!((at("to") - at("from")).total(jiff::Unit::Millisecond).unwrap(), moved as f64);
    }
}

/// docs/compliance.md says what users see who may only look, and they do: row by row, with texts that stand nowhere else.
#[test]
fn what_is_seen_of_a_confidential_exemption_is_what_the_docs_say() {
    const DOCS: &str = include_str!("../../../../../docs/compliance.md");
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let document = document("a-marker", 1, world.clocks().wall)
        .replace("pins = ", "confidential = true\npins = ")
        .replace("cidrs = ", "ports = [\"tcp/44443\"]\ncidrs = ")
        + "[[duty]]\nwhat = \"answer\"\ndue = 2026-12-20\n";
    let hash = sha256(document.as_bytes());
    let mut number = 1000;
    let mut asked = |world: &mut World, request: Request, sees_all: bool| {
        number += 1;
        let ticket = Ticket(number);
        let who = Who { uid: 4_294_000_111, user: Some("marker-user".to_owned()), pid: None };
        world.step(Input::Request { ticket, request, asker: Asker { who, sees_all, sees_people: sees_all } });
        world.settle();
        serde_json::to_string(world.answer(ticket)).unwrap()
    };
    let load = Request::ExemptionLoad {
        document,
        name: "a.toml".to_owned(),
        signatures: Vec::new(),
        dry_run: false,
        refused: false,
    };
    let loaded = asked(&mut world, load, true);
    assert!(loaded.contains("\"done\""), "{loaded}");
    let why = "marker-reason".to_owned();
    asked(&mut world, Request::ExemptionRevoke { id: "a-marker".to_owned(), why, dry_run: false }, true);
    let show = || Request::ExemptionShow { id: "a-marker".to_owned(), version: None };
    // A report ends with this moment, and has what was loaded before it.
    world.pass(1_000_000_000);
    let mut seen = |sees_all: bool| {
        let list = asked(&mut world, Request::ExemptionList {}, sees_all);
        let list = list + &asked(&mut world, show(), sees_all);
        let report =
            asked(&mut world, Request::Report { from: Some("2000-01-01".to_owned()), until: None }, sees_all);
        [list, report, asked(&mut world, Request::Audit { from: 0 }, sees_all)]
    };
    let (view, all) = (seen(false), seen(true));
    let markers: [(&str, &[&str]); 13] = [
        ("its id and version", &["a-marker"]),
        ("state, pins, window, quota, bytes", &["\"mail\""]),
        ("type of instrument, ground, basis", &["treaty-request"]),
        ("the law that it goes by", &["\"law\":\"eu\""]),
        ("recipients' jurisdictions", &["\"US\""]),
        ("recipients' ports", &["tcp/44443"]),
        ("name of the instrument, case, authority", &["US-Ireland MLAT 2001"]),
        ("purpose, categories of data", &["Evidence in case"]),
        ("exporter, recipients' names and networks", &["Requesting authority", "203.0.113.10"]),
        ("duties, reviews and deletions that are due", &["\"what\":\"answer\""]),
        ("reasons that were given", &["marker-reason"]),
        ("SHA-256 of the document", &[&hash]),
        ("who loaded and closed it", &["4294000111", "marker-user"]),
    ];
    let (_, table) = DOCS.split_once("| of a confidential exemption |").unwrap();
    let rows: Vec<Vec<&str>> = table
        .split("\n\n")
        .next()
        .unwrap()
        .lines()
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let named: Vec<&str> = rows.iter().map(|row| row[0]).filter(|name| *name != "signers").collect();
    assert_eq!(named, markers.map(|(name, _)| name));
    for ((name, texts), row) in markers.iter().zip(&rows) {
        for (at, told) in row[1..].iter().enumerate() {
            let is_seen = texts.iter().any(|text| view[at].contains(text));
            assert_eq!(is_seen, *told == "yes", "{name}, column {at}: {}", view[at]);
            assert!(*told != "as a hash" || view[at].contains("why_sha256"));
        }
        // The marker is one: somewhere those who may see it do.
        assert!(all.iter().any(|text| texts.iter().any(|marker| text.contains(marker))), "{name}");
    }
}

/// What is due of what is closed as well, but for the review of its assessment.
#[test]
fn what_was_done_of_a_closed_exemption_is_noted_and_no_longer_due() {
    let mut world = World::with_one();
    let of_two = super::inputs::document("a", 2, world.clocks().wall);
    let with_duty = of_two + "[[duty]]\nwhat = \"answer\"\ndue = 2026-12-20\n";
    let loaded = world.load_text("a", with_duty);
    world.settle();
    assert!(world.is_done(loaded), "{:?}", world.answers);
    world.revoke("a");
    world.settle();
    let due = |world: &mut World| {
        let Response::Exemptions { exemptions, .. } = answer(world, Request::ExemptionList {}) else {
            panic!()
        };
        exemptions.into_iter().flat_map(|it| it.due).map(|it| it.what).collect::<Vec<_>>()
    };
    let done = |dry_run, duty: &str| Request::ExemptionDone {
        id: "a".to_owned(),
        version: None,
        duty: duty.to_owned(),
        on: None,
        why: "reviewed by counsel".to_owned(),
        dry_run,
    };
    let before = due(&mut world);
    assert!(before.contains(&"answer".to_owned()), "{before:?}");
    let planned = answer(&mut world, done(true, "answer"));
    assert!(
        matches!(&planned, Response::Planned { message, .. } if message.contains("of a version 2")),
        "{planned:?}"
    );
    assert_eq!(due(&mut world), before);
    let generation = world.status().generation;
    let said = answer(&mut world, done(false, "answer"));
    assert!(matches!(said, Response::Done { .. }), "{said:?}");
    assert!(!due(&mut world).contains(&"answer".to_owned()));
    assert_eq!(world.status().generation, generation, "nothing of it is the kernel's");
    let record = last(&world, Kind::DutyDone);
    let found = (&record["subject"], &record["why"], &record["detail"]["duty"], &record["detail"]["version"]);
    assert_eq!(found, (&json!("a"), &json!("reviewed by counsel"), &json!("answer"), &json!(2)));
    for (duty, code) in [("answer", "no-such-duty"), ("review-assessment", "review-of-closed")] {
        let Response::Error { kind, codes, .. } = answer(&mut world, done(false, duty)) else {
            panic!("{duty}")
        };
        assert_eq!((kind, codes), (ErrorKind::BadInput, vec![code.to_owned()]));
    }
    assert!(!due(&mut world).contains(&"review-assessment".to_owned()), "nothing passes by it any more");
}

#[test]
fn a_lift_by_which_nothing_passes_again_is_planned_in_its_own_words() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    world.stay("a");
    world.settle();
    let pin = Target::All;
    let stay = Request::ExemptionStay {
        target: pin.clone(),
        order: "Court of Appeal".to_owned(),
        not_loaded: false,
        dry_run: false,
    };
    assert!(matches!(answer(&mut world, stay), Response::Done { .. }));
    let lift = |order: &str| Request::ExemptionResume {
        target: pin.clone(),
        order: Some(order.to_owned()),
        why: "lifted".to_owned(),
        lift: None,
        dry_run: true,
        to_sign: false,
    };
    let Response::Planned { message, exemptions } = answer(&mut world, lift("Court of Appeal")) else {
        panic!()
    };
    assert!(exemptions.is_empty());
    assert!(
        message.starts_with(
            "the order \"Court of Appeal\" on every exemption would be lifted; nothing passes again"
        ),
        "{message}"
    );
    assert!(message.contains("other orders still hold: a (\""), "{message}");
    // One that stays nothing.
    world.revoke("a");
    world.settle();
    let Response::Planned { message, .. } = answer(&mut world, lift("Court of Appeal")) else { panic!() };
    assert!(message.ends_with("nothing passes again by that: nothing is stayed by it"), "{message}");
}

/// What leaves by an interface that a reload let go is not judged: its next guard has a record with the interface's own
/// counter, also under another name and where another program took the guard off.
#[test]
fn an_interface_that_is_guarded_again_has_a_record_of_what_it_had_sent() {
    for renamed in [false, true] {
        let mut world = World::new(super::inputs::CONFIG, &["eth0"]);
        let index = world.kernel.add("eth1");
        world.kernel.send(index, 3);
        world.settle();
        if renamed {
            world.kernel.rename("eth1", "eth9");
            world.rest();
        }
        let name = if renamed { "eth9" } else { "eth1" };
        let reload = |world: &mut World, config| {
            world.config = config;
            let reload = world.ask(Request::Reload {});
            world.rest();
            assert!(world.is_done(reload));
        };
        reload(&mut world, super::inputs::ONE);
        let released = last(&world, Kind::Detach);
        let detail = json!({"index": index, "sent": 3});
        assert_eq!((&released["subject"], &released["detail"]), (&json!(name), &detail));
        world.kernel.send(index, 5);
        reload(&mut world, super::inputs::CONFIG);
        let again = last(&world, Kind::Attach);
        let found = (&again["subject"], &again["detail"]["index"], &again["detail"]["sent_before"]);
        assert_eq!(found, (&json!(name), &json!(index), &json!(8)), "{again}");
        world.kernel.send(index, 2);
        world.kernel.take_off(name);
        world.rest();
        assert_eq!(last(&world, Kind::Attach)["detail"]["sent_before"], json!(10));
        assert!(world.problems().iter().all(|it| it.code != ProblemCode::GuardedLate));
    }
}

/// What is asked for days that no report can be of is refused, and no period begins after its end.
#[test]
fn a_report_is_of_the_days_that_were_asked_for() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let report = |world: &mut World, from: Option<&str>, until: Option<&str>| {
        let (from, until) = (from.map(str::to_owned), until.map(str::to_owned));
        answer(world, Request::Report { from, until })
    };
    let Response::Report { report: early } = report(&mut world, None, Some("2001-01-01")) else { panic!() };
    let day = ("2001-01-01T00:00:00Z".parse().unwrap(), "2001-01-02T00:00:00Z".parse().unwrap());
    assert_eq!((early.from, early.until), day);
    let Response::Report { report: whole } = report(&mut world, None, None) else { panic!() };
    assert!(whole.from <= whole.until && whole.gaps.is_empty(), "{whole:?}");
    for (from, until) in [("9999-01-01", None), ("2026-12-02", Some("2026-12-01")), ("x", None)] {
        let Response::Error { kind, message, .. } = report(&mut world, Some(from), until) else {
            panic!("{from}")
        };
        assert_eq!(kind, ErrorKind::BadInput, "{message}");
    }
}

/// What was loaded by a clock that was ahead is in the report of the days until now all the same.
#[test]
fn a_report_has_what_was_loaded_while_the_clock_was_ahead() {
    let mut world = World::with_one();
    world.now.wall -= SignedDuration::from_mins(10);
    let asked = Request::Report { from: None, until: None };
    let Response::Report { report } = answer(&mut world, asked) else { panic!() };
    assert_eq!(report.exemptions.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a"]);
}

/// That a receipt was given is a record where it was, and what its client could not write is one too.
#[test]
fn the_trail_has_a_receipt_that_was_signed_and_that_it_was_not_written() {
    let config = format!("{CONFIG}[record]\nhost_key = \"/nonexistent/key\"\n");
    let mut world = World::new(Box::leak(config.into_boxed_str()), &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    world.revoke("a");
    world.settle();
    let given = |world: &World| trail(world).iter().filter(|it| it["kind"] == Kind::Receipt.name()).count();
    let Response::Error { message, .. } = receipt_of(&mut world, "a") else { panic!() };
    assert!(message.contains("/nonexistent/key"), "{message}");
    assert_eq!(given(&world), 0, "what can't be signed is not given");
    world.config = with_key();
    world.ask(Request::Reload {});
    world.rest();
    assert!(matches!(receipt_of(&mut world, "a"), Response::Receipt { .. }));
    // What its client has escaped is not escaped again.
    let why = Some("\"a\\u{7}\" can't be written: the disk is\u{1b}[31m full".to_owned());
    let lost =
        Request::ExemptionReceipt { id: "a".to_owned(), version: None, not_written: why, right_only: false };
    assert!(matches!(answer(&mut world, lost), Response::Done { .. }));
    assert_eq!(given(&world), 2);
    let record = last(&world, Kind::Receipt);
    let found = (&record["why"], &record["detail"]);
    let why = json!("\"a\\u{7}\" can't be written: the disk is\\u{1b}[31m full");
    assert_eq!(found, (&why, &json!({"version": 1, "not_written": true})));
}

#[test]
fn an_instrument_falls_on_which_nothing_rests_and_that_is_what_is_said() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let invalidate = |dry_run| Request::InstrumentInvalidate {
        name: "A treaty".to_owned(),
        why: "denounced".to_owned(),
        not_loaded: true,
        dry_run,
    };
    let words = "the instrument \"A treaty\" has fallen; nothing that is open rests on it";
    let planned = answer(&mut world, invalidate(true));
    assert!(matches!(&planned, Response::Planned { message, .. } if message.contains(words)), "{planned:?}");
    let done = answer(&mut world, invalidate(false));
    assert!(matches!(&done, Response::Done { message, .. } if message.starts_with(words)), "{done:?}");
}

/// Each order in the history has what it is on, also where all have one reference.
#[test]
fn history_tells_orders_of_one_reference_apart() {
    let mut world = World::new(with_key(), &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    let order = || "High Court, 2026/1".to_owned();
    let stay =
        |target: Target| Request::ExemptionStay { target, order: order(), not_loaded: false, dry_run: false };
    let targets = [Target::Id("a".to_owned()), Target::Pin("mail".to_owned()), Target::All];
    for target in &targets {
        assert!(matches!(answer(&mut world, stay(target.clone())), Response::Done { .. }));
    }
    for target in &targets {
        let lift = Request::ExemptionResume {
            target: target.clone(),
            order: Some(order()),
            why: "lifted".to_owned(),
            lift: None,
            dry_run: false,
            to_sign: false,
        };
        let done = answer(&mut world, lift);
        assert!(matches!(done, Response::Done { .. }), "{done:?}");
    }
    world.revoke("a");
    world.settle();
    let Response::Receipt { text, .. } = receipt_of(&mut world, "a") else { panic!() };
    let receipt = Receipt::read(text.as_bytes()).unwrap();
    let of_orders = receipt.history.iter().filter(|it| ["stay", "resume"].contains(&it.what.as_str()));
    let found: Vec<_> = of_orders
        .map(|it| (it.what.as_str(), it.covers.as_deref().unwrap_or("?"), it.name.as_deref().unwrap_or("?")))
        .collect();
    let each = |what: &'static str| [(what, "exemption", "a"), (what, "pin", "mail"), (what, "all", "")];
    assert_eq!(found, [each("stay"), each("resume")].concat());
}
