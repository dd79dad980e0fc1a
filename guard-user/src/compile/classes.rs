//! Classes: a key space cut where any rule begins or ends, with the set of rules that hold in each piece.

use std::collections::HashMap;
use std::hash::Hash;

use guard_common::abi::{SmallTable, SmallTable6};
use ipnetwork::IpNetwork;

use super::CompileError;

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

/// Fills a table of `u32` keys: at each border the set that `set_of` gives for it.
pub(super) fn fill<S: Copy + Eq + Hash, const N: usize>(
    table: &mut SmallTable<N>,
    sets: &mut Sets<S>,
    borders: Vec<u32>,
    set_of: impl Fn(u32) -> S,
    name: Name,
) -> Result<(), CompileError> {
    let pieces = pieces(borders, set_of);
    if pieces.len() > N {
        return Err(name.full(pieces.len(), N));
    }
    table.len = pieces.len() as u32;
    for ((start, number), (key, set)) in table.starts.iter_mut().zip(&mut table.sets).zip(pieces) {
        (*start, *number) = (key, sets.number(set));
    }
    Ok(())
}

/// Fills a table of IPv6 addresses likewise.
pub(super) fn fill6<S: Copy + Eq + Hash, const N: usize>(
    table: &mut SmallTable6<N>,
    sets: &mut Sets<S>,
    borders: Vec<u128>,
    set_of: impl Fn(u128) -> S,
    name: Name,
) -> Result<(), CompileError> {
    let pieces = pieces(borders, set_of);
    if pieces.len() > N {
        return Err(name.full(pieces.len(), N));
    }
    table.len = pieces.len() as u32;
    let places = table.hi.iter_mut().zip(&mut table.lo).zip(&mut table.sets);
    for (((hi, lo), number), (key, set)) in places.zip(pieces) {
        (*hi, *lo, *number) = ((key >> 64) as u64, key as u64, sets.number(set));
    }
    Ok(())
}
