//! The page as HTML. maud escapes every text and attribute; nothing is put in as it is.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::coverage::coverage;
use super::map::map;
use super::table::{number, table, word};
use super::time_line::time_line;
use crate::control::status::Status;
use crate::exemption::Summary;
use crate::health::written_out;
use crate::live::event::{Endpoint, Event};
use crate::live::known::Known;
use crate::report::number::{bytes, grouped};
use crate::text::visible;

/// What a browser may load and run (CSP Level 3): this page's own style and script, and nothing of others.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");

/// Violations that are shown.
const VIOLATIONS: usize = 50;

/// The whole page.
pub(super) fn page(known: &Known) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Border Guard" }
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
                noscript { meta http-equiv="refresh" content="10"; }
            }
            body {
                a.skip href="#main" { "To the figures" }
                header {
                    h1 { "Border Guard" }
                    nav aria-label="Parts" {
                        ul { @for (id, title, _) in PARTS { li { a href={ "#" (id) } { (title) } } } }
                    }
                    button #hold type="button" aria-pressed="false" hidden { "Hold" }
                    p #connection role="alert" {}
                }
                main #main { (live(known)) }
                footer { p { "Outlines of countries: Natural Earth, public domain. This page loads nothing from elsewhere." } }
            }
        }
    }
}

/// A part of the page: its anchor, its title, and what is in it.
type Part = (&'static str, &'static str, fn(&Known) -> Markup);

const PARTS: [Part; 7] = [
    ("health", "Health", health),
    ("map", "Egress by jurisdiction", map),
    ("time", "Time line", time_line),
    ("violations", "Latest violations", violations),
    ("exemptions", "Exemptions", exemptions),
    ("orders", "Orders", orders),
    ("coverage", "Coverage", |known| of_status(known, coverage)),
];

/// Every part as it is now; a script puts each in the place of the one of before.
pub(super) fn live(known: &Known) -> Markup {
    html! {
        @for (id, title, part) in PARTS {
            section id=(id) aria-labelledby={ (id) "-title" } {
                h2 id={ (id) "-title" } { (title) }
                div data-part=(id) { (part(known)) }
            }
        }
    }
}

fn of_status(known: &Known, part: fn(&Status) -> Markup) -> Markup {
    match &known.status {
        Some(status) => part(status),
        None => html! { p { "Not known: no status came yet." } },
    }
}

fn health(known: &Known) -> Markup {
    html! {
        div role="status" {
            @if let Some((why, since)) = &known.lost {
                p.bad { strong { "No answer from the daemon" } " since " (moment(*since)) ". What is in the kernel is enforced; \
                    the figures below are the last ones. " (visible(why)) }
            }
            @if let Some(why) = known.no_events.as_ref().filter(|_| known.lost.is_none()) {
                p.bad { strong { "No events" } " come: " (visible(why)) }
            }
            @if let Some(status) = &known.status {
                p { "The guard is " strong class={ "state " (status.health.name()) } { (status.health.name()) } ", "
                    @match status.problems.len() { 0 => "no problems", 1 => "1 problem", count => { (count) " problems" } } "." }
            } @else { p { "No status came yet." } }
        }
        @if let Some(status) = &known.status {
            @if status.observe { p.bad { "Observing: nothing is dropped, everything is counted." } }
            @for group in status.problems.chunk_by(|one, next| one.code == next.code) {
                @let (first, more) = written_out(group);
                @for problem in first {
                    article.problem {
                        h3 { (problem.code) @if let Some(subject) = &problem.subject { ": " (visible(subject)) } }
                        p { (visible(&problem.message)) }
                        p { strong { "To do: " } (problem.code.remedy()) }
                    }
                }
                @if let (Some(more), Some(problem)) = (more, group.first()) {
                    p.bad { (problem.code) ": " (more) "." }
                }
            }
            p.faint { "Generation " (status.generation) " since " (visible(&status.since)) ", config " (visible(&status.config))
                ", version " (visible(&status.version)) ", Linux " (visible(&status.kernel)) ", as of " (moment(known.now)) "." }
        }
    }
}

fn violations(known: &Known) -> Markup {
    let latest = known.sums.latest.iter().rev().take(VIOLATIONS);
    html! {
        @if known.sums.missed > 0 {
            p.bad { (grouped(known.sums.missed)) " events were not taken in time, and are missing here; the counters have every packet." }
        }
        @if known.sums.summed > 0 {
            p { (grouped(known.sums.summed)) " events of a storm are in sums alone, and are not listed here: see " code { "borderguard events" } "; the counters have every packet." }
        }
        @if known.sums.latest.is_empty() {
            p { "No violation among the events." }
        } @else {
            (table("The newest first", &[word("time"), word("what"), word("pin"), word("from"), word("to"), word("place"), word("by"), number("packets"), number("bytes"), word("why")], html! {
                @for event in latest { (violation(event)) }
            }))
        }
    }
}

fn violation(event: &Event) -> Markup {
    html! {
        tr {
            td.d { (moment(event.time)) }
            td { span class={ "mark " (verdict_class(&event.verdict)) } { (visible(&event.verdict)) } }
            td { (visible(&event.concerned())) }
            td { (end(event.source.as_ref())) }
            td { (end(event.destination.as_ref())) }
            td { (visible(&event.jurisdiction)) @if !event.placed_by.is_empty() { " by " (visible(&event.placed_by)) } }
            td {
                @match &event.process {
                    Some(process) => { (visible(&process.command)) " (" (process.pid) ")"
                        @if let Some(unit) = &process.unit { ", " (visible(unit)) } }
                    None => "-",
                }
            }
            td.n { (grouped(event.packets)) }
            td.n { (bytes(event.bytes)) }
            td.why {
                (visible(&event.meaning)) " (" (visible(&event.reason)) ")"
                @if let Some(rule) = &event.rule { " " (visible(&rule.file)) ":" (rule.line) }
            }
        }
    }
}

/// A verdict that is one has a class; any other text has none.
fn verdict_class(verdict: &str) -> &'static str {
    match verdict {
        "drop" => "drop",
        "flag" => "flag",
        "observe" => "observe",
        _ => "",
    }
}

fn end(end: Option<&Endpoint>) -> String {
    match end {
        None => "-".to_owned(),
        Some(Endpoint { ip, port: None }) => visible(ip).into_owned(),
        Some(Endpoint { ip, port: Some(port) }) if ip.contains(':') => format!("[{}]:{port}", visible(ip)),
        Some(Endpoint { ip, port: Some(port) }) => format!("{}:{port}", visible(ip)),
    }
}

fn exemptions(known: &Known) -> Markup {
    of_status(known, |status| {
        html! {
            @if status.exemptions.is_empty() {
                p { "None." }
            } @else {
                (table("Each version", &[word("exemption"), word("state"), word("instrument"), word("pins"), word("recipients"), word("from"), word("until"), number("used"), number("left")], html! {
                    @for it in &status.exemptions { (exemption(it)) }
                }))
            }
        }
    })
}

/// What is left of its quota: nothing to say of one that is closed, by which nothing passes any more.
fn left(it: &Summary) -> String {
    match it.quota_bytes {
        _ if it.state.is_closed() => "-".to_owned(),
        Some(quota) => bytes(quota.saturating_sub(it.used_bytes)),
        None => "no bound".to_owned(),
    }
}

fn exemption(it: &Summary) -> Markup {
    html! {
        tr {
            th scope="row" { (visible(&it.id)) " v" (it.version) }
            td {
                span class={ "mark " (it.state.name()) } { (it.state.name()) }
                @if it.emergency.is_some() { " emergency" }
            }
            td { (visible(&it.instrument.name)) " " (visible(&it.instrument.reference)) }
            td { (visible(&it.pins.join(", "))) }
            td {
                @for (at, to) in it.recipients.iter().enumerate() {
                    @if at > 0 { ", " }
                    (visible(&to.name)) " (" (visible(&to.jurisdiction)) ")"
                }
            }
            td.d { (moment(it.valid_from)) }
            td.d { (moment(it.valid_until)) }
            td.n { (bytes(it.used_bytes)) }
            td.n { (left(it)) }
        }
    }
}

fn orders(known: &Known) -> Markup {
    of_status(known, |status| {
        // One order may cover several exemptions.
        let mut orders: Vec<_> = Vec::new();
        for exemption in &status.exemptions {
            for order in &exemption.orders {
                match orders.iter_mut().find(|(known, _): &&mut (_, Vec<String>)| *known == order) {
                    Some((_, covered)) => covered.push(exemption.id.clone()),
                    None => orders.push((order, vec![exemption.id.clone()])),
                }
            }
        }
        html! {
            @if orders.is_empty() {
                p { "No order stands that covers one of them." }
            } @else {
                (table("Orders that stand", &[word("order"), word("kind"), word("covers"), word("given"), word("exemptions")], html! {
                    @for (order, covered) in orders {
                        tr {
                            th scope="row" { (visible(&order.order)) }
                            td { (visible(&order.kind)) }
                            td { (visible(&order.covers)) " " (visible(&order.name)) }
                            td.d { (moment(order.at)) }
                            td { (visible(&covered.join(", "))) }
                        }
                    }
                }))
            }
        }
    })
}

fn moment(time: Timestamp) -> String {
    format!("{time:.0}")
}
