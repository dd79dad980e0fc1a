//! The documentation says what the code does: both are held against the one table of keys.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::{GOOD, check, codes_in};
use crate::config::keys::{CONFIG, KEYS};
use crate::config::schema::{Key, Kind, Need, Schema, Shape};
use crate::config::sections::SECTIONS;

const DOCS: &str = include_str!("../../../../docs/config.md");
const EXAMPLE: &str = include_str!("../../../../docs/example.toml");
const BEGIN: &str = "<!-- keys: begin, made from the table of keys in the code -->\n";
const END: &str = "<!-- keys: end -->";

/// The part of a document's documentation that describes its keys.
pub(crate) fn described(schema: &Schema) -> String {
    schema
        .sections
        .iter()
        .map(|section| {
            let rows: String =
                schema.keys.iter().filter(|key| key.section == section.path).map(describe_key).collect();
            let header = match section.shape {
                Shape::Root => "Before the first header".to_owned(),
                _ => format!("`{}`", schema.header(section.path)),
            };
            let rows = match rows.is_empty() {
                true => rows,
                false => {
                    format!("\n| key | type | without it | meaning |\n| --- | --- | --- | --- |\n{rows}")
                }
            };
            format!("\n### {header}\n\n{}\n{rows}", section.meaning)
        })
        .collect()
}

fn describe_key(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Text => "string",
        Kind::Boolean => "boolean",
        Kind::Integer => "integer",
        Kind::Time => "offset date-time",
        Kind::Date => "date or offset date-time",
        Kind::List => "list of strings, not empty",
        Kind::ListOrNone => "list of strings",
        Kind::NamesOrNumbers => "list of strings and integers, not empty",
    };
    let need = match key.need {
        Need::Required => "**required**".to_owned(),
        Need::Default(value) => format!("`{value}`"),
        Need::Optional(words) => words.to_owned(),
    };
    format!("| `{}` | {kind} | {need} | {} Example: `{}` |\n", key.name, key.meaning, key.example)
}

#[test]
fn the_documentation_describes_exactly_the_keys_that_the_code_has() {
    let (_, rest) = DOCS.split_once(BEGIN).expect("docs/config.md has the line that begins the keys");
    let (written, _) = rest.split_once(END).expect("docs/config.md has the line that ends the keys");
    let described = described(&CONFIG);
    assert!(
        written == described,
        "docs/config.md differs from the table of keys; between its two marks it must say:\n{described}"
    );
}

#[test]
fn the_documentation_lists_every_kind_of_warning() {
    let (_, table) = DOCS.split_once("## Warnings").expect("docs/config.md has a section for warnings");
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect();
    assert_eq!(listed, codes_in(include_str!("../warning.rs")).into_iter().collect());
}

/// The paths of all keys in a document, with the names in open sections as `NAME`.
fn paths(table: &DeTable<'_>, prefix: &str, found: &mut BTreeSet<String>) {
    let open = SECTIONS.iter().any(|section| section.path == prefix && section.shape == Shape::Open);
    for (key, value) in table.iter() {
        let name = if open { "NAME" } else { key.get_ref().as_ref() };
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) => paths(inner, &path, found),
            DeValue::Array(entries) if entries.iter().any(|entry| entry.get_ref().is_table()) => {
                for entry in entries.iter().filter_map(|entry| entry.get_ref().as_table()) {
                    paths(entry, &path, found);
                }
            }
            _ => drop(found.insert(path)),
        }
    }
}

#[test]
fn the_example_uses_every_key_and_is_free_of_errors_and_warnings() {
    let mut used = BTreeSet::new();
    paths(DeTable::parse(EXAMPLE).unwrap().get_ref(), "", &mut used);
    let all: BTreeSet<String> = KEYS.iter().map(|key| format!("{}.{}", key.section, key.name)).collect();
    assert_eq!(used, all);
    assert_eq!(check(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}")).warnings, []);
}

#[test]
fn every_documented_key_is_read_and_so_is_its_example() {
    for key in &KEYS {
        let name = if key.name == "NAME" { "others" } else { key.name };
        let with = |value: &str| {
            let head = CONFIG.header(key.section);
            let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
            let at = lines.iter().position(|line| *line == head).unwrap_or_else(|| {
                let needed = KEYS.iter().filter(|it| it.section == key.section && it.need == Need::Required);
                lines.push(head);
                lines.extend(needed.map(|it| format!("{} = {}", it.name, it.example)));
                lines.iter().rposition(|line| line.starts_with('[')).unwrap()
            });
            let section_ends = lines.iter().skip(at + 1).position(|line| line.starts_with('['));
            let end = section_ends.map_or(lines.len(), |length| at + 1 + length);
            let begins = format!("{name} =");
            match lines[at..end].iter().position(|line| line.starts_with(&begins)) {
                Some(offset) => lines[at + offset] = format!("{begins} {value}"),
                None => lines.insert(at + 1, format!("{begins} {value}")),
            }
            lines.join("\n")
        };
        check(&with(key.example)).unwrap_or_else(|errors| panic!("{key:?}: {errors}"));
        if let Need::Default(value) = key.need {
            check(&with(value)).unwrap_or_else(|errors| panic!("{key:?}: {errors}"));
        }
        let errors = check(&with("1.5")).expect_err("a float is no value of any key").errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            (errors[0].field.clone(), errors[0].kind.code()),
            (format!("{}.{name}", key.section), "wrong-type")
        );
    }
}

#[test]
fn documented_defaults_are_the_ones_that_count() {
    let written: String = SECTIONS
        .iter()
        .filter(|section| !["host", "pin", "failsafe", "pin.select", "approval"].contains(&section.path))
        .map(|section| {
            let defaults = KEYS.iter().filter(|key| key.section == section.path).filter_map(|key| {
                let Need::Default(value) = key.need else { return None };
                Some(format!("{} = {value}\n", key.name))
            });
            let defaults: String = defaults.collect();
            if defaults.is_empty() {
                defaults
            } else {
                format!("{}\n{defaults}", CONFIG.header(section.path))
            }
        })
        .collect();
    let default = |section: &str, name: &str| {
        let key = KEYS.iter().find(|key| key.section == section && key.name == name).unwrap();
        let Need::Default(value) = key.need else { panic!("{name} has no default") };
        format!("{name} = {value}\n")
    };
    let text = format!("{GOOD}{written}")
        .replace("[host]\n", &format!("[host]\n{}", default("host", "observe")))
        .replace("[[failsafe]]\n", &format!("[[failsafe]]\n{}", default("failsafe", "anywhere")))
        .replace(
            "[approval]\n",
            &format!(
                "[approval]\n{}{}",
                default("approval", "widest_ipv4"),
                default("approval", "widest_ipv6")
            ),
        )
        .replace("[[pin]]\n", &format!("[[pin]]\n{}{}", default("pin", "ingress"), default("pin", "record")));
    let (mut explicit, mut implicit) = (check(&text).unwrap().policy, check(GOOD).unwrap().policy);
    for policy in [&mut explicit, &mut implicit] {
        policy.fingerprint = 0;
        policy.text = Default::default();
        policy.pins.iter_mut().for_each(|pin| pin.line = 0);
        policy.sites.iter_mut().for_each(|site| site.line = 0);
        policy.failsafe.iter_mut().for_each(|rule| rule.line = 0);
    }
    assert!(written.contains("max_age") && written.contains("pin_path"));
    assert_eq!(explicit, implicit);
}
