//! What a document without errors says.

use std::path::Path;

use crate::config::policy::{PortRange, Protocol};
use crate::exemption::document::{Assessment, Exporter, Instrument, Required};
use crate::exemption::ground::Role;
use crate::exemption::{Basis, Ground, InstrumentKind, Recipient, Surroundings, parse};

use super::{GOOD, check, good_with, time, with_value};

#[test]
fn every_value_is_what_the_document_says() {
    let document = check(GOOD).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((document.id.as_str(), document.version, document.replaces), ("mlat-1", 1, None));
    assert_eq!(document.pins, ["mail", "files"]);
    assert_eq!(document.purpose, "Evidence in case 2026/0142");
    assert_eq!(document.data_categories, ["e-mail content"]);
    assert_eq!(document.valid_from, time("2026-12-01T08:00:00Z"));
    assert_eq!(document.valid_until, time("2026-12-15T00:00:00Z"));
    assert_eq!((document.quota_bytes, document.confidential), (Some(1_000_000), false));
    let instrument = Instrument {
        kind: InstrumentKind::TreatyRequest,
        name: "US-Ireland MLAT 2001".into(),
        article: "Art. 48".into(),
        ground: Ground::AuthoritiesInstrument,
        basis: Basis::LegalObligation,
        authority: "Department of Justice, Ireland".into(),
        reference: "case 2026/0142".into(),
        agreement: Some("Treaty of 18 January 2001".into()),
        document_sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
    };
    assert_eq!(document.instrument, instrument);
    let exporter = Exporter {
        name: "Example Mail Ireland Ltd".into(),
        role: Role::Controller,
        contact: "privacy@example.org".into(),
    };
    assert_eq!(document.exporter, exporter);
    let assessment = Assessment {
        reference: "TIA-2026-07".into(),
        review_by: Some(time("2027-06-02T00:00:00Z")),
        measures: vec!["encryption in transit".into()],
    };
    assert_eq!(document.assessment, Some(assessment));
    assert_eq!(document.approval.submitter.as_deref(), Some("aoife@example.org"));
    assert_eq!(document.approval.required, [Required { role: "legal".into(), count: 1 }]);
    let recipient = |name: &str, country: &str, networks: &[&str], port: u16| Recipient {
        name: name.into(),
        jurisdiction: country.parse().unwrap(),
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        anywhere: false,
        large_network: None,
        ports: vec![PortRange { protocol: Protocol::Tcp, first: port, last: port }],
    };
    let recipients = [
        recipient("Department", "US", &["198.51.100.20/32", "2001:db8:20::/48"], 443),
        recipient("Translation office", "JP", &["203.0.113.0/24"], 993),
    ];
    assert_eq!(document.recipients, recipients);
}

#[test]
fn what_may_be_left_away_means_any_port_and_no_bound() {
    let (text, _) = GOOD.split_once("[assessment]").unwrap();
    let text = text.replace("\"treaty-request\"", "\"adequacy-decision\"").replace("art-46-2-a", "art-45");
    let text =
        format!("{text}[[recipient]]\nname = \"A\"\njurisdiction = \"CH\"\ncidrs = [\"192.0.2.0/24\"]\n");
    let text = with_value(&with_value(&text, "", "quota_bytes", None), "", "confidential", Some("true"));
    let document = check(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((document.quota_bytes, document.confidential), (None, true));
    assert_eq!((document.assessment.is_none(), document.approval), (true, Default::default()));
    assert_eq!(document.recipients[0].ports, []);
}

#[test]
fn a_review_by_a_date_counts_to_its_end_and_one_by_a_moment_to_that() {
    let by = |value: &str| {
        let document = check(&with_value(GOOD, "assessment", "review_by", Some(value))).unwrap();
        document.assessment.unwrap().review_by.unwrap()
    };
    assert_eq!(by("2026-12-02"), time("2026-12-03T00:00:00Z"));
    assert_eq!(by("2026-12-02T02:00:00+01:00"), time("2026-12-02T01:00:00Z"));
    let document = check(&with_value(GOOD, "assessment", "review_by", Some("2026-12-02"))).unwrap();
    assert!(!document.review_is_over(time("2026-12-02T23:59:59Z")));
    assert!(document.review_is_over(time("2026-12-03T00:00:00Z")));
    // As a treaty was loaded before.
    let without = with_value(GOOD, "assessment", "review_by", None);
    let without = parse(Path::new("x.toml"), without.as_bytes(), &Surroundings::default()).unwrap();
    assert!(!without.review_is_over(time("9999-01-01T00:00:00Z")));
}

#[test]
fn a_renewal_names_the_version_that_it_takes_the_place_of() {
    let text = good_with("version = 1", "version = 4\nreplaces = 3");
    assert_eq!(check(&text).unwrap().replaces, Some(3));
}
