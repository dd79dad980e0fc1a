//! The loaded program against the same decision on the host: verdict and reason agree for every frame.
//!
//! Frames of every rule kind on both hooks come from the packet builder, then thousands that were made of
//! those by changing, cutting and joining them. The tracing programs judge all of it too, and their steps are those of
//! `explain`, word by word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::Ordering;

use guard_common::abi::Hook;
use guard_common::abi::traced::TraceTarget;
use guard_common::packet::{Addr, Fault, Link, Parsed, contradicts};
use guard_common::verdict::{Reason, Verdict};
use guard_tests::bpffs::BpfFs;
use guard_tests::packet::{Ipv4, Ipv6, Ipv6Fragment, Packet, Routing, SourceRoute};
use guard_tests::privilege::can_bpf;
use guard_user::compile::KernelExemption;
use guard_user::config::{self, Policy};
use guard_user::explain::frames::parse_frame;
use guard_user::explain::{Explainer, NamedExemption, Surroundings};
use guard_user::geo::embedded;
use guard_user::kernel::{KernelError, LinuxKernel, TraceReader};
use support::mutation::Numbers;

const POLICY: &str = include_str!("support/differential.toml");

fn policy() -> Policy {
    let surroundings = config::Surroundings::new(None);
    config::parse(Path::new("policy.toml"), POLICY.as_bytes(), &surroundings).unwrap().policy
}

fn exemption(slot: u16, pins: &[&str], network: &str, valid_until_ns: u64, quota: u64) -> NamedExemption {
    let kernel = KernelExemption {
        slot,
        account: slot,
        pins: pins.iter().map(|pin| (*pin).to_owned()).collect(),
        jurisdictions: Vec::new(),
        networks: vec![network.parse().unwrap()],
        // Where the network is, anywhere, or elsewhere: then it covers nothing.
        placed: [(0, "US"), (99, "FR")].iter().find(|(of, _)| *of == slot).map(|(_, it)| it.parse().unwrap()),
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns,
        quota,
    };
    NamedExemption { id: format!("exemption-{slot}"), kernel }
}

fn exemptions() -> Vec<NamedExemption> {
    let mut of_101 = exemption(90, &["mail", "records"], "203.0.113.150/32", u64::MAX, 400);
    of_101.kernel.account = 101;
    vec![
        of_101,
        exemption(0, &["mail"], "203.0.113.64/26", u64::MAX, u64::MAX),
        exemption(70, &["records", "backup"], "203.0.113.64/26", u64::MAX, u64::MAX),
        exemption(100, &["mail", "records"], "203.0.113.128/28", 1, u64::MAX),
        exemption(99, &["mail", "records"], "203.0.113.248/29", u64::MAX, u64::MAX),
        exemption(101, &["mail", "records"], "203.0.113.144/28", u64::MAX, 400),
        exemption(255, &["mail", "records"], "2001:db8:3::40/124", u64::MAX, u64::MAX),
    ]
}

/// Addresses that each rule meets, or just misses.
const STORAGE: [[u8; 4]; 3] = [[192, 0, 2, 10], [192, 0, 2, 11], [198, 51, 100, 10]];
const PEERS: [[u8; 4]; 9] = [
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
const STORAGE_V6: [[u16; 8]; 2] =
    [[0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x11]];
const PEERS_V6: [[u16; 8]; 15] = [
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
fn begins() -> [(Link, Packet); 3] {
    [
        (Link::Ethernet, Packet::ethernet()),
        (Link::Ethernet, Packet::ethernet().vlan(7)),
        (Link::Raw, Packet::new()),
    ]
}

/// Every transport and every way to hide it, around one pair of IPv4 addresses.
fn around_v4(begin: &Packet, from: [u8; 4], to: [u8; 4]) -> Vec<Packet> {
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
fn quoted(from: [u8; 4], to: [u8; 4]) -> Packet {
    Packet::new().ipv4(from, to)
}

/// An ICMP or ICMPv6 message of this type with a packet in it.
fn error(kind: u8, quoted: Packet) -> Vec<u8> {
    [&[kind, 4, 0, 0, 0, 0, 5, 0][..], &quoted.build()].concat()
}

/// A TCP segment from port 5 to port 143 with timestamps and a data sequence signal (RFC 8684 section 3.3).
const MULTIPATH: [u8; 40] = [
    0, 5, 0, 143, 0, 0, 0, 1, 0, 0, 0, 1, 0xa0, 0x10, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
    30, 8, 0x20, 1, 0, 0, 0, 1,
];

/// A VXLAN header and an Ethernet frame with a length, and IPv4 by SNAP.
const SNAP_IN_VXLAN: [u8; 50] = [
    8, 0, 0, 0, 0, 0, 42, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0, 28, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45,
    0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 10, 203, 0, 113, 30,
];

/// The same around one pair of IPv6 addresses.
fn around_v6(begin: &Packet, from: [u16; 8], to: [u16; 8]) -> Vec<Packet> {
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

fn frames() -> Vec<(Link, Vec<u8>)> {
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
fn every() -> usize {
    let given = std::env::var("BORDERGUARD_TEST_EVERY").ok();
    given.map_or(1, |given| given.parse::<NonZeroUsize>().unwrap().get())
}

/// Bytes from which on the kernel's test run takes any frame.
fn least(hook: Hook) -> usize {
    const ETHERNET: usize = 14;
    const IPV6: usize = 40;
    match hook {
        Hook::Ingress => ETHERNET,
        _ => ETHERNET + IPV6,
    }
}

/// Where packets come from that have this mark.
fn marked(mark: u32) -> Surroundings {
    Surroundings { interface: Some("lo".to_owned()), mark, ..Surroundings::default() }
}

/// Where packets come from that the host only forwards.
fn forwarded() -> Surroundings {
    Surroundings { is_forwarded: true, ..marked(0) }
}

struct Both {
    kernel: LinuxKernel,
    explainer: Explainer,
    seen: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    refused: u64,
    /// Reads what the tracing programs say, where they judge.
    reader: Option<TraceReader>,
}

impl Both {
    fn judge(&mut self, hook: Hook, link: Link, frame: &[u8], from: &Surroundings) {
        let origin = self.explainer.origin(from, frame.len() as u64);
        let by_kernel = match self.kernel.judge_frame(hook, link, frame, &origin) {
            Ok(judged) => judged,
            // The kernel's test run wants an Ethernet header, and at TC a whole IP header behind it.
            Err(KernelError::TestRun { .. }) if frame.len() < least(hook) => {
                self.refused += 1;
                return;
            }
            Err(error) => panic!("{error}: {hook:?} {link:?} {frame:02x?}"),
        };
        let (parsed, packet) = parse_frame(link, frame);
        // Every exemption here is valid now or has long expired: which moment it is does not matter.
        let told = self.explainer.explain(hook, parsed, &packet, from, frame.len() as u64, 1 << 40);
        assert_eq!(
            (by_kernel.verdict, by_kernel.reason),
            (told.verdict, told.reason),
            "{hook:?} {link:?} {frame:02x?}\n{parsed:?} {packet:?}\n{:#?}",
            told.steps
        );
        assert_eq!(by_kernel.bytes, frame.len() as u64, "{hook:?} {link:?} {frame:02x?}");
        if let Some(reader) = &mut self.reader {
            let traced = reader.packets();
            let [traced] = traced.as_slice() else { panic!("{traced:?} for {frame:02x?}") };
            assert_eq!((traced.missing, traced.hook), (0, hook), "{traced:?}");
            let by_trace = self.explainer.explain_traced(traced, from).unwrap();
            assert_eq!(by_trace.steps, told.steps, "{hook:?} {link:?} {frame:02x?}\n{traced:#?}");
            assert_eq!((by_trace.verdict, by_trace.reason), (told.verdict, told.reason));
            assert_eq!((traced.generation, u64::from(traced.wire_len)), (1, frame.len() as u64));
        }
        let lets_through = match hook {
            Hook::Ingress => by_kernel.code == 2,
            _ => by_kernel.code == u32::MAX,
        };
        assert_eq!(lets_through, told.verdict.lets_through(), "code {}", by_kernel.code);
        *self.seen.entry((hook.name(), told.verdict.name(), told.reason.name())).or_insert(0) += 1;
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn the_kernel_decides_as_the_host_does() {
    decides_as_the_host_does("differential", false);
}

#[test]
#[ignore = "needs root and BPF"]
fn the_tracing_programs_decide_as_the_host_does_and_tell_the_same_steps() {
    decides_as_the_host_does("differential-traced", true);
}

/// Every frame, by the ordinary programs or by the tracing ones, whose steps are compared too.
fn decides_as_the_host_does(label: &str, traced: bool) {
    const MUTATED: usize = 6000;
    can_bpf().unwrap();
    let every = every();
    let pins = BpfFs::new(label).unwrap();
    let mut kernel = support::open_to_judge(&pins.path().join("guard")).unwrap();
    let first = Packet::ethernet().ipv4(STORAGE[0], PEERS[2]).tcp(143, 5).build();
    let empty = kernel.judge_frame(Hook::Egress, Link::Ethernet, &first, &Default::default()).unwrap();
    assert_eq!((empty.verdict, empty.reason), (Verdict::Drop, Reason::NoTables));

    let explainer = Explainer::new(policy(), embedded::load(), exemptions(), Some("lo")).unwrap();
    let addresses = [IpAddr::from(STORAGE[2]), IpAddr::from(STORAGE_V6[1])];
    let explainer = explainer.with_addresses(addresses.map(Addr::from).into());
    kernel.know_addresses(&explainer.tables().addresses).unwrap();
    kernel.publish(&explainer.tables().policy, Some(&explainer.tables().geo)).unwrap();
    let reader = traced.then(|| {
        let mut reader = kernel.begin_trace().unwrap();
        let all = TraceTarget { deadline_ns: u64::MAX, packets: u64::MAX, ..TraceTarget::default() };
        reader.set_target(all).unwrap();
        reader
    });
    let mut both = Both { kernel, explainer, seen: BTreeMap::new(), refused: 0, reader };
    let frames = frames();
    // Leaving without a mark meets every reason; the other ways may leave frames out.
    for (link, frame) in &frames {
        both.judge(Hook::Egress, *link, frame, &marked(0));
    }
    for (link, frame) in frames.iter().step_by(every) {
        both.judge(Hook::Egress, *link, frame, &forwarded());
    }
    for (hook, mark) in [(Hook::Egress, 0x110), (Hook::Ingress, 0), (Hook::Ingress, 0x110)] {
        for (link, frame) in frames.iter().step_by(every) {
            both.judge(hook, *link, frame, &marked(mark));
        }
    }
    // Every header cut at every byte, of one frame of each kind.
    let kinds = frames.iter().take(30).chain(frames.iter().rev().take(33));
    for (number, (link, frame)) in kinds.enumerate() {
        for cut in (1 + number % every..frame.len()).step_by(every) {
            both.judge(Hook::Egress, *link, &frame[..cut], &marked(0));
            both.judge(Hook::Ingress, *link, &frame[..cut], &marked(0));
        }
    }
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for _ in 0..MUTATED / every {
        let (link, frame) = numbers.mutate(&frames);
        let hook = if numbers.below(3) == 0 { Hook::Ingress } else { Hook::Egress };
        let from = match numbers.below(8) {
            0 | 1 => marked(0x10),
            2 => forwarded(),
            _ => marked(0),
        };
        both.judge(hook, link, &frame, &from);
    }
    // Each slot has the same bytes on both sides, charged and passed.
    for slot in 0..both.explainer.tables().policy.exemptions.len() {
        let by_kernel = both.kernel.exemption_use(u16::try_from(slot).unwrap()).unwrap();
        let host = both.explainer.tables();
        let by_host = [&host.used, &host.charged].map(|of| of[slot].load(Ordering::Relaxed));
        assert_eq!([by_kernel.bytes, by_kernel.charged], by_host, "slot {slot}");
        assert!(slot != 90 || by_kernel.bytes > 0 && by_kernel.charged == 0, "{by_kernel:?}");
    }
    println!("{:#?}, {} too short for the kernel", both.seen, both.refused);
    for reason in Reason::ALL.iter().filter(|reason| !matches!(reason, Reason::NoTables | Reason::Busy)) {
        let times: u64 =
            both.seen.iter().filter(|(seen, _)| seen.2 == reason.name()).map(|(_, times)| times).sum();
        assert!(
            times > 0 || *reason == Reason::PlaceUncertain || *reason == Reason::ExemptionNotYet,
            "no {} in {:#?}",
            reason.name(),
            both.seen
        );
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_bare_packet_that_is_not_what_its_sender_says_is_opaque() {
    can_bpf().unwrap();
    let pins = BpfFs::new("bare").unwrap();
    let mut kernel = support::open(&pins.path().join("guard")).unwrap();
    let explainer = Explainer::new(policy(), embedded::load(), exemptions(), Some("lo")).unwrap();
    kernel.publish(&explainer.tables().policy, Some(&explainer.tables().geo)).unwrap();
    let from = marked(0x10);
    let mut seen = BTreeMap::new();
    let mut judge = |frame: &[u8]| {
        if frame.len() < least(Hook::Egress) {
            return;
        }
        // Two bytes that the test run takes for the EtherType: of IPv4 the begin of the source, of IPv6 its middle.
        let told = u16::from_be_bytes([frame[12], frame[13]]);
        let (parsed, packet) = match parse_frame(Link::Raw, frame) {
            (Parsed::Ip, packet) if contradicts(frame[0], told) => (Parsed::Malformed(Fault::Opaque), packet),
            read => read,
        };
        let len = frame.len() as u64;
        let by_kernel =
            kernel.judge_frame(Hook::Egress, Link::Raw, frame, &explainer.origin(&from, len)).unwrap();
        let by_host = explainer.explain(Hook::Egress, parsed, &packet, &from, len, 1 << 40);
        assert_eq!(
            (by_kernel.verdict, by_kernel.reason),
            (by_host.verdict, by_host.reason),
            "{told:#06x} {frame:02x?}"
        );
        *seen.entry(by_kernel.reason.name()).or_insert(0) += 1;
    };
    let mut bare: Vec<Vec<u8>> = Vec::new();
    for to in PEERS {
        for source in [[8, 0, 2, 10], [134, 221, 2, 10], STORAGE[0]] {
            bare.extend(around_v4(&Packet::new(), source, to).into_iter().map(|packet| packet.build()));
        }
    }
    for to in PEERS_V6 {
        for middle in [0x86dd, 0x0800, 1] {
            let source = [0x2001, 0xdb8, middle, 0, 0, 0, 0, 0x10];
            bare.extend(around_v6(&Packet::new(), source, to).into_iter().map(|packet| packet.build()));
        }
    }
    for frame in bare.iter().step_by(every()) {
        judge(frame);
        // A label of MPLS, or anything else, with the version of the other family and of none.
        for version in [0x40, 0x60, 0x00] {
            judge(&[&[frame[0] & 0xf | version], &frame[1..]].concat());
        }
    }
    let times = |reason: Reason| seen.get(reason.name()).copied().unwrap_or(0);
    assert!(times(Reason::Opaque) > 50 && times(Reason::Permitted) > 10, "{seen:?}");
    assert!(times(Reason::Forbidden) > 10 && times(Reason::BadHeader) > 10, "{seen:?}");
}
