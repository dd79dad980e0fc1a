//! What hides a part of a document from who signs it, and names that seem to be others: each with its place, its words and
//! its hint.

use std::path::Path;

use super::{GOOD, check, good_with};
use crate::config::tests::findings::{Example, each_is_found_alone, told};
use crate::exemption::draft::Draft;
use crate::exemption::{Surroundings, parse};

/// One example, or a few, for each way.
pub(super) const EXAMPLES: &[Example] = &[
    (
        "escaped-character",
        "quota_bytes",
        "\"quot\\u0061_bytes\"",
        "9:1 the text that begins here has the escape \\u0061 | write the character itself",
    ),
    (
        "escaped-character",
        "[\"203.0.113.0/24\"]",
        "[\"203.0.113.\\u0030/24\"]",
        "42:10 the text that begins here has the escape \\u0030",
    ),
    (
        "wide-gap",
        "[\"203.0.113.0/24\"]",
        "[\"203.0.113.0/24\",                                 \"198.51.100.64/26\"]",
        "42:60 a gap of 33 columns stands before the text here | write at most 32 blanks in a row, a tab counting as 8",
    ),
    (
        "empty-lines",
        "[[duty]]",
        "\n\n\n\n#\n\n\n\n\n[[duty]]",
        "68:1 9 empty lines stand before this one | leave at most 8",
    ),
    (
        "mixed-scripts",
        "US-Ireland MLAT 2001",
        "US-Irela\u{43f}d MLAT 2001",
        "13:8 instrument.name: \"US-Irela\u{43f}d MLAT 2001\" has letters of several scripts: U+043F as character 9 is of another \
         than those before it | write the name in one script",
    ),
    (
        "mixed-scripts",
        "Translation office",
        "Tr\u{430}nslation office",
        "40:8 recipient.name: \"Tr\u{430}nslation office\" has letters of several scripts",
    ),
];

#[test]
fn each_is_found_alone_with_place_field_and_hint() {
    let examples = EXAMPLES.iter();
    let examples =
        examples.map(|&(code, part, replacement, expected)| (code, good_with(part, replacement), expected));
    each_is_found_alone(examples, |text| told(check(text)));
}

#[test]
fn what_was_loaded_before_is_read_all_the_same() {
    for &(_, part, replacement, _) in EXAMPLES {
        let text = good_with(part, replacement);
        parse(Path::new("x.toml"), text.as_bytes(), &Surroundings::default())
            .unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn names_of_one_script_and_those_that_are_written_together_are_taken() {
    for name in ["Łódź & Éire Ltd", "Минюст", "ソニー株式会社 (Sony)", "삼성 SDI", "شركة"]
    {
        let text = good_with("Translation office", name);
        let found = told(check(&text));
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn a_draft_hides_nothing() {
    let text = Draft::from_toml(GOOD).unwrap().to_toml();
    let found = told(check(&text));
    assert!(found.is_empty(), "{found:?}\n{text}");
}
