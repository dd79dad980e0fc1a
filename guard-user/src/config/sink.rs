//! Where errors and warnings are put as they are found, so that one run finds them all.

use super::error::ErrorKind;
use super::finding::{Finding, LineAt, Lines, Place};
use super::warning::WarningKind;

/// The errors `E` and warnings `W` of one document.
#[derive(Debug)]
pub(crate) struct Sink<'t, E = ErrorKind, W = WarningKind> {
    lines: Lines<'t>,
    errors: Vec<(usize, Finding<E>)>,
    warnings: Vec<(usize, Finding<W>)>,
}

/// A sink as the reader of documents sees it, whatever else the document's own checks put there.
pub(crate) trait Report {
    /// Adds an error that stands at this byte offset.
    fn report(&mut self, at: usize, field: String, kind: ErrorKind);
    /// The line of a byte offset, and the file that it is of.
    fn line_at(&self, at: usize) -> LineAt;
}

impl<E: From<ErrorKind>, W> Report for Sink<'_, E, W> {
    fn report(&mut self, at: usize, field: String, kind: ErrorKind) {
        self.error(at, field, kind);
    }

    fn line_at(&self, at: usize) -> LineAt {
        self.lines.line_at(at)
    }
}

impl<'t, E, W> Sink<'t, E, W> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self::with_fragments(text, &[])
    }

    /// Of a text that has these files in it: where each begins, and its name.
    pub(crate) fn with_fragments(text: &'t str, fragments: &[(usize, &'t str)]) -> Self {
        let lines = Lines::with_fragments(text, fragments);
        Self { lines, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Adds an error that stands at this byte offset.
    pub(crate) fn error(&mut self, at: usize, field: impl Into<String>, kind: impl Into<E>) {
        let (place, within) = (Some(self.lines.place(at)), self.lines.within(at));
        self.errors.push((at, Finding { place, within, field: field.into(), kind: kind.into() }));
    }

    /// Adds a warning that stands at this byte offset.
    pub(crate) fn warn(&mut self, at: usize, field: impl Into<String>, kind: W) {
        let (place, within) = (Some(self.lines.place(at)), self.lines.within(at));
        self.warnings.push((at, Finding { place, within, field: field.into(), kind }));
    }

    /// The line of a byte offset in its file, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.place(at).line
    }

    /// The line of a byte offset, and the file that it is of.
    pub(crate) fn line_at(&self, at: usize) -> LineAt {
        self.lines.line_at(at)
    }

    /// The place of a byte offset.
    pub(crate) fn place(&self, at: usize) -> Place {
        self.lines.place(at)
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Everything that was found, each in the order of the file.
    pub(crate) fn finish(self) -> (Vec<Finding<E>>, Vec<Finding<W>>) {
        (in_order(self.errors), in_order(self.warnings))
    }
}

fn in_order<K>(mut found: Vec<(usize, Finding<K>)>) -> Vec<Finding<K>> {
    found.sort_by_key(|&(at, _)| at);
    found.into_iter().map(|(_, finding)| finding).collect()
}
