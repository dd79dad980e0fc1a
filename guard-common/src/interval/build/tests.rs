use super::super::{LEAF, Node, place_v4, place_v6};
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
                (0..8u128).flat_map(|third| [third << (width - 3), (third << (width - 3)).wrapping_sub(1)]),
            )
            .map(|address| address & max)
            .collect()
    }
}

/// Prefixes of `width` bits, crowded together so that they nest, share /64s and touch.
fn prefixes(width: u32) -> impl Strategy<Value = Prefixes<u128>> {
    let prefix =
        (any::<u128>(), 0..=width, any::<u8>(), any::<bool>()).prop_map(move |(bits, len, number, crowd)| {
            let crowded = if crowd && width == 128 {
                0x2a00_1450_u128 << 96 | bits & (0xff << 60) | bits & 0xf
            } else {
                bits
            };
            let max = if width == 128 { u128::MAX } else { (1 << width) - 1 };
            let mask = if len == 0 { 0 } else { max << (width - len) & max };
            (crowded & mask, len, place(number))
        });
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

/// Places by turns, so that no two neighbours are merged.
fn by_turns(number: usize) -> Place {
    place((number % 2) as u8 + 1)
}

/// Asks at every start, one before and one after.
fn agrees_v4(image: &GeoImage, starts: &[u32]) {
    for address in starts.iter().flat_map(|start| [*start, start.wrapping_sub(1), start.wrapping_add(1)]) {
        let number = starts.partition_point(|start| *start <= address) - 1;
        assert_eq!(place_v4(image, address), Some(by_turns(number)), "{address:x} of {}", starts.len());
    }
}

fn agrees_v6(image: &GeoImage, starts: &[u64]) {
    for hi in starts.iter().flat_map(|start| [*start, start.wrapping_sub(1), start.wrapping_add(1)]) {
        let number = starts.partition_point(|start| *start <= hi) - 1;
        assert_eq!(
            place_v6(image, Addr { hi, lo: hi }),
            Some(by_turns(number)),
            "{hi:x} of {}",
            starts.len()
        );
    }
}

fn of_v4(starts: &[u32]) -> GeoImage {
    GeoImage::build(starts.iter().enumerate().map(|(number, start)| (*start, by_turns(number))), none6())
        .unwrap()
}

fn of_v6(starts: &[u64]) -> GeoImage {
    let runs = starts.iter().enumerate().map(|(number, start)| (u128::from(*start) << 64, by_turns(number)));
    GeoImage::build(std::iter::empty(), runs).unwrap()
}

/// Groups of starts, each behind a base and so many bits wide, with 0 before them.
fn crowded(groups: &[(u64, u32, u32)]) -> Vec<u64> {
    let mut starts = vec![0];
    for (seed, width, count) in groups {
        let (mut number, base) = (seed | 1, seed & u64::MAX << width);
        for _ in 0..*count {
            // Marsaglia's xorshift.
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            starts.push(base | number & !(u64::MAX << width));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn crowds_are_found_at_every_border(
        groups in proptest::collection::vec((any::<u64>(), 1..48_u32, 1..4000_u32), 1..6)
    ) {
        let starts = crowded(&groups);
        agrees_v6(&of_v6(&starts), &starts);
        let mut starts: Vec<u32> = starts.iter().map(|start| (start >> 16) as u32).chain([0]).collect();
        starts.sort_unstable();
        starts.dedup();
        agrees_v4(&of_v4(&starts), &starts);
    }
}

#[test]
fn full_tables_are_searched_wherever_their_intervals_lie() {
    // All in sixteen /16s, one an address.
    let starts: Vec<u32> = std::iter::once(0).chain((0x0a00_0000..).take(V4_CAPACITY - 1)).collect();
    agrees_v4(&of_v4(&starts), &starts);
    // Sixteen in the last addresses of each /16: there are too few nodes to tell those apart.
    let starts: Vec<u32> = std::iter::once(0)
        .chain((0..=0xffff).flat_map(|net| (0xfff0..0xffff).map(move |host| net << 16 | host)))
        .collect();
    agrees_v4(&of_v4(&starts), &starts);
    // The IPv6 table adds a start at each /3.
    const THIRDS: usize = 7;
    let starts: Vec<u64> =
        std::iter::once(0).chain((0x2001_0db8_0000_0000..).take(V6_CAPACITY - 1 - THIRDS)).collect();
    agrees_v6(&of_v6(&starts), &starts);
    let spread = (0..V6_CAPACITY as u64 - 1 - THIRDS as u64)
        .map(|number| ((number / 9) << 44) + number % 9 + (1 << 61));
    let starts: Vec<u64> = std::iter::once(0).chain(spread).collect();
    agrees_v6(&of_v6(&starts), &starts);
}

#[test]
fn slices_that_nothing_divides_are_searched_by_halves() {
    let starts: Vec<u32> = std::iter::once(0).chain((0..40_000).map(|number| 0x0a00_0000 + number)).collect();
    let mut image = of_v4(&starts);
    let keys: Vec<u64> = starts.iter().map(|start| u64::from(*start) << 32).collect();
    write(&mut image.v4_nodes[..], 0, &[Part { root: 0, starts: &keys, first: 0, width: 32 }]);
    assert!(image.v4_nodes.iter().any(|node| Node(*node).is_far()));
    agrees_v4(&image, &starts);
}

#[test]
fn nearly_every_slice_is_compared_in_one_pass() {
    let starts = crowded(&[(0x2a00_1450_0000_0000, 61, 100_000), (0x2001_0db8_0000_0000, 32, 100_000)]);
    let image = of_v6(&starts);
    let counts: Vec<usize> = image
        .v6_nodes
        .iter()
        .map(|node| Node(*node))
        .filter(|node| node.0 >> 31 == 0)
        .map(|node| (node.0 >> 20) as usize)
        .collect();
    let of_large: usize = counts.iter().filter(|count| **count > LEAF).sum();
    assert!(of_large * 100 < starts.len(), "{of_large} of {} are in large slices", starts.len());
}
