//! The record of transfers: what crossed a border, when, from which pin, to whom, how much, on which legal
//! instrument, and what was refused. It is the view that Art. 30(1)(d) and (e) GDPR ask for (recipients,
//! third countries, safeguards), from what the kernel counted.
//!
//! A [`Report`] is plain data, which the daemon fills from the store and the counters. [`render`] writes it as a
//! table for spreadsheets, as JSON, or as one page of HTML that needs nothing else.

mod csv;
mod facts;
mod html;
mod life;
mod model;
pub(crate) mod number;
pub mod receipt;
mod redact;
mod register;
mod said;
mod sums;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod words;

use std::io::{self, Write};

pub use csv::COLUMNS;
pub use model::{
    ApprovalEntry, AssessmentEntry, AuditHead, Change, Counts, DayPresumed, DayUse, ExemptionEntry,
    ExporterEntry, InstrumentEntry, Organisation, ParticularEntry, PinEntry, RecipientEntry, Report, Traffic,
    Unattributed,
};
pub use redact::WITHHELD;
pub(crate) use redact::redacted;
pub use register::{NOT_APART, PASSES_FORBIDDEN, PRESUMED, REGISTER};
pub use sums::Class;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One table, for spreadsheets
    Csv,
    /// One object, for programs
    Json,
    /// One page, for people and for printing
    Html,
    /// The register of transfers with the columns of Art. 30 GDPR, for spreadsheets
    Register,
}

/// Writes the report. Where it is to be redacted, the text of confidential exemptions is left out of every
/// format.
///
/// # Errors
/// Where `out` can't be written.
pub fn render(report: &Report, format: Format, out: &mut impl Write) -> io::Result<()> {
    let report = &redact::redacted(report);
    match format {
        Format::Csv => csv::write(report, out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, report)?;
            out.write_all(b"\n")
        }
        Format::Register => csv::write_register(report, out),
        Format::Html => out.write_all(html::page(report).into_string().as_bytes()),
    }
}
