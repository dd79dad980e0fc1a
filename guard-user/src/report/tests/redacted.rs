//! The text of confidential exemptions.

use super::super::{ExemptionEntry, Format, Report, WITHHELD};
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
