//! One exemption on the page: its facts, who may receive, who approved, what became of it, what it let through.

use maud::{Markup, html};

use super::super::facts;
use super::super::model::ExemptionEntry;
use super::super::sums::Sum;
use super::table::{number, table};
use crate::text::visible;

pub(super) fn article(exemption: &ExemptionEntry) -> Markup {
    let mut used = Sum::default();
    exemption.use_by_day.iter().for_each(|day| used.add(day.packets, day.bytes));
    html! {
        article {
            h3 {
                (visible(&exemption.id)) " version " (exemption.version) " "
                span.mark { (visible(&exemption.state)) }
                @if exemption.confidential { " " span.mark { "confidential" } }
            }
            p { "Let through " (number(used.bytes)) " bytes in " (number(used.packets)) " packets in this period." }
            dl {
                @for (name, value) in facts::of(exemption) {
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
                h4 { "Approvals" }
                p { "By nobody: no approval was required when it was loaded." }
            } @else { (part("Approvals", table(None, "Who approved", &["identity", "roles", "key"],
                exemption.approvals.iter().map(|approval| html! {
                    td { (visible(&approval.identity)) }
                    td { (visible(&approval.roles.join(", "))) }
                    td { (visible(&approval.key)) }
                })), false)) }
            (part("History", table(None, "What became of it", &["when", "what", "who", "why"],
                exemption.changes.iter().map(|change| html! {
                    td { (change.at) }
                    td { (visible(&change.what)) }
                    td { (visible(&change.who)) }
                    td { (visible(&change.why)) }
                })), exemption.changes.is_empty()))
            (part("Use", table(None, "What it let through", &["day", "packets", "bytes"],
                exemption.use_by_day.iter().map(|day| html! {
                    td { (day.day) }
                    td.n { (number(day.packets)) }
                    td.n { (number(day.bytes)) }
                })), exemption.use_by_day.is_empty()))
        }
    }
}

fn part(title: &str, table: Markup, is_empty: bool) -> Markup {
    html! {
        h4 { (title) }
        @if is_empty { p { "None." } } @else { (table) }
    }
}
