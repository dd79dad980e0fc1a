//! ICMP errors that come in: judged by the packet that they quote.

use std::path::Path;

use guard_common::abi::Hook;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};

use super::super::frames::parse_frame;
use super::super::{Explainer, Explanation, Surroundings};
use crate::config;
use crate::geo::{GeoDb, Info, Runs};

const POLICY: &str = r#"approval = "none"
[host]
interfaces = ["eth0"]
[[failsafe]]
name = "ssh"
local_ports = ["tcp/22"]
anywhere = true
[[site]]
name = "brussels"
jurisdiction = "BE"
cidrs = ["198.51.100.0/24"]
[[site]]
name = "ashburn"
jurisdiction = "US"
cidrs = ["203.0.113.0/24"]
[[pin]]
name = "mail"
home = "IE"
permit = ["BE"]
action = "drop"
ingress = "drop"
[pin.select]
sources = ["192.0.2.10/32"]
[[pin]]
name = "files"
home = "IE"
action = "drop"
ingress = "drop"
[pin.select]
sources = ["192.0.2.10/32"]
remote_ports = ["tcp/445"]
"#;

const STORAGE: [u8; 4] = [192, 0, 2, 10];
const BELGIUM: [u8; 4] = [198, 51, 100, 20];
const ROUTER: [u8; 4] = [203, 0, 113, 1];

/// An IPv4 packet.
fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u8;
    [&[0x45, 0, 0, total, 0, 0, 0, 0, 64, protocol, 0, 0][..], &from, &to, payload].concat()
}

/// The first bytes of a TCP segment.
fn tcp(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 4]].concat()
}

/// An ICMP error of this type from a router in the US to the storage host.
fn error(kind: u8, quoted: &[u8]) -> Vec<u8> {
    ipv4(1, ROUTER, STORAGE, &[&[kind, 4, 0, 0, 0, 0, 5, 0][..], quoted].concat())
}

fn explain(hook: Hook, frame: &[u8]) -> Explanation {
    let policy = config::parse(Path::new("p"), POLICY.as_bytes(), &config::Surroundings::new(None)).unwrap();
    let db = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info: Info::default() };
    let explainer = Explainer::new(policy.policy, db, Vec::new(), Some("eth0")).unwrap();
    let (parsed, packet) = parse_frame(Link::Raw, frame);
    explainer.explain(hook, parsed, &packet, &Surroundings::default(), frame.len() as u64, 5)
}

fn judged(frame: &[u8]) -> (Verdict, Reason) {
    let explained = explain(Hook::Ingress, frame);
    (explained.verdict, explained.reason)
}

#[test]
fn an_error_for_a_permitted_flow_passes_and_the_words_say_why() {
    let fragmentation_needed = error(3, &ipv4(6, STORAGE, BELGIUM, &tcp(143, 50_000)));
    let explained = explain(Hook::Ingress, &fragmentation_needed);
    assert_eq!((explained.verdict, explained.reason), (Verdict::Pass, Reason::Permitted));
    assert!(explained.denied.is_empty() && explained.pins == ["mail"]);
    let said: Vec<String> =
        explained.steps.iter().map(|step| format!("{}: {}", step.step, step.says)).collect();
    assert_eq!(
        said[..2],
        [
            "flow: an ICMP error, icmp from 203.0.113.1 to 192.0.2.10, judged by the packet that it quotes",
            "flow: what it quotes: tcp from 192.0.2.10:143 to 198.51.100.20:50000",
        ]
    );
    let placed = said.iter().find(|line| line.starts_with("place: ")).unwrap();
    assert!(placed.contains("198.51.100.20 is in BE"), "{placed}");
    for kind in [3, 11, 12] {
        let passes = judged(&error(kind, &ipv4(6, STORAGE, BELGIUM, &tcp(143, 50_000))));
        assert_eq!(passes, (Verdict::Pass, Reason::Permitted), "{kind}");
    }
    // What keeps the host manageable.
    let by_failsafe = error(3, &ipv4(6, STORAGE, [203, 0, 113, 9], &tcp(22, 50_000)));
    assert_eq!(judged(&by_failsafe), (Verdict::Pass, Reason::Failsafe));
}

#[test]
fn every_other_message_is_judged_by_where_it_comes_from() {
    let forbidden = (Verdict::Drop, Reason::Forbidden);
    let quoted = ipv4(6, STORAGE, BELGIUM, &tcp(143, 50_000));
    for (what, frame) in [
        ("a forbidden flow", error(3, &ipv4(6, STORAGE, [203, 0, 113, 30], &tcp(143, 50_000)))),
        ("forbidden by the other pin", error(3, &ipv4(6, STORAGE, BELGIUM, &tcp(50_000, 445)))),
        ("a flow of another host", error(3, &ipv4(6, [192, 0, 2, 11], BELGIUM, &tcp(143, 50_000)))),
        ("a flow to the host", error(3, &ipv4(6, BELGIUM, STORAGE, &tcp(50_000, 143)))),
        ("a redirect", error(5, &quoted)),
        ("an echo request", error(8, &quoted)),
        ("too little of it", error(3, &quoted[..22])),
        ("a tunnel", error(3, &ipv4(4, STORAGE, BELGIUM, &quoted))),
        ("no error at all", ipv4(17, ROUTER, STORAGE, &[0, 9, 0, 9, 0, 8, 0, 0])),
    ] {
        assert_eq!(judged(&frame), forbidden, "{what}");
        let said = explain(Hook::Ingress, &frame).steps;
        assert!(said.iter().all(|step| !step.says.contains("quotes")), "{what}");
    }
    // From where it may come: by its own addresses, whatever it quotes.
    let from_belgium = ipv4(1, BELGIUM, STORAGE, &[&[3, 4, 0, 0, 0, 0, 5, 0][..], &quoted].concat());
    assert_eq!(judged(&from_belgium), (Verdict::Pass, Reason::Permitted));
    // What leaves goes where it goes.
    let leaving = ipv4(1, STORAGE, ROUTER, &[&[3, 4, 0, 0, 0, 0, 5, 0][..], &quoted].concat());
    assert_eq!(explain(Hook::Egress, &leaving).verdict, Verdict::Drop);
}
