//! The checked document of an exemption, and the way to it from bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::check;
use super::error::ErrorKind;
use super::ground::{Basis, Ground, Role};
use super::instrument::InstrumentKind;
use super::raw;
use crate::approval::Requirement;
use crate::config::Errors;
use crate::config::policy::PortRange;
use crate::config::sink::Sink;
use crate::config::syntax;

/// Bytes of a document.
pub const DOCUMENT_BYTES: usize = 256 << 10;

/// What an exemption's document says. Every value has passed every check that needs nothing but the
/// document, and the document every rule of law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique among the exemptions that are open; never empty, and without a slash.
    pub id: String,
    /// From 1.
    pub version: u32,
    /// The open version that it takes the place of; lower than `version`.
    pub replaces: Option<u32>,
    /// Names of the pins that it covers; never empty.
    pub pins: Vec<String>,
    /// What it is for, one line.
    pub purpose: String,
    /// What kinds of data leave; never empty.
    pub data_categories: Vec<String>,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity, later than `valid_from`.
    pub valid_until: Timestamp,
    /// Bytes on the wire that it may let through, at least 1; `None` for no bound.
    pub quota_bytes: Option<u64>,
    /// Whether its text stays out of the logs and lists that others read.
    pub confidential: bool,
    /// The legal act.
    pub instrument: Instrument,
    /// Who sends.
    pub exporter: Exporter,
    /// The transfer impact assessment; there where the law needs it.
    pub assessment: Option<Assessment>,
    /// Who wrote it, and whose signatures it needs.
    pub approval: Approval,
    /// Who may receive; never empty, and no two of them overlap.
    pub recipients: Vec<Recipient>,
}

impl Document {
    /// The approvals that the document itself asks for, by role.
    #[must_use]
    pub fn requirements(&self) -> Vec<Requirement<'_>> {
        let required = self.approval.required.iter();
        required.map(|required| Requirement { role: &required.role, count: required.count }).collect()
    }

    /// First moment at which nothing passes by it any more: the end of its window, or when its assessment
    /// has to have been looked at again, whichever is earlier. Safeguards that nobody has looked at in time
    /// are none (C-311/18, 134).
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        let review = self.assessment.as_ref().and_then(|assessment| assessment.review_by);
        review.map_or(self.valid_until, |review| review.min(self.valid_until))
    }

    /// Whether the assessment has to be looked at again before this exemption is activated or resumed.
    #[must_use]
    pub fn review_is_over(&self, now: Timestamp) -> bool {
        self.assessment.as_ref().and_then(|assessment| assessment.review_by).is_some_and(|by| by <= now)
    }
}

/// The legal act that a transfer rests on. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// What kind of act it is; never one that carries nothing.
    pub kind: InstrumentKind,
    /// What the act is called.
    pub name: String,
    /// The article of it that is used.
    pub article: String,
    /// The ground of Chapter V; one that the kind can carry.
    pub ground: Ground,
    /// The basis of Art. 6(1).
    pub basis: Basis,
    /// Who issued or adopted it.
    pub authority: String,
    /// The case.
    pub reference: String,
    /// The international agreement; there where the law needs it.
    pub agreement: Option<String>,
    /// SHA-256 of the act's own file, 64 digits in small letters.
    pub document_sha256: Option<String>,
}

/// Who sends. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// Who it is.
    pub name: String,
    /// What it is for the data.
    pub role: Role,
    /// Whom to ask.
    pub contact: String,
}

/// A transfer impact assessment. Texts are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Where it is kept.
    pub reference: String,
    /// First moment at which it has to have been looked at again; later than the window's begin.
    pub review_by: Option<Timestamp>,
    /// Supplementary measures; may be empty.
    pub measures: Vec<String>,
}

/// Who wrote the document, and whose signatures it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approval {
    /// The identity of the author.
    pub submitter: Option<String>,
    /// Signatures that are needed; each role once, and may be empty.
    pub required: Vec<Required>,
}

/// Signatures of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    /// The role.
    pub role: String,
    /// How many signers of it, at least 1.
    pub count: u32,
}

/// Who may receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who it is, one line.
    pub name: String,
    /// Where it is; always a country.
    pub jurisdiction: Jurisdiction,
    /// Its networks, without host bits; empty: anybody in the jurisdiction.
    pub networks: Vec<IpNetwork>,
    /// Its ports, destination ports of egress; empty: any, of any protocol.
    pub ports: Vec<PortRange>,
}

/// What a document is checked against beside its own text. Each is left out where it makes no sense: a
/// check without a config knows no pins, and a stored document may have expired since it was loaded.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The names of the config's pins; `None`: pins are not looked at.
    pub pins: Option<&'a [String]>,
    /// A document that has expired by now, or whose assessment had to be looked at again, is refused;
    /// `None`: neither is looked at.
    pub now: Option<Timestamp>,
    /// What was loaded under an id before; `None`: this is not looked at.
    pub earlier: Option<EarlierOf<'a>>,
}

/// Says what was loaded under an id before.
pub type EarlierOf<'a> = &'a dyn Fn(&str) -> Option<Earlier>;

/// What was loaded under an id before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The highest version.
    pub version: u32,
    /// Whether it is open: neither revoked nor expired.
    pub open: bool,
}

/// Reads and checks a document's file; the bytes come with it, for they are what is approved and kept.
///
/// # Errors
/// Every error in the file, or the one that it can't be read.
pub fn load(file: &Path, surroundings: &Surroundings<'_>) -> Result<(Document, Vec<u8>), Errors<ErrorKind>> {
    let bytes = read(file)?;
    Ok((parse(file, &bytes, surroundings)?, bytes))
}

/// Reads a document's file unchecked, at most one byte past [`DOCUMENT_BYTES`].
///
/// # Errors
/// The one that it can't be read.
pub fn read(file: &Path) -> Result<Vec<u8>, Errors<ErrorKind>> {
    let mut bytes = Vec::new();
    let most = DOCUMENT_BYTES as u64 + 1;
    match File::open(file).and_then(|opened| opened.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Errors::whole_file(file, ErrorKind::unreadable(&error))),
    }
}

/// Checks the content of a document; `file` is its name in errors.
///
/// # Errors
/// Every error in it. Where the text is not TOML, these are the syntax errors alone.
pub fn parse(
    file: &Path,
    bytes: &[u8],
    surroundings: &Surroundings<'_>,
) -> Result<Document, Errors<ErrorKind>> {
    if bytes.len() > DOCUMENT_BYTES {
        return Err(Errors::whole_file(file, ErrorKind::TooLong));
    }
    let text = syntax::text(bytes);
    let mut sink: Sink<'_, ErrorKind, std::convert::Infallible> = Sink::new(text.utf8);
    let document = text.parse(&mut sink).and_then(|document| {
        let raw = raw::read(document.get_ref(), &mut sink);
        check::check(&raw, surroundings, &mut sink)
    });
    let (errors, _no_warnings) = sink.finish();
    match document {
        Some(document) if errors.is_empty() => Ok(document),
        _ => Err(Errors { file: file.to_owned(), errors }),
    }
}
