//! Reads sections and values of a TOML document by the table of keys: every value with its place, and
//! an error for everything that is unknown, missing or of another type.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ErrorKind, Suggestion};
use super::finding::quoted;
use super::keys::{self, KEYS, Kind, Need, SECTIONS, Shape};
use super::sink::Sink;
use super::suggest::nearest;

/// A string of the file and its place.
pub(super) type Text = Spanned<String>;

/// A list of strings of the file and its place. Values that were no strings are left out; they have
/// been reported.
#[derive(Debug)]
pub(super) struct List {
    pub(super) at: usize,
    pub(super) items: Vec<Text>,
}

/// One section of the document.
#[derive(Debug)]
pub(super) struct Section<'r, 't> {
    path: &'static str,
    /// The byte offset of its header.
    pub(super) at: usize,
    /// `None`: the document has no such section.
    table: Option<&'r DeTable<'t>>,
}

impl<'r, 't> Section<'r, 't> {
    /// The section with this path out of the table that is its parent; its own keys are checked.
    pub(super) fn table(
        parent: Option<&'r DeTable<'t>>,
        parent_at: usize,
        path: &'static str,
        sink: &mut Sink<'_>,
    ) -> Self {
        let absent = Self { path, at: parent_at, table: None };
        let Some(value) = parent.and_then(|table| table.get(last(path))) else {
            return absent;
        };
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => {
                let section = Self { path, at, table: Some(table) };
                section.report_unknown_keys(sink);
                section
            }
            other => {
                sink.error(at, path, wrong_type("a table", other, keys::header(path)));
                // An empty table would bring errors for its missing keys, which is one error too many.
                Self { path, at, table: None }
            }
        }
    }

    /// Every entry `[[path]]` of the document; each one's keys are checked.
    pub(super) fn entries(root: &'r DeTable<'t>, path: &'static str, sink: &mut Sink<'_>) -> Vec<Self> {
        let Some(value) = root.get(path) else {
            return Vec::new();
        };
        let header = || keys::header(path);
        let DeValue::Array(array) = value.get_ref() else {
            sink.error(value.span().start, path, wrong_type("a list of tables", value.get_ref(), header()));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for entry in array {
            match entry.get_ref() {
                DeValue::Table(table) => {
                    let section = Self { path, at: entry.span().start, table: Some(table) };
                    section.report_unknown_keys(sink);
                    sections.push(section);
                }
                other => sink.error(entry.span().start, path, wrong_type("a table", other, header())),
            }
        }
        sections
    }

    /// The table behind the section, for sections within it.
    pub(super) fn inner(&self) -> Option<&'r DeTable<'t>> {
        self.table
    }

    /// Whether the section has at least one of these keys, whatever its value.
    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.table.is_some_and(|table| table.contains_key(*name)))
    }

    /// Whether the document has the section.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The dotted path of a key.
    pub(super) fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The string of this key.
    pub(super) fn text(&self, name: &'static str, sink: &mut Sink<'_>) -> Option<Text> {
        let value = self.value(name, sink)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.as_ref().to_owned())),
            other => {
                self.report_type(value.span().start, name, other, sink);
                None
            }
        }
    }

    /// The boolean of this key.
    pub(super) fn boolean(&self, name: &'static str, sink: &mut Sink<'_>) -> Option<bool> {
        let value = self.value(name, sink)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            other => {
                self.report_type(value.span().start, name, other, sink);
                None
            }
        }
    }

    /// The list of strings of this key.
    pub(super) fn list(&self, name: &str, sink: &mut Sink<'_>) -> Option<List> {
        let value = self.value(name, sink)?;
        let at = value.span().start;
        let DeValue::Array(array) = value.get_ref() else {
            self.report_type(at, name, value.get_ref(), sink);
            return None;
        };
        let key = keys::find(self.path, name);
        if array.is_empty() && key.is_some_and(|key| key.kind == Kind::List) {
            let optional = key.is_some_and(|key| key.need != Need::Required);
            sink.error(at, self.field(name), ErrorKind::EmptyList { example: self.example(name), optional });
            return None;
        }
        let mut items = Vec::with_capacity(array.len());
        for item in array {
            match item.get_ref() {
                DeValue::String(text) => items.push(Spanned::new(item.span(), text.as_ref().to_owned())),
                other => {
                    let kind = wrong_type("a string", other, self.item_example(name, other));
                    sink.error(item.span().start, self.field(name), kind);
                }
            }
        }
        Some(List { at, items })
    }

    /// The names of the keys of an open section, with their places.
    pub(super) fn names(&self) -> impl Iterator<Item = Text> + '_ {
        let keys = self.table.into_iter().flat_map(|table| table.iter().map(|(key, _)| key));
        keys.map(|key| Spanned::new(key.span(), key.get_ref().as_ref().to_owned()))
    }

    /// The value of this key; an error where it is required and missing.
    fn value(&self, name: &str, sink: &mut Sink<'_>) -> Option<&'r Spanned<DeValue<'t>>> {
        let value = self.table.and_then(|table| table.get(name));
        let required = keys::find(self.path, name).is_some_and(|key| key.need == Need::Required);
        let missing = value.is_none() && required;
        if missing && self.table.is_some_and(|table| !has_misspelt(table, self.path, name)) {
            sink.error(self.at, self.field(name), ErrorKind::Missing { example: self.example(name) });
        }
        value
    }

    fn report_type(&self, at: usize, name: &str, found: &DeValue<'_>, sink: &mut Sink<'_>) {
        let expected = keys::find(self.path, name).map_or("another type", |key| key.kind.words());
        let list = matches!(keys::find(self.path, name), Some(key) if key.kind != Kind::Text);
        let example = match found {
            DeValue::String(text) if list && expected != Kind::Boolean.words() => {
                format!("{name} = [{}]", quoted(text))
            }
            DeValue::String(text) if text == "true" || text == "false" => format!("{name} = {text}"),
            _ => self.example(name),
        };
        sink.error(at, self.field(name), wrong_type(expected, found, example));
    }

    /// How the key would be written.
    fn example(&self, name: &str) -> String {
        keys::find(self.path, name).map_or_else(String::new, |key| format!("{name} = {}", key.example))
    }

    /// How a value of the key's list would be written.
    fn item_example(&self, name: &str, found: &DeValue<'_>) -> String {
        match (name, found) {
            ("marks", DeValue::Integer(number)) => format!("\"{number}\""),
            ("ports" | "local_ports" | "remote_ports", DeValue::Integer(number)) => {
                format!("\"tcp/{number}\"")
            }
            _ => self.example(name),
        }
    }

    fn report_unknown_keys(&self, sink: &mut Sink<'_>) {
        let open = SECTIONS.iter().any(|section| section.path == self.path && section.shape == Shape::Open);
        if let (Some(table), false) = (self.table, open) {
            report_unknown_keys(self.path, table, sink);
        }
    }
}

/// Reports every key of the table that the section of this path does not have; the empty path is the
/// document itself.
pub(super) fn report_unknown_keys(path: &str, table: &DeTable<'_>, sink: &mut Sink<'_>) {
    let own: Vec<&str> = KEYS.iter().filter(|key| key.section == path).map(|key| key.name).collect();
    let inner: Vec<&str> = SECTIONS.iter().map(|s| s.path).filter(|inner| parent(inner) == path).collect();
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if own.contains(&name) || inner.iter().any(|inner| last(inner) == name) {
            continue;
        }
        let shown = bare(name);
        let field = if path.is_empty() { shown } else { format!("{path}.{shown}") };
        let suggestion = suggestion(path, name, is_section(value.get_ref()), &own, &inner);
        sink.error(key.span().start, field, ErrorKind::UnknownKey { suggestion });
    }
}

/// Whether the key or section is there under a name that is reported as a slip for it, so that it needs
/// no report as missing.
pub(super) fn has_misspelt(table: &DeTable<'_>, path: &str, name: &str) -> bool {
    let keys = KEYS.iter().filter(|key| key.section == path).map(|key| key.name);
    let inner = SECTIONS.iter().map(|section| section.path).filter(|inner| parent(inner) == path).map(last);
    let known: Vec<&str> = keys.chain(inner).collect();
    let mut there = table.keys().map(|key| key.get_ref().as_ref());
    there.any(|key| !known.contains(&key) && nearest(key, known.iter().copied()) == Some(name))
}

fn suggestion(path: &str, name: &str, is_section: bool, own: &[&str], inner: &[&str]) -> Suggestion {
    if is_section
        && let Some(near) = nearest(name, inner.iter().map(|inner| last(inner)))
        && let Some(section) = inner.iter().find(|inner| last(inner) == near)
    {
        return Suggestion::Key(keys::header(section));
    }
    let section_of_this_name = SECTIONS.iter().find(|section| last(section.path) == name);
    if let Some(section) = section_of_this_name {
        return Suggestion::Section(keys::header(section.path));
    }
    let mut homes: Vec<&str> = KEYS.iter().filter(|key| key.name == name).map(|key| key.section).collect();
    if let Some(&home) = homes.iter().find(|&&home| home == parent(path)) {
        homes = vec![home];
    }
    if let [home] = homes[..] {
        return Suggestion::Section(keys::header(home));
    }
    let candidates = own.iter().copied().chain(inner.iter().map(|inner| last(inner)));
    match nearest(name, candidates) {
        Some(near) => match inner.iter().find(|inner| last(inner) == near) {
            Some(section) => Suggestion::Key(keys::header(section)),
            None => Suggestion::Key(near.to_owned()),
        },
        None => Suggestion::Keys(
            own.iter()
                .map(|&key| key.to_owned())
                .chain(inner.iter().map(|section| keys::header(section)))
                .collect(),
        ),
    }
}

/// Whether the value is a table or a list of tables.
fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(array) => array.iter().any(|entry| entry.get_ref().is_table()),
        _ => false,
    }
}

fn wrong_type(expected: &'static str, found: &DeValue<'_>, example: String) -> ErrorKind {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) if is_section(found) => "a list of tables",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    ErrorKind::WrongType { expected, found, example }
}

/// A key as a path shows it: without quotes where TOML needs none.
pub(super) fn bare(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.len() <= 60 && name.chars().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}
