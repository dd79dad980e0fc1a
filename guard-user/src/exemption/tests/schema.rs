//! The JSON Schema is the one that is shipped, and judges as the check does, by an independent validator.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::law::examples;
use super::{GOOD, check, with_value};
use crate::config::schema::Need;
use crate::exemption::keys::DOCUMENT;
use crate::exemption::law::Rule;
use crate::exemption::schema::{json_schema, to_json};

const SHIPPED: &str = include_str!("../../../../docs/exemption.schema.json");

fn accepts(text: &str) -> bool {
    let table: toml::Table = toml::from_str(text).unwrap();
    let validator = jsonschema::draft202012::new(&json_schema()).unwrap();
    validator.is_valid(&to_json(&toml::Value::Table(table)))
}

#[test]
fn the_shipped_schema_is_the_one_that_the_code_makes() {
    let made = json_schema();
    let shipped: Value = serde_json::from_str(SHIPPED).unwrap();
    assert!(shipped == made, "docs/exemption.schema.json must be:\n{made:#}\nend of the schema");
}

#[test]
fn the_schema_is_one_by_its_own_draft() {
    jsonschema::draft202012::meta::validate(&json_schema()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_key_has_its_words_and_an_example_that_fits() {
    let schema = json_schema();
    for key in DOCUMENT.keys {
        let path = key.section.split('.').filter(|part| !part.is_empty());
        let section = path.fold(&schema, |at, part| {
            let inner = &at["properties"][part];
            inner.get("items").unwrap_or(inner)
        });
        let property = &section["properties"][key.name];
        assert_eq!(property["description"], json!(key.meaning), "{key:?}");
        assert_eq!(section["additionalProperties"], json!(false));
        let required = section["required"].as_array().unwrap().contains(&json!(key.name));
        assert_eq!(required, key.need == Need::Required, "{key:?}");
        let validator = jsonschema::draft202012::new(property).unwrap();
        assert!(validator.is_valid(&property["examples"][0]), "{key:?}");
        assert!(!validator.is_valid(&json!(1.5)), "{key:?}");
    }
}

#[test]
fn good_documents_are_accepted_and_bad_ones_are_not() {
    assert!(accepts(GOOD));
    for (from, to) in [
        ("id = \"mlat-1\"\n", ""),
        ("version = 1", "version = \"1\""),
        ("version = 1", "version = 0"),
        ("purpose", "purposes"),
        ("[\"mail\", \"files\"]", "[]"),
        ("treaty-request", "foreign-order"),
        ("art-6-1-c", "art-6"),
        ("9F86", "9G86"),
        ("2026-12-15T00:00:00Z", "2026-12-15"),
        ("aoife@example.org", "aoife"),
        ("count = 1", "count = 0"),
        ("\"JP\"", "\"Japan\""),
        ("tcp/443", "443"),
        ("203.0.113.0/24", "203.0.113.0"),
    ] {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let text = GOOD.replace(from, to);
        assert!(check(&text).is_err() && !accepts(&text), "{from} {to}");
    }
}

#[test]
fn the_rules_that_a_schema_can_say_it_says() {
    let beyond = [
        Rule::NoAdequacyDecision,
        Rule::PartialAdequacy,
        Rule::ExceptedPurpose,
        Rule::PublicAuthority,
        Rule::EarlyDeletion,
        Rule::InsideEea,
        Rule::OutsideEea,
        Rule::LongDerogation,
        Rule::ReviewOver,
        Rule::ReversedWindow,
        Rule::Expired,
        Rule::OverlappingRecipients,
        Rule::RepeatedRole,
        Rule::NoDataSubjects,
        Rule::NotPersonal,
        Rule::NoModule,
        Rule::ModuleMismatch,
        Rule::NotAParty,
        Rule::NoCondition,
        Rule::NoNotification,
        Rule::NoAddressee,
        Rule::PreservationOnly,
        Rule::NoCertification,
        Rule::StaleCertification,
        Rule::NotBound,
        Rule::NotYetApplicable,
        Rule::OtherLaw,
        Rule::OnwardWithoutGround,
    ];
    let by_pack = |rule: Rule, text: &str| rule == Rule::NoAgreementInForce && text.contains("agreement_id");
    for (rule, text, _) in examples() {
        assert_eq!(accepts(&text), beyond.contains(&rule) || by_pack(rule, &text), "{rule}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// An editor never marks what is right.
    #[test]
    fn what_the_check_accepts_the_schema_accepts(
        key in 0..DOCUMENT.keys.len(), other in 0..DOCUMENT.keys.len(), take_out: bool,
    ) {
        let (key, other) = (&DOCUMENT.keys[key], &DOCUMENT.keys[other]);
        let value = Some(other.example).filter(|_| !take_out);
        let text = with_value(GOOD, key.section, key.name, value);
        let text = with_value(&text, other.section, other.name, Some(other.example));
        let text = text.replace("mail-ie", "mail");
        if check(&text).is_ok() {
            prop_assert!(accepts(&text), "{}", text);
        }
    }
}
