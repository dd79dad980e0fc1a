//! Each kind of error with an example: its place, its field, its words and its hint.

use std::collections::BTreeSet;
use std::path::Path;

use super::{GOOD, NOW, check, good_with, pins, time};
use crate::config::tests::findings::{Example, each_is_found_alone, told};
use crate::exemption::limits::DOCUMENT_BYTES;
use crate::exemption::{Earlier, Standing, Surroundings, load, parse};

/// One example, or a few, for each kind of error.
const EXAMPLES: &[Example] = &[
    ("syntax", "version = 1", "version =", "2:10 not TOML: "),
    (
        "syntax",
        "version = 1",
        "id = \"b\"",
        "2:1 not TOML: duplicate key | a key and a [table] can be given once; only [[recipient]] and",
    ),
    ("unknown-key", "pins", "pin", "3:1 pin: there is no such key | did you mean pins?"),
    (
        "unknown-key",
        "cidrs = [\"203",
        "cidr = [\"203",
        "42:1 recipient.cidr: there is no such key | did you mean cidrs?",
    ),
    (
        "unknown-key",
        "[exporter]",
        "[exporter]\nbasis = \"art-6-1-c\"",
        "22:1 exporter.basis: there is no such key | it belongs in [instrument]",
    ),
    (
        "unknown-key",
        "[exporter]",
        "[exporters]",
        "21:2 exporters: there is no such key | did you mean [exporter]?",
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
        "2027-06-01",
        "\"June\"",
        "27:13 assessment.review_by: expected a date, or a date and time with its zone, found a string",
    ),
    (
        "wrong-type",
        "[\"mail\", \"files\"]",
        "\"mail\"",
        "3:8 pins: expected a list of strings, found a string | for example pins = [\"mail\"]",
    ),
    (
        "missing",
        "id = \"mlat-1\"\n",
        "",
        "1:1 id: required, but missing | for example id = \"mlat-2026-0142\"",
    ),
    ("missing", "purpose = \"Evidence in case 2026/0142\"\n", "", "1:1 purpose: required, but missing"),
    (
        "missing",
        "basis = \"art-6-1-c\"\n",
        "",
        "11:1 instrument.basis: required, but missing | for example basis = \"art-6-1-c\"",
    ),
    ("missing", "jurisdiction = \"JP\"\n", "", "39:1 recipient.jurisdiction: required, but missing"),
    ("missing", "count = 1\n", "", "31:1 approval.required.count: required, but missing"),
    (
        "missing",
        "[exporter]\nname = \"Example Mail Ireland Ltd\"\nrole = \"controller\"\ncontact = \"privacy@example.org\"\n",
        "",
        "1:1 exporter: required, but missing | for example [exporter] with its keys below it",
    ),
    ("empty-list", "[\"mail\", \"files\"]", "[]", "3:8 pins: the list is empty | for example pins = "),
    (
        "empty-list",
        "[\"203.0.113.0/24\"]",
        "[]",
        "42:9 recipient.cidrs: the list is empty | leave it out, or",
    ),
    ("bad-name", "\"mlat-1\"", "\"../x\"", "1:6 id: \"../x\" is no name | use a to z, 0 to 9"),
    ("bad-name", "\"mlat-1\"", "\"m \"", "1:6 id: \"m \" is no name | write it without the blank"),
    ("bad-name", "\"legal\"", "\"The law\"", "32:8 approval.required.role: \"The law\" is no name"),
    ("bad-version", "version = 1", "version = 0", "2:11 version: 0 is not a version | write a number from 1"),
    ("bad-version", "version = 1", "version = 99999999999", "2:11 version: 99999999999 is not a version"),
    ("bad-version", "version = 1", "version = 1\nreplaces = 0", "3:12 replaces: 0 is not a version"),
    (
        "replaces-later",
        "version = 1",
        "version = 1\nreplaces = 1",
        "3:12 replaces: version 1 can't replace version 1 | the first version replaces nothing",
    ),
    (
        "replaces-later",
        "version = 1",
        "version = 3\nreplaces = 4",
        "3:12 replaces: version 3 can't replace version 4 | write the version that is open, at most 2",
    ),
    (
        "bad-choice",
        "treaty-request",
        "treaty-reqest",
        "12:8 instrument.type: \"treaty-reqest\" is none of \"adequacy-decision\", ",
    ),
    ("bad-choice", "art-46-2-a", "art-46", "15:10 instrument.ground: \"art-46\" is none of \"art-45\", "),
    ("bad-choice", "art-6-1-c", "art-6", "16:9 instrument.basis: \"art-6\" is none of \"art-6-1-a\", "),
    (
        "bad-choice",
        "\"controller\"",
        "\"owner\"",
        "23:8 exporter.role: \"owner\" is none of \"controller\", \"processor\"",
    ),
    (
        "bad-line",
        "\"case 2026/0142\"",
        "\"  \"",
        "18:13 instrument.reference: \"  \" is empty | write one line of text",
    ),
    (
        "unseen-character",
        "Translation office",
        "a\\nb",
        "40:8 recipient.name: \"a\\nb\" has a control character or a line break, U+000A as character 2",
    ),
    (
        "unseen-character",
        "reference = \"case 2026/0142\"",
        "reference = \"case\\u00A02026\"",
        "18:13 instrument.reference: \"case\\u{a0}2026\" has a character that nobody sees, or that turns text around, U+00A0 as \
         character 5 | write it without",
    ),
    ("unseen-character", "\"mail\"", "\"ma\u{202e}il\"", "3:9 pins: \"ma\\u{202e}il\" has a character"),
    (
        "unseen-character",
        "\"US\"",
        "\"U\u{200d}S\"",
        "36:16 recipient.jurisdiction: \"U\\u{200d}S\" has a character",
    ),
    (
        "unseen-character",
        "tcp/443",
        "tcp/44\u{fe0f}3",
        "38:10 recipient.ports: \"tcp/44\\u{fe0f}3\" has a mark that nobody sees",
    ),
    (
        "unseen-character",
        "aoife@example",
        "aoife\u{378}@example",
        "30:13 approval.submitter: \"aoife\\u{378}@example.org\" has a character that Unicode does not have, or leaves to each font, U+0378",
    ),
    (
        "unseen-character",
        "count = 1",
        "count = 1 # of\u{2067} two",
        "33:15 this line has a character that nobody sees, or that turns text around, U+2067 as character 15 | remove it",
    ),
    (
        "large-network",
        "203.0.113.0/24",
        "203.0.0.0/15",
        "42:10 recipient.cidrs: 203.0.0.0/15 is larger than a /16, and nothing says why | name the recipient's own hosts",
    ),
    (
        "large-network",
        "2001:db8:20::/48",
        "2a00::/31",
        "37:30 recipient.cidrs: 2a00::/31 is larger than a /32",
    ),
    (
        "large-network",
        "2001:db8:20::/48",
        "2001:0:1::/48",
        "37:30 recipient.cidrs: 2001:0:1::/48 is larger than a /112",
    ),
    (
        "large-network",
        "[\"203.0.113.0/24\"]",
        "[\"203.0.0.0/17\", \"203.0.64.0/18\", \"203.0.128.0/17\"]",
        "42:43 recipient.cidrs: the IPv4 networks of the recipients are larger together than a /16",
    ),
    (
        "says-nothing",
        "TIA-2026-07",
        "N/A",
        "26:13 assessment.reference: \"N/A\" says nothing | write what an auditor can",
    ),
    ("says-nothing", "Treaty of 18 January 2001", ".", "19:13 instrument.agreement: \".\" says nothing"),
    (
        "says-nothing",
        "encryption in transit",
        "- None -",
        "28:13 assessment.measures: \"- None -\" says nothing",
    ),
    (
        "small-quota",
        "1_000_000",
        "1513",
        "9:15 quota_bytes: no packet fits into a quota of 1513 bytes | write what the",
    ),
    (
        "long-window",
        "2026-12-15T00:00:00Z",
        "9999-12-15T00:00:00Z",
        "8:15 valid_until: the window has 2912091 days, and 1827 are the most | end it earlier, and renew it",
    ),
    ("bad-line", "encryption in transit", "", "28:13 assessment.measures: \"\" is empty"),
    (
        "bad-digest",
        "9F86d081",
        "9F86d08",
        "20:19 instrument.document_sha256: \"9F86d08884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00...\" is not a \
         SHA-256 | write the 64 digits that sha256sum prints",
    ),
    ("bad-digest", "9F86d081", "9G86d081", "20:19 instrument.document_sha256: \"9G86d081884c"),
    (
        "bad-identity",
        "aoife@example.org",
        "Aoife",
        "30:13 approval.submitter: \"Aoife\" is not an identity | write it like an e-mail address",
    ),
    (
        "bad-identity",
        "aoife@example.org",
        "*@example.org",
        "30:13 approval.submitter: \"*@example.org\" is not an identity",
    ),
    (
        "bad-identity",
        "aoife@example.org",
        "a@b,c@d",
        "30:13 approval.submitter: \"a@b,c@d\" is not an identity",
    ),
    (
        "bad-count",
        "count = 1",
        "count = -1",
        "33:9 approval.required.count: -1 is not a number of signers | write a",
    ),
    (
        "bad-count",
        "count = 1",
        "count = 65",
        "33:9 approval.required.count: 65 is not a number of signers | write a",
    ),
    (
        "unknown-pin",
        "\"mail\"",
        "\"mial\"",
        "3:9 pins: there is no pin \"mial\" | did you mean \"mail\"? The config has \"mail\", \"files\", \"backup\"",
    ),
    (
        "unknown-pin",
        "\"mail\"",
        "\"xyzzy\"",
        "3:9 pins: there is no pin \"xyzzy\" | the config has \"mail\", \"files\", \"backup\"",
    ),
    ("bad-port", "tcp/443", "443", "38:10 recipient.ports: \"443\" is no port with its protocol"),
    ("unknown-protocol", "tcp/443", "icmp/443", "38:10 recipient.ports: \"icmp\" is no protocol with ports"),
    ("reversed-ports", "tcp/443", "tcp/9-1", "38:10 recipient.ports: the port range runs backwards"),
    (
        "no-zone",
        "2026-12-15T00:00:00Z",
        "2026-12-15T00:00:00",
        "8:15 valid_until: 2026-12-15T00:00:00 has no zone, and is another moment in each | write \
         2026-12-15T00:00:00Z for UTC",
    ),
    (
        "no-zone",
        "2027-06-01",
        "2027-06-01T00:00:00",
        "27:13 assessment.review_by: 2027-06-01T00:00:00 has no zone",
    ),
    (
        "no-such-time",
        "2026-12-15T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "8:15 valid_until: 9999-12-31T23:59:59-23:59 is not a moment that exists",
    ),
    (
        "no-such-time",
        "2027-06-01",
        "9999-12-31",
        "27:13 assessment.review_by: 9999-12-31 is not a moment that exists",
    ),
    ("bad-quota", "1_000_000", "0", "9:15 quota_bytes: 0 is not a quota | write the bytes that may leave"),
    ("bad-quota", "1_000_000", "-5", "9:15 quota_bytes: -5 is not a quota"),
    (
        "bad-quota",
        "1_000_000",
        "0xffff_ffff_ffff_ffff",
        "9:15 quota_bytes: 18446744073709551615 is not a quota",
    ),
    ("bad-cidr", "2001:db8:20::/48", "recipient", "37:30 recipient.cidrs: \"recipient\" is no CIDR"),
    (
        "no-prefix-length",
        "198.51.100.20/32",
        "198.51.100.20",
        "37:10 recipient.cidrs: 198.51.100.20 has no prefix",
    ),
    ("prefix-too-long", "198.51.100.20/32", "198.51.100.20/33", "37:10 recipient.cidrs: the prefix length"),
    (
        "host-bits",
        "198.51.100.20/32",
        "198.51.100.20/24",
        "37:10 recipient.cidrs: 198.51.100.20/24 has bits set",
    ),
    (
        "mapped-cidr",
        "2001:db8:20::/48",
        "::ffff:192.0.2.0/120",
        "37:30 recipient.cidrs: ::ffff:192.0.2.0/120 is an",
    ),
    (
        "everybody",
        "2001:db8:20::/48",
        "::/0",
        "37:30 recipient.cidrs: ::/0 is everybody | name the recipient's own",
    ),
    (
        "bad-jurisdiction",
        "\"JP\"",
        "\"UK\"",
        "41:16 recipient.jurisdiction: \"UK\" is no country | did you mean \"GB\"?",
    ),
    (
        "group-not-country",
        "\"JP\"",
        "\"EU\"",
        "41:16 recipient.jurisdiction: \"EU\" is a group, and one country is needed here | name the recipient's country",
    ),
    (
        "mark-not-country",
        "\"JP\"",
        "\"unknown\"",
        "41:16 recipient.jurisdiction: \"unknown\" is a mark and no country | name the recipient's country",
    ),
];

pub(super) fn errors(text: &str) -> Vec<(&'static str, String)> {
    told(check(text))
}

#[test]
fn each_kind_of_error_is_found_alone_with_place_field_and_hint() {
    let examples = EXAMPLES.iter();
    let examples =
        examples.map(|&(code, part, replacement, expected)| (code, good_with(part, replacement), expected));
    each_is_found_alone(examples, errors);
}

#[test]
fn every_kind_of_error_has_an_example() {
    // These need another document, or what was loaded before, and have tests of their own.
    let elsewhere = [
        "file-too-long",
        "still-open",
        "old-version",
        "replaces-closed",
        "placed-elsewhere",
        "long-emergency",
    ];
    let of_law = ["law-pack-expired", "bad-subjects", "done-later"];
    let shown: BTreeSet<&str> = EXAMPLES
        .iter()
        .chain(super::hidden::EXAMPLES)
        .map(|example| example.0)
        .chain(elsewhere)
        .chain(of_law)
        .collect();
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
pins = ["mail", 7, "x"]
valid_from = 2026-12-01
valid_until = true
quota = 5
[instrument]
type = "warrant"
ground = 45
[[recipient]]
[[recipient]]
name = ""
cidrs = ["0.0.0.0/0"]
"#;
    let found: Vec<String> =
        errors(text).into_iter().map(|(_, shown)| shown.split(": ").next().unwrap().to_owned()).collect();
    let expected = [
        "1:1 exporter",
        "1:1 purpose",
        "1:1 data_categories",
        "1:6 id",
        "2:11 version",
        "3:17 pins",
        "3:20 pins",
        "4:14 valid_from",
        "5:15 valid_until",
        "6:1 quota",
        "7:1 instrument.name",
        "7:1 instrument.article",
        "7:1 instrument.basis",
        "7:1 instrument.authority",
        "7:1 instrument.reference",
        "8:8 instrument.type",
        "9:10 instrument.ground",
        "10:1 recipient.name",
        "10:1 recipient.jurisdiction",
        "11:1 recipient.jurisdiction",
        "12:8 recipient.name",
        "13:10 recipient.cidrs",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_id_that_is_open_and_a_version_that_was_loaded_are_refused() {
    let with = |version: &str, earlier: Option<Earlier>| {
        let pins = pins();
        let earlier = |id: &str| earlier.filter(|_| id == "mlat-1");
        let surroundings = Surroundings {
            pins: Some(&pins),
            now: Some(time(NOW)),
            earlier: Some(&earlier),
            ..Surroundings::default()
        };
        let text = GOOD.replace("version = 1", version);
        let result = parse(Path::new("x.toml"), text.as_bytes(), &surroundings);
        result.err().map(|errors| errors.to_string())
    };
    let earlier = |version, open| {
        let standing = if open { Standing::Open } else { Standing::Closed };
        Some(Earlier { version, standing })
    };
    let third = "version = 3";
    let open = with(third, earlier(2, true)).unwrap();
    assert!(open.starts_with("x.toml:1:6: error: id: an exemption \"mlat-1\" is open already"), "{open}");
    assert!(open.contains("renew it with replaces = 2, or revoke it and load this as version 3"), "{open}");
    for (version, said) in [(3, "was loaded already"), (4, "can't be loaded: version 4 was")] {
        let old = with(third, earlier(version, false)).unwrap();
        let expected = format!("x.toml:2:11: error: version: version 3 of \"mlat-1\" {said}, and is closed");
        assert!(old.starts_with(&expected), "{old}");
    }
    assert_eq!(with(third, earlier(2, false)), None);

    let renewal = "version = 3\nreplaces = 2";
    assert_eq!(with(renewal, earlier(2, true)), None);
    // What is over by its time or its quota can be renewed, and needs its approvals again; so can it be written anew.
    let over = Some(Earlier { version: 2, standing: Standing::Over });
    assert_eq!(with(renewal, over), None);
    assert_eq!(with(third, over), None);
    for (earlier, hint) in [
        (None, "leave out replaces; "),
        (earlier(2, false), "leave out replaces; "),
        (earlier(1, true), "version 1 is open: write replaces = 1"),
    ] {
        let closed = with(renewal, earlier).unwrap();
        assert!(
            closed.starts_with("x.toml:3:12: error: replaces: version 2 of \"mlat-1\" is not open"),
            "{closed}"
        );
        assert!(closed.contains(hint) && closed.matches("error: ").count() == 1, "{closed}");
    }
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
