//! Described packets as the parser would write them.

use guard_common::host::HostOrigin;
use guard_common::packet::{Addr, Layer, Packet, Parsed};

use super::reference::{Content, PlainLayer, PlainPacket};

/// A layer as the parser writes it.
fn layer(plain: &PlainLayer) -> Layer {
    let (sport, dport) = plain.ports.unwrap_or_default();
    let flags = [
        (plain.ports.is_some(), Layer::HAS_PORTS),
        (plain.later_fragment, Layer::FRAGMENT | Layer::LATER_FRAGMENT),
        (plain.other_ports, Layer::OTHER_PORTS),
        (plain.unreadable().is_none(), Layer::HIDDEN),
        (plain.src.is_ipv6(), Layer::IPV6),
    ];
    Layer {
        src: plain.src.into(),
        dst: plain.dst.into(),
        sport,
        dport,
        proto: plain.proto,
        tcp_flags: 0,
        flags: flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag),
        tunnel: 0,
    }
}

/// What the parser would write for this packet. Elements past the counts hold what another packet left.
pub(crate) fn parsed(plain: &PlainPacket, left: &Packet) -> (Parsed, Packet) {
    let mut packet = *left;
    packet.layer_count = 0;
    packet.hop_count = 0;
    let parsed = match &plain.content {
        Content::NotIp => Parsed::NotIp,
        Content::Broken(fault) => Parsed::Malformed(*fault),
        Content::Ip { layers, hops } => {
            for (place, plain) in packet.layers.iter_mut().zip(layers) {
                *place = layer(plain);
            }
            for (place, hop) in packet.hops.iter_mut().zip(hops) {
                *place = Addr::from(*hop);
            }
            packet.layer_count = layers.len() as u32;
            packet.hop_count = hops.len() as u32;
            Parsed::Ip
        }
    };
    (parsed, packet)
}

/// Where the packet comes from, as the decision on a host asks for it.
pub(crate) fn origin(plain: &PlainPacket) -> HostOrigin {
    HostOrigin {
        ifindex: plain.interface,
        ingress_ifindex: plain.came_in_by,
        mark: plain.mark,
        wire_len: plain.wire_len,
        cgroups: plain.cgroups.clone(),
        parties: plain.parties.clone(),
        users: plain.users.clone(),
        everybody: plain.everybody,
        volumes: plain.volumes.iter().fold(0, |slots, slot| slots | 1 << slot),
        direction: plain.direction,
    }
}
