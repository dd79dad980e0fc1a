//! What is planned is held against the decision itself, over tables of generated policies.

use guard_common::abi::{Hook, PlacedBy};
use guard_common::decide::{NoTrace, decide};
use guard_common::host::{HostOrigin, HostTables};
use guard_common::packet::{HEADER_LEN, Link, Packet, Parsed, parse};
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::compile::tests::generate::{case, host};
use crate::compile::{geo_image, policy_table};
use crate::config::canary::Canary;
use crate::config::policy::Protocol;

fn parsed(link: Link, bytes: &[u8]) -> (Parsed, Packet) {
    let frame = match link {
        Link::Ethernet => {
            [&[0; 12][..], if bytes[0] >> 4 == 6 { &[0x86, 0xdd][..] } else { &[8, 0][..] }, bytes].concat()
        }
        Link::Raw => bytes.to_vec(),
    };
    let mut header = [0; HEADER_LEN];
    let valid = frame.len().min(HEADER_LEN);
    header[..valid].copy_from_slice(&frame[..valid]);
    let mut packet = Packet::default();
    (parse(link, &header, valid, frame.len(), &mut packet), packet)
}

#[test]
fn a_packet_is_read_as_the_flow_that_it_is_of_every_protocol() {
    for (source, destination) in [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "3fff::2")] {
        for protocol in Protocol::ALL {
            let [source, destination] = [source, destination].map(|ip| ip.parse().unwrap());
            let flow = Flow { source, destination, protocol, sport: 143, dport: 9 };
            let bytes = packet(&flow, 0xfeed);
            assert!(bytes.ends_with(b"Border Guard canary 000000000000feed"));
            for link in [Link::Ethernet, Link::Raw] {
                let (found, packet) = parsed(link, &bytes);
                assert_eq!((found, packet.layer_count), (Parsed::Ip, 1), "{flow:?}");
                let layer = packet.layers[0];
                assert_eq!((layer.src, layer.dst), (source.into(), destination.into()));
                assert_eq!((layer.proto, layer.sport, layer.dport), (protocol.number(), 143, 9));
            }
            let sliced = hops_and_protocol(&bytes);
            assert_eq!(sliced, (1, protocol.number()), "{flow:?}");
        }
    }
}

/// TTL or hop limit, and protocol, as the RFCs place them.
fn hops_and_protocol(bytes: &[u8]) -> (u8, u8) {
    if bytes[0] >> 4 == 4 { (bytes[8], bytes[9]) } else { (bytes[7], bytes[6]) }
}

/// Whatever the policy, its sites, failsafe rules and selectors: what is sent is forbidden by the way that it is for, as
/// strictly as is expected, by the one decision of kernel and host.
#[test]
fn what_is_sent_is_forbidden_by_its_pin_whatever_the_policy() {
    let guarded: Vec<Guarded> = [(2, "eth0"), (3, "eth1"), (4, "wg0"), (900_001, "tun1")]
        .into_iter()
        .map(|(index, name)| Guarded { index, name: name.into(), link: Link::Ethernet })
        .collect();
    let (mut sent, mut refused) = (0, 0);
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    let cell = std::cell::RefCell::new((&mut sent, &mut refused));
    runner
        .run(&case(0), |case| {
            let mut policy = case.policy;
            let every = SignedDuration::from_secs(1);
            for pin in &mut policy.pins {
                pin.canary = Some(Canary { every, returned_within: None });
            }
            let facts = host();
            let Ok(table) = policy_table(&policy, &[], &facts, 1) else { return Ok(()) };
            let tables = HostTables::new(table, geo_image(&case.db, &policy.sites).unwrap());
            for planned in plan(&policy, &facts, &guarded) {
                let mut counts = cell.borrow_mut();
                let Ok(senders) = &planned.senders else {
                    *counts.1 += 1;
                    continue;
                };
                for sender in senders {
                    let origin = HostOrigin {
                        ifindex: planned.interface.index,
                        mark: sender.mark,
                        wire_len: 100,
                        parties: sender.party.iter().map(|it| it.cgroups.to_vec()).collect(),
                        users: sender.party.iter().map(|it| it.uid).filter(|it| *it != u32::MAX).collect(),
                        volumes: sender.volumes,
                        direction: sender.direction,
                        ..HostOrigin::default()
                    };
                    let (parsed, packet) = parsed(Link::Raw, &packet(&sender.flow, 1));
                    let decision =
                        decide(Hook::Egress, parsed, &packet, &tables, &origin, || 0, &mut NoTrace);
                    // Databases may place documentation addresses: then another one is tried.
                    if decision.place.placed_by() == PlacedBy::Database
                        && decision.denied >> planned.bit & 1 == 0
                    {
                        continue;
                    }
                    *counts.0 += 1;
                    prop_assert!(decision.denied >> planned.bit & 1 == 1, "{planned:?}\n{decision:?}");
                    prop_assert!(decision.verdict >= planned.at_least, "{planned:?}\n{decision:?}");
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(sent > 1000 && sent > refused, "{sent} sent, {refused} that can't be");
}

#[test]
fn a_name_is_a_number_and_nothing_else() {
    assert_eq!((name(0xfeed).as_str(), number(&name(u64::MAX))), ("000000000000feed", Some(u64::MAX)));
    for text in ["", "feed", "+00000000000feed", "000000000000feed0", "000000000000fee\u{e9}"] {
        assert_eq!(number(text), None, "{text}");
    }
}
