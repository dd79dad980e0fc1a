//! What lists show of an exemption, and what they keep to themselves.

use std::collections::BTreeSet;

use super::{GOOD, NOW, check, good_with, time};
use crate::exemption::Summary;
use crate::exemption::summary::{HIDDEN, RevokedSummary};

/// The texts of the good document that say what it is about.
const TEXTS: [&str; 17] = [
    "Evidence in case",
    "e-mail content",
    "US-Ireland MLAT",
    "Art. 48",
    "Department of Justice",
    "case 2026/0142",
    "Treaty of 18 January",
    "9f86d081884c7d65",
    "Example Mail",
    "privacy@example.org",
    "TIA-2026-07",
    "encryption in transit",
    "aoife@example.org",
    "198.51.100.20",
    "2001:db8:20::",
    "Translation office",
    "203.0.113.0",
];

fn summary(text: &str) -> Summary {
    let document = check(text).unwrap_or_else(|errors| panic!("{errors}"));
    let revoked = RevokedSummary { at: time(NOW), why: "the case was dropped".into(), by: 7 };
    Summary { revoked: Some(revoked), ..Summary::of_document(&document, time(NOW)) }
}

fn shown(summary: &Summary) -> String {
    serde_json::to_string(summary).unwrap()
}

#[test]
fn a_summary_says_everything_and_is_read_back_as_it_was() {
    let summary = summary(GOOD);
    let shown = shown(&summary);
    for text in TEXTS {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    for part in ["\"type\":\"treaty-request\"", "\"jurisdiction\":\"JP\"", "\"ports\":[\"tcp/993\"]"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(serde_json::from_str::<Summary>(&shown).unwrap(), summary);
    assert_eq!(summary.clone().redacted(), summary);
}

#[test]
fn every_particular_is_shown_and_dated_ones_are_due() {
    let text = super::with_value(GOOD, "", "delete_by", Some("2028-12-31"));
    let summary = summary(&text);
    let lines: Vec<String> =
        summary.particulars.iter().map(|it| format!("{}: {}", it.key, it.value)).collect();
    let expected = [
        "data_subjects: customers",
        "delete_by: before 2029-01-01 00:00:00 UTC",
        "condition.met: the treaty's own",
        "processor 1: name: Storage house",
        "processor 1: jurisdiction: DE",
        "processor 1: contract: DPA-2025-11",
        "joint_controller 1: name: Example Mail France",
        "joint_controller 1: contact: privacy@example.net",
        "joint_controller 1: arrangement: JCA-2024-02",
        "onward 1: name: Forensic laboratory",
        "onward 1: jurisdiction: CH",
        "onward 1: ground: art-45",
        "onward 1: safeguard: the rule of speciality",
        "duty 1: what: answer",
        "duty 1: due: before 2026-12-21 00:00:00 UTC",
    ];
    assert_eq!(lines, expected);
    let due: Vec<String> = summary.due.iter().map(|it| format!("{} {}", it.what, it.by)).collect();
    let expected = [
        "answer 2026-12-21T00:00:00Z",
        "review-assessment 2027-06-02T00:00:00Z",
        "delete 2029-01-01T00:00:00Z",
    ];
    assert_eq!(due, expected);
}

#[test]
fn a_confidential_one_is_shown_without_its_text_and_no_more_open_than_it_is() {
    let summary = summary(&good_with("confidential = false", "confidential = true"));
    let redacted = summary.clone().redacted();
    let text = shown(&redacted);
    for hidden in TEXTS.into_iter().chain(["the case was dropped"]) {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    // Whatever a later field holds: what is neither the same as before nor hidden is no redaction.
    let words =
        |summary: &Summary| -> BTreeSet<String> { shown(summary).split('"').map(str::to_owned).collect() };
    let new: Vec<String> = words(&redacted).difference(&words(&summary)).cloned().collect();
    assert_eq!(new, [HIDDEN]);
    assert_eq!((&redacted.id, redacted.state, &redacted.pins), (&summary.id, summary.state, &summary.pins));
    assert_eq!(redacted.instrument.ground, "art-46-2-a");
    let reach = |summary: &Summary| -> Vec<(String, usize, Vec<String>)> {
        let of = summary.recipients.iter();
        of.map(|it| (it.jurisdiction.clone(), it.cidrs.len(), it.ports.clone())).collect()
    };
    assert_eq!(reach(&redacted), reach(&summary), "a list that is empty would mean anybody");
    assert!(!text.contains("2027-06-02"), "when its review is due: {text}");
    assert_eq!(redacted.clone().redacted(), redacted);
}

#[test]
fn who_signed_in_no_role_that_counts_is_told_apart_from_who_approved() {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let by = |roles: &[&str]| {
        let approved_by = texts(&["aoife@example.org", "brian@example.org"]);
        Summary { approved_by, approved_as: texts(roles), ..summary(GOOD) }
    };
    let both = by(&["", "dpo"]);
    assert_eq!(
        both.approvers(),
        "brian@example.org as dpo; aoife@example.org signed too, in no role that counts"
    );
    assert_eq!(by(&["legal", "dpo"]).approvers(), "aoife@example.org as legal and brian@example.org as dpo");
    // A daemon of before does not tell the roles.
    assert_eq!(by(&[]).approvers(), "aoife@example.org and brian@example.org");
    assert_eq!(serde_json::from_str::<Summary>(&shown(&both)).unwrap(), both);
}
