//! The lines of the log as JSON: one table of fields for each kind, for the writer and for docs/logs.md.

use std::net::IpAddr;

use serde::Serializer as _;
use serde::ser::SerializeMap;
use serde_json::{Value, json};

use super::canary::Canary;
use super::difference::Difference;
use super::envelope::{Envelope, SCHEMA, VERSION};
use super::event::{Endpoint, Event, Phase, Process, protocol};
use super::lost::Lost;
use super::peers::Amount;
use super::pinned_copy::PinnedCopy;
use super::run::{End, Start};
use super::severity::Severity;
use super::summary::Summary;

/// One key of the object.
#[derive(Clone, Copy)]
pub struct Field<T: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What it says: the line of the docs.
    pub meaning: &'static str,
    value: fn(&T) -> Value,
}

macro_rules! fields {
    ($(#[$doc:meta])+ $table:ident of $of:ty; $($name:literal: $meaning:literal, $value:expr;)+) => {
        $(#[$doc])+
        ///
        /// A key stays what it is from release to release; new ones may come.
        pub static $table: &[Field<$of>] = &[$(Field { name: $name, meaning: $meaning, value: $value },)+];
    };
}

mod untagged;

pub use untagged::UNTAGGED;

fields! {
    /// Every key of an event's JSON object, in the order in which they are written.
    FIELDS of Event;
    "kind": "`event`; the other kinds of lines have keys of their own, see below.",
        |_| json!("event");
    "time": "When the flow's last packet so far was judged, RFC 3339 in UTC with nanoseconds.",
        |event| json!(event.time.to_string());
    "id": "Number of the event, from 1, counted up within a `session`: `borderguard events` shows it by this. The numbers of events that were summed up are in no line.",
        |event| json!(event.sequence);
    "phase": "`new` for the first packet under a verdict, `continued` for more of them, `resumed` for the first event of a flow that an earlier daemon may have reported (it counts from `flow_start`), `settled` for the packets after the last event, once the flow was quiet.",
        |event| json!(event.phase.name());
    "action": "What happened: `dropped`, `refused` (a call), `flagged`, `would-drop` (observed), `exempted` or `passed`.",
        |event| json!(event.action());
    "verdict": "The verdict: `drop`, `flag`, `observe` or `pass`.",
        |event| json!(event.verdict.name());
    "reason": "The reason's name; docs/reasons.md has them all.",
        |event| json!(event.reason.name());
    "meaning": "The reason in one sentence.",
        |event| json!(event.reason.meaning());
    "severity": "`informational`, `low`, `medium`, `high` or `critical`, by verdict and reason, see below.",
        |event| json!(event.severity().name());
    "pins": "Names of the pins that forbid the destination, in the order of the config. A pin of a generation that two \
        daemons before left is shown by its number, such as `#1`: its name was not kept.",
        |event| json!(event.pins.iter().map(|pin| &**pin).collect::<Vec<_>>());
    "tagged": "Names of all pins of the flow.",
        |event| json!(event.tagged.iter().map(|pin| &**pin).collect::<Vec<_>>());
    "rule": "The rule that decided: `pin`, `file` and `line` of the config; null where its generation is not known any more.",
        |event| event.rule.as_ref().map_or(Value::Null, |rule| {
            json!({ "pin": &*rule.pin, "file": &*rule.file, "line": rule.line })
        });
    "jurisdiction": "Where the destination is: an ISO 3166-1 alpha-2 code, `unknown` or `uncertain`.",
        |event| json!(event.jurisdiction.as_str());
    "placed_by": "What placed it: `site`, `database`, `link-scope` or `nothing`.",
        |event| json!(event.placed_by.name());
    "source": "The pinned storage's end, `ip` and `port`, at both hooks of packets; null for a call, and where no address could be read, `port` null where there is none.",
        |event| endpoint(event.source);
    "destination": "The peer's end, likewise.",
        |event| endpoint(event.destination);
    "tunnel": "Destination of the tunnel that the flow is in, of its outermost layer; null outside a tunnel, and where only an earlier daemon had it.",
        |event| json!(event.tunnel.map(|ip| ip.to_string()));
    "tunnel_source": "Source of that layer, likewise.",
        |event| json!(event.tunnel_source.map(|ip| ip.to_string()));
    "protocol": "Name of the IP protocol; its number as a string where it has no common name.",
        |event| json!(protocol(event.protocol));
    "protocol_number": "Number of the IP protocol.",
        |event| json!(event.protocol);
    "tcp_flags": "TCP flags seen in the flow, ORed, as a number; null for other protocols.",
        |event| json!((event.protocol == 6).then_some(event.tcp_flags));
    "hook": "`egress` for what leaves; `ingress` for what came in and asks for an answer, where the answer is what was judged, or of an ICMP error the packet that it quotes; `connect` and `sendmsg` for a call that is refused, `sendmsg` for that which sends a datagram to an address.",
        |event| json!(event.hook.name());
    "interface": "The interface that the packet leaves or came in by; null where its name is not known.",
        |event| json!(event.interface.as_deref());
    "interface_index": "Its index.",
        |event| json!(event.ifindex);
    "mark": "Firewall mark of the last packet.",
        |event| json!(event.mark);
    "cgroup": "Path of the sending socket's cgroup below the cgroup v2 root. Null where no socket of this host sent it, and where the cgroup is the root, or was gone before it was looked for.",
        |event| json!(event.cgroup.as_deref());
    "process": "Who connected the sending socket last or sent a datagram by it to an address, else who made it (of an accepted connection, its listener), when the last event was sent: `pid`, `command` (of its thread, at most 15 bytes), `user`, `uid`, `cgroup` and `unit` (the last service, scope or slice on the cgroup's path). Names that are not known are null. All of it is null where no socket of this host sent, for answers in a handshake, and where `sockets` notes nothing.",
        |event| process(event.process.as_ref());
    "people": "`shown` where `cgroup` and `process` have what is known; `hidden` from a reader who lacks the right `people`; `removed` from the flow history after `history.people_age`. Both are null then.",
        |event| json!(event.people.name());
    "volumes": "Paths of the volumes whose data the sending socket may carry, because a carrier sent by it; empty where no pin selects by volumes. A slot of an earlier config is `#` and its number.",
        |event| json!(event.volumes.iter().map(|path| &**path).collect::<Vec<_>>());
    "packets": "Packets since the last event of the flow, GSO segments counted as one; of a call, how often it was refused.",
        |event| json!(event.packets);
    "bytes": "Bytes on the wire since the last event of the flow.",
        |event| json!(event.bytes);
    "flow_packets": "Packets since `flow_start`.",
        |event| json!(event.flow_packets);
    "flow_bytes": "Bytes on the wire since `flow_start`.",
        |event| json!(event.flow_bytes);
    "flow_start": "When the flow's record began, RFC 3339.",
        |event| json!(event.flow_start.to_string());
    "exemption": "Id of the exemption that the flow passes by; its number in the kernel's tables, as `#3`, where that is not known any more, as after an older store; null for any other.",
        |event| json!(event.exemption.as_deref());
    "generation": "The generation that judged the last packet.",
        |event| json!(event.generation);
    "policy": "SHA-256 of the config that made it, as `sha256sum` prints it; null where that is not known any more.",
        |event| json!(event.policy.as_deref());
    "community_id": "Community ID of the flow (version 1, seed 0), as other network tools compute it; null where it has none.",
        |event| json!(event.community_id.as_deref());
}

/// Keys of an event that a flow record does not have: it is no event, and its amounts are those since it began.
const OF_EVENTS_ALONE: [&str; 7] = ["id", "phase", "action", "packets", "bytes", "tunnel", "tunnel_source"];

/// Every key of the JSON object of a flow record, in the order in which they are written: what it is, whether it is in a tunnel,
/// and what [`FIELDS`] has but for keys of events alone.
pub fn flow_fields() -> impl Iterator<Item = &'static Field<Event>> {
    let shared = FIELDS.iter().filter(|field| field.name != "kind" && !OF_EVENTS_ALONE.contains(&field.name));
    FLOW.iter().chain(shared)
}

fields! {
    /// What a flow record has that an event has otherwise.
    FLOW of Event;
    "kind": "`flow`: what the kernel keeps of a flow under one verdict, whatever that is.",
        |_| json!("flow");
    "is_tunnelled": "Whether the flow is in a tunnel. Where that goes is in events alone.",
        |event| json!(event.is_tunnelled);
}

fields! {
    /// Every key of the JSON object of a carrier that wrote elsewhere, in the order in which they are written.
    PINNED_COPY of PinnedCopy;
    "kind": "`pinned-copy`: a process that carries data of volumes wrote to a file off them.",
        |_| json!("pinned-copy");
    "time": "When it did so first, RFC 3339 in UTC with nanoseconds.",
        |copy| json!(copy.time.to_string());
    "severity": "`low` where the data is followed into the file, else `medium`.",
        |copy| json!(copy.severity().name());
    "id": "Number of the event, as of the others: both are numbered together.",
        |copy| json!(copy.sequence);
    "volumes": "Paths of the volumes whose data the process carries, but for those that the file is on.",
        |copy| json!(copy.volumes.iter().map(|path| &**path).collect::<Vec<_>>());
    "followed": "Those of them whose data is followed: who reads the file is a carrier too. Empty with `copies = false`.",
        |copy| json!(copy.followed.iter().map(|path| &**path).collect::<Vec<_>>());
    "file": "Path of the file below the root of its file system, not of the host: the last 8 names, of 63 bytes at most; it begins with `...` where there may be more folders.",
        |copy| json!(copy.file);
    "device": "Device of its file system, as `major:minor`, as /proc/self/mountinfo has it.",
        |copy| json!(copy.device);
    "inode": "Number of its inode.",
        |copy| json!(copy.inode);
    "process": "Who wrote, as of the others.",
        |copy| process(copy.process.as_ref());
    "people": "As of the others.",
        |copy| json!(copy.people.name());
}

fields! {
    /// Every key of a summary's JSON object, in the order in which they are written.
    SUMMARY of Summary;
    "kind": "`summary`: events above the log's budget, summed up.",
        |_| json!("summary");
    "time": "The latest of the events' times, RFC 3339 in UTC.",
        |summary| json!(summary.last.to_string());
    "phase": "`resumed` where the events are of that phase: their amounts count from their flows' begin. Null else.",
        |summary| json!(summary.is_resumed.then(|| Phase::Resumed.name()));
    "pin": "The pin of the rule that decided, else the first that forbids; null where no pin is known.",
        |summary| json!(summary.pin.as_deref());
    "source": "Address of the pinned storage's end; null for calls, where no address could be read, and for the rest.",
        |summary| json!(summary.group.and_then(|group| group.source).map(|ip| ip.to_string()));
    "jurisdiction": "Where the destinations are; null for the rest.",
        |summary| json!(summary.group.map(|group| group.jurisdiction.as_str().to_owned()));
    "is_rest": "Whether this is what more sources and jurisdictions there were than have a line of their own, together.",
        |summary| json!(summary.group.is_none());
    "hook": "The hook that judged them.",
        |summary| json!(summary.hook.name());
    "verdict": "The events' verdict.",
        |summary| json!(summary.verdict.name());
    "reason": "The events' reason.",
        |summary| json!(summary.reason.name());
    "meaning": "The reason in one sentence.",
        |summary| json!(summary.reason.meaning());
    "severity": "As of an event of this verdict and reason.",
        |summary| json!(Severity::of(summary.verdict, summary.reason).name());
    "generation": "The generation that judged the last of them.",
        |summary| json!(summary.generation);
    "events": "How many events it stands for. They have no line of their own.",
        |summary| json!(summary.events);
    "flows": "How many of these were the first of a flow under the verdict (phase `new` or `resumed`).",
        |summary| json!(summary.flows);
    "packets": "Sum of the events' `packets`.",
        |summary| json!(summary.packets);
    "bytes": "Sum of the events' `bytes`.",
        |summary| json!(summary.bytes);
    "first": "The earliest of the events' times, RFC 3339 in UTC.",
        |summary| json!(summary.first.to_string());
    "last": "The latest of the events' times.",
        |summary| json!(summary.last.to_string());
    "peers": "Of the first 64 peers the 5 with the most packets: `ip`, `events`, `packets` and `bytes` of each.",
        |summary| peers(summary);
    "peers_known": "How many peers were told apart, 64 at most.",
        |summary| json!(summary.peers.counts().0);
    "events_of_others": "How many events were of other peers than these.",
        |summary| json!(summary.peers.counts().1);
}

fields! {
    /// Every key of the JSON object that says that something was lost, in the order in which they are written.
    LOST of Lost;
    "kind": "`lost`: something was lost on the way to the log, or of it.",
        |_| json!("lost");
    "time": "When that was noticed, RFC 3339 in UTC.",
        |lost| json!(lost.time.to_string());
    "what": "What was lost, see [above](#what-was-lost).",
        |lost| json!(lost.what.name());
    "count": "How many since the last line about the same.",
        |lost| json!(lost.count);
}

fields! {
    /// Every key of the JSON object that says what no line has, in the order in which they are written.
    DIFFERENCE of Difference;
    "kind": "`difference`: what the kernel has counted of one hook, verdict and reason, and no line before it has.",
        |_| json!("difference");
    "time": "When it was seen, RFC 3339 in UTC.",
        |it| json!(it.time.to_string());
    "hook": "The hook.",
        |it| json!(it.hook.name());
    "verdict": "The verdict.",
        |it| json!(it.verdict.name());
    "reason": "The reason's name.",
        |it| json!(it.reason.name());
    "meaning": "The reason in one sentence.",
        |it| json!(it.reason.meaning());
    "severity": "As of an event of this verdict and reason.",
        |it| json!(Severity::of(it.verdict, it.reason).name());
    "packets": "Packets, GSO segments counted as one; below zero where lines have told more than there were.",
        |it| json!(it.packets);
    "bytes": "Their bytes on the wire, likewise.",
        |it| json!(it.bytes);
}

fields! {
    /// Every key of the JSON object of a canary, in the order in which they are written.
    CANARY of Canary;
    "kind": "`canary`: a frame of the daemon's own was judged, which a pin is to forbid. It did not leave, and no count and no other line has it.",
        |_| json!("canary");
    "time": "When it was judged, RFC 3339 in UTC with nanoseconds.",
        |it| json!(it.event.time.to_string());
    "canary": "Its number, 16 hexadecimal digits: `borderguard canary confirm` takes it.",
        |it| json!(it.name());
    "pin": "The pin that it was sent for; null where another daemon sent it.",
        |it| json!(it.pin.as_deref());
    "interface": "The interface that it would have left by.",
        |it| json!(it.event.interface.as_deref());
    "verdict": "The verdict, without exemptions.",
        |it| json!(it.event.verdict.name());
    "reason": "The reason's name.",
        |it| json!(it.event.reason.name());
    "meaning": "The reason in one sentence.",
        |it| json!(it.event.reason.meaning());
    "pins": "Names of the pins that forbid it.",
        |it| json!(it.event.pins.iter().map(|pin| &**pin).collect::<Vec<_>>());
    "jurisdiction": "Where its destination is.",
        |it| json!(it.event.jurisdiction.as_str());
    "source": "Where it seemed to come from, `ip` and `port`.",
        |it| endpoint(it.event.source);
    "destination": "The documentation address that it was for, likewise.",
        |it| endpoint(it.event.destination);
    "protocol": "Its protocol.",
        |it| json!(protocol(it.event.protocol));
    "generation": "The generation that judged it.",
        |it| json!(it.event.generation);
    "policy": "SHA-256 of the config that made it; null where that is not known any more.",
        |it| json!(it.event.policy.as_deref());
}

fields! {
    /// Every key of the JSON object that begins a run, in the order in which they are written.
    START of Start;
    "kind": "`start`: the first line of a run of the daemon.",
        |_| json!("start");
    "time": "When it was made, RFC 3339 in UTC: with the first event, or once a generation was published.",
        |start| json!(start.time.to_string());
    "generation": "The newest generation by then; null where there was none.",
        |start| json!(start.generation);
    "policy": "SHA-256 of the config that made it; null where that is not known.",
        |start| json!(start.policy.as_deref());
    "predecessor": "The last line that the run before has written: its `session` and `sequence`; null where none is known.",
        |start| json!(start.predecessor);
}

fields! {
    /// Every key of the JSON object that ends a run, in the order in which they are written.
    END of End;
    "kind": "`end`: the last line of a run that ended in order.",
        |_| json!("end");
    "time": "When it was made, RFC 3339 in UTC.",
        |end| json!(end.time.to_string());
}

fields! {
    /// The keys that every line has besides its own, in the order in which they are written.
    EVERY of Envelope;
    "host": "Name of the host.",
        |envelope| json!(&*envelope.host);
    "session": "When the daemon started, RFC 3339: one run of it is one stream of lines.",
        |envelope| json!(envelope.session.to_string());
    "sequence": "Number of the line in its stream, from 1 and without a gap; null in `borderguard events`.",
        |envelope| json!(envelope.sequence);
    "version": "Version of the program.",
        |_| json!(VERSION);
    "schema": "Version of the lines' form, a number. It rises when a key changes its meaning or goes.",
        |_| json!(SCHEMA);
}

fn endpoint(endpoint: Option<Endpoint>) -> Value {
    endpoint.map_or(Value::Null, |end| json!({ "ip": end.ip.to_string(), "port": end.port }))
}

/// The peers of a sum that are named.
pub(super) fn peers(summary: &Summary) -> Value {
    let peer = |(ip, Amount { events, packets, bytes }): (IpAddr, Amount)| json!({ "ip": ip.to_string(), "events": events, "packets": packets, "bytes": bytes });
    summary.peers.top().into_iter().map(peer).collect()
}

/// What a sum says that neither OCSF nor ECS has a key for.
pub(super) fn own_of_summary(summary: &Summary) -> Value {
    let (named, others) = summary.peers.counts();
    json!({
        "hook": summary.hook.name(),
        "verdict": summary.verdict.name(),
        "jurisdiction": summary.group.map(|group| group.jurisdiction.as_str().to_owned()),
        "is_rest": summary.group.is_none(),
        "generation": summary.generation,
        "events": summary.events,
        "flows": summary.flows,
        "peers": peers(summary),
        "peers_known": named,
        "events_of_others": others,
    })
}

/// What a canary says that neither OCSF nor ECS has a key for.
pub(super) fn own_of_canary(canary: &Canary) -> Value {
    let of = |end: Option<Endpoint>| end.map(|end| json!({ "ip": end.ip.to_string(), "port": end.port }));
    json!({
        "canary": canary.name(),
        "pin": canary.pin.as_deref(),
        "interface": canary.event.interface.as_deref(),
        "verdict": canary.event.verdict.name(),
        "pins": canary.event.pins.iter().map(|pin| &**pin).collect::<Vec<_>>(),
        "jurisdiction": canary.event.jurisdiction.as_str(),
        "source": of(canary.event.source),
        "destination": of(canary.event.destination),
        "protocol": protocol(canary.event.protocol),
        "generation": canary.event.generation,
        "policy": canary.event.policy.as_deref(),
    })
}

fn process(process: Option<&Process>) -> Value {
    process.map_or(Value::Null, |process| {
        json!({
            "pid": process.pid, "command": &*process.command, "uid": process.uid, "user": process.user.as_deref(),
            "cgroup": process.cgroup.as_deref(), "unit": process.unit(),
        })
    })
}

impl PinnedCopy {
    /// The event as one JSON object in one line, without a line break; see [`PINNED_COPY`].
    #[must_use]
    pub fn to_json(&self, envelope: &Envelope) -> String {
        object(PINNED_COPY, self, envelope)
    }
}

impl Event {
    /// The event as one JSON object in one line, without a line break; see [`FIELDS`].
    #[must_use]
    pub fn to_json(&self, envelope: &Envelope) -> String {
        object(FIELDS, self, envelope)
    }

    /// The flow record that this was made of as one JSON object in one line, without a line break; see [`flow_fields`].
    #[must_use]
    pub fn to_flow_json(&self, envelope: &Envelope) -> String {
        of_fields(flow_fields(), self, envelope)
    }
}

/// What the table says as one JSON object, and after it what every line says.
pub(super) fn object<T>(table: &[Field<T>], value: &T, envelope: &Envelope) -> String {
    of_fields(table.iter(), value, envelope)
}

fn of_fields<'a, T: 'static>(
    fields: impl Iterator<Item = &'a Field<T>>,
    value: &T,
    envelope: &Envelope,
) -> String {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    let written = (&mut serializer).serialize_map(None).and_then(|mut map| {
        for field in fields {
            map.serialize_entry(field.name, &(field.value)(value))?;
        }
        for field in EVERY {
            map.serialize_entry(field.name, &(field.value)(envelope))?;
        }
        map.end()
    });
    match written {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        // Keys are strings and memory takes every byte, so this has no case that is known.
        Err(error) => json!({ "error": error.to_string() }).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use guard_common::verdict::Reason;

    use super::super::tests::{dropped, envelope};
    use super::*;

    #[test]
    fn the_docs_have_every_field_with_its_meaning() {
        fn rows<T>(table: &[Field<T>]) -> Vec<String> {
            table.iter().map(|field| format!("| `{}` | {} |", field.name, field.meaning)).collect()
        }
        let docs = include_str!("../../../docs/logs.md");
        let tables = docs.split("<!-- fields: begin -->").skip(1).map(|text| {
            let table = text.split("<!-- fields: end -->").next().unwrap();
            table.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
        });
        let shown: Vec<Vec<String>> = tables.collect();
        let own = [
            rows(FIELDS),
            rows(PINNED_COPY),
            rows(SUMMARY),
            rows(LOST),
            rows(DIFFERENCE),
            rows(UNTAGGED),
            rows(CANARY),
            rows(START),
            rows(END),
        ];
        assert_eq!(shown, [&[rows(EVERY)][..], &own].concat());
    }

    #[test]
    fn the_docs_have_every_reason_with_its_meaning() {
        let docs = include_str!("../../../docs/reasons.md");
        let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
        let line = |reason: &Reason| format!("| `{}` | {} |", reason.name(), reason.meaning());
        assert_eq!(rows, Reason::ALL.iter().map(line).collect::<Vec<_>>());
    }

    #[test]
    fn an_event_is_one_line_with_every_field_in_order() {
        let line = dropped().to_json(&envelope());
        assert!(!line.contains('\n'));
        let expected = r#"{"kind":"event","time":"2026-11-23T12:00:01.5Z","id":7,"phase":"new","action":"dropped","verdict":"drop","reason":"forbidden","meaning":"A pin forbids the destination's jurisdiction and no exemption covers it.","severity":"medium","pins":["mail"],"tagged":["mail","all"],"rule":{"file":"/etc/borderguard/policy.toml","line":12,"pin":"mail"},"jurisdiction":"US","placed_by":"site","source":{"ip":"192.0.2.10","port":143},"destination":{"ip":"198.51.100.7","port":40000},"tunnel":null,"tunnel_source":null,"protocol":"tcp","protocol_number":6,"tcp_flags":18,"hook":"egress","interface":"eth0","interface_index":2,"mark":0,"cgroup":null,"process":{"cgroup":"system.slice/dovecot.service","command":"imap","pid":4711,"uid":97,"unit":"dovecot.service","user":"dovecot"},"people":"shown","volumes":["/srv/mail-ie"],"packets":1,"bytes":60,"flow_packets":1,"flow_bytes":60,"flow_start":"2026-11-23T12:00:01.5Z","exemption":null,"generation":3,"policy":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","community_id":"1:sY8xnBAsvMxb5gMY9zEP53B9M4E=","host":"store","session":"2026-11-23T11:00:00Z","sequence":41,"version":"VERSION","schema":1}"#;
        assert_eq!(line, expected.replace("VERSION", VERSION));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let event =
            Event { source: None, destination: None, rule: None, protocol: 200, process: None, ..dropped() };
        let object: Value = serde_json::from_str(&event.to_json(&envelope())).unwrap();
        for key in ["source", "destination", "rule", "tcp_flags", "process"] {
            assert_eq!(object[key], Value::Null, "{key}");
        }
        assert_eq!(object["protocol"], "200");
    }
}
