//! The way from a document's file to the checked document.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::check;
use super::document::Document;
use super::error::ErrorKind;
use super::law::By;
use super::limits::DOCUMENT_BYTES;
use super::particulars::Law;
use super::raw;
use super::sink::Sink;
use super::surroundings::Surroundings;
use super::unseen;
use crate::config::Errors;
use crate::config::syntax;
use crate::digest::sha256;

/// Reads and checks a document's file; the bytes come with it, for they are what is approved and kept.
///
/// # Errors
/// Every error in the file, or the one that it can't be read.
pub fn load(file: &Path, surroundings: &Surroundings<'_>) -> Result<(Document, Vec<u8>), Errors<ErrorKind>> {
    let bytes = read(file)?;
    Ok((parse(file, &bytes, surroundings)?, bytes))
}

/// Bytes of the longest character in UTF-8.
const LONGEST_LETTER: u64 = 4;

/// Reads a document's file unchecked, and of one that is longer than [`DOCUMENT_BYTES`] its beginning, with one whole
/// character at least past them.
///
/// # Errors
/// The one that it can't be read.
pub fn read(file: &Path) -> Result<Vec<u8>, Errors<ErrorKind>> {
    let mut bytes = Vec::new();
    let most = DOCUMENT_BYTES as u64 + LONGEST_LETTER;
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
    let mut sink = Sink::new(text.utf8);
    let mut unseen = Vec::new();
    let mut by = By::Law(Law::Eu);
    let document = text.parse(&mut sink).and_then(|document| {
        if surroundings.now.is_some() {
            unseen = unseen::check(text.utf8, document.get_ref(), &mut sink);
        }
        let raw = raw::read(document.get_ref(), &mut sink);
        by = check::by_of(&raw, surroundings);
        check::check(&raw, surroundings, &mut sink)
    });
    let unseen: Vec<_> = unseen.into_iter().map(|at| sink.place(at)).collect();
    let (mut errors, _no_warnings) = sink.finish();
    // What else is wrong with such a text comes of the character, and need not say so.
    errors.retain(|error| {
        matches!(error.kind, ErrorKind::Unseen { .. }) || !error.place.is_some_and(|at| unseen.contains(&at))
    });
    for error in &mut errors {
        if let ErrorKind::Law { by: cited, .. } = &mut error.kind {
            *cited = by;
        }
    }
    match document {
        Some(document) if errors.is_empty() => Ok(Document { sha256: sha256(bytes), ..document }),
        _ => Err(Errors { file: file.to_owned(), errors }),
    }
}
