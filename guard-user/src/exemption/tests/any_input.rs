//! Whatever the file holds, the answer is a document or errors, and never a panic.

use std::path::Path;

use ipnetwork::IpNetwork;
use proptest::prelude::*;

use super::{GOOD, NOW, time, with_value};
use crate::config::tests::findings::{self, can_be_shown};
use crate::exemption::keys::DOCUMENT;
use crate::exemption::{Clocks, InstrumentKind, Surroundings, parse};

/// Holds for every input: an answer that can be shown, and documents that keep what their type promises.
fn answers(bytes: &[u8]) {
    match parse(Path::new("x.toml"), bytes, &Surroundings::default()) {
        Ok(document) => {
            assert!(document.version > 0 && document.valid_from < document.valid_until);
            assert!(!document.pins.is_empty() && !document.recipients.is_empty());
            assert!(document.quota_bytes.is_none_or(|quota| (1..u64::MAX).contains(&quota)));
            assert!(document.replaces.is_none_or(|replaced| (1..document.version).contains(&replaced)));
            let act = &document.instrument;
            assert_ne!(act.kind, InstrumentKind::ForeignOrder);
            assert!(act.kind.grounds().contains(&act.ground));
            if act.ground.is_derogation() {
                assert!(document.quota_bytes.is_some() && document.assessment.is_some());
            }
            assert!(document.approval.required.iter().all(|required| required.count > 0));
            for recipient in &document.recipients {
                assert!(recipient.jurisdiction.is_country());
                assert!(recipient.networks.iter().all(|network| network.prefix() > 0));
                assert!(!recipient.networks.is_empty() || act.kind == InstrumentKind::AdequacyDecision);
            }
            for (at, one) in document.recipients.iter().enumerate() {
                for other in &document.recipients[at + 1..] {
                    let shared = |a: &IpNetwork| other.networks.iter().any(|&b| overlap(*a, b));
                    assert!(!one.networks.iter().any(shared), "{one:?} {other:?}");
                }
            }
            let clocks = Clocks { wall: time(NOW), boot_ns: 1 };
            assert!(clocks.boot_time_of(document.valid_from) <= clocks.boot_time_of(document.valid_until));
        }
        Err(errors) => can_be_shown(&errors, bytes),
    }
}

fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.ip()) || other.contains(one.ip())
}

/// Texts that mean something in a document, and are right for some keys alone.
const TEXTS: &[&str] = &[
    "192.0.2.1/24",
    "::/0",
    "foreign-order",
    "derogation",
    "eu-order",
    "no-transfer",
    "art-49-1-e",
    "US",
    "BE",
    "203.0.113.128/25",
];

/// A value of any TOML type, right or wrong.
fn value() -> impl Strategy<Value = String> {
    let others = prop_oneof![
        any::<i128>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| format!("0x{number:x}")),
        (0..10_000_u32, 0..14_u32, 0..33_u32, 0..26_u32, prop_oneof![Just("Z"), Just(""), Just("-23:59")])
            .prop_map(|(year, month, day, hour, zone)| format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:00:60{zone}"
            )),
        Just("[[]]".to_owned()),
        Just("{ name = \"x\", cidrs = [] }".to_owned()),
    ];
    findings::value(TEXTS, others)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        answers(&bytes);
    }

    #[test]
    fn a_good_document_with_any_byte_changed(at in 0..GOOD.len(), byte: u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        answers(&bytes);
    }

    #[test]
    fn a_good_document_cut_anywhere(length in 0..GOOD.len()) {
        answers(&GOOD.as_bytes()[..length]);
    }

    #[test]
    fn any_value_of_any_key(key in 0..DOCUMENT.keys.len(), value in value()) {
        let key = &DOCUMENT.keys[key];
        answers(with_value(GOOD, key.section, key.name, Some(&value)).as_bytes());
    }
}
