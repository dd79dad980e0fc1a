//! Single decisions that a rule of the design settles, each once wrong or easily got wrong.

use std::path::Path;

use guard_common::abi::Hook;
use guard_common::decide::{Decision, NoTrace, by_origin, decide};
use guard_common::host::{HostOrigin, HostTables};
use guard_common::packet::{self, Addr, HEADER_LEN, Layer, Link, Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};

use super::super::{
    CgroupFact, CgroupParentFact, HostFacts, InterfaceFact, KernelExemption, beyond, geo_image, policy_table,
};
use crate::config::{Policy, Surroundings, parse};
use crate::geo::{GeoDb, Info, Runs};

fn policy(pins: &str) -> Policy {
    let head = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"ashburn\"\njurisdiction = \"US\"\n\
                cidrs = [\"203.0.113.0/24\"]\n";
    parse(Path::new("policy.toml"), format!("{head}{pins}").as_bytes(), &Surroundings::new(None))
        .unwrap()
        .policy
}

/// One of this pin to the US, without a bound.
pub(crate) fn exemption(slot: u16, pin: &str, valid_until_ns: u64) -> KernelExemption {
    KernelExemption {
        slot,
        account: slot,
        identity: 0,
        pins: vec![pin.to_owned()],
        jurisdictions: vec!["US".parse().unwrap()],
        networks: Vec::new(),
        placed: None,
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns,
        quota: u64::MAX,
    }
}

/// Judges a packet from 192.0.2.10 to 203.0.113.30 at the time 50.
fn judge(policy: &Policy, exemptions: &[KernelExemption], layer: Layer) -> Decision {
    let db = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info: Info::default() };
    let table = policy_table(policy, exemptions, &HostFacts::default(), 1).unwrap();
    let tables = HostTables::new(table, geo_image(&db, &policy.sites).unwrap());
    let addresses = Layer { src: Addr::from_v4(0xc000_020a), dst: Addr::from_v4(0xcb00_711e), ..layer };
    let mut packet = Packet { layer_count: 1, ..Packet::default() };
    packet.layers[0] = addresses;
    let origin = HostOrigin { ifindex: 2, wire_len: 100, ..HostOrigin::default() };
    decide(Hook::Egress, Parsed::Ip, &packet, &tables, &origin, || 50, &mut NoTrace)
}

const MAIL: &str =
    "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n";

#[test]
fn an_interface_that_came_since_counts_as_selected() {
    let policy = policy(&format!("{MAIL}select.interfaces = [\"ctr*\"]\n"));
    let interface = |index: u32| InterfaceFact {
        index,
        names: vec![if index == 7 { "ctr0".to_owned() } else { format!("eth{index}") }],
        ..InterfaceFact::default()
    };
    let pins_of = |count: u32, ifindex: u32| {
        let interfaces = (1..=count).map(interface).collect();
        let table = policy_table(&policy, &[], &HostFacts { interfaces, ..HostFacts::default() }, 1).unwrap();
        let origin = HostOrigin { ifindex: 2, ingress_ifindex: ifindex, ..HostOrigin::default() };
        let by_origin = by_origin(Hook::Egress, &table, &origin);
        (by_origin.pins, by_origin.unplaced)
    };
    for count in [200, 256, 257, 1000] {
        assert_eq!(pins_of(count, 0), (0, 0), "made here, of {count}");
        assert_eq!(pins_of(count, 7), (1, 0), "selected, of {count}");
        assert_eq!(pins_of(count, 8), (0, 0), "another, of {count}");
        assert_eq!(pins_of(count, count), (0, 0), "the last, of {count}");
        assert_eq!(pins_of(count, count + 1), (1, 1), "came since, of {count}");
    }
}

#[test]
fn where_not_all_that_is_selected_fits_each_interface_counts_as_selected() {
    let policy = policy(&format!("{MAIL}select.interfaces = [\"ctr*\"]\n"));
    let interface =
        |index: u32| InterfaceFact { index, names: vec![format!("ctr{index}")], ..InterfaceFact::default() };
    for (count, selected) in [(256, None), (257, Some(257))] {
        let host = HostFacts { interfaces: (1..=count).map(interface).collect(), ..HostFacts::default() };
        assert_eq!(beyond(&policy, &host).first().map(|it| it.count), selected);
        let table = policy_table(&policy, &[], &host, 1).unwrap();
        for ifindex in [1, count, count + 1] {
            let origin = HostOrigin { ifindex, ..HostOrigin::default() };
            assert_eq!(by_origin(Hook::Egress, &table, &origin).pins, 1, "{ifindex} of {count}");
        }
    }
}

#[test]
fn where_not_all_cgroups_fit_each_socket_counts_as_of_one_that_is_selected() {
    let paths: Vec<String> = (0..65).map(|number| format!("t{number}/mail")).collect();
    let policy = policy(&format!("{MAIL}select.cgroups = {paths:?}\n"));
    for (count, fits) in [(64, true), (65, false)] {
        let parents = paths.iter().take(count).zip(1000..).map(|(path, id)| {
            let path = path.trim_end_matches("/mail").to_owned();
            CgroupParentFact { path, id, known: 5000 }
        });
        let cgroups = paths.iter().map(|path| CgroupFact { path: path.clone(), id: None, level: 2 });
        let host =
            HostFacts { parents: parents.collect(), cgroups: cgroups.collect(), ..HostFacts::default() };
        assert_eq!(beyond(&policy, &host).first().map(|it| it.count), (!fits).then_some(65));
        let table = policy_table(&policy, &[], &host, 1).unwrap();
        let origin = HostOrigin { cgroups: vec![7, 8], ..HostOrigin::default() };
        assert_eq!(by_origin(Hook::Egress, &table, &origin).pins, u64::from(!fits), "another's, of {count}");
    }
}

/// The reason for an IP packet of this protocol with nothing behind its header, in a frame as the parser reads it.
fn reason_of(proto: u8, fragment: u16, ipv6: bool) -> Reason {
    let mut bytes = [0; HEADER_LEN];
    let (ethertype, header): (u16, Vec<u8>) = match ipv6 {
        false => {
            let [f0, f1] = fragment.to_be_bytes();
            let fixed = [0x45, 0, 0, 40, 0, 1, f0, f1, 64, proto, 0, 0, 192, 0, 2, 10, 203, 0, 113, 9];
            (0x0800, [&fixed[..], &[0; 20]].concat())
        }
        true => {
            let [f0, f1] = (fragment << 3).to_be_bytes();
            let (next, inside) = if fragment == 0 { (proto, vec![]) } else { (44, vec![proto, 0, f0, f1]) };
            (0x86dd, [&[0x60, 0, 0, 0, 0, 28, next, 64][..], &[0x20; 32], &inside, &[0; 20]].concat())
        }
    };
    let frame = [&[0; 12][..], &ethertype.to_be_bytes(), &header].concat();
    bytes[..frame.len()].copy_from_slice(&frame);
    let mut packet = Packet::default();
    let parsed = packet::parse(Link::Ethernet, &bytes, frame.len(), frame.len(), &mut packet);
    assert_eq!(parsed, Parsed::Ip, "protocol {proto}");
    judge(&policy(MAIL), &[], packet.layers[0]).reason
}

#[test]
fn what_has_no_ports_matches_no_port_selector_and_what_hides_them_every_one() {
    for (proto, reason) in [
        (1, Reason::Untagged),
        (2, Reason::Untagged),
        (58, Reason::Untagged),
        (59, Reason::Untagged),
        (89, Reason::Untagged),
        (112, Reason::Untagged),
        // ESP, IPComp, and what is of no protocol that is known.
        (50, Reason::Forbidden),
        (108, Reason::Forbidden),
        (253, Reason::Forbidden),
    ] {
        for ipv6 in [false, true] {
            assert_eq!(reason_of(proto, 0, ipv6), reason, "protocol {proto}, IPv6: {ipv6}");
        }
    }
    // Over IPv4 the numbers of most IPv6 extension headers are protocols of their own, such as HIP.
    for proto in [0, 43, 44, 60, 135, 139, 140] {
        assert_eq!(reason_of(proto, 0, false), Reason::Forbidden, "protocol {proto}");
    }
}

#[test]
fn a_later_fragment_matches_the_port_selectors_that_it_may_have() {
    for (proto, v4) in
        [(6, Reason::Forbidden), (17, Reason::Forbidden), (1, Reason::Untagged), (4, Reason::Forbidden)]
    {
        assert_eq!(reason_of(proto, 1, false), v4, "protocol {proto}");
        // Of an IPv6 packet the first fragment alone says what it is (RFC 8200 section 4.5).
        assert_eq!(reason_of(proto, 1, true), Reason::Forbidden, "protocol {proto}");
    }
}

#[test]
fn the_reason_is_what_keeps_the_open_pin_from_being_covered() {
    let pins = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.sources = [\"192.0.2.0/24\"]\n\
                [[pin]]\nname = \"backup\"\nhome = \"IE\"\naction = \"flag\"\nselect.sources = [\"192.0.2.0/24\"]\n";
    let policy = policy(pins);
    let (old, good) = (exemption(1, "mail", 40), exemption(2, "mail", 60));
    // Renewing the expired one would not help: nothing covers the pin "backup".
    let decision = judge(&policy, &[old.clone(), good.clone()], Layer::default());
    assert_eq!((decision.verdict, decision.reason), (Verdict::Drop, Reason::Forbidden));
    let decision = judge(&policy, std::slice::from_ref(&old), Layer::default());
    assert_eq!(decision.reason, Reason::ExemptionExpired);
    let decision = judge(&policy, &[old, good, exemption(9, "backup", 60)], Layer::default());
    assert_eq!((decision.reason, decision.exemption), (Reason::Exempt, 9));
}
