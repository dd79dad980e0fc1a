//! Interval tables: from an address to what holds in the interval that it lies in.
//!
//! The geo tables follow the DXR scheme (M. Zec, L. Rizzo, M. Mikuc: "DXR: towards a billion routing
//! lookups per second in software", ACM SIGCOMM CCR 42(5), 2012): the top bits of an address index the
//! slice of a sorted array of interval starts, and a bounded binary search in that slice finds the
//! last start at or before the address. The arrays are plain, one BPF array element each, so that a
//! lookup takes a handful of map accesses whatever the number of steps.
//!
//! IPv6 is searched by its upper 64 bits, which is where networks are told apart. An interval border
//! inside a /64 puts [`Place::SPLIT`] on that /64, and a small second table by all 128 bits settles it.

use crate::abi::Place;
use crate::packet::Addr;
use crate::search::{at, less_or_equal, pair_less_or_equal, partition_point, probe, steps};

#[cfg(any(test, feature = "host"))]
pub mod build;

/// Bits of an IPv4 address that select its slice.
pub const V4_INDEX_BITS: u32 = 18;
/// Slices of the IPv4 table.
pub const V4_BUCKETS: usize = 1 << V4_INDEX_BITS;
/// Intervals that the IPv4 table holds.
pub const V4_CAPACITY: usize = 1 << 20;
/// Steps of a search in a slice of the IPv4 table, which has no more intervals than addresses.
const V4_STEPS: u32 = 32 - V4_INDEX_BITS;

/// Bits after the leading `001` of a global unicast address (RFC 4291 section 2.4) that select its slice.
pub const V6_INDEX_BITS: u32 = 20;
/// Slices of the IPv6 table: those of 2000::/3, and after them one for each /16.
pub const V6_BUCKETS: usize = (1 << V6_INDEX_BITS) + (1 << 16);
/// Intervals that the IPv6 table holds, by the upper 64 bits.
pub const V6_CAPACITY: usize = 1 << 19;
/// Intervals inside split /64s that the detail table holds.
pub const DETAIL_CAPACITY: usize = 1 << 15;

/// Where each slice of the IPv4 table starts; one element more, so that slice `b` is `[b], [b + 1]`.
pub type V4Index = [u32; V4_BUCKETS + 1];
/// The intervals of the IPv4 table, sorted: see [`v4_entry`].
pub type V4Entries = [u32; V4_CAPACITY];
/// Where each slice of the IPv6 table starts.
pub type V6Index = [u32; V6_BUCKETS + 1];
/// The intervals of the IPv6 table, in the order of their slices: see [`v6_entry`].
pub type V6Entries = [u64; V6_CAPACITY];

/// An interval of the IPv4 table: what its slice does not tell of the start, above the place. One load
/// brings both.
#[inline(always)]
#[must_use]
pub const fn v4_entry(start: u32, place: Place) -> u32 {
    const { assert!(V4_INDEX_BITS >= 16) };
    start << 16 | place.0 as u32
}

/// An interval of the IPv6 table: the start's bits 111 to 64, which its slice does not tell, above the
/// place.
#[inline(always)]
#[must_use]
pub const fn v6_entry(hi: u64, place: Place) -> u64 {
    hi << 16 | place.0 as u64
}

/// The intervals inside split /64s, by whole IPv6 addresses.
#[derive(Clone)]
#[repr(C)]
pub struct Detail {
    /// Upper halves of the interval starts, host order.
    pub hi: [u64; DETAIL_CAPACITY],
    /// Lower halves of the interval starts, host order.
    pub lo: [u64; DETAIL_CAPACITY],
    /// The [`Place`] of each interval.
    pub place: [u16; DETAIL_CAPACITY],
    /// Intervals in use.
    pub len: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
}

/// The geo tables of one generation.
pub trait GeoTables {
    /// Slices of the IPv4 table.
    fn v4_index(&self) -> Option<&V4Index>;
    /// Intervals of the IPv4 table.
    fn v4_entries(&self) -> Option<&V4Entries>;
    /// Slices of the IPv6 table.
    fn v6_index(&self) -> Option<&V6Index>;
    /// Intervals of the IPv6 table.
    fn v6_entries(&self) -> Option<&V6Entries>;
    /// The intervals inside split /64s.
    fn detail(&self) -> Option<&Detail>;
}

/// The slice of the IPv4 table that an address lies in.
#[inline(always)]
#[must_use]
pub const fn v4_bucket(address: u32) -> usize {
    (address >> (32 - V4_INDEX_BITS)) as usize
}

/// The slice of the IPv6 table that the upper half of an address lies in.
#[inline(always)]
#[must_use]
pub const fn v6_bucket(hi: u64) -> usize {
    if hi >> 61 == 0b001 {
        ((hi >> (61 - V6_INDEX_BITS)) & ((1 << V6_INDEX_BITS) - 1)) as usize
    } else {
        (1 << V6_INDEX_BITS) + (hi >> 48) as usize
    }
}

/// The number of the interval in which `key` lies, among the first `len` of `starts`, of which the first
/// is 0.
#[inline(always)]
pub fn floor<const N: usize>(starts: &[u32; N], len: u32, key: u32) -> u64 {
    let key = u64::from(key);
    partition_point(steps::<N>(), 0, u64::from(len), |index| {
        less_or_equal(u64::from(probe(starts, index)), key)
    })
    .wrapping_sub(1)
}

/// The number of the interval in which the address lies, among the first `len`, of which the first
/// starts at 0.
#[inline(always)]
pub fn floor_pair<const N: usize>(hi: &[u64; N], lo: &[u64; N], len: u32, address: Addr) -> u64 {
    partition_point(steps::<N>(), 0, u64::from(len), |index| {
        pair_less_or_equal((probe(hi, index), probe(lo, index)), (address.hi, address.lo))
    })
    .wrapping_sub(1)
}

/// Where an IPv4 address is, by the geo table and the sites in it. `None` where the tables cannot be read.
#[inline(always)]
pub fn place_v4<T: GeoTables>(tables: &T, address: u32) -> Option<Place> {
    let index = tables.v4_index()?;
    let entries = tables.v4_entries()?;
    let bucket = v4_bucket(address);
    let (lo, hi) = (u64::from(*index.get(bucket)?), u64::from(*index.get(bucket + 1)?));
    // The last entry that may begin at or before the address.
    let last = u64::from(v4_entry(address, Place::SPLIT));
    let after =
        partition_point(V4_STEPS, lo, hi, |index| less_or_equal(u64::from(probe(entries, index)), last));
    Some(Place(at(entries, after.wrapping_sub(1)) as u16))
}

/// Where an IPv6 address is, by the geo table and the sites in it. `None` where the tables cannot be read.
#[inline(always)]
pub fn place_v6<T: GeoTables>(tables: &T, address: Addr) -> Option<Place> {
    let index = tables.v6_index()?;
    let entries = tables.v6_entries()?;
    let bucket = v6_bucket(address.hi);
    let (lo, hi) = (u64::from(*index.get(bucket)?), u64::from(*index.get(bucket + 1)?));
    // Halved, so that a difference has a sign; the lowest bit of `last` is set and decides nothing.
    let last = v6_entry(address.hi, Place::SPLIT) >> 1;
    let after = partition_point(steps::<V6_CAPACITY>(), lo, hi, |index| {
        less_or_equal(probe(entries, index) >> 1, last)
    });
    let place = Place(at(entries, after.wrapping_sub(1)) as u16);
    if place.0 != Place::SPLIT.0 {
        return Some(place);
    }
    let detail = tables.detail()?;
    Some(Place(at(&detail.place, floor_pair(&detail.hi, &detail.lo, detail.len, address))))
}
