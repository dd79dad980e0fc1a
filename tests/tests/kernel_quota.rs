//! The judgement itself on all CPUs at once: a quota, and a budget of a minute, is charged to its last bytes, and never passed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use guard_common::abi::failsafe::minute_at;
use guard_common::abi::{ExemptionUse, Hook};
use guard_common::verdict::{Reason, Verdict};
use guard_tests::packet::{Ipv4, Packet};
use guard_tests::resources::stay_on;
use guard_user::compile::{HostFacts, KernelExemption, policy_table};
use guard_user::config::policy::{PortRange, Protocol};
use guard_user::config::{self, Surroundings};
use guard_user::exemption::Clocks;
use guard_user::kernel::LinuxKernel;
use support::{CLIENT, PinPlace, STORAGE, geo};

/// The slots of both entries, of which the first is the account of both.
const SLOTS: [u16; 2] = [ACCOUNT, 200];
const ACCOUNT: u16 = 70;
const PORTS: [u16; 2] = [50_000, 50_001];
/// What the program answers for a packet that is dropped (linux/pkt_cls.h).
const TC_ACT_SHOT: u32 = 2;
const EGRESS: &str = "bench_egress";
const QUOTA: u64 = 40_000_000;
/// Frames from the largest of an Ethernet to the smallest that the kernel takes.
const SIZES: [u64; 4] = [1514, 700, 99, 60];

fn entry(slot: u16, port: u16) -> KernelExemption {
    KernelExemption {
        slot,
        account: ACCOUNT,
        identity: 0,
        pins: vec!["mail".to_owned()],
        jurisdictions: Vec::new(),
        networks: vec!["203.0.113.0/24".parse().unwrap()],
        placed: None,
        ports: vec![PortRange { protocol: Protocol::Tcp, first: port, last: port }],
        valid_from_ns: 0,
        valid_until_ns: u64::MAX,
        quota: QUOTA,
    }
}

/// The same judgement as of the attached program, over the same maps, by an entry point of the bench.
fn judging(place: &PinPlace) -> Ebpf {
    let mut ebpf = EbpfLoader::new()
        .default_map_pin_directory(place.path().join("maps"))
        .load(guard_user::kernel::bench_object())
        .unwrap();
    let program: &mut SchedClassifier = ebpf.program_mut(EGRESS).unwrap().try_into().unwrap();
    program.load().unwrap();
    ebpf
}

fn egress(ebpf: &Ebpf) -> &SchedClassifier {
    ebpf.program(EGRESS).unwrap().try_into().unwrap()
}

fn frame(port: u16, size: u64) -> Vec<u8> {
    let payload = vec![b'm'; usize::try_from(size).unwrap() - 54];
    let frame =
        Packet::ethernet().with(Ipv4::to(CLIENT).from(STORAGE)).tcp(8143, port).payload(&payload).build();
    assert_eq!(frame.len() as u64, size);
    frame
}

#[test]
#[ignore = "needs root and BPF"]
fn all_cpus_at_once_spend_a_quota_of_two_entries_exactly() {
    let place = PinPlace::new("quota");
    let mut kernel = place.open();
    let text = "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
        [pin.select]\nsources = [\"192.0.2.0/24\"]\n";
    let checked = config::parse("test.toml".as_ref(), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let entries = [entry(SLOTS[0], PORTS[0]), entry(SLOTS[1], PORTS[1])];
    let table = policy_table(&checked.policy, &entries, &HostFacts::default(), 1).unwrap();
    kernel.publish(&table, Some(&geo("US"))).unwrap();

    let ebpf = judging(&place);
    let program = egress(&ebpf);

    let cpus = std::thread::available_parallelism().unwrap().get();
    let (reader, done) = (&kernel, AtomicBool::new(false));
    std::thread::scope(|scope| {
        // What is read meanwhile is what has passed by then, and never a charge that is taken back.
        let looks = scope.spawn(|| {
            let mut last = [ExemptionUse::default(); 2];
            let mut looks = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let used = SLOTS.map(|slot| reader.exemption_use(slot).unwrap());
                assert!(used[0].bytes + used[1].bytes <= QUOTA, "{used:?}");
                let grows =
                    |at: usize| used[at].bytes >= last[at].bytes && used[at].packets >= last[at].packets;
                assert!(grows(0) && grows(1), "{used:?} after {last:?}");
                (last, looks) = (used, looks + 1);
            }
            looks
        });
        let mut senders = Vec::new();
        // One thread on each: nothing interrupts the hook of a CPU by itself.
        for cpu in 0..cpus {
            senders.push(scope.spawn(move || {
                stay_on(cpu).unwrap();
                // So many of each size that every CPU alone would spend it all.
                for (number, size) in SIZES.into_iter().enumerate() {
                    // A `struct __sk_buff` of zeroes (linux/bpf.h): the wire length is the frame's.
                    let context = [0; 164];
                    let frame = frame(PORTS[(number + cpu) % 2], size);
                    let repeat = u32::try_from(QUOTA / size + 1).unwrap();
                    let options = TestRunOptions {
                        data_in: Some(&frame),
                        ctx_in: Some(&context),
                        repeat,
                        ..TestRunOptions::default()
                    };
                    let result = program.test_run(options).unwrap();
                    assert_eq!(result.return_value, 2, "the last one of {size} bytes is dropped");
                }
            }));
        }
        let ends: Vec<_> = senders.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
        assert!(looks.join().unwrap() > 1000);
    });

    // What passed is booked by entry, and charged to the account of both.
    let each = SLOTS.map(|slot| kernel.exemption_use(slot).unwrap());
    let used = ExemptionUse {
        bytes: each[0].bytes + each[1].bytes,
        packets: each[0].packets + each[1].packets,
        charged: each[0].charged,
    };
    assert_eq!((used.charged, each[1].charged), (used.bytes, 0), "{each:?}");
    // Each has a flow record of its own: of its port, and of its slot.
    let flows = kernel.flows().unwrap();
    for ((slot, port), each) in SLOTS.into_iter().zip(PORTS).zip(each) {
        let passed = flows.iter().filter(|(key, record)| key.dport == port && record.exemption == slot);
        let sum = passed.fold((0, 0), |sum, (_, it)| (sum.0 + it.packets, sum.1 + it.bytes));
        assert_eq!(sum, (each.packets, each.bytes), "{slot} by flow records");
    }
    let smallest = *SIZES.last().unwrap();
    assert!(used.bytes <= QUOTA, "{used:?}");
    assert!(used.bytes + smallest > QUOTA, "{used:?}: one more of {smallest} bytes would have had room");
    // Counted by each CPU for itself, beside the account.
    let totals = kernel.totals().unwrap();
    let of = |verdict, reason| {
        let row =
            totals.iter().find(|row| (row.hook, row.verdict, row.reason) == (Hook::Egress, verdict, reason));
        row.map(|row| row.count).unwrap_or_default()
    };
    let passed = of(Verdict::Pass, Reason::Exempt);
    assert_eq!((passed.packets, passed.bytes), (used.packets, used.bytes), "{totals:?}");
    let refused = of(Verdict::Drop, Reason::ExemptionExhausted);
    let judged: u64 = SIZES.iter().map(|size| QUOTA / size + 1).sum();
    assert_eq!(passed.packets + refused.packets, judged * cpus as u64, "{totals:?}");
}

/// Bytes that the failsafe rule lets pass in a minute.
const BUDGET: u64 = 4_000_000;

#[test]
#[ignore = "needs root and BPF"]
fn all_cpus_at_once_spend_a_budget_of_a_minute_and_no_more() {
    let place = PinPlace::new("budget");
    let mut kernel = place.open();
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[failsafe]]\nname = \"rescue\"\npeers = [\"203.0.113.0/24\"]\n\
         bytes_per_minute = {BUDGET}\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\n\
         sources = [\"192.0.2.0/24\"]\n"
    );
    let checked = config::parse("test.toml".as_ref(), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let table = policy_table(&checked.policy, &[], &HostFacts::default(), 1).unwrap();
    kernel.publish(&table, Some(&geo("US"))).unwrap();
    let ebpf = judging(&place);
    let program = egress(&ebpf);
    // Minutes of the kernel's clock that this takes, begun ones too.
    let begin = minute_at(Clocks::read().boot_ns);
    std::thread::scope(|scope| {
        for cpu in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(move || {
                stay_on(cpu).unwrap();
                for size in SIZES {
                    let (context, frame) = ([0; 164], frame(PORTS[0], size));
                    let options = TestRunOptions {
                        data_in: Some(&frame),
                        ctx_in: Some(&context),
                        repeat: u32::try_from(BUDGET / size + 1).unwrap(),
                        ..TestRunOptions::default()
                    };
                    program.test_run(options).unwrap();
                }
            });
        }
    });
    let minutes = minute_at(Clocks::read().boot_ns) - begin + 1;
    let totals = kernel.totals().unwrap();
    let of = |reason| {
        let rows = totals.iter().filter(|row| (row.hook, row.reason) == (Hook::Egress, reason));
        rows.map(|row| row.count.bytes).sum::<u64>()
    };
    let (passed, smallest) = (of(Reason::Failsafe), SIZES[3]);
    assert!(passed <= BUDGET * minutes, "{passed} in {minutes} minutes");
    assert!(passed + smallest > BUDGET, "{passed}: one more of {smallest} bytes would have had room");
    assert!(of(Reason::FailsafeExhausted) > BUDGET, "{totals:?}");
    let used = kernel.failsafe_uses().unwrap();
    assert!(used[0].refused_ns > 0 && used[1].refused_ns == 0, "{used:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_reload_that_moves_renames_exchanges_or_adds_rules_makes_no_budget_whole() {
    let place = PinPlace::new("moved");
    let mut kernel = place.open();
    let (mut generation, is_first) = (0, std::cell::Cell::new(true));
    let mut publish = |kernel: &mut LinuxKernel, names: &[(&str, u16)]| {
        generation += 1;
        let mut text = "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n".to_owned();
        for (name, port) in names {
            text += &format!(
                "[[failsafe]]\nname = {name:?}\npeers = [\"203.0.113.0/24\"]\nremote_ports = [\"tcp/{port}\"]\nbytes_per_minute = 1000\n"
            );
        }
        text += "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\nsources = [\"192.0.2.0/24\"]\n";
        let checked = config::parse("test.toml".as_ref(), text.as_bytes(), &Surroundings::new(None)).unwrap();
        let table = policy_table(&checked.policy, &[], &HostFacts::default(), generation).unwrap();
        let geo = is_first.replace(false).then(|| geo("US"));
        kernel.publish(&table, geo.as_ref()).unwrap();
    };
    let judge = |ports: &[u16]| -> Vec<bool> {
        let ebpf = judging(&place);
        let program = egress(&ebpf);
        let passes = |port: &u16| {
            let (context, frame) = ([0; 164], frame(*port, 600));
            let options =
                TestRunOptions { data_in: Some(&frame), ctx_in: Some(&context), ..TestRunOptions::default() };
            program.test_run(options).unwrap().return_value != TC_ACT_SHOT
        };
        ports.iter().map(passes).collect()
    };
    // Away from the end of a minute of the kernel's clock.
    let left = 60_000_000_000 - Clocks::read().boot_ns % 60_000_000_000;
    if left < 20_000_000_000 {
        std::thread::sleep(std::time::Duration::from_nanos(left));
    }
    publish(&mut kernel, &[("one", 1), ("two", 2)]);
    assert_eq!(judge(&[1, 1]), [true, false]);
    // Names that are exchanged exchange nothing of what is spent.
    publish(&mut kernel, &[("two", 1), ("one", 2)]);
    assert_eq!(judge(&[1]), [false]);
    publish(&mut kernel, &[("more", 3), ("two", 2), ("one", 1)]);
    assert_eq!(judge(&[1, 3, 2]), [false, true, true]);
    publish(&mut kernel, &[("else", 1), ("two", 2)]);
    assert_eq!(judge(&[1, 2]), [false, false], "renamed");
    publish(&mut kernel, &[("else", 4), ("two", 2)]);
    assert_eq!(judge(&[4]), [false], "what is new begins with what is gone had spent");
    publish(&mut kernel, &[("else", 4), ("one", 1)]);
    assert_eq!(judge(&[1]), [false], "also where another one counts on in its place");
    publish(&mut kernel, &[("two", 2)]);
    publish(&mut kernel, &[("one", 1)]);
    assert_eq!(judge(&[1]), [false], "gone and there again");
    let uses = kernel.failsafe_uses().unwrap();
    assert!(uses[0].refused_ns > 0 && uses[1].refused_ns == 0, "by the number of the rule: {uses:?}");
}
