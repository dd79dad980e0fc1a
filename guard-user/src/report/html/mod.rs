//! The report as one page: no scripts and nothing from elsewhere, readable on paper, in the dark and by a
//! screen reader. maud escapes every text and attribute; the style is the only thing that is put in as it is.

mod chart;
mod charts;
mod exemption;
mod table;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use guard_common::verdict::Reason;

use super::model::Report;
use super::sums::{self, Class};
use crate::text::visible;
use table::{number, table};

const STYLE: &str = include_str!("style.css");

/// Belt and braces: a browser that honours it would run and load nothing even if some got in (CSP Level 3).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page.
pub(super) fn page(report: &Report) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Record of transfers, " (visible(&report.host)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(report)) }
                main {
                    (gaps(report))
                    (summary(report))
                    section { h2 { "Over time" } (charts::all(report)) }
                    (exemptions(report))
                    (traffic(report))
                    (meanings(report))
                }
                footer { (foot()) }
            }
        }
    }
}

fn head(report: &Report) -> Markup {
    html! {
        h1 { "Record of transfers" }
        p {
            "What left region-pinned storage on " strong { (visible(&report.host)) } ", as the kernel counted it: \
             recipients, third countries and safeguards, Art. 30(1)(d) and (e) GDPR."
        }
        dl {
            dt { "period" }
            dd { (report.from) " until " (report.until) ", days in UTC" }
            @if !report.pins.is_empty() {
                dt { "pins" }
                dd {
                    @for (at, pin) in report.pins.iter().enumerate() {
                        @if at > 0 { ", " }
                        (visible(&pin.name)) " at home in " (visible(&pin.home))
                    }
                }
            }
            dt { "made at" }
            dd { (report.made_at) }
            dt { "generation of the tables" }
            dd { (number(report.generation)) }
            dt { "last record of the audit trail" }
            dd {
                @match &report.audit_head {
                    Some(head) => {
                        (number(head.sequence)) " of " (head.time) ", SHA-256 " (visible(&head.sha256))
                    }
                    None => "none",
                }
            }
            @if report.redacted {
                dt { "redacted" }
                dd { "the text of confidential exemptions is left out" }
            }
        }
    }
}

fn gaps(report: &Report) -> Markup {
    html! {
        @if !report.gaps.is_empty() {
            section.gaps {
                h2 { "This record has gaps" }
                ul { @for gap in &report.gaps { li { (visible(gap)) } } }
            }
        }
    }
}

fn summary(report: &Report) -> Markup {
    let by_class = sums::by_class(report);
    let places = sums::by_jurisdiction(report);
    html! {
        section {
            h2 { "In all" }
            (table(Some("classes"), "Packets and bytes by kind", &["kind", "packets", "bytes", "meaning"], by_class.iter().map(|(class, sum)| html! {
                th scope="row" { (class.name()) }
                td.n { (number(sum.packets)) }
                td.n { (number(sum.bytes)) }
                td { (class.meaning()) }
            })))
            @if !places.is_empty() {
                (table(Some("places"), "Bytes by jurisdiction", &["jurisdiction", "permitted", "exempted", "forbidden, passed", "refused"], places.iter().map(|(place, sums)| html! {
                    th scope="row" { (visible(place)) }
                    @for class in [Class::Permitted, Class::Exempted, Class::Forbidden, Class::Refused] {
                        td.n { (number(sums.get(&class).map_or(0, |sum| sum.bytes))) }
                    }
                })))
            }
        }
    }
}

fn exemptions(report: &Report) -> Markup {
    html! {
        section.exemptions {
            h2 { "Exemptions" }
            @if report.exemptions.is_empty() {
                p { "No exemption was open in this period." }
            }
            @for entry in &report.exemptions { (exemption::article(entry)) }
        }
    }
}

fn traffic(report: &Report) -> Markup {
    let parts: [(&str, &str, &str, &[Class]); 3] = [
        (
            "crossed",
            "What crossed a border",
            "By day, pin, jurisdiction and reason",
            &[Class::Permitted, Class::Exempted, Class::Forbidden],
        ),
        ("refused", "What was refused", "Dropped in the kernel; none of it left the host", &[Class::Refused]),
        ("home", "What stayed at home", "Egress within the pin's home jurisdiction", &[Class::Home]),
    ];
    let columns = ["day", "pin", "jurisdiction", "kind", "verdict", "reason", "packets", "bytes"];
    html! {
        @for (id, title, caption, classes) in parts {
            section {
                h2 { (title) }
                @let rows: Vec<_> = report
                    .traffic
                    .iter()
                    .map(|row| (Class::of(row, report), row))
                    .filter(|(class, _)| classes.contains(class))
                    .collect();
                @if rows.is_empty() {
                    p { "Nothing in this period." }
                } @else {
                    (table(Some(id), caption, &columns, rows.into_iter().map(|(class, row)| html! {
                        td { (row.day) }
                        td { (visible(&row.pin)) }
                        td { (visible(&row.jurisdiction)) }
                        td { (class.name()) }
                        td { (visible(&row.verdict)) }
                        td { (visible(&row.reason)) }
                        td.n { (number(row.packets)) }
                        td.n { (number(row.bytes)) }
                    })))
                }
            }
        }
    }
}

/// What the reasons that occur mean.
fn meanings(report: &Report) -> Markup {
    let occurs = |reason: &&Reason| report.traffic.iter().any(|row| row.reason == reason.name());
    let reasons: Vec<&Reason> = Reason::ALL.iter().filter(occurs).collect();
    html! {
        @if !reasons.is_empty() {
            section {
                h2 { "Reasons" }
                dl {
                    @for reason in reasons {
                        dt { (reason.name()) }
                        dd { (reason.meaning()) }
                    }
                }
            }
        }
    }
}

fn foot() -> Markup {
    html! {
        p.faint {
            "Bytes are those on the wire. A jurisdiction is where an address's network is registered or \
             announced, not where a person is. What bypasses the kernel's network stack is not seen here."
        }
    }
}
