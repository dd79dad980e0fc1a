//! The report as one table of CSV (RFC 4180), for a spreadsheet.
//!
//! One table and not several files: it goes through a pipe, and a filter on the first column gives each part.
//! `traffic` and `use` have a row for each count, with numbers in columns of their own, so that a pivot table
//! can be made of them at once. Everything else is a fact a row: a name and a value.

use std::io::{self, Write};

use ::csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::model::{ExemptionEntry, Report};
use super::register::{self, REGISTER};
use super::sums::Class;
use super::text::cell;

/// The columns.
pub const COLUMNS: [&str; 13] = [
    "section",
    "exemption",
    "version",
    "day",
    "pin",
    "jurisdiction",
    "class",
    "verdict",
    "reason",
    "packets",
    "bytes",
    "name",
    "value",
];

/// One row; what a section has no use for stays empty.
#[derive(Default)]
struct Row<'a> {
    section: &'static str,
    exemption: Option<&'a ExemptionEntry>,
    day: String,
    pin: &'a str,
    jurisdiction: &'a str,
    class: &'static str,
    verdict: &'a str,
    reason: &'a str,
    counts: Option<(u64, u64)>,
    name: &'a str,
    value: String,
}

impl Row<'_> {
    fn write(&self, out: &mut Writer<impl Write>) -> io::Result<()> {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let cells = [
            self.section.to_owned(),
            cell(self.exemption.map_or("", |exemption| &exemption.id)),
            number(self.exemption.map(|exemption| exemption.version.into())),
            // Days before the year 0 have a minus sign.
            cell(&self.day),
            cell(self.pin),
            cell(self.jurisdiction),
            self.class.to_owned(),
            cell(self.verdict),
            cell(self.reason),
            number(self.counts.map(|(packets, _)| packets)),
            number(self.counts.map(|(_, bytes)| bytes)),
            cell(self.name),
            cell(&self.value),
        ];
        out.write_record(cells).map_err(plain)
    }
}

/// The error of the output itself, so that a closed pipe is still seen as one.
fn plain(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("the table can't be written: {other:?}")),
    }
}

/// Writes the table.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut table = writer(out);
    table.write_record(COLUMNS).map_err(plain)?;
    for (name, value) in about(report) {
        Row { section: "report", name, value, ..Row::default() }.write(&mut table)?;
    }
    for gap in &report.gaps {
        Row { section: "gap", value: gap.clone(), ..Row::default() }.write(&mut table)?;
    }
    for pin in &report.pins {
        let row = Row { section: "pin", pin: &pin.name, jurisdiction: &pin.home, ..Row::default() };
        row.write(&mut table)?;
    }
    for exemption in &report.exemptions {
        write_exemption(exemption, &mut table)?;
    }
    for it in &report.unattributed {
        let counts = Some((it.packets, it.bytes));
        let value = it.least();
        Row { section: "unattributed", pin: &it.pin, counts, value, ..Row::default() }.write(&mut table)?;
    }
    for row in &report.traffic {
        Row {
            section: "traffic",
            day: row.day.to_string(),
            pin: &row.pin,
            jurisdiction: &row.jurisdiction,
            class: Class::of(row, report).name(),
            verdict: &row.verdict,
            reason: &row.reason,
            counts: Some((row.packets, row.bytes)),
            ..Row::default()
        }
        .write(&mut table)?;
    }
    table.flush()
}

/// Writes the register: one table with the columns of Art. 30.
pub(super) fn write_register(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut table = writer(out);
    table.write_record(REGISTER).map_err(plain)?;
    for row in register::table(report) {
        table.write_record(row.iter().map(|text| cell(text))).map_err(plain)?;
    }
    table.flush()
}

/// Quoted throughout, so that no separator in a text is taken for one.
fn writer<W: Write>(out: W) -> Writer<W> {
    WriterBuilder::new().quote_style(QuoteStyle::NonNumeric).terminator(Terminator::CRLF).from_writer(out)
}

fn about(report: &Report) -> Vec<(&'static str, String)> {
    let organisation = &report.organisation;
    let named = [
        ("controller", &organisation.controller),
        ("joint controller", &organisation.joint_controller),
        ("representative", &organisation.representative),
        ("data protection officer", &organisation.dpo),
    ];
    let mut facts: Vec<(&str, String)> =
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    facts.extend([
        ("mark", report.mark.clone()),
        ("host", report.host.clone()),
        ("from", report.from.to_string()),
        ("until", report.until.to_string()),
        ("made at", report.made_at.to_string()),
        ("generation", report.generation.to_string()),
        ("redacted", report.redacted.to_string()),
    ]);
    if let Some(head) = &report.audit_head {
        facts.push(("audit head sequence", head.sequence.to_string()));
        facts.push(("audit head sha256", head.sha256.clone()));
        facts.push(("audit head time", head.time.to_string()));
    }
    facts
}

fn write_exemption(exemption: &ExemptionEntry, table: &mut Writer<impl Write>) -> io::Result<()> {
    let exempt = Some(exemption);
    for (name, value) in super::facts::of(exemption, &super::facts::FOR_PROGRAMS) {
        Row { section: "exemption", exemption: exempt, name, value, ..Row::default() }.write(table)?;
    }
    for recipient in &exemption.recipients {
        let value = super::facts::reach(recipient);
        let (name, jurisdiction) = (recipient.name.as_str(), recipient.jurisdiction.as_str());
        Row { section: "recipient", exemption: exempt, jurisdiction, name, value, ..Row::default() }
            .write(table)?;
    }
    if exemption.approvals.is_empty() {
        let value = "no approval was required when it was loaded".to_owned();
        Row { section: "approval", exemption: exempt, name: "nobody", value, ..Row::default() }
            .write(table)?;
    }
    for approval in &exemption.approvals {
        let value = format!("{}; {}", approval.in_roles(), approval.key);
        let name = approval.identity.as_str();
        Row { section: "approval", exemption: exempt, name, value, ..Row::default() }.write(table)?;
    }
    for change in &exemption.changes {
        let value = format!("{} by {}: {}", change.at, change.who, change.words());
        let name = change.what.as_str();
        Row { section: "change", exemption: exempt, name, value, ..Row::default() }.write(table)?;
    }
    for used in &exemption.use_by_day {
        let (day, counts) = (used.day.to_string(), Some((used.packets, used.bytes)));
        let name = used.recipient.as_deref().unwrap_or_default();
        let jurisdiction = used.jurisdiction.as_deref().unwrap_or_default();
        Row { section: "use", exemption: exempt, day, counts, name, jurisdiction, ..Row::default() }
            .write(table)?;
    }
    for presumed in &exemption.presumed {
        let (day, counts) = (presumed.day.to_string(), Some((0, presumed.bytes)));
        let name = register::PRESUMED;
        Row { section: "presumed", exemption: exempt, day, counts, name, ..Row::default() }.write(table)?;
    }
    Ok(())
}
