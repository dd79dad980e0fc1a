//! Flows as they were seen: in the flow history, and in the kernel's records as they are now.

mod in_brief;

use std::collections::{BTreeSet, HashMap, hash_map};
use std::net::IpAddr;
use std::ops::AddAssign;

use guard_common::abi::Side;
use guard_common::verdict::Reason;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::events::event::unit;
use crate::explain::Flow;

pub(crate) use self::in_brief::sender_of;

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

impl Amount {
    /// How long a packet is on average, in bytes.
    #[must_use]
    pub fn mean_len(self) -> u64 {
        self.bytes.checked_div(self.packets).unwrap_or_default().max(1)
    }
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

/// What of a flow is in a window of time.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    is_there: bool,
    /// What its events add up to.
    recorded: Amount,
    /// What its record has.
    live: Amount,
}

impl Part {
    /// The kernel may have forgotten a flow of the history, and have counted packets of one that no event has; so the larger
    /// amount is that of the flow.
    fn amount(self) -> Option<Amount> {
        let Self { is_there, recorded, live } = self;
        is_there.then(|| Amount {
            flows: 1,
            packets: recorded.packets.max(live.packets),
            bytes: recorded.bytes.max(live.bytes),
        })
    }
}

/// One flow in both places where it may be.
#[derive(Debug)]
struct Entry {
    seen: Seen,
    /// What of it is in which window.
    parts: [Part; 2],
}

impl Entry {
    /// The latest counts, but for who sent, which is not known of every packet.
    fn see(&mut self, seen: Seen) {
        if seen.flow.time < self.seen.flow.time {
            return;
        }
        let knows_less = seen.flow.from.user.is_none() && self.seen.flow.from.user.is_some();
        let before = std::mem::replace(&mut self.seen, seen);
        if knows_less {
            let from = &mut self.seen.flow.from;
            (from.user, from.process) = (before.flow.from.user, before.flow.from.process);
            from.cgroup = from.cgroup.take().or(before.flow.from.cgroup);
            self.seen.flow.no_people = before.flow.no_people;
            self.seen.sender = before.sender;
        }
    }

    fn record(&mut self, within: [bool; 2], amount: Amount) {
        for (part, is_in) in self.parts.iter_mut().zip(within) {
            if is_in {
                part.recorded += amount;
            }
        }
    }
}

/// What tells flows apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// The parts of the kernel's key: whatever differs in one of them is another record.
    Flow { names: usize, ends: [(IpAddr, Option<u16>); 2], protocol: u8 },
    /// Those of what no pin tags.
    NoPins(String),
}

impl Key {
    fn of(flow: &Flow, names: usize) -> Self {
        let ends = [flow.source, flow.destination].map(|end| (end.address, end.port));
        Self::Flow { names, ends, protocol: flow.protocol }
    }
}

/// What many flows have in common of their keys, as lines have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Names {
    /// Hook, verdict, reason, jurisdiction, what placed it, and the exemption.
    single: [Option<String>; 6],
    tagged: Vec<String>,
    pins: Vec<String>,
}

impl Names {
    fn of(line: &Value) -> Self {
        let single = ["hook", "verdict", "reason", "jurisdiction", "placed_by", "exemption"];
        let (tagged, pins) = (texts(&line["tagged"]), texts(&line["pins"]));
        Self { single: single.map(|key| text(&line[key])), tagged, pins }
    }
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
    /// In the order in which they were seen first.
    flows: Vec<Entry>,
    /// The place of each among them.
    at: HashMap<Key, usize>,
    names: HashMap<Names, usize>,
    since: Option<Timestamp>,
    /// When a second window begins, where there is one.
    recent: Option<Timestamp>,
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

    /// The same, with the amounts of another window beside: from this moment on. What else is told is of the first one.
    #[must_use]
    pub fn with_recent(self, recent: Timestamp) -> Self {
        Self { recent: Some(recent), ..self }
    }

    /// In which windows this moment is. What has none is in each.
    fn within(&self, time: Option<Timestamp>) -> [bool; 2] {
        let is_in = |since: Timestamp| time.is_none_or(|time| time >= since);
        [self.since.is_none_or(is_in), self.recent.is_some_and(is_in)]
    }

    /// Takes up a line of the flow history, as flat JSON has it.
    pub fn recorded(&mut self, line: &Value) {
        let [is_in, _] = self.within(moment(line, "time"));
        match line["kind"].as_str() {
            Some("event") => {
                let of_event = amount(0, line, ["packets", "bytes"]);
                if let Some((key, seen)) = self.flow_of(line, of_event) {
                    self.add_event(key, seen, of_event);
                }
            }
            Some("summary") if is_in => {
                let events = number(&line["flows"]);
                self.not_judged.summed_up += amount(events, line, ["packets", "bytes"]);
            }
            Some("lost") if is_in => {
                self.not_judged.lost = self.not_judged.lost.saturating_add(number(&line["count"]));
            }
            Some("untagged") => self.no_pins(line),
            // What was written to a file is no flow.
            _ => {}
        }
    }

    /// Takes up a record of the kernel, as a line of the kind `flow`.
    pub fn live(&mut self, line: &Value) {
        let is_forbidden = line["pins"].as_array().is_some_and(|pins| !pins.is_empty());
        let of_record = amount(0, line, ["flow_packets", "flow_bytes"]);
        if let Some((key, seen)) = self.flow_of(line, of_record) {
            self.add_record(key, seen, of_record, (is_forbidden, moment(line, "flow_start")));
        }
    }

    /// The flow that a line is of; `None` where it can't be judged.
    fn flow_of(&mut self, line: &Value, amount: Amount) -> Option<(Key, Seen)> {
        let Ok(flow) = Flow::of(line) else {
            if self.within(moment(line, "time"))[0] {
                self.judge_not(matches!(line["hook"].as_str(), Some("connect" | "sendmsg")), amount);
            }
            return None;
        };
        let tagged = texts(&line["tagged"]);
        let sender = sender(line);
        let (policy, amount) = (text(&line["policy"]), Amount::default());
        let is_tunnelled = line["is_tunnelled"] == true || line["tunnel"].is_string();
        let judged = judged(line);
        let key = Key::of(&flow, self.number_of(Names::of(line)));
        let seen = Seen { flow, tagged, policy, judged, is_tunnelled, sender, amount, unknown_end: None };
        Some((key, seen))
    }

    /// Counts a flow that can't be judged.
    fn judge_not(&mut self, is_call: bool, amount: Amount) {
        let one = Amount { flows: 1, ..amount };
        match is_call {
            true => self.not_judged.calls += one,
            false => self.not_judged.unread += one,
        }
    }

    fn number_of(&mut self, names: Names) -> usize {
        let next = self.names.len();
        *self.names.entry(names).or_insert(next)
    }

    /// Takes up a sum of what no pin tagged.
    fn no_pins(&mut self, line: &Value) {
        let amount = amount(0, line, ["packets", "bytes"]);
        let Some(flow) = Flow::of_untagged(line) else {
            if self.within(moment(line, "time"))[0] {
                self.not_judged.untagged += amount;
            }
            return;
        };
        let side = match line["side"].as_str() {
            Some("local") => Side::Local,
            Some("remote") => Side::Remote,
            _ => Side::None,
        };
        let within = self.within(Some(flow.time));
        let (tagged, sender, policy) = (Vec::new(), sender(line), text(&line["policy"]));
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
        if let Some(entry) = self.latest(Key::NoPins(key.to_string()), seen, within) {
            entry.record(within, amount);
        }
        self.untagged += u64::from(within[0]);
    }

    fn add_event(&mut self, key: Key, seen: Seen, amount: Amount) {
        let time = seen.flow.time;
        let within = self.within(Some(time));
        let Some(entry) = self.latest(key, seen, within) else { return };
        entry.record(within, amount);
        if within[0] {
            self.events += 1;
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
    }

    /// Takes up a record of the kernel, of what a pin forbids or not, with when it began.
    fn add_record(
        &mut self,
        key: Key,
        seen: Seen,
        amount: Amount,
        (is_forbidden, start): (bool, Option<Timestamp>),
    ) {
        let within = self.within(Some(seen.flow.time));
        let windows = [self.since, self.recent].map(|since| since.unwrap_or(Timestamp::MIN));
        let Some(entry) = self.latest(key, seen, within) else { return };
        for ((part, is_in), since) in entry.parts.iter_mut().zip(within).zip(windows) {
            let began_before = start.is_some_and(|start| start < since);
            // Of a flow that makes events these say how much of it came since then.
            if is_in && !(is_forbidden && began_before) {
                part.live += amount;
            }
        }
        self.records += u64::from(within[0]);
    }

    /// The flow of this key, with the latest of what is known of it; `None` where that is in no window.
    fn latest(&mut self, key: Key, seen: Seen, within: [bool; 2]) -> Option<&mut Entry> {
        if within == [false; 2] {
            return None;
        }
        let at = match self.at.entry(key) {
            hash_map::Entry::Vacant(place) => {
                let at = *place.insert(self.flows.len());
                self.flows.push(Entry { seen, parts: Default::default() });
                at
            }
            hash_map::Entry::Occupied(place) => {
                let at = *place.get();
                self.flows.get_mut(at)?.see(seen);
                at
            }
        };
        let entry = self.flows.get_mut(at)?;
        for (part, is_in) in entry.parts.iter_mut().zip(within) {
            part.is_there |= is_in;
        }
        Some(entry)
    }

    /// The names of the interfaces that they went by.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        let names: BTreeSet<&String> =
            self.flows.iter().filter_map(|entry| entry.seen.flow.from.interface.as_ref()).collect();
        names.into_iter().cloned().collect()
    }

    /// How many flows there are, in either window.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.flows.len() as u64
    }

    /// Each flow once.
    pub fn flows(self) -> impl Iterator<Item = Seen> {
        self.in_windows().filter_map(|(seen, [amount, _])| Some(Seen { amount: amount?, ..seen }))
    }

    /// Each flow once, with how much of it is in which window, where any is.
    pub fn in_windows(self) -> impl Iterator<Item = (Seen, [Option<Amount>; 2])> {
        self.flows.into_iter().map(|Entry { seen, parts }| (seen, parts.map(Part::amount)))
    }
}

fn moment(line: &Value, key: &str) -> Option<Timestamp> {
    line[key].as_str().and_then(|text| text.parse().ok())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
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
