//! What a signed document lacks that lifts an order.

use super::super::verify::tests::{Bed, DOCUMENT, now};
use super::super::verify::{self, Args};
use super::*;
use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, key, sign};

/// The exemption that passes again, which asks for no more than the rules do.
fn opened() -> String {
    DOCUMENT.replace("[[approval.required]]\nrole = \"dpo\"\ncount = 1\n", "")
}

/// A folder with a document that lifts an order on this, signed by Bob as legal; the config's second rule, for other
/// instruments, asks for a DPO.
fn bed(covers: &str) -> Bed {
    let more = "[[approval.rule]]\ninstruments = [\"scc\"]\nrequired = [{ role = \"dpo\", count = 1 }]\n";
    bed_of(covers, &opened(), more)
}

/// The same, where this exemption passes again, with more rules.
fn bed_of(covers: &str, opened: &str, more: &str) -> Bed {
    let bed = Bed::new();
    std::fs::write(bed.file("m.toml"), opened).unwrap();
    let config = std::fs::read_to_string(bed.file("policy.toml")).unwrap();
    std::fs::write(bed.file("policy.toml"), config + more).unwrap();
    let name = if covers == "exemption" { "m-1" } else { "mail" };
    let order = OrderSummary {
        order: "High Court 1".to_owned(),
        kind: "stay".to_owned(),
        covers: covers.to_owned(),
        name: name.to_owned(),
        at: now(),
        by: 0,
    };
    let opens = Opens { id: "m-1".to_owned(), version: 1, sha256: sha256(opened.as_bytes()) };
    let lift = Lift::of(&order, "it was lifted", Some("anne@example.org".to_owned()), vec![opens]).unwrap();
    let text = lift.to_toml();
    let signature = sign(key(OTHER_ED25519), ORDER, "sha512", text.as_bytes());
    std::fs::write(bed.file("lift.toml"), text).unwrap();
    std::fs::write(bed.file("lift.toml.bob.sig"), signature).unwrap();
    bed
}

fn verified(bed: &Bed, exemptions: &[&str], json: bool) -> Result<(Exit, String)> {
    let args = Args {
        file: bed.file("lift.toml"),
        signatures: Vec::new(),
        config: bed.file("policy.toml"),
        loader: Some("anne".to_owned()),
        exemptions: exemptions.iter().map(|name| bed.file(name)).collect(),
        json,
    };
    let mut out = Vec::new();
    let exit = verify::run(&args, now(), &mut out)?;
    Ok((exit, String::from_utf8(out).unwrap()))
}

/// What is shown, without the breaks of its lines.
fn one_line(shown: &str) -> String {
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The document asks for a DPO itself, whom no rule asks for. The daemon holds it against that too.
#[test]
fn what_is_approved_by_the_rules_alone_is_told_as_that_and_what_passes_again_may_ask_for_more() {
    for covers in ["pin", "recipient", "exemption"] {
        let bed = bed_of(covers, DOCUMENT, "");
        let (exit, shown) = verified(&bed, &[], false).unwrap();
        let told = one_line(&shown);
        assert_eq!(exit, Exit::Ok, "{shown}");
        assert!(
            told.contains("lift.toml: approved by the config's rules, by bob@example.org as legal"),
            "{told}"
        );
        assert!(!told.contains("lift.toml: approved, "), "{told}");
        assert!(told.contains("may ask for more itself: m-1, version 1. `--exemption FILE`"), "{told}");
        assert!(told.ends_with("`exemption lift FILE --dry-run` asks the daemon"), "{told}");
        let object: Value = serde_json::from_str(&verified(&bed, &[], true).unwrap().1).unwrap();
        assert_eq!((&object["approved"], &object["not_given"]), (&Value::Null, &json!(["m-1, version 1"])));
        let (exit, shown) = verified(&bed, &["m.toml"], false).unwrap();
        assert_eq!(exit, Exit::Failed, "{shown}");
        assert!(shown.ends_with("lift.toml: not approved: approvals are missing: 1 as \"dpo\"\n"), "{shown}");
        let text = std::fs::read(bed.file("lift.toml")).unwrap();
        std::fs::write(bed.file("lift.toml.anne.sig"), sign(key(ED25519), ORDER, "sha512", &text)).unwrap();
        let (exit, shown) = verified(&bed, &["m.toml"], false).unwrap();
        assert_eq!(exit, Exit::Ok, "{shown}");
        assert!(shown.contains("lift.toml: approved, by bob@example.org as legal"), "{shown}");
        let object: Value = serde_json::from_str(&verified(&bed, &["m.toml"], true).unwrap().1).unwrap();
        assert_eq!((&object["approved"], &object["not_given"]), (&json!(true), &json!([])));
        assert_eq!(object["by_all_rules"], json!(covers != "exemption"));
    }
}

#[test]
fn what_is_lacking_is_told_by_rule_and_the_exemption_s_document_says_which_rules_count() {
    let bed = bed("exemption");
    let (exit, shown) = verified(&bed, &[], false).unwrap();
    assert_eq!(exit, Exit::Failed, "{shown}");
    assert!(shown.contains("\nby the rule for every pin: approved\n"), "{shown}");
    let lacks = "\nby the rule for every pin with scc: approvals are missing: 1 as \"dpo\"\n";
    assert!(shown.contains(lacks) && one_line(&shown).contains("`--exemption FILE`"), "{shown}");
    assert!(shown.lines().all(|line| line.len() <= 80 || line.contains("lift.toml")), "{shown}");
    let (exit, shown) = verified(&bed, &["m.toml"], false).unwrap();
    assert_eq!(exit, Exit::Ok, "{shown}");
    assert!(shown.ends_with("lift.toml: approved, by bob@example.org as legal\n"), "{shown}");
    let object: Value = serde_json::from_str(&verified(&bed, &[], true).unwrap().1).unwrap();
    assert_eq!((&object["approved"], &object["by_all_rules"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&object["rules"][0]["approved"], &object["rules"][1]["code"]),
        (&json!(true), &json!("approvals-missing"))
    );
    assert_eq!(object["rules"][1]["missing"], json!([{"role": "dpo", "count": 1}]));
}

#[test]
fn a_document_that_does_not_pass_again_says_nothing_of_the_rules() {
    let one = bed("exemption");
    std::fs::write(one.file("other.toml"), DOCUMENT.replace("case 5\"\ndata", "case 6\"\ndata")).unwrap();
    let refused = verified(&one, &["other.toml"], false).unwrap_err().to_string();
    assert!(refused.contains("is none that passes again"), "{refused}");
    // An order on a pin takes every rule, whatever passes again.
    let of_pin = bed("pin");
    for given in [&["m.toml"][..], &[]] {
        assert_eq!(verified(&of_pin, given, false).unwrap().0, Exit::Failed);
    }
    std::fs::write(of_pin.file("other.toml"), DOCUMENT).unwrap();
    let refused = verified(&of_pin, &["other.toml"], false).unwrap_err().to_string();
    assert!(refused.contains("is none that passes again"), "{refused}");
}

#[test]
fn a_document_that_does_not_say_who_wrote_it_is_warned_of_where_it_is_written_and_where_it_is_signed() {
    let bed = bed("exemption");
    let file = bed.file("lift.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let nobodys = text.replace("submitter = \"anne@example.org\"\n", "");
    assert_ne!(nobodys, text);
    for (text, is_warned_of) in [(text, false), (nobodys, true)] {
        let lift = Lift::parse(text.as_bytes()).unwrap();
        let told = |json| {
            let mut out = Vec::new();
            told_of_written((&file, &lift), "00", json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let shown = told(false);
        let warning = "\nwarning: it does not say who wrote it, and where the config asks for approvals it lifts nothing";
        assert_eq!(shown.contains(warning), is_warned_of, "{shown}");
        let warnings = signable(&file, text.into_bytes()).unwrap().warnings;
        assert_eq!(warnings.len(), usize::from(is_warned_of), "{warnings:?}");
        let object: Value = serde_json::from_str(&told(true)).unwrap();
        assert_eq!(object["warnings"], json!(warnings));
    }
}
