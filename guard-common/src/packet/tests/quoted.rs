//! Errors of ICMP, and what they quote.

use super::{build::*, *};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// An error of this type with what it quotes.
fn error(kind: u8, quoted: Vec<u8>) -> Vec<u8> {
    join(&[&[kind, 4, 0, 0, 0, 0, 5, 0], &quoted])
}

/// What the only packet of a frame quotes.
fn quoted(frame: &[u8]) -> Option<Layer> {
    let packet = ip(frame);
    assert_eq!(packet.layer_count, 1);
    (packet.quoted_count == 1).then_some(packet.quoted)
}

fn of_v4(kind: u8, inner: Vec<u8>) -> Option<Layer> {
    quoted(&eth(V4, v4(ICMP, error(kind, inner))))
}

fn of_v6(kind: u8, inner: Vec<u8>) -> Option<Layer> {
    quoted(&eth(V6, v6(ICMPV6, error(kind, inner))))
}

#[test]
fn errors_quote_a_packet_and_other_messages_do_not() {
    let layer = Layer { sport: 40000, dport: 443, proto: TCP, flags: Layer::HAS_PORTS, ..Layer::default() };
    let of_4 = Layer { src: addr(SRC4), dst: addr(DST4), ..layer };
    let of_6 = Layer { src: addr(SRC6), dst: addr(DST6), flags: layer.flags | Layer::IPV6, ..layer };
    for kind in 0..=u8::MAX {
        let is_error = matches!(kind, 3 | 11 | 12);
        assert_eq!(of_v4(kind, v4(TCP, tcp())), is_error.then_some(of_4), "{kind}");
        assert_eq!(of_v6(kind, v6(TCP, tcp())), (1..=4).contains(&kind).then_some(of_6), "{kind}");
    }
    // The first eight bytes behind the header are what every router quotes (RFC 792).
    assert_eq!(of_v4(3, v4(TCP, tcp()[..8].to_vec())), Some(of_4));
    assert_eq!(quoted(&eth(0x8100, tag(V4, v4(ICMP, error(3, v4(TCP, tcp())))))), Some(of_4));
    // Behind an IPv4 option and an extension header of the error itself.
    let option = v4_with(ICMP, 0, &[1, 1, 1, 0], error(3, v4(TCP, tcp())));
    assert_eq!(quoted(&eth(V4, option)), Some(of_4));
    let extended = v6(0, ext(ICMPV6, 0, error(2, v6(TCP, tcp()))));
    assert_eq!(quoted(&eth(V6, extended)), Some(of_6));
    let echo = Layer { proto: ICMP, sport: 0, dport: 0, flags: 0, ..of_4 };
    assert_eq!(of_v4(11, v4(ICMP, vec![8, 0, 0, 0, 0, 0, 0, 0])), Some(echo));
}

#[test]
fn what_is_not_plain_is_not_read() {
    let inner = || v4(TCP, tcp());
    // Cut inside the header, or before the ports.
    for len in 0..24 {
        assert_eq!(of_v4(3, inner()[..len].to_vec()), None, "{len}");
    }
    assert!(of_v4(3, inner()[..24].to_vec()).is_some());
    for len in 0..44 {
        assert_eq!(of_v6(2, v6(TCP, tcp())[..len].to_vec()), None, "{len}");
    }
    // Options, a later fragment, another version.
    assert_eq!(of_v4(3, v4_with(TCP, 0, &[1, 1, 1, 0], tcp())), None);
    assert_eq!(of_v4(3, v4_with(TCP, 1, &[], tcp())), None);
    assert_eq!(of_v4(3, v6(TCP, tcp())), None);
    assert_eq!(of_v6(2, v4(TCP, join(&[&tcp(), &[0; 40]]))), None);
    // Tunnels, what is encrypted, extension headers.
    for proto in [4, 41, 47, 50, 51, 97, 115, 137, 143, 253] {
        assert_eq!(of_v4(3, v4(proto, inner())), None, "{proto}");
        assert_eq!(of_v6(2, v6(proto, inner())), None, "{proto}");
    }
    for next in [0, 43, 44, 60] {
        assert_eq!(of_v6(2, v6(next, ext(TCP, 0, tcp()))), None, "{next}");
    }
    for port in [4500, 4789, 6081, 2152] {
        assert_eq!(of_v4(3, v4(UDP, udp(port, vec![0; 8]))), None, "{port}");
    }
    assert!(of_v4(3, v4(UDP, udp(53, vec![]))).is_some());
    // The error itself in pieces, or in a tunnel.
    let piece = v4_with(ICMP, 0x2000, &[], error(3, inner()));
    assert_eq!(quoted(&eth(V4, piece)), None);
    let tunnelled = ip(&eth(V4, v4(4, v4(ICMP, error(3, inner())))));
    assert_eq!((tunnelled.layer_count, tunnelled.quoted_count), (2, 0));
    // A number of the other version's ICMP.
    assert_eq!(quoted(&eth(V6, v6(ICMP, error(3, inner())))), None);
    // A second layer's offset is never taken for the first's.
    let both = ip(&eth(V4, v4(4, v4(TCP, tcp()))));
    assert_eq!((both.quotes, both.quoted_count), (0, 0));
}
