//! Source routes: the hops still to come are destinations.

use super::{build::*, *};

const HOPS6: [&str; 4] = ["2001:db8::a", "2001:db8::b", "2001:db8::c", "2001:db8::d"];

fn hops(frame: &[u8]) -> Vec<Addr> {
    let packet = ip(frame);
    assert_eq!(packet.layers().last().map(|l| l.dport), Some(443));
    packet.hops().to_vec()
}

fn addrs(texts: &[&str]) -> Vec<Addr> {
    texts.iter().map(|text| addr(text)).collect()
}

/// A source route of `count` hops `203.0.113.x`, x from 1 on, with this pointer.
fn option(kind: u8, count: u8, pointer: u8) -> Vec<u8> {
    let list: Vec<u8> = (1..=count).flat_map(|x| [203, 0, 113, x]).collect();
    join(&[&[kind, 3 + count * 4, pointer], &list, &[1]])
}

fn v4_hops(from: u8, to: u8) -> Vec<Addr> {
    (from..=to).map(|x| Addr::from_v4(0xcb00_7100 | u32::from(x))).collect()
}

#[test]
fn ipv4_routes() {
    for kind in [131, 137] {
        for passed in 0..=4 {
            let frame = eth(V4, v4_with(TCP, 0, &option(kind, 4, 4 + passed * 4), tcp()));
            assert_eq!(hops(&frame), v4_hops(passed + 1, 4), "{passed}");
        }
        // Behind other options, and before some.
        let options = join(&[&[1, 1, 1, 148, 4, 0, 0, 1], &option(kind, 2, 4), &[148, 4, 0, 0]]);
        assert_eq!(hops(&eth(V4, v4_with(TCP, 0, &options, tcp()))), v4_hops(1, 2));
        assert_eq!(hops(&eth(V4, v4_with(TCP, 0, &option(kind, 8, 4), tcp()))), v4_hops(1, 8));
        assert_eq!(fault(&eth(V4, v4_with(TCP, 0, &option(kind, 9, 4), tcp()))), Fault::TooDeep);
        for pointer in [0, 3, 5, 6, 7] {
            assert_eq!(fault(&eth(V4, v4_with(TCP, 0, &option(kind, 1, pointer), tcp()))), Fault::BadHeader);
        }
        assert_eq!(fault(&eth(V4, v4_with(TCP, 0, &[kind, 2, 4, 0], tcp()))), Fault::BadHeader);
    }
    // Record route holds no destination.
    assert_eq!(hops(&eth(V4, v4_with(TCP, 0, &option(7, 4, 4), tcp()))), []);
    // A later fragment has no ports, and still its route.
    let packet = ip(&eth(V4, v4_with(TCP, 3, &option(131, 2, 4), tcp())));
    assert_eq!((packet.layers[0].dport, packet.hops()), (0, &v4_hops(1, 2)[..]));
}

#[test]
fn ipv6_routes() {
    for left in 1..=4_usize {
        let frame = |kind| eth(V6, v6(43, routing(TCP, kind, left as u8, &HOPS6, tcp())));
        assert_eq!(hops(&frame(0)), addrs(&HOPS6[4 - left..]), "{left}");
        assert_eq!(hops(&frame(4)), addrs(&HOPS6[..left]), "{left}");
        for kind in [1, 3, 5, 6, 253] {
            assert_eq!(fault(&frame(kind)), Fault::Opaque);
        }
    }
    assert_eq!(hops(&eth(V6, v6(43, routing(TCP, 2, 1, &HOPS6[..1], tcp())))), addrs(&HOPS6[..1]));
    for kind in [0, 2, 4] {
        assert_eq!(hops(&eth(V6, v6(43, routing(TCP, kind, 0, &HOPS6, tcp())))), []);
        assert_eq!(fault(&eth(V6, v6(43, routing(TCP, kind, 5, &HOPS6, tcp())))), Fault::BadHeader);
    }
    // Segment routing with 8 bytes of TLVs behind the list, and before another extension header.
    let mut header = routing(60, 4, 3, &HOPS6[..3], join(&[&[5, 6, 0, 0, 0, 0, 0, 0], &ext(TCP, 0, tcp())]));
    header[1] += 1;
    assert_eq!(hops(&eth(V6, v6(43, header))), addrs(&HOPS6[..3]));
    let packet = ip(&eth(V6, v6(43, routing(44, 4, 1, &HOPS6, fragment(TCP, 64, false, tcp())))));
    assert_eq!((packet.layers[0].dport, packet.hops()), (0, &addrs(&HOPS6[..1])[..]));
}

#[test]
fn hops_of_all_layers_together() {
    let inner = |n| v6(43, routing(TCP, 4, n, &HOPS6, tcp()));
    let frame = eth(V4, v4_with(41, 0, &option(131, 4, 4), inner(4)));
    assert_eq!(hops(&frame), [v4_hops(1, 4), addrs(&HOPS6)].concat());
    let (parsed, packet) = run(Link::Ethernet, &eth(V4, v4_with(41, 0, &option(137, 5, 4), inner(4))));
    assert_eq!((parsed, packet.hop_count), (Parsed::Malformed(Fault::TooDeep), 8));
}
