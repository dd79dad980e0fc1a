//! Link, network, extension headers, transport, fragments: frames with one IP packet.

use super::{build::*, *};

const PORTS: u8 = Layer::HAS_PORTS;

fn only(frame: &[u8]) -> Layer {
    let packet = ip(frame);
    let [layer] = packet.layers() else { panic!("{packet:?}") };
    assert!(packet.hops().is_empty());
    *layer
}

fn v4_layer(proto: u8, flags: u8) -> Layer {
    Layer { src: addr(SRC4), dst: addr(DST4), proto, flags, ..Layer::default() }
}

fn v6_layer(proto: u8, flags: u8) -> Layer {
    Layer { src: addr(SRC6), dst: addr(DST6), proto, flags: flags | Layer::IPV6, ..Layer::default() }
}

fn with_ports(layer: Layer, dport: u16, tcp_flags: u8) -> Layer {
    Layer { sport: 40000, dport, tcp_flags, flags: layer.flags | PORTS, ..layer }
}

#[test]
fn transports() {
    for (proto, payload, dport, flags) in [
        (TCP, tcp(), 443, 0x12),
        (UDP, udp(53, vec![]), 53, 0),
        (136, udp(4789, vxlan(8, eth(V4, v4(TCP, tcp())))), 4789, 0),
        (132, ports12(), 443, 0),
        (33, ports12(), 443, 0),
    ] {
        assert_eq!(only(&eth(V4, v4(proto, payload.clone()))), with_ports(v4_layer(proto, 0), dport, flags));
        assert_eq!(only(&eth(V6, v6(proto, payload))), with_ports(v6_layer(proto, 0), dport, flags));
    }
    for (protocols, flags) in
        [(&[1, 2, 46, 58, 59, 89, 112][..], 0), (&[50, 99, 103, 108, 253, 255], Layer::HIDDEN)]
    {
        for &proto in protocols {
            assert_eq!(only(&eth(V4, v4(proto, vec![]))), v4_layer(proto, flags));
            assert_eq!(only(&eth(V6, v6(proto, vec![]))), v6_layer(proto, flags));
        }
    }
}

#[test]
fn the_protocols_whose_ports_are_read_are_those_of_the_port_tables() {
    for proto in 0..=u8::MAX {
        let (_, packet) = run(Link::Ethernet, &eth(V4, v4(proto, join(&[&tcp(), &[0; 20]]))));
        let has_ports = packet.layers()[0].flags & Layer::HAS_PORTS != 0;
        assert_eq!(has_ports, crate::abi::PORT_PROTOCOLS.contains(&proto), "{proto}");
        assert!(!has_ports || !hides_ports(proto), "{proto}");
    }
}

/// A segment with these options, padded.
fn tcp_with(options: &[u8]) -> Vec<u8> {
    let mut segment = join(&[&tcp(), options]);
    segment.resize(20 + options.len().next_multiple_of(4), 0);
    segment[12] = ((segment.len() / 4) << 4) as u8;
    segment
}

#[test]
fn a_segment_of_multipath_tcp_may_have_begun_at_other_ports() {
    const OTHER: u8 = Layer::OTHER_PORTS;
    let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let syn = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    let join_path = [30, 12, 0x10, 1, 0, 0, 0, 9, 0, 0, 0, 7];
    for (options, flags) in [
        (&[][..], 0),
        (&timestamps, 0),
        (&syn, 0),
        (&join_path, OTHER),
        (&[&syn[..], &join_path].concat(), OTHER),
        (&[&timestamps[..], &[30, 8, 0x20, 1, 0, 0, 0, 1]].concat(), OTHER),
        (&[&[1, 1, 1, 1][..], &join_path].concat(), OTHER),
        // Behind the end of the options, behind one with a length that can't be, or inside another one.
        (&[&[0, 1, 1, 1][..], &join_path].concat(), 0),
        (&[&[253, 1, 1, 1][..], &join_path].concat(), 0),
        (&[&[253, 40, 1, 1][..], &join_path].concat(), 0),
        (&[253, 8, 30, 30, 30, 30, 30, 30], 0),
        (&[1, 1, 1, 30], OTHER),
        (&[1, 1, 1, 253], 0),
    ] {
        let expected = with_ports(v4_layer(TCP, flags), 443, 0x12);
        assert_eq!(only(&eth(V4, v4(TCP, tcp_with(options)))), expected, "{options:?}");
        assert_eq!(
            only(&eth(V6, v6(60, ext(TCP, 0, tcp_with(options))))).flags & OTHER,
            flags,
            "{options:?}"
        );
        let inner = ip(&eth(V4, v4(4, v4(TCP, tcp_with(options))))).layers[1];
        assert_eq!(inner, expected, "{options:?}");
    }
    // A header's length that can't be has no options.
    for words in 0..5 {
        let mut segment = tcp();
        segment[12] = words << 4;
        assert_eq!(only(&eth(V4, v4(TCP, segment))), with_ports(v4_layer(TCP, 0), 443, 0x12));
    }
    assert_eq!(fault(&eth(V4, v4(TCP, tcp_with(&[1; 40])))), Fault::TooDeep);
}

#[test]
fn links() {
    let expected = with_ports(v4_layer(TCP, 0), 443, 0x12);
    let inner = || v4(TCP, tcp());
    assert_eq!(only(&eth(0x8100, tag(V4, inner()))), expected);
    assert_eq!(only(&eth(0x88a8, tag(0x8100, tag(V4, inner())))), expected);
    assert_eq!(only(&eth(0x9100, tag(0x8100, tag(0x8100, tag(0x8100, tag(V4, inner())))))), expected);
    let pppoe = join(&[&[0x11, 0, 0, 1, 0, 0, 0, 0x21], &inner()]);
    assert_eq!(only(&eth(0x8864, pppoe.clone())), expected);
    assert_eq!(only(&eth(0x8100, tag(0x8864, pppoe))), expected);

    let (parsed, packet) = run(Link::Raw, &inner());
    assert_eq!((parsed, packet.layers()), (Parsed::Ip, &[expected][..]));
    let (parsed, packet) = run(Link::Raw, &v6(TCP, tcp()));
    assert_eq!((parsed, packet.layers()), (Parsed::Ip, &[with_ports(v6_layer(TCP, 0), 443, 0x12)][..]));
    for raw in [&[0x00_u8; 40], &[0x50; 40], &[0xf0; 40]] {
        assert_eq!(run(Link::Raw, raw).0, Parsed::Malformed(Fault::BadHeader));
    }
    assert_eq!(run(Link::Raw, &[]).0, Parsed::Malformed(Fault::Truncated));
}

#[test]
fn not_ip() {
    let frames = [0x0806, 0x8035, 0x8809, 0x888e, 0x88cc, 0x88f7, 0x8915, 0x9000]
        .map(|ethertype| (ethertype, vec![0; 46]));
    // Spanning tree, IS-IS, and a vendor's discovery behind LLC.
    let llc = [
        vec![0x42, 0x42, 3],
        vec![0xfe, 0xfe, 3, 0x83],
        vec![0, 1, 0xaf],
        vec![0xaa, 0xaa, 3, 0, 0, 12, 0x20, 0],
    ];
    let lengths = llc.into_iter().flat_map(|header| [0, 38, 1500].map(|length| (length, header.clone())));
    for (ethertype, inside) in frames.into_iter().chain(lengths) {
        for frame in [eth(ethertype, inside.clone()), eth(0x8100, tag(ethertype, inside.clone()))] {
            let (parsed, packet) = run(Link::Ethernet, &frame);
            assert_eq!(
                (parsed, packet.layer_count, packet.hop_count),
                (Parsed::NotIp, 0, 0),
                "{ethertype:#x}"
            );
        }
    }
    let lcp = [0x11, 0, 0, 1, 0, 0, 0xc0, 0x21];
    assert_eq!(run(Link::Ethernet, &eth(0x8864, lcp.to_vec())).0, Parsed::NotIp);
}

#[test]
fn opaque() {
    for ethertype in [
        0x8847, 0x8848, 0x88e5, 0x88e7, 0x894f, 0x22f3, 0x893f, 0x8926, 0x8909, 0x6558, 0x880b, 0x88be,
        0x22eb, 0x883e, 0x892f, 0x88fb, 0x4305, 0xdada, 0x88b7, 0x05dd, 0x05ff, 0xffff,
    ] {
        let (parsed, packet) = run(Link::Ethernet, &eth(ethertype, v4(TCP, tcp())));
        assert_eq!((parsed, packet.layer_count), (Parsed::Malformed(Fault::Opaque), 0), "{ethertype:#x}");
        assert_eq!(fault(&eth(0x8100, tag(ethertype, vec![]))), Fault::Opaque);
    }
    // In a tunnel only those that are known to.
    for ethertype in [
        0x8847, 0x8848, 0x88e5, 0x88e7, 0x894f, 0x22f3, 0x893f, 0x8926, 0x8909, 0x880b, 0x88be, 0x22eb,
        0x883e, 0x892f, 0x88fb,
    ] {
        assert_eq!(fault(&eth(V4, v4(47, gre(0, ethertype, vec![])))), Fault::Opaque, "{ethertype:#x}");
    }
    // IP, and what nobody knows, behind LLC.
    for inside in [
        join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4(TCP, tcp())]),
        join(&[&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7], &eth(V4, v4(TCP, tcp()))]),
        join(&[&[6, 6, 3], &v4(TCP, tcp())]),
        // ISL has a vendor's SNAP header before a whole frame; OSI's numbers of IPv4 and IPv6.
        join(&[&[0xaa, 0xaa, 3, 0, 0, 12, 0, 2, 0, 0, 0, 0], &eth(V4, v4(TCP, tcp()))]),
        join(&[&[0xfe, 0xfe, 3, 0xcc], &v4(TCP, tcp())]),
        join(&[&[0xfe, 0xfe, 3, 0x8e], &v6(TCP, tcp())]),
        vec![0xff, 0xff, 0],
        vec![0; 46],
    ] {
        assert_eq!(fault(&eth(38, inside.clone())), Fault::Opaque);
        assert_eq!(fault(&eth(0x8100, tag(38, inside))), Fault::Opaque);
    }
    assert_eq!(fault(&eth(V4, v4(97, join(&[&[0x30, 0], &eth(V4, v4(TCP, tcp()))])))), Fault::Opaque);
    // MPLS and L2TP in IP; PPP that is compressed; a newer PPPoE.
    assert_eq!(fault(&eth(V4, v4(137, vec![]))), Fault::Opaque);
    assert_eq!(fault(&eth(V6, v6(115, vec![]))), Fault::Opaque);
    assert_eq!(fault(&eth(0x8864, vec![0x11, 0, 0, 1, 0, 0, 0, 0xfd])), Fault::Opaque);
    assert_eq!(fault(&eth(0x8864, vec![0x21, 0, 0, 1, 0, 0, 0, 0x21])), Fault::BadHeader);
}

#[test]
fn broken_ip_headers() {
    for first in [0x44, 0x40, 0x55, 0x65, 0x05] {
        let mut frame = eth(V4, v4(TCP, tcp()));
        frame[14] = first;
        let (parsed, packet) = run(Link::Ethernet, &frame);
        assert_eq!((parsed, packet.layer_count), (Parsed::Malformed(Fault::BadHeader), 0), "{first:#x}");
    }
    let mut frame = eth(V6, v6(TCP, tcp()));
    frame[14] = 0x40;
    assert_eq!(fault(&frame), Fault::BadHeader);
}

#[test]
fn length_fields_place_nothing() {
    let expected = with_ports(v4_layer(TCP, 0), 443, 0x12);
    for total in [0, 1, 20, 39, 41, 0xffff_u16] {
        let mut frame = eth(V4, v4(TCP, tcp()));
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        assert_eq!(only(&frame), expected, "{total}");
    }
    let jumbo = |len: u16| {
        let mut frame = eth(V6, v6(0, join(&[&[TCP, 0, 0xc2, 4, 0, 1, 0, 0], &tcp()])));
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        frame
    };
    for len in [0, 1, 0xffff] {
        assert_eq!(only(&jumbo(len)), with_ports(v6_layer(TCP, 0), 443, 0x12), "{len}");
    }
}

#[test]
fn options_are_passed_over() {
    let expected = with_ports(v4_layer(TCP, 0), 443, 0x12);
    for options in [
        &[1_u8, 1, 1, 1][..],
        &[0, 0xff, 0xff, 0xff],
        &[148, 4, 0, 0],
        &[
            7, 39, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
        ],
    ] {
        assert_eq!(only(&eth(V4, v4_with(TCP, 0, options, tcp()))), expected, "{options:?}");
    }
    for options in [[148, 0, 0, 0], [148, 1, 0, 0], [148, 5, 0, 0], [1, 1, 1, 148]] {
        let frame = eth(V4, v4_with(TCP, 0, &options, tcp()));
        // The last option's length would be the first byte of what follows the header.
        assert_eq!(fault(&frame), Fault::BadHeader, "{options:?}");
    }
    // 40 bytes of padding are more headers than are followed.
    assert_eq!(fault(&eth(V4, v4_with(TCP, 0, &[1; 40], tcp()))), Fault::TooDeep);
}

#[test]
fn extension_headers() {
    let expected = with_ports(v6_layer(TCP, 0), 443, 0x12);
    for number in [0, 60, 135, 139, 140] {
        assert_eq!(only(&eth(V6, v6(number, ext(TCP, 0, tcp())))), expected, "{number}");
        assert_eq!(only(&eth(V6, v6(number, ext(TCP, 3, tcp())))), expected, "{number}");
        // In IPv4 they are protocols.
        let layer = v4_layer(number, Layer::HIDDEN);
        assert_eq!(only(&eth(V4, v4(number, ext(TCP, 0, tcp())))), layer, "{number}");
    }
    // A spent routing header of an unknown type.
    assert_eq!(only(&eth(V6, v6(43, routing(TCP, 77, 0, &[DST6], tcp())))), expected);
    for words in [1, 4, 7] {
        assert_eq!(only(&eth(V6, v6(51, auth(TCP, words, tcp())))), expected, "{words}");
        assert_eq!(
            only(&eth(V4, v4(51, auth(TCP, words, tcp())))),
            with_ports(v4_layer(TCP, 0), 443, 0x12),
            "{words}"
        );
    }
    assert_eq!(fault(&eth(V6, v6(51, auth(TCP, 0, tcp())))), Fault::BadHeader);
    // Ends of the walk.
    assert_eq!(only(&eth(V6, v6(60, ext(50, 0, tcp())))), v6_layer(50, Layer::HIDDEN));
    assert_eq!(only(&eth(V6, v6(60, ext(59, 0, tcp())))), v6_layer(59, 0));
}

#[test]
fn long_chains_are_too_deep() {
    let chain = |n: usize| (0..n).fold(tcp(), |payload, i| ext(if i == 0 { TCP } else { 60 }, 0, payload));
    for n in 1..=20 {
        assert_eq!(only(&eth(V6, v6(60, chain(n)))).dport, 443, "{n}");
    }
    // The TCP header ends at byte 54 + 8 * n + 20, within the copy up to 22.
    assert_eq!(only(&eth(V6, v6(60, chain(22)))).dport, 443);
    for n in 23..60 {
        let (parsed, packet) = run(Link::Ethernet, &eth(V6, v6(60, chain(n))));
        assert_eq!((parsed, packet.layer_count), (Parsed::Malformed(Fault::TooDeep), 1), "{n}");
        assert_eq!((packet.layers[0].dst, packet.layers[0].flags), (addr(DST6), Layer::IPV6));
    }
    let tags =
        |n: usize| (0..n).fold(v4(TCP, tcp()), |inner, i| tag(if i == 0 { V4 } else { 0x8100 }, inner));
    assert_eq!(only(&eth(0x8100, tags(24))).dport, 443);
    assert_eq!(fault(&eth(0x8100, tags(40))), Fault::TooDeep);
}

#[test]
fn beyond_the_copy() {
    // An extension header that reaches past byte 256: to the frame's own bytes, or past its end.
    let frame = |more: u8| eth(V6, v6(60, ext(TCP, more, tcp())));
    assert_eq!(only(&frame(21)).dport, 443);
    for more in [22, 40, 255] {
        assert_eq!(fault(&frame(more)), Fault::TooDeep);
        let mut cut = frame(more);
        cut.truncate(256);
        assert_eq!(fault(&cut), Fault::Truncated);
        let len = frame(more).len();
        for missing in 1..=20 {
            let mut cut = frame(more);
            cut.truncate(len - missing);
            assert_eq!(fault(&cut), Fault::Truncated, "{more} {missing}");
        }
    }
    // A payload that goes on behind the copy is no matter.
    assert_eq!(only(&join(&[&eth(V4, v4(TCP, tcp())), &[0; 9000]])).dport, 443);
}

#[test]
fn ipv4_fragments() {
    let first = Layer::FRAGMENT;
    let later = Layer::FRAGMENT | Layer::LATER_FRAGMENT;
    let payload = || join(&[&tcp(), &[0; 4]]);
    // More fragments; with the bits for don't fragment and the reserved one.
    for field in [0x2000, 0x6000, 0xe000] {
        assert_eq!(
            only(&eth(V4, v4_with(TCP, field, &[], payload()))),
            with_ports(v4_layer(TCP, first), 443, 0x12)
        );
    }
    for field in [1, 0x2001, 0x1fff, 0x3fff] {
        for (protocols, hidden) in
            [(&[TCP, 132, 1, 59][..], 0), (&[UDP, 4, 41, 47, 50, 51, 137], Layer::HIDDEN)]
        {
            for &protocol in protocols {
                let frame = eth(V4, v4_with(protocol, field, &[], payload()));
                assert_eq!(only(&frame), v4_layer(protocol, later | hidden), "{field:#x}");
            }
        }
    }
    for field in [0x4000, 0x8000] {
        assert_eq!(
            only(&eth(V4, v4_with(TCP, field, &[], payload()))),
            with_ports(v4_layer(TCP, 0), 443, 0x12)
        );
    }
}

#[test]
fn ipv6_fragments() {
    let first = Layer::FRAGMENT;
    let later = Layer::FRAGMENT | Layer::LATER_FRAGMENT | Layer::HIDDEN;
    assert_eq!(
        only(&eth(V6, v6(44, fragment(TCP, 0, true, tcp())))),
        with_ports(v6_layer(TCP, first), 443, 0x12)
    );
    assert_eq!(
        only(&eth(V6, v6(0, ext(44, 0, fragment(60, 0, true, ext(TCP, 0, tcp())))))),
        with_ports(v6_layer(TCP, first), 443, 0x12)
    );
    for (offset, more) in [(8, false), (8, true), (0xfff8, false)] {
        for next in [TCP, UDP, 60, 43, 44, 41] {
            let frame = eth(V6, v6(44, fragment(next, offset, more, tcp())));
            assert_eq!(only(&frame), v6_layer(next, later));
        }
    }
    // RFC 6946.
    assert_eq!(
        only(&eth(V6, v6(44, fragment(TCP, 0, false, tcp())))),
        with_ports(v6_layer(TCP, 0), 443, 0x12)
    );
}

#[test]
fn tiny_first_fragments() {
    for len in 0..20 {
        let part = tcp()[..len].to_vec();
        // Bare, and with the padding that Ethernet adds, from which nothing may be read.
        for padding in [0, 60] {
            let v4_frame = join(&[&eth(V4, v4_with(TCP, 0x2000, &[], part.clone())), &vec![0xbb; padding]]);
            let v6_frame =
                join(&[&eth(V6, v6(44, fragment(TCP, 0, true, part.clone()))), &vec![0xbb; padding]]);
            for frame in [v4_frame, v6_frame] {
                let (parsed, packet) = run(Link::Ethernet, &frame);
                assert_eq!(parsed, Parsed::Malformed(Fault::TinyFragment), "{len} {padding}");
                assert_eq!((packet.layer_count, packet.layers[0].flags & PORTS), (1, 0));
            }
        }
    }
    // Inside the chain (RFC 7112), and inside what is tunnelled.
    let chain = ext(60, 0, ext(TCP, 2, tcp()));
    for len in 0..chain.len() {
        let frame = eth(V6, v6(44, fragment(60, 0, true, chain[..len].to_vec())));
        assert_eq!(fault(&frame), Fault::TinyFragment, "{len}");
    }
    let tunnels = [
        (UDP, udp(4789, vxlan(8, eth(V4, v4(TCP, tcp()))))),
        (UDP, udp(6081, geneve(1, 0x6558, eth(V4, v4(TCP, tcp()))))),
        (47, gre(0x20, V4, v4(TCP, tcp()))),
        (4, v4(UDP, udp(4789, vxlan(8, eth(V6, v6(TCP, tcp())))))),
    ];
    for (protocol, payload) in tunnels {
        for len in 0..payload.len() {
            let frame = eth(V4, v4_with(protocol, 0x2000, &[], payload[..len].to_vec()));
            assert_eq!(fault(&frame), Fault::TinyFragment, "{protocol} {len}");
        }
    }
}
