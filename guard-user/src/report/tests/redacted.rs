//! The text of confidential exemptions.

use super::super::{Change, ExemptionEntry, Format, ParticularEntry, Report, WITHHELD};
use super::rendered;
use super::sample::{exemption, sample};

const FORMATS: [Format; 3] = [Format::Csv, Format::Json, Format::Html];

fn report(redacted: bool) -> Report {
    let secret = ExemptionEntry { confidential: true, ..exemption("mlat-9", "secret-") };
    Report { redacted, exemptions: vec![secret, exemption("mlat-1", "open-")], ..sample() }
}

#[test]
fn no_form_of_a_redacted_report_has_text_of_a_confidential_exemption() {
    for format in FORMATS {
        let text = rendered(&report(true), format);
        assert!(!text.contains("secret-"), "{format:?}");
        // Its id, its times and its numbers stay, and so does all of the others.
        assert!(text.contains("mlat-9") && text.contains("21000") && text.contains(WITHHELD), "{format:?}");
        for kept in ["open-purpose", "open-identity", "open-network"] {
            assert!(text.contains(kept), "{format:?}: {kept}");
        }
    }
}

/// What is due of a confidential exemption is not told, and with it not when its assessment is to be reviewed.
#[test]
fn no_form_of_a_redacted_report_says_when_a_confidential_assessment_is_due() {
    let mut it = report(true);
    it.exemptions[0].assessment.as_mut().unwrap().review_by = "2026-11-29T07:00:00Z".to_owned();
    for format in [Format::Csv, Format::Json, Format::Html, Format::Register] {
        let text = rendered(&it, format);
        assert!(!text.contains("2026-11-29T07") && !text.contains("2026-11-29 07"), "{format:?}");
        let open = rendered(&Report { redacted: false, ..it.clone() }, format);
        assert!(open.contains("2026-11-29"), "{format:?}");
    }
}

/// What a document does not have is not told as withheld, and one that takes part is not told as three.
#[test]
fn what_is_withheld_is_told_once_and_where_something_is_there_alone() {
    let mut it = ExemptionEntry { confidential: true, ..exemption("mlat-9", "secret-") };
    it.instrument.agreement = String::new();
    it.emergency = String::new();
    it.recipients[0].networks = Vec::new();
    it.recipients[0].ports = Vec::new();
    let particular = |key: &str| ParticularEntry { key: key.to_owned(), value: "secret".to_owned() };
    it.particulars = [
        "data_subjects",
        "data_subjects",
        "joint_controller 1: name",
        "joint_controller 1: contact",
        "joint_controller 1: arrangement",
        "processor 1: name",
        "processor 1: contract",
        "processor 2: name",
    ]
    .map(particular)
    .to_vec();
    let report = Report { redacted: true, exemptions: vec![it], ..sample() };
    let text = rendered(&report, Format::Register);
    let row: std::collections::HashMap<String, String> =
        ::csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).next().unwrap();
    let of = |column: &str| row[column].as_str();
    assert!(!of("instrument").contains("under"), "{}", of("instrument"));
    assert_eq!(of("joint controllers"), WITHHELD);
    assert_eq!(of("processors"), format!("{WITHHELD}; {WITHHELD}"), "how many take part is told");
    assert_eq!(of("categories of data subjects"), WITHHELD);
    let json: Report = serde_json::from_str(&rendered(&report, Format::Json)).unwrap();
    let shown = &json.exemptions[0];
    assert!(shown.recipients[0].networks.is_empty() && shown.recipients[0].ports.is_empty());
    assert_eq!((shown.emergency.as_str(), shown.instrument.agreement.as_str()), ("", ""));
    assert_eq!(shown.purpose, WITHHELD);
}

#[test]
fn every_text_is_there_where_the_report_is_not_redacted() {
    let open = report(false);
    let json = serde_json::to_string(&open.exemptions[0]).unwrap();
    let texts: Vec<&str> = json.split('"').filter(|text| text.starts_with("secret-")).collect();
    assert!(texts.len() >= 16, "{texts:?}");
    for format in FORMATS {
        let text = rendered(&open, format);
        for secret in &texts {
            assert!(text.contains(secret), "{format:?}: {secret}");
        }
        assert!(!text.contains(WITHHELD));
    }
}

/// The times of what is known of the instrument alone would say which it is; its own fall is told without the text.
#[test]
fn what_befell_the_instrument_of_a_confidential_exemption_beside_it_is_not_told() {
    let mut it = report(true);
    let of = |what: &str, at: &str| Change {
        what: what.to_owned(),
        at: at.parse().unwrap(),
        ..it.exemptions[0].changes[0].clone()
    };
    let changes = vec![
        of("invalidate", "2026-11-02T01:00:07Z"),
        of("resume", "2026-11-02T02:00:07Z"),
        of("load", "2026-11-02T03:00:07Z"),
        of("invalidate", "2026-11-02T04:00:07Z"),
        of("resume", "2026-11-02T05:00:07Z"),
    ];
    it.exemptions[0].changes = changes;
    let json: Report = serde_json::from_str(&rendered(&it, Format::Json)).unwrap();
    let told: Vec<&str> = json.exemptions[0].changes.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(told, ["load", "invalidate"]);
    assert_eq!(super::super::redact::redacted(&json), json, "once more changes nothing");
    for format in [Format::Csv, Format::Html, Format::Register] {
        let text = rendered(&it, format);
        assert!(!text.contains("secret-"), "{format:?}");
        assert!(["01:00:07", "02:00:07", "05:00:07"].iter().all(|time| !text.contains(time)), "{format:?}");
    }
    let open = rendered(&Report { redacted: false, ..it.clone() }, Format::Register);
    assert!(open.contains("2026-11-02 05:00:07 UTC resume by secret-who"), "{open}");
}

/// A lift of what held it to its end is told, also where that was an order on the instrument: the stay is told too.
#[test]
fn what_held_a_confidential_exemption_is_told_to_be_lifted_whenever_it_was() {
    let mut it = report(true);
    let of = |what: &str, order: &str| Change {
        what: what.to_owned(),
        order: Some(order.to_owned()),
        ..it.exemptions[0].changes[0].clone()
    };
    let stay = Change { order: None, why: "secret-stay".to_owned(), ..of("stay", "") };
    let changes = vec![
        of("load", ""),
        stay,
        of("revoke", ""),
        of("resume", "secret-stay"),
        of("invalidate", ""),
        of("resume", "secret-fall"),
    ];
    it.exemptions[0].changes = changes;
    let json: Report = serde_json::from_str(&rendered(&it, Format::Json)).unwrap();
    let told: Vec<&str> = json.exemptions[0].changes.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(told, ["load", "stay", "revoke", "resume"]);
    assert_eq!(super::super::redact::redacted(&json), json, "once more changes nothing");
    assert!(!rendered(&it, Format::Json).contains("secret-"));
}
