//! What a pin found forbidden, as the flow history has it: why, to whom, and by which processes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use crate::control::client::Exchange;
use crate::control::protocol::{EventFormat, Request, Response};
use crate::history::Filter;
use crate::simulate::{Amount, sender};

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
    /// Of this pin since that moment; without one all that there are.
    ///
    /// # Errors
    /// Where no daemon answers, or this user may not ask it.
    pub(super) fn read(socket: &Path, pin: &str, since: Option<Timestamp>) -> Result<Self> {
        // Without a moment to begin at, the last ones alone would come.
        let since = Some(since.unwrap_or(Timestamp::UNIX_EPOCH));
        let filter = Filter { since, pin: Some(pin.to_owned()), ..Filter::default() };
        let request = Request::Events { follow: false, limit: None, format: EventFormat::Json, filter };
        let mut exchange = Exchange::begin(socket, &request)?;
        exchange.wait_for_ever()?;
        let mut found = Self::default();
        loop {
            match exchange.response()? {
                Some(Response::Event { line }) => found.add(pin, &serde_json::from_str(&line)?),
                Some(Response::Missed { events }) => found.missing += events,
                Some(Response::LeftOut { summaries, damaged }) => found.missing += summaries + damaged,
                Some(Response::End {}) => return Ok(found),
                Some(_) => return Err(exchange.unexpected().into()),
                None => return Err(io::Error::other("the daemon has ended").into()),
            }
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
        let time: Option<Timestamp> = line["time"].as_str().and_then(|time| time.parse().ok());
        let (sum, last) = self.reasons.entry((text(&line["verdict"]), text(&line["reason"]))).or_default();
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

/// What is served at which end of an event's flow.
fn service(line: &Value) -> String {
    let port = |end: &str| line[end]["port"].as_u64();
    let protocol = line["protocol"].as_str().unwrap_or("?");
    match (port("source"), port("destination")) {
        (Some(here), Some(there)) if here < there => format!("{protocol}/{here} here"),
        (_, Some(there)) => format!("{protocol}/{there} there"),
        (Some(here), None) => format!("{protocol}/{here} here"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
