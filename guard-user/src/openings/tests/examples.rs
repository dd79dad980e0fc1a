//! Changes of a policy one by one, each with what it opens.

use std::path::Path;
use std::slice::from_ref;

use guard_common::verdict::Verdict;

use super::super::{Change, Openings, World, openings};
use crate::compile::KernelExemption;
use crate::config::policy::Policy;
use crate::config::{Surroundings, parse};
use crate::geo::{GeoDb, Info, Runs};

const MAIL: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
                    select.sources = [\"192.0.2.0/24\", \"2001:db8::/64\"]\nselect.ports = [\"tcp/993\"]\n";

fn policy(text: &str) -> Policy {
    let text = format!("[host]\ninterfaces = [\"eth0\"]\n{text}");
    parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
}

/// What is between these numbers of 9.0.0.0 and of 2a00:: is Irish, and the rest of both Belgian or American.
fn database(irish: (u32, u32), rest: &str) -> GeoDb {
    let (mut v4, mut v6) = (Runs::unknown(), Runs::unknown());
    let rest = rest.parse().unwrap();
    for (at, place) in [(0, rest), (irish.0, "IE".parse().unwrap()), (irish.1, rest)] {
        v4.push(0x0900_0000 + at, place);
        v6.push((0x2a00 << 112) + u128::from(at), place);
    }
    GeoDb { v4, v6, info: Info::default() }
}

fn american() -> GeoDb {
    database((100, 200), "US")
}

fn between(old: &str, new: &str) -> Openings {
    let (old, new, geo) = (policy(old), policy(new), american());
    let world = |policy| World { policy, geo: &geo, exemptions: &[] };
    openings(&world(&old), &world(&new)).unwrap()
}

#[test]
fn what_opens_nothing_is_not_told() {
    let same = [
        MAIL.to_owned(),
        // Another but equal split, another order, and a place more that is closed.
        MAIL.replace("\"192.0.2.0/24\"", "\"192.0.2.128/25\", \"192.0.2.0/25\""),
        MAIL.replace("tcp/993", "tcp/993-1000"),
        MAIL.replace("[\"EU\"]", "[\"IE\"]"),
        format!("[[site]]\nname = \"dc\"\njurisdiction = \"US\"\ncidrs = [\"9.0.0.128/25\"]\n{MAIL}"),
        format!(
            "{MAIL}[[pin]]\nname = \"more\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/80\"]\n"
        ),
    ];
    for new in same {
        let found = between(MAIL, &new);
        assert!(found.is_empty(), "{new}: {found:?}");
    }
}

#[test]
fn each_change_that_opens_is_told() {
    let opening = [
        MAIL.replace("[\"EU\"]", "[\"EU\", \"US\"]"),
        MAIL.replace("[\"EU\"]", "[\"EU\", \"unknown\"]"),
        MAIL.replace("192.0.2.0/24", "192.0.2.0/25"),
        MAIL.replace("tcp/993", "tcp/994"),
        MAIL.replace("\"drop\"", "\"flag\""),
        MAIL.replace("\"drop\"", "\"observe\""),
        format!("{MAIL}select.cgroups = [\"mail.slice\"]\n"),
        format!("{MAIL}select.users = [\"7\"]\n"),
        format!("{MAIL}select.marks = [\"7\"]\n"),
        format!("{MAIL}select.remote_ports = [\"tcp/1-65534\"]\n"),
        format!("{MAIL}select.volumes = [\"/srv/mail\"]\n"),
        format!("[[site]]\nname = \"dc\"\njurisdiction = \"IE\"\ncidrs = [\"9.0.1.0/32\"]\n{MAIL}"),
        format!(
            "[[failsafe]]\nname = \"ssh\"\npeers = [\"9.0.1.0/32\"]\nlocal_ports = [\"tcp/993\"]\n{MAIL}"
        ),
    ];
    for new in opening {
        let found = between(MAIL, &new);
        assert!(!found.flows.is_empty(), "{new}: {found:?}");
        assert!(found.flows.iter().all(|flow| flow.pins == ["mail"]), "{found:?}");
        // Where no pin drops, ways past the guard are refused no more.
        let is_told = |it: &Change| *it == Change::Milder { key: "bypass.refuse" };
        assert!(found.changes.iter().all(is_told), "{found:?}");
    }
}

#[test]
fn one_address_that_a_database_moves_is_found() {
    for (start, end) in [(99, 200), (100, 201)] {
        let (policy, old, new) = (policy(MAIL), american(), database((start, end), "US"));
        let world = |geo| World { policy: &policy, geo, exemptions: &[] };
        let found = openings(&world(&old), &world(&new)).unwrap();
        let moved: Vec<_> = found.flows.iter().flat_map(|flow| flow.to.iter().flatten()).collect();
        let at = if start == 99 { 99 } else { 200 };
        let v4 = std::net::Ipv4Addr::from(0x0900_0000 + at).into();
        let v6 = std::net::Ipv6Addr::from((0x2a00 << 112) + u128::from(at)).into();
        for address in [v4, v6] {
            let of = moved.iter().filter(|it| it.first.contains(&(address, address)));
            assert!(of.count() > 0, "{address}: {found:?}");
        }
        assert!(openings(&world(&new), &world(&old)).unwrap().is_empty(), "closing opens nothing");
    }
}

#[test]
fn a_pin_that_is_gone_or_has_another_name_opens() {
    let gone = Change::PinGone { pin: "mail".to_owned() };
    let other = "[[pin]]\nname = \"other\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/80\"]\n";
    let found = between(MAIL, other);
    assert!(found.changes == [gone.clone()] && !found.flows.is_empty());
    let found = between(MAIL, &MAIL.replace("\"mail\"", "\"post\""));
    assert!(found.changes == [gone] && found.flows.is_empty());
}

#[test]
fn what_is_no_matter_of_a_packet_is_told() {
    let by_volume = format!("{MAIL}select.volumes = [\"/srv/mail\"]\nselect.relays = \"tag\"\n");
    let narrower = |key| Change::PinNarrower { pin: "mail".to_owned(), key };
    let cases = [
        (by_volume.replace("\"tag\"", "\"tell\""), narrower("relays")),
        (format!("{by_volume}select.spread = \"process\"\n"), narrower("spread")),
        (by_volume.clone() + "[sockets]\nnote = false\n", Change::Milder { key: "sockets.note" }),
        (
            by_volume.clone() + "[bypass]\nallow = [\"vm.slice\"]\n",
            Change::BypassAllowed { cgroup: "vm.slice".to_owned() },
        ),
        (by_volume.clone() + "[bypass]\nrefuse = false\n", Change::Milder { key: "bypass.refuse" }),
    ];
    for (new, change) in cases {
        let new = std::panic::catch_unwind(|| between(&by_volume, &new).changes);
        // A config that is refused opens nothing.
        if let Ok(changes) = new {
            assert_eq!(changes, [change]);
        }
    }
}

fn exemption(slot: u16) -> KernelExemption {
    KernelExemption {
        slot,
        account: slot,
        pins: vec!["mail".to_owned()],
        jurisdictions: Vec::new(),
        networks: vec!["9.0.1.0/24".parse().unwrap()],
        placed: None,
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns: 1000,
        quota: 5000,
    }
}

#[test]
fn exemptions_open_by_window_quota_recipient_and_port_and_not_by_slot() {
    let (policy, geo) = (policy(MAIL), american());
    let opens = |old: &[KernelExemption], new: &[KernelExemption]| {
        let world = |exemptions| World { policy: &policy, geo: &geo, exemptions };
        let found = openings(&world(old), &world(new)).unwrap();
        assert!(found.changes.is_empty() && found.flows.iter().all(|flow| flow.was.verdict == Verdict::Drop));
        !found.flows.is_empty()
    };
    let old = exemption(3);
    assert!(opens(&[], from_ref(&old)) && !opens(from_ref(&old), &[]));
    assert!(!opens(from_ref(&old), &[exemption(9)]));
    let wider: [fn(&mut KernelExemption); 4] = [
        |it| it.valid_until_ns = 1001,
        |it| it.quota = 5001,
        |it| it.networks.push("9.0.2.0/32".parse().unwrap()),
        |it| it.jurisdictions.push("US".parse().unwrap()),
    ];
    for widen in wider {
        let mut new = exemption(3);
        widen(&mut new);
        assert!(opens(from_ref(&old), from_ref(&new)), "{new:?}");
        assert!(!opens(&[new], from_ref(&old)));
    }
    let mut by_port = exemption(3);
    by_port.ports = crate::config::policy::Protocol::ALL
        .iter()
        .map(|protocol| crate::config::policy::PortRange { protocol: *protocol, first: 25, last: 25 })
        .collect();
    assert!(opens(from_ref(&by_port), from_ref(&old)) && !opens(&[old], &[by_port]));
}
