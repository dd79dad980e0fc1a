//! The raw document: its values as they stand there, each with its place, none of them checked beyond
//! its TOML type.

use toml::Spanned;
use toml::de::DeTable;
use toml::value::Datetime;

use super::keys::DOCUMENT;
use crate::config;
use crate::config::read::{List, Section, Text};
use crate::config::sink::Report;

/// A value is `None` where it is not in the document, or where it was of a wrong type or is required and
/// missing, which has been reported.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) id: Option<Text>,
    pub(super) version: Option<Spanned<i128>>,
    pub(super) instrument: Option<Text>,
    pub(super) reference: Option<Text>,
    pub(super) pins: Option<List>,
    pub(super) ports: Option<List>,
    pub(super) valid_from: Option<Spanned<Datetime>>,
    pub(super) valid_until: Option<Spanned<Datetime>>,
    /// Whether the key is there, be its value right or wrong.
    pub(super) has_quota: bool,
    pub(super) quota_bytes: Option<Spanned<i128>>,
    pub(super) recipients: Vec<RawRecipient>,
}

#[derive(Debug)]
pub(super) struct RawRecipient {
    /// Where it begins.
    pub(super) at: usize,
    pub(super) name: Option<Text>,
    pub(super) jurisdictions: Option<List>,
    pub(super) cidrs: Option<List>,
    /// Whether both ways of giving a recipient are used.
    pub(super) has_both: bool,
}

/// Reads the whole document.
pub(super) fn read(document: &DeTable<'_>, sink: &mut dyn Report) -> Raw {
    let root = Section::root(document, &DOCUMENT, sink);
    let entries = root.entries("recipient", sink);
    let example = "[[recipient]] with name = \"...\" and cidrs = [\"198.51.100.20/32\"]".to_owned();
    if root.is_empty_list("recipient") {
        sink.report(0, "recipient".to_owned(), config::ErrorKind::EmptyList { example, optional: false });
    } else if root.lacks("recipient") {
        sink.report(0, "recipient".to_owned(), config::ErrorKind::Missing { example });
    }
    Raw {
        id: root.text("id", sink),
        version: root.integer("version", sink),
        instrument: root.text("instrument", sink),
        reference: root.text("reference", sink),
        pins: root.list("pins", sink),
        ports: root.list("ports", sink),
        valid_from: root.time("valid_from", sink),
        valid_until: root.time("valid_until", sink),
        has_quota: root.has_any(&["quota_bytes"]),
        quota_bytes: root.integer("quota_bytes", sink),
        recipients: entries.iter().map(|entry| read_recipient(entry, sink)).collect(),
    }
}

fn read_recipient(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawRecipient {
    let choices = ["cidrs", "jurisdictions"];
    if choices.iter().all(|name| section.lacks(name)) {
        let kind = config::ErrorKind::NoDimension { choices: choices.to_vec() };
        sink.report(section.at, "recipient".to_owned(), kind);
    }
    RawRecipient {
        at: section.at,
        name: section.text("name", sink),
        jurisdictions: section.list("jurisdictions", sink),
        cidrs: section.list("cidrs", sink),
        has_both: choices.iter().all(|name| section.has_any(&[name])),
    }
}
