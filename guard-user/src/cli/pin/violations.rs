//! What a pin found forbidden, as the flow history has it: why, to whom, and by which processes.

use std::collections::BTreeMap;

use guard_common::abi::Hook;
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::simulate::Recorded;
use crate::events::brief::{Common, One};
use crate::events::event::{Phase, protocol_name};
use crate::simulate::{Amount, sender, sender_of};

/// The verdicts of what a pin forbids.
const FORBIDDEN: [&str; 3] = ["observe", "flag", "drop"];

/// The other end of forbidden flows, and what it was served, or serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    /// Where it is placed.
    pub(super) jurisdiction: String,
    /// Its address, as text; empty where it is not known.
    pub(super) address: String,
    /// The port of the end that serves, which is taken to be the lower one, with its protocol: `tcp/143 here`, `tcp/873 there`;
    /// empty where it is not known.
    pub(super) service: String,
}

/// What was forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Violations {
    /// By verdict and reason, with when the last one was.
    pub(super) reasons: BTreeMap<(String, String), (Amount, Option<Timestamp>)>,
    /// By the other end.
    pub(super) peers: BTreeMap<Peer, Amount>,
    /// By who sent: the command and its unit, or why that is not shown.
    pub(super) senders: BTreeMap<String, Amount>,
    /// Events that are missing, of whatever pin.
    pub(super) missing: u64,
}

impl Violations {
    /// Takes up what the history has, as far as it is of this pin and since that moment; without one all of it.
    pub(super) fn take(&mut self, (pin, since): (&str, Option<Timestamp>), it: Recorded<'_>) {
        let is_since = |time: Timestamp| since.is_none_or(|since| time >= since);
        match it {
            Recorded::Flows(batch) => {
                for one in batch.flows.iter().filter(|one| is_since(one.time)) {
                    if let Some(common) = batch.common.get(one.common) {
                        self.add_event(pin, common, one);
                    }
                }
            }
            Recorded::Line(line) if moment(line).is_none_or(is_since) => self.add(pin, line),
            Recorded::Line(_) => {}
        }
    }

    /// Takes up a line of the history, as flat JSON has it.
    fn add(&mut self, pin: &str, line: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        if line["kind"] == "lost" {
            self.missing = self.missing.saturating_add(number(&line["count"]));
            return;
        }
        let is_forbidden = line["verdict"].as_str().is_some_and(|verdict| FORBIDDEN.contains(&verdict));
        // What a pin does to what comes in is not its action.
        if !is_forbidden || line["hook"] == "ingress" {
            return;
        }
        let mut amount =
            Amount { flows: 0, packets: number(&line["packets"]), bytes: number(&line["bytes"]) };
        let jurisdiction = text(&line["jurisdiction"]);
        match line["kind"].as_str() {
            Some("event") if line["pins"].as_array().is_some_and(|pins| pins.iter().any(|it| it == pin)) => {
                amount.flows = u64::from(matches!(line["phase"].as_str(), Some("new" | "resumed")));
                let address = text(&line["destination"]["ip"]);
                *self.peers.entry(Peer { jurisdiction, address, service: service(line) }).or_default() +=
                    amount;
                *self.senders.entry(sender(line)).or_default() += amount;
            }
            Some("summary") if line["pin"] == pin => {
                amount.flows = number(&line["flows"]);
                let mut rest = amount;
                for peer in line["peers"].as_array().into_iter().flatten() {
                    let of_peer = Amount {
                        flows: number(&peer["events"]).min(rest.flows),
                        packets: number(&peer["packets"]).min(rest.packets),
                        bytes: number(&peer["bytes"]).min(rest.bytes),
                    };
                    rest.flows -= of_peer.flows;
                    rest.packets -= of_peer.packets;
                    rest.bytes -= of_peer.bytes;
                    let (jurisdiction, address) = (jurisdiction.clone(), text(&peer["ip"]));
                    *self.peers.entry(Peer { jurisdiction, address, service: String::new() }).or_default() +=
                        of_peer;
                }
                if rest != Amount::default() {
                    let unknown = Peer { jurisdiction, address: String::new(), service: String::new() };
                    *self.peers.entry(unknown).or_default() += rest;
                }
                *self.senders.entry("(summed up)".to_owned()).or_default() += amount;
            }
            _ => return,
        }
        self.count((text(&line["verdict"]), text(&line["reason"])), amount, moment(line));
    }

    /// Takes up an event in brief, as [`add`](Self::add) does its line.
    fn add_event(&mut self, pin: &str, common: &Common, one: &One) {
        let phase = match common.phase {
            Some(phase) if FORBIDDEN.contains(&common.verdict.name()) => phase,
            _ => return,
        };
        if common.hook == Hook::Ingress || !common.pins.iter().any(|it| **it == *pin) {
            return;
        }
        let flows = u64::from(matches!(phase, Phase::New | Phase::Resumed));
        let amount = Amount { flows, packets: one.packets, bytes: one.bytes };
        let protocol = protocol_name(one.protocol).map_or_else(|| one.protocol.to_string(), str::to_owned);
        let ports = [one.source, one.destination].map(|end| end.and_then(|end| end.port).map(u64::from));
        let peer = Peer {
            jurisdiction: common.jurisdiction.as_str().to_owned(),
            address: one.destination.map(|end| end.ip.to_string()).unwrap_or_default(),
            service: service_of(&protocol, ports),
        };
        *self.peers.entry(peer).or_default() += amount;
        *self.senders.entry(sender_of(common)).or_default() += amount;
        let names = (common.verdict.name().to_owned(), common.reason.name().to_owned());
        self.count(names, amount, Some(one.time));
    }

    fn count(&mut self, names: (String, String), amount: Amount, time: Option<Timestamp>) {
        let (sum, last) = self.reasons.entry(names).or_default();
        *sum += amount;
        *last = time.max(*last);
    }

    /// All of it.
    pub(super) fn total(&self) -> Amount {
        let mut total = Amount::default();
        self.reasons.values().for_each(|(amount, _)| total += *amount);
        total
    }
}

fn moment(line: &Value) -> Option<Timestamp> {
    line["time"].as_str().and_then(|time| time.parse().ok())
}

/// What is served at which end of an event's flow.
fn service(line: &Value) -> String {
    let ports = ["source", "destination"].map(|end| line[end]["port"].as_u64());
    service_of(line["protocol"].as_str().unwrap_or("?"), ports)
}

fn service_of(protocol: &str, ports: [Option<u64>; 2]) -> String {
    match ports {
        [Some(here), Some(there)] if here < there => format!("{protocol}/{here} here"),
        [_, Some(there)] => format!("{protocol}/{there} there"),
        [Some(here), None] => format!("{protocol}/{here} here"),
        [None, None] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use guard_common::verdict::Verdict;
    use serde_json::json;

    use super::*;
    use crate::events::Event;
    use crate::events::brief::Batch;
    use crate::events::event::{Endpoint, People};
    use crate::events::tests::{dropped, envelope};

    fn event(verdict: &str, hook: &str, pins: &[&str], phase: &str, ports: (u16, u16)) -> Value {
        json!({
            "kind": "event", "time": "2026-11-23T12:00:00Z", "phase": phase, "verdict": verdict, "reason": "forbidden",
            "hook": hook, "pins": pins, "jurisdiction": "US", "protocol": "tcp", "packets": 2, "bytes": 100,
            "source": {"ip": "192.0.2.10", "port": ports.0}, "destination": {"ip": "198.51.100.7", "port": ports.1},
            "process": {"command": "imap", "unit": "dovecot.service"}, "people": "shown",
        })
    }

    #[test]
    fn what_the_pin_forbade_of_egress_counts_and_nothing_else() {
        let mut found = Violations::default();
        for line in [
            event("flag", "egress", &["mail", "all"], "new", (143, 40_000)),
            event("flag", "egress", &["mail"], "ongoing", (143, 40_001)),
            event("observe", "egress", &["mail"], "new", (40_000, 873)),
            event("pass", "egress", &["mail"], "new", (143, 40_000)),
            event("flag", "ingress", &["mail"], "new", (143, 40_000)),
            event("flag", "egress", &["all"], "new", (143, 40_000)),
            json!({"kind": "pinned-copy", "pins": ["mail"], "verdict": "flag"}),
            json!({"kind": "lost", "count": 3}),
        ] {
            found.add("mail", &line);
        }
        let amount = |flows, packets, bytes| Amount { flows, packets, bytes };
        assert_eq!((found.total(), found.missing), (amount(2, 6, 300), 3));
        let reasons: Vec<_> =
            found.reasons.iter().map(|((verdict, _), it)| (verdict.as_str(), it.0)).collect();
        assert_eq!(reasons, [("flag", amount(1, 4, 200)), ("observe", amount(1, 2, 100))]);
        let services: Vec<_> =
            found.peers.iter().map(|(peer, it)| (peer.service.as_str(), it.packets)).collect();
        assert_eq!(services, [("tcp/143 here", 4), ("tcp/873 there", 2)]);
        assert_eq!(
            found.senders.into_iter().collect::<Vec<_>>(),
            [("imap (dovecot.service)".to_owned(), amount(2, 6, 300))]
        );
    }

    #[test]
    fn in_brief_an_event_counts_as_its_line_does() {
        let usual = dropped();
        let [begin, later] = [usual.time, usual.time + jiff::SignedDuration::from_secs(1)];
        let ends = |port| Some(Endpoint { port, ..usual.destination.unwrap() });
        let events = [
            usual.clone(),
            Event { phase: Phase::Continued, time: later, packets: 7, ..usual.clone() },
            Event { verdict: Verdict::Flag, phase: Phase::Resumed, source: ends(None), ..usual.clone() },
            Event { protocol: 200, source: ends(None), destination: ends(None), ..usual.clone() },
            Event { source: ends(Some(40_000)), destination: ends(Some(873)), ..usual.clone() },
            Event { verdict: Verdict::Pass, ..usual.clone() },
            Event { hook: Hook::Ingress, ..usual.clone() },
            Event { hook: Hook::Connect, source: None, process: None, time: later, ..usual.clone() },
            Event { hook: Hook::Connect, source: None, destination: None, ..usual.clone() },
            Event { pins: Vec::new(), ..usual.clone() },
        ];
        for since in [None, Some(begin), Some(later), Some(later + jiff::SignedDuration::from_secs(1))] {
            for sees_people in [true, false] {
                let (mut plain, mut brief, mut batch) =
                    (Violations::default(), Violations::default(), Batch::default());
                for event in &events {
                    batch.add_event(event, sees_people);
                    let told = match sees_people {
                        true => event.clone(),
                        false => event.clone().without_people(People::Hidden),
                    };
                    let line: Value = serde_json::from_str(&told.to_json(&envelope())).unwrap();
                    plain.take(("mail", since), Recorded::Line(&line));
                }
                let batch = Batch::read(&batch.to_line()).unwrap();
                brief.take(("mail", since), Recorded::Flows(&batch));
                assert_eq!(brief, plain);
                assert_eq!(plain.total().flows > 0, since.is_none_or(|since| since <= later));
            }
        }
    }

    #[test]
    fn what_was_summed_up_is_of_its_peers_and_the_rest_of_none() {
        let summary = |pin: &str| {
            json!({
                "kind": "summary", "time": "2026-11-23T12:00:00Z", "pin": pin, "hook": "egress", "verdict": "drop",
                "reason": "place-unknown", "jurisdiction": "unknown", "flows": 10, "packets": 20, "bytes": 2000,
                "peers": [{"ip": "198.51.100.7", "events": 4, "packets": 8, "bytes": 800}],
            })
        };
        let mut found = Violations::default();
        found.add("mail", &summary("mail"));
        found.add("mail", &summary("other"));
        let amounts: Vec<_> =
            found.peers.iter().map(|(peer, it)| (peer.address.as_str(), it.flows, it.bytes)).collect();
        assert_eq!(amounts, [("", 6, 1200), ("198.51.100.7", 4, 800)]);
        assert_eq!(found.total().flows, 10);
    }
}
