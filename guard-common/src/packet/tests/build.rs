//! Frames from headers, the outermost first: `eth(V4, v4(TCP, tcp()))`. Addresses are those set
//! aside for documentation (RFC 5737, RFC 3849).

use core::net::{Ipv4Addr, Ipv6Addr};

pub(super) const V4: u16 = 0x0800;
pub(super) const V6: u16 = 0x86dd;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

pub(super) const SRC4: &str = "192.0.2.1";
pub(super) const DST4: &str = "198.51.100.2";
pub(super) const SRC6: &str = "2001:db8::1";
pub(super) const DST6: &str = "2001:db8:ffff::2";

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn eth(ethertype: u16, payload: Vec<u8>) -> Vec<u8> {
    join(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ethertype.to_be_bytes(), &payload])
}

/// A VLAN tag behind its own EtherType.
pub(super) fn tag(ethertype: u16, payload: Vec<u8>) -> Vec<u8> {
    join(&[&[0, 5], &ethertype.to_be_bytes(), &payload])
}

pub(super) fn v4(protocol: u8, payload: Vec<u8>) -> Vec<u8> {
    v4_with(protocol, 0, &[], payload)
}

/// IPv4 with this fragment field and these options, whose length is a multiple of 4.
pub(super) fn v4_with(protocol: u8, fragment: u16, options: &[u8], payload: Vec<u8>) -> Vec<u8> {
    let header_len = 20 + options.len();
    let total = (header_len + payload.len()) as u16;
    let src = SRC4.parse::<Ipv4Addr>().unwrap().octets();
    let dst = DST4.parse::<Ipv4Addr>().unwrap().octets();
    let [t0, t1] = total.to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    let fixed = [0x40 | (header_len / 4) as u8, 0, t0, t1, 0, 7, f0, f1, 64, protocol, 0, 0];
    join(&[&fixed, &src, &dst, options, &payload])
}

pub(super) fn v6(next: u8, payload: Vec<u8>) -> Vec<u8> {
    let [l0, l1] = (payload.len() as u16).to_be_bytes();
    let src = SRC6.parse::<Ipv6Addr>().unwrap().octets();
    let dst = DST6.parse::<Ipv6Addr>().unwrap().octets();
    join(&[&[0x60, 0, 0, 0, l0, l1, next, 64], &src, &dst, &payload])
}

/// An extension header of `8 + 8 * more` bytes.
pub(super) fn ext(next: u8, more: u8, payload: Vec<u8>) -> Vec<u8> {
    join(&[&[next, more, 1, 4, 0, 0, 0, 0], &vec![0; usize::from(more) * 8], &payload])
}

/// An authentication header of `8 + 4 * words` bytes.
pub(super) fn auth(next: u8, words: u8, payload: Vec<u8>) -> Vec<u8> {
    join(&[&[next, words, 0, 0, 0, 0, 0, 1], &vec![0; usize::from(words) * 4], &payload])
}

/// An IPv6 fragment header; `offset` is in bytes.
pub(super) fn fragment(next: u8, offset: u16, more: bool, payload: Vec<u8>) -> Vec<u8> {
    let [f0, f1] = (offset | u16::from(more)).to_be_bytes();
    join(&[&[next, 0, f0, f1, 0, 0, 0, 9], &payload])
}

pub(super) fn routing(next: u8, kind: u8, left: u8, list: &[&str], payload: Vec<u8>) -> Vec<u8> {
    let list: Vec<u8> = list.iter().flat_map(|hop| hop.parse::<Ipv6Addr>().unwrap().octets()).collect();
    join(&[&[next, (list.len() / 8) as u8, kind, left, 0, 0, 0, 0], &list, &payload])
}

/// SYN and ACK from 40000 to 443.
pub(super) fn tcp() -> Vec<u8> {
    join(&[&40000_u16.to_be_bytes(), &443_u16.to_be_bytes(), &[0; 8], &[0x50, 0x12, 1, 0, 0, 0, 0, 0]])
}

pub(super) fn udp(dport: u16, payload: Vec<u8>) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    join(&[&40000_u16.to_be_bytes(), &dport.to_be_bytes(), &len.to_be_bytes(), &[0, 0], &payload])
}

/// The ports of SCTP and DCCP, and what follows them.
pub(super) fn ports12() -> Vec<u8> {
    join(&[&40000_u16.to_be_bytes(), &443_u16.to_be_bytes(), &[0; 8]])
}

pub(super) fn gre(flags: u8, protocol: u16, payload: Vec<u8>) -> Vec<u8> {
    let fields = (flags & 0xb0).count_ones() as usize * 4;
    join(&[&[flags, 0], &protocol.to_be_bytes(), &vec![0xee; fields], &payload])
}

pub(super) fn vxlan(flags: u8, payload: Vec<u8>) -> Vec<u8> {
    join(&[&[flags, 0, 0, 0, 0, 0, 5, 0], &payload])
}

/// Geneve with `words` times 4 bytes of options.
pub(super) fn geneve(words: u8, protocol: u16, payload: Vec<u8>) -> Vec<u8> {
    let [p0, p1] = protocol.to_be_bytes();
    join(&[&[words, 0, p0, p1, 0, 0, 5, 0], &vec![0xee; usize::from(words) * 4], &payload])
}

/// Frames that end with the last header that is read, and need each of their bytes.
pub(super) fn whole_frames() -> Vec<(&'static str, Vec<u8>)> {
    let inner = || eth(V4, v4(TCP, tcp()));
    let nop = [1, 1, 7, 3, 4, 1, 0, 0];
    let srh = ["2001:db8::a", "2001:db8::b"];
    vec![
        ("IPv4 TCP", inner()),
        ("IPv4 UDP", eth(V4, v4(UDP, udp(53, vec![])))),
        ("IPv4 options", eth(V4, v4_with(TCP, 0, &nop, tcp()))),
        ("IPv4 options, no ports", eth(V4, v4_with(1, 0, &nop, vec![]))),
        ("IPv4 AH", eth(V4, v4(51, auth(TCP, 4, tcp())))),
        ("IPv4 later fragment", eth(V4, v4_with(TCP, 5, &nop, vec![]))),
        ("SCTP", eth(V4, v4(132, ports12()))),
        ("DCCP", eth(V6, v6(33, ports12()))),
        ("UDP-Lite", eth(V6, v6(136, udp(53, vec![])))),
        ("VLAN", eth(0x8100, tag(V4, v4(TCP, tcp())))),
        ("QinQ", eth(0x88a8, tag(0x8100, tag(V6, v6(TCP, tcp()))))),
        ("PPPoE", eth(0x8864, join(&[&[0x11, 0, 0, 1, 0, 0, 0, 0x57], &v6(TCP, tcp())]))),
        ("IPv6 TCP", eth(V6, v6(TCP, tcp()))),
        ("IPv6 extensions", eth(V6, v6(0, ext(60, 0, ext(135, 1, ext(51, 0, auth(TCP, 1, tcp()))))))),
        ("IPv6 extensions, no ports", eth(V6, v6(0, ext(60, 0, ext(59, 1, vec![]))))),
        ("IPv6 later fragment", eth(V6, v6(0, ext(44, 0, fragment(TCP, 64, false, vec![]))))),
        ("IPv6 type 0", eth(V6, v6(43, routing(TCP, 0, 1, &srh, tcp())))),
        ("IPv6 type 4", eth(V6, v6(43, routing(TCP, 4, 2, &srh, tcp())))),
        ("IPIP", eth(V4, v4(4, v4(TCP, tcp())))),
        ("6in4", eth(V4, v4(41, v6(TCP, tcp())))),
        ("GRE", eth(V4, v4(47, gre(0, V4, v4(TCP, tcp()))))),
        ("GRE with all fields", eth(V6, v6(47, gre(0xb0, 0x6558, inner())))),
        ("Ethernet in IPv6", eth(V6, v6(143, inner()))),
    ]
}

/// As [`whole_frames`]; cut inside the tunnel's header they are plain UDP.
pub(super) fn udp_tunnels() -> Vec<(&'static str, usize, Vec<u8>)> {
    let inner = || eth(V6, v6(TCP, tcp()));
    vec![
        ("VXLAN", 50, eth(V4, v4(UDP, udp(4789, vxlan(8, inner()))))),
        ("VXLAN, old port", 70, eth(V6, v6(UDP, udp(8472, vxlan(0x88, inner()))))),
        (
            "VXLAN-GPE",
            50,
            eth(V4, v4(UDP, udp(4790, join(&[&[0x0c, 0, 0, 2, 0, 0, 5, 0], &v6(TCP, tcp())])))),
        ),
        ("Geneve", 50, eth(V4, v4(UDP, udp(6081, geneve(2, 0x6558, inner()))))),
        ("Geneve, IPv4", 70, eth(V6, v6(UDP, udp(6081, geneve(0, V4, v4(TCP, tcp())))))),
    ]
}
