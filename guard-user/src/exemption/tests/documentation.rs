//! The documentation says what the code does.

use std::path::Path;

use crate::config::schema::Need;
use crate::config::tests::documentation::described;
use crate::exemption::keys::DOCUMENT;
use crate::exemption::{Basis, Document, Ground, InstrumentKind, State, Surroundings, lifecycle, parse};

use super::{GOOD, check, with_value};

/// The page about documents.
const DOCUMENTS: &str = include_str!("../../../../docs/exemption-document.md");
/// The page about what becomes of an exemption.
const EXEMPTIONS: &str = include_str!("../../../../docs/exemption-states.md");

/// What is between two lines of a page; the last part of it goes to its end.
fn between<'d>(page: &'d str, begin: &str, end: &str) -> &'d str {
    let (_, rest) = page.split_once(begin).unwrap_or_else(|| panic!("the page needs the line {begin}"));
    rest.split_once(end).map_or(rest, |(section, _)| section)
}

#[test]
fn the_documentation_describes_exactly_the_keys_that_the_code_has() {
    let written = between(
        DOCUMENTS,
        "<!-- keys: begin, made from the table of keys in the code -->\n",
        "<!-- keys: end -->",
    );
    let described = described(&DOCUMENT);
    assert!(
        written == described,
        "docs/exemption-document.md differs from the table of keys; between its two marks it must say:\n{described}"
    );
}

#[test]
fn the_documentation_names_every_instrument_with_its_article_and_grounds() {
    let table = between(DOCUMENTS, "## Instruments\n", "\n### ");
    for kind in InstrumentKind::ALL {
        let grounds: Vec<String> = kind.grounds().iter().map(|ground| format!("`{ground}`")).collect();
        let grounds = if grounds.is_empty() { "none".to_owned() } else { grounds.join(", ") };
        let row = format!("| `{kind}` | {} | {grounds} | ", kind.article());
        assert!(table.contains(&row), "docs/exemption-document.md needs the row {row}");
    }
    assert_eq!(table.matches("\n| `").count(), InstrumentKind::ALL.len());
}

#[test]
fn the_documentation_describes_every_ground_and_basis() {
    let row = |name: &str, meaning: &str| format!("| `{name}` | {meaning} |");
    let rows = |table: &'static str| table.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>();
    let grounds: Vec<String> = Ground::ALL.iter().map(|it| row(it.name(), it.meaning())).collect();
    assert_eq!(
        rows(between(DOCUMENTS, "### Grounds\n", "\n#")),
        grounds,
        "they must be:\n{}",
        grounds.join("\n")
    );
    let bases: Vec<String> = Basis::ALL.iter().map(|it| row(it.name(), it.meaning())).collect();
    assert_eq!(rows(between(DOCUMENTS, "### Bases\n", "\n#")), bases, "they must be:\n{}", bases.join("\n"));
}

#[test]
fn the_documentation_describes_the_words_of_laws_modules_and_duties() {
    use crate::exemption::particulars::{DutyKind, Law, Module};
    let row = |name: &str, meaning: &str| format!("| `{name}` | {meaning} |\n");
    let laws: String = Law::ALL.iter().map(|it| row(it.name(), it.meaning())).collect();
    let modules: String = Module::ALL.iter().map(|it| row(it.name(), it.meaning())).collect();
    let duties: String = DutyKind::ALL.iter().map(|it| row(it.name(), it.meaning())).collect();
    for (name, column, rows) in
        [("laws", "law", laws), ("modules", "module", modules), ("duties", "duty", duties)]
    {
        let expected = format!("| {column} | what it is |\n| --- | --- |\n{rows}");
        let written =
            between(DOCUMENTS, &format!("<!-- {name}: begin -->\n"), &format!("<!-- {name}: end -->"));
        assert!(written == expected, "between the marks of {name} it must say:\n{expected}end of the table");
    }
}

#[test]
fn the_documentation_has_the_table_of_the_lifecycle() {
    use lifecycle::Event;
    let columns = [Event::Approve, Event::Activate, Event::Stay, Event::Resume, Event::Revoke];
    let ends = [Event::Invalidate, Event::Supersede, Event::Expire, Event::Exhaust];
    let columns: Vec<Event> = columns.into_iter().chain(ends).collect();
    let cell = |state: State, event| state.after(event).map_or("-".to_owned(), |next| format!("`{next}`"));
    let rows = State::LIFE.map(|state| {
        let cells: Vec<String> = columns.iter().map(|&event| cell(state, event)).collect();
        format!("| `{state}` | {} |", cells.join(" | "))
    });
    let table = between(EXEMPTIONS, "### From draft to closed\n", "\n## ");
    let written: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, rows);
}

#[test]
fn the_documentation_names_every_state() {
    let table = between(EXEMPTIONS, "## States\n", "\n### ");
    for state in State::LISTED {
        assert!(
            table.contains(&format!("\n| `{state}` | ")),
            "docs/exemption-states.md needs a row for {state}"
        );
    }
    assert_eq!(table.matches("\n| `").count(), State::LISTED.len());
}

#[test]
fn the_documentation_s_example_uses_every_key_and_is_free_of_errors() {
    let example = between(DOCUMENTS, "```toml\n", "```");
    let document = parse(Path::new("example.toml"), example.as_bytes(), &Surroundings::default());
    document.unwrap_or_else(|errors| panic!("{errors}"));
    let text = format!("\n{example}");
    for key in DOCUMENT.keys {
        let part = match key.section {
            "" => text.as_str(),
            section => text.split_once(&format!("\n{}\n", DOCUMENT.header(section))).unwrap().1,
        };
        let part = part.split("\n[").next().unwrap();
        let there = |begin: &str| part.lines().any(|line| line.starts_with(begin));
        assert!(there(&format!("{} = ", key.name)) || there(&format!("# {} = ", key.name)), "{key:?}");
    }
}

#[test]
fn every_documented_key_is_read_and_so_is_its_example() {
    let base = GOOD.replace("version = 1", "version = 2");
    for key in DOCUMENT.keys {
        let with = |value| with_value(&base, key.section, key.name, value);
        // An agreement is between two, and a certificate has an addressee.
        let example = with(Some(key.example)).replace("mail-ie", "mail").replace("\"JP\"", "\"US\"");
        let example = match key.name {
            "certificate" => with_value(&example, key.section, "addressee", Some("\"Example Ltd\"")),
            "emergency" => example
                .replace("2026-12-01T09:00:00+01:00", "2026-12-02T00:00:00Z")
                .replace("2026-12-15T00:00:00Z", "2026-12-02T00:30:00Z"),
            _ => example,
        };
        check(&example).unwrap_or_else(|errors| panic!("{key:?}: {errors}"));
        if let Need::Default(value) = key.need {
            let meant = |value| check(&with(value)).map(|it| Document { sha256: String::new(), ..it });
            assert_eq!(meant(Some(value)), meant(None), "{key:?}");
        }
        let errors = check(&with(Some("1.5"))).expect_err("a float is no value of any key").errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].kind.code(), "wrong-type", "{errors:?}");
        assert_eq!(errors[0].field.rsplit('.').next(), Some(key.name));
        if key.need == Need::Required {
            let errors = check(&with(None)).expect_err("it is required").errors;
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!(errors[0].kind.code(), "missing", "{errors:?}");
        }
    }
}

#[test]
fn rules_of_a_config_can_name_each_act_that_carries_a_transfer() {
    use crate::exemption::ground::Ground;
    use crate::exemption::instrument::InstrumentKind;
    let kinds = InstrumentKind::ALL.into_iter().filter(|kind| *kind != InstrumentKind::ForeignOrder);
    let acts: Vec<&str> = kinds.map(InstrumentKind::name).chain(Ground::ALL.map(Ground::name)).collect();
    assert_eq!(acts, crate::approval::ACTS);
}
