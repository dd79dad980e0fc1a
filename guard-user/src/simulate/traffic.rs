//! Flows as they were seen: in the flow history, and in the kernel's records as they are now.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use guard_common::abi::Side;
use guard_common::verdict::Reason;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::events::event::unit;
use crate::explain::Flow;

/// How much was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Amount {
    /// Flows.
    pub flows: u64,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.flows = self.flows.saturating_add(other.flows);
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A flow under one verdict, as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What is known of its packets.
    pub flow: Flow,
    /// Names of its pins.
    pub tagged: Vec<String>,
    /// SHA-256 of the config that judged it last, where that is known.
    pub policy: Option<String>,
    /// The generation of tables that judged it last, and why it came to its verdict, where that is known.
    pub judged: Option<(u64, Reason)>,
    /// Whether it is in a tunnel, of which the outer layers are not known.
    pub is_tunnelled: bool,
    /// Who sent, as groups are named: the command and its unit, else the unit or the cgroup, else why that is not known.
    pub sender: String,
    /// How much of it was seen.
    pub amount: Amount,
    /// Of a flow that no pin tags: which end's port is known. This host's address is not, and what stands in the place of it
    /// and of the other port is nothing.
    pub unknown_end: Option<Side>,
}

/// One flow in both places where it may be.
#[derive(Debug)]
struct Entry {
    seen: Seen,
    /// What its events add up to.
    recorded: Amount,
    /// What its record has.
    live: Amount,
}

/// What was seen and can't be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// Calls that were refused: they have no source yet.
    pub calls: Amount,
    /// Flows whose addresses could not be read.
    pub unread: Amount,
    /// Events above the log's budget, as the history has them: summed up.
    pub summed_up: Amount,
    /// Egress that no pin tagged and of which there are sums by jurisdiction alone.
    pub untagged: Amount,
    /// Records and lines that were lost.
    pub lost: u64,
}

/// The flows that were seen.
#[derive(Debug, Default)]
pub struct Traffic {
    flows: BTreeMap<String, Entry>,
    since: Option<Timestamp>,
    /// Events of the history that are among them.
    pub events: u64,
    /// Records of the kernel that are among them.
    pub records: u64,
    /// Sums of the history of what no pin tagged that are among them.
    pub untagged: u64,
    /// When the earliest of these events was.
    pub first: Option<Timestamp>,
    /// When the latest of these events was.
    pub last: Option<Timestamp>,
    /// What can't be judged.
    pub not_judged: NotJudged,
}

impl Traffic {
    /// None yet; flows that ended before `since` are left out.
    #[must_use]
    pub fn new(since: Option<Timestamp>) -> Self {
        Self { since, ..Self::default() }
    }

    /// Takes up a line of the flow history, as flat JSON has it.
    pub fn recorded(&mut self, line: &Value) {
        let not_judged = &mut self.not_judged;
        match line["kind"].as_str() {
            Some("event") => {}
            Some("summary") => {
                let events = number(&line["flows"]);
                not_judged.summed_up += amount(events, line, ["packets", "bytes"]);
                return;
            }
            Some("lost") => {
                not_judged.lost = not_judged.lost.saturating_add(number(&line["count"]));
                return;
            }
            Some("untagged") => return self.no_pins(line),
            // What was written to a file is no flow.
            _ => return,
        }
        let of_event = amount(0, line, ["packets", "bytes"]);
        let Some(entry) = self.entry(line, of_event) else { return };
        entry.recorded += of_event;
        let time = entry.seen.flow.time;
        self.events += 1;
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }

    /// Takes up a record of the kernel, as a line of the kind `flow`.
    pub fn live(&mut self, line: &Value) {
        let moment = |key: &str| line[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let since = self.since.unwrap_or(Timestamp::MIN);
        if moment("time").is_some_and(|last| last < since) {
            return;
        }
        let is_forbidden = line["pins"].as_array().is_some_and(|pins| !pins.is_empty());
        let began_before = moment("flow_start").is_some_and(|start| start < since);
        let of_record = amount(0, line, ["flow_packets", "flow_bytes"]);
        let Some(entry) = self.entry(line, of_record) else { return };
        // Of a flow that makes events these say how much of it came since then.
        if !(is_forbidden && began_before) {
            entry.live += of_record;
        }
        self.records += 1;
    }

    /// The flow that a line is of; `None` where it can't be judged.
    fn entry(&mut self, line: &Value, amount: Amount) -> Option<&mut Entry> {
        let Ok(flow) = Flow::of(line) else {
            let one = Amount { flows: 1, ..amount };
            match line["hook"].as_str() {
                Some("connect" | "sendmsg") => self.not_judged.calls += one,
                _ => self.not_judged.unread += one,
            }
            return None;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let tagged = line["tagged"].as_array().into_iter().flatten().filter_map(text).collect();
        let sender = sender(line);
        let (policy, amount) = (text(&line["policy"]), Amount::default());
        let is_tunnelled = line["is_tunnelled"] == true || line["tunnel"].is_string();
        let judged = judged(line);
        let seen = Seen { flow, tagged, policy, judged, is_tunnelled, sender, amount, unknown_end: None };
        // The parts of the kernel's key: whatever differs in one of them is another record.
        let key = json!([
            line["hook"],
            line["source"],
            line["destination"],
            line["protocol_number"],
            line["verdict"],
            line["reason"],
            line["tagged"],
            line["pins"],
            line["jurisdiction"],
            line["placed_by"],
            line["exemption"],
        ]);
        Some(self.latest(key.to_string(), seen))
    }

    /// Takes up a sum of what no pin tagged.
    fn no_pins(&mut self, line: &Value) {
        let amount = amount(0, line, ["packets", "bytes"]);
        let Some(flow) = Flow::of_untagged(line) else {
            self.not_judged.untagged += amount;
            return;
        };
        let side = match line["side"].as_str() {
            Some("local") => Side::Local,
            Some("remote") => Side::Remote,
            _ => Side::None,
        };
        let policy = line["policy"].as_str().map(str::to_owned);
        let (tagged, sender) = (Vec::new(), sender(line));
        let amount_yet = Amount::default();
        let (judged, unknown_end) = (judged(line), Some(side));
        let seen = Seen {
            flow,
            tagged,
            policy,
            judged,
            is_tunnelled: false,
            sender,
            amount: amount_yet,
            unknown_end,
        };
        let key = json!([
            line["kind"],
            line["peer"],
            line["protocol_number"],
            line["side"],
            line["port"],
            line["interface_index"],
            line["cgroup"],
            line["jurisdiction"],
        ]);
        self.latest(key.to_string(), seen).recorded += amount;
        self.untagged += 1;
    }

    /// The flow of this key, with the latest of what is known of it.
    fn latest(&mut self, key: String, seen: Seen) -> &mut Entry {
        let entry = self.flows.entry(key).or_insert_with(|| Entry {
            seen: seen.clone(),
            recorded: Amount::default(),
            live: Amount::default(),
        });
        // The latest counts, but for who sent, which is not known of every packet.
        if seen.flow.time >= entry.seen.flow.time {
            let knows_less = seen.flow.from.user.is_none() && entry.seen.flow.from.user.is_some();
            let before = std::mem::replace(&mut entry.seen, seen);
            if knows_less {
                let from = &mut entry.seen.flow.from;
                (from.user, from.process) = (before.flow.from.user, before.flow.from.process);
                from.cgroup = from.cgroup.take().or(before.flow.from.cgroup);
                entry.seen.flow.no_people = before.flow.no_people;
                entry.seen.sender = before.sender;
            }
        }
        entry
    }

    /// The names of the interfaces that they went by.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        let names = self.flows.values().filter_map(|entry| entry.seen.flow.from.interface.clone());
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Each flow once. The kernel may have forgotten a flow of the history, and have counted packets of one that no event
    /// has; so the larger amount is that of the flow.
    pub fn flows(self) -> impl Iterator<Item = Seen> {
        self.flows.into_values().map(|entry| {
            let Entry { mut seen, recorded, live } = entry;
            seen.amount = Amount {
                flows: 1,
                packets: recorded.packets.max(live.packets),
                bytes: recorded.bytes.max(live.bytes),
            };
            seen
        })
    }
}

/// The generation that judged what a line is of, and its reason.
fn judged(line: &Value) -> Option<(u64, Reason)> {
    Some((line["generation"].as_u64()?, Reason::from_name(line["reason"].as_str()?)?))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

pub(super) fn amount(flows: u64, line: &Value, [packets, bytes]: [&str; 2]) -> Amount {
    Amount { flows, packets: number(&line[packets]), bytes: number(&line[bytes]) }
}

/// Who sent, as groups are named.
pub(crate) fn sender(line: &Value) -> String {
    let (process, cgroup) = (&line["process"], line["cgroup"].as_str());
    if let Some(people) = line["people"].as_str().filter(|people| *people != "shown") {
        return format!("({people})");
    }
    let unit_of = |path| unit(path).unwrap_or(path).to_owned();
    match (process["command"].as_str(), process["unit"].as_str()) {
        (Some(command), Some(unit)) => format!("{command} ({unit})"),
        (Some(command), None) => command.to_owned(),
        (None, _) => cgroup.map_or_else(|| "(not known)".to_owned(), unit_of),
    }
}
