//! From the bytes of a file to a TOML document: what is wrong before any key is looked at.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::error::ErrorKind;
use super::sink::Report;

/// The text of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileText<'t> {
    /// All of it, or what stands before the first byte that is not UTF-8.
    pub(crate) utf8: &'t str,
    whole: bool,
}

/// The text in these bytes.
pub(crate) fn text(bytes: &[u8]) -> FileText<'_> {
    match std::str::from_utf8(bytes) {
        Ok(utf8) => FileText { utf8, whole: true },
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).and_then(|bytes| std::str::from_utf8(bytes).ok());
            FileText { utf8: valid.unwrap_or_default(), whole: false }
        }
    }
}

impl<'t> FileText<'t> {
    /// A text that is UTF-8 to its end.
    pub(crate) const fn whole(utf8: &'t str) -> Self {
        Self { utf8, whole: true }
    }

    /// The document; `None` where it is none, which has been reported.
    pub(crate) fn parse(self, sink: &mut dyn Report) -> Option<Spanned<DeTable<'t>>> {
        self.parse_at(0, sink)
    }

    /// Likewise of a text that begins at this byte offset of the one that the sink knows.
    pub(crate) fn parse_at(self, start: usize, sink: &mut dyn Report) -> Option<Spanned<DeTable<'t>>> {
        if !self.whole {
            sink.report(start + self.utf8.len(), String::new(), ErrorKind::NotUtf8);
            return None;
        }
        let (document, syntax_errors) = DeTable::parse_recoverable(self.utf8);
        if syntax_errors.is_empty() {
            return Some(document);
        }
        report(&syntax_errors, (start, self.utf8), sink);
        None
    }
}

/// Reports the first syntax error of each line: those after it are mostly its echo.
fn report(errors: &[Error], (start, text): (usize, &str), sink: &mut dyn Report) {
    let mut lines = BTreeSet::new();
    for error in errors {
        let at = start + error.span().map_or(text.len(), |span| span.start);
        if lines.insert(sink.line_at(at)) {
            let reason = error.message().replace('\n', " ");
            sink.report(at, String::new(), ErrorKind::Syntax { reason });
        }
    }
}
