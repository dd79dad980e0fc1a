//! A line on its way to where the log goes.

use std::io;

use super::envelope::Envelope;
use super::record::Record;

/// One line, and what it was made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// With its break.
    pub(super) text: &'a str,
    pub(super) record: &'a Record,
    pub(super) envelope: &'a Envelope,
}

/// Takes lines. It may block: only the log's own thread waits for it.
pub(super) trait Sink: Send {
    /// Takes a line whole, or fails and has nothing of it as far as that can be.
    fn write(&mut self, line: Line<'_>) -> io::Result<()>;

    /// Opens what it writes to anew, where it has a name.
    fn reopen(&mut self) {}
}
