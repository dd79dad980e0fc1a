//! What is guarded, and what is not.

use maud::{Markup, html};

use super::table::{table, word};
use crate::control::status::Status;
use crate::text::visible;

/// Interfaces and their hooks, ways past the guard, volumes and the database.
pub(super) fn coverage(status: &Status) -> Markup {
    let asked = |attached: bool| if attached { "attached" } else { "NOT attached" };
    html! {
        (table("Interfaces", &[word("interface"), word("egress"), word("ingress"), word("state")], html! {
            @for interface in &status.interfaces {
                @let mode = |hook: &str| interface.hooks.iter().find(|it| it.hook == hook).map_or("-", |it| it.mode.as_str());
                tr {
                    th scope="row" { (visible(&interface.name)) }
                    td { (mode("egress")) }
                    td { (mode("ingress")) }
                    td { (visible(interface.problem.as_deref().unwrap_or("guarded"))) }
                }
            }
        }))
        dl {
            dt { "not guarded, and a route leads by" }
            dd { (listed(&status.unguarded)) }
            dt { "ways past the guard" }
            dd { @if status.bypass.refused { "refused, " (asked(status.bypass.attached)) } @else { "not refused" } }
            dt { "users of sockets" }
            dd { @if status.sockets.noted { "noted, " (asked(status.sockets.attached)) } @else { "not noted" } }
            dt { "volumes" }
            dd {
                @if status.carriers.volumes.is_empty() { "none is selected" }
                @for (at, volume) in status.carriers.volumes.iter().enumerate() {
                    @if at > 0 { ", " }
                    (visible(&volume.path)) @if !volume.mounted { " (NOT mounted)" }
                }
            }
            dt { "geo database" }
            dd {
                (visible(&status.database.source))
                @if let Some(days) = status.database.age_days { ", " (days) " days old" }
                @if let Some(stale) = &status.database.stale { ": " strong { (visible(stale)) } }
            }
            dt { "audit trail" }
            dd {
                @match status.audit.whole {
                    Some(true) => "whole when it was verified last",
                    Some(false) => strong { "NOT whole when it was verified last" },
                    None => "not verified yet",
                }
            }
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| visible(name).into_owned()).collect::<Vec<_>>().join(", "),
    }
}
