//! The checked document of an exemption, and the way to it from bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::check;
use super::error::ErrorKind;
use super::instrument::Instrument;
use super::raw;
use crate::config::Errors;
use crate::config::policy::PortRange;
use crate::config::sink::Sink;
use crate::config::syntax;

/// Bytes of a document.
pub const DOCUMENT_BYTES: usize = 256 << 10;

/// What an exemption's document says. Every value has passed every check that needs nothing but the
/// document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique among the exemptions that are open; never empty, and without a slash.
    pub id: String,
    /// From 1.
    pub version: u32,
    /// The ground; never one that is none.
    pub instrument: Instrument,
    /// The act or the case.
    pub reference: String,
    /// Names of the pins that it covers; never empty.
    pub pins: Vec<String>,
    /// Destination ports of egress; empty: any, of any protocol.
    pub ports: Vec<PortRange>,
    /// First moment of its validity.
    pub valid_from: Timestamp,
    /// First moment after its validity, later than `valid_from`.
    pub valid_until: Timestamp,
    /// Bytes on the wire that it may let through, at least 1; `None` for no bound.
    pub quota_bytes: Option<u64>,
    /// Who may receive; never empty.
    pub recipients: Vec<Recipient>,
}

/// Who may receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who it is, one line.
    pub name: String,
    /// By what its packets are known.
    pub reach: Reach,
}

/// By what packets to a recipient are known. The lists are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its networks, without host bits.
    Networks(Vec<IpNetwork>),
    /// Anybody in these countries.
    Jurisdictions(Vec<Jurisdiction>),
}

/// What a document is checked against beside its own text. Each is left out where it makes no sense: a
/// check without a config knows no pins, and a stored document may have expired since it was loaded.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The names of the config's pins; `None`: pins are not looked at.
    pub pins: Option<&'a [String]>,
    /// A document that has expired by now is refused; `None`: expiry is not looked at.
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
