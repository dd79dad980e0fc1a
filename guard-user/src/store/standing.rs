//! The orders that stand, in memory and in their rows.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::entry::Entry;
use super::error::Problem;
use super::key::Key;
use crate::exemption::order::FORMAT;
use crate::exemption::record::Status;
use crate::exemption::{StandingOrder, Target};
use crate::text::visible;

/// The reference of an order whose row can't be read. It covers everything.
const UNREADABLE: &str = "an order that can't be read";

/// An order in memory.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) order: StandingOrder,
    /// It stands here, and the disk did not take that.
    pub(super) unsaved: bool,
}

/// Orders by the keys of their rows.
pub(super) type Orders = BTreeMap<String, Standing>;

/// The order in a row. One that can't be read covers everything, and is a problem.
pub(super) fn read(row: &str, bytes: &[u8]) -> (StandingOrder, Option<Problem>) {
    let read = serde_json::from_slice::<StandingOrder>(bytes).map_err(|error| error.to_string());
    let read = read.and_then(|order| match order.format {
        FORMAT => Ok(order),
        other => Err(format!("its format is {other}, and this version reads {FORMAT}")),
    });
    match read {
        Ok(order) => (order, None),
        Err(reason) => {
            let order = StandingOrder::new(&Target::All, UNREADABLE, (Timestamp::UNIX_EPOCH, 0));
            // The name in it is quoted and escaped already.
            let place = format!("the order {}", visible(row));
            let reason = format!(
                "it can't be read: {reason}; until it is lifted nothing is resumed or loaded: `borderguard exemption \
                 resume --all --order \"{UNREADABLE}\"`"
            );
            (order, Some(Problem { place, reason }))
        }
    }
}

/// Adds the orders of stayed exemptions that no row has: an earlier version kept them with the exemption alone.
pub(super) fn add_those_of_records(orders: &mut Orders, entries: &BTreeMap<Key, Entry>) {
    for (key, entry) in entries {
        let Status::Stayed { at, order, by } = &entry.record.status else { continue };
        if !orders.values().any(|it| covers(&it.order.covers, key, entry)) {
            let order = StandingOrder::new(&Target::Id(key.0.clone()), order, (*at, *by));
            orders.insert(order.row(), Standing { order, unsaved: false });
        }
    }
}

/// Whether this means an exemption. Of one whose document can't be read nothing but its id is known; it is closed.
pub(super) fn covers(target: &Target, (id, _): &Key, entry: &Entry) -> bool {
    match (target, &entry.document) {
        (Target::Id(its), _) => its == id,
        (Target::Key(_), None) => entry.record.approvals.iter().any(|it| it.fingerprint == target.name()),
        (target, Some(document)) => target.covers(document, &entry.record.approvals),
        (target, None) => *target == Target::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_can_t_be_read_is_named_as_it_is_and_what_nobody_sees_escaped_once() {
        let target = Target::Recipient("a \"b\" \\ \u{1b}".to_owned());
        let row = StandingOrder::new(&target, "order \u{202e}7", (Timestamp::UNIX_EPOCH, 0)).row();
        let place = read(&row, b"nothing of the kind").1.map(|problem| problem.place);
        let expected = r#"the order stay recipient "a \"b\" \\ \u001b" order \u{202e}7"#;
        assert_eq!(place.as_deref(), Some(expected));
    }
}
