//! The programs for kernels where tasks preempt each other in the middle of them (`PREEMPT_RT`): the same verdicts as
//! the others, on every kernel, and no count or packet lost where many judge on one CPU.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]
#![allow(clippy::duplicate_mod, reason = "the suites that run again here bring what they share")]

#[path = "kernel_attach.rs"]
mod attach;
#[path = "kernel_differential.rs"]
mod differential;
#[path = "kernel_shadow.rs"]
mod shadow;
mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guard_common::abi::{Count, Loss, SHARED_SCRATCHES};
use guard_common::verdict::Reason;
use guard_tests::resources::stay_on;
use guard_user::kernel::{CpuUse, Interface, Kernel as _, LinuxKernel};
use support::{FrameSocket, OTHER, PinPlace, STORAGE, frame, geo, in_own_network, policy};

/// Has `tasks` tasks on each of these CPUs send frames, by turns forbidden ones and ones of no pin, and holds every
/// count against what they sent.
fn hammer(mut kernel: LinuxKernel, cpus: usize, tasks: usize, frames: u64) {
    kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
    kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
    let far = FrameSocket::on("bgk1");
    let (mail, other) = (frame(STORAGE), frame(OTHER));
    let begin = Barrier::new(cpus * tasks);
    let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    let look = || {
        let leaked = far.received().iter().filter(|received| **received == mail).count() as u64;
        arrived.fetch_add(leaked, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..cpus * tasks)
            .map(|task| {
                let (begin, frame) = (&begin, if (task / cpus).is_multiple_of(2) { &mail } else { &other });
                scope.spawn(move || {
                    let socket = FrameSocket::on("bgk0");
                    stay_on(task % cpus).unwrap();
                    begin.wait();
                    for _ in 0..frames {
                        socket.send(frame);
                    }
                })
            })
            .collect();
        // The far side's buffer holds few frames.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                look();
                std::thread::yield_now();
            }
        });
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    look();
    let of_mail = (0..tasks).step_by(2).count();
    let (mails, others) = ((of_mail * cpus) as u64 * frames, ((tasks - of_mail) * cpus) as u64 * frames);
    let counters = kernel.counters().unwrap();
    let of = |reason| {
        let rows = counters.totals.iter().filter(|row| row.reason == reason);
        rows.fold(Count::default(), |sum, row| Count {
            packets: sum.packets + row.count.packets,
            bytes: sum.bytes + row.count.bytes,
        })
    };
    let (forbidden, untagged, busy) = (of(Reason::Forbidden), of(Reason::Untagged), of(Reason::Busy));
    println!("{mails} forbidden frames, {others} others, {} found no scratch", busy.packets);
    assert_eq!(arrived.into_inner(), 0, "forbidden frames have arrived");
    // The interfaces themselves send some frames too, of no pin.
    assert!(forbidden.packets <= mails && untagged.packets + busy.packets >= others);
    if tasks < SHARED_SCRATCHES as usize {
        assert_eq!(busy.packets, 0, "there is a scratch for each");
        assert_eq!(forbidden.packets, mails);
        assert!(untagged.packets >= others);
    } else {
        assert!(forbidden.packets + untagged.packets + busy.packets >= mails + others);
    }
    assert_eq!(forbidden.bytes, forbidden.packets * mail.len() as u64);
    let outcomes: u64 = counters.outcomes.iter().map(|row| row.count.packets).sum();
    assert_eq!(outcomes, forbidden.packets, "by pin");
    let recorded: u64 = kernel.flows().unwrap().iter().map(|(_, record)| record.packets).sum();
    assert_eq!(recorded, forbidden.packets, "in the flow's record");
    assert_eq!(counters.lost, [0; Loss::COUNT]);
}

fn frames() -> u64 {
    let every = std::env::var("BORDERGUARD_TEST_EVERY").ok().map_or(1, |every| every.parse::<u64>().unwrap());
    200_000 / every
}

#[test]
#[ignore = "needs root and BPF"]
fn processors_that_hammer_lose_no_count() {
    let pins = PinPlace::new("hammer");
    in_own_network(|| {
        let cpus = std::thread::available_parallelism().unwrap().get().min(4);
        hammer(pins.open(), cpus, 1, frames());
    });
}

/// On a kernel with `PREEMPT_RT` from 6.18 on, and one scratch for each CPU, these judge in each other's packet.
#[test]
#[ignore = "needs root and BPF"]
fn plain_tasks_on_one_processor_judge_each_its_own_packet() {
    let pins = PinPlace::new("tasks");
    in_own_network(|| {
        let kernel = LinuxKernel::open(&pins.path()).unwrap();
        println!("{:?}", CpuUse::of_this_kernel());
        hammer(kernel, 1, 2, frames());
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn more_tasks_than_scratches_lose_no_count_either() {
    let pins = PinPlace::new("crowd");
    in_own_network(|| hammer(pins.open(), 1, 40, frames() / 20));
}
