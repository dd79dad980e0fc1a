//! What each recipient of an exemption got, by day, as reports and receipts have it.

use crate::exemption::Summary;
use crate::report::{DayPresumed, DayUse};
use crate::store;

/// These rows of an exemption with the names of its recipients, in their order; rows whose day can't be read are left out.
pub(super) fn days_of<'r>(summary: &Summary, rows: impl Iterator<Item = &'r store::DayUse>) -> Vec<DayUse> {
    let recipients = summary.recipients.as_slice();
    // What one alone may receive it received.
    let only = (recipients.len() == 1).then_some(0);
    let mut days: Vec<DayUse> = Vec::new();
    for row in rows {
        let Ok(day) = row.day.parse() else { continue };
        let named = row.recipient.or(only).and_then(|at| Some((at, recipients.get(at)?)));
        let used = DayUse {
            day,
            number: named.and_then(|(at, _)| u32::try_from(at + 1).ok()),
            recipient: named.map(|(_, it)| it.name.clone()),
            jurisdiction: named.map(|(_, it)| it.jurisdiction.clone()),
            packets: row.used.packets,
            bytes: row.used.bytes,
        };
        // A day on which an older version of this program guarded for a part has two rows of one recipient.
        match days.last_mut().filter(|last| (last.day, last.number) == (used.day, used.number)) {
            Some(last) => {
                last.packets = last.packets.saturating_add(used.packets);
                last.bytes = last.bytes.saturating_add(used.bytes);
            }
            None => days.push(used),
        }
    }
    days
}

/// What counts as used of an exemption and is not known to have left, by these rows; likewise.
pub(super) fn presumed_of<'r>(rows: impl Iterator<Item = &'r store::DayPresumed>) -> Vec<DayPresumed> {
    rows.filter_map(|row| Some(DayPresumed { day: row.day.parse().ok()?, bytes: row.bytes })).collect()
}
