//! What `policy diff` found, as JSON.

use guard_common::abi::Hook;
use serde_json::{Value, json};

use super::side::Side;
use crate::openings::{Cidrs, Destinations, Moved, Opening, Openings, Packets};

/// Both sides compared.
pub(super) fn compared(sides: [&Side; 2], opens: &Openings, closes: &Openings) -> Value {
    let side = |side: &Side| {
        json!({
            "file": side.file.to_string_lossy(),
            "database": side.geo.info.source,
            "generated": side.geo.info.generated.map(|made| made.to_string()),
        })
    };
    json!({
        "old": side(sides[0]),
        "new": side(sides[1]),
        "opens": !opens.is_empty(),
        "openings": found(opens),
        "closings": found(closes),
    })
}

fn found(found: &Openings) -> Value {
    let changes = found
        .changes
        .iter()
        .map(|it| json!({ "key": it.key, "was": it.was, "is": it.is, "opens": it.opens }));
    json!({
        "flows": found.flows.iter().map(flow).collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
    })
}

fn flow(flow: &Opening) -> Value {
    let packets = match flow.packets {
        Packets::Any => "any",
        Packets::Unreadable => "unreadable",
        Packets::Layered => "layered",
    };
    let hooks = flow.hooks.iter().map(|(hook, was, is)| {
        let hook = if *hook == Hook::Ingress { "ingress" } else { "egress" };
        json!({ "hook": hook, "was": was.name(), "is": is.name() })
    });
    let changes = flow
        .changes
        .iter()
        .map(|it| json!({ "key": it.key, "was": it.was, "is": it.is, "values": it.values }));
    json!({
        "pin": flow.pin,
        "packets": packets,
        "hooks": hooks.collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
        "to": flow.to.as_ref().map(|to| to.iter().map(destinations).collect::<Vec<_>>()),
    })
}

/// Addresses are told as text where they are more than a double holds.
fn destinations(to: &Destinations) -> Value {
    let moved = match to.moved {
        Moved::No => None,
        Moved::Database => Some("database"),
        Moved::Sites => Some("sites"),
        Moved::Nat64 => Some("nat64"),
    };
    let runs = |runs: &[Cidrs]| -> Vec<Value> {
        let run = |run: &Cidrs| json!({ "first": run.first.to_string(), "last": run.last.to_string() });
        runs.iter().map(run).collect()
    };
    json!({
        "from": to.from.to_string(),
        "to": to.to.to_string(),
        "moved_by": moved,
        "ipv4": u64::try_from(to.v4).unwrap_or(u64::MAX),
        "ipv6": to.v6.to_string(),
        "first": runs(&to.first),
        "carriers": runs(&to.carriers),
    })
}
