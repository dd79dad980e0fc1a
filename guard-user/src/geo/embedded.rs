//! The embedded database: what is there when the operator brings none.
//!
//! It is the IPFire location database as the crate `tor-geoip-db` carries it: raw sorted range starts and
//! one country code for each, ready to be read without parsing.

use std::num::NonZeroU16;

use guard_common::jurisdiction::Jurisdiction;

use super::{Address, GeoDb, Info, Runs};

/// The version of `tor-geoip-db` that the constants here describe.
const CRATE_VERSION: &str = "0.1.1";

/// `Generated:` in the crate's `doc/export-info-v4.txt` and `-v6.txt`, in seconds since 1970: 23 September
/// 2026, 04:35:31 UTC.
const GENERATED: i64 = 1_790_138_131;

/// `License:` and `Vendor:` in the same files.
const LICENCE: &str = "CC BY-SA 4.0, IPFire Project (https://location.ipfire.org/)";

/// How many codes of two capital letters there are.
const CODES: usize = 26 * 26;

/// The embedded database. It takes a few milliseconds and is not kept: a caller that needs it again loads
/// it again.
#[must_use]
pub fn load() -> GeoDb {
    let mut info = Info {
        source: format!("embedded tor-geoip-db {CRATE_VERSION} (IPFire Location)"),
        licence: Some(LICENCE.to_owned()),
        generated: jiff::Timestamp::from_second(GENERATED).ok(),
        ..Info::default()
    };
    let by_code = jurisdictions_by_code();
    let v4 = runs(tor_geoip_db::ipv4s(), tor_geoip_db::ipv4c(), &by_code, &mut info);
    let v6 = runs(tor_geoip_db::ipv6s(), tor_geoip_db::ipv6c(), &by_code, &mut info);
    GeoDb::assemble(v4, v6, info)
}

/// The jurisdiction of each pair of capital letters, or `None` where no jurisdiction has it.
fn jurisdictions_by_code() -> [Option<Jurisdiction>; CODES] {
    let mut by_code = [None; CODES];
    for jurisdiction in Jurisdiction::all().filter(|jurisdiction| jurisdiction.is_country()) {
        if let &[first, second] = jurisdiction.as_str().as_bytes()
            && let Some(entry) = by_code.get_mut(index([first, second]))
        {
            *entry = Some(jurisdiction);
        }
    }
    by_code
}

/// A code's two letters; the crate keeps the first one in the low byte.
fn letters(code: NonZeroU16) -> [u8; 2] {
    code.get().to_le_bytes()
}

/// Where the code stands in a list by code; past its end for what is no pair of capital letters.
fn index([first, second]: [u8; 2]) -> usize {
    if first.is_ascii_uppercase() && second.is_ascii_uppercase() {
        usize::from(first - b'A') * 26 + usize::from(second - b'A')
    } else {
        CODES
    }
}

fn runs<K: Address>(
    starts: &[K],
    codes: &[Option<NonZeroU16>],
    by_code: &[Option<Jurisdiction>; CODES],
    info: &mut Info,
) -> Runs<K> {
    // One more, as the data may begin past the lowest address.
    let mut runs = Runs::with_capacity(starts.len() + 1);
    // Tens of thousands of entries have such codes, but hardly ten codes are among them.
    let mut unassigned: Vec<(NonZeroU16, usize)> = Vec::new();
    for (start, code) in starts.iter().zip(codes) {
        let place = code.map_or(Jurisdiction::UNKNOWN, |code| {
            by_code.get(index(letters(code))).copied().flatten().unwrap_or_else(|| {
                match unassigned.iter_mut().find(|(known, _)| *known == code) {
                    Some((_, count)) => *count += 1,
                    None => unassigned.push((code, 1)),
                }
                Jurisdiction::UNKNOWN
            })
        });
        runs.push(*start, place);
    }
    for (code, count) in unassigned {
        let code = String::from_utf8_lossy(&letters(code)).into_owned();
        *info.skipped.entry(code).or_default() += count;
    }
    runs.shrink()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// The crate's own answer, found by looking at one entry after the other.
    fn scan<K: Address>(starts: &[K], codes: &[Option<NonZeroU16>], address: K) -> Jurisdiction {
        let mut found = None;
        for (start, code) in starts.iter().zip(codes) {
            if *start <= address {
                found = *code;
            }
        }
        plain(found)
    }

    fn plain(code: Option<NonZeroU16>) -> Jurisdiction {
        code.and_then(|code| Jurisdiction::from_alpha2(code.get().to_le_bytes()))
            .unwrap_or(Jurisdiction::UNKNOWN)
    }

    #[test]
    fn the_constants_describe_the_crate_that_is_built_in() {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        let lock: toml::Table = fs::read_to_string(lock).unwrap().parse().unwrap();
        let version = lock["package"]
            .as_array()
            .unwrap()
            .iter()
            .find(|package| package["name"].as_str() == Some("tor-geoip-db"))
            .and_then(|package| package["version"].as_str());
        assert_eq!(
            version,
            Some(CRATE_VERSION),
            "look up date and licence in the new version's doc/export-info-v4.txt"
        );
        let info = load().info;
        assert_eq!(info.generated.unwrap().to_string(), "2026-09-23T04:35:31Z");
        assert_eq!(info.warnings, []);
    }

    #[test]
    fn runs_are_sound_and_skipped_codes_are_none_of_iso() {
        let db = load();
        assert!(db.v4.is_sound() && db.v6.is_sound());
        assert_eq!((db.info.ranges_v4, db.info.ranges_v6), (db.v4.count(), db.v6.count()));
        // Merging loses no more than neighbours that are unknown on different grounds.
        assert!(db.info.ranges_v4 > 380_000 && db.info.ranges_v6 > 250_000, "{:?}", db.info);
        let codes = [tor_geoip_db::ipv4c(), tor_geoip_db::ipv6c()];
        let mut expected = BTreeMap::new();
        for code in codes.into_iter().flatten().flatten() {
            let letters = code.get().to_le_bytes();
            if Jurisdiction::from_alpha2(letters).is_none() {
                *expected.entry(String::from_utf8(letters.to_vec()).unwrap()).or_insert(0) += 1;
            }
        }
        assert_eq!(db.info.skipped, expected);
        assert!(expected.contains_key("EU") && expected.contains_key("AP"));
    }

    #[test]
    fn every_boundary_and_its_neighbours_are_as_in_the_raw_data() {
        fn compare<K: Address>(
            runs: &Runs<K>,
            starts: &[K],
            codes: &[Option<NonZeroU16>],
            before: impl Fn(K) -> Option<K>,
            after: impl Fn(K) -> K,
        ) {
            assert_eq!(starts.len(), codes.len());
            let mut previous = Jurisdiction::UNKNOWN;
            for (i, (start, code)) in starts.iter().zip(codes).enumerate() {
                assert_eq!(runs.lookup(*start), plain(*code), "{start:x?}");
                if let Some(before) = before(*start) {
                    assert_eq!(runs.lookup(before), previous, "{before:x?}");
                }
                if starts.get(i + 1).is_none_or(|next| after(*start) < *next) {
                    assert_eq!(runs.lookup(after(*start)), plain(*code), "{start:x?}");
                }
                previous = plain(*code);
            }
        }
        let db = load();
        let (v4s, v6s) = (tor_geoip_db::ipv4s(), tor_geoip_db::ipv6s());
        compare(&db.v4, v4s, tor_geoip_db::ipv4c(), |a| a.checked_sub(1), |a| a.saturating_add(1));
        compare(&db.v6, v6s, tor_geoip_db::ipv6c(), |a| a.checked_sub(1), |a| a.saturating_add(1));
        assert_eq!(db.v4.lookup(u32::MAX), plain(*tor_geoip_db::ipv4c().last().unwrap()));
        assert_eq!(db.v6.lookup(u128::MAX), plain(*tor_geoip_db::ipv6c().last().unwrap()));
        assert_eq!(db.v4.lookup(0), Jurisdiction::UNKNOWN);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn random_addresses_are_as_in_the_raw_data(
            v4 in prop::collection::vec(any::<u32>(), 8),
            // Nearly all of what is announced lies in 2000::/3.
            v6 in prop::collection::vec((0x2000u128 << 112)..(0x3000u128 << 112), 6),
            anywhere in any::<u128>(),
        ) {
            let db = load();
            for address in v4 {
                let expected = scan(tor_geoip_db::ipv4s(), tor_geoip_db::ipv4c(), address);
                prop_assert_eq!(db.v4.lookup(address), expected, "{:x}", address);
            }
            for address in v6.into_iter().chain([anywhere]) {
                let expected = scan(tor_geoip_db::ipv6s(), tor_geoip_db::ipv6c(), address);
                prop_assert_eq!(db.v6.lookup(address), expected, "{:x}", address);
            }
        }
    }
}
