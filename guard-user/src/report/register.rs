//! The register of transfers: a row for each recipient of each exemption, with what Art. 30(1) GDPR asks for.
//!
//! The columns go by the letters of Art. 30(1), as the controllers' templates of supervisory authorities do (the Irish DPC's
//! guidance note of April 2023 with its two spreadsheets, the ICO's documentation templates). Each row stands by itself, with
//! words and no references to other files, as that note asks.

use super::model::{ExemptionEntry, Report};
use super::sums::Sum;
use super::words;

/// The columns, in their order.
pub const REGISTER: [&str; 25] = [
    "controller",
    "joint controller",
    "representative",
    "data protection officer",
    "exporter",
    "processing activity",
    "version",
    "state",
    "purpose",
    "categories of data subjects",
    "categories of personal data",
    "recipient",
    "third country",
    "instrument",
    "ground (Chapter V)",
    "safeguards",
    "lawful basis (Art. 6(1))",
    "time limits for erasure",
    "security measures",
    "transfers from",
    "transfers until",
    "first transfer",
    "last transfer",
    "packets",
    "bytes",
];

/// What stands in the place of a recipient where what several received was not counted apart.
pub const NOT_APART: &str = "several, not counted apart";

/// One row.
pub(super) struct Row<'r> {
    pub(super) exemption: &'r ExemptionEntry,
    pub(super) recipient: &'r str,
    pub(super) jurisdiction: &'r str,
    pub(super) used: Sum,
}

/// The rows, in the order of the report.
pub(super) fn rows(report: &Report) -> Vec<Row<'_>> {
    report.exemptions.iter().flat_map(of).collect()
}

fn of(exemption: &ExemptionEntry) -> Vec<Row<'_>> {
    let used = |counts: &dyn Fn(&super::DayUse) -> bool| {
        let mut sum = Sum::default();
        let days = exemption.use_by_day.iter().filter(|day| counts(day));
        days.for_each(|day| sum.add(day.packets, day.bytes));
        sum
    };
    let named = exemption.recipients.iter().enumerate().map(|(at, it)| Row {
        exemption,
        recipient: &it.name,
        jurisdiction: &it.jurisdiction,
        used: used(&|day| place(day) == Some(at)),
    });
    let mut rows: Vec<Row<'_>> = named.collect();
    // Never less than was counted: what is of none of them has a row of its own.
    let rest = used(&|day| place(day).is_none_or(|at| at >= exemption.recipients.len()));
    if rest != Sum::default() {
        rows.push(Row { exemption, recipient: NOT_APART, jurisdiction: "", used: rest });
    }
    rows
}

/// The recipient's place among those of its exemption, by its number: names may be the same, or withheld.
fn place(day: &super::DayUse) -> Option<usize> {
    match day.number {
        Some(number) => usize::try_from(number).ok()?.checked_sub(1),
        // An older daemon names the recipient where there is one alone.
        None => day.recipient.as_ref().map(|_| 0),
    }
}

impl Row<'_> {
    /// The cells, by [`REGISTER`].
    pub(super) fn cells(&self, report: &Report) -> Vec<String> {
        let Self { exemption, recipient, jurisdiction, used } = self;
        let organisation = &report.organisation;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let exporter = &exemption.exporter;
        let time = |time: Option<jiff::Timestamp>| time.map(words::moment).unwrap_or_default();
        vec![
            text(&organisation.controller),
            text(&organisation.joint_controller),
            text(&organisation.representative),
            text(&organisation.dpo),
            format!("{} ({}); {}", exporter.name, exporter.role, exporter.contact),
            exemption.id.clone(),
            exemption.version.to_string(),
            exemption.state.clone(),
            exemption.purpose.clone(),
            particulars(exemption, &["data_subjects"]),
            exemption.data_categories.join(", "),
            (*recipient).to_owned(),
            (*jurisdiction).to_owned(),
            instrument(exemption),
            words::ground(&exemption.instrument.ground),
            safeguards(exemption),
            words::basis(&exemption.instrument.basis),
            particulars(exemption, &["retention", "delete_by"]),
            exemption.assessment.as_ref().map(|it| it.measures.join(", ")).unwrap_or_default(),
            words::moment(exemption.valid_from),
            words::moment(exemption.valid_until),
            time(exemption.first_use),
            time(exemption.last_use),
            used.packets.to_string(),
            used.bytes.to_string(),
        ]
    }
}

/// What the document says under these keys; empty where it does not.
fn particulars(exemption: &ExemptionEntry, keys: &[&str]) -> String {
    let said = exemption.particulars.iter().filter(|it| keys.contains(&it.key.as_str()));
    said.map(|it| it.value.as_str()).collect::<Vec<_>>().join(", ")
}

fn instrument(exemption: &ExemptionEntry) -> String {
    let it = &exemption.instrument;
    let agreement = if it.agreement.is_empty() { String::new() } else { format!(", under {}", it.agreement) };
    format!("{}: {}, {}, {}, case {}{agreement}", it.kind, it.name, it.article, it.authority, it.reference)
}

/// The documentation of safeguards that Art. 30(1)(e) asks for.
pub(super) fn safeguards(exemption: &ExemptionEntry) -> String {
    let Some(assessment) = &exemption.assessment else { return String::new() };
    let review = match assessment.review_by.is_empty() {
        true => String::new(),
        false => format!(", to be reviewed by {}", assessment.review_by),
    };
    format!("assessment {}{review}", assessment.reference)
}
