//! docs/report.md says what the forms of the report have.

use std::collections::BTreeSet;

use super::super::{COLUMNS, Class, NOT_APART, PRESUMED, REGISTER};
use super::sample::sample;

const DOCS: &str = include_str!("../../../../docs/report.md");

/// The first cells of the table below a heading, between backquotes.
fn names_below(heading: &str) -> Vec<&'static str> {
    let (_, rest) = DOCS.split_once(&format!("\n{heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn every_kind_of_transfer_is_told() {
    assert_eq!(names_below("## Kinds of transfer"), Class::ALL.map(Class::name));
    for class in Class::ALL {
        assert!(DOCS.contains(class.meaning()), "{}", class.name());
    }
}

#[test]
fn every_column_and_section_of_the_table_is_told() {
    assert_eq!(names_below("## Columns of the table"), COLUMNS);
    assert_eq!(names_below("## Columns of the register"), REGISTER);
    assert!([NOT_APART, PRESUMED].iter().all(|name| DOCS.contains(&format!("`{name}`"))));
    let sections: BTreeSet<String> =
        super::rows(&sample()).into_iter().map(|row| row["section"].clone()).collect();
    let told: BTreeSet<String> =
        names_below("## Sections of the table").into_iter().map(str::to_owned).collect();
    assert_eq!(told, sections);
}
