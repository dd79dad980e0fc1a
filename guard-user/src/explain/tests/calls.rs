//! What is told of the call by which a process would send a packet.

use std::path::Path;

use guard_common::abi::Hook;
use guard_common::packet::Parsed;

use super::super::flow::packet;
use super::super::{Explainer, Surroundings};
use crate::config;
use crate::geo::{GeoDb, Info, Runs};

const POLICY: &str = r#"approval = "none"
[host]
interfaces = ["eth0"]
[sockets]
refuse = true
[[failsafe]]
name = "names"
remote_ports = ["udp/53"]
peers = ["203.0.113.53/32"]
[[site]]
name = "ashburn"
jurisdiction = "US"
cidrs = ["203.0.113.0/24"]
[[site]]
name = "brussels"
jurisdiction = "BE"
cidrs = ["198.51.100.0/24"]
[[pin]]
name = "mail"
home = "IE"
permit = ["BE"]
action = "drop"
[pin.select]
users = [999]
[[pin]]
name = "by-port"
home = "IE"
action = "drop"
[pin.select]
ports = ["tcp/143"]
"#;

/// What is told of the call by which this user sends such a packet.
fn told(text: &str, flow: [&str; 2], from: &Surroundings) -> Option<String> {
    let surroundings = config::Surroundings::new(None);
    let policy = config::parse(Path::new("policy.toml"), text.as_bytes(), &surroundings).unwrap().policy;
    let db = GeoDb { v4: Runs::unknown(), v6: Runs::unknown(), info: Info::default() };
    let explainer = Explainer::new(policy, db, Vec::new(), Some("eth0")).unwrap();
    let packet = packet(flow[0].parse().unwrap(), flow[1].parse().unwrap(), None).unwrap();
    let steps = explainer.explain(Hook::Egress, Parsed::Ip, &packet, from, 100, 5).steps;
    steps.into_iter().find(|step| step.step == "call").map(|step| step.says)
}

#[test]
fn a_call_that_fails_is_told_and_one_that_is_left_to_its_packets() {
    let pinned = Surroundings { user: Some(("999".to_owned(), 999)), ..Surroundings::default() };
    let to_us = ["192.0.2.10:50000", "203.0.113.30:25"];
    let says = told(POLICY, to_us, &pinned).unwrap();
    assert!(says.contains("203.0.113.30 fails with EPERM") && says.contains("\"mail\""), "{says}");
    let by_port = told(POLICY, ["192.0.2.10:143", "203.0.113.30:50000"], &Surroundings::default()).unwrap();
    assert!(by_port.contains("left to its packets"), "{by_port}");
    // What passes, what is forwarded, and where no call is refused.
    assert_eq!(told(POLICY, ["192.0.2.10:50000", "198.51.100.30:25"], &pinned), None);
    assert_eq!(told(POLICY, to_us, &Surroundings { is_forwarded: true, ..pinned.clone() }), None);
    assert_eq!(told(&POLICY.replace("refuse = true", "refuse = false"), to_us, &pinned), None);
}
