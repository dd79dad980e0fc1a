//! No input panics, is read past its end, or passes for more than it is.

use super::{build::*, *};
use proptest::prelude::*;

#[test]
fn cut_at_every_byte() {
    for (name, frame) in whole_frames() {
        assert_eq!(run(Link::Ethernet, &frame).0, Parsed::Ip, "{name}");
        for len in 0..frame.len() {
            let (parsed, packet) = run(Link::Ethernet, &frame[..len]);
            assert_eq!(parsed, Parsed::Malformed(Fault::Truncated), "{name} at {len}: {packet:?}");
        }
    }
    for (name, tunnel, frame) in udp_tunnels() {
        assert_eq!(ip(&frame).layers().len(), 2, "{name}");
        for len in 0..frame.len() {
            let expected = match len {
                _ if (tunnel - 8..tunnel).contains(&len) => Parsed::Ip,
                _ => Parsed::Malformed(Fault::Truncated),
            };
            assert_eq!(run(Link::Ethernet, &frame[..len]).0, expected, "{name} at {len}");
        }
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = whole_frames().into_iter().map(|(_, frame)| frame).collect();
    samples.extend(udp_tunnels().into_iter().map(|(_, _, frame)| frame));
    let mutated = (
        proptest::sample::select(samples),
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        proptest::collection::vec(any::<u8>(), 0..200),
        any::<proptest::sample::Index>(),
    )
        .prop_map(|(mut frame, changes, tail, cut)| {
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.extend(tail);
            let keep = frame.len() - cut.index(frame.len()) / 4;
            frame.truncate(keep);
            frame
        });
    prop_oneof![4 => mutated, 1 => proptest::collection::vec(any::<u8>(), 0..400)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn counts_hold_and_stale_bytes_do_not_matter(frame in any_frame(), raw: bool, stale: u8) {
        let (link, frame) = match raw {
            true => (Link::Raw, frame.get(14..).unwrap_or_default().to_vec()),
            false => (Link::Ethernet, frame),
        };
        let (parsed, packet) = run(link, &frame);
        prop_assert!(packet.layer_count as usize <= MAX_LAYERS && packet.hop_count as usize <= MAX_HOPS);
        match parsed {
            Parsed::NotIp => prop_assert_eq!(packet.layer_count, 0),
            Parsed::Ip => prop_assert!(packet.layer_count > 0),
            Parsed::Malformed(_) => {}
        }
        for layer in packet.layers() {
            prop_assert!(layer.tunnel == 0 || layer.proto == 17 && layer.flags & Layer::HAS_PORTS != 0);
            if layer.flags & Layer::HAS_PORTS == 0 {
                prop_assert_eq!((layer.sport, layer.dport, layer.tcp_flags), (0, 0, 0));
            }
            if layer.flags & Layer::LATER_FRAGMENT != 0 {
                prop_assert_eq!(layer.flags & !(Layer::IPV6 | Layer::HIDDEN), Layer::FRAGMENT | Layer::LATER_FRAGMENT);
            }
        }
        let (again, other) = run_over(link, &frame, stale);
        prop_assert_eq!((again, other.layers(), other.hops()), (parsed, packet.layers(), packet.hops()));
        prop_assert_eq!((other.quotes, other.quoted_count), (packet.quotes, packet.quoted_count));
        prop_assert!(packet.quoted_count <= 1 && (packet.quoted_count == 0 || other.quoted == packet.quoted));
    }

    /// What the caller says of the lengths need not agree.
    #[test]
    fn no_lengths_panic(
        frame in any_frame(),
        valid in prop_oneof![0..=300_usize, any::<usize>()],
        len in prop_oneof![0..=300_usize, any::<usize>()],
        raw: bool,
    ) {
        let mut bytes = [0; HEADER_LEN];
        let copied = frame.len().min(HEADER_LEN);
        bytes[..copied].copy_from_slice(&frame[..copied]);
        let mut out = Packet::default();
        let link = if raw { Link::Raw } else { Link::Ethernet };
        parse(link, &bytes, valid, len, &mut out);
        prop_assert!(out.layer_count as usize <= MAX_LAYERS && out.hop_count as usize <= MAX_HOPS);
    }

    /// A frame that was read to its end reads the same with more bytes behind it.
    #[test]
    fn a_payload_changes_nothing(frame in any_frame(), tail in proptest::collection::vec(any::<u8>(), 1..64)) {
        let (parsed, packet) = run(Link::Ethernet, &frame);
        let (longer, with_tail) = run(Link::Ethernet, &[frame, tail].concat());
        let is_tunnels = |port| matches!(port, 1701 | 2152 | 2268 | 3544 | 4341 | 4500 | 4754 | 4789 | 4790 | 6080 | 6081 | 6635 | 8472);
        let tunnel_port = packet.layers().iter().any(|l| is_tunnels(l.dport) || l.sport == 4500);
        if parsed == Parsed::Ip && !tunnel_port {
            prop_assert_eq!(longer, Parsed::Ip);
            prop_assert_eq!(with_tail.layers(), packet.layers());
        }
        // And its first bytes never say more of a layer than the whole does.
        prop_assert!(with_tail.layer_count >= packet.layer_count);
    }
}
