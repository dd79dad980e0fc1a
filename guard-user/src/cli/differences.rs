//! What differs between what is in force and a candidate, as `simulate` and `shadow` tell it.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::table::{self, numbers, words};
use crate::report::number::{bytes, grouped};
use crate::simulate::{Amount, Group, Kind, Sums, UNGUARDED};

/// Groups of one kind that text shows; JSON has all.
const SHOWN: usize = 20;

/// All that differs, a JSON object for each group.
pub(super) fn changes(sums: &Sums) -> Vec<Value> {
    let groups = sums.groups.iter().map(|(group, amount)| {
        let mut object = json!(group);
        if let (Value::Object(object), Value::Object(amount)) = (&mut object, json!(amount)) {
            object.extend(amount);
        }
        object
    });
    groups.collect()
}

/// Writes what differs in one way, which is so much altogether.
pub(super) fn write_kind(kind: Kind, total: Amount, sums: &Sums, out: &mut impl Write) -> io::Result<()> {
    if total == Amount::default() {
        return writeln!(out, "{}: nothing", kind.title());
    }
    writeln!(out, "{}: {}", kind.title(), amount(total))?;
    let mut groups: Vec<(&Group, &Amount)> =
        sums.groups.iter().filter(|(group, _)| group.kind == kind).collect();
    groups.sort_by_key(|(_, amount)| std::cmp::Reverse(amount.bytes));
    let rows: Vec<[String; 8]> =
        groups.iter().take(SHOWN).map(|(group, amount)| row(group, amount)).collect();
    let columns = [
        words("pin"),
        words("peer"),
        words("in"),
        numbers("flows"),
        numbers("packets"),
        numbers("bytes"),
        words("process"),
        words("how"),
    ];
    table::write(out, columns, &rows)?;
    match groups.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  and {} more (--json has all)", grouped(more as u64)),
    }
}

/// An amount in words.
pub(super) fn amount(amount: Amount) -> String {
    let Amount { flows, packets, bytes: count } = amount;
    let of = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{} {many}", grouped(count)),
    };
    let counted = format!("{}, {}", of(packets, "packet", "packets"), bytes(count));
    match flows {
        // Of a sum that tells no flows apart.
        0 if packets > 0 => counted,
        _ => format!("{}, {counted}", of(flows, "flow", "flows")),
    }
}

fn row(group: &Group, amount: &Amount) -> [String; 8] {
    let (now, then) = (&group.now, &group.then);
    let place = |place: Option<&'static str>| place.unwrap_or("?");
    let was = place(now.jurisdiction);
    // Who is judged by nothing is placed by nothing.
    let is = if then.reason == UNGUARDED { was } else { place(then.jurisdiction) };
    let by = |verdict: &crate::simulate::sums::Verdict| match &verdict.exemption {
        Some(id) => format!("{} {} by {id}", verdict.verdict, verdict.reason),
        None => format!("{} {}", verdict.verdict, verdict.reason),
    };
    [
        group.pins.join(" "),
        group.peer.to_string(),
        if was == is { is.to_owned() } else { format!("{was}, then {is}") },
        grouped(amount.flows),
        grouped(amount.packets),
        bytes(amount.bytes),
        group.process.clone(),
        format!("{}: {}, then {}", group.hook, by(now), by(then)),
    ]
}
