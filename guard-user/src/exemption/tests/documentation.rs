//! The documentation says what the code does.

use std::path::Path;

use crate::config::keys::Need;
use crate::config::tests::documentation::described;
use crate::exemption::keys::DOCUMENT;
use crate::exemption::{Instrument, State, Surroundings, document};

use super::{GOOD, check};

const DOCS: &str = include_str!("../../../../docs/exemptions.md");

fn between<'d>(begin: &str, end: &str) -> &'d str {
    let (_, rest) =
        DOCS.split_once(begin).unwrap_or_else(|| panic!("docs/exemptions.md has the line {begin}"));
    rest.split_once(end).unwrap_or_else(|| panic!("docs/exemptions.md has the line {end}")).0
}

#[test]
fn the_documentation_describes_exactly_the_keys_that_the_code_has() {
    let written =
        between("<!-- keys: begin, made from the table of keys in the code -->\n", "<!-- keys: end -->");
    let described = described(&DOCUMENT);
    assert!(
        written == described,
        "docs/exemptions.md differs from the table of keys; between its two marks it must say:\n{described}"
    );
}

#[test]
fn the_documentation_names_every_instrument_with_its_article() {
    let table = between("## Instruments\n", "\n## ");
    for instrument in Instrument::ALL {
        let row = format!("| `{}` | {} | ", instrument.name(), instrument.article());
        assert!(table.contains(&row), "docs/exemptions.md needs the row {row}");
    }
    assert_eq!(table.matches("\n| `").count(), Instrument::ALL.len());
}

#[test]
fn the_documentation_names_every_state() {
    let table = between("## States\n", "\n## ");
    for state in State::ALL {
        assert!(table.contains(&format!("\n| `{state}` | ")), "docs/exemptions.md needs a row for {state}");
    }
    assert_eq!(table.matches("\n| `").count(), State::ALL.len());
}

#[test]
fn the_documentation_s_example_uses_every_key_and_is_free_of_errors() {
    let example = between("```toml\n", "```");
    let document = document::parse(Path::new("example.toml"), example.as_bytes(), &Surroundings::default());
    document.unwrap_or_else(|errors| panic!("{errors}"));
    for key in DOCUMENT.keys {
        assert!(
            example.contains(&format!("\n{} = ", key.name)) || example.starts_with(key.name),
            "{}",
            key.name
        );
    }
}

#[test]
fn every_documented_key_is_read_and_so_is_its_example() {
    for key in DOCUMENT.keys {
        let begin = format!("{} = ", key.name);
        let with = |value: &str| -> String {
            let lines = GOOD.lines().map(|line| match line.starts_with(&begin) {
                true => format!("{begin}{value}\n"),
                false => format!("{line}\n"),
            });
            lines.collect()
        };
        let example = with(key.example).replace("mail-ie", "mail");
        check(&example).unwrap_or_else(|errors| panic!("{key:?}: {errors}"));
        let errors = check(&with("1.5")).expect_err("a float is no value of any key").errors;
        assert!(errors.iter().all(|error| error.kind.code() == "wrong-type"), "{errors:?}");
        let without: String =
            GOOD.lines().filter(|line| !line.starts_with(&begin)).map(|line| format!("{line}\n")).collect();
        if key.need == Need::Required {
            let errors = check(&without).expect_err("it is required").errors;
            assert!(errors.iter().all(|error| error.kind.code() == "missing"), "{errors:?}");
        }
    }
}
