//! Single decisions that a rule of the design settles, each once wrong or easily got wrong.

use std::path::Path;

use guard_common::abi::Hook;
use guard_common::decide::{Decision, NoTrace, decide};
use guard_common::host::{HostOrigin, HostTables};
use guard_common::packet::{Addr, Layer, Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};

use super::super::{HostFacts, KernelExemption, geo_image, policy_table};
use crate::config::{Policy, Surroundings, parse};
use crate::geo::{GeoDb, Info, Runs};

fn policy(pins: &str) -> Policy {
    let head = "[host]\ninterfaces = [\"eth0\"]\n[[site]]\nname = \"ashburn\"\njurisdiction = \"US\"\n\
                cidrs = [\"203.0.113.0/24\"]\n";
    parse(Path::new("policy.toml"), format!("{head}{pins}").as_bytes(), &Surroundings::new(None))
        .unwrap()
        .policy
}

fn exemption(slot: u16, pin: &str, valid_until_ns: u64) -> KernelExemption {
    KernelExemption {
        slot,
        account: slot,
        pins: vec![pin.to_owned()],
        jurisdictions: vec!["US".parse().unwrap()],
        networks: Vec::new(),
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
fn a_whole_packet_without_ports_matches_no_port_selector() {
    // Over IPv4 these numbers are protocols of their own; 139 is HIP (RFC 7401 section 5.1).
    for proto in [0, 43, 44, 60, 135, 139, 140, 1, 50] {
        let whole = Layer { proto, ..Layer::default() };
        assert_eq!(judge(&policy(MAIL), &[], whole).reason, Reason::Untagged, "protocol {proto}");
    }
}

#[test]
fn a_later_fragment_matches_the_port_selectors_that_it_may_have() {
    let later = |proto| Layer { proto, flags: Layer::FRAGMENT | Layer::LATER_FRAGMENT, ..Layer::default() };
    for (proto, reason) in [(6, Reason::Forbidden), (60, Reason::Forbidden), (17, Reason::Untagged)] {
        assert_eq!(judge(&policy(MAIL), &[], later(proto)).reason, reason, "protocol {proto}");
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
