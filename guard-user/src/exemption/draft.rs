//! A document in the making: what was answered so far, and the commented text that comes of it.

use std::collections::BTreeMap;

use toml_edit::{Array, Datetime, DocumentMut, Item, TableLike, Value};

use super::ground::Ground;
use super::instrument::InstrumentKind;
use super::keys::{DOCUMENT, REQUIRED_SECTIONS};
use super::law::{Breach, By};
use super::particulars::Law;
use super::schema::choices;
use crate::config::finding::quoted;
use crate::config::schema::{Key, Kind, Need, Section, Shape};
use crate::config::suggest::nearest;

/// Columns of the comments.
const WIDTH: usize = 100;

/// The values of one table, by key.
type Values = BTreeMap<&'static str, Value>;

/// What was answered so far: the tables of each section, of which only those that repeat have several.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    tables: BTreeMap<&'static str, Vec<Values>>,
}

/// An answer that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No document has this key.
    #[error("there is no key {}{}", quoted(path), did_you_mean(meant.as_deref()))]
    UnknownKey {
        /// What was asked for, with its section.
        path: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// The text is not a value of the key's type.
    #[error("{path}: {} is not {}; for example {}", quoted(text), kind.words(), example)]
    BadValue {
        /// The key with its section.
        path: String,
        /// The answer.
        text: String,
        /// What it should be.
        kind: Kind,
        /// How it would be written.
        example: &'static str,
    },
    /// The text is none of the words that the key takes.
    #[error("{path}: {} is none of {}", quoted(text), choices.join(", "))]
    BadChoice {
        /// The key with its section.
        path: String,
        /// The answer.
        text: String,
        /// What the key takes.
        choices: Vec<&'static str>,
    },
    /// The answer breaks a rule of law whatever else is answered.
    #[error("{path}: {}; {}", breach.said(by_of(breach)), breach.hint(by_of(breach)))]
    Refused {
        /// The key with its section.
        path: String,
        /// The rule.
        breach: Breach,
    },
    /// The answers are not TOML.
    #[error("the answers are not TOML: {reason}")]
    Syntax {
        /// What the parser says, with the place.
        reason: String,
    },
    /// A section that is none, or a key where a section should be.
    #[error("{path} is not written as {header}")]
    BadShape {
        /// The section.
        path: String,
        /// How it is written.
        header: String,
    },
}

/// By whose articles it is said what of an answer alone breaks a rule.
fn by_of(breach: &Breach) -> By {
    match breach {
        Breach::GroundMismatch { kind: InstrumentKind::DataActRequest, .. } => By::DataAct,
        _ => By::Law(Law::Eu),
    }
}

fn did_you_mean(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

impl Draft {
    /// The answers in a document that may be incomplete. Values are taken as they are: whether they are
    /// right is for the check to say.
    ///
    /// # Errors
    /// Where the text is not TOML, or has what no document has.
    pub fn from_toml(text: &str) -> Result<Self, AnswerError> {
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            AnswerError::Syntax { reason: error.to_string().trim_end().replace('\n', "\n  ") }
        })?;
        let mut draft = Self::default();
        draft.take("", document.as_table())?;
        Ok(draft)
    }

    /// The answer to one question, as text; lists are written with commas. `path` is the key with its
    /// section, such as `instrument.type`. A key of `recipient` or `approval.required` that is there
    /// already begins the next one.
    ///
    /// # Errors
    /// Where no document has the key, or the text is not a value of it.
    pub fn answer(&mut self, path: &str, text: &str) -> Result<(), AnswerError> {
        let key = DOCUMENT.keys.iter().find(|key| dotted(key) == path).ok_or_else(|| {
            let known: Vec<String> = DOCUMENT.keys.iter().map(dotted).collect();
            let meant = nearest(path, known.iter().map(String::as_str)).map(str::to_owned);
            AnswerError::UnknownKey { path: path.to_owned(), meant }
        })?;
        let value = value(key, text)?;
        let repeats = shape(key.section) == Shape::Entries;
        let tables = self.tables.entry(key.section).or_default();
        let full = tables.last().is_none_or(|table| repeats && table.contains_key(key.name));
        if full {
            tables.push(Values::new());
        }
        let Some(table) = tables.last_mut() else { return Ok(()) };
        if let Some(breach) = mismatch(table, key, &value) {
            return Err(AnswerError::Refused { path: path.to_owned(), breach });
        }
        table.insert(key.name, value);
        Ok(())
    }

    /// The answer to one question about the entry of this place, from 0, of a section that repeats.
    ///
    /// # Errors
    /// As of [`answer`](Self::answer).
    pub fn answer_at(&mut self, path: &str, at: usize, text: &str) -> Result<(), AnswerError> {
        let mut of_one = Self::default();
        of_one.answer(path, text)?;
        for (section, tables) in of_one.tables {
            let values = tables.into_iter().flatten();
            if let Some(table) = self.tables.get_mut(section).and_then(|tables| tables.get_mut(at)) {
                table.extend(values);
            }
        }
        Ok(())
    }

    /// How many entries of a section are answered.
    #[must_use]
    pub fn count(&self, section: &str) -> usize {
        self.tables.get(section).map_or(0, Vec::len)
    }

    /// The text that is answered for a key of the entry of this place, or the texts of the list; `None` where it is not
    /// answered. `path` is the key with its section.
    #[must_use]
    pub fn texts(&self, path: &str, at: usize) -> Option<Vec<String>> {
        let key = DOCUMENT.keys.iter().find(|key| dotted(key) == path)?;
        let value = self.tables.get(key.section)?.get(at)?.get(key.name)?;
        let one = value.as_str().map(str::to_owned).into_iter();
        let list = value.as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned));
        Some(one.chain(list).collect())
    }

    /// Whether a key is answered, in any table of its section.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        self.tables.get(key.section).into_iter().flatten().any(|table| table.contains_key(key.name))
    }

    /// Whether the key of this path, such as `instrument.type`, is answered.
    #[must_use]
    pub fn answers(&self, path: &str) -> bool {
        DOCUMENT.keys.iter().any(|key| dotted(key) == path && self.has(key))
    }

    /// Whether any key of a section is answered.
    #[must_use]
    pub fn has_section(&self, section: &str) -> bool {
        self.tables.get(section).is_some_and(|tables| !tables.is_empty())
    }

    /// The document: every key with what it means, those without an answer as comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# An exemption of Border Guard: docs/exemption-document.md explains it.\n");
        for section in DOCUMENT.sections {
            match self.tables.get(section.path).map(Vec::as_slice) {
                Some(tables) if !tables.is_empty() => {
                    for (number, table) in tables.iter().enumerate() {
                        write_table(section, Some(table), number == 0, &mut text);
                    }
                }
                _ => write_table(section, None, true, &mut text),
            }
        }
        text
    }

    fn take(&mut self, path: &'static str, table: &dyn TableLike) -> Result<(), AnswerError> {
        let mut values = Values::new();
        for (name, item) in table.iter() {
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if let Some(section) = DOCUMENT.sections.iter().find(|section| section.path == full) {
                self.take_section(section, item)?;
            } else if let Some(key) = DOCUMENT.keys.iter().find(|key| dotted(key) == full) {
                let value = item.as_value().ok_or_else(|| AnswerError::BadShape {
                    path: full,
                    header: format!("{} = {}", key.name, key.example),
                })?;
                let mut value = value.clone();
                value.decor_mut().clear();
                values.insert(key.name, value);
            } else {
                let known: Vec<String> = DOCUMENT.keys.iter().map(dotted).collect();
                let meant = nearest(&full, known.iter().map(String::as_str)).map(str::to_owned);
                return Err(AnswerError::UnknownKey { path: full, meant });
            }
        }
        if !values.is_empty() {
            self.tables.entry(path).or_default().push(values);
        }
        Ok(())
    }

    fn take_section(&mut self, section: &Section, item: &Item) -> Result<(), AnswerError> {
        let bad =
            || AnswerError::BadShape { path: section.path.to_owned(), header: DOCUMENT.header(section.path) };
        if section.shape != Shape::Entries {
            return self.take(section.path, item.as_table_like().ok_or_else(bad)?);
        }
        if let Some(tables) = item.as_array_of_tables() {
            return tables.iter().try_for_each(|table| self.take(section.path, table));
        }
        let inline = item.as_array().ok_or_else(bad)?;
        inline.iter().try_for_each(|value| self.take(section.path, value.as_inline_table().ok_or_else(bad)?))
    }
}

/// A key with its section.
#[must_use]
pub fn dotted(key: &Key) -> String {
    if key.section.is_empty() { key.name.to_owned() } else { format!("{}.{}", key.section, key.name) }
}

fn shape(section: &str) -> Shape {
    DOCUMENT.sections.iter().find(|it| it.path == section).map_or(Shape::Root, |it| it.shape)
}

/// Why a ground can't stand beside the type that is answered already.
fn mismatch(table: &Values, key: &Key, value: &Value) -> Option<Breach> {
    if (key.section, key.name) != ("instrument", "ground") {
        return None;
    }
    let kind = table.get("type")?.as_str()?;
    let kind = InstrumentKind::ALL.into_iter().find(|it| it.name() == kind)?;
    let ground = value.as_str()?;
    let ground = Ground::ALL.into_iter().find(|it| it.name() == ground)?;
    (!kind.grounds().contains(&ground)).then_some(Breach::GroundMismatch { kind, ground })
}

/// The value that a text is for a key.
fn value(key: &Key, text: &str) -> Result<Value, AnswerError> {
    let text = text.trim();
    let bad = || AnswerError::BadValue {
        path: dotted(key),
        text: text.to_owned(),
        kind: key.kind,
        example: key.example,
    };
    if let Some(choices) = choices(key.section, key.name)
        && !choices.contains(&text)
    {
        if (key.section, text) == ("instrument", InstrumentKind::ForeignOrder.name()) {
            return Err(AnswerError::Refused { path: dotted(key), breach: Breach::ForeignOrderAlone });
        }
        return Err(AnswerError::BadChoice { path: dotted(key), text: text.to_owned(), choices });
    }
    match key.kind {
        Kind::Text => Ok(text.into()),
        Kind::Boolean => match text {
            "true" | "yes" => Ok(true.into()),
            "false" | "no" => Ok(false.into()),
            _ => Err(bad()),
        },
        Kind::Integer => text.parse::<Value>().ok().filter(Value::is_integer).ok_or_else(bad),
        Kind::Time | Kind::Date => text.parse::<Datetime>().map(Value::from).map_err(|_| bad()),
        Kind::List | Kind::ListOrNone | Kind::NamesOrNumbers => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(items.collect::<Array>().into())
        }
    }
}

/// Writes a section; `None` where nothing of it is answered.
fn write_table(section: &Section, table: Option<&Values>, with_comments: bool, text: &mut String) {
    let needed = table.is_some() || REQUIRED_SECTIONS.contains(&section.path) || section.path.is_empty();
    let dash = if needed { "" } else { "# " };
    text.push('\n');
    if with_comments {
        write_comment(section.meaning, text);
    }
    if !section.path.is_empty() {
        *text += &format!("{dash}{}\n", DOCUMENT.header(section.path));
    }
    for key in DOCUMENT.keys.iter().filter(|key| key.section == section.path) {
        let value = table.and_then(|table| table.get(key.name));
        if with_comments {
            text.push('\n');
            write_comment(&explained(key), text);
        }
        match value {
            Some(value) => *text += &format!("{} = {value}\n", key.name),
            None => {
                let open = if key.need == Need::Required && needed { "  # still needed" } else { "" };
                *text += &format!("# {} = {}{open}\n", key.name, key.example);
            }
        }
    }
}

/// What a key means, and the words that it takes.
#[must_use]
pub fn explained(key: &Key) -> String {
    let mut text = without_links(key.meaning);
    if let Some(choices) = choices(key.section, key.name) {
        text += &format!(" One of {}.", choices.join(", "));
    }
    text
}

/// Markdown's links within the documentation as their words.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](#") {
        let (lead, word) = before.rsplit_once('[').unwrap_or((before, ""));
        plain += lead;
        plain += word;
        plain += " in docs/exemption-document.md";
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn write_comment(words: &str, text: &mut String) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            *text += &line;
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    *text += &line;
    text.push('\n');
}
