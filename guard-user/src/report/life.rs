//! The part of an exemption's history in which it may have been open.

use std::ops::Range;

use super::model::Change;
use crate::audit::Kind;

/// What closes one for good.
const CLOSING: [Kind; 6] =
    [Kind::Revoke, Kind::Invalidate, Kind::RevokeKey, Kind::Supersede, Kind::Expire, Kind::Exhaust];

/// Where it begins and ends in a history, which is in the order of the trail: from the load, where there is one, to what first
/// closed it. What stands before and behind that are falls and restorations of its instrument, lifts of what held it to its end,
/// and what was kept with it later.
pub(super) fn of(changes: &[Change]) -> Range<usize> {
    let loaded = changes.iter().position(|it| it.what == Kind::Load.name()).unwrap_or_default();
    let closing = |it: &Change| CLOSING.iter().any(|kind| kind.name() == it.what);
    let closed = changes.iter().skip(loaded).position(closing);
    loaded..closed.map_or(changes.len(), |at| loaded + at + 1)
}

/// What first closed it; `None` where nothing has.
pub(super) fn end(changes: &[Change]) -> Option<&Change> {
    let last = changes.get(of(changes))?.last()?;
    CLOSING.iter().any(|kind| kind.name() == last.what).then_some(last)
}
