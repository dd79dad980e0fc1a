//! Destinations, uniform over the ranges of the database: the worst case for caches.

use guard_common::packet::Addr;
use guard_user::geo::GeoDb;

/// Destinations in the list, as the bench program has it.
pub(crate) const DRAWS: usize = 1 << 19;

/// SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): the same list at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u128) -> u128 {
        (u128::from(self.next()) << 64 | u128::from(self.next())) % bound.max(1)
    }
}

/// IPv4 destinations: a random range, and in it a random address.
pub(crate) fn v4(db: &GeoDb) -> Vec<Addr> {
    let starts = &db.v4.starts;
    let mut random = Random(4);
    (0..DRAWS)
        .map(|_| {
            let range = random.below(starts.len() as u128) as usize;
            let first = u128::from(starts[range]);
            let end = starts.get(range + 1).map_or(1 << 32, |&end| u128::from(end));
            Addr::from_v4((first + random.below(end - first)) as u32)
        })
        .collect()
}

/// IPv6 destinations likewise.
pub(crate) fn v6(db: &GeoDb) -> Vec<Addr> {
    let starts = &db.v6.starts;
    let mut random = Random(6);
    (0..DRAWS)
        .map(|_| {
            let range = random.below(starts.len() as u128) as usize;
            let first = starts[range];
            let end = starts.get(range + 1).copied().unwrap_or(u128::MAX);
            let address = first + random.below(end - first);
            Addr { hi: (address >> 64) as u64, lo: address as u64 }
        })
        .collect()
}
