//! The head of the page, the table of contents, and the block for signatures.

use maud::{Markup, html};

use super::super::model::Report;
use super::table::{moment, number};
use crate::text::visible;

/// The sections, by anchor and title, in the order of the page; `exemptions` is how many there are.
pub(super) const SECTIONS: [(&str, &str); 9] = [
    ("sums", "In all"),
    ("time", "Over time"),
    ("exemptions", "Exemptions"),
    ("register", "Register of transfers"),
    ("traffic-crossed", "What crossed a border"),
    ("traffic-refused", "What was refused"),
    ("traffic-home", "What crossed no border"),
    ("signatures", "Signatures"),
    ("details", "Annex: each exemption"),
];

/// The title of a section.
pub(super) fn title(anchor: &str) -> &'static str {
    SECTIONS.iter().find(|(its, _)| *its == anchor).map_or("", |(_, title)| title)
}

pub(super) fn head(report: &Report) -> Markup {
    let organisation = &report.organisation;
    let required = [("controller", &organisation.controller), ("data protection officer", &organisation.dpo)];
    let optional = [
        ("joint controller", &organisation.joint_controller),
        ("representative", &organisation.representative),
    ];
    html! {
        p.confidential { (visible(&report.mark)) }
        h1 { "Record of transfers" }
        p {
            "What left region-pinned storage on " strong { (visible(&report.host)) } ", as the kernel counted it: \
             recipients, third countries and safeguards, Art. 30(1)(d) and (e) GDPR."
        }
        dl {
            @for (name, value) in required {
                dt { (name) }
                dd { @match value { Some(text) => (visible(text)), None => span.blank { "not named in the config" } } }
            }
            @for (name, value) in optional {
                @if let Some(text) = value { dt { (name) } dd { (visible(text)) } }
            }
            dt { "period" }
            dd { (moment(report.from)) " until " (moment(report.until)) ", days in UTC" }
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
            dd { (moment(report.made_at)) }
            dt { "generation of the tables" }
            dd { (number(report.generation)) }
            dt { "last record of the audit trail" }
            dd {
                @match &report.audit_head {
                    Some(head) => {
                        (number(head.sequence)) " of " (moment(head.time)) ", SHA-256 " (visible(&head.sha256))
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

pub(super) fn contents(report: &Report) -> Markup {
    let is_there = |anchor: &str| anchor != "details" || !report.exemptions.is_empty();
    html! {
        nav {
            h2 { "Contents" }
            ol {
                @for (anchor, title) in SECTIONS.into_iter().filter(|(anchor, _)| is_there(anchor)) {
                    li {
                        a href={ "#" (anchor) } { (title) }
                        @if anchor == "exemptions" { ": " (number(report.exemptions.len() as u64)) }
                    }
                }
            }
        }
    }
}

/// Who signs the record on paper.
pub(super) fn signatures() -> Markup {
    html! {
        section.signatures #signatures {
            h2 { (title("signatures")) }
            p { "This record has what the guard counted while it was in the kernel, and names the gaps that it knows of. It was looked through by:" }
            div.signers {
                @for role in ["For the controller", "Data protection officer"] {
                    div.signer {
                        p { strong { (role) } }
                        @for line in ["Name", "Function", "Place and date", "Signature"] { p.line { (line) } }
                    }
                }
            }
        }
    }
}
