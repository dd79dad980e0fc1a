//! Lines as the Open Cybersecurity Schema Framework 1.8.0 has them (<https://schema.ocsf.io/1.8.0>).
//!
//! Flows and their sums are Network Activity (class 4001), writes of carriers File System Activity (1001), begin and end of
//! a run Application Lifecycle (6002), lost lines and canaries Event Log Activity (1008). What has no field there is under `unmapped`, by
//! the names of flat JSON ([`super::fields`]).

use std::net::IpAddr;

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
pub const VERSION_OF_SCHEMA: &str = "1.8.0";

/// A class of events, and what happened of it.
struct Activity {
    class: u64,
    class_name: &'static str,
    category: u64,
    category_name: &'static str,
    activity: u64,
    activity_name: &'static str,
}

const TRAFFIC: Activity = Activity {
    class: 4001,
    class_name: "Network Activity",
    category: 4,
    category_name: "Network Activity",
    activity: 6,
    activity_name: "Traffic",
};

const UPDATE: Activity = Activity {
    class: 1001,
    class_name: "File System Activity",
    category: 1,
    category_name: "System Activity",
    activity: 3,
    activity_name: "Update",
};

const LOST: Activity = Activity {
    class: 1008,
    class_name: "Event Log Activity",
    category: 1,
    category_name: "System Activity",
    activity: 99,
    activity_name: "Lost",
};

const CANARY: Activity = Activity { activity_name: "Canary", ..LOST };

const START: Activity = Activity {
    class: 6002,
    class_name: "Application Lifecycle",
    category: 6,
    category_name: "Application Activity",
    activity: 3,
    activity_name: "Start",
};

const STOP: Activity = Activity { activity: 4, activity_name: "Stop", ..START };

/// What every line has.
fn base(
    activity: &Activity,
    kind: &str,
    (time, severity): (Timestamp, Severity),
    envelope: &Envelope,
) -> Value {
    json!({
        "class_uid": activity.class,
        "class_name": activity.class_name,
        "category_uid": activity.category,
        "category_name": activity.category_name,
        "activity_id": activity.activity,
        "activity_name": activity.activity_name,
        "type_uid": activity.class * 100 + activity.activity,
        "type_name": format!("{}: {}", activity.class_name, activity.activity_name),
        "time": time.as_millisecond(),
        "severity_id": severity.number(),
        "severity": severity.caption(),
        "metadata": {
            "version": VERSION_OF_SCHEMA,
            "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION },
            "profiles": ["host", "security_control"],
            "log_name": "borderguard",
            "log_version": SCHEMA.to_string(),
            "event_code": kind,
            "correlation_uid": envelope.session.to_string(),
            "sequence": envelope.sequence,
        },
        "device": { "hostname": &*envelope.host, "type_id": 1, "type": "Server" },
        "unmapped": { "kind": kind, "schema": SCHEMA, "session": envelope.session.to_string() },
    })
}

/// Adds these keys, and takes out what is null.
fn with(mut base: Value, keys: Value, unmapped: Value) -> Value {
    add(&mut base, keys);
    add(&mut base["unmapped"], unmapped);
    without_nulls(base)
}

fn add(to: &mut Value, keys: Value) {
    if let (Value::Object(to), Value::Object(keys)) = (to, keys) {
        to.extend(keys);
    }
}

/// What was done, and what became of the packet: `action_id` and `disposition_id` with their names.
const fn done(verdict: Verdict, reason: Reason, is_call: bool) -> [(u8, &'static str); 2] {
    match (verdict, reason) {
        (Verdict::Drop, _) if is_call => [(2, "Denied"), (24, "Rejected")],
        (Verdict::Drop, _) => [(2, "Denied"), (6, "Dropped")],
        (Verdict::Flag, _) => [(3, "Observed"), (19, "Alert")],
        (Verdict::Observe, _) => [(3, "Observed"), (17, "Logged")],
        (Verdict::Pass, Reason::Exempt) => [(1, "Allowed"), (8, "Approved")],
        (Verdict::Pass, _) => [(1, "Allowed"), (1, "Allowed")],
    }
}

/// What was judged so, as keys.
fn judged(verdict: Verdict, reason: Reason, is_call: bool) -> Value {
    let [(action_id, action), (disposition_id, disposition)] = done(verdict, reason, is_call);
    json!({
        "action_id": action_id,
        "action": action,
        "disposition_id": disposition_id,
        "disposition": disposition,
        "is_alert": matches!(verdict, Verdict::Drop | Verdict::Flag),
        "status_code": reason.name(),
        "status_detail": reason.meaning(),
    })
}

fn is_ipv6(ip: IpAddr) -> u8 {
    if ip.is_ipv6() { 6 } else { 4 }
}

/// An ISO 3166-1 code as a place; `None` for a jurisdiction that is none.
fn country(jurisdiction: &str) -> Option<&str> {
    (jurisdiction.len() == 2).then_some(jurisdiction)
}

fn process(process: &Process) -> Value {
    json!({
        "pid": process.pid,
        "name": &*process.command,
        "user": { "uid": process.uid.to_string(), "name": process.user.as_deref() },
    })
}

/// Of a flow's event.
#[must_use]
pub fn event(event: &Event, envelope: &Envelope) -> Value {
    let place = event.jurisdiction.as_str();
    let end = |end: Endpoint| json!({ "ip": end.ip.to_string(), "port": end.port });
    let mut source = event.source.map_or_else(|| json!({ "hostname": &*envelope.host }), end);
    source["interface_name"] = json!(event.interface.as_deref());
    let destination = event.destination.map(|it| {
        let mut destination = end(it);
        let provider = event.placed_by.name();
        destination["location"] =
            country(place).map_or(Value::Null, |code| json!({ "country": code, "provider": provider }));
        destination
    });
    let decided = event.rule.as_ref().map(|rule| &rule.pin).or(event.pins.first());
    let rule = event.rule.as_ref();
    let version = event.source.or(event.destination).map(|end| is_ipv6(end.ip));
    let actor = event.process.as_ref().map(|it| json!({ "process": process(it) }));
    let base = base(&TRAFFIC, "event", (event.time, event.severity()), envelope);
    let mut keys = json!({
        "message": event.reason.meaning(),
        "start_time": event.flow_start.as_millisecond(),
        "end_time": event.time.as_millisecond(),
        "src_endpoint": source,
        "dst_endpoint": destination,
        "connection_info": {
            "direction_id": 2,
            "direction": "Outbound",
            "protocol_num": event.protocol,
            "protocol_name": protocol(event.protocol),
            "protocol_ver_id": version,
            "protocol_ver": version.map(|it| format!("IPv{it}")),
            "community_uid": event.community_id.as_deref(),
            "tcp_flags": (event.protocol == 6).then_some(event.tcp_flags),
        },
        "traffic": {
            "bytes_out": event.bytes, "packets_out": event.packets, "bytes": event.bytes, "packets": event.packets,
        },
        "cumulative_traffic": {
            "bytes_out": event.flow_bytes, "packets_out": event.flow_packets,
            "bytes": event.flow_bytes, "packets": event.flow_packets,
            "start_time": event.flow_start.as_millisecond(),
        },
        "firewall_rule": decided.map(|pin| json!({
            "uid": &**pin, "name": &**pin, "type": "pin", "version": event.policy.as_deref(),
            "match_location": rule.map(|rule| format!("{}:{}", rule.file, rule.line)),
        })),
        "policy": rule.map(|rule| json!({
            "uid": event.policy.as_deref(), "name": &*rule.file, "version": event.generation.to_string(),
            "is_applied": event.verdict == Verdict::Drop,
        })),
        "actor": actor,
    });
    add(&mut keys, judged(event.verdict, event.reason, event.hook.is_of_calls()));
    let names = |all: &[std::sync::Arc<str>]| all.iter().map(|it| it.to_string()).collect::<Vec<_>>();
    let unmapped = json!({
        "id": event.sequence,
        "phase": event.phase.name(),
        "action": event.action(),
        "verdict": event.verdict.name(),
        "pins": names(&event.pins),
        "tagged": names(&event.tagged),
        "jurisdiction": place,
        "placed_by": event.placed_by.name(),
        "tunnel": event.tunnel.map(|ip| ip.to_string()),
        "tunnel_source": event.tunnel_source.map(|ip| ip.to_string()),
        "hook": event.hook.name(),
        "interface_index": event.ifindex,
        "mark": event.mark,
        "cgroup": event.cgroup.as_deref(),
        "process_cgroup": event.process.as_ref().and_then(|it| it.cgroup.as_deref()),
        "people": event.people.name(),
        "unit": event.process.as_ref().and_then(Process::unit),
        "volumes": names(&event.volumes),
        "exemption": event.exemption.as_deref(),
        "generation": event.generation,
    });
    let mut line = with(base, keys, unmapped);
    line["metadata"]["uid"] = json!(envelope.uid(event.sequence));
    line
}

/// Of events that were summed up.
#[must_use]
pub fn summary(summary: &Summary, envelope: &Envelope) -> Value {
    let severity = Severity::of(summary.verdict, summary.reason);
    let group = summary.group;
    let place = group.map(|group| group.jurisdiction.as_str().to_owned());
    let source = group.and_then(|group| group.source);
    let base = base(&TRAFFIC, "summary", (summary.last, severity), envelope);
    let country = place.as_deref().and_then(country).map(|code| json!({ "country": code }));
    let peer = summary.peers.top().first().map(|peer| peer.0.to_string());
    let mut keys = json!({
        "message": format!("{} events that have no line of their own", summary.events),
        "count": summary.events,
        "start_time": summary.first.as_millisecond(),
        "end_time": summary.last.as_millisecond(),
        "src_endpoint": source.map_or_else(
            || json!({ "hostname": &*envelope.host }),
            |ip| json!({ "ip": ip.to_string() }),
        ),
        // The greatest peer alone; all that are known are under `unmapped`.
        "dst_endpoint": peer.map(|ip| json!({ "ip": ip, "location": country })),
        "connection_info": { "direction_id": 2, "direction": "Outbound" },
        "traffic": {
            "bytes_out": summary.bytes, "packets_out": summary.packets,
            "bytes": summary.bytes, "packets": summary.packets,
        },
        "firewall_rule": summary.pin.as_deref().map(|pin| json!({ "uid": pin, "name": pin, "type": "pin" })),
    });
    add(&mut keys, judged(summary.verdict, summary.reason, summary.hook.is_of_calls()));
    with(base, keys, fields::own_of_summary(summary))
}

/// Of egress that no pin tags.
#[must_use]
pub fn untagged(untagged: &Untagged, envelope: &Envelope) -> Value {
    let base = base(&TRAFFIC, "untagged", (untagged.last, Untagged::severity()), envelope);
    let country = country(untagged.jurisdiction.as_str()).map(|code| json!({ "country": code }));
    let service = untagged.service.as_ref();
    let version = service.map(|it| is_ipv6(it.peer));
    let mut keys = json!({
        "message": Untagged::REASON.meaning(),
        "start_time": untagged.first.map(Timestamp::as_millisecond),
        "end_time": untagged.last.as_millisecond(),
        "src_endpoint": {
            "hostname": &*envelope.host,
            "port": service.and_then(|it| it.own_port()),
            "interface_name": service.and_then(|it| it.interface.as_deref()),
        },
        "dst_endpoint": service.map(|it| json!({
            "ip": it.peer.to_string(), "port": it.peer_port(), "location": country,
        })),
        "connection_info": {
            "direction_id": 2,
            "direction": "Outbound",
            "protocol_num": service.map(|it| it.protocol),
            "protocol_name": service.map(|it| protocol(it.protocol)),
            "protocol_ver_id": version,
            "protocol_ver": version.map(|it| format!("IPv{it}")),
        },
        "traffic": {
            "bytes_out": untagged.bytes, "packets_out": untagged.packets,
            "bytes": untagged.bytes, "packets": untagged.packets,
        },
        "actor": untagged.process.as_ref().map(|it| json!({ "process": process(it) })),
    });
    add(&mut keys, judged(Untagged::VERDICT, Untagged::REASON, false));
    let mut own = untagged.own();
    own["unit"] = json!(untagged.process.as_ref().and_then(Process::unit));
    with(base, keys, own)
}

/// Of a carrier that wrote elsewhere.
#[must_use]
pub fn copy(copy: &PinnedCopy, envelope: &Envelope) -> Value {
    let base = base(&UPDATE, "pinned-copy", (copy.time, copy.severity()), envelope);
    let name = copy.file.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/");
    let actor = match &copy.process {
        Some(it) => json!({ "process": process(it) }),
        None => json!({ "app_name": "unknown" }),
    };
    let keys = json!({
        "message": "A process that carries data of volumes wrote to a file off them.",
        "actor": actor,
        "file": { "name": name, "path": copy.file, "type_id": 1, "type": "Regular File", "uid": copy.inode.to_string() },
        "action_id": 3,
        "action": "Observed",
        "disposition_id": 17,
        "disposition": "Logged",
    });
    let unmapped = json!({
        "id": copy.sequence,
        "volumes": copy.volumes.iter().map(|it| &**it).collect::<Vec<_>>(),
        "followed": copy.followed.iter().map(|it| &**it).collect::<Vec<_>>(),
        "device": copy.device,
        "process_cgroup": copy.process.as_ref().and_then(|it| it.cgroup.as_deref()),
        "people": copy.people.name(),
        "unit": copy.process.as_ref().and_then(Process::unit),
    });
    let mut line = with(base, keys, unmapped);
    line["metadata"]["uid"] = json!(envelope.uid(copy.sequence));
    line
}

/// Of something that was lost.
#[must_use]
pub fn lost(lost: &Lost, envelope: &Envelope) -> Value {
    let base = base(&LOST, "lost", (lost.time, Severity::High), envelope);
    let keys = json!({
        "message": format!("{} {}; counters have every packet.", lost.count, lost.what.fate()),
        "log_name": "borderguard",
        "count": lost.count,
    });
    with(base, keys, json!({ "what": lost.what.name(), "count": lost.count }))
}

/// Of what no line has.
#[must_use]
pub fn difference(difference: &Difference, envelope: &Envelope) -> Value {
    let Difference { time, hook, verdict, reason, packets, bytes } = *difference;
    let base = base(&TRAFFIC, "difference", (time, Severity::of(verdict, reason)), envelope);
    let mut keys = json!({
        "message": "The kernel has counted these beside what this log's lines add up to.",
        "src_endpoint": { "hostname": &*envelope.host },
        "connection_info": { "direction_id": 2, "direction": "Outbound" },
        "traffic": { "bytes_out": bytes, "packets_out": packets, "bytes": bytes, "packets": packets },
    });
    add(&mut keys, judged(verdict, reason, hook.is_of_calls()));
    with(base, keys, json!({ "hook": hook.name(), "verdict": verdict.name() }))
}

/// Of a canary.
#[must_use]
pub fn canary(canary: &Canary, envelope: &Envelope) -> Value {
    let base = base(&CANARY, "canary", (canary.event.time, Severity::Informational), envelope);
    let keys = json!({
        "message": "A frame of the daemon's own was judged, which a pin is to forbid.",
        "log_name": "borderguard",
        "status_code": canary.event.reason.name(),
        "status_detail": canary.event.reason.meaning(),
    });
    with(base, keys, fields::own_of_canary(canary))
}

/// Of the begin of a run.
#[must_use]
pub fn start(start: &Start, envelope: &Envelope) -> Value {
    let base = base(&START, "start", (start.time, Severity::Informational), envelope);
    let policy = start
        .policy
        .as_deref()
        .map(|policy| json!({ "uid": policy, "version": start.generation.map(|it| it.to_string()) }));
    let unmapped = json!({ "generation": start.generation, "predecessor": start.predecessor });
    with(
        base,
        json!({ "app": app(), "policy": policy, "message": "The daemon reports from now on." }),
        unmapped,
    )
}

/// Of the end of a run.
#[must_use]
pub fn end(end: &End, envelope: &Envelope) -> Value {
    let base = base(&STOP, "end", (end.time, Severity::Informational), envelope);
    let keys = json!({ "app": app(), "message": "The daemon ends in order; what the kernel has goes on." });
    with(base, keys, json!({}))
}

fn app() -> Value {
    json!({ "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION })
}
