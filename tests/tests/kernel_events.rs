//! Events of many flows and of flows that are judged in turns: none hides another's, all that passed is counted once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use guard_common::abi::{EVENT_BURST, EVENT_RATE, Event, FlowKey, FlowRecord, Hook, Loss, PolicyTable};
use guard_common::host::HostOrigin;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::packet::Packet;
use guard_tests::resources::stay_on;
use guard_user::compile::{HostFacts, InterfaceFact, KernelExemption, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::events::flows::{QUIET_NS, Tracker};
use guard_user::kernel::{EventReader, Interface, Kernel as _, LinuxKernel, View};
use support::{CLIENT, FrameSocket, PinPlace, STORAGE, add_veth, frame, geo, in_own_network};

/// Another pin's storage.
const RECORDS: [u8; 4] = [192, 0, 2, 77];

/// Two pins by address, the first of which can also be one of an interface.
fn policy_with(
    select: &str,
    exemptions: &[KernelExemption],
    host: &HostFacts,
    generation: u64,
) -> Box<PolicyTable> {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"bgk*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         select.sources = [\"192.0.2.10/32\"]\n[[pin]]\nname = \"records\"\nhome = \"IE\"\naction = \"flag\"\n{select}\n"
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    policy_table(&checked.policy, exemptions, host, generation).unwrap()
}

fn by_address(generation: u64) -> Box<PolicyTable> {
    policy_with("select.sources = [\"192.0.2.77/32\"]", &[], &HostFacts::default(), generation)
}

fn flow(from: [u8; 4], number: usize) -> Vec<u8> {
    let ports = (8143 + (number / 60_000) as u16, 1024 + (number % 60_000) as u16);
    Packet::ethernet().ipv4(from, CLIENT).udp(ports.0, ports.1).payload("a mail").build()
}

fn packets(view: &View, verdict: Verdict) -> u64 {
    let totals = view.totals().unwrap();
    totals
        .iter()
        .filter(|row| row.verdict == verdict && row.hook == Hook::Egress)
        .map(|row| row.count.packets)
        .sum()
}

fn lost(view: &View, loss: Loss) -> u64 {
    view.lost().unwrap()[loss as usize]
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flood_of_one_pin_is_limited_and_hides_no_other_pin() {
    const FLOWS: usize = 30_000;
    let pins = PinPlace::new("flood");
    let mut kernel = pins.open();
    kernel.publish(&by_address(1), Some(&geo("US"))).unwrap();
    in_own_network(|| {
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        let mut reader = kernel.events().unwrap();
        let socket = FrameSocket::on("bgk0");
        let frames: Vec<Vec<u8>> = (0..FLOWS).map(|number| flow(STORAGE, number)).collect();
        stay_on(0).unwrap();
        let begin = Instant::now();
        for frame in &frames {
            socket.send(frame);
        }
        let took = begin.elapsed().as_secs_f64();
        let sent = reader.by_ref().count() as u64;
        let most = EVENT_BURST + (took * EVENT_RATE as f64) as u64 + 2;
        assert!((EVENT_BURST.min(FLOWS as u64)..=most).contains(&sent), "{sent} events in {took} s");
        assert!(sent < FLOWS as u64, "the flood took {took} s, too long to be one");
        assert_eq!(sent + lost(&kernel, Loss::Limited), FLOWS as u64, "each is sent or counted");
        assert_eq!((lost(&kernel, Loss::Events), lost(&kernel, Loss::Flows)), (0, 0));
        assert_eq!(packets(&kernel, Verdict::Drop), FLOWS as u64);
        // The flow records have what the events have not.
        let records = kernel.flows().unwrap();
        assert_eq!(records.iter().map(|(_, record)| record.packets).sum::<u64>(), FLOWS as u64);

        socket.send(&flow(RECORDS, 0));
        let other: Vec<Event> = reader.collect();
        let [event] = &other[..] else { panic!("{} events of the other pin", other.len()) };
        assert_eq!((event.record.denied, event.record.verdict), (2, Verdict::Flag as u8));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn what_many_flows_do_in_a_moment_is_within_the_limit() {
    let pins = PinPlace::new("burst");
    let mut kernel = pins.open();
    kernel.publish(&by_address(1), Some(&geo("US"))).unwrap();
    let mut reader = kernel.events().unwrap();
    in_own_network(|| {
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        let socket = FrameSocket::on("bgk0");
        stay_on(0).unwrap();
        let flows = EVENT_BURST as usize;
        (0..flows).for_each(|number| socket.send(&flow(STORAGE, number)));
        assert_eq!(reader.by_ref().count(), flows);
        assert_eq!(kernel.lost().unwrap(), [0; Loss::COUNT]);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flow_whose_first_packets_meet_is_one_flow() {
    const ROUNDS: usize = 1_500;
    let pins = PinPlace::new("meet");
    let mut kernel = pins.open();
    kernel.publish(&by_address(1), Some(&geo("US"))).unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get().min(4);
    assert!(cpus > 1, "two CPUs are needed to meet");
    in_own_network(|| {
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        let mut reader = kernel.events().unwrap();
        let meet = Barrier::new(cpus);
        std::thread::scope(|scope| {
            for cpu in 0..cpus {
                let meet = &meet;
                scope.spawn(move || {
                    stay_on(cpu).unwrap();
                    let socket = FrameSocket::on("bgk0");
                    for round in 0..ROUNDS {
                        let frame = flow(STORAGE, round);
                        meet.wait();
                        // Spinning threads are at the same instruction sooner than woken ones.
                        (0..8).for_each(|_| std::hint::spin_loop());
                        socket.send(&frame);
                    }
                });
            }
        });
        assert_eq!(packets(&kernel, Verdict::Drop), (cpus * ROUNDS) as u64);
        assert_eq!(lost(&kernel, Loss::Flows), 0, "nothing found no room");
        let records = kernel.flows().unwrap();
        assert_eq!(records.len(), ROUNDS);
        assert!(
            records.iter().all(|(_, record)| record.packets == cpus as u64),
            "each packet is in its record"
        );
        let events = reader.by_ref().count() + lost(&kernel, Loss::Limited) as usize;
        // Where a thread was kept from its CPU for a second, its packet is due another event.
        let second = |record: &FlowRecord| record.last_ns.saturating_sub(record.first_ns) >= 1_000_000_000;
        let slow = records.iter().filter(|(_, record)| second(record)).count();
        assert!(
            (ROUNDS..=ROUNDS + slow).contains(&events),
            "{events} events of {ROUNDS} flows, {slow} of them slow"
        );
    });
}

/// What events and the last sweep say of each flow's packets, by verdict and reason.
fn reported(reader: &mut EventReader, kernel: &LinuxKernel, events: &mut usize) -> BTreeMap<(u8, u8), u64> {
    let mut tracker = Tracker::default();
    let mut sums = BTreeMap::new();
    for event in reader {
        *events += 1;
        if let Some((_, added)) = tracker.event(&event.key, &event.record) {
            *sums.entry((event.record.verdict, event.record.reason)).or_insert(0) += added.packets;
        }
    }
    tracker.begin_sweep();
    for (key, record) in kernel.flows().unwrap() {
        if let Some(rest) = tracker.sweep_one(&key, &record, u64::MAX - QUIET_NS) {
            *sums.entry((rest.record.verdict, rest.record.reason)).or_insert(0) += rest.added.packets;
        }
    }
    assert_eq!(tracker.end_sweep(), 0, "no record was evicted");
    sums
}

/// At most an event a second for each of two judgements, beside the first.
fn few(took: std::time::Duration) -> usize {
    2 * (took.as_secs() as usize + 2)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flow_that_two_devices_judge_in_turn_is_not_an_event_a_packet() {
    const ROUNDS: u64 = 2_000;
    let pins = PinPlace::new("devices");
    let mut kernel = pins.open();
    in_own_network(|| {
        add_veth("bgk2", "bgk3");
        let fact = |name: &str| InterfaceFact {
            index: Interface::by_name(name).unwrap().index,
            names: vec![name.to_owned()],
            ..InterfaceFact::default()
        };
        let host = HostFacts { interfaces: vec![fact("bgk0"), fact("bgk2")], ..HostFacts::default() };
        let table = policy_with("select.interfaces = [\"bgk0\"]", &[], &host, 1);
        kernel.publish(&table, Some(&geo("US"))).unwrap();
        let mut reader = kernel.events().unwrap();
        for name in ["bgk0", "bgk2"] {
            kernel.attach(&Interface::by_name(name).unwrap(), false).unwrap();
        }
        let (one, other) = (FrameSocket::on("bgk0"), FrameSocket::on("bgk2"));
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            one.send(&frame(STORAGE));
            other.send(&frame(STORAGE));
        }
        let mut events = 0;
        let sums = reported(&mut reader, &kernel, &mut events);
        assert!(events <= few(begin.elapsed()), "{events} events of {ROUNDS} packets each");
        let dropped = (Verdict::Drop as u8, Reason::Forbidden as u8);
        assert_eq!(sums.get(&dropped), Some(&(2 * ROUNDS)), "{sums:?}");
        // Both judgements have a record: by both pins, and by one.
        let denied: Vec<(FlowKey, u64)> =
            kernel.flows().unwrap().into_iter().map(|(key, record)| (key, record.denied)).collect();
        assert!(denied.iter().any(|(_, denied)| *denied == 3), "{denied:?}");
        assert!(denied.iter().any(|(_, denied)| *denied == 1), "{denied:?}");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flow_that_passes_and_is_dropped_in_turn_adds_up_by_verdict() {
    const ROUNDS: u64 = 500;
    let pins = PinPlace::new("turns");
    let mut kernel = pins.open();
    let exemption = KernelExemption { quota: ROUNDS * 60, ..exemption(0) };
    let table = policy_with("select.marks = [\"1\"]", &[exemption], &HostFacts::default(), 1);
    kernel.publish(&table, Some(&geo("US"))).unwrap();
    let mut reader = kernel.events().unwrap();
    let judge = |wire_len, expected| {
        let origin = HostOrigin { wire_len, ..HostOrigin::default() };
        let judged = kernel.judge_frame(Hook::Egress, Link::Ethernet, &frame(STORAGE), &origin).unwrap();
        assert_eq!((judged.verdict, judged.reason), expected);
    };
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        // The quota has room for small packets, never for a large one.
        judge(60, (Verdict::Pass, Reason::Exempt));
        judge(40_000, (Verdict::Drop, Reason::ExemptionExhausted));
    }
    let mut events = 0;
    let sums = reported(&mut reader, &kernel, &mut events);
    assert!(events <= few(begin.elapsed()), "{events} events of {ROUNDS} packets each");
    let expected = [
        ((Verdict::Pass as u8, Reason::Exempt as u8), ROUNDS),
        ((Verdict::Drop as u8, Reason::ExemptionExhausted as u8), ROUNDS),
    ];
    assert_eq!(sums, BTreeMap::from(expected));
    assert_eq!(kernel.exemption_use(7).unwrap().packets, ROUNDS);
}

/// One of the pin `mail` to the US, in slot 7.
fn exemption(identity: u32) -> KernelExemption {
    KernelExemption {
        slot: 7,
        account: 7,
        identity,
        pins: vec!["mail".to_owned()],
        jurisdictions: vec!["US".parse().unwrap()],
        networks: Vec::new(),
        placed: None,
        ports: Vec::new(),
        valid_from_ns: 0,
        valid_until_ns: u64::MAX,
        quota: u64::MAX,
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flow_that_goes_on_under_other_names_has_another_record() {
    let pins = PinPlace::new("names");
    let mut kernel = pins.open();
    let judge = |kernel: &LinuxKernel, packets: u64| {
        for _ in 0..packets {
            kernel
                .judge_frame(Hook::Egress, Link::Ethernet, &frame(STORAGE), &HostOrigin::default())
                .unwrap();
        }
    };
    let records = |kernel: &LinuxKernel| {
        let flows = kernel.flows().unwrap();
        let mut found: Vec<_> =
            flows.iter().map(|(key, it)| (it.generation, key.exemption, it.packets)).collect();
        found.sort_unstable();
        found
    };
    // The slot is given to another exemption, and the flow goes on by that.
    for (generation, identity, packets) in [(1, 11, 50), (2, 22, 3), (3, 22, 4)] {
        let exemptions = [exemption(identity)];
        let table = policy_with("select.marks = [\"1\"]", &exemptions, &HostFacts::default(), generation);
        kernel.publish(&table, (generation == 1).then(|| geo("US")).as_ref()).unwrap();
        judge(&kernel, packets);
    }
    assert_eq!(records(&kernel), [(1, 7, 50), (3, 7, 7)]);
    // The pin has another name, and drops on.
    for (generation, name) in [(4, "mail"), (5, "letters")] {
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"bgk*\"]\n[[pin]]\nname = \"{name}\"\nhome = \"IE\"\n\
             action = \"drop\"\nselect.sources = [\"192.0.2.10/32\"]\n"
        );
        let checked =
            config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
        let table = policy_table(&checked.policy, &[], &HostFacts::default(), generation).unwrap();
        kernel.publish(&table, None).unwrap();
        judge(&kernel, generation);
    }
    let none = guard_common::abi::NO_EXEMPTION;
    assert_eq!(records(&kernel), [(1, 7, 50), (3, 7, 7), (4, none, 4), (5, none, 5)]);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_one_pin_permits_and_another_forbids_counts_for_both_where_it_leaves() {
    let pins = PinPlace::new("both");
    let mut kernel = pins.open();
    for (generation, exemptions) in [(1, vec![]), (2, vec![exemption(1)])] {
        let text = "approval = \"none\"\n[host]\ninterfaces = [\"bgk*\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
            action = \"drop\"\nselect.sources = [\"192.0.2.10/32\"]\n[[pin]]\nname = \"records\"\nhome = \"IE\"\n\
            permit = [\"US\"]\naction = \"drop\"\nselect.sources = [\"192.0.2.0/24\"]\n";
        let checked =
            config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
        let table = policy_table(&checked.policy, &exemptions, &HostFacts::default(), generation).unwrap();
        kernel.publish(&table, (generation == 1).then(|| geo("US")).as_ref()).unwrap();
        for _ in 0..10 * generation {
            kernel
                .judge_frame(Hook::Egress, Link::Ethernet, &frame(STORAGE), &HostOrigin::default())
                .unwrap();
        }
    }
    let counters = kernel.counters().unwrap();
    let forbidding: Vec<_> =
        counters.outcomes.iter().map(|it| (it.pin, it.reason, it.count.packets)).collect();
    assert_eq!(forbidding, [(0, Reason::Exempt, 20), (0, Reason::Forbidden, 10)]);
    // What is dropped is no transfer of the other pin's.
    let permitting: Vec<_> = counters.permitted.iter().map(|it| (it.pin, it.count.packets)).collect();
    assert_eq!(permitting, [(1, 20)]);
}
