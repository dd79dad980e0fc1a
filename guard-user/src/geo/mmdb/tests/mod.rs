//! Tests of the MMDB reader: shapes of records, the walk against oracles, and files that are no good.

mod bad_files;
mod shapes;
mod walk;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use guard_common::jurisdiction::Jurisdiction;
use maxminddb::{Reader, path};

use super::super::GeoDb;
use super::writer::{Value, Writer};
use super::{BY_IPV4, Error, PAST_IPV4, parse, read};

/// A file of MaxMind's test data.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/mmdb/testdata").join(name)
}

fn parsed(bytes: &[u8]) -> Result<GeoDb, Error> {
    parse(bytes, Path::new("test.mmdb"))
}

fn text(text: &'static str) -> Value {
    Value::Text(text)
}

fn map<const N: usize>(entries: [(&'static str, Value); N]) -> Value {
    Value::Map(entries.into())
}

fn place(text: &str) -> Jurisdiction {
    text.parse().unwrap()
}

/// The left-aligned key of an IPv4 network in an IPv4 file.
fn v4_key(address: &str) -> u128 {
    u128::from(u32::from(address.parse::<std::net::Ipv4Addr>().unwrap())) << 96
}

/// The key of an address in an IPv6 file.
fn v6_key(address: &str) -> u128 {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// What the reader's own lookup and path decoding say of an address.
fn oracle(reader: &Reader<Vec<u8>>, address: IpAddr) -> Jurisdiction {
    let found = reader.lookup(address).unwrap();
    let code = |path: &[maxminddb::PathElement<'_>]| {
        found.decode_path::<&str>(path).ok().flatten().filter(|code| code.len() == 2)
    };
    let yes =
        |path: &[maxminddb::PathElement<'_>]| found.decode_path::<bool>(path).ok().flatten() == Some(true);
    if yes(&path!["traits", "is_anycast"]) || yes(&path!["is_anycast"]) {
        return Jurisdiction::UNCERTAIN;
    }
    let country = code(&path!["country", "iso_code"])
        .or_else(|| code(&path!["country_code"]))
        .or_else(|| code(&path!["country"]));
    let represented = code(&path!["represented_country", "iso_code"]);
    match (country, code(&path!["registered_country", "iso_code"])) {
        (Some(country), _) if represented.is_some_and(|other| other != country) => Jurisdiction::UNCERTAIN,
        (Some(country), _) => country.parse().unwrap_or(Jurisdiction::UNKNOWN),
        (None, Some(_)) => Jurisdiction::UNCERTAIN,
        (None, None) => Jurisdiction::UNKNOWN,
    }
}

/// Whether an IPv6 address is one that its IPv4 address places.
fn by_ipv4(address: u128) -> bool {
    address < PAST_IPV4 || BY_IPV4.iter().any(|(first, last)| (*first..=*last).contains(&address))
}

/// Holds every run's first, last and middle address against the oracle.
fn compare_with_oracle(bytes: Vec<u8>) -> GeoDb {
    let db = parsed(&bytes).unwrap();
    assert!(db.v4.is_sound() && db.v6.is_sound());
    let reader = Reader::from_source(bytes).unwrap();
    for (i, start) in db.v4.starts.iter().enumerate() {
        let last = db.v4.starts.get(i + 1).map_or(u32::MAX, |next| next - 1);
        for address in [*start, start + (last - start) / 2, last] {
            let ip = IpAddr::V4(address.into());
            assert_eq!(db.lookup(ip), oracle(&reader, ip), "{ip}");
        }
    }
    if reader.metadata().ip_version == 6 {
        for (i, start) in db.v6.starts.iter().enumerate() {
            let last = db.v6.starts.get(i + 1).map_or(u128::MAX, |next| next - 1);
            for address in [*start, start + (last - start) / 2, last] {
                let ip = IpAddr::V6(address.into());
                if !by_ipv4(address) {
                    assert_eq!(db.lookup(ip), oracle(&reader, ip), "{ip}");
                }
            }
        }
    }
    db
}
