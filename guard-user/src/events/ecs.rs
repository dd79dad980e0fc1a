//! Lines as the Elastic Common Schema 9.4 has them (<https://www.elastic.co/docs/reference/ecs>).
//!
//! What has no field there is under `BorderGuard`, by the names of flat JSON ([`super::fields`]): the schema leaves names that
//! begin with a capital to those who use it.

use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::canary::Canary;
use super::difference::Difference;
use super::envelope::{Envelope, PRODUCT, SCHEMA, VERSION};
use super::event::{Endpoint, Event, Process, protocol};
use super::fields;
use super::lost::Lost;
use super::pinned_copy::PinnedCopy;
use super::run::{End, Start};
use super::severity::Severity;
use super::summary::Summary;
use super::untagged::Untagged;
use super::without_nulls::without_nulls;

/// The schema's version.
pub const VERSION_OF_SCHEMA: &str = "9.4.0";

/// What every line has.
fn base(kind: &str, (time, severity): (Timestamp, Severity), envelope: &Envelope) -> Value {
    json!({
        "@timestamp": time.to_string(),
        "ecs": { "version": VERSION_OF_SCHEMA },
        "event": {
            "module": "borderguard",
            "provider": "borderguard",
            "dataset": format!("borderguard.{kind}"),
            "code": kind,
            "severity": severity.number(),
            "sequence": envelope.sequence,
        },
        "log": { "level": severity.name() },
        "host": { "hostname": &*envelope.host, "name": &*envelope.host },
        "observer": {
            "hostname": &*envelope.host, "product": PRODUCT, "vendor": PRODUCT, "type": "firewall", "version": VERSION,
        },
        "BorderGuard": { "kind": kind, "schema": SCHEMA, "session": envelope.session.to_string() },
    })
}

/// Adds these keys, objects into those that there are, and takes out what is null.
fn with(mut base: Value, keys: Value) -> Value {
    add(&mut base, keys);
    without_nulls(base)
}

fn add(to: &mut Value, keys: Value) {
    match (to, keys) {
        (Value::Object(to), Value::Object(keys)) => {
            for (key, value) in keys {
                add(to.entry(key).or_insert(Value::Null), value);
            }
        }
        (to, value) => *to = value,
    }
}

/// What was judged so, as keys of `event`.
fn judged(verdict: Verdict, reason: Reason, action: &str) -> Value {
    let is_alert = matches!(verdict, Verdict::Drop | Verdict::Flag);
    let is_denied = verdict == Verdict::Drop;
    json!({
        "kind": if is_alert { "alert" } else { "event" },
        "category": ["network"],
        "type": ["connection", if is_denied { "denied" } else { "allowed" }],
        "outcome": if is_denied { "failure" } else { "success" },
        "action": format!("egress-{action}"),
        "reason": reason.name(),
    })
}

fn country(jurisdiction: &str) -> Value {
    match jurisdiction.len() {
        2 => json!({ "country_iso_code": jurisdiction }),
        _ => Value::Null,
    }
}

fn process(process: &Process) -> Value {
    let user = json!({ "id": process.uid.to_string(), "name": process.user.as_deref() });
    json!({ "pid": process.pid, "name": &*process.command, "user": user })
}

fn names(all: &[std::sync::Arc<str>]) -> Vec<&str> {
    all.iter().map(|it| &**it).collect()
}

/// Of a flow's event.
#[must_use]
pub fn event(event: &Event, envelope: &Envelope) -> Value {
    let base = base("event", (event.time, event.severity()), envelope);
    let end = |end: Option<Endpoint>| {
        end.map(|end| json!({ "ip": end.ip.to_string(), "address": end.ip.to_string(), "port": end.port }))
    };
    let is_ipv6 = event.source.or(event.destination).map(|end| end.ip.is_ipv6());
    let decided = event.rule.as_ref().map(|rule| &rule.pin).or(event.pins.first());
    let interface = event.interface.as_deref().map(|name| json!({ "interface": { "name": name } }));
    let side = if event.hook == guard_common::abi::Hook::Ingress { "ingress" } else { "egress" };
    let keys = json!({
        "message": event.reason.meaning(),
        "event": {
            "id": envelope.uid(event.sequence),
            "start": event.flow_start.to_string(),
            "end": event.time.to_string(),
        },
        "source": end(event.source),
        "destination": end(event.destination),
        "network": {
            "direction": "egress",
            "transport": protocol(event.protocol),
            "iana_number": event.protocol.to_string(),
            "type": is_ipv6.map(|is_ipv6| if is_ipv6 { "ipv6" } else { "ipv4" }),
            "community_id": event.community_id.as_deref(),
            "bytes": event.bytes,
            "packets": event.packets,
        },
        "rule": {
            "id": decided.map(|pin| &**pin),
            "name": decided.map(|pin| &**pin),
            "category": "pin",
            "ruleset": event.rule.as_ref().map(|rule| &*rule.file),
            "version": event.policy.as_deref(),
        },
        "observer": { side: interface },
        "process": event.process.as_ref().map(process),
        "user": event.process.as_ref().map(|it| {
            json!({ "id": it.uid.to_string(), "name": it.user.as_deref() })
        }),
        "service": { "name": event.process.as_ref().and_then(Process::unit) },
        "BorderGuard": {
            "id": event.sequence,
            "phase": event.phase.name(),
            "verdict": event.verdict.name(),
            "pins": names(&event.pins),
            "tagged": names(&event.tagged),
            "rule_line": event.rule.as_ref().map(|rule| rule.line),
            "jurisdiction": event.jurisdiction.as_str(),
            "placed_by": event.placed_by.name(),
            "tunnel": event.tunnel.map(|ip| ip.to_string()),
            "tunnel_source": event.tunnel_source.map(|ip| ip.to_string()),
            "tcp_flags": (event.protocol == 6).then_some(event.tcp_flags),
            "hook": event.hook.name(),
            "interface_index": event.ifindex,
            "mark": event.mark,
            "cgroup": event.cgroup.as_deref(),
            "process_cgroup": event.process.as_ref().and_then(|it| it.cgroup.as_deref()),
            "people": event.people.name(),
            "volumes": names(&event.volumes),
            "flow_packets": event.flow_packets,
            "flow_bytes": event.flow_bytes,
            "exemption": event.exemption.as_deref(),
            "generation": event.generation,
        },
    });
    let mut line = with(base, keys);
    add(&mut line["event"], judged(event.verdict, event.reason, event.action()));
    if event.destination.is_some() {
        add(&mut line["destination"], without_nulls(json!({ "geo": country(event.jurisdiction.as_str()) })));
    }
    line
}

/// What happened to packets that were summed up.
const fn action(verdict: Verdict, reason: Reason) -> &'static str {
    match (verdict, reason) {
        (Verdict::Drop, _) => "dropped",
        (Verdict::Flag, _) => "flagged",
        (Verdict::Observe, _) => "would-drop",
        (Verdict::Pass, Reason::Exempt) => "exempted",
        (Verdict::Pass, _) => "passed",
    }
}

/// Of events that were summed up.
#[must_use]
pub fn summary(summary: &Summary, envelope: &Envelope) -> Value {
    let severity = Severity::of(summary.verdict, summary.reason);
    let base = base("summary", (summary.last, severity), envelope);
    let source = summary.group.and_then(|group| group.source).map(|ip| json!({ "ip": ip.to_string() }));
    let place = summary.group.map(|group| group.jurisdiction.as_str().to_owned());
    let keys = json!({
        "message": format!("{} events that have no line of their own", summary.events),
        "event": { "start": summary.first.to_string(), "end": summary.last.to_string() },
        "source": source,
        "destination": { "geo": place.as_deref().map(country) },
        "network": { "direction": "egress", "bytes": summary.bytes, "packets": summary.packets },
        "rule": { "id": summary.pin.as_deref(), "name": summary.pin.as_deref(), "category": "pin" },
        "BorderGuard": fields::own_of_summary(summary),
    });
    let mut line = with(base, keys);
    add(&mut line["event"], judged(summary.verdict, summary.reason, action(summary.verdict, summary.reason)));
    line
}

/// Of egress that no pin tags.
#[must_use]
pub fn untagged(untagged: &Untagged, envelope: &Envelope) -> Value {
    let base = base("untagged", (untagged.last, Untagged::severity()), envelope);
    let service = untagged.service.as_ref();
    let peer = service.map(|it| it.peer.to_string());
    let interface =
        service.and_then(|it| it.interface.as_deref()).map(|name| json!({ "interface": { "name": name } }));
    let keys = json!({
        "message": Untagged::REASON.meaning(),
        "event": { "start": untagged.first.map(|it| it.to_string()), "end": untagged.last.to_string() },
        "source": { "port": service.and_then(|it| it.own_port()) },
        "destination": {
            "ip": peer, "address": peer, "port": service.and_then(|it| it.peer_port()),
            "geo": country(untagged.jurisdiction.as_str()),
        },
        "network": {
            "direction": "egress",
            "transport": service.map(|it| protocol(it.protocol)),
            "iana_number": service.map(|it| it.protocol.to_string()),
            "type": service.map(|it| if it.peer.is_ipv6() { "ipv6" } else { "ipv4" }),
            "bytes": untagged.bytes,
            "packets": untagged.packets,
        },
        "observer": { "egress": interface },
        "process": untagged.process.as_ref().map(process),
        "user": untagged.process.as_ref().map(|it| {
            json!({ "id": it.uid.to_string(), "name": it.user.as_deref() })
        }),
        "service": { "name": untagged.process.as_ref().and_then(Process::unit) },
        "BorderGuard": untagged.own(),
    });
    let mut line = with(base, keys);
    add(&mut line["event"], judged(Untagged::VERDICT, Untagged::REASON, "passed"));
    line
}

/// Of a carrier that wrote elsewhere.
#[must_use]
pub fn copy(copy: &PinnedCopy, envelope: &Envelope) -> Value {
    let base = base("pinned-copy", (copy.time, copy.severity()), envelope);
    let name = copy.file.rsplit('/').next().filter(|name| !name.is_empty());
    let keys = json!({
        "message": "A process that carries data of volumes wrote to a file off them.",
        "event": {
            "id": envelope.uid(copy.sequence), "kind": "event", "category": ["file"], "type": ["change"],
            "action": "pinned-copy", "outcome": "success",
        },
        "file": { "path": copy.file, "name": name, "inode": copy.inode.to_string(), "type": "file" },
        "process": copy.process.as_ref().map(process),
        "service": { "name": copy.process.as_ref().and_then(Process::unit) },
        "BorderGuard": {
            "id": copy.sequence,
            "volumes": names(&copy.volumes),
            "followed": names(&copy.followed),
            "device": copy.device,
            "process_cgroup": copy.process.as_ref().and_then(|it| it.cgroup.as_deref()),
            "people": copy.people.name(),
        },
    });
    with(base, keys)
}

/// Of something that was lost.
#[must_use]
pub fn lost(lost: &Lost, envelope: &Envelope) -> Value {
    let keys = json!({
        "message": format!("{} {}; counters have every packet.", lost.count, lost.what.fate()),
        "event": { "kind": "pipeline_error", "action": format!("{}-lost", lost.what.name()), "outcome": "failure" },
        "BorderGuard": { "what": lost.what.name(), "count": lost.count },
    });
    with(base("lost", (lost.time, Severity::High), envelope), keys)
}

/// Of what no line has.
#[must_use]
pub fn difference(difference: &Difference, envelope: &Envelope) -> Value {
    let Difference { time, hook, verdict, reason, packets, bytes } = *difference;
    let keys = json!({
        "message": "The kernel has counted these beside what this log's lines add up to.",
        "network": { "direction": "egress", "bytes": bytes, "packets": packets },
        "BorderGuard": { "hook": hook.name(), "verdict": verdict.name() },
    });
    let mut line = with(base("difference", (time, Severity::of(verdict, reason)), envelope), keys);
    add(&mut line["event"], judged(verdict, reason, action(verdict, reason)));
    line
}

/// Of a canary.
#[must_use]
pub fn canary(canary: &Canary, envelope: &Envelope) -> Value {
    let keys = json!({
        "message": "A frame of the daemon's own was judged, which a pin is to forbid.",
        "event": { "kind": "event", "action": "canary-judged", "reason": canary.event.reason.name() },
        "BorderGuard": fields::own_of_canary(canary),
    });
    with(base("canary", (canary.event.time, Severity::Informational), envelope), keys)
}

/// Of the begin of a run.
#[must_use]
pub fn start(start: &Start, envelope: &Envelope) -> Value {
    let keys = json!({
        "message": "The daemon reports from now on.",
        "event": { "kind": "event", "category": ["process"], "type": ["start"], "action": "daemon-started" },
        "rule": { "version": start.policy.as_deref() },
        "BorderGuard": { "generation": start.generation, "predecessor": start.predecessor },
    });
    with(base("start", (start.time, Severity::Informational), envelope), keys)
}

/// Of the end of a run.
#[must_use]
pub fn end(end: &End, envelope: &Envelope) -> Value {
    let keys = json!({
        "message": "The daemon ends in order; what the kernel has goes on.",
        "event": { "kind": "event", "category": ["process"], "type": ["end"], "action": "daemon-ended" },
    });
    with(base("end", (end.time, Severity::Informational), envelope), keys)
}
