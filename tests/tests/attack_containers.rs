//! Attempts to get marked bytes of a container to the US, by a veth, a bridge, an address of the host, or an interface that was
//! made anew. Each looks at the US for the mark, and its Belgian twin arrives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

#[path = "support/arrival.rs"]
mod arrival;
#[path = "support/mail.rs"]
mod mail;

use std::time::Duration;

use guard_tests::bed::{Bed, Family, STORE};
use guard_tests::marked::MARK;
use guard_tests::netns::Netns;
use guard_tests::proc::retry_until;
use guard_user::health::{Problem, ProblemCode};

use arrival::{BY_ADDRESS, BY_HOST, arrive, container};
use mail::{BY_PORT, COUNT, client, datagram};

#[test]
#[ignore = "needs root and BPF"]
fn a_container_behind_a_veth() {
    let bed = Bed::new("container").unwrap();
    let container = container(&bed);
    let send = |host: &str| datagram(&container, client(host, Family::V4), MARK, |_| ());
    let [us, belgium] = arrive(&bed, send);
    assert!(us > 0 && belgium > 0, "without a guard it arrives: {us} and {belgium}");
    for config in [BY_PORT, BY_ADDRESS] {
        bed.configure(config).unwrap();
        let daemon = bed.start(&[]).unwrap();
        let [us, belgium] = arrive(&bed, send);
        assert_eq!(us, 0, "with the mark in the US");
        assert!(belgium > 0, "the twin arrives");
        drop(daemon);
        bed.tell(&["detach"]).unwrap();
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_container_by_a_port_of_a_bridge_that_a_pin_selects() {
    let bed = Bed::new("bridge-port").unwrap();
    // Before it is a port, packets come in by the interface itself, and by the bridge afterwards.
    let (container, store) = (container(&bed), bed.host(STORE).unwrap());
    let send = |host: &str| datagram(&container, client(host, Family::V4), MARK, |_| ());
    let [us, belgium] = arrive(&bed, send);
    assert!(us > 0 && belgium > 0, "without a guard it arrives: {us} and {belgium}");
    let pin = BY_HOST.replace("sources = [\"host\"]", "interfaces = [\"ctr0\"]");
    bed.configure(&pin).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let holds = |when: &str| {
        let [us, belgium] = arrive(&bed, send);
        assert_eq!(us, 0, "with the mark in the US, {when}");
        assert!(belgium > 0, "the twin arrives, {when}");
    };
    holds("by the interface");
    store.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0"]).unwrap();
    store.ip(&["address", "flush", "dev", "ctr0"]).unwrap();
    store.ip(&["link", "set", "ctr0", "master", "br0"]).unwrap();
    // What the daemon does about that is to be done before there is a way.
    let is_known = || {
        let told = bed.ask(&[
            "explain",
            "--from",
            "192.0.2.130:143",
            "--to",
            "203.0.113.10:40000",
            "--forwarded",
            "--iface",
            "br0",
            "--json",
        ]);
        told.ok().filter(|told| told.out.contains("forbidden")).map(drop)
    };
    guard_tests::proc::retry_until(Duration::from_secs(5), "explain knows it", is_known).unwrap();
    store.ip(&["link", "set", "br0", "up"]).unwrap();
    store.ip(&["address", "add", "192.0.2.129/25", "dev", "br0"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    container.ip(&["neigh", "flush", "dev", "eth0"]).unwrap();
    holds("by the bridge");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_container_by_an_interface_that_is_made_anew_while_no_daemon_runs() {
    let bed = Bed::new("anew").unwrap();
    let mut held = container(&bed);
    let send = |from: &Netns, host: &str| datagram(from, client(host, Family::V4), MARK, |_| ());
    let [us, belgium] = arrive(&bed, |host| send(&held, host));
    assert!(us > 0 && belgium > 0, "without a guard it arrives: {us} and {belgium}");
    // Of a pin that selects another one, for it may be that one as well.
    for selected in ["ctr0", "elsewhere"] {
        bed.configure(&BY_HOST.replace("sources = [\"host\"]", &format!("interfaces = [\"{selected}\"]")))
            .unwrap();
        let daemon = bed.start(&[]).unwrap();
        daemon.kill(Duration::from_secs(5)).unwrap();
        drop(daemon);
        drop(held);
        held = container(&bed);
        let [us, belgium] = arrive(&bed, |host| send(&held, host));
        assert_eq!(us, 0, "with the mark in the US, where {selected} is selected");
        assert!(belgium > 0, "the twin arrives");
        let _daemon = bed.start(&[]).unwrap();
        let unplaced = bed.status().unwrap().unplaced;
        assert!(unplaced.packets >= COUNT as u64, "{unplaced:?}");
        let [us, _] = arrive(&bed, |host| send(&held, host));
        assert_eq!(us > 0, selected != "ctr0", "once it is placed, where {selected} is selected");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_container_by_an_interface_that_is_renamed_away_from_its_pin() {
    let bed = Bed::new("renamed").unwrap();
    let (container, store) = (container(&bed), bed.host(STORE).unwrap());
    let send = |host: &str| datagram(&container, client(host, Family::V4), MARK, |_| ());
    let rename = |from: &str, to: &str| {
        store.ip(&["link", "set", from, "down"]).unwrap();
        store.ip(&["link", "set", from, "name", to]).unwrap();
        store.ip(&["link", "set", to, "up"]).unwrap();
    };
    for selected in ["ctr0", "ctr*"] {
        bed.configure(&BY_HOST.replace("sources = [\"host\"]", &format!("interfaces = [\"{selected}\"]")))
            .unwrap();
        let daemon = bed.start(&[]).unwrap();
        rename("ctr0", "real0");
        store.ip(&["link", "add", "ctr0", "type", "bridge"]).unwrap();
        let problems = || bed.status().unwrap().problems;
        let is_told = || {
            let of_it = |it: &Problem| {
                it.code == ProblemCode::InterfaceRenamed && it.subject.as_deref() == Some("real0")
            };
            problems().iter().any(of_it).then_some(())
        };
        retry_until(Duration::from_secs(5), "the rename to be told", is_told).unwrap();
        bed.tell(&["reload"]).unwrap();
        let [us, belgium] = arrive(&bed, send);
        assert_eq!(us, 0, "with the mark in the US, by {selected}");
        assert!(belgium > 0, "the twin arrives");
        assert!(is_told().is_some(), "{:?}", problems());
        drop(daemon);
        store.ip(&["link", "delete", "ctr0"]).unwrap();
        rename("real0", "ctr0");
    }
}
