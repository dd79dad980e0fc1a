//! Interval tables: from an address to what holds in the interval that it lies in.
//!
//! The geo tables follow the DXR scheme (M. Zec, L. Rizzo, M. Mikuc: "DXR: towards a billion routing
//! lookups per second in software", ACM SIGCOMM CCR 42(5), 2012): the top bits of an address select the
//! slice of a sorted array of interval starts, in which the last start at or before the address is looked for. Where a slice has
//! more than [`LEAF`] starts, the next bits divide it once more, as many of them as it has starts for, so that nearly every
//! slice is one or two cache lines, which are compared in one pass. What can't be divided is searched by halves. The arrays are
//! plain, one BPF array element each, so that a lookup takes a handful of map accesses whatever the number of steps.
//!
//! IPv6 is searched by its upper 64 bits, which is where networks are told apart. An interval border
//! inside a /64 puts [`Place::SPLIT`] on that /64, and a small second table by all 128 bits settles it.

use crate::abi::Place;
use crate::packet::Addr;
use crate::search::{
    at, less_or_equal, mask_if_equal, opaque, pair_less_or_equal, partition_point, probe, steps,
};

#[cfg(any(test, feature = "host"))]
pub mod build;

/// Bits that select the root of an address: of IPv4 the first ones, of 2000::/3 those after the leading `001` of a global unicast
/// address (RFC 4291 section 2.4), of the rest of IPv6 the first ones.
pub const ROOT_BITS: u32 = 16;
/// Starts of a slice that are compared in one pass.
pub const LEAF: usize = 8;

/// Nodes of the IPv4 table, the roots first.
pub const V4_NODES: usize = 1 << 18;
/// Words of the IPv4 table: with those of 4 MiB the kernel copies a table in one piece, which takes half as long.
const V4_WORDS: usize = 1 << 20;
/// Intervals that the IPv4 table holds. Behind them a last slice can be read past its end.
pub const V4_CAPACITY: usize = V4_WORDS - LEAF;
/// How often a slice of the IPv4 table is divided at most.
pub const V4_DEPTH: u32 = 3;
/// Steps of a search by halves in a slice of the IPv4 table, which has no more intervals than addresses.
const V4_STEPS: u32 = 32 - ROOT_BITS;

/// Nodes of the IPv6 table: first the roots of 2000::/3, after them those of each /16.
pub const V6_NODES: usize = 1 << 20;
/// Words of the IPv6 table.
const V6_WORDS: usize = 1 << 19;
/// Intervals that the IPv6 table holds, by the upper 64 bits. Behind them likewise.
pub const V6_CAPACITY: usize = V6_WORDS - LEAF;
/// How often a slice of the IPv6 table is divided at most.
pub const V6_DEPTH: u32 = 4;
/// Intervals inside split /64s that the detail table holds.
pub const DETAIL_CAPACITY: usize = 1 << 15;

/// The nodes of the IPv4 table: see [`Node`].
pub type V4Nodes = [u32; V4_NODES];
/// The intervals of the IPv4 table, sorted: see [`v4_entry`].
pub type V4Entries = [u32; V4_WORDS];
/// The nodes of the IPv6 table.
pub type V6Nodes = [u32; V6_NODES];
/// The intervals of the IPv6 table, in the order of their roots: see [`v6_entry`].
pub type V6Entries = [u64; V6_WORDS];

/// A node as it is in the tables, a word. By its two upper bits it is
/// - `0x`: a slice: the number of its first interval in the lower 20 bits, and how many it has in the 11 above;
/// - `10`: one that is divided: the number of its first child in the lower 24 bits, and how many bits select a child in the 5 above;
/// - `11`: a slice with more intervals: where in the table these two numbers are, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node(pub u32);

impl Node {
    /// Intervals of a slice whose node has their number.
    pub const MOST: usize = (1 << 11) - 1;
    /// Bits that select a child at most.
    pub const MOST_BITS: u32 = 16;
    const DIVIDED: u32 = 0b10;
    const FAR: u32 = 0b11;

    /// A slice of so many intervals from `first` on.
    #[must_use]
    pub const fn slice(first: u32, count: u32) -> Self {
        const { assert!(V4_CAPACITY < 1 << 20 && V6_CAPACITY < 1 << 20) };
        Self(count << 20 | first)
    }

    /// One whose children begin at `base` and are selected by so many bits.
    #[must_use]
    pub const fn divided(base: u32, bits: u32) -> Self {
        const { assert!(V4_NODES <= 1 << 24 && V6_NODES <= 1 << 24) };
        Self(Self::DIVIDED << 30 | bits << 24 | base)
    }

    /// A slice whose first interval and count are at `base`.
    #[must_use]
    pub const fn far(base: u32) -> Self {
        Self(Self::FAR << 30 | base)
    }

    #[inline(always)]
    const fn is_divided(self) -> bool {
        self.0 >> 30 == Self::DIVIDED
    }

    #[inline(always)]
    const fn is_far(self) -> bool {
        self.0 >> 30 == Self::FAR
    }

    #[inline(always)]
    const fn base(self) -> u64 {
        (self.0 & 0x00ff_ffff) as u64
    }

    #[inline(always)]
    const fn bits(self) -> u64 {
        (self.0 >> 24 & 31) as u64
    }
}

/// An interval of the IPv4 table: what its slice does not tell of the start, above the place. One load
/// brings both.
#[inline(always)]
#[must_use]
pub const fn v4_entry(start: u32, place: Place) -> u32 {
    const { assert!(ROOT_BITS >= 16) };
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
    /// Nodes of the IPv4 table.
    fn v4_nodes(&self) -> Option<&V4Nodes>;
    /// Intervals of the IPv4 table.
    fn v4_entries(&self) -> Option<&V4Entries>;
    /// Nodes of the IPv6 table.
    fn v6_nodes(&self) -> Option<&V6Nodes>;
    /// Intervals of the IPv6 table.
    fn v6_entries(&self) -> Option<&V6Entries>;
    /// The intervals inside split /64s.
    fn detail(&self) -> Option<&Detail>;
}

/// The number of the root of the IPv6 table that the upper half of an address lies in, and the bits behind those that select it, at
/// the upper end.
#[inline(always)]
#[must_use]
pub fn v6_root(hi: u64) -> (u64, u64) {
    // Masks in the place of a branch.
    let global = mask_if_equal(hi >> 61, 0b001);
    let root = (hi >> (61 - ROOT_BITS) & 0xffff & global) | ((1 << ROOT_BITS | hi >> 48) & !global);
    (root, hi << ROOT_BITS << (global & 3))
}

/// The slice that the bits behind a root lead to, at the upper end of `rest`: its first interval, and how many it has.
#[inline(always)]
fn slice<const N: usize>(nodes: &[u32; N], depth: u32, root: u64, mut rest: u64) -> (u64, u64) {
    let mut node = Node(at(nodes, root));
    for _ in 0..depth {
        if !node.is_divided() {
            break;
        }
        let bits = node.bits();
        // In two shifts, for 64 would be none.
        let child = node.base().wrapping_add(rest >> 1 >> (63_u64.wrapping_sub(bits) & 63));
        rest <<= bits;
        node = Node(probe(nodes, child));
    }
    if node.is_far() {
        let first = u64::from(at(nodes, node.base()));
        return (first, u64::from(at(nodes, node.base().wrapping_add(1))));
    }
    (u64::from(node.0 & 0x000f_ffff), u64::from(node.0 >> 20))
}

/// The number of the first interval of a slice that begins behind what is looked for, or of the one behind the slice. `is_before`
/// is 1 for what does not, else 0.
#[inline(always)]
fn after<T: Copy, const N: usize>(
    entries: &[T; N],
    steps: u32,
    (first, count): (u64, u64),
    is_before: impl Fn(T) -> u64,
) -> Option<u64> {
    if count > LEAF as u64 {
        let end = first.wrapping_add(count);
        return Some(partition_point(steps, first, end, |index| is_before(probe(entries, index))));
    }
    let begin = opaque(first) as usize & (N - 1);
    let window = entries.get(begin..)?.first_chunk::<LEAF>()?;
    let mut after = first;
    for (number, &entry) in window.iter().enumerate() {
        // 1 where it is one of the slice.
        let is_in = opaque((number as u64).wrapping_sub(count)) >> 63;
        after = after.wrapping_add(is_before(entry) & is_in);
    }
    Some(after)
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
    let nodes = tables.v4_nodes()?;
    let entries = tables.v4_entries()?;
    let address = u64::from(address);
    let slice = slice(nodes, V4_DEPTH, address >> ROOT_BITS, address << 48);
    // The last entry that may begin at or before the address.
    let last = u64::from(v4_entry(address as u32, Place::SPLIT));
    let is_before = |entry| less_or_equal(u64::from(entry), last);
    let after = after(entries, V4_STEPS, slice, is_before)?;
    Some(Place(at(entries, after.wrapping_sub(1)) as u16))
}

/// Where an IPv6 address is, by the geo table and the sites in it. `None` where the tables cannot be read.
#[inline(always)]
pub fn place_v6<T: GeoTables>(tables: &T, address: Addr) -> Option<Place> {
    let nodes = tables.v6_nodes()?;
    let entries = tables.v6_entries()?;
    let (root, rest) = v6_root(address.hi);
    let slice = slice(nodes, V6_DEPTH, root, rest);
    // Halved, so that a difference has a sign; the lowest bit of `last` is set and decides nothing.
    let last = v6_entry(address.hi, Place::SPLIT) >> 1;
    let is_before = |entry| less_or_equal(entry >> 1, last);
    let after = after(entries, steps::<V6_WORDS>(), slice, is_before)?;
    let place = Place(at(entries, after.wrapping_sub(1)) as u16);
    if place.0 != Place::SPLIT.0 {
        return Some(place);
    }
    let detail = tables.detail()?;
    Some(Place(at(&detail.place, floor_pair(&detail.hi, &detail.lo, detail.len, address))))
}
