//! Sets of pins and of failsafe rules, as the tables have them.

/// The items whose bits are set.
pub(super) fn in_set<T>(items: &[T], set: u64) -> impl Iterator<Item = &T> {
    items.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1).map(|(_, item)| item)
}
