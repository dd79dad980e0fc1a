//! The loaded program against the same decision on the host: verdict and reason agree for every frame.
//!
//! Frames of every rule kind on both hooks come from the packet builder, then thousands that were made of
//! those by changing, cutting and joining them. The tracing programs judge all of it too, and their steps are those of
//! `explain`, word by word.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use guard_common::abi::Hook;
use guard_common::abi::traced::TraceTarget;
use guard_common::packet::{Addr, Fault, Link, Parsed, contradicts};
use guard_common::verdict::{Reason, Verdict};
use guard_tests::bpffs::BpfFs;
use guard_tests::packet::Packet;
use guard_tests::privilege::can_bpf;
use guard_user::explain::frames::parse_frame;
use guard_user::explain::{Explainer, Surroundings};
use guard_user::geo::embedded;
use guard_user::kernel::{KernelError, LinuxKernel, TraceReader};
use support::frames::{
    PEERS, PEERS_V6, STORAGE, STORAGE_V6, around_v4, around_v6, every, exemptions, forwarded, frames, least,
    marked, policy,
};
use support::mutation::Numbers;

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
