//! The tracing programs on guarded interfaces: swapped in and back under traffic, bounded in packets and time, and over
//! with the process that asked for them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guard_common::abi::Hook;
use guard_common::abi::traced::{TraceNetwork, TraceTarget};
use guard_common::packet::Addr;
use guard_common::verdict::{Reason, Verdict};
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel, TracedPacket, View};
use support::{CLIENT, FrameSocket, OTHER, PinPlace, STORAGE, add_veth, frame, guarded, in_own_network};

/// `CLOCK_BOOTTIME` in nanoseconds.
fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// So many packets of any kind, for so many milliseconds.
fn all(packets: u64, milliseconds: u64) -> TraceTarget {
    TraceTarget { deadline_ns: boot_ns() + milliseconds * 1_000_000, packets, ..TraceTarget::default() }
}

/// One address.
fn host(address: [u8; 4]) -> TraceNetwork {
    let address = Addr::from(std::net::IpAddr::from(address));
    TraceNetwork { address, mask: Addr { hi: u64::MAX, lo: u64::MAX } }
}

/// Packets that were judged for this reason.
fn packets(view: &View, reason: Reason) -> u64 {
    view.totals().unwrap().iter().filter(|row| row.reason == reason).map(|row| row.count.packets).sum()
}

/// Of the packets to or from the client, where they come from and the reason.
fn of_client(traced: &[TracedPacket]) -> Vec<([u8; 4], Reason)> {
    let client = Addr::from(std::net::IpAddr::from(CLIENT));
    let of = |packet: &TracedPacket| {
        let layer = packet.packet.layers().first().filter(|layer| layer.dst == client)?;
        Some((layer.src.v4()?.to_be_bytes(), Reason::from_index(packet.outcome.reason)?))
    };
    traced.iter().filter_map(of).collect()
}

/// The programs that are attached, and whether all are those that are to be.
fn attached(kernel: &mut LinuxKernel) -> (Vec<u32>, bool) {
    let all = kernel.observe().unwrap().interfaces.into_iter().flat_map(|it| it.attachments);
    let all: Vec<_> = all.collect();
    (all.iter().map(|it| it.program).collect(), all.iter().all(|it| it.is_current))
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_asked_for_is_told_and_no_more() {
    let pins = PinPlace::new("trace");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let before = attached(&mut kernel);
        assert_eq!((before.0.len(), before.1), (2, true));
        let mut reader = kernel.begin_trace().unwrap();
        assert!(!attached(&mut kernel).1, "the ordinary programs are not those that are to be");
        kernel.swap_attachments().unwrap();
        let during = attached(&mut kernel);
        assert!(during.1 && during.0.iter().all(|program| !before.0.contains(program)), "{during:?}");

        let sender = FrameSocket::on("bgk0");
        sender.send(&frame(STORAGE));
        assert_eq!(reader.packets(), [], "nothing was asked for yet");
        // By source.
        reader.set_target(TraceTarget { from: host(STORAGE), to: host(CLIENT), ..all(100, 60_000) }).unwrap();
        sender.send(&frame(OTHER));
        sender.send(&frame(STORAGE));
        let traced = reader.packets();
        let [packet] = &traced[..] else { panic!("{traced:#?}") };
        assert_eq!(of_client(&traced), [(STORAGE, Reason::Forbidden)]);
        assert_eq!((packet.hook, packet.generation, packet.missing), (Hook::Egress, 1, 0));
        assert_eq!(packet.ifindex, Interface::by_name("bgk0").unwrap().index);
        assert_eq!(packet.wire_len as usize, frame(STORAGE).len());
        assert_eq!(packet.outcome.verdict, Verdict::Drop as u8);
        // By pin, which only the judgement knows: what is of no pin is not told.
        reader.set_target(TraceTarget { pins: 1, ..all(100, 60_000) }).unwrap();
        sender.send(&frame(OTHER));
        sender.send(&frame(STORAGE));
        assert_eq!(of_client(&reader.packets()), [(STORAGE, Reason::Forbidden)]);
        reader.set_target(TraceTarget { pins: 2, ..all(100, 60_000) }).unwrap();
        sender.send(&frame(STORAGE));
        assert_eq!(reader.packets(), []);
        // What comes in is asked for as it is on the wire, and told as it is judged: the answer to it.
        reader.set_target(TraceTarget { from: host(STORAGE), ..all(100, 60_000) }).unwrap();
        FrameSocket::on("bgk1").send(&frame(STORAGE));
        let traced = reader.packets();
        let [packet] = &traced[..] else { panic!("{traced:#?}") };
        assert_eq!((packet.hook, packet.missing), (Hook::Ingress, 0));
        // Three were told. Of four there is one left.
        reader.set_target(TraceTarget { from: host(STORAGE), ..all(4, 60_000) }).unwrap();
        for _ in 0..5 {
            sender.send(&frame(STORAGE));
        }
        assert_eq!(of_client(&reader.packets()).len(), 1);
        assert_eq!(reader.lost(), 0);

        kernel.use_ordinary_programs().unwrap();
        kernel.swap_attachments().unwrap();
        assert_eq!(attached(&mut kernel), before, "the ordinary programs again");
        reader.set_target(all(1000, 60_000)).unwrap();
        sender.send(&frame(STORAGE));
        assert_eq!(reader.packets(), []);
        // Packets were judged as ever, whoever told of them.
        assert_eq!(packets(&kernel, Reason::Forbidden), 1 + 2 + 1 + 5 + 1);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn nothing_is_told_when_the_lease_is_over_and_the_next_process_swaps_back() {
    let pins = PinPlace::new("trace-lease");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", true);
        let mut reader = kernel.begin_trace().unwrap();
        kernel.swap_attachments().unwrap();
        // An interface that comes meanwhile gets the tracing program as well.
        add_veth("bgk2", "bgk3");
        kernel.attach(&Interface::by_name("bgk2").unwrap(), false).unwrap();
        let programs = attached(&mut kernel);
        assert!(programs.1 && programs.0.len() == 3, "{programs:?}");
        reader.set_target(TraceTarget { from: host(STORAGE), ..all(1000, 300) }).unwrap();
        let sender = FrameSocket::on("bgk0");
        sender.send(&frame(STORAGE));
        FrameSocket::on("bgk2").send(&frame(STORAGE));
        assert_eq!(of_client(&reader.packets()).len(), 2);
        std::thread::sleep(std::time::Duration::from_millis(350));
        sender.send(&frame(STORAGE));
        assert_eq!(reader.packets(), [], "the lease is over");
        // As where the process is killed: what is in bpffs stays, and the tracing programs judge.
        drop(kernel);
        sender.send(&frame(STORAGE));
        assert_eq!(reader.packets(), []);
        let view = View::open(&pins.path()).unwrap();
        assert_eq!(packets(&view, Reason::Forbidden), 4);
        let mut next = pins.open();
        assert!(!attached(&mut next).1, "they are not those of this process");
        next.swap_attachments().unwrap();
        let now = attached(&mut next);
        assert!(now.1 && now.0.iter().all(|program| !programs.0.contains(program)), "{now:?}");
        sender.send(&frame(STORAGE));
        assert_eq!(packets(&next, Reason::Forbidden), 5);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn swaps_under_traffic_lose_no_packet_and_count_each_once() {
    const SWAPS: usize = 10;
    let pins = PinPlace::new("trace-swaps");
    in_own_network(|| {
        let mut kernel = guarded(&pins, "\"IE\"", false);
        let network = support::Network::here();
        let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                network.run(|| {
                    let sender = FrameSocket::on("bgk0");
                    while !is_over.load(Ordering::Relaxed) {
                        sender.send(&frame(STORAGE));
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
            for _ in 0..SWAPS {
                let mut reader = kernel.begin_trace().unwrap();
                kernel.swap_attachments().unwrap();
                reader.set_target(TraceTarget { from: host(STORAGE), ..all(10, 60_000) }).unwrap();
                let mut told = Vec::new();
                while told.len() < 10 {
                    told.extend(reader.packets());
                }
                assert!(told.iter().all(|packet| packet.missing == 0 && packet.outcome.verdict == 3));
                assert_eq!(told.iter().map(|packet| packet.number).max(), Some(9));
                kernel.use_ordinary_programs().unwrap();
                kernel.swap_attachments().unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let sent = sent.into_inner();
        assert!(sent > 1000, "{sent}");
        assert_eq!(packets(&kernel, Reason::Forbidden), sent, "all are dropped, and each is counted once");
    });
}
