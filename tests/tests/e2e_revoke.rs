//! An exemption covers exactly its recipient, and ends for a live flow the moment its end is acknowledged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, MAIL_PORT, PIN, US, packets};
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::proc::retry_until;

#[test]
#[ignore = "needs root and BPF"]
fn no_packet_passes_after_the_acknowledgement() {
    let bed = Bed::new("revoke").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for (number, family) in Family::ALL.into_iter().enumerate() {
        let id = format!("mlat-{number}");
        let recipient = format!("{}", bed::address(US, family).unwrap());
        let cidr = format!("{recipient}/{}", if family == Family::V4 { 32 } else { 128 });
        bed.exempt(&id, &[&cidr], 600, None).unwrap();
        let socket = bed.sender(MAIL_PORT, family).unwrap();
        let to = SocketAddr::new(bed::address(US, family).unwrap(), CLIENT_PORT);
        let arrived = || bed.arrived(US, family).unwrap();
        let exempted = || packets(&bed.status().unwrap(), "egress", "pass", "exempt");
        let (begin, done) = (arrived(), AtomicBool::new(false));
        let (counted, at_end) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    bed::send(&socket, to);
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                retry_until(Duration::from_secs(10), "the flow to pass", || {
                    (arrived() > begin + 100).then_some(())
                })
                .unwrap();
                bed.tell(&["exemption", "revoke", &id, "--why", "withdrawn"]).unwrap();
                // The hook counts before a packet can be on its way, so its counters have none in flight.
                let at_end = exempted();
                std::thread::sleep(Duration::from_millis(500));
                (at_end, exempted())
            }));
            done.store(true, Ordering::Relaxed);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        assert_eq!(counted, at_end, "no packet passed after the acknowledgement, {family:?}");
        let after = arrived();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(arrived(), after, "and none is on its way any more, {family:?}");
        let dropped = packets(&bed.status().unwrap(), "egress", "drop", "forbidden");
        assert!(dropped > 100, "the flow went on being sent: {dropped} were dropped");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn an_exemption_covers_its_recipient_alone() {
    let bed = Bed::new("recipient").unwrap();
    bed.configure(PIN).unwrap();
    let us = bed.host(US).unwrap();
    us.add_address(HOST_INTERFACE, "203.0.113.11/24".parse().unwrap()).unwrap();
    us.add_address(HOST_INTERFACE, "2001:db8:3::11/64".parse().unwrap()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32", "2001:db8:3::10/128"], 600, None).unwrap();
    for (family, neighbour) in [(Family::V4, "203.0.113.11"), (Family::V6, "2001:db8:3::11")] {
        assert_eq!(bed.send(10, MAIL_PORT, US, family).unwrap(), 10, "{family:?}");
        let before = bed.arrived(US, family).unwrap();
        let socket = bed.sender(MAIL_PORT, family).unwrap();
        for _ in 0..10 {
            bed::send(&socket, SocketAddr::new(neighbour.parse().unwrap(), CLIENT_PORT));
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(bed.arrived(US, family).unwrap(), before, "not the next address, {family:?}");
    }
    let status = bed.status().unwrap();
    assert_eq!(packets(&status, "egress", "pass", "exempt"), 20, "{:?}", status.totals);
    assert_eq!(packets(&status, "egress", "drop", "forbidden"), 20, "{:?}", status.totals);
}
