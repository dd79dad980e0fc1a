//! The register of transfers: a row for each recipient of each exemption, with what Art. 30(1) GDPR asks for.
//!
//! The columns go by the letters of Art. 30(1), as the controllers' templates of supervisory authorities do (the Irish DPC's
//! guidance note of April 2023 with its two spreadsheets, the ICO's documentation templates). Each row stands by itself, with
//! words and no references to other files, as that note asks.

use jiff::Timestamp;
use jiff::civil::Date;

use super::life;
use super::model::{Change, ExemptionEntry, Report};
use super::redact::WITHHELD;
use super::said;
use super::sums::Sum;
use super::words;
use crate::audit::Kind;
use crate::exemption::Ground;
use crate::exemption::particulars::Law;
use crate::groups::builtin;

/// The columns, in their order.
pub const REGISTER: [&str; 44] = [
    "controller",
    "joint controllers",
    "representative",
    "data protection officer",
    "exporter",
    "processors",
    "processing activity",
    "version",
    "state",
    "emergency",
    "purpose",
    "categories of data subjects",
    "categories of personal data",
    "recipient",
    "recipient's country",
    "third country",
    "instrument",
    "module",
    "ground",
    "condition",
    "safeguards",
    "lawful basis",
    "time limits for erasure",
    "security measures",
    "transfers from",
    "transfers until",
    "first transfer",
    "last transfer",
    "packets",
    "bytes",
    "not needed",
    "stays and lifts",
    "duties",
    "gaps",
    "host",
    "period from",
    "period until",
    "made at",
    "law",
    "certification",
    "certification looked up on",
    "parties",
    "onward transfers",
    "customer not told",
];

/// What stands in the place of a recipient where what several received was not counted apart.
pub const NOT_APART: &str = "several, not counted apart";

/// What stands in the place of a recipient for what counts as used since the host went down, beside what was counted.
pub const PRESUMED: &str = "counted as used, not known to have left";

/// What stands in the place of a recipient for what is no exemption's.
pub(super) const OF_NONE: &str = "attributed to no exemption";

/// Returns the table: a row for each recipient, then what is attributed to no exemption, by pin; each with the gaps of the
/// period, for whoever reads nothing but this. With neither, and with gaps, these have a row of their own.
pub(super) fn table(report: &Report) -> Vec<Vec<String>> {
    let rows = rows(report);
    let mut cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(report)).collect();
    let of_none = report.unattributed.iter().map(|it| {
        let least = it.least();
        let comma = if least.is_empty() { "" } else { ", " };
        let of = [
            ("recipient", format!("{OF_NONE}, of the pin {}{comma}{least}", it.pin)),
            ("packets", it.packets.to_string()),
            ("bytes", it.bytes.to_string()),
        ];
        without_exemption(report, &of)
    });
    cells.extend(of_none);
    if cells.is_empty() && !report.gaps.is_empty() {
        cells.push(without_exemption(report, &[]));
    }
    cells
}

/// A row of the whole report with these cells.
fn without_exemption(report: &Report, cells: &[(&str, String)]) -> Vec<String> {
    let organisation = &report.organisation;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cell = |column: &str| match column {
        "controller" => text(&organisation.controller),
        "joint controllers" => text(&organisation.joint_controller),
        "representative" => text(&organisation.representative),
        "data protection officer" => text(&organisation.dpo),
        "gaps" => gaps(report),
        "host" => report.host.clone(),
        "period from" => words::moment(report.from),
        "period until" => words::moment(report.until),
        "made at" => words::moment(report.made_at),
        other => cells.iter().find(|(name, _)| *name == other).map(|(_, it)| it.clone()).unwrap_or_default(),
    };
    REGISTER.map(cell).to_vec()
}

fn gaps(report: &Report) -> String {
    report.gaps.join("; ")
}

/// One row.
pub(super) struct Row<'r> {
    pub(super) exemption: &'r ExemptionEntry,
    pub(super) recipient: &'r str,
    /// Its number among those of the exemption, from 1; `None` where it is none of them.
    pub(super) number: Option<usize>,
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
        number: Some(at + 1),
        jurisdiction: &it.jurisdiction,
        used: used(&|day| place(day) == Some(at)),
        days: days(&|day| place(day) == Some(at)),
    });
    let mut rows: Vec<Row<'_>> = named.collect();
    // Never less than was counted: what is of none of them has a row of its own.
    let rest = used(&|day| place(day).is_none_or(|at| at >= exemption.recipients.len()));
    if rest != Sum::default() {
        let days = days(&|day| place(day).is_none_or(|at| at >= exemption.recipients.len()));
        rows.push(Row { exemption, recipient: NOT_APART, number: None, jurisdiction: "", used: rest, days });
    }
    let mut presumed = Sum::default();
    exemption.presumed.iter().for_each(|day| presumed.add(0, day.bytes));
    if presumed != Sum::default() {
        let (recipient, jurisdiction) = (PRESUMED, "");
        rows.push(Row { exemption, recipient, number: None, jurisdiction, used: presumed, days: None });
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
        let Self { exemption, recipient, number, jurisdiction, used, days: _ } = self;
        let organisation = &report.organisation;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let exporter = &exemption.exporter;
        vec![
            text(&organisation.controller),
            said::joint_controllers(organisation.joint_controller.as_deref(), exemption),
            text(&organisation.representative),
            text(&organisation.dpo),
            format!("{} ({}); {}", exporter.name, exporter.role, exporter.contact),
            said::processors(exemption),
            exemption.id.clone(),
            exemption.version.to_string(),
            exemption.state.clone(),
            exemption.emergency.clone(),
            exemption.purpose.clone(),
            said::subjects(exemption),
            exemption.data_categories.join(", "),
            (*recipient).to_owned(),
            (*jurisdiction).to_owned(),
            third_country(exemption, jurisdiction).to_owned(),
            instrument(exemption),
            said::module(exemption),
            said::ground(exemption),
            said::condition(exemption),
            safeguards(exemption),
            said::basis(exemption),
            said::particulars(exemption, &["retention", "delete_by"]),
            exemption.assessment.as_ref().map(|it| it.measures.join(", ")).unwrap_or_default(),
            words::moment(exemption.begin()),
            words::moment(exemption.end()),
            self.seen(exemption.first_use, report, |(first, _)| first),
            self.seen(exemption.last_use, report, |(_, last)| last),
            used.packets.to_string(),
            used.bytes.to_string(),
            not_needed(exemption),
            told(exemption, &HELD_AND_CLOSED).join("; "),
            duties(exemption),
            gaps(report),
            report.host.clone(),
            words::moment(report.from),
            words::moment(report.until),
            words::moment(report.made_at),
            said::act(exemption),
            said::of_recipient(exemption, *number, "certification"),
            said::of_recipient(exemption, *number, "checked_on"),
            said::parties(exemption),
            said::onward(exemption),
            said::customer_not_told(exemption),
        ]
    }

    /// The moment of its first or last transfer in the period, where it is the exemption's only recipient and that is in the
    /// period; else the day, where any is.
    fn seen(&self, moment: Option<Timestamp>, report: &Report, day: impl Fn((Date, Date)) -> Date) -> String {
        let is_within = |it: &Timestamp| *it >= report.from && *it <= report.until;
        // Of what is not known to have left none is the first or the last.
        if self.recipient == PRESUMED && self.jurisdiction.is_empty() {
            return String::new();
        }
        match moment.filter(|it| !self.of_several() && is_within(it)) {
            Some(moment) => words::moment(moment),
            None => self.days.map(|days| day(days).to_string()).unwrap_or_default(),
        }
    }

    fn of_several(&self) -> bool {
        self.exemption.recipients.len() > 1
    }
}

/// The recipient's country, where it is a third one: outside of what the law of the exemption protects.
fn third_country<'j>(exemption: &ExemptionEntry, jurisdiction: &'j str) -> &'j str {
    let is_inside = match said::law(exemption) {
        Law::Eu => {
            let country = jurisdiction.parse().ok();
            country.zip(builtin("EEA")).is_some_and(|(country, group)| group.contains(country))
        }
        Law::Uk => jurisdiction == "GB",
        Law::Ch => jurisdiction == "CH",
    };
    if is_inside || exemption.instrument.ground == Ground::NoTransfer.name() { "" } else { jurisdiction }
}

/// Before what a pin forbids and passes without an exemption all the same, behind what it permits.
pub const PASSES_FORBIDDEN: &str = "forbidden, and passes all the same, not all counted here: ";

/// Why what passes is not counted as its use, and as what it is.
fn not_needed(exemption: &ExemptionEntry) -> String {
    let all = exemption.not_needed.as_str();
    let (permitted, forbidden) = match all.split_once(PASSES_FORBIDDEN) {
        Some((permitted, forbidden)) => (permitted.trim_end_matches("; "), forbidden),
        None => (all, ""),
    };
    let mut said = Vec::new();
    if !permitted.is_empty() {
        said.push(format!("{permitted}: what passes by that is counted as permitted, and not here"));
    }
    if !forbidden.is_empty() {
        said.push(format!(
            "{PASSES_FORBIDDEN}{forbidden}: what passes by that and not by the exemption is counted as forbidden and passed, \
             as far as a pin judges it, and not here"
        ));
    }
    said.join("; ")
}

/// Orders, their lifts, and what closes an exemption before its end.
const HELD_AND_CLOSED: [Kind; 6] =
    [Kind::Stay, Kind::Resume, Kind::Invalidate, Kind::Revoke, Kind::RevokeKey, Kind::Supersede];

/// What was done of these kinds: when, what, by whom and why.
fn told(exemption: &ExemptionEntry, kinds: &[Kind]) -> Vec<String> {
    let changes = exemption.changes.iter().filter(|it| kinds.iter().any(|kind| kind.name() == it.what));
    changes.map(|it| format!("{} {}{}: {}", words::moment(it.at), it.what, by(it), it.words())).collect()
}

fn by(change: &Change) -> String {
    if change.who.is_empty() { String::new() } else { format!(" by {}", change.who) }
}

/// The duties with a day, and which were done when.
fn duties(exemption: &ExemptionEntry) -> String {
    let asked = said::entries(exemption, "duty").into_iter();
    asked.chain(told(exemption, &[Kind::DutyDone])).collect::<Vec<_>>().join("; ")
}

impl ExemptionEntry {
    /// When transfers could begin: with the window, and not before the exemption was loaded.
    pub(crate) fn begin(&self) -> Timestamp {
        let loads = self.changes.iter().filter(|it| it.what == Kind::Load.name());
        let loaded = loads.map(|it| it.at).min();
        loaded.map_or(self.valid_from, |loaded| loaded.max(self.valid_from))
    }

    /// When transfers ended, or will: with the window, with the review of the assessment, or when it was closed, whichever
    /// is the earliest.
    pub(crate) fn end(&self) -> Timestamp {
        let review = self.assessment.as_ref().and_then(|it| it.review_by.parse().ok());
        let closed = life::end(&self.changes).map(|it| it.at);
        [review, closed].into_iter().flatten().fold(self.valid_until, Timestamp::min)
    }
}

fn instrument(exemption: &ExemptionEntry) -> String {
    let it = &exemption.instrument;
    let agreement = if it.agreement.is_empty() { String::new() } else { format!(", under {}", it.agreement) };
    format!("{}: {}, {}, {}, case {}{agreement}", it.kind, it.name, it.article, it.authority, it.reference)
}

/// The documentation of safeguards that Art. 30(1)(e) asks for.
pub(super) fn safeguards(exemption: &ExemptionEntry) -> String {
    let Some(assessment) = &exemption.assessment else { return String::new() };
    let review = match assessment.review_by.as_str() {
        "" | WITHHELD => String::new(),
        by => format!(", to be reviewed before {by}"),
    };
    format!("assessment {}{review}", assessment.reference)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample::sample;
    use super::*;

    fn cell(report: &Report, column: &str) -> String {
        let at = REGISTER.iter().position(|it| *it == column).unwrap();
        table(report)[0][at].clone()
    }

    /// What a pin only flags is forbidden, whether it passes or not.
    #[test]
    fn what_passes_without_it_is_told_with_what_it_is_counted_as() {
        let of = |why: &str| {
            let mut report = sample();
            why.clone_into(&mut report.exemptions[0].not_needed);
            cell(&report, "not needed")
        };
        assert_eq!(of(""), "");
        let permitted =
            "the pin mail-ie permits BE: what passes by that is counted as permitted, and not here";
        assert_eq!(of("the pin mail-ie permits BE"), permitted);
        let flags = format!("{PASSES_FORBIDDEN}the pin flag-ie only flags");
        let forbidden = of(&flags);
        assert!(
            forbidden.starts_with(&flags) && forbidden.contains("counted as forbidden and passed"),
            "{forbidden}"
        );
        assert!(!forbidden.contains("permitted"), "{forbidden}");
        assert_eq!(of(&format!("the pin mail-ie permits BE; {flags}")), format!("{permitted}; {forbidden}"));
    }

    /// Art. 30(1)(e) is about transfers to third countries alone.
    #[test]
    fn a_third_country_is_one_outside_of_what_the_law_protects() {
        let of = |law: Option<&str>, ground: &str, country: &str| {
            let mut report = sample();
            let it = &mut report.exemptions[0];
            it.instrument.ground = ground.to_owned();
            it.recipients[0].jurisdiction = country.to_owned();
            it.law = law.unwrap_or_default().to_owned();
            (cell(&report, "recipient's country"), cell(&report, "third country"))
        };
        let both = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(of(None, "art-46-2-c", "US"), both("US", "US"));
        // A European Production Order to a state of the EU.
        assert_eq!(of(None, Ground::NoTransfer.name(), "BE"), both("BE", ""));
        assert_eq!(of(None, "art-46-2-c", "NO"), both("NO", ""));
        assert_eq!(of(Some("uk"), "art-46-2-c", "BE"), both("BE", "BE"));
        assert_eq!(of(Some("uk"), "art-46-2-c", "GB"), both("GB", ""));
        assert_eq!(of(Some("ch"), "art-46-2-c", "CH"), both("CH", ""));
    }

    #[test]
    fn an_emergency_is_told_in_the_register_and_on_the_page() {
        let mut report = sample();
        assert_eq!(cell(&report, "emergency"), report.exemptions[0].emergency);
        let page = super::super::html::page(&report).into_string();
        assert_eq!(page.matches("an emergency</td>").count(), report.exemptions.len());
        report.exemptions.iter_mut().for_each(|it| it.emergency.clear());
        assert_eq!(cell(&report, "emergency"), "");
        let page = super::super::html::page(&report).into_string();
        assert!(!page.contains(">emergency</span>") && !page.contains("an emergency</td>"));
    }
}
