//! Builds the geo tables from sorted runs: pure functions, on the host only.

mod nodes;

use core::fmt;

use self::nodes::{Part, write};
use super::{
    DETAIL_CAPACITY, Detail, GeoTables, ROOT_BITS, V4_CAPACITY, V4_DEPTH, V4Entries, V4Nodes, V6_CAPACITY,
    V6_DEPTH, V6Entries, V6Nodes, v4_entry, v6_entry,
};
use crate::abi::Place;

/// A geo table is too small for the intervals that it should hold. Nothing is cut: nothing is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull {
    /// Which table.
    pub table: &'static str,
    /// Intervals that it holds at most.
    pub capacity: usize,
    /// Intervals that it should hold.
    pub needed: usize,
}

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} table holds at most {} intervals and {} are needed: use a database with countries only, \
             or fewer sites",
            self.table, self.capacity, self.needed
        )
    }
}

impl core::error::Error for TableFull {}

/// The geo tables of one generation, as they are copied into the kernel's maps.
pub struct GeoImage {
    /// Nodes of the IPv4 table.
    pub v4_nodes: Box<V4Nodes>,
    /// Intervals of the IPv4 table.
    pub v4_entries: Box<V4Entries>,
    /// Nodes of the IPv6 table.
    pub v6_nodes: Box<V6Nodes>,
    /// Intervals of the IPv6 table.
    pub v6_entries: Box<V6Entries>,
    /// The intervals inside split /64s.
    pub detail: Box<Detail>,
    /// Intervals of the IPv4 table in use.
    pub v4_len: usize,
    /// Intervals of the IPv6 table in use.
    pub v6_len: usize,
}

/// A boxed array of zeroes that never was on the stack.
fn zeroed<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    match vec![T::default(); N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the slice was made with N elements"),
    }
}

fn zeroed_detail() -> Box<Detail> {
    // SAFETY: Detail is made of plain integers, for which all zeroes is a value, and the layout given
    // to the allocator is its own.
    unsafe { Box::<Detail>::new_zeroed().assume_init() }
}

/// Its name alone: it has millions of intervals.
impl fmt::Debug for GeoImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeoImage")
    }
}

impl GeoImage {
    /// Tables of zeroes, to be filled.
    fn zeroed() -> Self {
        Self {
            v4_nodes: zeroed(),
            v4_entries: zeroed(),
            v6_nodes: zeroed(),
            v6_entries: zeroed(),
            detail: zeroed_detail(),
            v4_len: 0,
            v6_len: 0,
        }
    }

    /// Builds the tables from runs: `starts` sorted and beginning with 0, each with the place that holds
    /// up to the next start. Neighbours of one place are merged.
    ///
    /// # Errors
    ///
    /// [`TableFull`] where the runs do not fit.
    pub fn build(
        v4: impl Iterator<Item = (u32, Place)>,
        v6: impl Iterator<Item = (u128, Place)>,
    ) -> Result<Self, TableFull> {
        let mut image = Self::zeroed();
        image.fill_v4(v4)?;
        image.fill_v6(v6)?;
        Ok(image)
    }

    fn fill_v4(&mut self, runs: impl Iterator<Item = (u32, Place)>) -> Result<(), TableFull> {
        let mut starts = Vec::with_capacity(V4_CAPACITY / 2);
        for (start, place) in merged((0, Place::UNKNOWN), runs) {
            if let Some(entry) = self.v4_entries[..V4_CAPACITY].get_mut(starts.len()) {
                *entry = v4_entry(start, place);
            }
            starts.push(u64::from(start) << 32);
        }
        if starts.len() > V4_CAPACITY {
            return Err(TableFull { table: "IPv4", capacity: V4_CAPACITY, needed: starts.len() });
        }
        write(&mut self.v4_nodes[..], V4_DEPTH, &[Part { root: 0, starts: &starts, first: 0, width: 32 }]);
        self.v4_len = starts.len();
        Ok(())
    }

    fn fill_v6(&mut self, runs: impl Iterator<Item = (u128, Place)>) -> Result<(), TableFull> {
        let halves = self.halves(runs)?;
        // Those of 2000::/3 come first, then those of the other seven /3s; `halves` has a start at
        // the begin of each /3, so that no search runs out of its part at the front.
        let global =
            halves.partition_point(|&(hi, _)| hi < 1 << 61)..halves.partition_point(|&(hi, _)| hi < 2 << 61);
        let (before, rest) = halves.split_at(global.start);
        let (global, after) = rest.split_at(global.end - global.start);
        if halves.len() > V6_CAPACITY {
            return Err(TableFull { table: "IPv6", capacity: V6_CAPACITY, needed: halves.len() });
        }
        for (entry, &(hi, place)) in self.v6_entries.iter_mut().zip(global.iter().chain(before).chain(after))
        {
            *entry = v6_entry(hi, place);
        }
        // The leading 001 selects nothing.
        let of_global: Vec<u64> = global.iter().map(|&(hi, _)| hi << 3).collect();
        let of_others: Vec<u64> = before.iter().chain(after).map(|&(hi, _)| hi).collect();
        let parts = [
            Part { root: 0, starts: &of_global, first: 0, width: 61 },
            Part { root: 1 << ROOT_BITS, starts: &of_others, first: of_global.len(), width: 64 },
        ];
        write(&mut self.v6_nodes[..], V6_DEPTH, &parts);
        self.v6_len = halves.len();
        Ok(())
    }

    /// Runs by the upper 64 bits, with a start at the begin of each /3; what lies inside a /64 goes
    /// into the detail table.
    fn halves(&mut self, runs: impl Iterator<Item = (u128, Place)>) -> Result<Vec<(u64, Place)>, TableFull> {
        let mut halves: Vec<(u64, Place)> = Vec::with_capacity(V6_CAPACITY);
        let mut detail = 0;
        let mut add_detail = |this: &mut Self, hi: u64, lo: u64, place: Place| {
            if detail < DETAIL_CAPACITY {
                this.detail.hi[detail] = hi;
                this.detail.lo[detail] = lo;
                this.detail.place[detail] = place.0;
                this.detail.len = detail as u32 + 1;
            }
            detail += 1;
        };
        let thirds = (1..8).map(|third: u128| third << 125);
        // The place that holds at the end of what was read so far, and the /64 that is split just now.
        let mut last = Place::UNKNOWN;
        let mut split: Option<u64> = None;
        for (start, place) in with_starts(merged((0, Place::UNKNOWN), runs), thirds) {
            let (hi, lo) = ((start >> 64) as u64, start as u64);
            if let Some(split_hi) = split
                && split_hi != hi
            {
                // The split /64 is over: what held at its end goes on behind it.
                split = None;
                if lo != 0 || split_hi.wrapping_add(1) != hi {
                    halves.push((split_hi.wrapping_add(1), last));
                }
            }
            if lo == 0 {
                halves.push((hi, place));
            } else {
                if split.is_none() {
                    match halves.last_mut() {
                        Some(entry) if entry.0 == hi => entry.1 = Place::SPLIT,
                        _ => halves.push((hi, Place::SPLIT)),
                    }
                    add_detail(self, hi, 0, last);
                    split = Some(hi);
                }
                add_detail(self, hi, lo, place);
            }
            last = place;
        }
        if let Some(split_hi) = split
            && split_hi != u64::MAX
        {
            halves.push((split_hi + 1, last));
        }
        if detail > DETAIL_CAPACITY {
            return Err(TableFull { table: "IPv6 detail", capacity: DETAIL_CAPACITY, needed: detail });
        }
        Ok(halves)
    }
}

/// Drops starts at which the place does not change; the first start is 0, `first` unless the runs begin so.
fn merged<K: Copy + PartialEq + Default>(
    first: (K, Place),
    runs: impl Iterator<Item = (K, Place)>,
) -> impl Iterator<Item = (K, Place)> {
    let mut runs = runs.peekable();
    let head = match runs.peek() {
        Some(&(start, place)) if start == K::default() => (start, place),
        _ => first,
    };
    let mut last = head.1;
    core::iter::once(head).chain(runs.filter(move |&(start, place)| {
        let keep = start != K::default() && place != last;
        if keep {
            last = place;
        }
        keep
    }))
}

/// Adds a start at each of `borders` where the runs have none, with the place that holds there.
fn with_starts(
    runs: impl Iterator<Item = (u128, Place)>,
    borders: impl Iterator<Item = u128>,
) -> impl Iterator<Item = (u128, Place)> {
    let mut runs = runs.peekable();
    let mut borders = borders.peekable();
    let mut last = Place::UNKNOWN;
    core::iter::from_fn(move || match (runs.peek().map(|run| run.0), borders.peek().copied()) {
        (Some(start), Some(border)) if border < start => {
            borders.next();
            Some((border, last))
        }
        (None, Some(border)) => {
            borders.next();
            Some((border, last))
        }
        (start, border) => {
            if start.is_some() && start == border {
                borders.next();
            }
            let run = runs.next()?;
            last = run.1;
            Some(run)
        }
    })
}

impl GeoTables for GeoImage {
    fn v4_nodes(&self) -> Option<&V4Nodes> {
        Some(&self.v4_nodes)
    }
    fn v4_entries(&self) -> Option<&V4Entries> {
        Some(&self.v4_entries)
    }
    fn v6_nodes(&self) -> Option<&V6Nodes> {
        Some(&self.v6_nodes)
    }
    fn v6_entries(&self) -> Option<&V6Entries> {
        Some(&self.v6_entries)
    }
    fn detail(&self) -> Option<&Detail> {
        Some(&self.detail)
    }
}

#[cfg(test)]
mod tests;
