//! Files that are no good: each gets one error that says what to do, and none makes the reader panic.

use std::fs;
use std::fs::File;

use proptest::prelude::*;

use super::super::{MAX_BYTES, SPARE_NETWORKS};
use super::*;

fn error(bytes: &[u8]) -> Error {
    parsed(bytes).unwrap_err()
}

#[test]
fn what_is_no_database_is_named_as_what_it_is() {
    assert!(matches!(error(b""), Error::Empty { .. }));
    assert!(matches!(error(b"network,country\n"), Error::NotMmdb { .. }));
    assert!(matches!(error(b"\x1f\x8b\x08\x00more"), Error::Packed { format: "gzip", .. }));
    assert!(matches!(error(b"PK\x03\x04more"), Error::Packed { format: "zip", .. }));
    let shown = error(b"text").to_string();
    assert!(shown.contains("test.mmdb") && shown.contains("download it again"), "{shown}");
}

#[test]
fn what_is_no_readable_file_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = read(&dir.path().join("none.mmdb")).unwrap_err();
    assert!(matches!(missing, Error::Read { .. }));
    assert!(missing.to_string().contains("none.mmdb"), "{missing}");
    assert!(matches!(read(dir.path()).unwrap_err(), Error::NotAFile { .. }));
    assert!(matches!(read(Path::new("/dev/zero")).unwrap_err(), Error::NotAFile { .. }));
    let huge = dir.path().join("huge.mmdb");
    File::create(&huge).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert!(matches!(read(&huge).unwrap_err(), Error::TooLarge { bytes, .. } if bytes == MAX_BYTES + 1));
}

#[test]
fn a_database_without_countries_is_refused_by_its_type() {
    let refused = read(&sample("GeoLite2-ASN-Test.mmdb")).unwrap_err();
    let shown = refused.to_string();
    assert!(matches!(refused, Error::NoCountries { networks, .. } if networks > 100), "{shown}");
    assert!(shown.contains("GeoLite2-ASN") && shown.contains("country or city"), "{shown}");
    assert!(matches!(error(&Writer::new(6).bytes()), Error::NoCountries { networks: 0, .. }));
}

#[test]
fn a_type_with_control_characters_is_shown_escaped() {
    let mut writer = Writer::new(4);
    writer.database_type = "\x1b[2Jclear";
    let shown = error(&writer.bytes()).to_string();
    assert!(shown.contains("\\u{1b}[2Jclear") && !shown.contains('\x1b'), "{shown}");
}

#[test]
fn the_bad_and_the_strange_files_of_maxmind_are_refused() {
    let mut names = Vec::new();
    for entry in fs::read_dir(sample("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".mmdb") && !name.starts_with("Geo") {
            let refused = read(&sample(&name)).unwrap_err();
            assert!(refused.to_string().contains(&name), "{refused}");
            names.push(name);
        }
    }
    assert_eq!(names.len(), 13, "{names:?}");
}

#[test]
fn a_tree_that_unfolds_without_limit_is_refused() {
    // Forty levels, each of which leads to the next one on both sides: 2^40 networks in forty nodes.
    let mut writer = Writer::new(6);
    for node in 0..40 {
        writer.link(node, 0, node + 1);
        writer.link(node, 1, node + 1);
    }
    let refused = error(&writer.bytes());
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
    let limit = SPARE_NETWORKS + 41 * 8;
    assert!(refused.to_string().contains(&format!("more than {limit} networks")), "{refused}");
    // A node that leads back to itself.
    let mut writer = Writer::new(6);
    writer.link(0, 0, 0);
    writer.link(0, 1, 0);
    assert!(matches!(error(&writer.bytes()), Error::Damaged { .. }));
}

#[test]
fn every_truncation_is_refused() {
    let whole = fs::read(sample("GeoIP2-Country-Test.mmdb")).unwrap();
    // The metadata is at the end, so every cut before it leaves no database, and every cut in it a
    // damaged one.
    let metadata = whole.windows(11).rposition(|window| window == b"MaxMind.com").unwrap() - 3;
    for length in (0..metadata).step_by(97).chain(metadata..whole.len()) {
        let refused = error(&whole[..length]);
        let expected = match length {
            0 => matches!(refused, Error::Empty { .. }),
            length if length < metadata + 14 => matches!(refused, Error::NotMmdb { .. }),
            _ => matches!(refused, Error::Damaged { .. }),
        };
        assert!(expected, "{length} of {}: {refused}", whole.len());
    }
}

fn small() -> Vec<u8> {
    let mut writer = Writer::new(6);
    let plain = writer.record(&map([("country_code", text("IE"))]));
    let nested = writer.record(&map([
        ("country", map([("iso_code", text("US"))])),
        ("traits", map([("is_anycast", Value::Yes(true))])),
        ("list", Value::List(vec![Value::U64(1), text("x")])),
    ]));
    writer.network(v6_key("192.0.2.0"), 120, plain);
    writer.network(v6_key("198.51.100.0"), 120, nested);
    writer.network(v6_key("2001:db8::"), 32, plain);
    writer.alias(v6_key("2002::"), 16, 0, 96);
    writer.bytes()
}

/// Whatever the bytes are: a sound database or an error, and no panic.
fn holds(bytes: &[u8]) {
    if let Ok(db) = parsed(bytes) {
        assert!(db.v4.is_sound() && db.v6.is_sound());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_never_make_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = small();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        holds(&bytes);
    }

    #[test]
    fn changed_metadata_and_data_never_make_it_panic(
        changes in prop::collection::vec((0usize..400, any::<u8>()), 1..6),
    ) {
        let mut bytes = small();
        for (from_end, value) in changes {
            let at = bytes.len() - 1 - from_end.min(bytes.len() - 1);
            bytes[at] = value;
        }
        holds(&bytes);
    }

    #[test]
    fn random_bytes_never_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
    ) {
        holds(&bytes);
        let marker = b"\xab\xcd\xefMaxMind.com";
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, marker.iter().copied());
        holds(&bytes);
    }
}
