//! The keys of egress that no pin tags.

use serde_json::{Value, json};

use super::super::event::protocol;
use super::super::untagged::Untagged;
use super::{Field, process};

fields! {
    /// Every key of the JSON object of egress that no pin tags, in the order in which they are written.
    UNTAGGED of Untagged;
    "kind": "`untagged`: egress that no pin tags, to one peer's service or of one service of this host, in a stretch of time. The [flow history](history.md#egress-that-no-pin-tags) alone has such lines, the log has none.",
        |_| json!("untagged");
    "time": "The end of that time, RFC 3339 in UTC.",
        |it| json!(it.last.to_string());
    "first": "Its begin; null where nothing is known of it but that the kernel's counters had begun.",
        |it| json!(it.first.map(|it| it.to_string()));
    "verdict": "`pass`.",
        |_| json!(Untagged::VERDICT.name());
    "reason": "`untagged`.",
        |_| json!(Untagged::REASON.name());
    "meaning": "The reason in one sentence.",
        |_| json!(Untagged::REASON.meaning());
    "severity": "As of an event of this verdict and reason.",
        |_| json!(Untagged::severity().name());
    "hook": "`egress`.",
        |_| json!(Untagged::HOOK.name());
    "is_rest": "Whether this is what else went to the jurisdiction, of which there is the sum alone; whatever tells flows apart is null then.",
        |it| json!(it.service.is_none());
    "jurisdiction": "Where the peer is, as of an event.",
        |it| json!(it.jurisdiction.as_str());
    "placed_by": "What placed it, likewise.",
        |it| of(it, |it| json!(it.placed_by.name()));
    "peer": "The peer's address: of a packet in a tunnel, the tunnel's.",
        |it| of(it, |it| json!(it.peer.to_string()));
    "protocol": "Name of the IP protocol; its number as a string where it has no common name.",
        |it| of(it, |it| json!(protocol(it.protocol)));
    "protocol_number": "Number of the IP protocol.",
        |it| of(it, |it| json!(it.protocol));
    "side": "`local` where this host serves, `remote` where the peer does, `none` where no port can be read. Who serves is taken to be the end with the lower port.",
        |it| of(it, |it| json!(it.side.name()));
    "port": "The port of the end that serves.",
        |it| of(it, |it| json!(it.port));
    "interface": "The interface that it left by; null where its name is not known.",
        |it| of(it, |it| json!(it.interface.as_deref()));
    "interface_index": "Its index.",
        |it| of(it, |it| json!(it.ifindex));
    "cgroup": "Path of the sending socket's cgroup, as of an event.",
        |it| json!(it.cgroup.as_deref());
    "process": "Who used or made the socket of the first packet, as of an event.",
        |it| process(it.process.as_ref());
    "people": "As of an event.",
        |it| json!(it.people.name());
    "packets": "Packets of that time, GSO segments counted as one.",
        |it| json!(it.packets);
    "bytes": "Their bytes on the wire.",
        |it| json!(it.bytes);
    "policy": "SHA-256 of the config in force; null where it was not the same for the whole time.",
        |it| json!(it.policy.as_deref());
}

/// What a sum of a service says; null of the rest.
fn of(untagged: &Untagged, value: fn(&super::super::untagged::Service) -> Value) -> Value {
    untagged.service.as_ref().map_or(Value::Null, value)
}
