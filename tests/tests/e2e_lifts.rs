//! Orders are lifted by signed documents alone, judged by what a client in the US still gets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;

use guard_tests::bed::US;
use guard_tests::service::Item;
use guard_tests::signing::{COMPLIANCE, LEGAL, STRANGER};
use guard_tests::story::{Fetched, Story, request};

const WHOLE: [Fetched; 2] = [Fetched::Whole; 2];
const NOTHING: [Fetched; 2] = [Fetched::Nothing; 2];
const REFERENCE: &str = "High Court, 2026/5512";
const RESUME: [&str; 5] = ["exemption", "resume", "one", "--why", "lifted on appeal"];

/// Has the daemon refuse a command, with this code.
fn refused(story: &Story, command: &[&str], code: &str) {
    let answer = story.bed.ask(&[command, &["--json"]].concat()).unwrap();
    assert!(!answer.status.success(), "{command:?}: {answer:?}");
    assert!(answer.out.contains(&format!("\"{code}\"")), "{code}: {answer:?}");
}

fn stay(story: &Story, order: &str) {
    story.bed.tell(&["exemption", "stay", "one", "--order", order]).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_stay_is_lifted_by_those_who_could_have_approved_the_transfer_and_once() {
    let story = Story::new("lifts-stay").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    story.load("one", &request("one", 1)).unwrap();
    stay(&story, REFERENCE);
    refused(&story, &RESUME, "lift-needed");
    refused(&story, &[&RESUME[..], &["--dry-run"]].concat(), "lift-needed");
    let file = story.lift_document("lift", &RESUME).unwrap();
    let lift = ["exemption", "lift", file.as_str()];
    let dry_run = [&lift[..], &["--dry-run"]].concat();
    refused(&story, &lift, "approvals-missing");
    refused(&story, &dry_run, "approvals-missing");
    story.sign(&file, LEGAL).unwrap();
    refused(&story, &lift, "approvals-missing");
    // Who is nobody's, who signed for something else, and who signed another text.
    story.sign(&file, STRANGER).unwrap();
    refused(&story, &lift, "unknown-key");
    fs::remove_file(format!("{file}.mallory.sig")).unwrap();
    let key = story.signers.key(COMPLIANCE).to_string_lossy().into_owned();
    let sign = |namespace: &str| {
        let mut keygen = std::process::Command::new("ssh-keygen");
        keygen.args(["-q", "-Y", "sign", "-n", namespace, "-f", &key, &file]);
        assert!(keygen.status().unwrap().success());
    };
    sign("borderguard-exemption");
    refused(&story, &lift, "wrong-namespace");
    fs::remove_file(format!("{file}.sig")).unwrap();
    sign("borderguard-order");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("lifted on appeal", "lifted")).unwrap();
    refused(&story, &lift, "altered");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    fs::write(&file, &text).unwrap();
    let verified = story.bed.ask(&["exemption", "verify", &file, "--loader", "root", "--json"]).unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let said = story.bed.tell(&dry_run).unwrap();
    assert!(said.contains("nothing was changed: would be resumed: one"), "{said}");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    let said = story.bed.tell(&lift).unwrap();
    assert!(said.contains("resumed: one"), "{said}");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    let record = &story.audit("resume").unwrap()[0];
    let by = record["detail"]["approved_by"].as_array().unwrap();
    let by: Vec<&str> = by.iter().map(|it| it["identity"].as_str().unwrap()).collect();
    assert!(by.len() == 2 && by.contains(&LEGAL) && by.contains(&COMPLIANCE), "{record}");
    assert_eq!(record["detail"]["document_sha256"].as_str().unwrap().len(), 64);
    // The same court orders the same again: what lifted the first lifts it no more.
    refused(&story, &lift, "no-such-order");
    stay(&story, REFERENCE);
    refused(&story, &lift, "lift-of-another-order");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_its_signers_did_not_see_does_not_pass_again_by_it() {
    let story = Story::new("lifts-more").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    story.load("one", &request("one", 1)).unwrap();
    story.bed.tell(&["exemption", "stay", "--all", "--order", "all of it"]).unwrap();
    stay(&story, REFERENCE);
    let all = ["exemption", "resume", "--all", "--why", "lifted"];
    // While the other order stands nothing passes again by this one, and that is what is signed.
    let file = story.lift_document("all", &all).unwrap();
    for who in [LEGAL, COMPLIANCE] {
        story.sign(&file, who).unwrap();
    }
    story.lift("one-lift", &[&RESUME[..], &["--order", REFERENCE]].concat()).unwrap();
    refused(&story, &["exemption", "lift", &file], "lift-opens-more");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    story.lift("all-again", &all).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
}

#[test]
#[ignore = "needs root and BPF"]
fn an_instrument_that_fell_is_restored_by_what_every_rule_asks_for() {
    let story = Story::new("lifts-fallen").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    let text = request("one", 1);
    story.load("one", &text).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"');
    story.bed.tell(&["instrument", "invalidate", name, "--why", "denounced"]).unwrap();
    let next = story.approved("two", &request("two", 1)).unwrap();
    let restore = ["instrument", "restore", name, "--why", "in force again"];
    refused(&story, &restore, "lift-needed");
    refused(&story, &[&restore[..], &["--dry-run"]].concat(), "lift-needed");
    let file = story.lift_document("lift", &restore).unwrap();
    story.sign(&file, LEGAL).unwrap();
    refused(&story, &["exemption", "lift", &file], "approvals-missing");
    assert!(story.try_load(&next).unwrap().complaint.contains("has fallen"));
    story.sign(&file, COMPLIANCE).unwrap();
    story.bed.tell(&["exemption", "lift", &file]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "what was closed with it stays so");
    story.bed.tell(&["exemption", "load", &next]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    assert_eq!(story.audit("resume").unwrap().len(), 1);
    // What fell by it and what rests on it again have both on record.
    let register = story.bed.tell(&["report", "--format", "register"]).unwrap();
    for words in ["denounced, on the instrument", "lifts the order denounced on the instrument"] {
        assert!(register.matches(words).count() >= 2, "{words}: {register}");
    }
    assert!(register.contains("; by the document ") && register.contains("; signed by "), "{register}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_key_that_is_revoked_lifts_nothing() {
    let story = Story::new("lifts-revoked").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    story.bed.tell(&["exemption", "stay", "--all", "--order", "all of it"]).unwrap();
    let all = ["exemption", "resume", "--all", "--why", "lifted"];
    let file = story.lift_document("all", &all).unwrap();
    for who in [LEGAL, COMPLIANCE] {
        story.sign(&file, who).unwrap();
    }
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen.arg("-lf").arg(story.signers.key(LEGAL).with_added_extension("pub"));
    let printed = String::from_utf8(keygen.output().unwrap().stdout).unwrap();
    let fingerprint = printed.split(' ').nth(1).unwrap();
    story.bed.tell(&["approval", "revoke", fingerprint, "--why", "the laptop was stolen"]).unwrap();
    refused(&story, &["exemption", "lift", &file], "revoked-key");
    assert!(story.audit("resume").unwrap().is_empty());
    let refusals = story.audit("refusal").unwrap();
    assert!(refusals.iter().any(|it| it.to_string().contains(fingerprint)), "{refusals:?}");
}
