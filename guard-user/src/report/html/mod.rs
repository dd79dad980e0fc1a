//! The report as one page: no scripts and nothing from elsewhere, readable on paper, in the dark and by a
//! screen reader. maud escapes every text and attribute; the style is the only thing that is put in as it is.

mod chart;
mod charts;
mod exemption;
mod head;
mod paper;
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
                style { (PreEscaped(STYLE)) (PreEscaped(paper::style(report))) }
            }
            body {
                header { (head::head(report)) }
                (head::contents(report))
                main {
                    (gaps(report))
                    (summary(report))
                    section #time { h2 { (head::title("time")) } (by_pin(report)) (charts::all(report)) }
                    (exemption::overview(report))
                    (exemption::register(report))
                    (traffic(report))
                    (meanings(report))
                    (foot())
                    (head::signatures())
                    @if !report.exemptions.is_empty() {
                        div #details {
                            @for (at, entry) in report.exemptions.iter().enumerate() { (exemption::article(at, entry)) }
                        }
                    }
                }
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

/// What sums over pins are, where there are several.
fn by_pin(report: &Report) -> Markup {
    html! {
        @if report.pins.len() > 1 {
            p {
                "Counted by pin: a packet that leaves counts for each of its pins, as permitted for those that permit it, and one that \
                 is dropped for each that forbids it. So these sums can be more than what left."
            }
        }
    }
}

fn summary(report: &Report) -> Markup {
    let by_class = sums::by_class(report);
    let places = sums::by_jurisdiction(report);
    html! {
        section #sums {
            h2 { (head::title("sums")) }
            (by_pin(report))
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

fn traffic(report: &Report) -> Markup {
    let crossed = &[Class::Permitted, Class::Exempted, Class::Forbidden];
    let parts: [(&str, &str, &[Class]); 3] = [
        ("crossed", "By day, pin, jurisdiction and reason", crossed),
        ("refused", "Dropped in the kernel; none of it left the host", &[Class::Refused]),
        ("home", "Egress within the pin's home jurisdiction, or on the link", &[Class::Home, Class::Link]),
    ];
    let columns = ["day", "pin", "jurisdiction", "kind", "verdict", "reason", "packets", "bytes"];
    html! {
        @for (id, caption, classes) in parts {
            @let anchor = format!("traffic-{id}");
            section id=(anchor) {
                h2 { (head::title(&anchor)) }
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
        p.faint.foot {
            "Bytes are those on the wire. A jurisdiction is where an address's network is registered or \
             announced, not where a person is. What bypasses the kernel's network stack is not seen here."
        }
    }
}
