//! Exemptions on the page: a line for each, and each by itself with its facts, who may receive, who approved, what became of
//! it and what it let through.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::facts;
use super::super::model::{ExemptionEntry, Report};
use super::super::register;
use super::super::said;
use super::super::sums::Sum;
use super::table::{moment, number, table};
use super::{head, paper};
use crate::text::visible;

fn used(exemption: &ExemptionEntry) -> Sum {
    let mut used = Sum::default();
    exemption.use_by_day.iter().for_each(|day| used.add(day.packets, day.bytes));
    used
}

/// A line for each.
pub(super) fn overview(report: &Report) -> Markup {
    let columns =
        ["exemption", "state", "recipients", "law", "ground", "transfers from", "transfers until", "bytes"];
    html! {
        section #exemptions {
            h2 { (head::title("exemptions")) }
            @if report.exemptions.is_empty() {
                p { "No exemption was open in this period." }
            } @else {
                (table(Some("overview"), "Each that was open in this period, and what it let through in it", &columns,
                    report.exemptions.iter().enumerate().map(|(at, it)| html! {
                        th scope="row" {
                            a href={ "#" (paper::name(at)) } { (visible(&it.id)) }
                            " version " (it.version)
                        }
                        td.d { (visible(&it.state)) @if it.confidential { ", confidential" }
                            @if !it.emergency.is_empty() { ", an emergency" } }
                        td { (recipients(it)) }
                        td.d { (said::law(it)) }
                        td.d { (visible(&it.instrument.ground)) }
                        td.d { (moment(it.begin())) }
                        td.d { (moment(it.end())) }
                        td.n { (number(used(it).bytes)) }
                    })))
                (codes(report))
            }
        }
    }
}

/// The first recipient, and how many more there are.
fn recipients(exemption: &ExemptionEntry) -> Markup {
    let [first, more @ ..] = exemption.recipients.as_slice() else { return html! {} };
    html! {
        (visible(&first.name)) " (" (visible(&first.jurisdiction)) ")"
        @if !more.is_empty() { " and " (more.len()) " more" }
    }
}

/// What the grounds and bases of these exemptions mean, by the law that each goes by.
fn codes(report: &Report) -> Markup {
    let laws: BTreeSet<String> = report.exemptions.iter().map(said::act).collect();
    let grounds: BTreeSet<String> = report.exemptions.iter().map(said::ground).collect();
    let bases: BTreeSet<String> = report.exemptions.iter().map(said::basis).collect();
    html! {
        h3 { "Laws" }
        ul { @for law in laws { li { (law) } } }
        h3 { "Grounds" }
        ul { @for ground in grounds { li { (visible(&ground)) } } }
        h3 { "Lawful bases" }
        ul { @for basis in bases { li { (visible(&basis)) } } }
    }
}

/// The register of Art. 30, as far as it has room on paper; the whole is a format of its own.
pub(super) fn register(report: &Report) -> Markup {
    let columns = [
        "recipient",
        "exemption",
        "purpose and data",
        "controllers, processors",
        "safeguards",
        "law",
        "ground and basis",
        "transfers",
        "packets",
        "bytes",
    ];
    let rows = register::rows(report);
    html! {
        section.wide #register {
            h2 { (head::title("register")) }
            @if rows.is_empty() {
                p { "No recipient was open in this period." }
            } @else {
                (table(Some("recipients"), "By recipient and its country, Art. 30(1)(b) to (e) GDPR; what the codes mean is above",
                    &columns, rows.iter().map(|row| html! {
                        td {
                            (visible(row.recipient))
                            @if !row.jurisdiction.is_empty() { " (" (visible(row.jurisdiction)) ")" }
                            (named("certification", &said::of_recipient(row.exemption, row.number, "certification")))
                            (named("looked up on", &said::of_recipient(row.exemption, row.number, "checked_on")))
                        }
                        td { (visible(&row.exemption.id)) " version " (row.exemption.version) }
                        td {
                            (visible(&row.exemption.purpose)) ": "
                            (visible(&row.exemption.data_categories.join(", ")))
                            (named("of", &said::subjects(row.exemption)))
                        }
                        td {
                            (visible(&row.exemption.exporter.name))
                            (named("with", &said::joint_controllers(
                                report.organisation.joint_controller.as_deref(), row.exemption)))
                            (named("processors", &said::processors(row.exemption)))
                        }
                        td {
                            (visible(&register::safeguards(row.exemption)))
                            (named("module", &said::module(row.exemption)))
                            (named("parties", &said::parties(row.exemption)))
                            (named("onward", &said::onward(row.exemption)))
                        }
                        td.d { (said::law(row.exemption)) }
                        td {
                            (visible(&row.exemption.instrument.ground)) ", "
                            (visible(&row.exemption.instrument.basis))
                            (named("condition", &said::condition(row.exemption)))
                            (named("customer not told", &said::customer_not_told(row.exemption)))
                        }
                        td.d {
                            (moment(row.exemption.begin())) " to "
                            (moment(row.exemption.end()))
                        }
                        td.n { (number(row.used.packets)) }
                        td.n { (number(row.used.bytes)) }
                    })))
            }
        }
    }
}

/// A value with its name, where there is one.
fn named(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { "; " (name) ": " (visible(value)) } }
}

/// One, on sheets of its own.
pub(super) fn article(at: usize, exemption: &ExemptionEntry) -> Markup {
    let used = used(exemption);
    let presumed = exemption.presumed.iter().map(|day| day.bytes).fold(0, u64::saturating_add);
    html! {
        article id=(paper::name(at)) {
            h2 {
                (visible(&paper::title(exemption))) " "
                span.mark { (visible(&exemption.state)) }
                @if exemption.confidential { " " span.mark { "confidential" } }
                @if !exemption.emergency.is_empty() { " " span.mark { "emergency" } }
            }
            p {
                "Let through " (number(used.bytes)) " bytes in " (number(used.packets)) " packets in this period."
                @if presumed > 0 {
                    " Beside these, " (number(presumed)) " bytes are " (register::PRESUMED) ": the host went down."
                }
            }
            dl {
                @for (name, value) in facts::of(exemption, &facts::FOR_PEOPLE) {
                    dt { (name) }
                    dd { (visible(&value)) }
                }
            }
            (part("Recipients", table(None, "Who may receive", &["name", "jurisdiction", "where"],
                exemption.recipients.iter().map(|recipient| html! {
                    td { (visible(&recipient.name)) }
                    td { (visible(&recipient.jurisdiction)) }
                    td { (visible(&facts::reach(recipient))) }
                })), exemption.recipients.is_empty()))
            @if exemption.approvals.is_empty() {
                h3 { "Approvals" }
                p { "By nobody: no approval was required when it was loaded." }
            } @else { (part("Approvals", table(None, "Who approved", &["identity", "roles", "key"],
                exemption.approvals.iter().map(|approval| html! {
                    td { (visible(&approval.identity)) }
                    td { (visible(&approval.in_roles())) }
                    td { (visible(&approval.key)) }
                })), false)) }
            (part("History", table(None, "What became of it", &["when", "what", "who", "why"],
                exemption.changes.iter().map(|change| html! {
                    td { (moment(change.at)) }
                    td { (visible(&change.what)) }
                    td { (visible(&change.who)) }
                    td { (visible(&change.words())) }
                })), exemption.changes.is_empty()))
            (part("Use", table(None, "What it let through", &["day", "recipient", "jurisdiction", "packets", "bytes"],
                exemption.use_by_day.iter().map(|day| html! {
                    td { (day.day) }
                    td { (visible(day.recipient.as_deref().unwrap_or(register::NOT_APART))) }
                    td { (visible(day.jurisdiction.as_deref().unwrap_or_default())) }
                    td.n { (number(day.packets)) }
                    td.n { (number(day.bytes)) }
                })), exemption.use_by_day.is_empty()))
        }
    }
}

fn part(title: &str, table: Markup, is_empty: bool) -> Markup {
    html! {
        h3 { (title) }
        @if is_empty { p { "None." } } @else { (table) }
    }
}
