//! Each rule of law broken alone, with its place, its words and what to do; and what keeps it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::errors::errors;
use super::{GOOD, check, with_value};
use crate::config::tests::findings::each_is_found_alone;
use crate::exemption::law::{DEROGATION_DAYS, Rule};
use crate::exemption::{Ground, InstrumentKind};

const RULES: &str = include_str!("../../../../docs/law.md");

/// The good document with other values, given as section, key and value; an empty value takes the key
/// out.
pub(super) fn with(changes: &[(&str, &str, &str)]) -> String {
    changes.iter().fold(GOOD.to_owned(), |text, &(section, name, value)| {
        with_value(&text, section, name, Some(value).filter(|value| !value.is_empty()))
    })
}

/// A document without a part of its text.
pub(super) fn without(text: &str, from: &str, to: &str) -> String {
    let (head, rest) = text.split_once(from).unwrap();
    format!("{head}{to}{}", rest.split_once(to).unwrap().1)
}

const TYPE: &str = "instrument";

pub(super) fn clauses() -> String {
    let text =
        with(&[(TYPE, "type", "\"scc\""), (TYPE, "ground", "\"art-46-2-c\""), (TYPE, "agreement", "")]);
    // At the end of the section, so that what stands before it stays where it is.
    text.replace(
        "[exporter]",
        "module = \"c2c\"\nparties = [\"Department\", \"Translation office\", \"Example Mail Ireland Ltd\"]\n[exporter]",
    )
}

pub(super) fn derogation() -> String {
    with(&[(TYPE, "type", "\"derogation\""), (TYPE, "ground", "\"art-49-1-e\"")])
}

pub(super) fn adequacy() -> String {
    let text = with(&[(TYPE, "type", "\"adequacy-decision\""), (TYPE, "ground", "\"art-45\"")]);
    text.replace(
        "ports = [\"tcp/443\"]",
        "ports = [\"tcp/443\"]\ncertification = \"EU-US DPF, active\"\nchecked_on = 2026-11-20",
    )
}

pub(super) fn union_order() -> String {
    let text = with(&[(TYPE, "type", "\"eu-order\""), (TYPE, "ground", "\"no-transfer\"")]);
    text.replace("\"US\"", "\"BE\"").replace("\"JP\"", "\"NO\"")
}

/// The good document with one recipient that is anybody in a country.
fn anybody(text: &str, country: &str) -> String {
    let (head, _) = text.split_once("[[recipient]]").unwrap();
    format!("{head}[[recipient]]\nname = \"Anybody\"\njurisdiction = \"{country}\"\n")
}

/// A rule, a document that breaks it alone, and the error that comes of it.
pub(super) fn examples() -> Vec<(Rule, String, &'static str)> {
    let treaty_by_adequacy = with(&[(TYPE, "ground", "\"art-45\"")]);
    vec![
        (
            Rule::ForeignOrderAlone,
            with(&[(TYPE, "type", "\"foreign-order\"")]),
            "12:8 instrument.type: an order of a third country's court or authority is by itself no ground for a \
             transfer (GDPR Art. 48) | name the ground that it rests on",
        ),
        (
            Rule::NoAgreement,
            with(&[(TYPE, "agreement", "")]),
            "12:8 instrument.type: a request without the international agreement behind it is a third country's order \
             alone (GDPR Art. 48) | name the treaty as agreement",
        ),
        (
            Rule::GroundMismatch,
            with(&[(TYPE, "ground", "\"art-46-2-c\"")]),
            "15:10 instrument.ground: treaty-request is no act that the ground art-46-2-c can rest on (GDPR Art. 44) | \
             treaty-request can carry art-46-2-a, art-45, art-49-1-d",
        ),
        (
            Rule::NoAdequacyDecision,
            anybody(&adequacy(), "IN"),
            "36:16 recipient.jurisdiction: there is no adequacy decision on IN (GDPR Art. 45) | name another",
        ),
        (
            Rule::PartialAdequacy,
            anybody(&adequacy(), "US"),
            "36:16 recipient.jurisdiction: the adequacy decision (EU) 2023/1795 on US covers only organisations that are \
             certified under the EU-US Data Privacy Framework (GDPR Art. 45(3)) | name the covered recipients by their \
             networks",
        ),
        (
            Rule::PartialAdequacy,
            treaty_by_adequacy.replace("\"US\"", "\"GB\""),
            "41:16 recipient.jurisdiction: the adequacy decision (EU) 2019/419 on JP covers only business operators \
             that are subject to the APPI and its Supplementary Rules (GDPR Art. 45(3)) | an authority that asks",
        ),
        (
            Rule::WholeCountry,
            anybody(GOOD, "US"),
            "34:1 recipient: anybody in US is nobody whom treaty-request can name (GDPR Art. 44) | name the recipient's own",
        ),
        (
            Rule::InsideEea,
            GOOD.replace("\"JP\"", "\"BE\""),
            "41:16 recipient.jurisdiction: BE is in the EEA, and no transfer to a third country (GDPR Art. 44) | permit BE \
             in the pin; where the pin is to stay narrower, use the type eu-order with the ground no-transfer",
        ),
        (
            Rule::OutsideEea,
            union_order().replace("\"NO\"", "\"CH\""),
            "41:16 recipient.jurisdiction: CH is outside the EEA, and an order under Union law is no ground",
        ),
        (
            Rule::LongDerogation,
            with_value(&derogation(), "", "valid_until", Some("2027-03-01T08:00:01Z")),
            "8:15 valid_until: a derogation must be bounded in time, and 90 days from 2026-12-01T08:00:00Z to \
             2027-03-01T08:00:01Z are more than 90 (GDPR Art. 49) | end it within 90 days",
        ),
        (
            Rule::UnboundedDerogation,
            with_value(&derogation(), "", "quota_bytes", None),
            "14:10 instrument.ground: a derogation must be bounded in bytes, and there is no quota_bytes (GDPR Art. 49) | \
             add quota_bytes",
        ),
        (
            Rule::UndocumentedDerogation,
            without(&derogation(), "[assessment]", "[approval]"),
            "15:10 instrument.ground: a derogation's assessment must be documented, and there is no [assessment] (GDPR \
             Art. 49(6)) | add [assessment]",
        ),
        (
            Rule::NoAssessment,
            without(&clauses(), "[assessment]", "[approval]"),
            "12:8 instrument.type: scc needs a transfer impact assessment, and there is no [assessment] (GDPR Art. 46; \
             C-311/18) | add [assessment] with reference and review_by",
        ),
        (
            Rule::NoReviewDate,
            with_value(&clauses(), "assessment", "review_by", None),
            "12:8 instrument.type: the assessment for scc has to be looked at again, and has no review_by (GDPR Art. 46; \
             C-311/18) | add review_by",
        ),
        (
            Rule::ReviewOver,
            with_value(&clauses(), "assessment", "review_by", Some("2026-12-02T00:00:00Z")),
            "28:13 assessment.review_by: the assessment had to be looked at again by 2026-12-02T00:00:00Z, which is over \
             (C-311/18) | look at the assessment again",
        ),
        (
            Rule::ReviewOver,
            with(&[("", "valid_from", "2026-12-05T00:00:00Z"), ("assessment", "review_by", "2026-12-04")]),
            "27:13 assessment.review_by: the assessment had to be looked at again by 2026-12-05T00:00:00Z, which is before \
             the window begins",
        ),
        (
            Rule::ReversedWindow,
            with(&[("", "valid_until", "2026-12-01T08:00:00Z")]),
            "8:15 valid_until: the window ends at 2026-12-01T08:00:00Z, and does not begin before 2026-12-01T08:00:00Z",
        ),
        (
            Rule::Expired,
            with(&[("", "valid_until", "2026-12-02T01:00:00+01:00")]),
            "8:15 valid_until: the exemption has expired: it ended at 2026-12-02T00:00:00Z, and now it is \
             2026-12-02T00:00:00Z | ask for a renewed approval",
        ),
        (
            Rule::NoRecipient,
            GOOD.split_once("[[recipient]]").unwrap().0.to_owned(),
            "1:1 recipient: nobody may receive: there is no [[recipient]] (GDPR Art. 30(1)(d)) | add [[recipient]]",
        ),
        (
            Rule::OverlappingRecipients,
            GOOD.replace("203.0.113.0/24", "198.51.100.0/24"),
            "42:10 recipient.cidrs: 198.51.100.0/24 is also 198.51.100.20/32 of the recipient \"Department\" (GDPR \
             Art. 30(1)(d)) | give each network to one recipient",
        ),
        (
            Rule::OverlappingRecipients,
            format!(
                "{}[[recipient]]\nname = \"B\"\njurisdiction = \"CH\"\ncidrs = [\"192.0.2.0/24\"]\n",
                anybody(&adequacy(), "CH")
            ),
            "39:16 recipient.jurisdiction: anybody in CH is also the recipient \"Anybody\" (GDPR Art. 30(1)(d)) | name each",
        ),
        (
            Rule::RepeatedRole,
            GOOD.replacen(
                "[[recipient]]",
                "[[approval.required]]\nrole = \"legal\"\ncount = 2\n[[recipient]]",
                1,
            ),
            "35:8 approval.required.role: the role \"legal\" stands already on line 32 | name each role once",
        ),
        (
            Rule::NobodyApproves,
            with(&[("approval.required", "count", "0")]),
            "33:9 approval.required.count: a role of which nobody has to sign approves nothing | write how many",
        ),
    ]
    .into_iter()
    .chain(super::law_examples::examples())
    .collect()
}

#[test]
fn each_rule_is_broken_alone_and_says_where_why_and_what_to_do() {
    let examples = examples().into_iter();
    each_is_found_alone(examples.map(|(rule, text, expected)| (rule.name(), text, expected)), errors);
}

#[test]
fn every_rule_has_an_example() {
    let broken: BTreeSet<Rule> = examples().into_iter().map(|(rule, ..)| rule).collect();
    assert_eq!(broken, Rule::ALL.into_iter().collect());
    let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
}

#[test]
fn what_the_examples_begin_with_keeps_every_rule() {
    for text in [GOOD.to_owned(), clauses(), derogation(), adequacy(), union_order()] {
        assert_eq!(errors(&text), [], "{text}");
    }
    for (text, country) in [(adequacy(), "CH"), (adequacy(), "GB")] {
        assert_eq!(errors(&anybody(&text, country)), [], "{country}");
    }
    // Exactly as long as it may be, and measures can be none.
    assert_eq!(errors(&with_value(&derogation(), "", "valid_until", Some("2027-03-01T08:00:00Z"))), []);
    assert_eq!(errors(&with_value(&clauses(), "assessment", "measures", Some("[]"))), []);
    assert_eq!(DEROGATION_DAYS, 90);
}

#[test]
fn a_ground_of_article_49_is_bounded_whatever_it_stands_under() {
    let treaty = with(&[(TYPE, "ground", "\"art-49-1-e\""), ("", "quota_bytes", "")]);
    let codes: Vec<&str> = errors(&treaty).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["unbounded-derogation"]);
}

#[test]
fn each_kind_carries_the_grounds_of_the_table_and_no_other() {
    for kind in InstrumentKind::ALL {
        for ground in Ground::ALL {
            let value = |name: &str| format!("\"{name}\"");
            let text = with(&[(TYPE, "type", &value(kind.name())), (TYPE, "ground", &value(ground.name()))]);
            let fits = !errors(&text)
                .iter()
                .any(|(code, _)| ["ground-mismatch", "foreign-order-alone"].contains(code));
            assert_eq!(fits, kind.grounds().contains(&ground), "{kind} {ground}");
        }
    }
    let unused =
        Ground::ALL.iter().filter(|it| !InstrumentKind::ALL.iter().any(|kind| kind.grounds().contains(it)));
    assert_eq!(unused.count(), 0);
}

#[test]
fn the_rules_are_in_the_documentation_word_for_word() {
    let (_, rules) = RULES.split_once("## Rules\n").unwrap();
    let rows: Vec<&str> =
        rules.lines().filter(|line| line.starts_with("| `")).take(Rule::ALL.len()).collect();
    let expected: Vec<String> = Rule::ALL
        .iter()
        .map(|rule| format!("| `{rule}` | {} | {} | {} |", rule.article(), rule.refuses(), rule.why()))
        .collect();
    assert_eq!(rows, expected, "docs/law.md must say:\n{}", expected.join("\n"));
}

#[test]
fn the_other_errors_of_a_document_are_in_the_documentation() {
    let (_, table) = RULES.split_once("## What else is refused\n").unwrap();
    let rows = table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
    let listed: BTreeSet<&str> = rows.collect();
    let code = include_str!("../error.rs").split("pub fn code(&self)").nth(1).unwrap();
    let own: BTreeSet<&str> =
        code.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    assert!(own.len() > 12);
    assert_eq!(listed, own);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Held against the plain way of comparing each with each.
    #[test]
    fn overlaps_are_found_exactly_where_they_are(
        networks in prop::collection::vec((0..4_u8, 24..33_u8, 0..3_usize), 1..12),
    ) {
        let mut recipients: [Vec<(u32, u32)>; 3] = Default::default();
        for (byte, prefix, recipient) in networks {
            let mask = u32::MAX << (32 - prefix);
            recipients[recipient].push((u32::from_be_bytes([192, 0, 2, byte * 64]) & mask, mask));
        }
        let (head, _) = GOOD.split_once("[[recipient]]").unwrap();
        let mut text = head.to_owned();
        for (number, networks) in recipients.iter().enumerate().filter(|(_, networks)| !networks.is_empty()) {
            let cidrs: Vec<String> = networks
                .iter()
                .map(|&(start, mask)| format!("{}/{}", std::net::Ipv4Addr::from(start), mask.count_ones()))
                .collect();
            text += &format!("[[recipient]]\nname = \"{number}\"\njurisdiction = \"US\"\ncidrs = {cidrs:?}\n");
        }
        let overlaps = |one: &(u32, u32), other: &(u32, u32)| (one.0 ^ other.0) & one.1 & other.1 == 0;
        let mut pairs = (0..3).flat_map(|one| (one + 1..3).map(move |other| (one, other)));
        let expected = pairs.any(|(one, other)| {
            recipients[one].iter().any(|a| recipients[other].iter().any(|b| overlaps(a, b)))
        });
        let found = check(&text);
        prop_assert_eq!(found.is_err(), expected);
        if let Err(errors) = found {
            prop_assert!(errors.errors.iter().all(|error| error.kind.code() == "overlapping-recipients"));
        }
    }
}
