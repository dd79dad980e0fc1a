//! What is told is what was decided.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use guard_common::abi::{Direction, Hook};
use guard_common::decide::mirror;
use guard_common::packet::{Addr, Layer, Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};
use proptest::prelude::*;

use super::super::flow::{BadFlow, End, packet};
use super::super::selectors::At;
use super::super::{Explainer, Explanation, NamedExemption, Surroundings, selectors};
use crate::compile::tests::examples;
use crate::compile::tests::generate::{case, host};
use crate::compile::tests::packets::parsed;
use crate::compile::tests::reference::Loaded;
use crate::compile::{InterfaceFact, KernelExemption};
use crate::config::policy::{Ingress, Pin};
use crate::config::{self, Policy};
use crate::geo::{GeoDb, Info, Runs};

const POLICY: &str = r#"approval = "none"
[host]
interfaces = ["eth0"]
[[failsafe]]
name = "ssh"
local_ports = ["tcp/22"]
anywhere = true
[[site]]
name = "ashburn"
jurisdiction = "US"
cidrs = ["203.0.113.0/24"]
[[pin]]
name = "mail"
home = "IE"
permit = ["DE"]
action = "drop"
[pin.select]
sources = ["192.0.2.10/32", "2001:db8:1::10/128"]
ports = ["tcp/143", "tcp/993"]
[[pin]]
name = "backup"
home = "IE"
action = "flag"
[pin.select]
cgroups = ["backup.slice"]
marks = ["0x10/0xff"]
"#;

fn policy() -> Policy {
    policy_of(POLICY)
}

fn policy_of(text: &str) -> Policy {
    config::parse(Path::new("policy.toml"), text.as_bytes(), &config::Surroundings::new(None)).unwrap().policy
}

pub(super) fn explainer() -> Explainer {
    explainer_of(policy())
}

fn explainer_of(policy: Policy) -> Explainer {
    let info = Info { source: "a test's".to_owned(), ..Info::default() };
    let db = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info };
    Explainer::new(policy, db, Vec::new(), Some("eth0")).unwrap()
}

fn end(text: &str) -> End {
    text.parse().unwrap()
}

fn explain(from: &str, to: &str, surroundings: &Surroundings) -> Explanation {
    let packet = packet(end(from), end(to), None).unwrap();
    explainer().explain(Hook::Egress, Parsed::Ip, &packet, surroundings, 100, 5)
}

fn text(explained: &Explanation) -> String {
    let lines: Vec<String> =
        explained.steps.iter().map(|step| format!("{}: {}", step.step, step.says)).collect();
    lines.join("\n")
}

#[test]
fn a_forbidden_flow_is_told_step_by_step() {
    let explained = explain("192.0.2.10:143", "203.0.113.30:50000", &Surroundings::default());
    assert_eq!((explained.verdict, explained.reason), (Verdict::Drop, Reason::Forbidden));
    assert_eq!(
        (explained.pins.as_slice(), explained.denied.as_slice()),
        (&["mail".to_owned()][..], &["mail".to_owned()][..])
    );
    let expected = r#"flow: tcp from 192.0.2.10:143 to 203.0.113.30:50000
tag: the pin "mail" matches: source 192.0.2.10 in 192.0.2.10/32, source port tcp/143 by tcp/143
tag: the pin "backup" does not match: the mark 0x0 is not 0x10/0xff
failsafe: no rule covers it
place: 203.0.113.30 is in US (United States of America), by the site "ashburn" (203.0.113.0/24)
policy: the pin "mail" (line 12) forbids US for 203.0.113.30: it permits IE (Ireland) and 1 other jurisdiction; its action is drop
exemption: no exemption is open
verdict: drop, forbidden: A pin forbids the destination's jurisdiction and no exemption covers it."#;
    assert_eq!(text(&explained), expected);
}

#[test]
fn who_carries_what_is_told() {
    let pin = "[[pin]]\nname = \"files\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nvolumes = [\"/srv/files\"]\n";
    let explainer = explainer_of(policy_of(&(POLICY.to_owned() + pin)));
    let text_of = |volumes: &[&str]| {
        let volumes = volumes.iter().map(PathBuf::from).collect();
        let from = Surroundings { volumes, ..Surroundings::default() };
        let packet = packet(end("192.0.2.99:40000"), end("203.0.113.30:50000"), None).unwrap();
        text(&explainer.explain(Hook::Egress, Parsed::Ip, &packet, &from, 100, 5))
    };
    let carried = text_of(&["/srv/files", "/srv/x"]);
    assert!(
        carried.contains("the pin \"files\" matches: carries data of the volume /srv/files"),
        "{carried}"
    );
    assert!(carried.contains("verdict: drop, forbidden"), "{carried}");
    let other = text_of(&["/srv/x"]);
    assert!(other.contains("\"files\" does not match: the volume /srv/x is not /srv/files"), "{other}");
    let none = text_of(&[]);
    assert!(none.contains("it selects the volume /srv/files, and none is given"), "{none}");
    assert!(none.contains("verdict: pass, untagged"), "{none}");
}

#[test]
fn what_is_left_of_a_budget_is_told() {
    let rule = "local_ports = [\"tcp/22\"]\nanywhere = true\n";
    let explainer =
        explainer_of(policy_of(&POLICY.replace(rule, &format!("{rule}bytes_per_minute = 250\n"))));
    let from =
        Surroundings { mark: 0x10, cgroup: Some("backup.slice".to_owned()), ..Surroundings::default() };
    let told = |bytes, now| {
        let packet = packet(end("192.0.2.10:22"), end("203.0.113.30:50000"), None).unwrap();
        let told = explainer.explain(Hook::Egress, Parsed::Ip, &packet, &from, bytes, now);
        (told.reason, text(&told))
    };
    let minute = 60_000_000_000;
    let (reason, first) = told(200, 5 * minute);
    assert_eq!(reason, Reason::Failsafe);
    assert!(first.contains("of the 250 bytes a minute that the rule \"ssh\" lets pass"), "{first}");
    let (reason, second) = told(100, 6 * minute - 1);
    assert_eq!(reason, Reason::FailsafeExhausted);
    assert!(
        second.contains("the 250 bytes a minute that the rule \"ssh\" lets pass are used up"),
        "{second}"
    );
    assert!(second.contains("verdict: flag, failsafe-exhausted"), "{second}");
    // What still fits passes, and the next minute has all of it.
    assert_eq!(
        (told(50, 6 * minute - 1).0, told(1, 6 * minute - 1).0),
        (Reason::Failsafe, Reason::FailsafeExhausted)
    );
    assert_eq!(
        (told(250, 6 * minute).0, told(251, 7 * minute).0),
        (Reason::Failsafe, Reason::FailsafeExhausted)
    );
}

#[test]
fn whether_an_address_is_the_hosts_is_told() {
    let pin = "[[pin]]\nname = \"own\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"host\", \"2001:db8::/32\"]\n";
    let explainer = explainer_of(policy_of(&(POLICY.to_owned() + pin)))
        .with_addresses(BTreeSet::from([Addr::from_v4_octets([198, 51, 100, 1])]));
    let text_of = |source: &str, is_forwarded| {
        let from = Surroundings { is_forwarded, ..Surroundings::default() };
        let packet = packet(end(source), end("203.0.113.30:50000"), None).unwrap();
        text(&explainer.explain(Hook::Egress, Parsed::Ip, &packet, &from, 100, 5))
    };
    for is_forwarded in [false, true] {
        let told = text_of("198.51.100.1:5", is_forwarded);
        let expected = "the pin \"own\" matches: source 198.51.100.1, an address of this host";
        assert!(told.contains(expected) && told.contains("verdict: drop, forbidden"), "{told}");
    }
    let made = text_of("198.51.100.2:5", false);
    let expected =
        "the pin \"own\" matches: made by this host, whatever its source (198.51.100.2 is no address of it";
    assert!(made.contains(expected) && made.contains("verdict: drop, forbidden"), "{made}");
    let forwarded = text_of("198.51.100.2:5", true);
    let expected = "the pin \"own\" does not match: the source 198.51.100.2 is no address of this host, which only \
                    forwards it, and not in 2001:db8::/32";
    assert!(
        forwarded.contains(expected) && forwarded.contains("it is forwarded by this host"),
        "{forwarded}"
    );
    assert!(forwarded.contains("verdict: pass, untagged"), "{forwarded}");
}

/// Who runs a process chooses its name: it makes no line of its own.
#[test]
fn names_that_others_choose_are_escaped() {
    let packet = packet(end("192.0.2.10:143"), end("203.0.113.30:50000"), None).unwrap();
    let name = || Some("a\nverdict: pass\t\u{1b}[31m\u{202e}".to_owned());
    let from = Surroundings {
        process: name(),
        cgroup: name(),
        interface: name(),
        user: name().map(|it| (it, 7)),
        ..Surroundings::default()
    };
    let told = explainer_of(policy_of(POLICY)).explain(Hook::Egress, Parsed::Ip, &packet, &from, 100, 5);
    for step in &told.steps {
        assert!(!step.says.chars().any(crate::text::is_unseen), "{:?}", step.says);
    }
    assert!(text(&told).contains(r"is sent by a\nverdict: pass\t\u{1b}[31m\u{202e}"), "{}", text(&told));
}

#[test]
fn by_what_a_packet_came_in_is_told() {
    let pin = "[[pin]]\nname = \"own\"\nhome = \"IE\"\naction = \"drop\"\n[[pin.select]]\nsources = [\"host\"]\n\
               [[pin.select]]\ninterfaces = [\"port0\"]\n";
    let fact = |index, names: &[&str], loops_back| InterfaceFact {
        index,
        names: names.iter().map(|&name| name.to_owned()).collect(),
        loops_back,
        ..InterfaceFact::default()
    };
    let facts = [fact(2, &["vx0"], true), fact(3, &["br0", "port0"], false), fact(4, &["ctr0"], false)];
    let explainer =
        explainer_of(policy_of(&(POLICY.to_owned() + pin))).with_interfaces(facts.to_vec()).unwrap();
    let packet = packet(end("198.51.100.2:5"), end("203.0.113.30:50000"), None).unwrap();
    for (name, verdict, expected) in [
        ("vx0", "drop, forbidden", "came in by vx0, where a process of this host may have sent it"),
        ("br0", "drop, forbidden", "way 2 of 2, matches: came in by br0, which is above port0"),
        ("ctr0", "pass, untagged", "the interface ctr0 is not port0"),
    ] {
        let came_in_by = Some(name.to_owned());
        let from = Surroundings { is_forwarded: true, came_in_by, ..Surroundings::default() };
        let told = text(&explainer.explain(Hook::Egress, Parsed::Ip, &packet, &from, 100, 5));
        assert!(told.contains(expected) && told.contains(&format!("verdict: {verdict}")), "{told}");
        assert!(told.contains(&format!("it came in by {name}, is forwarded by this host")), "{told}");
    }
}

#[test]
fn what_an_exemption_leaves_open_of_several_pins_is_named() {
    let pin = |name: &str| {
        format!(
            "[[pin]]\nname = \"{name}\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"192.0.2.10/32\"]\n"
        )
    };
    let exemption = |slot: u16, valid_until_ns: u64, pins: &[&str]| NamedExemption {
        id: format!("tr-{slot}"),
        kernel: KernelExemption {
            pins: pins.iter().map(|&pin| pin.to_owned()).collect(),
            ..examples::exemption(slot, "mail", valid_until_ns)
        },
    };
    let explain = |exemptions: Vec<NamedExemption>| {
        let policy = policy_of(&(POLICY.to_owned() + &pin("records") + &pin("logs")));
        let db = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info: Info::default() };
        let explainer = Explainer::new(policy, db, exemptions, Some("eth0")).unwrap();
        let packet = packet(end("192.0.2.10:143"), end("203.0.113.30:50000"), None).unwrap();
        let explained =
            explainer.explain(Hook::Egress, Parsed::Ip, &packet, &Surroundings::default(), 100, 5);
        (explained.reason, text(&explained))
    };
    let always = u64::MAX;
    let (reason, told) = explain(vec![exemption(0, always, &["mail", "records", "logs"])]);
    assert_eq!(reason, Reason::Exempt);
    assert!(told.contains("exemption: the exemption tr-0 (slot 0) covers it\n"), "{told}");
    let (reason, told) = explain(vec![exemption(0, always, &["mail"])]);
    assert_eq!(reason, Reason::Forbidden);
    assert!(told.contains("exemption: the exemption tr-0 (slot 0) covers the pin \"mail\"\n"), "{told}");
    assert!(told.ends_with("nothing covers the pins \"records\", \"logs\"."), "{told}");
    assert!(!told.contains("no exemption covers it"), "{told}");
    // Two share in it, and no third one does.
    let two = vec![exemption(0, always, &["mail", "logs"]), exemption(1, always, &["records"])];
    let (reason, told) = explain(two);
    assert_eq!(reason, Reason::Exempt);
    assert!(told.contains("the exemption tr-0 (slot 0) covers the pins \"mail\", \"logs\"\n"), "{told}");
    assert!(told.contains("the exemption tr-1 (slot 1) covers the pin \"records\"\n"), "{told}");
    let of_one_each = ["mail", "records", "logs"].into_iter().zip(0..);
    let (reason, told) = explain(of_one_each.map(|(pin, slot)| exemption(slot, always, &[pin])).collect());
    assert_eq!(reason, Reason::Forbidden);
    let expected =
        "At most 2 exemptions share in covering a packet, and these do not cover the pin \"logs\".";
    assert!(told.ends_with(expected), "{told}");
    // Why the other one does not count is said first.
    let over = vec![exemption(0, always, &["mail"]), exemption(1, 1, &["records", "logs"])];
    let (reason, told) = explain(over);
    assert_eq!(reason, Reason::ExemptionExpired);
    assert!(told.ends_with("Nothing else covers the pins \"records\", \"logs\"."), "{told}");
}

#[test]
fn an_exemption_whose_recipient_is_placed_elsewhere_is_named() {
    let explainer = |placed: &str| {
        let kernel = KernelExemption {
            jurisdictions: Vec::new(),
            networks: vec!["203.0.113.0/24".parse().unwrap()],
            placed: Some(placed.parse().unwrap()),
            ..examples::exemption(0, "mail", u64::MAX)
        };
        let db = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info: Info::default() };
        let named = vec![NamedExemption { id: "court".to_owned(), kernel }];
        Explainer::new(policy(), db, named, Some("eth0")).unwrap()
    };
    let packet = packet(end("192.0.2.10:143"), end("203.0.113.30:50000"), None).unwrap();
    let explain = |placed| {
        let from = Surroundings::default();
        explainer(placed).explain(Hook::Egress, Parsed::Ip, &packet, &from, 100, 5)
    };
    assert_eq!(explain("US").reason, Reason::Exempt);
    let told = explain("GB");
    assert_eq!(told.reason, Reason::Forbidden);
    let expected = "exemption: the exemption court names 203.0.113.30 for a recipient in GB, and does not cover it where it \
                    is placed in US";
    assert!(text(&told).contains(expected), "{}", text(&told));
}

#[test]
fn what_does_not_match_is_named() {
    let from =
        Surroundings { mark: 0x110, cgroup: Some("system.slice".to_owned()), ..Surroundings::default() };
    let told = text(&explain("192.0.2.10:25", "203.0.113.30:50000", &from));
    assert!(
        told.contains("\"mail\" does not match: the source port tcp/25 is not tcp/143 or tcp/993"),
        "{told}"
    );
    assert!(
        told.contains("\"backup\" does not match: the cgroup system.slice is not in backup.slice"),
        "{told}"
    );
    assert!(told.ends_with("verdict: pass, untagged: No pin's selectors match the packet."), "{told}");
}

#[test]
fn cgroups_below_a_selected_one_match() {
    let from = Surroundings {
        mark: 0x110,
        cgroup: Some("backup.slice/rsync.service".to_owned()),
        ..Surroundings::default()
    };
    let explained = explain("192.0.2.99", "203.0.113.30", &from);
    assert_eq!((explained.verdict, explained.reason), (Verdict::Flag, Reason::Forbidden));
    let told = text(&explained);
    assert!(told.contains("\"backup\" matches: mark 0x110 by 0x10/0xff, cgroup backup.slice"), "{told}");
}

#[test]
fn failsafe_rules_and_carried_addresses_are_told() {
    let from =
        Surroundings { mark: 0x10, cgroup: Some("backup.slice".to_owned()), ..Surroundings::default() };
    let told = text(&explain("192.0.2.10:22", "203.0.113.30:50000", &from));
    assert!(told.contains("failsafe: the rule \"ssh\" covers it (local port tcp/22)"), "{told}");
    let told = text(&explain("[2001:db8:1::10]:143", "[64:ff9b::203.0.113.30]:5", &Surroundings::default()));
    assert!(
        told.contains("by the site \"ashburn\" (203.0.113.0/24), placed by the IPv4 address that it carries"),
        "{told}"
    );
}

#[test]
fn addresses_that_only_a_site_can_place_are_told() {
    let told = text(&explain("192.0.2.10:143", "10.9.8.7:5", &Surroundings::default()));
    assert!(
        told.contains(
            "10.9.8.7 is of unknown (no source says): 10.9.8.7 is private (RFC 1918), which a site alone can place, \
             and is in no site"
        ),
        "{told}"
    );
}

#[test]
fn addresses_below_a_nat64_prefix_of_the_operator_are_told_by_what_they_carry() {
    let mut policy = explainer().policy.clone();
    policy.geo.nat64 = vec!["2001:db8:64::/96".parse().unwrap()];
    let explainer = Explainer::new(policy, explainer().db.clone(), Vec::new(), None).unwrap();
    let packet = packet(end("[2001:db8:1::10]:143"), end("[2001:db8:64::203.0.113.30]:5"), None).unwrap();
    let told = text(&explainer.explain(Hook::Egress, Parsed::Ip, &packet, &Surroundings::default(), 100, 5));
    assert!(
        told.contains(
            "2001:db8:64::cb00:711e is in US (United States of America), by the site \"ashburn\" (203.0.113.0/24), \
             placed by the IPv4 address that it carries, 203.0.113.30"
        ),
        "{told}"
    );
}

#[test]
fn ends_of_flows_are_read_as_people_write_them() {
    assert_eq!(end("[::1]:22"), End { address: "::1".parse().unwrap(), port: Some(22) });
    assert_eq!(end("[2001:db8::1]"), end("2001:db8::1"));
    assert_eq!(end("192.0.2.1:0").port, Some(0));
    for bad in
        ["", "192.0.2.1:", "192.0.2.1:65536", "::1]:22", "example.org:22", "[fe80::1%2]:22", "[192.0.2.1]:1"]
    {
        assert!(bad.parse::<End>().is_err(), "{bad}");
    }
    assert_eq!(packet(end("192.0.2.1"), end("::1"), None), Err(BadFlow::Families));
    let icmp = Some("icmp".parse().unwrap());
    assert_eq!(packet(end("192.0.2.1:1"), end("192.0.2.2"), icmp), Err(BadFlow::NoPorts));
}

#[test]
fn words_agree_with_the_decision_for_any_policy() {
    let facts = host();
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) }, |(case in case(30))| {
        prop_assume!(case.loaded == Loaded::All);
        let exemptions: Vec<NamedExemption> = case
            .exemptions
            .iter()
            .map(|kernel| NamedExemption { id: format!("E-{}", kernel.slot), kernel: kernel.clone() })
            .collect();
        let name_of = |index| facts.interfaces.iter().find(|fact| fact.index == index).map(|fact| fact.names[0].clone());
        for fact in &facts.interfaces {
            let explainer = Explainer::new(case.policy.clone(), case.db.clone(), exemptions.clone(), None).unwrap();
            let explainer = explainer.with_interfaces(facts.interfaces.clone()).unwrap();
            let addresses: BTreeSet<Addr> = case.addresses.iter().copied().map(Addr::from).collect();
            let explainer = explainer.with_addresses(addresses.clone());
            for plain in case.packets.iter().filter(|plain| plain.interface == fact.index) {
                let cgroup = facts.cgroups.iter().find(|fact| fact.id.is_some_and(|id| plain.cgroups.contains(&id)));
                let carried = facts.volumes.iter().filter(|fact| plain.volumes.contains(&fact.slot));
                let mut from = Surroundings {
                    interface: Some(fact.names[0].clone()),
                    is_forwarded: plain.came_in_by != 0,
                    came_in_by: name_of(plain.came_in_by),
                    mark: plain.mark,
                    cgroup: cgroup.map(|fact| format!("{}/below", fact.path)),
                    user: plain.users.first().map(|uid| (uid.to_string(), *uid)),
                    volumes: carried.map(|fact| fact.volume.path.clone()).collect(),
                    direction: plain.direction,
                    is_live: false,
                    process: None,
                };
                let (parsed, mut packet) = parsed(plain, &Packet::default());
                let explained = explainer.explain(plain.hook, parsed, &packet, &from, plain.wire_len, plain.now);
                if plain.hook == Hook::Ingress {
                    mirror(&mut packet);
                    // At XDP there is neither a mark nor a socket yet.
                    (from.mark, from.cgroup, from.user, from.volumes) = (0, None, None, Vec::new());
                    (from.direction, from.came_in_by) = (Direction::Unknown, None);
                }
                for step in &explained.steps {
                    prop_assert!(!step.says.ends_with(' ') && !step.says.contains(": ,"), "{}", step.says);
                }
                prop_assert_eq!(explained.exemption.is_some(), explained.reason == Reason::Exempt);
                if parsed != Parsed::Ip {
                    continue;
                }
                for pin in case.policy.distinct_pins() {
                    let looked_at = plain.hook == Hook::Egress || pin.ingress != Ingress::Off;
                    // What a trace does not tell of a live packet.
                    let (cgroup, user, volumes) = Default::default();
                    let live = Surroundings { is_live: true, cgroup, user, volumes, ..from.clone() };
                    let at = At { hook: plain.hook, explainer: &explainer };
                    let look = |way: &Pin, layer: &Layer| {
                        let found = selectors::look(way, Some(layer), &from, at, false);
                        let told = selectors::look(way, Some(layer), &live, at, found.is_ok());
                        assert_eq!(told.is_ok(), found.is_ok(), "{told:?} {found:?}");
                        found.is_ok()
                    };
                    let matches = |way: &Pin| {
                        packet.layers().iter().filter(|layer| look(way, layer)).count() > 0
                    };
                    let mut ways = case.policy.pins.iter().filter(|way| way.name == pin.name);
                    let by_words = looked_at && ways.any(matches);
                    prop_assert_eq!(explained.pins.contains(&pin.name), by_words, "{:?} and {:?}", pin, packet);
                }
            }
        }
    });
}
