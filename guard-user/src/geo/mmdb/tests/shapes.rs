//! Records as the makers of databases write them.

use super::*;

/// The place of one network with this record, and what was counted as skipped. A second network names
/// `IS`, so that the file is never without countries.
fn place_of(record: Value) -> (Jurisdiction, Vec<(String, usize)>) {
    let mut writer = Writer::new(4);
    let record = writer.record(&record);
    writer.network(v4_key("192.0.2.0"), 24, record);
    let other = writer.record(&map([("country", text("IS"))]));
    writer.network(v4_key("198.51.100.0"), 24, other);
    let db = parsed(&writer.bytes()).unwrap();
    assert_eq!(db.lookup("198.51.100.255".parse().unwrap()), place("IS"));
    assert_eq!(db.lookup("192.0.1.255".parse().unwrap()), Jurisdiction::UNKNOWN);
    assert_eq!(db.lookup("192.0.3.0".parse().unwrap()), Jurisdiction::UNKNOWN);
    let first = db.lookup("192.0.2.0".parse().unwrap());
    assert_eq!(db.lookup("192.0.2.255".parse().unwrap()), first);
    (first, db.info.skipped.into_iter().collect())
}

fn iso(code: &'static str) -> Value {
    map([("geoname_id", Value::U32(7)), ("iso_code", text(code)), ("names", map([("en", text("Name"))]))])
}

#[test]
fn countries_are_found_in_every_shape() {
    for (maker, record) in [
        (
            "MaxMind and DB-IP",
            map([
                ("continent", map([("code", text("EU"))])),
                ("country", iso("IE")),
                ("registered_country", iso("US")),
                ("traits", map([("is_anycast", Value::Yes(false))])),
            ]),
        ),
        ("MaxMind, at home", map([("country", iso("IE")), ("represented_country", iso("IE"))])),
        (
            "IPinfo Lite",
            map([
                ("asn", text("AS64496")),
                ("continent", text("Europe")),
                ("continent_code", text("EU")),
                ("country", text("Ireland")),
                ("country_code", text("IE")),
            ]),
        ),
        (
            "IPinfo before",
            map([("country", text("IE")), ("country_name", text("Ireland")), ("is_anycast", text("false"))]),
        ),
        ("IPLocate and ip-location-db", map([("country_code", text("IE"))])),
        ("small letters", map([("country_code", text("ie"))])),
        (
            "with fields of other types",
            map([
                ("country_code", text("IE")),
                ("country", Value::List(vec![text("x")])),
                ("traits", text("x")),
            ]),
        ),
    ] {
        assert_eq!(place_of(record), (place("IE"), vec![]), "{maker}");
    }
}

#[test]
fn anycast_is_uncertain_in_every_shape() {
    for record in [
        map([("country", iso("IE")), ("traits", map([("is_anycast", Value::Yes(true))]))]),
        map([("country_code", text("IE")), ("is_anycast", Value::Yes(true))]),
        map([("country", text("IE")), ("is_anycast", text("true"))]),
        map([("country", text("IE")), ("anycast", text("True"))]),
        map([("country", text("IE")), ("is_anycast", Value::U32(1))]),
        map([("is_anycast", Value::Yes(true))]),
    ] {
        assert_eq!(place_of(record.clone()), (Jurisdiction::UNCERTAIN, vec![]), "{record:?}");
    }
}

#[test]
fn a_country_that_is_only_registered_or_also_represented_is_uncertain() {
    assert_eq!(place_of(map([("registered_country", iso("IE"))])), (Jurisdiction::UNCERTAIN, vec![]));
    let base = map([("country", iso("DE")), ("represented_country", iso("US"))]);
    assert_eq!(place_of(base), (Jurisdiction::UNCERTAIN, vec![]));
}

#[test]
fn kosovo_has_a_place() {
    assert_eq!(place_of(map([("country", iso("XK"))])), ("XK".parse().unwrap(), vec![]));
    assert_eq!(place_of(map([("country_code", text("xk"))])), ("XK".parse().unwrap(), vec![]));
}

#[test]
fn what_is_no_assigned_code_is_unknown_and_counted() {
    for (record, key) in [
        (map([("country", iso("EU"))]), "EU"),
        (map([("country_code", text("ap"))]), "AP"),
        (map([("country", iso("EU")), ("registered_country", iso("IE"))]), "EU"),
        (map([("country_code", text("XA"))]), "XA"),
        (map([("country_code", text("-"))]), "none"),
        (map([("country_code", text(""))]), "none"),
        (map([("country", text("Ireland"))]), "none"),
        (map([("country", Value::U32(372))]), "none"),
        (map([("continent", map([("code", text("EU"))]))]), "none"),
        (map([("registered_country", iso("EU"))]), "none"),
        (map([]), "none"),
        (text("IE"), "none"),
        (Value::List(vec![text("IE")]), "none"),
        (Value::U32(1), "none"),
    ] {
        let shown = format!("{record:?}");
        assert_eq!(place_of(record), (Jurisdiction::UNKNOWN, vec![(key.to_owned(), 1)]), "{shown}");
    }
}

#[test]
fn each_network_with_a_useless_record_counts_also_where_they_share_it() {
    let mut writer = Writer::new(4);
    let good = writer.record(&map([("country", text("IS"))]));
    let useless = writer.record(&map([("country", text("EU"))]));
    writer.network(v4_key("192.0.2.0"), 24, useless);
    writer.network(v4_key("198.51.100.0"), 24, good);
    writer.network(v4_key("203.0.113.0"), 24, useless);
    assert_eq!(parsed(&writer.bytes()).unwrap().info.skipped["EU"], 2);
}
