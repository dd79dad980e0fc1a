//! Classes: a key space cut where any rule begins or ends, with the set of rules that hold in each piece.

use std::collections::HashMap;
use std::hash::Hash;

use guard_common::abi::{SmallTable, SmallTable6, port_key};
use ipnetwork::IpNetwork;

use super::CompileError;
use crate::config::policy::PortRange;

/// That pins select more of something than the tables have room for: then every one counts as selected by each pin that
/// selects any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Of what, in the plural.
    pub what: &'static str,
    /// How many are selected.
    pub count: usize,
    /// For how many there is room.
    pub room: usize,
}

/// A range of keys, both ends included.
pub(super) type Range<K> = (K, K);

/// The keys at which something may change: 0, and where each range begins and what follows its end.
pub(super) fn borders<K: Key>(ranges: impl Iterator<Item = Range<K>>) -> Vec<K> {
    let mut borders = vec![K::ZERO];
    for (first, last) in ranges {
        borders.push(first);
        borders.extend(last.next());
    }
    borders.sort_unstable();
    borders.dedup();
    borders
}

/// A key of a table: an IPv4 address or a port as `u32`, an IPv6 address as `u128`, in host order.
pub(super) trait Key: Copy + Ord {
    /// The lowest key.
    const ZERO: Self;
    /// The key after this one, unless it is the last.
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    const ZERO: Self = 0;
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    const ZERO: Self = 0;
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// The IPv4 networks among these, as ranges of addresses.
pub(super) fn v4_range(network: &IpNetwork) -> Option<Range<u32>> {
    match network {
        IpNetwork::V4(network) => Some((network.network().into(), network.broadcast().into())),
        IpNetwork::V6(_) => None,
    }
}

/// The IPv6 networks among these, as ranges of addresses.
pub(super) fn v6_range(network: &IpNetwork) -> Option<Range<u128>> {
    match network {
        IpNetwork::V4(_) => None,
        IpNetwork::V6(network) => Some((network.network().into(), network.broadcast().into())),
    }
}

/// The keys of a port range: see [`port_key`].
pub(super) fn keys(ports: &PortRange) -> Range<u32> {
    let protocol = ports.protocol.number();
    (port_key(protocol, ports.first), port_key(protocol, ports.last))
}

/// Sets by number: equal ones share a number.
pub(super) struct Sets<S> {
    numbers: HashMap<S, u16>,
    sets: Vec<S>,
}

impl<S: Copy + Eq + Hash> Sets<S> {
    /// No sets yet.
    pub(super) fn new() -> Self {
        Self { numbers: HashMap::new(), sets: Vec::new() }
    }

    fn number(&mut self, set: S) -> u16 {
        *self.numbers.entry(set).or_insert_with(|| {
            self.sets.push(set);
            // A table has fewer intervals than a u16 has numbers, and no more sets than intervals.
            (self.sets.len() - 1) as u16
        })
    }

    /// Writes the sets to their table.
    pub(super) fn fill<const N: usize>(self, table: &mut [S; N], name: Name) -> Result<(), CompileError> {
        match table.get_mut(..self.sets.len()) {
            Some(place) => {
                place.copy_from_slice(&self.sets);
                Ok(())
            }
            None => Err(name.full(self.sets.len(), N)),
        }
    }
}

/// Those of the items for which something holds, a bit each by their places.
pub(super) fn bits_where<T>(items: &[T], holds: impl Fn(&T) -> bool) -> u64 {
    items.iter().enumerate().filter(|(_, item)| holds(item)).fold(0, |bits, (at, _)| bits | 1 << at)
}

/// What fills a table, and what to do when it is full.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// What fills the table.
    pub(super) table: &'static str,
    /// What to do.
    pub(super) hint: &'static str,
}

impl Name {
    pub(super) fn full(self, needed: usize, capacity: usize) -> CompileError {
        CompileError::TableFull { table: self.table, needed, capacity, hint: self.hint }
    }
}

/// Pieces of a key space with what holds in each; neighbours differ.
fn pieces<K: Key, S: Copy + Eq>(borders: Vec<K>, set_of: impl Fn(K) -> S) -> Vec<(K, S)> {
    let mut pieces: Vec<(K, S)> = Vec::with_capacity(borders.len());
    for border in borders {
        let set = set_of(border);
        if pieces.last().is_none_or(|last| last.1 != set) {
            pieces.push((border, set));
        }
    }
    pieces
}

/// A table of intervals.
pub(super) trait Table<K> {
    /// Most intervals that it holds.
    const CAPACITY: usize;
    /// Writes where each interval begins and the number of its set; more than fit are left out.
    fn write(&mut self, intervals: impl ExactSizeIterator<Item = (K, u16)>);
}

impl<const N: usize> Table<u32> for SmallTable<N> {
    const CAPACITY: usize = N;
    fn write(&mut self, intervals: impl ExactSizeIterator<Item = (u32, u16)>) {
        self.len = intervals.len() as u32;
        for ((start, number), interval) in self.starts.iter_mut().zip(&mut self.sets).zip(intervals) {
            (*start, *number) = interval;
        }
    }
}

impl<const N: usize> Table<u128> for SmallTable6<N> {
    const CAPACITY: usize = N;
    fn write(&mut self, intervals: impl ExactSizeIterator<Item = (u128, u16)>) {
        self.len = intervals.len() as u32;
        let places = self.hi.iter_mut().zip(&mut self.lo).zip(&mut self.sets);
        for (((hi, lo), number), (start, set)) in places.zip(intervals) {
            (*hi, *lo, *number) = ((start >> 64) as u64, start as u64, set);
        }
    }
}

/// Fills a table: at each border the set that `set_of` gives for it.
pub(super) fn fill<K: Key, S: Copy + Eq + Hash, T: Table<K>>(
    table: &mut T,
    sets: &mut Sets<S>,
    borders: Vec<K>,
    set_of: impl Fn(K) -> S,
    name: Name,
) -> Result<(), CompileError> {
    let pieces = pieces(borders, set_of);
    if pieces.len() > T::CAPACITY {
        return Err(name.full(pieces.len(), T::CAPACITY));
    }
    table.write(pieces.into_iter().map(|(key, set)| (key, sets.number(set))));
    Ok(())
}
