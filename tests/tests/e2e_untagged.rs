//! What leaves without a pin is seen: by jurisdiction always, and by peer, service and cgroup while the guard observes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US, address,
};
use guard_tests::cgroup::{self, Cgroup};
use guard_user::control::status::{UntaggedFlowStatus, UntaggedStatus};

const SENT: u64 = 10;
/// Where the storage pushes to: no port of a pin's.
const PUSH_PORT: u16 = 50_000;

/// Sends from a socket that is made in this cgroup, from this port of the storage to the US.
fn send_from(bed: &Bed, cgroup: &Cgroup, port: u16, family: Family) {
    let from = SocketAddr::new(address(STORE, family).unwrap(), port);
    let make = || bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap();
    let socket = cgroup::inside(cgroup.path(), make).unwrap();
    for _ in 0..SENT {
        bed::send(&socket, SocketAddr::new(address(US, family).unwrap(), CLIENT_PORT));
    }
}

fn packets(untagged: &UntaggedStatus, jurisdiction: &str) -> u64 {
    let of_it = untagged.jurisdictions.iter().filter(|place| place.jurisdiction == jurisdiction);
    of_it.map(|place| place.packets).sum()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_push_that_no_pin_knows_is_seen_with_its_peer_port_and_cgroup() {
    let bed = Bed::new("untagged").unwrap();
    bed.configure(PIN).unwrap();
    let service = Cgroup::new("replica").unwrap();
    let name = service.path().file_name().unwrap().to_str().unwrap().to_owned();
    let _daemon = bed.start(&["--observe"]).unwrap();
    for family in Family::ALL {
        send_from(&bed, &service, PUSH_PORT, family);
        assert_eq!(bed.send(SENT, OTHER_PORT, BELGIUM, family).unwrap(), SENT);
        // What a pin tags is no part of it.
        assert_eq!(bed.send(SENT, MAIL_PORT, US, family).unwrap(), SENT);
    }
    let untagged = bed.status().unwrap().untagged;
    assert_eq!((packets(&untagged, "US"), packets(&untagged, "BE")), (2 * SENT, 2 * SENT), "{untagged:?}");
    for family in Family::ALL {
        let to = |host: &str| address(host, family).unwrap().to_string();
        let is_push = |flow: &&UntaggedFlowStatus| flow.peer == to(US);
        let pushes: Vec<&UntaggedFlowStatus> = untagged.flows.iter().filter(is_push).collect();
        let [push] = &pushes[..] else { panic!("one flow to the US: {untagged:?}") };
        assert_eq!((push.jurisdiction.as_str(), push.protocol.as_str()), ("US", "udp"));
        assert_eq!((push.side.as_str(), push.port, push.packets), ("remote", Some(CLIENT_PORT), SENT));
        assert_eq!(push.cgroup.as_deref(), Some(name.as_str()));
        assert!(push.interface.is_some() && push.bytes > 0, "{push:?}");
        let served = untagged.flows.iter().find(|flow| flow.peer == to(BELGIUM)).unwrap();
        assert_eq!((served.side.as_str(), served.port), ("local", Some(OTHER_PORT)), "{served:?}");
        assert_eq!((served.packets, served.jurisdiction.as_str()), (SENT, "BE"), "{served:?}");
    }
    let text = bed.ask(&["status"]).unwrap().out;
    assert!(text.contains("egress without a pin: ") && text.contains(&name), "{text}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_guard_that_drops_counts_it_by_jurisdiction_alone() {
    let bed = Bed::new("untagged").unwrap();
    bed.configure(PIN).unwrap();
    // What was seen while an earlier daemon observed is not shown as seen now.
    let observing = bed.start(&["--observe"]).unwrap();
    assert_eq!(bed.send(SENT, OTHER_PORT, BELGIUM, Family::V4).unwrap(), SENT);
    assert_eq!(bed.status().unwrap().untagged.flows.len(), 1);
    observing.kill(PATIENCE).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        assert_eq!(bed.send(SENT, OTHER_PORT, US, family).unwrap(), SENT);
        assert_eq!(bed.send(SENT, MAIL_PORT, US, family).unwrap(), 0);
    }
    let untagged = bed.status().unwrap().untagged;
    assert_eq!(packets(&untagged, "US"), 2 * SENT, "{untagged:?}");
    assert_eq!(untagged.flows, []);
}

#[test]
#[ignore = "needs root and BPF"]
fn an_event_names_the_cgroup_of_the_socket_that_sent() {
    let bed = Bed::new("sender").unwrap();
    bed.configure(PIN).unwrap();
    let service = Cgroup::new("mailer").unwrap();
    let name = service.path().file_name().unwrap().to_str().unwrap().to_owned();
    let _daemon = bed.start(&[]).unwrap();
    send_from(&bed, &service, MAIL_PORT, Family::V4);
    let event = bed.event(Duration::from_secs(5), "an event", |event| event["jurisdiction"] == "US").unwrap();
    assert_eq!(event["cgroup"], name.as_str(), "{event}");
}
