//! Each row of the register, and each form of the report, names the articles of the law that an exemption goes by.

use std::collections::HashMap;

use super::super::{ExemptionEntry, Format, ParticularEntry, REGISTER, Report, WITHHELD};
use super::rendered;
use super::sample::{exemption, sample};

/// An exemption that goes by a law, on a ground, with these particulars.
fn by(law: &str, ground: &str, particulars: &[(&str, &str)]) -> ExemptionEntry {
    let mut it = exemption("a", "");
    it.law = law.to_owned();
    it.instrument.ground = ground.to_owned();
    it.instrument.basis = "art-6-1-b".to_owned();
    let entry = |(key, value): &(&str, &str)| ParticularEntry { key: (*key).into(), value: (*value).into() };
    it.particulars = particulars.iter().map(entry).collect();
    if law != "eu" {
        it.particulars.insert(0, entry(&("law", law)));
    }
    it
}

fn report(it: ExemptionEntry) -> Report {
    Report { exemptions: vec![it], ..sample() }
}

/// The first row of the register, by the names of the columns.
fn row(report: &Report) -> HashMap<String, String> {
    let text = rendered(report, Format::Register);
    ::csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).next().unwrap()
}

#[test]
fn a_row_names_the_law_and_its_articles_and_no_column_those_of_another() {
    assert!(REGISTER.iter().all(|name| !name.contains("Art.") && !name.contains("Chapter")));
    for (law, ground, act, of_ground, of_basis) in [
        (
            "eu",
            "art-45",
            "eu: Regulation (EU) 2016/679 (GDPR)",
            "art-45: GDPR Art. 45: ",
            "GDPR Art. 6(1)(b)",
        ),
        (
            "uk",
            "art-49-1-d",
            "uk: UK GDPR and Data Protection Act 2018",
            "art-49-1-d: UK GDPR Art. 49(1)(d): important reasons of public interest that domestic law recognises",
            "UK GDPR Art. 6(1)(b)",
        ),
        (
            "ch",
            "art-45",
            "ch: Federal Act on Data Protection (FADP)",
            "art-45: FADP Art. 16(1): ",
            "FADP Art. 31(2)(a)",
        ),
    ] {
        let report = report(by(law, ground, &[]));
        let row = row(&report);
        assert_eq!(row["law"], act);
        assert!(row["ground"].starts_with(of_ground), "{}", row["ground"]);
        assert!(
            row["lawful basis"].starts_with(&format!("art-6-1-b: {of_basis}")),
            "{}",
            row["lawful basis"]
        );
        // The page and the table have the same words, and no line beside them that contradicts.
        for format in [Format::Html, Format::Csv] {
            let text = rendered(&report, format);
            assert!(text.contains(act) && text.contains(&row["ground"]), "{law} {format:?}");
            assert!(!text.contains("Chapter V GDPR") && !text.contains("law: "), "{law} {format:?}");
        }
    }
    let of_data_act = row(&report(by("eu", "data-act-32-3", &[])));
    assert_eq!(of_data_act["law"], "eu: Regulation (EU) 2023/2854 (Data Act)");
    assert!(of_data_act["ground"].starts_with("data-act-32-3: Data Act, Art. 32(3): "));
}

#[test]
fn a_condition_stands_behind_the_article_that_asks_for_it() {
    let condition = |law: &str, ground: &str| {
        row(&report(by(law, ground, &[("condition.met", "once only")])))["condition"].clone()
    };
    for (law, ground, expected) in [
        ("eu", "art-49-1-e", "GDPR Art. 49: once only"),
        ("uk", "art-49-1-e", "UK GDPR Art. 49: once only"),
        ("ch", "art-49-1-e", "FADP Art. 17: once only"),
        ("eu", "art-45", "GDPR Art. 45(3): once only"),
        ("eu", "data-act-32-3", "Data Act, Art. 32(3): once only"),
        ("eu", "art-46-2-a", "once only"),
    ] {
        assert_eq!(condition(law, ground), expected, "{law} {ground}");
    }
}

#[test]
fn a_row_has_what_a_transfer_hangs_on_of_its_own_recipient() {
    let particulars = [
        ("instrument.parties", "Example Ltd"),
        ("instrument.parties", "Example Inc., New York"),
        ("condition.customer_not_told", "a criminal investigation"),
        ("recipient 1: certification", "Swiss-US DPF, active"),
        ("recipient 1: checked_on", "2026-11-25 00:00:00 UTC"),
        ("recipient 2: certification", "another"),
        ("onward 1: name", "Laboratory"),
        ("onward 1: jurisdiction", "GB"),
        ("onward 1: ground", "art-45"),
        ("onward 1: safeguard", "the contract"),
        ("onward 1: checked_on", "2026-11-20 00:00:00 UTC"),
    ];
    let expected = [
        ("certification", "Swiss-US DPF, active"),
        ("certification looked up on", "2026-11-25 00:00:00 UTC"),
        ("parties", "Example Ltd; Example Inc., New York"),
        (
            "onward transfers",
            "Laboratory, GB, art-45: FADP Art. 16(1): the Federal Council has found the protection adequate (DPO Art. 8), \
             the contract, looked up on 2026-11-20 00:00:00 UTC",
        ),
        ("customer not told", "Data Act, Art. 32(5): a criminal investigation"),
    ];
    let mut it = by("ch", "art-45", &particulars);
    it.recipients.push(it.recipients[0].clone());
    let whole = report(it.clone());
    let first = row(&whole);
    let page = rendered(&whole, Format::Html);
    for (column, value) in expected {
        assert_eq!(first[column], value, "{column}");
        assert!(page.contains(value), "{column}");
    }
    // Of a confidential one the law and the ground are told to others, and nothing of the rest.
    it.confidential = true;
    let redacted = Report { redacted: true, ..report(it) };
    let row = row(&redacted);
    assert!(row["ground"].starts_with("art-45: FADP Art. 16(1)"), "{}", row["ground"]);
    assert_eq!(row["law"], "ch: Federal Act on Data Protection (FADP)");
    for (column, _) in expected {
        assert_eq!(row[column], WITHHELD, "{column}");
    }
}

/// A daemon of an earlier version has the law among the particulars alone, and that of the Union not at all.
#[test]
fn a_report_of_an_earlier_version_has_its_law() {
    let mut it = by("uk", "art-45", &[]);
    it.law.clear();
    assert_eq!(row(&report(it.clone()))["law"], "uk: UK GDPR and Data Protection Act 2018");
    it.particulars.clear();
    assert_eq!(row(&report(it))["law"], "eu: Regulation (EU) 2016/679 (GDPR)");
}
