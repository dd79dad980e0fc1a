//! The raw document: its values as they stand there, each with its place, none of them checked beyond
//! its TOML type.

use toml::Spanned;
use toml::de::DeTable;
use toml::value::Datetime;

use super::keys::{DOCUMENT, REQUIRED_SECTIONS};
use super::raw_particulars::{self, RawParticulars};
use crate::config;
use crate::config::read::{List, Section, Text};
use crate::config::sink::Report;

/// A value is `None` where it is not in the document, or where it was of a wrong type or is required and
/// missing, which has been reported.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) id: Option<Text>,
    pub(super) version: Option<Spanned<i128>>,
    pub(super) replaces: Option<Spanned<i128>>,
    pub(super) pins: Option<List>,
    pub(super) hosts: Option<List>,
    pub(super) purpose: Option<Text>,
    pub(super) data_categories: Option<List>,
    pub(super) valid_from: Option<Spanned<Datetime>>,
    pub(super) valid_until: Option<Spanned<Datetime>>,
    /// Whether the key is there, be its value right or wrong.
    pub(super) has_quota: bool,
    pub(super) quota_bytes: Option<Spanned<i128>>,
    pub(super) emergency: Option<Text>,
    pub(super) confidential: bool,
    pub(super) instrument: RawInstrument,
    pub(super) exporter: RawExporter,
    pub(super) assessment: Option<RawAssessment>,
    pub(super) submitter: Option<Text>,
    pub(super) required: Vec<RawRequired>,
    /// Whether there is nobody who may receive, and no slip for it that is reported already.
    pub(super) has_no_recipient: bool,
    pub(super) recipients: Vec<RawRecipient>,
    pub(super) particulars: RawParticulars,
}

#[derive(Debug)]
pub(super) struct RawInstrument {
    pub(super) kind: Option<Text>,
    pub(super) name: Option<Text>,
    pub(super) article: Option<Text>,
    pub(super) ground: Option<Text>,
    pub(super) basis: Option<Text>,
    pub(super) authority: Option<Text>,
    pub(super) reference: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_agreement: bool,
    pub(super) agreement: Option<Text>,
    pub(super) document_sha256: Option<Text>,
}

#[derive(Debug)]
pub(super) struct RawExporter {
    pub(super) name: Option<Text>,
    pub(super) role: Option<Text>,
    pub(super) contact: Option<Text>,
    pub(super) public_authority: Option<bool>,
}

#[derive(Debug)]
pub(super) struct RawAssessment {
    pub(super) reference: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_review: bool,
    pub(super) review_by: Option<Spanned<Datetime>>,
    pub(super) measures: Option<List>,
}

#[derive(Debug)]
pub(super) struct RawRequired {
    pub(super) role: Option<Text>,
    pub(super) count: Option<Spanned<i128>>,
}

#[derive(Debug)]
pub(super) struct RawRecipient {
    /// Where it begins.
    pub(super) at: usize,
    pub(super) name: Option<Text>,
    pub(super) jurisdiction: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_cidrs: bool,
    pub(super) cidrs: Option<List>,
    pub(super) anywhere: Option<bool>,
    pub(super) large_network: Option<Text>,
    pub(super) ports: Option<List>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_certification: bool,
    pub(super) certification: Option<Text>,
    /// Whether the key is not there, nor a slip for it.
    pub(super) lacks_checked_on: bool,
    pub(super) checked_on: Option<Spanned<Datetime>>,
}

/// Reads the whole document.
pub(super) fn read(document: &DeTable<'_>, sink: &mut dyn Report) -> Raw {
    let root = Section::root(document, &DOCUMENT, sink);
    for name in REQUIRED_SECTIONS {
        // That there is no recipient is a rule of law, which has words of its own.
        if name != "recipient" && root.lacks(name) {
            let example = format!("[{name}] with its keys below it");
            sink.report(0, name.to_owned(), config::ErrorKind::Missing { example });
        }
    }
    let instrument = root.table("instrument", sink);
    let exporter = root.table("exporter", sink);
    let assessment = root.table("assessment", sink);
    let approval = root.table("approval", sink);
    let required = approval.entries("approval.required", sink);
    let recipients = root.entries("recipient", sink);
    Raw {
        id: root.text("id", sink),
        version: root.integer("version", sink),
        replaces: root.integer("replaces", sink),
        pins: root.list("pins", sink),
        hosts: root.list("hosts", sink),
        purpose: root.text("purpose", sink),
        data_categories: root.list("data_categories", sink),
        valid_from: root.time("valid_from", sink),
        valid_until: root.time("valid_until", sink),
        has_quota: !root.lacks("quota_bytes"),
        quota_bytes: root.integer("quota_bytes", sink),
        emergency: root.text("emergency", sink),
        confidential: root.boolean("confidential", sink).unwrap_or(false),
        instrument: read_instrument(&instrument, sink),
        exporter: RawExporter {
            name: exporter.text("name", sink),
            role: exporter.text("role", sink),
            contact: exporter.text("contact", sink),
            public_authority: exporter.boolean("public_authority", sink),
        },
        assessment: (!root.lacks("assessment")).then(|| RawAssessment {
            reference: assessment.text("reference", sink),
            lacks_review: assessment.lacks("review_by"),
            review_by: assessment.time("review_by", sink),
            measures: assessment.list("measures", sink),
        }),
        submitter: approval.text("submitter", sink),
        required: required
            .iter()
            .map(|entry| RawRequired { role: entry.text("role", sink), count: entry.integer("count", sink) })
            .collect(),
        has_no_recipient: root.lacks("recipient") || root.is_empty_list("recipient"),
        recipients: recipients.iter().map(|entry| read_recipient(entry, sink)).collect(),
        particulars: raw_particulars::read(&root, &instrument, sink),
    }
}

fn read_instrument(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawInstrument {
    RawInstrument {
        kind: section.text("type", sink),
        name: section.text("name", sink),
        article: section.text("article", sink),
        ground: section.text("ground", sink),
        basis: section.text("basis", sink),
        authority: section.text("authority", sink),
        reference: section.text("reference", sink),
        lacks_agreement: section.lacks("agreement"),
        agreement: section.text("agreement", sink),
        document_sha256: section.text("document_sha256", sink),
    }
}

fn read_recipient(section: &Section<'_, '_>, sink: &mut dyn Report) -> RawRecipient {
    RawRecipient {
        at: section.at,
        name: section.text("name", sink),
        jurisdiction: section.text("jurisdiction", sink),
        lacks_cidrs: section.lacks("cidrs"),
        cidrs: section.list("cidrs", sink),
        anywhere: section.boolean("anywhere", sink),
        large_network: section.text("large_network", sink),
        ports: section.list("ports", sink),
        lacks_certification: section.lacks("certification"),
        certification: section.text("certification", sink),
        lacks_checked_on: section.lacks("checked_on"),
        checked_on: section.time("checked_on", sink),
    }
}
