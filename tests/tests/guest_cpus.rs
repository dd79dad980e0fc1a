//! Processors that are unplugged and come back while packets are judged. In a guest: they are the machine's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Instant;

use guard_tests::bed::{self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, US, packets};
use guard_tests::proc::retry_until;
use guard_tests::resources::stay_on;
use guard_user::health::ProblemCode;

/// As many as the guest is given.
const CPUS: usize = 8;
/// Datagrams that each processor sends to each place.
const EACH: u64 = 20;

/// Sends from each of these processors to a place, and says how many datagrams arrived.
fn sent_from(bed: &Bed, cpus: &[usize], socket: &UdpSocket, to: &str) -> u64 {
    let at = SocketAddr::new(bed::address(to, Family::V4).unwrap(), CLIENT_PORT);
    let before = bed.arrived(to, Family::V4).unwrap();
    for cpu in cpus {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                stay_on(*cpu).unwrap();
                (0..EACH).for_each(|_| bed::send(socket, at));
            });
        });
    }
    let all = EACH * cpus.len() as u64;
    let _in_time = retry_until(PATIENCE / 20, "what arrives", || {
        (bed.arrived(to, Family::V4).unwrap() - before >= all).then_some(())
    });
    bed.arrived(to, Family::V4).unwrap() - before
}

fn plug(cpus: std::ops::Range<usize>, online: bool) {
    for cpu in cpus {
        let switch = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online"));
        std::fs::write(switch, if online { "1" } else { "0" }).unwrap();
    }
}

fn online() -> String {
    std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim().to_owned()
}

/// With 8 processors, with 2, with 1 and with all again: no packet is let through or lost, each is counted once, and what
/// ends an exemption is answered.
#[test]
#[ignore = "needs root and BPF"]
fn whichever_processors_there_are_every_packet_is_judged_and_counted() {
    assert_eq!(online(), format!("0-{}", CPUS - 1), "the guest has so many");
    let bed = Bed::new("cpus").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let recipient = format!("{}/32", bed::address(US, Family::V4).unwrap());
    // That exemptions take no approval here is told from the first one on.
    let problems = || {
        let told = bed.status().unwrap().problems.into_iter().map(|it| it.code);
        told.filter(|code| *code != ProblemCode::ApprovalsOff).collect::<Vec<_>>()
    };
    let before = problems();
    let (mut permitted, mut exempted, mut dropped) = (0, 0, 0);
    for (number, count) in [CPUS, 2, 1, CPUS].into_iter().enumerate() {
        plug(1..count, true);
        plug(count..CPUS, false);
        let cpus: Vec<usize> = (0..count).collect();
        let each = EACH * count as u64;
        assert_eq!(sent_from(&bed, &cpus, &socket, BELGIUM), each, "with {count}");
        permitted += each;
        assert_eq!(sent_from(&bed, &cpus, &socket, US), 0, "with {count}");
        dropped += each;

        let id = format!("mlat-{number}");
        bed.exempt(&id, &[&recipient], 600, None).unwrap();
        assert_eq!(sent_from(&bed, &cpus, &socket, US), each, "with {count}");
        exempted += each;
        let begin = Instant::now();
        bed.tell(&["exemption", "revoke", &id, "--why", "withdrawn"]).unwrap();
        assert!(begin.elapsed() < PATIENCE, "with {count}: {:?}", begin.elapsed());
        assert_eq!(sent_from(&bed, &cpus, &socket, US), 0, "with {count}");
        dropped += each;

        // What processors have counted that are no more is counted still.
        let status = bed.status().unwrap();
        let counted = |verdict, reason| packets(&status, "egress", verdict, reason);
        assert_eq!(counted("pass", "permitted"), permitted, "with {count}: {:?}", status.totals);
        assert_eq!(counted("pass", "exempt"), exempted, "with {count}: {:?}", status.totals);
        assert_eq!(counted("drop", "forbidden"), dropped, "with {count}: {:?}", status.totals);
        assert_eq!(problems(), before, "with {count}");
    }

    // A daemon that starts with fewer than the maps were made for goes on with what they have.
    drop(daemon);
    plug(2..CPUS, false);
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(sent_from(&bed, &[0, 1], &socket, US), 0);
    let status = bed.status().unwrap();
    assert_eq!(packets(&status, "egress", "drop", "forbidden"), dropped + 2 * EACH, "{:?}", status.totals);
    plug(2..CPUS, true);
}
