//! Builds the geo tables from sorted runs: pure functions, on the host only.

use core::fmt;

use super::{
    DETAIL_CAPACITY, Detail, GeoTables, V4_BUCKETS, V4_CAPACITY, V4Entries, V4Index, V6_BUCKETS, V6_CAPACITY,
    V6Entries, V6Index, v4_bucket, v4_entry, v6_bucket, v6_entry,
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
    /// Slices of the IPv4 table.
    pub v4_index: Box<V4Index>,
    /// Intervals of the IPv4 table.
    pub v4_entries: Box<V4Entries>,
    /// Slices of the IPv6 table.
    pub v6_index: Box<V6Index>,
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
            v4_index: zeroed(),
            v4_entries: zeroed(),
            v6_index: zeroed(),
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
        let mut len = 0;
        let mut indexed = 0;
        for (start, place) in merged((0, Place::UNKNOWN), runs) {
            if len < V4_CAPACITY {
                let bucket = v4_bucket(start);
                self.v4_index[indexed..=bucket].fill(len as u32);
                indexed = bucket + 1;
                self.v4_entries[len] = v4_entry(start, place);
            }
            len += 1;
        }
        if len > V4_CAPACITY {
            return Err(TableFull { table: "IPv4", capacity: V4_CAPACITY, needed: len });
        }
        self.v4_index[indexed..=V4_BUCKETS].fill(len as u32);
        self.v4_len = len;
        Ok(())
    }

    fn fill_v6(&mut self, runs: impl Iterator<Item = (u128, Place)>) -> Result<(), TableFull> {
        let halves = self.halves(runs)?;
        // The slices of 2000::/3 come first, then those of the other seven /3s; `halves` has a start at
        // the begin of each /3, so that no search runs out of its slice at the front.
        let global =
            halves.partition_point(|&(hi, _)| hi < 1 << 61)..halves.partition_point(|&(hi, _)| hi < 2 << 61);
        let (before, rest) = halves.split_at(global.start);
        let (global, after) = rest.split_at(global.end - global.start);
        if halves.len() > V6_CAPACITY {
            return Err(TableFull { table: "IPv6", capacity: V6_CAPACITY, needed: halves.len() });
        }
        let mut indexed = 0;
        for (len, &(hi, place)) in global.iter().chain(before).chain(after).enumerate() {
            let bucket = v6_bucket(hi);
            if bucket >= indexed {
                self.v6_index[indexed..=bucket].fill(len as u32);
                indexed = bucket + 1;
            }
            self.v6_entries[len] = v6_entry(hi, place);
        }
        self.v6_index[indexed..=V6_BUCKETS].fill(halves.len() as u32);
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
    fn v4_index(&self) -> Option<&V4Index> {
        Some(&self.v4_index)
    }
    fn v4_entries(&self) -> Option<&V4Entries> {
        Some(&self.v4_entries)
    }
    fn v6_index(&self) -> Option<&V6Index> {
        Some(&self.v6_index)
    }
    fn v6_entries(&self) -> Option<&V6Entries> {
        Some(&self.v6_entries)
    }
    fn detail(&self) -> Option<&Detail> {
        Some(&self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{place_v4, place_v6};
    use super::*;
    use crate::abi::PlacedBy;
    use crate::jurisdiction::Jurisdiction;
    use crate::packet::Addr;
    use proptest::prelude::*;

    fn place(number: u8) -> Place {
        let jurisdiction = Jurisdiction::from_index(number % 251).unwrap_or(Jurisdiction::UNKNOWN);
        Place::new(jurisdiction, if number.is_multiple_of(3) { PlacedBy::Site } else { PlacedBy::Database })
    }

    fn addr(address: u128) -> Addr {
        Addr { hi: (address >> 64) as u64, lo: address as u64 }
    }

    /// Prefixes, in any order and overlapping: the longest that matches holds.
    #[derive(Clone, Debug)]
    struct Prefixes<K>(Vec<(K, u32, Place)>);

    impl Prefixes<u128> {
        fn longest_match(&self, address: u128, width: u32) -> Place {
            self.0
                .iter()
                .filter(|(network, len, _)| *len == 0 || (network ^ address) >> (width - len) == 0)
                .max_by_key(|(_, len, _)| *len)
                .map_or(Place::UNKNOWN, |prefix| prefix.2)
        }

        /// Every border of every prefix, with the place that holds from there on.
        fn runs(&self, width: u32) -> Vec<(u128, Place)> {
            let mut borders: Vec<u128> = vec![0];
            for (network, len, _) in &self.0 {
                borders.push(*network);
                if *len > 0
                    && let Some(end) = network.checked_add(1 << (width - len))
                    && (width == 128 || end < 1 << width)
                {
                    borders.push(end);
                }
            }
            borders.sort_unstable();
            borders.dedup();
            borders.into_iter().map(|border| (border, self.longest_match(border, width))).collect()
        }

        fn interesting(&self, width: u32) -> Vec<u128> {
            let max = if width == 128 { u128::MAX } else { (1 << width) - 1 };
            self.runs(width)
                .into_iter()
                .flat_map(|(border, _)| {
                    [border, border.saturating_sub(1), border.saturating_add(1), border ^ (1 << 64)]
                })
                .chain(
                    (0..8u128)
                        .flat_map(|third| [third << (width - 3), (third << (width - 3)).wrapping_sub(1)]),
                )
                .map(|address| address & max)
                .collect()
        }
    }

    /// Prefixes of `width` bits, crowded together so that they nest, share /64s and touch.
    fn prefixes(width: u32) -> impl Strategy<Value = Prefixes<u128>> {
        let prefix = (any::<u128>(), 0..=width, any::<u8>(), any::<bool>()).prop_map(
            move |(bits, len, number, crowd)| {
                let crowded = if crowd && width == 128 {
                    0x2a00_1450_u128 << 96 | bits & (0xff << 60) | bits & 0xf
                } else {
                    bits
                };
                let max = if width == 128 { u128::MAX } else { (1 << width) - 1 };
                let mask = if len == 0 { 0 } else { max << (width - len) & max };
                (crowded & mask, len, place(number))
            },
        );
        proptest::collection::vec(prefix, 0..40).prop_map(|mut prefixes| {
            prefixes.sort_by_key(|prefix| (prefix.0, prefix.1));
            prefixes.dedup_by_key(|prefix| (prefix.0, prefix.1));
            Prefixes(prefixes)
        })
    }

    fn none6() -> std::iter::Empty<(u128, Place)> {
        std::iter::empty()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn v4_agrees_with_longest_prefix_match(prefixes in prefixes(32), random in any::<[u32; 32]>()) {
            let runs = prefixes.runs(32).into_iter().map(|(start, place)| (start as u32, place));
            let image = GeoImage::build(runs, none6()).unwrap();
            for address in prefixes.interesting(32).into_iter().chain(random.map(u128::from)) {
                prop_assert_eq!(place_v4(&image, address as u32), Some(prefixes.longest_match(address, 32)));
            }
        }

        #[test]
        fn v6_agrees_with_longest_prefix_match(prefixes in prefixes(128), random in any::<[u128; 32]>()) {
            let image = GeoImage::build(std::iter::empty(), prefixes.runs(128).into_iter()).unwrap();
            for address in prefixes.interesting(128).into_iter().chain(random) {
                prop_assert_eq!(
                    place_v6(&image, addr(address)), Some(prefixes.longest_match(address, 128)), "{:x}", address
                );
            }
        }
    }

    #[test]
    fn no_runs_at_all_leave_every_address_unknown() {
        let image = GeoImage::build(std::iter::empty(), none6()).unwrap();
        assert_eq!(place_v4(&image, 0x0102_0304), Some(Place::UNKNOWN));
        assert_eq!(place_v6(&image, addr(u128::MAX)), Some(Place::UNKNOWN));
    }

    #[test]
    fn neighbours_of_one_place_are_merged() {
        let runs = [(0, place(1)), (10, place(1)), (20, place(2)), (30, place(2))];
        let image = GeoImage::build(runs.into_iter(), none6()).unwrap();
        assert_eq!(image.v4_len, 2);
    }

    #[test]
    fn more_intervals_than_fit_are_refused_and_counted() {
        let runs = (0..=V4_CAPACITY as u32).map(|start| (start * 2, place((start % 2) as u8 + 1)));
        let full = GeoImage::build(runs, none6()).err().unwrap();
        assert_eq!(full, TableFull { table: "IPv4", capacity: V4_CAPACITY, needed: V4_CAPACITY + 1 });
        let inside = (0..=DETAIL_CAPACITY as u128).map(|start| (start * 2 + 1, place((start % 2) as u8 + 1)));
        assert_eq!(GeoImage::build(std::iter::empty(), inside).err().unwrap().table, "IPv6 detail");
    }
}
