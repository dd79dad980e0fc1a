//! Real packets through the real hook while generations that contradict each other take turns.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use guard_common::abi::{Hook, Place, PlacedBy};
use guard_common::interval::build::GeoImage;
use guard_common::verdict::Reason;
use guard_tests::bed::{self, BELGIUM, Bed, CLIENT_PORT, Family, OTHER_PORT, STORE, US};
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::resources::memory_kib;
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel};
use support::policy;

/// Flips of the policy alone.
const FLIPS: u64 = 2_000;
/// Flips of policy and geo tables together.
const WHOLE_FLIPS: u64 = 100;

/// Geo tables that place the two clients' networks.
fn geo(belgium: &str, us: &str) -> GeoImage {
    let place = |code: &str| Place::new(code.parse().unwrap(), PlacedBy::Database);
    let at = |address: [u8; 4]| u32::from(Ipv4Addr::from(address));
    let runs = [
        (0, Place::UNKNOWN),
        (at([198, 51, 100, 0]), place(belgium)),
        (at([198, 51, 101, 0]), Place::UNKNOWN),
        (at([203, 0, 113, 0]), place(us)),
        (at([203, 0, 114, 0]), Place::UNKNOWN),
    ];
    GeoImage::build(runs.into_iter(), [(0, Place::UNKNOWN)].into_iter()).unwrap()
}

/// Packets of the egress hook, as those permitted, those forbidden, and those judged for any other reason
/// than that they are not IP or stay on the link.
fn outcomes(kernel: &LinuxKernel) -> (u64, u64, u64) {
    let (mut permitted, mut forbidden, mut other) = (0, 0, 0);
    for row in kernel.totals().unwrap().iter().filter(|row| row.hook == Hook::Egress) {
        match row.reason {
            Reason::Permitted => permitted += row.count.packets,
            Reason::Forbidden => forbidden += row.count.packets,
            Reason::NotIp | Reason::LinkScope | Reason::Untagged => {}
            _ => other += row.count.packets,
        }
    }
    (permitted, forbidden, other)
}

/// What was sent to each of the two, and what of it arrived.
struct Traffic {
    sent: u64,
    belgium: u64,
    us: u64,
}

/// Sends to both clients in turn while `flip` runs.
fn while_sending(bed: &Bed, flip: impl FnOnce()) -> Traffic {
    let socket = bed.sender(OTHER_PORT, Family::V4).unwrap();
    let to = [BELGIUM, US].map(|host| SocketAddr::new(bed::address(host, Family::V4).unwrap(), CLIENT_PORT));
    let arrived = || [BELGIUM, US].map(|host| bed.arrived(host, Family::V4).unwrap());
    let (done, sent, before) = (AtomicBool::new(false), AtomicU64::new(0), arrived());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for client in to {
                    bed::send(&socket, client);
                }
                if sent.fetch_add(1, Ordering::Relaxed) % 64 == 0 {
                    // Room for the clients' kernels, so that no queue on the way runs over.
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(flip));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    std::thread::sleep(Duration::from_millis(200));
    let [belgium, us] = arrived();
    Traffic { sent: sent.into_inner(), belgium: belgium - before[0], us: us - before[1] }
}

#[test]
#[ignore = "needs root and BPF"]
fn every_packet_meets_one_of_two_generations() {
    let bed = Bed::new("flips").unwrap();
    let permits = ["\"IE\", \"BE\"", "\"IE\", \"US\""];
    let guard = bed.host(STORE).unwrap().run(|| {
        let mut kernel = LinuxKernel::open(&bed.pin_path()).unwrap();
        kernel.publish(&policy(1, permits[1]), Some(&geo("BE", "US"))).unwrap();
        kernel.attach(&Interface::by_name(HOST_INTERFACE).unwrap(), false).unwrap();
        kernel
    });
    let mut kernel = guard.unwrap();
    // The first packets find the neighbours.
    assert_eq!(bed.send(3, OTHER_PORT, US, Family::V4).unwrap(), 3);
    assert_eq!(bed.send(3, OTHER_PORT, BELGIUM, Family::V4).unwrap(), 0);

    let start = outcomes(&kernel);
    let traffic = while_sending(&bed, || {
        for generation in 2..2 + FLIPS {
            kernel.publish(&policy(generation, permits[usize::from(generation % 2 == 1)]), None).unwrap();
        }
    });
    let end = outcomes(&kernel);
    let Traffic { sent, belgium, us } = traffic;
    println!("{sent} packets to each over {FLIPS} flips: {belgium} arrived in Belgium, {us} in the US");
    assert!(sent > FLIPS, "{sent} packets are too few to tell");
    assert!(belgium > 0 && us > 0, "both generations judged: {belgium}, {us}");
    assert_eq!(end.2, 0, "no third outcome");
    assert_eq!((end.0 - start.0) + (end.1 - start.1), 2 * sent, "each packet has one of the two");
    assert_eq!(end.0 - start.0, belgium + us, "what was permitted arrived, and nothing else did");

    // Now the places change as well: in each generation Belgium's client is where the policy permits and
    // the other is not. Half of one and half of another would have it the other way round.
    let images = [geo("BE", "US"), geo("US", "BE")];
    let first = kernel.generation() + 1;
    kernel.publish(&policy(first, permits[0]), Some(&images[0])).unwrap();
    let traffic = while_sending(&bed, || {
        for number in 1..=WHOLE_FLIPS {
            let turn = usize::from(number % 2 == 1);
            kernel.publish(&policy(first + number, permits[turn]), Some(&images[turn])).unwrap();
        }
    });
    let Traffic { sent, belgium, us } = traffic;
    println!("{sent} packets to each over {WHOLE_FLIPS} whole flips");
    assert!(sent > WHOLE_FLIPS, "{sent} packets are too few to tell");
    assert_eq!((belgium, us), (sent, 0), "always permitted, and never");
    assert_eq!(outcomes(&kernel).2, 0, "no third outcome");
}

#[test]
#[ignore = "needs root and BPF"]
fn the_memory_of_generations_that_are_gone_is_given_back() {
    let bed = Bed::new("memory").unwrap();
    bed.configure(bed::PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    for _ in 0..25 {
        bed.tell(&["reload"]).unwrap();
        bed.status().unwrap();
    }
    // Without a bound on what the allocator keeps it was more than 100 MiB. Of this 14 MiB are the live geo tables, for the watch
    // over them, and where networks are by them.
    let used = memory_kib(daemon.pid(), "RssAnon").unwrap() / 1024;
    assert!(used < 44, "{used} MiB");
    daemon.kill(bed::PATIENCE).unwrap();
}
