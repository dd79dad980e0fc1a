//! Which sockets are looked at for a cut: never fewer than those whose flows are cut.

use std::collections::BTreeMap;
use std::path::Path;

use guard_common::abi::{FlowKey, FlowRecord, Hook, NO_EXEMPTION, Place, PlacedBy};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Addr;
use guard_common::verdict::Reason;
use proptest::prelude::*;

use super::super::{Action, Cut, Input, is_cut, may_be_cut};
use super::inputs::{asker, document};
use super::world::World;
use crate::compile::KernelExemption;
use crate::config::jurisdiction_set::JurisdictionSet;
use crate::config::policy::{PortRange, Protocol};
use crate::control::protocol::Request;
use crate::daemon::engine::Ticket;
use crate::exemption::{Recipient, Surroundings, parse};
use crate::kernel::sockets::Flow;
use crate::store::Target;

/// Slot of the exemption that is closed.
const SLOT: u16 = 3;

/// The cut of an exemption with these recipients.
fn cut(recipients: &[Recipient]) -> Cut {
    let text = document("stayed", 1, "2026-11-26T12:00:00Z".parse().unwrap());
    let mut document = parse(Path::new("stayed.toml"), text.as_bytes(), &Surroundings::default()).unwrap();
    document.recipients = recipients.to_vec();
    Cut {
        id: 1,
        count_only: false,
        accounts: vec![SLOT],
        slots: vec![SLOT],
        owned: BTreeMap::new(),
        documents: vec![document],
        pins: vec!["mail".to_owned()],
        permitted: vec![JurisdictionSet::new()],
        lenient: 0,
        beside: Vec::new(),
    }
}

/// An exemption of these pins for one address in the US.
fn beside(slot: u16, pins: &[&str], address: &str) -> KernelExemption {
    KernelExemption {
        slot,
        account: slot,
        identity: 1,
        pins: pins.iter().map(|pin| (*pin).to_owned()).collect(),
        jurisdictions: Vec::new(),
        networks: vec![address.parse().unwrap()],
        placed: Jurisdiction::from_alpha2(*b"US"),
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns: u64::MAX,
        quota: u64::MAX,
    }
}

/// A recipient in the US at these networks, anywhere where there are none, and at these ports.
fn recipient(networks: &[&str], ports: &[(Protocol, u16)]) -> Recipient {
    let range = |&(protocol, port)| PortRange { protocol, first: port, last: port };
    Recipient {
        name: "Requesting authority".to_owned(),
        jurisdiction: Jurisdiction::from_alpha2(*b"US").unwrap(),
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        anywhere: false,
        large_network: None,
        ports: ports.iter().map(range).collect(),
    }
}

fn to(address: &str) -> Flow {
    let key = key(address.parse().unwrap(), 6);
    Flow::of(&key).unwrap()
}

fn key(remote: std::net::SocketAddr, proto: u8) -> FlowKey {
    let dst = match remote.ip() {
        std::net::IpAddr::V4(v4) => Addr::from_v4_octets(v4.octets()),
        std::net::IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            Addr { hi: (bits >> 64) as u64, lo: bits as u64 }
        }
    };
    let src = Addr::from_v4_octets([192, 0, 2, 10]);
    FlowKey {
        src,
        dst,
        sport: 143,
        dport: remote.port(),
        proto,
        hook: Hook::Egress as u8,
        ..FlowKey::default()
    }
}

#[test]
fn a_socket_that_leads_elsewhere_is_no_reason_to_read_the_flows() {
    let one = cut(&[recipient(&["203.0.113.10/32"], &[(Protocol::Tcp, 443)])]);
    assert!(may_be_cut(&one, &to("203.0.113.10:443")));
    for elsewhere in ["203.0.113.10:444", "203.0.113.11:443", "198.51.100.10:443", "[2001:db8::1]:443"] {
        assert!(!may_be_cut(&one, &to(elsewhere)), "{elsewhere}");
    }
    let udp = Flow { transport: crate::kernel::sockets::Transport::Udp, ..to("203.0.113.10:443") };
    assert!(!may_be_cut(&one, &udp));
}

#[test]
fn anybody_in_a_jurisdiction_may_be_at_any_address() {
    let all = cut(&[recipient(&[], &[])]);
    for anywhere in ["203.0.113.10:443", "198.51.100.10:1", "[2001:db8::1]:443"] {
        assert!(may_be_cut(&all, &to(anywhere)), "{anywhere}");
    }
}

#[test]
fn an_account_whose_document_is_not_there_may_be_anybody_s() {
    let unknown = Cut { documents: Vec::new(), ..cut(&[recipient(&["203.0.113.10/32"], &[])]) };
    assert!(may_be_cut(&unknown, &to("198.51.100.10:1")));
}

/// A flow that the exemption in [`SLOT`] carried, forbidden by these pins.
fn carried(denied: u64) -> (FlowKey, FlowRecord) {
    let place = Place::new(Jurisdiction::from_alpha2(*b"US").unwrap(), PlacedBy::Site);
    let reason = Reason::Exempt as u8;
    let record = FlowRecord { reason, denied, place: place.0, exemption: SLOT, ..FlowRecord::default() };
    (key("203.0.113.10:443".parse().unwrap(), 6), record)
}

#[test]
fn what_another_exemption_carries_is_not_cut() {
    let of_two = |beside: &[KernelExemption]| Cut {
        owned: BTreeMap::from([(SLOT, 0)]),
        pins: vec!["mail".to_owned(), "files".to_owned()],
        permitted: vec![JurisdictionSet::new(); 2],
        beside: beside.to_vec(),
        ..cut(&[recipient(&["203.0.113.10/32"], &[])])
    };
    let (here, elsewhere) = ("203.0.113.10/32", "203.0.113.11/32");
    let (mail, files) = (beside(4, &["mail"], here), beside(5, &["files"], here));
    let other_port = PortRange { protocol: Protocol::Tcp, first: 80, last: 80 };
    let cases: [(u64, &[KernelExemption], bool); 8] = [
        (1, &[], true),
        (1, std::slice::from_ref(&mail), false),
        (1, &[beside(4, &["mail"], elsewhere)], true),
        (1, &[KernelExemption { ports: vec![other_port], ..mail.clone() }], true),
        (1, &[KernelExemption { placed: Jurisdiction::from_alpha2(*b"CA"), ..mail.clone() }], true),
        // What several pins forbid takes an exemption for each.
        (3, std::slice::from_ref(&mail), true),
        (3, &[mail.clone(), files], false),
        (3, &[beside(4, &["mail", "files"], here)], false),
    ];
    for (denied, open, expected) in cases {
        let (key, record) = carried(denied);
        assert_eq!(is_cut(&of_two(open), &key, &record), expected, "{denied}: {open:?}");
        // Nor one whose record no longer says whose it is.
        let unnamed = FlowRecord { exemption: NO_EXEMPTION, ..record };
        assert_eq!(is_cut(&of_two(open), &key, &unnamed), expected, "{denied}: {open:?}");
    }
}

#[test]
fn what_the_pins_let_pass_is_not_cut() {
    let us = Jurisdiction::from_alpha2(*b"US").unwrap();
    let by = |places: JurisdictionSet| Cut {
        owned: BTreeMap::from([(SLOT, 0)]),
        permitted: vec![places],
        ..cut(&[recipient(&["203.0.113.10/32"], &[])])
    };
    let (key, record) = carried(1);
    assert!(is_cut(&by(JurisdictionSet::new()), &key, &record));
    assert!(!is_cut(&by([us].into_iter().collect()), &key, &record));
}

/// The kernel takes exemptions for all that a flow's pins forbid, or for none of it: one that flags counts too, beside one that
/// drops.
#[test]
fn what_pins_only_flag_passes_by_itself_and_beside_one_that_drops_takes_an_exemption() {
    let here = "203.0.113.10/32";
    let of_two = |beside: &[KernelExemption]| Cut {
        owned: BTreeMap::from([(SLOT, 0)]),
        pins: vec!["mail".to_owned(), "files".to_owned()],
        permitted: vec![JurisdictionSet::new(); 2],
        lenient: 0b10,
        beside: beside.to_vec(),
        ..cut(&[recipient(&[here], &[])])
    };
    let (mail, files) = (beside(4, &["mail"], here), beside(5, &["files"], here));
    let cases: [(u64, &[KernelExemption], bool); 5] = [
        (0b10, &[], false),
        (0b01, std::slice::from_ref(&mail), false),
        (0b11, &[], true),
        (0b11, std::slice::from_ref(&mail), true),
        (0b11, &[mail.clone(), files], false),
    ];
    for (denied, open, expected) in cases {
        let (key, record) = carried(denied);
        assert_eq!(is_cut(&of_two(open), &key, &record), expected, "{denied}: {open:?}");
    }
}

/// Of two exemptions for one recipient each order closes what no other one carries, and a dry run counts no more.
#[test]
fn an_order_is_held_against_what_is_open_beside_it() {
    let mut world = World::with_one();
    world.load("b", 1);
    world.settle();
    let slots_of = |world: &World, id: &str| world.store.kept().slots_of(&[(id.to_owned(), 1)]);
    let (a, b) = (slots_of(&world, "a"), slots_of(&world, "b"));
    let mut number = 1000;
    let mut cut_by = |world: &mut World, target: Target, dry_run| {
        number += 1;
        let order = format!("High Court {number}");
        let request = Request::ExemptionStay { target, order, not_loaded: false, dry_run };
        let asked = Input::Request { ticket: Ticket(number), request, asker: asker() };
        let actions = world.engine.step(asked, world.now);
        let found = actions.into_iter().find_map(|action| match action {
            Action::CloseSockets(cut) => Some(*cut),
            _ => None,
        });
        found.unwrap()
    };
    let beside = |cut: &Cut| cut.beside.iter().map(|it| it.slot).collect::<Vec<_>>();
    let of_a = Target::Id("a".to_owned());
    let all = cut_by(&mut world, Target::All, true);
    assert_eq!((all.count_only, beside(&all)), (true, Vec::new()));
    let planned = cut_by(&mut world, of_a.clone(), true);
    assert_eq!((planned.count_only, planned.slots.clone(), beside(&planned)), (true, a.clone(), b.clone()));
    let stayed = cut_by(&mut world, of_a, false);
    assert_eq!((stayed.count_only, stayed.slots.clone(), beside(&stayed)), (false, a, b));
}

proptest! {
    #[test]
    fn every_flow_that_is_cut_is_that_of_a_socket_that_is_looked_at(
        which in 0_usize..5,
        address in prop::sample::select(vec![
            "203.0.113.10:443", "203.0.113.11:80", "198.51.100.10:443", "[2001:db8::1]:443", "[2001:db8:3::1]:80",
        ]),
        proto in prop::sample::select(vec![6_u8, 17]),
        reason in prop::sample::select(vec![Reason::Exempt, Reason::ExemptionExpired, Reason::Forbidden]),
        is_there in any::<bool>(),
        denied in 0_u64..4,
    ) {
        let recipients = [
            vec![recipient(&["203.0.113.0/24"], &[])],
            vec![recipient(&["203.0.113.10/32", "2001:db8::/48"], &[(Protocol::Tcp, 443)])],
            vec![recipient(&[], &[(Protocol::Udp, 80)])],
            vec![recipient(&[], &[])],
            vec![recipient(&["2001:db8:3::/64"], &[]), recipient(&["198.51.100.10/32"], &[])],
        ];
        let cut = cut(&recipients[which]);
        let place = if is_there { Place::new(cut.documents[0].recipients[0].jurisdiction, PlacedBy::Site) } else { Place(0) };
        let record = FlowRecord {
            reason: reason as u8, denied, place: place.0, exemption: NO_EXEMPTION, ..FlowRecord::default()
        };
        let key = key(address.parse().unwrap(), proto);
        prop_assert!(!is_cut(&cut, &key, &record) || may_be_cut(&cut, &Flow::of(&key).unwrap()));
    }
}
