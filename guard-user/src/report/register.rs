//! The register of transfers: a row for each recipient of each exemption, with what Art. 30(1) GDPR asks for.
//!
//! The columns go by the letters of Art. 30(1), as the controllers' templates of supervisory authorities do (the Irish DPC's
//! guidance note of April 2023 with its two spreadsheets, the ICO's documentation templates). Each row stands by itself, with
//! words and no references to other files, as that note asks.

use jiff::Timestamp;
use jiff::civil::Date;

use super::model::{ExemptionEntry, Report};
use super::sums::Sum;
use super::words;
use crate::audit::Kind;

/// The columns, in their order.
pub const REGISTER: [&str; 34] = [
    "controller",
    "joint controllers",
    "representative",
    "data protection officer",
    "exporter",
    "processors",
    "processing activity",
    "version",
    "state",
    "purpose",
    "categories of data subjects",
    "categories of personal data",
    "recipient",
    "third country",
    "instrument",
    "module",
    "ground (Chapter V)",
    "condition (Art. 49)",
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
    "stays and lifts",
    "duties",
    "host",
    "period from",
    "period until",
    "made at",
];

/// What stands in the place of a recipient where what several received was not counted apart.
pub const NOT_APART: &str = "several, not counted apart";

/// One row.
pub(super) struct Row<'r> {
    pub(super) exemption: &'r ExemptionEntry,
    pub(super) recipient: &'r str,
    pub(super) jurisdiction: &'r str,
    pub(super) used: Sum,
    /// The first and the last day of the period on which it received something, where it is one of several.
    days: Option<(Date, Date)>,
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
    let days = |counts: &dyn Fn(&super::DayUse) -> bool| {
        let days =
            exemption.use_by_day.iter().filter(|day| counts(day) && (day.packets, day.bytes) != (0, 0));
        let all: Vec<Date> = days.map(|day| day.day).collect();
        Some((*all.iter().min()?, *all.iter().max()?))
    };
    let named = exemption.recipients.iter().enumerate().map(|(at, it)| Row {
        exemption,
        recipient: &it.name,
        jurisdiction: &it.jurisdiction,
        used: used(&|day| place(day) == Some(at)),
        days: days(&|day| place(day) == Some(at)),
    });
    let mut rows: Vec<Row<'_>> = named.collect();
    // Never less than was counted: what is of none of them has a row of its own.
    let rest = used(&|day| place(day).is_none_or(|at| at >= exemption.recipients.len()));
    if rest != Sum::default() {
        let days = days(&|day| place(day).is_none_or(|at| at >= exemption.recipients.len()));
        rows.push(Row { exemption, recipient: NOT_APART, jurisdiction: "", used: rest, days });
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
        let Self { exemption, recipient, jurisdiction, used, days: _ } = self;
        let organisation = &report.organisation;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let exporter = &exemption.exporter;
        let time = |time: Option<jiff::Timestamp>| time.map(words::moment).unwrap_or_default();
        vec![
            text(&organisation.controller),
            joint_controllers(organisation.joint_controller.as_deref(), exemption),
            text(&organisation.representative),
            text(&organisation.dpo),
            format!("{} ({}); {}", exporter.name, exporter.role, exporter.contact),
            processors(exemption),
            exemption.id.clone(),
            exemption.version.to_string(),
            exemption.state.clone(),
            exemption.purpose.clone(),
            subjects(exemption),
            exemption.data_categories.join(", "),
            (*recipient).to_owned(),
            (*jurisdiction).to_owned(),
            instrument(exemption),
            module(exemption),
            words::ground(&exemption.instrument.ground),
            condition(exemption),
            safeguards(exemption),
            words::basis(&exemption.instrument.basis),
            particulars(exemption, &["retention", "delete_by"]),
            exemption.assessment.as_ref().map(|it| it.measures.join(", ")).unwrap_or_default(),
            words::moment(begin(exemption)),
            words::moment(end(exemption)),
            self.first().unwrap_or_else(|| time(exemption.first_use)),
            self.last().unwrap_or_else(|| time(exemption.last_use)),
            used.packets.to_string(),
            used.bytes.to_string(),
            told(exemption, &[Kind::Stay, Kind::Resume]).join("; "),
            duties(exemption),
            report.host.clone(),
            words::moment(report.from),
            words::moment(report.until),
            words::moment(report.made_at),
        ]
    }

    /// The day of its first transfer in the period; `None` where the exemption has no other recipient, so that its own
    /// moment is known.
    fn first(&self) -> Option<String> {
        self.of_several().then(|| self.days.map(|(first, _)| first.to_string()).unwrap_or_default())
    }

    /// The day of its last transfer, likewise.
    fn last(&self) -> Option<String> {
        self.of_several().then(|| self.days.map(|(_, last)| last.to_string()).unwrap_or_default())
    }

    fn of_several(&self) -> bool {
        self.exemption.recipients.len() > 1
    }
}

/// What was done of these kinds: when, what and why.
fn told(exemption: &ExemptionEntry, kinds: &[Kind]) -> Vec<String> {
    let changes = exemption.changes.iter().filter(|it| kinds.iter().any(|kind| kind.name() == it.what));
    changes.map(|it| format!("{} {}: {}", words::moment(it.at), it.what, it.words())).collect()
}

/// The duties with a day, and which were done when.
fn duties(exemption: &ExemptionEntry) -> String {
    let asked = entries(exemption, "duty").into_iter();
    asked.chain(told(exemption, &[Kind::DutyDone])).collect::<Vec<_>>().join("; ")
}

/// When transfers could begin: with the window, and not before the exemption was loaded.
pub(super) fn begin(exemption: &ExemptionEntry) -> Timestamp {
    let loaded = of_kinds(exemption, &[Kind::Load]).min();
    loaded.map_or(exemption.valid_from, |loaded| loaded.max(exemption.valid_from))
}

/// When transfers ended, or will: with the window, with the review of the assessment, or when it was closed, whichever is
/// the earliest.
pub(super) fn end(exemption: &ExemptionEntry) -> Timestamp {
    const CLOSED: [Kind; 6] =
        [Kind::Revoke, Kind::Invalidate, Kind::RevokeKey, Kind::Supersede, Kind::Expire, Kind::Exhaust];
    let review = exemption.assessment.as_ref().and_then(|it| it.review_by.parse().ok());
    let closed = of_kinds(exemption, &CLOSED).min();
    [review, closed].into_iter().flatten().fold(exemption.valid_until, Timestamp::min)
}

/// When it was changed in one of these ways.
fn of_kinds(exemption: &ExemptionEntry, kinds: &[Kind]) -> impl Iterator<Item = Timestamp> {
    exemption.changes.iter().filter(|it| kinds.iter().any(|kind| kind.name() == it.what)).map(|it| it.at)
}

/// The entries of a section of the document that repeats, each with the values of its keys in the document's order.
fn entries(exemption: &ExemptionEntry, section: &str) -> Vec<String> {
    let mut entries: Vec<(&str, String)> = Vec::new();
    for it in &exemption.particulars {
        let Some((number, _)) =
            it.key.strip_prefix(section).and_then(|rest| rest.strip_prefix(' ')?.split_once(": "))
        else {
            continue;
        };
        match entries.last_mut() {
            Some((last, values)) if *last == number => *values = format!("{values}, {}", it.value),
            _ => entries.push((number, it.value.clone())),
        }
    }
    entries.into_iter().map(|(_, values)| values).collect()
}

/// Who decides together with the exporter, by the config and by the document.
pub(super) fn joint_controllers(of_config: Option<&str>, exemption: &ExemptionEntry) -> String {
    let of_config = of_config.map(str::to_owned).into_iter();
    of_config.chain(entries(exemption, "joint_controller")).collect::<Vec<_>>().join("; ")
}

/// The processors that take part.
pub(super) fn processors(exemption: &ExemptionEntry) -> String {
    entries(exemption, "processor").join("; ")
}

/// How the condition of the ground is met.
pub(super) fn condition(exemption: &ExemptionEntry) -> String {
    particulars(exemption, &["condition.met", "condition.recognised_by", "condition.subjects"])
}

/// The categories of data subjects.
pub(super) fn subjects(exemption: &ExemptionEntry) -> String {
    particulars(exemption, &["data_subjects"])
}

/// The form of the clauses or rules; empty where there is none.
pub(super) fn module(exemption: &ExemptionEntry) -> String {
    particulars(exemption, &["instrument.module"])
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
        false => format!(", to be reviewed before {}", assessment.review_by),
    };
    format!("assessment {}{review}", assessment.reference)
}
