//! The walk over the tree, against the networks that were written and against the reader's own lookup.

use std::fs;
use std::time::Instant;

use proptest::prelude::*;

use super::super::super::Warning;
use super::*;

/// The aliases that MaxMind's writer makes of the IPv4 part.
const ALIASES: [(&str, u32); 3] = [("::ffff:0:0", 96), ("2002::", 16), ("2001::", 32)];

fn write(
    ip_version: u16,
    record_size: u16,
    networks: &[(u128, u32, &'static str)],
    aliases: bool,
) -> Vec<u8> {
    let mut writer = Writer::new(ip_version);
    writer.record_size = record_size;
    for (key, prefix, code) in networks {
        let record = writer.record(&map([("country_code", text(code))]));
        writer.network(*key, *prefix, record);
    }
    if aliases {
        for (key, prefix) in ALIASES {
            writer.alias(v6_key(key), prefix, 0, 96);
        }
    }
    writer.bytes()
}

#[test]
fn both_families_of_one_file_are_found_once_in_all_record_sizes() {
    let networks = [
        (v6_key("192.0.2.0"), 120, "IE"),
        (v6_key("192.0.3.0"), 120, "IE"),
        (v6_key("203.0.113.128"), 121, "US"),
        (v6_key("2001:db8::"), 32, "BE"),
        (v6_key("2a00::"), 16, "FR"),
    ];
    for record_size in [24, 28, 32] {
        let db = compare_with_oracle(write(6, record_size, &networks, true));
        let v4: Vec<_> = db.v4.iter().map(|(start, place)| (start, place.as_str())).collect();
        let ip = |text: &str| u32::from(text.parse::<std::net::Ipv4Addr>().unwrap());
        assert_eq!(
            v4,
            [
                (0, "unknown"),
                (ip("192.0.2.0"), "IE"),
                (ip("192.0.4.0"), "unknown"),
                (ip("203.0.113.128"), "US"),
                (ip("203.0.114.0"), "unknown")
            ]
        );
        let v6: Vec<_> = db.v6.iter().map(|(start, place)| (start, place.as_str())).collect();
        assert_eq!(
            v6,
            [
                (0, "unknown"),
                (v6_key("2001:db8::"), "BE"),
                (v6_key("2001:db9::"), "unknown"),
                (v6_key("2a00::"), "FR"),
                (v6_key("2a01::"), "unknown")
            ]
        );
        assert_eq!((db.info.ranges_v4, db.info.ranges_v6), (5, 5));
        assert_eq!(db.info.warnings, []);
        assert_eq!(db.info.generated.unwrap().as_second(), 1_790_000_000);
        assert_eq!(db.info.source, "Test-Country from test.mmdb");
    }
}

#[test]
fn a_file_for_ipv4_leaves_ipv6_unknown_and_says_so() {
    let db = compare_with_oracle(write(4, 24, &[(v4_key("192.0.2.0"), 24, "IE")], false));
    assert_eq!(db.v6.count(), 1);
    assert_eq!(db.lookup("2001:db8::1".parse().unwrap()), Jurisdiction::UNKNOWN);
    assert_eq!(db.info.warnings, [Warning::NoIpv6]);
}

#[test]
fn a_file_for_ipv6_leaves_ipv4_unknown_and_says_so() {
    let db = compare_with_oracle(write(6, 28, &[(v6_key("2001:db8::"), 32, "IE")], false));
    assert_eq!(db.v4.count(), 1);
    assert_eq!(db.info.warnings, [Warning::NoIpv4]);
}

#[test]
fn a_date_of_zero_or_out_of_range_is_no_date() {
    for epoch in [0, i64::MAX as u64] {
        let mut writer = Writer::new(4);
        writer.build_epoch = epoch;
        let record = writer.record(&map([("country", text("IE"))]));
        writer.network(v4_key("192.0.2.0"), 24, record);
        let info = parsed(&writer.bytes()).unwrap().info;
        assert_eq!(info.generated, None);
        assert!(info.warnings.contains(&Warning::Undated));
    }
}

#[test]
fn a_record_above_the_ipv4_part_holds_for_all_of_ipv4_and_hides_no_other_use_of_it() {
    let mut writer = Writer::new(6);
    let record = writer.record(&map([("country", text("IE"))]));
    writer.network(0, 64, record);
    writer.network(v6_key("2a00::"), 16, record);
    let db = compare_with_oracle(writer.bytes());
    for address in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::1:0:0:0", "2a00::1"] {
        assert_eq!(db.lookup(address.parse().unwrap()), place("IE"), "{address}");
    }
    assert_eq!(db.lookup("0:0:0:1::".parse().unwrap()), Jurisdiction::UNKNOWN);
}

#[test]
fn what_stands_under_an_ipv4_carrying_prefix_is_left_to_the_ipv4_address() {
    let networks = [
        (v6_key("2001::"), 33, "US"),
        (v6_key("2001:1::"), 32, "IE"),
        (v6_key("2002:c000:200::"), 40, "US"),
        (v6_key("64:ff9b::c000:200"), 120, "US"),
        (v6_key("64:ff9b:1::"), 48, "BE"),
    ];
    let db = parsed(&write(6, 24, &networks, false)).unwrap();
    for (address, expected) in [
        ("2001::1", "unknown"),
        ("2001:1::1", "IE"),
        ("2002:c000:201::", "unknown"),
        ("64:ff9b::c000:201", "unknown"),
        ("64:ff9b:1::1", "BE"),
        ("2003::", "unknown"),
    ] {
        assert_eq!(db.lookup(address.parse().unwrap()).as_str(), expected, "{address}");
    }
}

#[test]
fn the_files_of_maxmind_are_read_as_their_own_lookup_reads_them() {
    for name in ["GeoIP2-Country-Test.mmdb", "GeoIP2-City-Test.mmdb"] {
        let db = compare_with_oracle(fs::read(sample(name)).unwrap());
        assert!(db.info.ranges_v4 > 20 && db.info.ranges_v6 > 400, "{name}: {:?}", db.info);
        assert!(db.info.source.starts_with("GeoIP2-"), "{}", db.info.source);
        assert_eq!(read(&sample(name)).unwrap().v4, db.v4);
        // Of MaxMind's source data: a Swedish network, an American one, and one that is only registered.
        assert_eq!(db.lookup("89.160.20.112".parse().unwrap()), place("SE"), "{name}");
        assert_eq!(db.lookup("216.160.83.56".parse().unwrap()), place("US"), "{name}");
    }
}

proptest! {
    #[test]
    fn every_address_is_where_the_longest_written_network_puts_it(
        wanted in prop::collection::vec(
            (any::<bool>(), any::<u128>(), 8u32..=32, prop::sample::select(vec!["IE", "BE", "US", "EU"])),
            1..40,
        ),
        record_size in prop::sample::select(vec![24u16, 28, 32]),
        aliases in any::<bool>(),
    ) {
        let mut networks: Vec<(u128, u32, &'static str)> = Vec::new();
        for (is_v4, random, length, code) in wanted {
            let (first, prefix) = if is_v4 {
                (u128::from(random as u32), 96 + length)
            } else {
                // Under 3000::/4, clear of the aliases.
                (3 << 124 | random >> 4, length + (random % 97) as u32)
            };
            let key = first >> (128 - prefix) << (128 - prefix);
            let overlaps = |(other, length, _): &(u128, u32, &str)| {
                let shorter = 128 - prefix.min(*length);
                key >> shorter == other >> shorter
            };
            if !networks.iter().any(overlaps) {
                networks.push((key, prefix, code));
            }
        }
        // At least one country, out of the others' way.
        networks.push((v6_key("2a00::"), 16, "IS"));
        let bytes = write(6, record_size, &networks, aliases);
        let db = parsed(&bytes).unwrap();
        prop_assert!(db.v4.is_sound() && db.v6.is_sound());
        let written = |key: u128| {
            networks
                .iter()
                .find(|(network, prefix, _)| key >> (128 - prefix) == network >> (128 - prefix))
                .map_or(Jurisdiction::UNKNOWN, |(.., code)| code.parse().unwrap_or(Jurisdiction::UNKNOWN))
        };
        for (key, prefix, _) in &networks {
            let last = key | (u128::MAX.checked_shr(*prefix).unwrap_or(0));
            for address in [key.wrapping_sub(1), *key, key + (last - key) / 2, last, last.wrapping_add(1)] {
                if address < PAST_IPV4 {
                    prop_assert_eq!(db.v4.lookup(address as u32), written(address));
                } else {
                    prop_assert_eq!(db.v6.lookup(address), written(address));
                }
            }
        }
        compare_with_oracle(bytes);
    }
}

/// For a whole database of a provider, which is too large to keep here. Prints what was seen.
#[test]
#[ignore = "needs a database: BORDERGUARD_TEST_MMDB=/path/to/file.mmdb (for instance of the npm package @ip-location-db/geo-whois-asn-country-mmdb)"]
fn a_real_database_is_read_as_its_own_lookup_reads_it() {
    let path = PathBuf::from(std::env::var_os("BORDERGUARD_TEST_MMDB").unwrap());
    let begin = Instant::now();
    let db = read(&path).unwrap();
    let elapsed = begin.elapsed();
    println!("{elapsed:?}: {:#?}", db.info);
    compare_with_oracle(fs::read(&path).unwrap());
    let reader = Reader::open_readfile(&path).unwrap();
    // A fixed sequence of well spread addresses (Knuth's multiplier).
    let mut random = 1u128;
    for _ in 0..200_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let v4 = IpAddr::V4(((random >> 32) as u32).into());
        assert_eq!(db.lookup(v4), oracle(&reader, v4), "{v4}");
        let v6 = 0x2000 << 112 | random.rotate_left(64) >> 3;
        if reader.metadata().ip_version == 6 && !by_ipv4(v6) {
            let v6 = IpAddr::V6(v6.into());
            assert_eq!(db.lookup(v6), oracle(&reader, v6), "{v6}");
        }
    }
}
