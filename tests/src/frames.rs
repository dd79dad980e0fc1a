//! Frames of every rule kind on both hooks, and the policy and exemptions that they are made for.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use guard_common::abi::Hook;
use guard_common::packet::Link;
use guard_user::compile::KernelExemption;
use guard_user::config::{self, Policy};
use guard_user::explain::{NamedExemption, Surroundings};

use crate::packet::{Ipv4, Ipv6, Ipv6Fragment, Packet, Routing, SourceRoute};

/// The text of the policy that the frames are made for.
pub const POLICY: &str = include_str!("frames/differential.toml");

/// The policy that the frames are made for.
///
/// # Errors
/// Where the config can't be used.
pub fn policy() -> Result<Policy> {
    policy_of(POLICY)
}

/// The policy of this text.
///
/// # Errors
/// Where the config can't be used.
pub fn policy_of(text: &str) -> Result<Policy> {
    let surroundings = config::Surroundings::new(None);
    let checked = config::parse(Path::new("policy.toml"), text.as_bytes(), &surroundings);
    Ok(checked.map_err(|errors| anyhow!("{errors}"))?.policy)
}

/// An exemption of these pins to a network, until a time of the kernel's clock and for so many bytes.
///
/// # Errors
/// Where the network is none.
pub fn exemption(
    slot: u16,
    pins: &[&str],
    network: &str,
    valid_until_ns: u64,
    quota: u64,
) -> Result<NamedExemption> {
    let places = [(0, "US"), (99, "FR")];
    let placed = places.iter().find(|(of, _)| *of == slot).map(|(_, it)| it.parse()).transpose();
    let kernel = KernelExemption {
        slot,
        account: slot,
        identity: 0,
        pins: pins.iter().map(|pin| (*pin).to_owned()).collect(),
        jurisdictions: Vec::new(),
        networks: vec![network.parse().context("no network")?],
        // Where the network is, anywhere, or elsewhere: then it covers nothing.
        placed: placed.map_err(|error| anyhow!("{error}"))?,
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns,
        quota,
    };
    Ok(NamedExemption { id: format!("exemption-{slot}"), kernel })
}

/// The exemptions that the frames are made for: valid, expired, spent, of another place, and two of one account.
///
/// # Errors
/// Where one can't be made.
pub fn exemptions() -> Result<Vec<NamedExemption>> {
    let mut of_101 = exemption(90, &["mail", "records"], "203.0.113.150/32", u64::MAX, 400)?;
    of_101.kernel.account = 101;
    let others = [
        exemption(0, &["mail"], "203.0.113.64/26", u64::MAX, u64::MAX),
        exemption(70, &["records", "backup"], "203.0.113.64/26", u64::MAX, u64::MAX),
        exemption(100, &["mail", "records"], "203.0.113.128/28", 1, u64::MAX),
        exemption(99, &["mail", "records"], "203.0.113.248/29", u64::MAX, u64::MAX),
        exemption(101, &["mail", "records"], "203.0.113.144/28", u64::MAX, 400),
        exemption(255, &["mail", "records"], "2001:db8:3::40/124", u64::MAX, u64::MAX),
    ];
    [Ok(of_101)].into_iter().chain(others).collect()
}

/// Sources that each rule meets, or just misses.
pub const STORAGE: [[u8; 4]; 3] = [[192, 0, 2, 10], [192, 0, 2, 11], [198, 51, 100, 10]];
/// Destinations that each rule meets, or just misses.
pub const PEERS: [[u8; 4]; 9] = [
    [192, 0, 2, 99],
    [198, 51, 100, 20],
    [203, 0, 113, 30],
    [203, 0, 113, 70],
    [203, 0, 113, 130],
    [203, 0, 113, 150],
    [203, 0, 113, 250],
    [10, 0, 0, 1],
    [224, 0, 0, 5],
];
/// As [`STORAGE`], of IPv6.
pub const STORAGE_V6: [[u16; 8]; 2] =
    [[0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11]];
/// As [`PEERS`], of IPv6.
pub const PEERS_V6: [[u16; 8]; 15] = [
    [0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x99],
    [0x2001, 0xdb8, 2, 0, 0, 0, 0, 1],
    [0x2001, 0xdb8, 2, 0, 0x8000, 0, 0, 1],
    [0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x30],
    [0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x45],
    [0x64, 0xff9b, 0, 0, 0, 0, 0xcb00, 0x711e],
    [0x2002, 0xcb00, 0x711e, 0, 0, 0, 0, 1],
    [0xfe80, 0, 0, 0, 0, 0, 0, 1],
    [0x2a00, 0x1450, 0, 0, 0, 0, 0, 1],
    // 203.0.113.30 and 198.51.100.20 below prefixes of the operator's, and one beside a prefix.
    [0x2001, 0xdb8, 0x64, 0, 0, 0, 0xcb00, 0x711e],
    [0x2001, 0xdb8, 0x65cb, 0x71, 0x1e, 0, 0, 0],
    [0x2001, 0xdb8, 0x65c6, 0x3364, 0x14, 0, 0, 0],
    [0x2001, 0xdb8, 0x66, 0x1c6, 0x33, 0x6414, 0, 0],
    [0x2001, 0xdb8, 0x64, 0, 0, 1, 0xc633, 0x6414],
    // Private space that is in no site.
    [0xfd00, 0, 0, 0, 0, 0, 0, 1],
];

/// A packet's begin: Ethernet or none.
pub fn begins() -> [(Link, Packet); 3] {
    [
        (Link::Ethernet, Packet::ethernet()),
        (Link::Ethernet, Packet::ethernet().vlan(7)),
        (Link::Raw, Packet::new()),
    ]
}

/// Every transport and every way to hide it, around one pair of IPv4 addresses.
pub fn around_v4(begin: &Packet, from: [u8; 4], to: [u8; 4]) -> Vec<Packet> {
    let ip = || begin.clone().ipv4(from, to);
    let with = |ipv4: Ipv4| begin.clone().with(ipv4);
    let header = || Ipv4::to(to).from(from);
    let inner =
        |packet: Packet| packet.ipv4([192, 0, 2, 10], [203, 0, 113, 30]).tcp(143, 50_000).payload("a mail");
    let route = [Ipv4Addr::new(203, 0, 113, 30), Ipv4Addr::new(198, 51, 100, 20)];
    vec![
        ip().tcp(143, 50_000).payload("a mail"),
        ip().tcp(25, 50_000),
        ip().tcp(22, 50_000),
        ip().udp(143, 53),
        ip().udp(5, 53),
        ip().sctp(150, 7),
        ip().echo(),
        with(header().fragment(0, true)).tcp(143, 5).payload([0; 16]),
        with(header().fragment(1480, false)).payload([0; 40]),
        with(header().option(&[1, 1, 1, 1])).tcp(143, 5),
        with(header().source_route(SourceRoute::Loose, &route, 0)).tcp(143, 5),
        with(header().source_route(SourceRoute::Strict, &route, 2)).tcp(143, 5),
        ip().auth_header().tcp(143, 5),
        // L2TP, which hides what it carries (RFC 3931 section 4.1.1).
        with(header().protocol(115)).payload([0; 12]),
        // ESP and a path of Multipath TCP, whose ports nobody can tell.
        with(header().protocol(50)).payload([0; 12]),
        with(header().protocol(6)).payload(MULTIPATH),
        // ESP in UDP, and a pseudo-wire of MPLS.
        ip().udp(4500, 4500).payload([0, 0, 1, 0, 0, 0, 0, 1]),
        ip().udp(40_000, 6635).payload([0, 1, 1, 64, 0, 0, 0, 0]),
        // LLC in VXLAN begins behind the bytes that are copied first.
        ip().udp(40_000, 4789).payload(SNAP_IN_VXLAN),
        inner(ip()),
        inner(ip().gre()),
        inner(ip().udp(40_000, 4789).vxlan(42).then_ethernet()),
        inner(ip().udp(40_000, 6081).geneve(42).then_ethernet()),
        inner(inner(ip())),
        inner(ip().ipv4(from, to).ipv4(from, to)),
        ip().ipv6(STORAGE_V6[0], PEERS_V6[3]).tcp(143, 5),
        // ICMP errors: for a flow to Brussels, with and without room for its ports, and one to Ashburn; from others.
        with(header().protocol(1)).payload(error(3, quoted(to, PEERS[1]).tcp(143, 50_000))),
        with(header().protocol(1)).payload(&error(11, quoted(to, PEERS[1]).tcp(143, 50_000))[..30]),
        with(header().protocol(1)).payload(error(3, quoted(to, PEERS[2]).tcp(143, 50_000))),
        with(header().protocol(1)).payload(error(12, quoted(to, PEERS[3]).udp(143, 50_000))),
        with(header().protocol(1)).payload(error(3, quoted(to, PEERS[2]).tcp(22, 50_000))),
        with(header().protocol(1).option(&[1, 1, 1, 1])).payload(error(3, quoted(to, PEERS[1]).echo())),
        with(header().protocol(1)).payload(error(3, quoted(STORAGE[1], PEERS[1]).tcp(143, 5))),
        with(header().protocol(1)).payload(error(5, quoted(to, PEERS[1]).tcp(143, 5))),
        with(header().protocol(1)).payload(error(3, quoted(to, PEERS[1]).udp(40_000, 4789).vxlan(42))),
    ]
}

/// A bare IPv4 packet that was sent.
pub fn quoted(from: [u8; 4], to: [u8; 4]) -> Packet {
    Packet::new().ipv4(from, to)
}

/// An ICMP or ICMPv6 message of this type with a packet in it.
pub fn error(kind: u8, quoted: Packet) -> Vec<u8> {
    [&[kind, 4, 0, 0, 0, 0, 5, 0][..], &quoted.build()].concat()
}

/// A TCP segment from port 5 to port 143 with timestamps and a data sequence signal (RFC 8684 section 3.3).
pub const MULTIPATH: [u8; 40] = [
    0, 5, 0, 143, 0, 0, 0, 1, 0, 0, 0, 1, 0xa0, 0x10, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
    30, 8, 0x20, 1, 0, 0, 0, 1,
];

/// A VXLAN header and an Ethernet frame with a length, and IPv4 by SNAP.
pub const SNAP_IN_VXLAN: [u8; 50] = [
    8, 0, 0, 0, 0, 0, 42, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0, 28, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45,
    0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 10, 203, 0, 113, 30,
];

/// The same around one pair of IPv6 addresses.
pub fn around_v6(begin: &Packet, from: [u16; 8], to: [u16; 8]) -> Vec<Packet> {
    let ip = || begin.clone().ipv6(from, to);
    let error_v6 = |kind, quoted| {
        begin.clone().with(Ipv6::to(to).from(from).next_header(58)).payload(error(kind, quoted))
    };
    vec![
        ip().tcp(143, 50_000).payload("a mail"),
        ip().tcp(22, 50_000),
        ip().udp(143, 53),
        ip().sctp(143, 7),
        ip().echo(),
        ip().hop_by_hop().destination_options().tcp(143, 5),
        ip().with(Ipv6Fragment::new(0, true)).tcp(143, 5).payload([0; 16]),
        ip().with(Ipv6Fragment::new(1480, false)).payload([0; 40]),
        ip().with(Routing::segments(&[PEERS_V6[3].into(), PEERS_V6[1].into()], 1)).tcp(143, 5),
        ip().with(Routing::source_route(&[PEERS_V6[1].into(), PEERS_V6[3].into()], 2)).tcp(143, 5),
        ip().auth_header().tcp(143, 5),
        ip().ipv4([192, 0, 2, 10], [203, 0, 113, 30]).tcp(143, 5),
        begin.clone().with(Ipv6::to(to).from(from)).payload([0; 3]),
        error_v6(2, Packet::new().ipv6(to, PEERS_V6[1]).tcp(143, 50_000)),
        error_v6(1, Packet::new().ipv6(to, PEERS_V6[3]).tcp(143, 50_000)),
        error_v6(4, Packet::new().ipv6(to, PEERS_V6[4]).tcp(143, 50_000)),
        error_v6(2, Packet::new().ipv6(to, PEERS_V6[1]).destination_options().tcp(143, 5)),
        error_v6(2, Packet::new().ipv6(STORAGE_V6[1], PEERS_V6[1]).tcp(143, 5)),
        error_v6(128, Packet::new().ipv6(to, PEERS_V6[1]).tcp(143, 5)),
    ]
}

/// Every frame: both ways between each two addresses, in every way.
pub fn frames() -> Vec<(Link, Vec<u8>)> {
    let mut frames = Vec::new();
    for (link, begin) in begins() {
        let v4 = STORAGE.into_iter().flat_map(|from| PEERS.map(|to| (from, to)));
        // Both ways: what leaves, and what asks for it.
        let v4 =
            v4.flat_map(|(from, to)| [around_v4(&begin, from, to), around_v4(&begin, to, from)].concat());
        let v6 = STORAGE_V6.into_iter().flat_map(|from| PEERS_V6.map(|to| (from, to)));
        let v6 =
            v6.flat_map(|(from, to)| [around_v6(&begin, from, to), around_v6(&begin, to, from)].concat());
        frames.extend(v4.chain(v6).map(|packet| (link, packet.build())));
    }
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    frames.push((Link::Ethernet, arp));
    frames
}

/// Of how many frames one is judged where there are very many: of one, or of the number in
/// `BORDERGUARD_TEST_EVERY`, for a machine that is slow. That should be prime, so that it goes through each
/// list that the frames are combined from.
///
/// # Errors
/// Where that is no such number.
pub fn every() -> Result<usize> {
    let given = std::env::var("BORDERGUARD_TEST_EVERY").ok();
    let given = given.map(|given| given.parse::<NonZeroUsize>()).transpose();
    Ok(given.context("BORDERGUARD_TEST_EVERY is no number above 0")?.map_or(1, NonZeroUsize::get))
}

/// Bytes from which on the kernel's test run takes any frame.
pub fn least(hook: Hook) -> usize {
    const ETHERNET: usize = 14;
    const IPV6: usize = 40;
    match hook {
        Hook::Ingress => ETHERNET,
        _ => ETHERNET + IPV6,
    }
}

/// Where packets come from that have this mark.
pub fn marked(mark: u32) -> Surroundings {
    Surroundings { interface: Some("lo".to_owned()), mark, ..Surroundings::default() }
}

/// Where packets come from that the host only forwards.
pub fn forwarded() -> Surroundings {
    Surroundings { is_forwarded: true, ..marked(0) }
}
