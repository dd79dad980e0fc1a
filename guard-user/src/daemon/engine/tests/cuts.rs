//! Which sockets are looked at for a cut: never fewer than those whose flows are cut.

use std::collections::BTreeMap;
use std::path::Path;

use guard_common::abi::{FlowKey, FlowRecord, Hook, NO_EXEMPTION, Place, PlacedBy};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Addr;
use guard_common::verdict::Reason;
use proptest::prelude::*;

use super::super::{Cut, is_cut, may_be_cut};
use super::inputs::document;
use crate::config::policy::{PortRange, Protocol};
use crate::exemption::{Recipient, Surroundings, parse};
use crate::kernel::sockets::Flow;

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
