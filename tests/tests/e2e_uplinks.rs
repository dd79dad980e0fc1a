//! Interfaces by which frames leave the host past its guarded ones: each is judged by what the far side receives, and has to be
//! told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

#[allow(dead_code, reason = "other suites use the rest of it")]
#[path = "support/mail.rs"]
mod mail;

use std::time::Duration;

use guard_tests::bed::{Bed, Family, STORE, US};
use guard_tests::marked::{MARK, Marked};
use guard_tests::netns::{HOST_INTERFACE, Netns};
use guard_tests::proc::{retry_until, run_to_end};
use guard_user::health::{Health, ProblemCode};
use serde_json::Value;

use mail::{BY_PORT, COUNT, client, datagram};

/// How soon the status is to say so.
const SOON: Duration = Duration::from_secs(5);

/// The mailbox by its host's addresses and those of its containers.
const BY_ADDRESS: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [pin.select]\nsources = [\"192.0.2.0/24\"]\n";

/// The gateway of the default route, where that is by a bridge into another namespace.
const GATEWAY: &str = "192.0.2.201";

/// The storage host's address and routes on a bridge, of which its interface is a port.
fn to_bridge(bed: &Bed) {
    let store = bed.host(STORE).unwrap();
    let mac = store.mac(HOST_INTERFACE).unwrap().map(|byte| format!("{byte:02x}")).join(":");
    store.ip(&["link", "add", "br0", "address", &mac, "type", "bridge", "forward_delay", "0"]).unwrap();
    store.ip(&["link", "set", HOST_INTERFACE, "master", "br0"]).unwrap();
    store.ip(&["address", "flush", "dev", HOST_INTERFACE, "scope", "global"]).unwrap();
    store.ip(&["link", "set", "br0", "up"]).unwrap();
    store.add_address("br0", "192.0.2.10/24".parse().unwrap()).unwrap();
    store.ip(&["route", "replace", "default", "via", "192.0.2.1", "dev", "br0"]).unwrap();
    store.ip(&["-6", "route", "delete", "default"]).unwrap();
}

/// The storage host's only way out: a bridge whose port `eth1` is a pair into the namespace that is returned, which leads nowhere
/// else and has the gateway's address.
fn to_gateway(bed: &Bed) -> Netns {
    let (store, gateway) = (bed.host(STORE).unwrap(), Netns::new("gateway").unwrap());
    store.ip(&["link", "set", HOST_INTERFACE, "down"]).unwrap();
    store.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0"]).unwrap();
    store.link("eth1", &gateway, "eth0").unwrap();
    store.ip(&["link", "set", "eth1", "master", "br0"]).unwrap();
    store.ip(&["link", "set", "br0", "up"]).unwrap();
    store.add_address("br0", "192.0.2.10/24".parse().unwrap()).unwrap();
    store.ip(&["route", "replace", "default", "via", GATEWAY, "dev", "br0"]).unwrap();
    gateway.add_address("eth0", format!("{GATEWAY}/24").parse().unwrap()).unwrap();
    gateway
}

/// A container at the port `ctr0` of the bridge, whose default route is by this gateway.
fn contain(bed: &Bed, gateway: &str) -> Netns {
    let (store, container) = (bed.host(STORE).unwrap(), Netns::new("container").unwrap());
    container.link("eth0", store, "ctr0").unwrap();
    store.ip(&["link", "set", "ctr0", "master", "br0"]).unwrap();
    container.ip(&["address", "add", "192.0.2.130/24", "dev", "eth0"]).unwrap();
    container.ip(&["route", "add", "default", "via", gateway]).unwrap();
    container
}

/// Frames with the mark that the router gets of mails from this namespace to the US.
fn leave(bed: &Bed, from: &Netns) -> usize {
    reach(bed.router(), from)
}

/// Those that this namespace gets.
fn reach(far: &Netns, from: &Netns) -> usize {
    let marked = Marked::at(far).unwrap();
    for _ in 0..COUNT {
        datagram(from, client(US, Family::V4), MARK, |_| ());
    }
    marked.count().unwrap()
}

/// The interfaces that the status has as a problem.
fn told(bed: &Bed) -> Vec<String> {
    let problems = bed.status().unwrap().problems.into_iter();
    problems.filter(|it| it.code == ProblemCode::InterfaceUnguarded).filter_map(|it| it.subject).collect()
}

fn wait_for(bed: &Bed, expected: &[&str]) {
    retry_until(SOON, &format!("the problems {expected:?}"), || (told(bed) == expected).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {:?}", bed.status().unwrap().problems));
    let warned = warned(bed);
    assert_eq!(warned.is_some(), !expected.is_empty(), "{warned:?}");
    for name in expected {
        assert!(warned.as_ref().is_some_and(|warned| warned.contains(&format!("{name} ("))), "{warned:?}");
    }
}

/// What `check` says of interfaces without a guard.
fn warned(bed: &Bed) -> Option<String> {
    let mut command = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    command.arg("check").arg("--json").arg(bed.config());
    let (_status, out, complaint) = run_to_end("borderguard", command, SOON * 4).unwrap();
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{complaint}"));
    let mut warnings = said["warnings"].as_array().unwrap().iter();
    let found = warnings.find(|it| it["code"] == "interface-unguarded")?;
    Some(found["message"].as_str().unwrap().to_owned())
}

#[test]
#[ignore = "needs root and BPF"]
fn a_second_uplink_of_a_bridge_is_told_before_anything_leaves_by_it() {
    let bed = Bed::new("uplink").unwrap();
    to_bridge(&bed);
    let store = bed.host(STORE).unwrap();
    assert!(leave(&bed, store) > 0, "without a guard it arrives");
    bed.configure(BY_PORT).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().health, Health::Guarding, "{:?}", bed.status().unwrap().problems);
    assert_eq!(leave(&bed, store), 0);
    store.link("eth1", bed.router(), "up1").unwrap();
    store.ip(&["link", "set", "eth1", "master", "br0"]).unwrap();
    wait_for(&bed, &["eth1"]);
    store.ip(&["link", "set", HOST_INTERFACE, "down"]).unwrap();
    // The router has its own address at the other end, so that nobody answers for it here.
    let gateway = bed.router().mac("up1").unwrap().map(|byte| format!("{byte:02x}")).join(":");
    store.ip(&["neigh", "replace", "192.0.2.1", "lladdr", &gateway, "dev", "br0"]).unwrap();
    assert!(leave(&bed, store) > 0, "it leaves by the other uplink");
    assert_eq!(told(&bed), ["eth1"]);
    assert!(daemon.stderr().contains("interface-unguarded eth1"), "{}", daemon.log_tail());
    // Where it is named it is judged, and no problem.
    bed.configure_for(&["eth*"], BY_PORT).unwrap();
    bed.tell(&["reload"]).unwrap();
    wait_for(&bed, &[]);
    assert_eq!(leave(&bed, store), 0);
    // Where it is accepted it is no problem, and leaves.
    let text = std::fs::read_to_string(bed.config()).unwrap();
    let text = text.replace("[\"eth*\"]", "[\"eth0\"]\nunguarded = [\"eth1\"]");
    assert!(text.contains("unguarded"), "{text}");
    std::fs::write(bed.config(), text).unwrap();
    bed.tell(&["reload"]).unwrap();
    wait_for(&bed, &[]);
    assert!(leave(&bed, store) > 0);
    assert!(bed.status().unwrap().unguarded.contains(&"eth1".to_owned()));
}

#[test]
#[ignore = "needs root and BPF"]
fn a_port_by_which_a_container_sends_past_its_guarded_bridge_is_told_and_the_containers_is_not() {
    let bed = Bed::new("bridged").unwrap();
    to_bridge(&bed);
    let store = bed.host(STORE).unwrap();
    bed.configure_for(&["br0"], BY_ADDRESS).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    // All that the host sends passes the bridge.
    wait_for(&bed, &[]);
    assert_eq!(leave(&bed, store), 0);
    let container = contain(&bed, "192.0.2.1");
    wait_for(&bed, &[HOST_INTERFACE]);
    assert!(leave(&bed, &container) > 0, "it leaves by the port, and not by the bridge");
    // The port guarded, all of it is judged; the container's own end leads nowhere.
    bed.configure_for(&[HOST_INTERFACE], BY_ADDRESS).unwrap();
    bed.tell(&["reload"]).unwrap();
    wait_for(&bed, &[]);
    assert_eq!((leave(&bed, store), leave(&bed, &container)), (0, 0));
    // A container that leads on is another matter.
    let other = Netns::new("other").unwrap();
    container.link("eth1", &other, "eth0").unwrap();
    wait_for(&bed, &["ctr0"]);
    drop(other);
    wait_for(&bed, &[]);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_pair_to_the_gateway_is_told_where_the_default_route_is_by_the_bridge_above_it() {
    let bed = Bed::new("gateway").unwrap();
    let gateway = to_gateway(&bed);
    let store = bed.host(STORE).unwrap();
    let container = contain(&bed, GATEWAY);
    assert!(reach(&gateway, store) > 0 && reach(&gateway, &container) > 0, "without a guard it arrives");
    bed.configure_for(&["br0"], BY_ADDRESS).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    wait_for(&bed, &["eth1"]);
    assert_eq!(reach(&gateway, store), 0);
    assert!(reach(&gateway, &container) > 0, "it does not pass the bridge");
    // The same where another table than the main one has the route.
    store.ip(&["route", "add", "default", "via", GATEWAY, "dev", "br0", "table", "100"]).unwrap();
    store.ip(&["rule", "add", "lookup", "100"]).unwrap();
    store.ip(&["route", "delete", "default", "table", "main"]).unwrap();
    std::thread::sleep(SOON / 2);
    wait_for(&bed, &["eth1"]);
    bed.configure_for(&["eth1"], BY_ADDRESS).unwrap();
    bed.tell(&["reload"]).unwrap();
    wait_for(&bed, &[]);
    assert_eq!((reach(&gateway, store), reach(&gateway, &container)), (0, 0));
    // Where no port's namespace has the gateway's address it may be behind each of them.
    gateway.ip(&["address", "flush", "dev", "eth0"]).unwrap();
    wait_for(&bed, &["ctr0"]);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_bridge_whose_ports_that_lead_out_are_guarded_is_not_told() {
    let bed = Bed::new("ports").unwrap();
    let gateway = to_gateway(&bed);
    let store = bed.host(STORE).unwrap();
    bed.configure_for(&["eth1"], BY_PORT).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().health, Health::Guarding, "{:?}", bed.status().unwrap().problems);
    wait_for(&bed, &[]);
    assert_eq!(reach(&gateway, store), 0);
    // A port that is down is no other way out.
    store.ip(&["link", "set", "eth1", "down"]).unwrap();
    std::thread::sleep(SOON / 2);
    assert_eq!(told(&bed), [""; 0]);
    store.ip(&["link", "set", "eth1", "up"]).unwrap();
    // One more that leads out is.
    store.link("eth2", bed.router(), "up2").unwrap();
    store.ip(&["link", "set", "eth2", "master", "br0"]).unwrap();
    wait_for(&bed, &["eth2"]);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_default_route_by_an_interface_that_nothing_guards_is_told_where_pins_drop() {
    let bed = Bed::new("route").unwrap();
    let store = bed.host(STORE).unwrap();
    bed.configure(BY_PORT).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    wait_for(&bed, &[]);
    store.link("lan0", bed.router(), "up1").unwrap();
    let gateway = bed.router().mac("up1").unwrap().map(|byte| format!("{byte:02x}")).join(":");
    store.ip(&["address", "add", "198.51.100.130/25", "dev", "lan0"]).unwrap();
    store.ip(&["route", "replace", "default", "via", "198.51.100.129", "dev", "lan0"]).unwrap();
    store.ip(&["neigh", "replace", "198.51.100.129", "lladdr", &gateway, "dev", "lan0"]).unwrap();
    wait_for(&bed, &["lan0"]);
    assert_eq!(bed.status().unwrap().health, Health::Degraded);
    assert!(leave(&bed, store) > 0);
    bed.configure(&BY_PORT.replace("\"drop\"", "\"observe\"")).unwrap();
    bed.tell(&["reload"]).unwrap();
    retry_until(SOON, "no problem", || told(&bed).is_empty().then_some(())).unwrap();
    assert_eq!(bed.status().unwrap().health, Health::Observing);
    assert!(bed.status().unwrap().unguarded.contains(&"lan0".to_owned()));
}
