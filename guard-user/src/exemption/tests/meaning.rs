//! What a document without errors says.

use crate::config::policy::{PortRange, Protocol};
use crate::exemption::{Instrument, Reach, Recipient};

use super::{GOOD, check, good_with, time};

#[test]
fn every_value_is_what_the_document_says() {
    let document = check(GOOD).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((document.id.as_str(), document.version), ("mlat-1", 1));
    assert_eq!(document.instrument, Instrument::TreatyRequest);
    assert_eq!(document.reference, "case 2026/0142");
    assert_eq!(document.pins, ["mail", "files"]);
    assert_eq!(document.ports, [PortRange { protocol: Protocol::Tcp, first: 443, last: 443 }]);
    assert_eq!(document.valid_from, time("2026-12-01T08:00:00Z"));
    assert_eq!(document.valid_until, time("2026-12-15T00:00:00Z"));
    assert_eq!(document.quota_bytes, Some(1_000_000));
    let networks = ["198.51.100.20/32", "2001:db8:20::/48"].map(|text| text.parse().unwrap());
    let recipients = [
        Recipient { name: "Department".into(), reach: Reach::Networks(networks.to_vec()) },
        Recipient {
            name: "Anybody in Japan".into(),
            reach: Reach::Jurisdictions(vec!["JP".parse().unwrap()]),
        },
    ];
    assert_eq!(document.recipients, recipients);
}

#[test]
fn what_may_be_left_away_means_any_port_and_no_bound() {
    let text = good_with("ports = [\"tcp/443\"]\n", "").replace("quota_bytes = 1_000_000\n", "");
    let document = check(&text).unwrap();
    assert_eq!((document.ports, document.quota_bytes), (Vec::new(), None));
}

#[test]
fn every_instrument_but_a_foreign_order_can_be_a_ground() {
    for instrument in Instrument::ALL {
        let result = check(&good_with("treaty-request", instrument.name()));
        assert_eq!(result.is_ok(), instrument != Instrument::ForeignOrder, "{instrument}");
    }
}
