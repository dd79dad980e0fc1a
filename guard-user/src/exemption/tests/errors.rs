//! Each kind of error with an example: its place, its field, its words and its hint.

use std::collections::BTreeSet;
use std::path::Path;

use super::{GOOD, NOW, check, good_with, pins, time};
use crate::exemption::document::{DOCUMENT_BYTES, load, parse};
use crate::exemption::{Earlier, Surroundings};

/// The error's short name, the part of the good document that is replaced, what by, and the one error
/// that comes of it.
const EXAMPLES: &[(&str, &str, &str, &str)] = &[
    ("syntax", "version = 1", "version =", "2:10 not TOML: "),
    (
        "syntax",
        "version = 1",
        "id = \"b\"",
        "2:1 not TOML: duplicate key | a key can be given once; only [[recipient]] repeats",
    ),
    ("unknown-key", "pins", "pin", "5:1 pin: there is no such key | did you mean pins?"),
    ("unknown-key", "cidrs", "cidr", "12:1 recipient.cidr: there is no such key | did you mean cidrs?"),
    (
        "unknown-key",
        "jurisdictions = [\"JP\"]",
        "jurisdictions = [\"JP\"]\nports = [\"tcp/1\"]",
        "16:1 recipient.ports: there is no such key | it belongs into the top of the file, before any [header]",
    ),
    (
        "wrong-type",
        "version = 1",
        "version = \"1\"",
        "2:11 version: expected a whole number, found a string | for example version = 1",
    ),
    (
        "wrong-type",
        "2026-12-15T00:00:00Z",
        "\"2026-12-15T00:00:00Z\"",
        "8:15 valid_until: expected a date and time with its zone, found a string | for example valid_until = 2026",
    ),
    (
        "wrong-type",
        "[\"mail\", \"files\"]",
        "\"mail\"",
        "5:8 pins: expected a list of strings, found a string | for example pins = [\"mail\"]",
    ),
    (
        "missing",
        "id = \"mlat-1\"\n",
        "",
        "1:1 id: required, but missing | for example id = \"mlat-2026-0142\"",
    ),
    ("missing", "reference = \"case 2026/0142\"\n", "", "1:1 reference: required, but missing"),
    ("empty-list", "[\"mail\", \"files\"]", "[]", "5:8 pins: the list is empty | for example pins = "),
    ("empty-list", "[\"JP\"]", "[]", "15:17 recipient.jurisdictions: the list is empty | leave it away, or"),
    (
        "no-dimension",
        "jurisdictions = [\"JP\"]\n",
        "",
        "13:1 recipient: none of cidrs, jurisdictions is used | say by what its packets are known",
    ),
    ("bad-name", "\"mlat-1\"", "\"../x\"", "1:6 id: \"../x\" is no name | use a to z, 0 to 9"),
    ("bad-version", "version = 1", "version = 0", "2:11 version: 0 is no version | write a number from 1"),
    ("bad-version", "version = 1", "version = 99999999999", "2:11 version: 99999999999 is no version"),
    (
        "bad-choice",
        "treaty-request",
        "treaty-reqest",
        "3:14 instrument: \"treaty-reqest\" is none of \"adequacy-decision\", ",
    ),
    (
        "foreign-order-alone",
        "treaty-request",
        "foreign-order",
        "3:14 instrument: an order of a third country's court or authority is by itself no ground for a transfer \
         (GDPR Art. 48) | name the ground that it rests on",
    ),
    ("bad-line", "case 2026/0142", "  ", "4:13 reference: \"  \" is empty | write one line of text"),
    ("bad-line", "Anybody in Japan", "a\\nb", "14:8 recipient.name: \"a\\nb\" has a control character"),
    (
        "unknown-pin",
        "\"mail\"",
        "\"mial\"",
        "5:9 pins: there is no pin \"mial\" | did you mean \"mail\"? The config has \"mail\", \"files\", \"backup\"",
    ),
    (
        "unknown-pin",
        "\"mail\"",
        "\"xyzzy\"",
        "5:9 pins: there is no pin \"xyzzy\" | the config has \"mail\", \"files\", \"backup\"",
    ),
    ("bad-port", "tcp/443", "443", "6:10 ports: \"443\" is no port with its protocol"),
    ("unknown-protocol", "tcp/443", "icmp/443", "6:10 ports: \"icmp\" is no protocol with ports"),
    ("reversed-ports", "tcp/443", "tcp/9-1", "6:10 ports: the port range runs backwards"),
    (
        "no-zone",
        "2026-12-15T00:00:00Z",
        "2026-12-15T00:00:00",
        "8:15 valid_until: 2026-12-15T00:00:00 has no zone, and is another moment in each | write \
         2026-12-15T00:00:00Z for UTC",
    ),
    (
        "no-such-time",
        "2026-12-15T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "8:15 valid_until: 9999-12-31T23:59:59-23:59 is no moment that there is",
    ),
    (
        "reversed-window",
        "2026-12-15T00:00:00Z",
        "2026-12-01T08:00:00Z",
        "8:15 valid_until: the window ends at 2026-12-01T08:00:00Z, and does not begin before 2026-12-01T08:00:00Z",
    ),
    (
        "expired",
        "2026-12-15T00:00:00Z",
        "2026-12-02T01:00:00+01:00",
        "8:15 valid_until: the exemption has expired: it ended at 2026-12-02T00:00:00Z, and now it is \
         2026-12-02T00:00:00Z | ask for a renewed approval",
    ),
    ("bad-quota", "1_000_000", "0", "9:15 quota_bytes: 0 is no quota | write the bytes that may leave"),
    ("bad-quota", "1_000_000", "-5", "9:15 quota_bytes: -5 is no quota"),
    ("bad-quota", "1_000_000", "0xffff_ffff_ffff_ffff", "9:15 quota_bytes: 18446744073709551615 is no quota"),
    ("bad-cidr", "2001:db8:20::/48", "recipient", "12:30 recipient.cidrs: \"recipient\" is no CIDR"),
    (
        "no-prefix-length",
        "198.51.100.20/32",
        "198.51.100.20",
        "12:10 recipient.cidrs: 198.51.100.20 has no prefix",
    ),
    ("prefix-too-long", "198.51.100.20/32", "198.51.100.20/33", "12:10 recipient.cidrs: the prefix length"),
    (
        "host-bits",
        "198.51.100.20/32",
        "198.51.100.20/24",
        "12:10 recipient.cidrs: 198.51.100.20/24 has bits set",
    ),
    (
        "mapped-cidr",
        "2001:db8:20::/48",
        "::ffff:192.0.2.0/120",
        "12:30 recipient.cidrs: ::ffff:192.0.2.0/120 is an",
    ),
    (
        "everybody",
        "2001:db8:20::/48",
        "::/0",
        "12:30 recipient.cidrs: ::/0 is everybody | name the recipient's own",
    ),
    (
        "two-reaches",
        "jurisdictions = [\"JP\"]",
        "jurisdictions = [\"JP\"]\ncidrs = [\"203.0.113.0/24\"]",
        "13:1 recipient: the recipient has cidrs and jurisdictions, and it is open which of them bound it | keep the",
    ),
    (
        "bad-jurisdiction",
        "\"JP\"",
        "\"UK\"",
        "15:18 recipient.jurisdictions: \"UK\" is no country | did you mean \"GB\"?",
    ),
    (
        "group-not-country",
        "\"JP\"",
        "\"EU\"",
        "15:18 recipient.jurisdictions: \"EU\" is a group, and one country is needed here | name each country",
    ),
    (
        "mark-not-country",
        "\"JP\"",
        "\"unknown\"",
        "15:18 recipient.jurisdictions: \"unknown\" is a mark and no country | name each country",
    ),
];

/// What each error of the text is, as `line:column field: message | hint`, with its short name.
fn errors(text: &str) -> Vec<(&'static str, String)> {
    let errors = match check(text) {
        Err(found) => found.errors,
        Ok(_) => return Vec::new(),
    };
    let shown = errors.iter().map(|error| {
        let place = error.place.map_or(String::new(), |place| format!("{}:{} ", place.line, place.column));
        (error.kind.code(), format!("{place}{error} | {}", error.kind.hint()))
    });
    shown.collect()
}

#[test]
fn each_kind_of_error_is_found_alone_with_place_field_and_hint() {
    let mut wrong = String::new();
    for &(code, part, replacement, expected) in EXAMPLES {
        let found = errors(&good_with(part, replacement));
        match &found[..] {
            [(found_code, shown)] if *found_code == code && shown.contains(expected) => {}
            _ => wrong += &format!("{replacement:?}\nexpected {code} {expected}\nfound    {found:#?}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_kind_of_error_has_an_example() {
    // These need another document, or what was loaded before, and have tests of their own.
    let elsewhere = ["file-too-long", "still-open", "old-version", "unbounded-derogation"];
    let shown: BTreeSet<&str> = EXAMPLES.iter().map(|example| example.0).chain(elsewhere).collect();
    let table = include_str!("../error.rs").split("pub fn code(&self)").nth(1).unwrap();
    let own: BTreeSet<&str> =
        table.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    assert!(own.len() > 12);
    assert_eq!(own.difference(&shown).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn a_document_with_many_errors_reports_all_of_them_in_the_order_of_the_file() {
    let text = r#"id = "A"
version = -1
instrument = "warrant"
pins = ["mail", 7, "x"]
valid_from = 2026-12-01
valid_until = true
quota = 5
[[recipient]]
[[recipient]]
name = ""
cidrs = ["0.0.0.0/0"]
"#;
    let found: Vec<String> =
        errors(text).into_iter().map(|(_, shown)| shown.split(": ").next().unwrap().to_owned()).collect();
    let expected = [
        "1:1 reference",
        "1:6 id",
        "2:11 version",
        "3:14 instrument",
        "4:17 pins",
        "4:20 pins",
        "5:14 valid_from",
        "6:15 valid_until",
        "7:1 quota",
        "8:1 recipient",
        "8:1 recipient.name",
        "10:8 recipient.name",
        "11:10 recipient.cidrs",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_document_without_recipients_is_refused() {
    let (head, _) = GOOD.split_once("[[recipient]]").unwrap();
    let found = errors(head);
    assert_eq!((found.len(), found[0].0), (1, "missing"), "{found:?}");
    assert!(found[0].1.starts_with("1:1 recipient: required, but missing"), "{found:?}");
    let found = errors(&head.replace("quota_bytes", "recipient = []\nquota_bytes"));
    assert_eq!((found.len(), found[0].0), (1, "empty-list"), "{found:?}");
    let found = errors(&head.replace("quota_bytes", "recipient = \"Department\"\nquota_bytes"));
    assert_eq!((found.len(), found[0].0), (1, "wrong-type"), "{found:?}");
}

#[test]
fn a_derogation_needs_a_quota() {
    let derogation = good_with("treaty-request", "derogation");
    assert_eq!(errors(&derogation), []);
    let found = errors(&derogation.replace("quota_bytes = 1_000_000\n", ""));
    assert_eq!((found.len(), found[0].0), (1, "unbounded-derogation"), "{found:?}");
    assert!(found[0].1.starts_with("3:14 instrument: ") && found[0].1.contains("Art. 49"), "{found:?}");
}

#[test]
fn an_id_that_is_open_and_a_version_that_was_loaded_are_refused() {
    let with = |earlier: Earlier| {
        let pins = pins();
        let earlier = |id: &str| (id == "mlat-1").then_some(earlier);
        let surroundings = Surroundings { pins: Some(&pins), now: Some(time(NOW)), earlier: Some(&earlier) };
        let result =
            parse(Path::new("x.toml"), GOOD.replace("version = 1", "version = 3").as_bytes(), &surroundings);
        result.err().map(|errors| errors.to_string())
    };
    let open = with(Earlier { version: 2, open: true }).unwrap();
    assert!(open.starts_with("x.toml:1:6: error: id: an exemption \"mlat-1\" is open already"), "{open}");
    assert!(open.contains("revoke it first, and load this as version 3 or later"), "{open}");
    for version in [3, 4] {
        let old = with(Earlier { version, open: false }).unwrap();
        let expected = format!(
            "x.toml:2:11: error: version: version 3 of \"mlat-1\" can't be loaded: version {version}"
        );
        assert!(old.starts_with(&expected), "{old}");
    }
    assert_eq!(with(Earlier { version: 2, open: false }), None);
}

#[test]
fn files_that_are_no_documents_are_refused_as_a_whole() {
    let name = Path::new("x.toml");
    let code = |bytes: &[u8]| {
        let errors = parse(name, bytes, &Surroundings::default()).unwrap_err().errors;
        assert_eq!(errors.len(), 1);
        errors[0].kind.code()
    };
    assert_eq!(code(&vec![b'#'; DOCUMENT_BYTES + 1]), "file-too-long");
    assert_eq!(code(b"id = \"\xff\""), "not-utf8");
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("none.toml"), &Surroundings::default()).unwrap_err();
    assert_eq!((missing.errors.len(), missing.errors[0].kind.code()), (1, "unreadable"));
    let endless = load(Path::new("/dev/zero"), &Surroundings::default()).unwrap_err();
    assert_eq!(endless.errors[0].kind.code(), "file-too-long");
}
