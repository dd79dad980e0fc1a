//! The loaded program against the same decision on the host: verdict and reason agree for every frame.
//!
//! Frames of every rule kind on both hooks come from the packet builder, then thousands that were made of
//! those by changing, cutting and joining them. The tracing programs judge all of it too, and their steps are those of
//! `explain`, word by word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use guard_common::abi::Hook;
use guard_common::packet::{Fault, Link, Parsed, contradicts};
use guard_common::verdict::Reason;
use guard_tests::bpffs::BpfFs;
use guard_tests::differential::Both;
use guard_tests::frames::{
    PEERS, PEERS_V6, STORAGE, around_v4, around_v6, every, exemptions, forwarded, frames, least, marked,
    policy,
};
use guard_tests::mutation::Numbers;
use guard_tests::packet::Packet;
use guard_tests::privilege::can_bpf;
use guard_user::explain::Explainer;
use guard_user::explain::frames::parse_frame;
use guard_user::geo::embedded;

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
    let every = every().unwrap();
    let pins = BpfFs::new(label).unwrap();
    let mut both = Both::new(&pins.path().join("guard"), traced).unwrap();
    let frames = frames();
    // Leaving without a mark meets every reason; the other ways may leave frames out.
    for (link, frame) in &frames {
        both.judge(Hook::Egress, *link, frame, &marked(0)).unwrap();
    }
    for (link, frame) in frames.iter().step_by(every) {
        both.judge(Hook::Egress, *link, frame, &forwarded()).unwrap();
    }
    for (hook, mark) in [(Hook::Egress, 0x110), (Hook::Ingress, 0), (Hook::Ingress, 0x110)] {
        for (link, frame) in frames.iter().step_by(every) {
            both.judge(hook, *link, frame, &marked(mark)).unwrap();
        }
    }
    // Every header cut at every byte, of one frame of each kind.
    let kinds = frames.iter().take(30).chain(frames.iter().rev().take(33));
    for (number, (link, frame)) in kinds.enumerate() {
        for cut in (1 + number % every..frame.len()).step_by(every) {
            both.judge(Hook::Egress, *link, &frame[..cut], &marked(0)).unwrap();
            both.judge(Hook::Ingress, *link, &frame[..cut], &marked(0)).unwrap();
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
        both.judge(hook, link, &frame, &from).unwrap();
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
    let explainer =
        Explainer::new(policy().unwrap(), embedded::load(), exemptions().unwrap(), Some("lo")).unwrap();
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
    for frame in bare.iter().step_by(every().unwrap()) {
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
