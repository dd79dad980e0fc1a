//! Tests of the whole parser. Each frame is built header by header by [`build`].

mod build;
mod oracle;
mod outer;
mod quoted;
mod robust;
mod route;
mod tunnel;

use super::*;

/// The parse of a frame, with all that a real caller may leave in the buffers before.
pub(super) fn run(link: Link, frame: &[u8]) -> (Parsed, Packet) {
    run_over(link, frame, 0xa5)
}

/// As [`run`], with `stale` in each byte that the frame does not cover.
pub(super) fn run_over(link: Link, frame: &[u8], stale: u8) -> (Parsed, Packet) {
    let mut bytes = [stale; HEADER_LEN];
    let valid = frame.len().min(HEADER_LEN);
    bytes[..valid].copy_from_slice(&frame[..valid]);
    let old = Layer {
        src: Addr { hi: stale.into(), lo: 1 },
        dst: Addr { hi: 2, lo: stale.into() },
        sport: stale.into(),
        dport: stale.into(),
        proto: stale,
        tcp_flags: stale,
        flags: stale,
        tunnel: stale,
    };
    let mut out = Packet {
        layers: [old; MAX_LAYERS],
        hops: [old.src; MAX_HOPS],
        layer_count: u32::from(stale),
        hop_count: u32::from(stale),
        quotes: u32::from(stale),
        quoted_count: u32::from(stale),
        quoted: old,
    };
    let parsed = parse(link, &bytes, valid, frame.len(), &mut out);
    (parsed, out)
}

/// A frame that must be IP throughout.
pub(super) fn ip(frame: &[u8]) -> Packet {
    let (parsed, packet) = run(Link::Ethernet, frame);
    assert_eq!(parsed, Parsed::Ip, "{packet:?}");
    packet
}

/// The fault of a frame that must have one.
pub(super) fn fault(frame: &[u8]) -> Fault {
    match run(Link::Ethernet, frame) {
        (Parsed::Malformed(fault), _) => fault,
        (parsed, packet) => panic!("{parsed:?} {packet:?}"),
    }
}

pub(super) fn addr(text: &str) -> Addr {
    text.parse::<core::net::IpAddr>().unwrap().into()
}
