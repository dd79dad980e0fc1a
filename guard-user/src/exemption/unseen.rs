//! What a reader of a document would not see, or not see alike: characters, hidden parts, and letters of other scripts in names.
//! Whoever signs it would sign another text than it seems to be. And texts that say nothing.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ErrorKind;
use super::layout;
use super::sink::Sink;
use crate::text::{OtherScript, Unseen, is_unseen};

/// The keys of free texts.
const FREE_TEXTS: [&str; 29] = [
    "emergency",
    "hosts",
    "purpose",
    "data_categories",
    "instrument.name",
    "instrument.article",
    "instrument.authority",
    "instrument.reference",
    "instrument.agreement",
    "exporter.name",
    "exporter.contact",
    "assessment.reference",
    "assessment.measures",
    "recipient.name",
    "recipient.large_network",
    "data_subjects",
    "retention",
    "instrument.parties",
    "instrument.addressee",
    "condition.met",
    "condition.recognised_by",
    "recipient.certification",
    "processor.name",
    "processor.contract",
    "joint_controller.name",
    "joint_controller.contact",
    "joint_controller.arrangement",
    "onward.name",
    "onward.safeguard",
];

/// The keys of names of acts and of those who take part, by which documents are told apart.
const NAMES: [&str; 10] = [
    "instrument.name",
    "instrument.authority",
    "instrument.agreement",
    "instrument.parties",
    "instrument.addressee",
    "exporter.name",
    "recipient.name",
    "processor.name",
    "joint_controller.name",
    "onward.name",
];

/// Whether a text is what people write where they have nothing to say yet. One that is empty is another error.
fn says_nothing(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["none", "n/a", "nil", "null", "todo", "tbd", "tbc", "tba", "xxx", "unknown", "not applicable"];
    let outside = |letter: char| !letter.is_alphanumeric();
    let word = text.trim_matches(outside).to_lowercase();
    !text.trim().is_empty() && (word.is_empty() || WORDS.contains(&word.as_str()))
}

/// Reports each text, key and comment of the document with such a character, and says where these texts begin. Reports what else
/// is hidden, or says nothing.
pub(super) fn check(text: &str, document: &DeTable<'_>, sink: &mut Sink<'_>) -> Vec<usize> {
    let mut found = Found::default();
    found.look_into(document, "");
    let mut reported = Vec::new();
    for (at, field, kind) in found.unseen {
        reported.push(at);
        sink.error(at, field, kind);
    }
    for (at, field, kind) in found.others {
        sink.error(at, field, kind);
    }
    for (at, what) in layout::find(text) {
        sink.error(at, "", ErrorKind::Hidden { what });
    }
    found.texts.sort_by_key(|span| span.start);
    for (line_at, line) in lines(text) {
        // What a line of text ends with, and what indents it, is TOML's own.
        let line_text = line.trim_end_matches(['\n', '\r']);
        let outside = line_text.char_indices().find(|&(at, letter)| {
            letter != '\t' && is_unseen(letter) && !is_within(&found.texts, line_at + at)
        });
        if let Some((at, letter)) = outside {
            let column = line_text.get(..at).map_or(1, |before| before.chars().count() + 1);
            let what = Unseen { letter, at: column };
            sink.error(line_at + at, "", ErrorKind::UnseenInLine { what });
        }
    }
    reported
}

/// Each line with the offset at which it begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let begin = *at;
        *at += line.len();
        Some((begin, line))
    })
}

/// `spans` are in the order of the text, and none is in another.
fn is_within(spans: &[Range<usize>], at: usize) -> bool {
    let next = spans.partition_point(|span| span.end <= at);
    spans.get(next).is_some_and(|span| span.contains(&at))
}

#[derive(Default)]
struct Found {
    /// Where each text and each key stands.
    texts: Vec<Range<usize>>,
    unseen: Vec<(usize, String, ErrorKind)>,
    /// Texts that say nothing, and names that are not of one script.
    others: Vec<(usize, String, ErrorKind)>,
}

impl Found {
    fn look_into(&mut self, table: &DeTable<'_>, path: &str) {
        for (key, value) in table {
            let name = key.get_ref();
            let field = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            self.look_at(name, key.span(), path);
            self.look_at_value(value, &field);
        }
    }

    fn look_at_value(&mut self, value: &Spanned<DeValue<'_>>, field: &str) {
        match value.get_ref() {
            DeValue::String(text) => self.look_at(text, value.span(), field),
            DeValue::Array(items) => items.iter().for_each(|item| self.look_at_value(item, field)),
            DeValue::Table(table) => self.look_into(table, field),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn look_at(&mut self, text: &str, span: Range<usize>, field: &str) {
        if let Some(what) = Unseen::find(text) {
            let kind = ErrorKind::Unseen { text: text.to_owned(), what };
            self.unseen.push((span.start, field.to_owned(), kind));
        } else if FREE_TEXTS.contains(&field) && says_nothing(text) {
            self.others.push((
                span.start,
                field.to_owned(),
                ErrorKind::SaysNothing { text: text.to_owned() },
            ));
        } else if let Some(what) = OtherScript::find(text).filter(|_| NAMES.contains(&field)) {
            let kind = ErrorKind::MixedScripts { text: text.to_owned(), what };
            self.others.push((span.start, field.to_owned(), kind));
        }
        self.texts.push(span);
    }
}
