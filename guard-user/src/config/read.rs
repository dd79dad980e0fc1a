//! Reads sections and values of a TOML document by its table of keys: every value with its place, and
//! an error for everything that is unknown, missing or of another type.

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use super::error::{ErrorKind, Suggestion};
use super::finding::quoted;
use super::schema::{Kind, Need, Schema};
use super::sink::Report;
use super::suggest::nearest;

/// A string of the file and its place.
pub(crate) type Text = Spanned<String>;

/// A list of strings of the file and its place. Values that were no strings are left out; they have
/// been reported.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) at: usize,
    pub(crate) items: Vec<Text>,
}

/// One section of the document.
#[derive(Debug)]
pub(crate) struct Section<'r, 't> {
    schema: &'static Schema,
    path: &'static str,
    /// The byte offset of its header.
    pub(crate) at: usize,
    /// `None`: the document has no such section.
    table: Option<&'r DeTable<'t>>,
}

impl<'r, 't> Section<'r, 't> {
    /// The keys before the first header; they and the names of the sections are checked.
    pub(crate) fn root(root: &'r DeTable<'t>, schema: &'static Schema, sink: &mut dyn Report) -> Self {
        report_unknown_keys(schema, "", root, sink);
        Self { schema, path: "", at: 0, table: Some(root) }
    }

    /// The section with this path in this one; its own keys are checked.
    pub(crate) fn table(&self, path: &'static str, sink: &mut dyn Report) -> Self {
        let absent = |at| Self { schema: self.schema, path, at, table: None };
        let Some(value) = self.table.and_then(|table| table.get(last(path))) else {
            return absent(self.at);
        };
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => {
                let section = Self { table: Some(table), ..absent(at) };
                section.report_unknown_keys(sink);
                section
            }
            other => {
                sink.report(at, path.to_owned(), wrong_type("a table", other, self.schema.header(path)));
                // An empty table would bring errors for its missing keys, which is one error too many.
                absent(at)
            }
        }
    }

    /// The string that stands in the place of the section with this path, where one does.
    pub(crate) fn word(&self, path: &str) -> Option<Text> {
        let value = self.table?.get(last(path))?;
        let text = value.get_ref().as_str()?;
        Some(Spanned::new(value.span(), text.to_owned()))
    }

    /// The section `[path]` in this one, or every entry `[[path]]`; each one's keys are checked.
    pub(crate) fn table_or_entries(&self, path: &'static str, sink: &mut dyn Report) -> Vec<Self> {
        let value = self.table.and_then(|table| table.get(last(path)));
        match value.map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.entries(path, sink),
            Some(_) => Some(self.table(path, sink)).filter(Self::is_there).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Every entry `[[path]]` in this section; each one's keys are checked.
    pub(crate) fn entries(&self, path: &'static str, sink: &mut dyn Report) -> Vec<Self> {
        let Some(value) = self.table.and_then(|table| table.get(last(path))) else {
            return Vec::new();
        };
        let header = || self.schema.header(path);
        let mut report = |at, expected, found: &DeValue<'_>| {
            sink.report(at, path.to_owned(), wrong_type(expected, found, header()));
        };
        let DeValue::Array(array) = value.get_ref() else {
            report(value.span().start, "a list of tables", value.get_ref());
            return Vec::new();
        };
        let mut sections = Vec::new();
        for entry in array {
            match entry.get_ref() {
                DeValue::Table(table) => {
                    let at = entry.span().start;
                    sections.push(Self { schema: self.schema, path, at, table: Some(table) });
                }
                other => report(entry.span().start, "a table", other),
            }
        }
        for section in &sections {
            section.report_unknown_keys(sink);
        }
        sections
    }

    /// Whether the section is there and this key or section in it is not, nor a slip for it that is
    /// reported already.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.table.is_some_and(|table| {
            !table.contains_key(name) && !has_misspelt(self.schema, table, self.path, name)
        })
    }

    /// Whether the section has at least one of these keys, whatever its value.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.table.is_some_and(|table| table.contains_key(*name)))
    }

    /// Whether this key is there and is a list of nothing.
    pub(crate) fn is_empty_list(&self, name: &str) -> bool {
        let value = self.table.and_then(|table| table.get(name));
        matches!(value.map(Spanned::get_ref), Some(DeValue::Array(array)) if array.is_empty())
    }

    /// Whether the document has the section.
    pub(crate) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The dotted path of a key.
    pub(crate) fn field(&self, name: &str) -> String {
        match self.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// The string of this key.
    pub(crate) fn text(&self, name: &'static str, sink: &mut dyn Report) -> Option<Text> {
        let value = self.value(name, sink)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.as_ref().to_owned())),
            other => {
                self.report_type(value.span().start, name, other, sink);
                None
            }
        }
    }

    /// The whole number of this key; one that has no place in 128 bits is the nearest that has.
    pub(crate) fn integer(&self, name: &'static str, sink: &mut dyn Report) -> Option<Spanned<i128>> {
        let value = self.value(name, sink)?;
        match value.get_ref() {
            DeValue::Integer(digits) => {
                let nearest = if digits.as_str().starts_with('-') { i128::MIN } else { i128::MAX };
                let number = i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(nearest);
                Some(Spanned::new(value.span(), number))
            }
            other => {
                self.report_type(value.span().start, name, other, sink);
                None
            }
        }
    }

    /// The date or time of this key.
    pub(crate) fn time(&self, name: &'static str, sink: &mut dyn Report) -> Option<Spanned<Datetime>> {
        let value = self.value(name, sink)?;
        match value.get_ref() {
            DeValue::Datetime(time) => Some(Spanned::new(value.span(), *time)),
            other => {
                self.report_type(value.span().start, name, other, sink);
                None
            }
        }
    }

    /// The boolean of this key.
    pub(crate) fn boolean(&self, name: &'static str, sink: &mut dyn Report) -> Option<bool> {
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
    pub(crate) fn list(&self, name: &str, sink: &mut dyn Report) -> Option<List> {
        let value = self.value(name, sink)?;
        let at = value.span().start;
        let DeValue::Array(array) = value.get_ref() else {
            self.report_type(at, name, value.get_ref(), sink);
            return None;
        };
        let key = self.schema.find(self.path, name);
        if array.is_empty() && key.is_some_and(|key| matches!(key.kind, Kind::List | Kind::NamesOrNumbers)) {
            let optional = key.is_some_and(|key| key.need != Need::Required);
            sink.report(at, self.field(name), ErrorKind::EmptyList { example: self.example(name), optional });
            return None;
        }
        let takes_numbers = key.is_some_and(|key| key.kind == Kind::NamesOrNumbers);
        let mut items = Vec::with_capacity(array.len());
        for item in array {
            match item.get_ref() {
                DeValue::String(text) => items.push(Spanned::new(item.span(), text.as_ref().to_owned())),
                DeValue::Integer(digits) if takes_numbers && digits.radix() == 10 => {
                    items.push(Spanned::new(item.span(), digits.as_str().to_owned()));
                }
                other => {
                    let kind = wrong_type("a string", other, self.item_example(name, other));
                    sink.report(item.span().start, self.field(name), kind);
                }
            }
        }
        Some(List { at, items })
    }

    /// The names of the keys of an open section, with their places.
    pub(crate) fn names(&self) -> impl Iterator<Item = Text> + '_ {
        let keys = self.table.into_iter().flat_map(|table| table.iter().map(|(key, _)| key));
        keys.map(|key| Spanned::new(key.span(), key.get_ref().as_ref().to_owned()))
    }

    /// The value of this key; an error where it is required and missing.
    fn value(&self, name: &str, sink: &mut dyn Report) -> Option<&'r Spanned<DeValue<'t>>> {
        let value = self.table.and_then(|table| table.get(name));
        let required = self.schema.find(self.path, name).is_some_and(|key| key.need == Need::Required);
        if required && self.lacks(name) {
            sink.report(self.at, self.field(name), ErrorKind::Missing { example: self.example(name) });
        }
        value
    }

    fn report_type(&self, at: usize, name: &str, found: &DeValue<'_>, sink: &mut dyn Report) {
        let expected = self.schema.find(self.path, name).map_or("another type", |key| key.kind.words());
        let kind = self.schema.find(self.path, name).map(|key| key.kind);
        let example = match found {
            DeValue::String(text)
                if matches!(kind, Some(Kind::List | Kind::ListOrNone | Kind::NamesOrNumbers)) =>
            {
                format!("{name} = [{}]", quoted(text))
            }
            DeValue::String(text) if kind == Some(Kind::Boolean) && (text == "true" || text == "false") => {
                format!("{name} = {text}")
            }
            _ => self.example(name),
        };
        sink.report(at, self.field(name), wrong_type(expected, found, example));
    }

    /// How the key would be written.
    fn example(&self, name: &str) -> String {
        self.schema.find(self.path, name).map_or_else(String::new, |key| format!("{name} = {}", key.example))
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

    fn report_unknown_keys(&self, sink: &mut dyn Report) {
        if let (Some(table), false) = (self.table, self.schema.is_open(self.path)) {
            report_unknown_keys(self.schema, self.path, table, sink);
        }
    }
}

/// Reports every key of the table that the section of this path does not have; the empty path is the
/// document itself.
fn report_unknown_keys(schema: &'static Schema, path: &str, table: &DeTable<'_>, sink: &mut dyn Report) {
    let (own, inner) = (own_keys(schema, path), inner_sections(schema, path));
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if own.contains(&name) || inner.iter().any(|inner| last(inner) == name) {
            continue;
        }
        let shown = bare(name);
        let field = if path.is_empty() { shown } else { format!("{path}.{shown}") };
        let suggestion = suggestion(schema, path, name, is_section(value.get_ref()));
        sink.report(key.span().start, field, ErrorKind::UnknownKey { suggestion });
    }
}

/// Whether the key or section is there under a name that is reported as a slip for it, so that it needs
/// no report as missing.
fn has_misspelt(schema: &'static Schema, table: &DeTable<'_>, path: &str, name: &str) -> bool {
    let inner = inner_sections(schema, path).into_iter().map(last);
    let known: Vec<&str> = own_keys(schema, path).into_iter().chain(inner).collect();
    let mut there = table.keys().map(|key| key.get_ref().as_ref());
    there.any(|key| !known.contains(&key) && nearest(key, known.iter().copied()) == Some(name))
}

/// The names of the keys that a section has.
fn own_keys(schema: &'static Schema, path: &str) -> Vec<&'static str> {
    schema.keys.iter().filter(|key| key.section == path).map(|key| key.name).collect()
}

/// The paths of the sections that a section has.
fn inner_sections(schema: &'static Schema, path: &str) -> Vec<&'static str> {
    let paths = schema.sections.iter().map(|section| section.path);
    paths.filter(|inner| !inner.is_empty() && parent(inner) == path).collect()
}

fn suggestion(schema: &'static Schema, path: &str, name: &str, is_section: bool) -> Suggestion {
    let (own, inner) = (own_keys(schema, path), inner_sections(schema, path));
    if is_section
        && let Some(near) = nearest(name, inner.iter().map(|inner| last(inner)))
        && let Some(section) = inner.iter().find(|inner| last(inner) == near)
    {
        return Suggestion::Key(schema.header(section));
    }
    let section_of_this_name = schema.sections.iter().find(|section| last(section.path) == name);
    if let Some(section) = section_of_this_name {
        return Suggestion::Section(schema.header(section.path));
    }
    let mut homes: Vec<&str> =
        schema.keys.iter().filter(|key| key.name == name).map(|key| key.section).collect();
    if let Some(&home) = homes.iter().find(|&&home| home == parent(path)) {
        homes = vec![home];
    }
    if let [home] = homes[..] {
        return Suggestion::Section(schema.header(home));
    }
    let candidates = own.iter().copied().chain(inner.iter().map(|inner| last(inner)));
    match nearest(name, candidates) {
        Some(near) => match inner.iter().find(|inner| last(inner) == near) {
            Some(section) => Suggestion::Key(schema.header(section)),
            None => Suggestion::Key(near.to_owned()),
        },
        None => Suggestion::Keys(
            own.iter()
                .map(|&key| key.to_owned())
                .chain(inner.iter().map(|section| schema.header(section)))
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
pub(crate) fn bare(name: &str) -> String {
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
