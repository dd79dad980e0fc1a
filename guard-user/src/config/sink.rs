//! Where errors and warnings are put as they are found, so that one run finds them all.

use super::error::ErrorKind;
use super::finding::{ConfigError, Finding, Lines, Warning};
use super::warning::WarningKind;

#[derive(Debug)]
pub(super) struct Sink<'t> {
    lines: Lines<'t>,
    errors: Vec<(usize, ConfigError)>,
    warnings: Vec<(usize, Warning)>,
}

impl<'t> Sink<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { lines: Lines::new(text), errors: Vec::new(), warnings: Vec::new() }
    }

    /// Adds an error that stands at this byte offset.
    pub(super) fn error(&mut self, at: usize, field: impl Into<String>, kind: ErrorKind) {
        let place = Some(self.lines.place(at));
        self.errors.push((at, Finding { place, field: field.into(), kind }));
    }

    /// Adds a warning that stands at this byte offset.
    pub(super) fn warn(&mut self, at: usize, field: impl Into<String>, kind: WarningKind) {
        let place = Some(self.lines.place(at));
        self.warnings.push((at, Finding { place, field: field.into(), kind }));
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.place(at).line
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Everything that was found, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<ConfigError>, Vec<Warning>) {
        (in_order(self.errors), in_order(self.warnings))
    }
}

fn in_order<K>(mut found: Vec<(usize, Finding<K>)>) -> Vec<Finding<K>> {
    found.sort_by_key(|&(at, _)| at);
    found.into_iter().map(|(_, finding)| finding).collect()
}
