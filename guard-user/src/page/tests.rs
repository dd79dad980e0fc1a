//! The gate, and the page as another parser reads it.

use std::time::Instant;

use html5ever::tendril::TendrilSink as _;
use html5ever::{ParseOpts, parse_document};
use hyper::{Method, Request, StatusCode};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use proptest::prelude::*;

use super::gate::{Admission, Gate, Part};
use super::render;
use crate::control::status::CounterStatus;
use crate::exemption::State;
use crate::health::{Problem, ProblemCode};
use crate::live::event::{Endpoint, Process};
use crate::live::feed::News;
use crate::live::known::Known;
use crate::live::sample;

const HOST: &str = "127.0.0.1:8420";

fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn gate() -> Gate {
    Gate::of_link(8420).unwrap()
}

fn session(gate: &Gate) -> String {
    gate.cookie().split(';').next().unwrap().to_owned()
}

fn is_refused(admission: Admission) -> bool {
    matches!(admission, Admission::Refused(StatusCode::FORBIDDEN, _))
}

#[test]
fn a_link_works_once_and_a_session_as_long_as_the_process() {
    let gate = gate();
    let link = gate.link().unwrap();
    assert!(is_refused(gate.admit(&request("/", &[("host", HOST)]))));
    assert!(is_refused(gate.admit(&request(&format!("{link}0"), &[("host", HOST)]))));
    // A HEAD, which a preview sends, uses nothing up.
    let mut head = request(&link, &[("host", HOST)]);
    *head.method_mut() = Method::HEAD;
    assert!(is_refused(gate.admit(&head)));
    assert_eq!(gate.admit(&request(&link, &[("host", HOST)])), Admission::Session);
    assert!(is_refused(gate.admit(&request(&link, &[("host", HOST)]))));
    assert_eq!(gate.link(), None);
    let cookie = session(&gate);
    for _ in 0..2 {
        let live = gate.admit(&request("/live", &[("host", HOST), ("cookie", &cookie)]));
        assert_eq!(live, Admission::Part(Part::Live));
    }
    let among = format!("a=b; {cookie}; c=d");
    assert_eq!(gate.admit(&request("/", &[("host", HOST), ("cookie", &among)])), Admission::Part(Part::Page));
    // Of another process, or of another port.
    assert!(is_refused(gate.admit(&request("/", &[("host", HOST), ("cookie", &session(&self::gate()))]))));
    let named = cookie.replacen("8420", "8421", 1);
    assert!(is_refused(gate.admit(&request("/", &[("host", HOST), ("cookie", &named)]))));
}

#[test]
fn a_socket_of_ones_own_needs_no_link_and_still_no_foreign_page() {
    let gate = Gate::OfUser;
    assert_eq!(gate.admit(&request("/", &[("host", "localhost")])), Admission::Part(Part::Page));
    assert_eq!(gate.admit(&request("/live", &[("host", "127.0.0.1:9000")])), Admission::Part(Part::Live));
    for headers in [
        &[("host", "example.org")][..],
        &[],
        &[("host", "localhost"), ("host", "localhost")],
        &[("host", "localhost"), ("origin", "http://example.org")],
        &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
    ] {
        assert!(is_refused(gate.admit(&request("/", headers))), "{headers:?}");
    }
    let own =
        [("host", "localhost:9000"), ("origin", "http://localhost:9000"), ("sec-fetch-site", "same-origin")];
    assert_eq!(gate.admit(&request("/live", &own)), Admission::Part(Part::Live));
}

proptest! {
    #[test]
    fn no_other_host_or_origin_is_let_in(host in "[ -~]{0,30}", origin in "[ -~]{0,30}", site in "[a-z-]{0,12}") {
        let gate = gate();
        let cookie = session(&gate);
        let is_own = |host: &str| host.strip_suffix(":8420").is_some_and(|name| {
            let name = name.trim_matches(['[', ']']);
            name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
        });
        prop_assume!(!is_own(host.trim()));
        prop_assert!(is_refused(gate.admit(&request("/", &[("host", &host), ("cookie", &cookie)]))));
        prop_assume!(origin.trim() != format!("http://{HOST}"));
        prop_assert!(is_refused(gate.admit(&request("/", &[("host", HOST), ("cookie", &cookie), ("origin", &origin)]))));
        prop_assume!(!matches!(site.as_str(), "none" | "same-origin"));
        prop_assert!(is_refused(gate.admit(&request("/", &[("host", HOST), ("cookie", &cookie), ("sec-fetch-site", &site)]))));
    }
}

fn known() -> Known {
    let mut known = Known { now: sample::now(), ..Known::default() };
    sample::news().into_iter().for_each(|news| known.update(news));
    known
}

fn below(node: &Handle, found: &mut Vec<Handle>) {
    for child in node.children.borrow().iter() {
        found.push(child.clone());
        below(child, found);
    }
}

/// An element's name, and its attributes.
type Element = (String, Vec<(String, String)>);

/// Every element, all text, and what is no sound HTML.
fn parsed(html: &str) -> (Vec<Element>, String, Vec<String>) {
    let dom = parse_document(RcDom::default(), ParseOpts::default()).one(html);
    let mut nodes = Vec::new();
    below(&dom.document, &mut nodes);
    let (mut elements, mut text) = (Vec::new(), String::new());
    for node in nodes {
        match &node.data {
            NodeData::Element { name, attrs, .. } => {
                let attributes = attrs.borrow();
                let attributes =
                    attributes.iter().map(|it| (it.name.local.to_string(), it.value.to_string()));
                elements.push((name.local.to_string(), attributes.collect()));
            }
            NodeData::Text { contents } => {
                text.push_str(&contents.borrow());
                text.push('\n');
            }
            _ => {}
        }
    }
    let errors = dom.errors.borrow().iter().map(ToString::to_string).collect();
    (elements, text, errors)
}

#[test]
fn the_page_has_every_part_and_the_figures_of_the_status() {
    let (elements, text, errors) = parsed(&render::page(&known()).into_string());
    assert_eq!(errors, Vec::<String>::new());
    for part in ["health", "map", "time", "violations", "exemptions", "orders", "coverage"] {
        let is_it = |(name, value): &(String, String)| name == "data-part" && value == part;
        assert_eq!(
            elements.iter().filter(|(_, attributes)| attributes.iter().any(is_it)).count(),
            1,
            "{part}"
        );
    }
    for said in [
        "degraded",
        "interface-missing",
        "there is no such interface",
        "To do: ",
        "41,024",
        "1,694,500",
        "1,250",
        "203.0.113.9:40000",
        "[2001:db8:3::30]:40000",
        "/etc/borderguard/policy.toml",
        "mlat-2026-0142",
        "1.5 GiB",
        "High Court, 2026/5512",
        "eio-2026-7",
        "xdp-native",
        "no such device",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    // Every address is the page's own.
    for (name, value) in elements.iter().flat_map(|(_, attributes)| attributes) {
        if matches!(name.as_str(), "href" | "src") {
            assert!(value.starts_with(['/', '#']), "{name}={value}");
        }
        assert!(!name.starts_with("on") && name != "style", "{name}={value}");
    }
    let class = |wanted: &str| {
        elements
            .iter()
            .filter(|(name, attributes)| {
                name == "path" && attributes.iter().any(|(name, value)| name == "class" && value == wanted)
            })
            .count()
    };
    assert_eq!((class("forbidden"), class("passed"), class("untagged")), (2, 2, 1));
}

#[test]
fn a_daemon_that_never_was_or_is_gone_is_told() {
    let mut known = Known { now: sample::now(), ..Known::default() };
    known.update(News::NoStatus("no daemon answers on /run/x".into()));
    let (_, text, _) = parsed(&render::page(&known).into_string());
    assert!(
        text.contains("No answer from the daemon") && text.contains("no daemon answers on /run/x"),
        "{text}"
    );
    known.update(News::Status(Box::new(sample::status(1)), Instant::now()));
    let (_, text, _) = parsed(&render::live(&known).into_string());
    assert!(!text.contains("No answer") && text.contains("degraded"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_becomes_an_element_an_attribute_or_something_unseen(
        raw in prop_oneof![any::<String>(), Just("</td><script>alert(1)</script>\"' onload=x".to_owned()), Just("\u{202e}\u{1b}\0".to_owned())],
        packets: u64,
        bytes: u64,
    ) {
        let plain = render::page(&filled("x", packets, bytes)).into_string();
        let (expected, ..) = parsed(&plain);
        let (elements, text, _) = parsed(&render::page(&filled(&raw, packets, bytes)).into_string());
        let names = |all: &[Element]| {
            all.iter().map(|(name, attributes)| (name.clone(), attributes.len())).collect::<Vec<_>>()
        };
        // A jurisdiction is found on the map only where it is one.
        if raw.len() != 2 {
            prop_assert_eq!(names(&elements), names(&expected));
        }
        prop_assert!(!text.chars().any(|it| it != '\n' && crate::text::is_unseen(it)));
    }
}

/// Its document may have bytes left: nothing passes by it all the same.
#[test]
fn many_problems_of_one_code_are_summed_up() {
    let mut status = sample::status(1);
    status.problems = vec![Problem::of(ProblemCode::InterfaceNotGuarded, "veth0", "it was refused"); 320];
    let mut known = Known { now: sample::now(), ..Known::default() };
    known.update(News::Status(Box::new(status), Instant::now()));
    let (elements, text, errors) = parsed(&render::page(&known).into_string());
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(elements.iter().filter(|(name, _)| name == "article").count(), 8);
    assert!(text.contains("320") && text.contains("and 312 more: "), "{text}");
}

#[test]
fn of_an_exemption_that_is_closed_nothing_is_left() {
    for state in [State::Revoked, State::Expired, State::Exhausted] {
        let mut status = sample::status(1);
        status.exemptions.iter_mut().for_each(|it| it.state = state);
        let mut known = Known { now: sample::now(), ..Known::default() };
        known.update(News::Status(Box::new(status), Instant::now()));
        let (_, text, _) = parsed(&render::page(&known).into_string());
        assert!(!text.contains("1.5 GiB") && !text.contains("no bound"), "{state}: {text}");
    }
}

/// What is known where every text is this one.
fn filled(raw: &str, packets: u64, bytes: u64) -> Known {
    let mut status = sample::status(1);
    let text = || raw.to_owned();
    status.counters = vec![CounterStatus {
        pin: Some(text()),
        jurisdiction: Some(format!("{raw}.")),
        verdict: text(),
        packets,
        bytes,
        ..Default::default()
    }];
    (status.version, status.kernel, status.config, status.since) = (text(), text(), text(), text());
    status.unguarded = vec![text()];
    status.database.source = text();
    status.database.stale = Some(text());
    for interface in &mut status.interfaces {
        (interface.name, interface.problem) = (text(), Some(text()));
    }
    for problem in &mut status.problems {
        (problem.subject, problem.message) = (Some(text()), text());
    }
    for exemption in &mut status.exemptions {
        exemption.id = text();
        exemption.pins = vec![text()];
        exemption.instrument.name = text();
        exemption.recipients.iter_mut().for_each(|it| (it.name, it.jurisdiction) = (text(), text()));
        exemption.orders.iter_mut().for_each(|it| (it.order, it.name, it.kind) = (text(), text(), text()));
    }
    let mut known = Known { now: sample::now(), ..Known::default() };
    known.update(News::Status(Box::new(status), Instant::now()));
    for event in sample::events() {
        let process = event.process.clone().map(|it| Process { command: text(), unit: Some(text()), ..it });
        let event = crate::live::event::Event {
            process,
            pins: vec![text()],
            jurisdiction: text(),
            meaning: text(),
            destination: Some(Endpoint { ip: "192.0.2.1".into(), port: None }),
            packets,
            bytes,
            ..event
        };
        known.update(News::Event(Box::new(event)));
    }
    known.update(News::NoEvents(text()));
    known
}
