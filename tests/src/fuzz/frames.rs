//! Frames: the parser beside another one, and the decision on the host.

use std::sync::OnceLock;

use anyhow::Result;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use guard_common::abi::Hook;
use guard_common::packet::{Addr, HEADER_LEN, Layer, Link, Parsed};
use guard_common::verdict::Reason;
use guard_user::explain::frames::parse_frame;
use guard_user::explain::{Explainer, Surroundings};
use guard_user::geo::embedded;

use super::target::Target;
use crate::frames::{exemptions, forwarded, frames, marked, policy};

pub(super) const PARSER: Target = Target {
    name: "parser",
    what: "a frame, also by etherparse",
    needs_bpf: false,
    take: parser,
    seeds,
    longest: LONGEST,
};

pub(super) const DECIDE: Target = Target {
    name: "decide",
    what: "a frame, judged on the host",
    needs_bpf: false,
    take: decide,
    seeds,
    longest: LONGEST,
};

/// The most bytes of an input: past all headers that are read.
pub(super) const LONGEST: usize = 512;

/// What an input says: its first byte is how the packet came, the others are the frame.
pub(super) fn case(input: &[u8]) -> Option<(Hook, Link, Surroundings, &[u8])> {
    let (first, frame) = input.split_first()?;
    let link = if first & 1 == 0 { Link::Ethernet } else { Link::Raw };
    let hook = if first & 2 == 0 { Hook::Egress } else { Hook::Ingress };
    let from = match first >> 2 & 3 {
        0 => marked(0),
        1 => marked(0x10),
        2 => marked(0x110),
        _ => forwarded(),
    };
    Some((hook, link, from, frame))
}

/// Frames of every kind, each in one of the ways that a packet comes.
pub(super) fn seeds() -> Result<Vec<Vec<u8>>> {
    // A number that is prime to the lengths of the lists that the frames are combined from.
    const EVERY: usize = 7;
    let seed = |(number, (link, frame)): (usize, (Link, Vec<u8>))| {
        let way = (number / EVERY % 8) as u8 * 2 + u8::from(link == Link::Raw);
        [vec![way], frame].concat()
    };
    Ok(frames().into_iter().enumerate().step_by(EVERY).map(seed).collect())
}

fn parser(input: &[u8]) {
    let Some((_, link, _, frame)) = case(input) else { return };
    let (parsed, packet) = parse_frame(link, frame);
    assert!(
        packet.layer_count as usize <= packet.layers.len() && packet.hop_count as usize <= packet.hops.len()
    );
    assert!((parsed == Parsed::NotIp) <= (packet.layer_count == 0), "{parsed:?} {packet:?}");
    if parsed != Parsed::Ip {
        return;
    }
    assert!(packet.layer_count > 0, "{packet:?}");
    let other = match link {
        Link::Ethernet => SlicedPacket::from_ethernet(frame),
        Link::Raw => SlicedPacket::from_ip(frame),
    };
    // What only one of them reads says nothing: the one is strict on whole packets, the other on what follows them.
    let Ok(other) = other else { return };
    let outermost = &packet.layers[0];
    let (src, dst, whole) = match &other.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let (src, dst) = (Addr::from(header.source_addr()), Addr::from(header.destination_addr()));
            (src, dst, !header.is_fragmenting_payload())
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (src, dst) = (Addr::from(header.source_addr()), Addr::from(header.destination_addr()));
            (src, dst, !ip.is_payload_fragmented())
        }
        _ => return,
    };
    assert_eq!(outermost.src, src, "{frame:02x?} {packet:?}");
    // A source route says where the packet is headed last: that is a hop, and the address in the header stays.
    assert_eq!(outermost.dst, dst, "{frame:02x?} {packet:?}");
    let ports = match &other.transport {
        Some(TransportSlice::Tcp(tcp)) => [tcp.source_port(), tcp.destination_port()],
        Some(TransportSlice::Udp(udp)) => [udp.source_port(), udp.destination_port()],
        _ => return,
    };
    if whole && outermost.flags & Layer::HAS_PORTS != 0 {
        assert_eq!([outermost.sport, outermost.dport], ports, "{frame:02x?} {packet:?}");
    }
}

fn explainer() -> &'static Explainer {
    static EXPLAINER: OnceLock<Explainer> = OnceLock::new();
    EXPLAINER.get_or_init(|| {
        let made = policy()
            .and_then(|policy| Ok(Explainer::new(policy, embedded::load(), exemptions()?, Some("lo"))?));
        made.unwrap_or_else(|error| panic!("the frames' own policy can't be used: {error:#}"))
    })
}

fn decide(input: &[u8]) {
    let Some((hook, link, from, frame)) = case(input) else { return };
    let (parsed, packet) = parse_frame(link, frame);
    let told = explainer().explain(hook, parsed, &packet, &from, frame.len() as u64, 1 << 40);
    assert!(told.steps.iter().all(|step| !step.says.is_empty()), "{told:?}");
    // A packet is judged the same with Ethernet's header before it and without, where it is read as far.
    let (Link::Ethernet, Some([8, 0] | [0x86, 0xdd]), 0..=HEADER_LEN) =
        (link, frame.get(12..14), frame.len())
    else {
        return;
    };
    let bare = &frame[14..];
    let (parsed, packet) = parse_frame(Link::Raw, bare);
    // The version in a bare packet says which family it is, and Ethernet's type that it is the other.
    let versions = [Some(4), Some(6)].contains(&bare.first().map(|first| first >> 4));
    let is_said = versions && (frame[12] == 8) == (bare[0] >> 4 == 4);
    let alone = explainer().explain(hook, parsed, &packet, &from, frame.len() as u64, 1 << 40);
    // What a budget has left is less the second time.
    let spends = |reason| {
        matches!(
            reason,
            Reason::Exempt | Reason::ExemptionExhausted | Reason::Failsafe | Reason::FailsafeExhausted
        )
    };
    if is_said && !spends(told.reason) && !spends(alone.reason) {
        assert_eq!((alone.verdict, alone.reason), (told.verdict, told.reason), "{frame:02x?}");
    }
}
