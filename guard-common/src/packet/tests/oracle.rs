//! The parser against etherparse: where that reads a frame, both must see the same in it.

use super::{build::*, *};
use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, Ipv6RawExtHeader, NetSlice,
    PacketBuilder, SlicedPacket, TransportSlice, VlanId,
};
use proptest::prelude::*;

/// Holds the outer layer against etherparse's; whether there was something to compare.
fn compare(frame: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else { return Ok(false) };
    let (parsed, packet) = run(Link::Ethernet, frame);
    let (src, dst, payload): (core::net::IpAddr, core::net::IpAddr, _) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.payload())
        }
        Some(NetSlice::Ipv6(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.payload())
        }
        _ => return Ok(false),
    };
    if matches!(parsed, Parsed::Malformed(Fault::Opaque)) && packet.layer_count == 0 {
        // MACsec in the clear, which etherparse looks into.
        return Ok(false);
    }
    let Some(layer) = packet.layers().first() else {
        return Err(TestCaseError::fail(format!("{parsed:?}, but etherparse: {sliced:?}")));
    };
    prop_assert_eq!((layer.src, layer.dst), (src.into(), dst.into()));
    if let Parsed::Malformed(_) = parsed {
        // Stricter in source routes, chains and tiny fragments; what was read still agrees.
        return Ok(true);
    }
    // etherparse does not walk mobility, host identity and shim6 headers, and walks on into the
    // data of a later fragment where the first fragment has an extension header.
    let walks_less = matches!(payload.ip_number.0, 135 | 139 | 140);
    let later = layer.flags & Layer::LATER_FRAGMENT != 0;
    let walks_more = later && matches!(layer.proto, 0 | 43 | 44 | 51 | 60);
    if !walks_less && !walks_more {
        prop_assert_eq!(layer.proto, payload.ip_number.0);
        prop_assert_eq!(layer.flags & Layer::FRAGMENT != 0, payload.fragmented);
        let ports = match &sliced.transport {
            Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
            Some(TransportSlice::Tcp(tcp)) => {
                prop_assert_eq!(layer.tcp_flags, tcp.slice()[13]);
                Some((tcp.source_port(), tcp.destination_port()))
            }
            _ => None,
        };
        if let Some(ports) = ports {
            prop_assert!(layer.flags & Layer::HAS_PORTS != 0);
            prop_assert_eq!((layer.sport, layer.dport), ports);
        }
    }
    Ok(true)
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp,
    Udp,
    Icmp,
}

fn built() -> impl Strategy<Value = Vec<u8>> {
    (
        prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), Just(Transport::Icmp)],
        (any::<u16>(), any::<u16>(), 0..3_usize),
        prop_oneof![any::<([u8; 4], [u8; 4])>().prop_map(Ok), any::<([u8; 16], [u8; 16])>().prop_map(Err)],
        (any::<bool>(), any::<bool>(), 0..4_usize),
        proptest::collection::vec(any::<u8>(), 0..100),
    )
        .prop_map(|(transport, (sport, dport, tags), addresses, (first, second, words), payload)| {
            let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
            let raw =
                |more: usize| Some(Ipv6RawExtHeader::new_raw(IpNumber::UDP, &vec![0; 6 + more * 8]).unwrap());
            let headers = match addresses {
                Ok((src, dst)) => {
                    let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, src, dst).unwrap();
                    header.options = [1_u8; 40][..words * 4].try_into().unwrap();
                    IpHeaders::Ipv4(header, Ipv4Extensions::default())
                }
                Err((source, destination)) => IpHeaders::Ipv6(
                    Ipv6Header { source, destination, hop_limit: 64, ..Default::default() },
                    Ipv6Extensions {
                        hop_by_hop_options: if first { raw(words) } else { None },
                        destination_options: if second { raw(0) } else { None },
                        ..Default::default()
                    },
                ),
            };
            let vlan = |id| VlanId::try_new(id).unwrap();
            let ip = match tags {
                0 => link.ip(headers),
                1 => link.single_vlan(vlan(5)).ip(headers),
                _ => link.double_vlan(vlan(5), vlan(6)).ip(headers),
            };
            let mut frame = Vec::new();
            match transport {
                Transport::Tcp => ip.tcp(sport, dport, 1, 1).syn().ack(7).write(&mut frame, &payload),
                Transport::Udp => ip.udp(sport, dport).write(&mut frame, &payload),
                Transport::Icmp => ip.icmpv4_echo_request(1, 2).write(&mut frame, &payload),
            }
            .unwrap();
            frame
        })
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let samples: Vec<Vec<u8>> = whole_frames().into_iter().map(|(_, frame)| frame).collect();
    (
        prop_oneof![proptest::sample::select(samples), built()],
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..5),
        proptest::collection::vec(any::<u8>(), 0..64),
    )
        .prop_map(|(mut frame, changes, tail)| {
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.extend(tail);
            frame
        })
}

#[test]
fn whole_frames_agree() {
    let compared = whole_frames().iter().filter(|(_, frame)| compare(frame).unwrap()).count();
    assert!(compared >= 20, "{compared}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn built_frames_agree(frame in built()) {
        prop_assert!(compare(&frame)?);
    }

    #[test]
    fn mutated_frames_agree(frame in mutated()) {
        compare(&frame)?;
    }
}
