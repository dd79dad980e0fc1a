//! Frames with IP packets inside IP packets.

use super::{build::*, *};

fn protos(frame: &[u8]) -> Vec<(u8, u16, bool)> {
    let packet = ip(frame);
    packet.layers().iter().map(|l| (l.proto, l.dport, l.flags & Layer::IPV6 != 0)).collect()
}

const INNER4: (u8, u16, bool) = (TCP, 443, false);
const INNER6: (u8, u16, bool) = (TCP, 443, true);

#[test]
fn ip_in_ip() {
    assert_eq!(protos(&eth(V4, v4(4, v4(TCP, tcp())))), [(4, 0, false), INNER4]);
    assert_eq!(protos(&eth(V4, v4(41, v6(TCP, tcp())))), [(41, 0, false), INNER6]);
    assert_eq!(protos(&eth(V6, v6(4, v4(TCP, tcp())))), [(4, 0, true), INNER4]);
    assert_eq!(protos(&eth(V6, v6(41, v6(TCP, tcp())))), [(41, 0, true), INNER6]);
    assert_eq!(protos(&eth(V6, v6(60, ext(4, 0, v4(TCP, tcp()))))), [(4, 0, true), INNER4]);
    assert_eq!(protos(&eth(V6, v6(143, eth(V4, v4(TCP, tcp()))))), [(143, 0, true), INNER4]);
    let packet = ip(&eth(V4, v4(41, v6(TCP, tcp()))));
    assert_eq!((packet.layers[0].dst, packet.layers[1].dst), (addr(DST4), addr(DST6)));
    // The number must agree with the version inside.
    assert_eq!(fault(&eth(V4, v4(4, v6(TCP, tcp())))), Fault::BadHeader);
    assert_eq!(fault(&eth(V4, v4(41, v4(TCP, tcp())))), Fault::BadHeader);
}

#[test]
fn gre_fields() {
    for flags in [0, 0x80, 0x20, 0x10, 0xa0, 0x30, 0xb0, 0x08] {
        assert_eq!(
            protos(&eth(V4, v4(47, gre(flags, V4, v4(TCP, tcp()))))),
            [(47, 0, false), INNER4],
            "{flags}"
        );
        assert_eq!(
            protos(&eth(V6, v6(47, gre(flags, V6, v6(TCP, tcp()))))),
            [(47, 0, true), INNER6],
            "{flags}"
        );
        let bridged = gre(flags, 0x6558, eth(0x8100, tag(V4, v4(TCP, tcp()))));
        assert_eq!(protos(&eth(V4, v4(47, bridged))), [(47, 0, false), INNER4], "{flags}");
    }
    // Source routes and PPTP cannot be read; ARP or a keepalive is no IP.
    assert_eq!(fault(&eth(V4, v4(47, gre(0x40, V4, v4(TCP, tcp()))))), Fault::Opaque);
    let version = |version: u8| {
        let mut header = gre(0, V4, v4(TCP, tcp()));
        header[1] = version;
        eth(V4, v4(47, header))
    };
    assert_eq!(fault(&version(1)), Fault::Opaque);
    assert_eq!(fault(&version(2)), Fault::BadHeader);
    for protocol in [0, 0x0806, 0x2001] {
        assert_eq!(protos(&eth(V4, v4(47, gre(0, protocol, vec![])))), [(47, 0, false)]);
    }
}

/// Port and number of the one layer of a frame, of which nobody can tell what it carries.
fn hidden(frame: &[u8]) -> (u16, usize) {
    let packet = ip(frame);
    let last = packet.layers().last().unwrap();
    assert_eq!(last.flags & Layer::HIDDEN, Layer::HIDDEN, "{last:?}");
    (last.dport, packet.layers().len())
}

#[test]
fn vxlan_is_told_by_port_and_flags() {
    let inner = || eth(V4, v4(TCP, tcp()));
    for port in [4789, 8472] {
        for flags in [0x08, 0x88, 0x0c, 0x28] {
            assert_eq!(
                protos(&eth(V4, v4(UDP, udp(port, vxlan(flags, inner()))))),
                [(UDP, port, false), INNER4]
            );
        }
        // Without an identifier no receiver takes it for VXLAN.
        for flags in [0x00, 0x40, 0x47, 0xc0, 0x80] {
            assert_eq!(protos(&eth(V4, v4(UDP, udp(port, vxlan(flags, inner()))))), [(UDP, port, false)]);
        }
        // Nor can anybody tell it from QUIC with these.
        for flags in [0x48, 0x4f, 0xc8] {
            assert_eq!(hidden(&eth(V4, v4(UDP, udp(port, vxlan(flags, inner()))))), (port, 1));
        }
        // Nor what an EtherType inside is that nobody knows.
        let unknown = vxlan(8, eth(0xdada, vec![0; 20]));
        assert_eq!(hidden(&eth(V4, v4(UDP, udp(port, unknown)))), (port, 1));
        assert_eq!(protos(&eth(V4, v4(UDP, udp(port, vec![8; 7])))), [(UDP, port, false)]);
    }
    assert_eq!(protos(&eth(V4, v4(UDP, udp(443, vxlan(8, inner()))))), [(UDP, 443, false)]);
    // What is inside may be no IP, or carry a tag; once it is VXLAN a fault in it counts.
    assert_eq!(
        protos(&eth(V4, v4(UDP, udp(4789, vxlan(8, eth(0x0806, vec![0; 28])))))),
        [(UDP, 4789, false)]
    );
    let tagged = vxlan(8, eth(0x8100, tag(V6, v6(TCP, tcp()))));
    assert_eq!(protos(&eth(V4, v4(UDP, udp(4789, tagged)))), [(UDP, 4789, false), INNER6]);
    assert_eq!(fault(&eth(V4, v4(UDP, udp(4789, vxlan(8, vec![0; 13]))))), Fault::Truncated);
    assert_eq!(fault(&eth(V4, v4(UDP, udp(4789, vxlan(8, eth(0x8847, vec![])))))), Fault::Opaque);
}

#[test]
fn vxlan_gpe_names_its_payload() {
    let gpe = |flags: u8, next: u8, inner: Vec<u8>| {
        eth(V4, v4(UDP, udp(4790, join(&[&[flags, 0, 0, next, 0, 0, 5, 0], &inner]))))
    };
    let outer = (UDP, 4790, false);
    assert_eq!(protos(&gpe(0x0c, 1, v4(TCP, tcp()))), [outer, INNER4]);
    assert_eq!(protos(&gpe(0x0c, 2, v6(TCP, tcp()))), [outer, INNER6]);
    assert_eq!(protos(&gpe(0x0c, 3, eth(V4, v4(TCP, tcp())))), [outer, INNER4]);
    assert_eq!(protos(&gpe(0x08, 0, eth(V4, v4(TCP, tcp())))), [outer, INNER4]);
    assert_eq!(protos(&gpe(0x04, 1, v4(TCP, tcp()))), [outer]);
    for next in [4, 5] {
        assert_eq!(fault(&gpe(0x0c, next, v4(TCP, tcp()))), Fault::Opaque, "{next}");
    }
    for (flags, next) in [(0x0c, 9), (0x1c, 1), (0x4c, 1)] {
        assert_eq!(hidden(&gpe(flags, next, v4(TCP, tcp()))), (4790, 1), "{flags:#x} {next}");
    }
}

#[test]
fn tunnels_over_udp_that_are_not_read() {
    let to = |port: u16, inside: Vec<u8>| eth(V4, v4(UDP, udp(port, inside)));
    let begins = |first: &[u8]| join(&[first, &[0; 30]]);
    for (port, inside) in [
        (1701, begins(&[0x02, 0x02])),
        (1701, begins(&[0x00, 0x03])),
        (2152, begins(&[0x30, 255])),
        (2152, begins(&[0x34, 255])),
        (2268, join(&[&[6, 0], &v4(UDP, udp(143, vec![0; 20]))])),
        (2268, join(&[&[6, 0], &v6(UDP, udp(143, vec![0; 20]))])),
        (4341, join(&[&[0x80, 0, 0, 1, 0, 0, 0, 1], &v4(TCP, tcp())])),
        (4341, join(&[&[0x08, 1, 2, 3, 0, 0, 7, 0], &v6(TCP, tcp())])),
        (3544, v6(TCP, tcp())),
        (3544, begins(&[0, 0])),
        (3544, begins(&[0, 1])),
        (4754, gre(0x20, V4, v4(TCP, tcp()))),
        (6080, v4(TCP, tcp())),
        (6080, v6(TCP, tcp())),
        (6080, join(&[&v4(TCP, tcp()), &[0; 100]])),
        (6080, begins(&[0x00, 4])),
        (6080, begins(&[0x20, 41])),
        (6635, join(&[&[0, 1, 1, 64], &v4(TCP, tcp())])),
        (6635, join(&[&[0, 1, 0, 64, 0, 1, 1, 64], &v6(TCP, tcp())])),
    ] {
        assert_eq!(fault(&to(port, inside.clone())), Fault::Opaque, "{port} {inside:?}");
        let mut jumbo = to(port, inside);
        jumbo[38..40].fill(0);
        assert_eq!(fault(&jumbo), Fault::Opaque, "{port}, whose length says nothing");
    }
    // What else comes to these ports: a tunnel's own messages, and answers to clients that happen to have them.
    let name_answer = begins(&[0x45, 0x12, 0x81, 0x80, 0, 1, 0, 1]);
    for (port, inside) in [
        (1701, begins(&[0xc8, 0x02])),
        (2152, begins(&[0x32, 1])),
        (2152, begins(&[0x81, 255])),
        (2268, begins(&[1, 0, 0, 0])),
        (2268, begins(&[6, 0, 0x12, 0x34])),
        (4341, begins(&[0x12, 0x34, 0x81, 0x80])),
        (3544, begins(&[0x12, 0x34])),
        (4754, begins(&[0x12, 0x34, 0x81, 0x80])),
        (6080, begins(&[0x81, 4])),
        (6080, begins(&[0x00, 6])),
        (6080, name_answer.clone()),
        (3544, name_answer.clone()),
        (6635, vec![1; 7]),
    ] {
        let packet = ip(&to(port, inside.clone()));
        assert_eq!(packet.layers().len(), 1, "{port} {inside:?}");
        assert_eq!(packet.layers()[0].flags, Layer::HAS_PORTS, "{port} {inside:?}");
    }
    // A label with a pseudo-wire's frame behind it, with and without a control word, and what may be one.
    for inside in [begins(&[0, 1, 1, 64, 0, 0, 0, 0]), begins(&[0, 1, 1, 64, 2, 0, 0, 0]), name_answer] {
        assert_eq!(hidden(&to(6635, inside)), (6635, 1));
    }
}

#[test]
fn old_ways_to_carry_ip_in_ip_are_not_read() {
    for protocol in [55, 94, 98] {
        for frame in [eth(V4, v4(protocol, v4(TCP, tcp()))), eth(V6, v6(protocol, v4(TCP, tcp())))] {
            assert_eq!(fault(&frame), Fault::Opaque, "{protocol}");
        }
    }
}

#[test]
fn esp_in_udp_hides_the_ports_inside() {
    let between = |source: u16, dport: u16, inside: &[u8]| {
        let mut datagram = udp(dport, inside.to_vec());
        datagram[..2].copy_from_slice(&source.to_be_bytes());
        [eth(V4, v4(UDP, datagram.clone())), eth(V6, v6(UDP, datagram))]
    };
    let esp = [0, 0, 1, 0, 0, 0, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd];
    // RFC 3948 section 2.2: four zero bytes before IKE. And section 2.3: a keepalive is one byte.
    let ike = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    for (source, dport) in [(4500, 4500), (4500, 50123), (50123, 4500), (4500, 6080)] {
        for frame in between(source, dport, &esp) {
            assert_eq!(hidden(&frame), (dport, 1), "{source} {dport}");
        }
        for inside in [&ike[..], &[0xff]] {
            for frame in between(source, dport, inside) {
                assert_eq!(ip(&frame).layers()[0].flags & Layer::HIDDEN, 0, "{source} {dport} {inside:?}");
            }
        }
    }
    for frame in between(4501, 50123, &esp) {
        assert_eq!(ip(&frame).layers()[0].flags & Layer::HIDDEN, 0);
    }
}

#[test]
fn geneve_options_and_payloads() {
    let frame = |header: Vec<u8>| eth(V4, v4(UDP, udp(6081, header)));
    let outer = (UDP, 6081, false);
    for words in [0, 1, 7, 20] {
        assert_eq!(
            protos(&frame(geneve(words, 0x6558, eth(V4, v4(TCP, tcp()))))),
            [outer, INNER4],
            "{words}"
        );
        assert_eq!(protos(&frame(geneve(words, V4, v4(TCP, tcp())))), [outer, INNER4], "{words}");
        assert_eq!(protos(&frame(geneve(words, V6, v6(TCP, tcp())))), [outer, INNER6], "{words}");
    }
    assert_eq!(fault(&frame(geneve(63, V4, v4(TCP, tcp())))), Fault::TooDeep);
    // The second version does not exist; the payload may be something else.
    assert_eq!(protos(&frame(geneve(0x40, V4, v4(TCP, tcp())))), [outer]);
    assert_eq!(protos(&frame(geneve(0, 0x1234, v4(TCP, tcp())))), [outer]);
    assert_eq!(fault(&frame(geneve(0, 0x894f, vec![]))), Fault::Opaque);
    let mut cut = frame(geneve(5, V4, vec![]));
    cut.truncate(cut.len() - 1);
    assert_eq!(fault(&cut), Fault::Truncated);
}

#[test]
fn three_layers_and_no_more() {
    let nested = |depth: usize| (1..depth).fold((TCP, tcp()), |(proto, inner), _| (4, v4(proto, inner)));
    for depth in 1..=3 {
        let (proto, inner) = nested(depth);
        assert_eq!(ip(&eth(V4, v4(proto, inner))).layers().len(), depth);
    }
    for depth in 4..8 {
        let (proto, inner) = nested(depth);
        let (parsed, packet) = run(Link::Ethernet, &eth(V4, v4(proto, inner)));
        assert_eq!((parsed, packet.layer_count), (Parsed::Malformed(Fault::TooDeep), 3), "{depth}");
    }
    let mixed = eth(V4, v4(UDP, udp(4789, vxlan(8, eth(V6, v6(47, gre(0x20, V4, v4(TCP, tcp()))))))));
    assert_eq!(protos(&mixed), [(UDP, 4789, false), (47, 0, true), INNER4]);
}

#[test]
fn fragments_around_tunnels() {
    // The first fragment shows the inner packet, the later ones nothing of it.
    let packet = ip(&eth(V4, v4_with(4, 0x2000, &[], v4(TCP, join(&[&tcp(), &[0; 8]])))));
    assert_eq!(packet.layers[0].flags, Layer::FRAGMENT);
    assert_eq!(
        (packet.layer_count, packet.layers[1].dport, packet.layers[1].flags),
        (2, 443, Layer::HAS_PORTS)
    );
    // A later fragment inside a whole tunnel packet.
    let packet = ip(&eth(V4, v4(4, v4_with(TCP, 9, &[], tcp()))));
    assert_eq!(packet.layers[1].flags, Layer::FRAGMENT | Layer::LATER_FRAGMENT);
}
