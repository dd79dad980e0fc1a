//! A signer's key that is gone, and one that is revoked, judged by what a client in the US still gets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{Family, US};
use guard_tests::proc::retry_until;
use guard_tests::service::Item;
use guard_tests::signing::{COMPLIANCE, LEGAL};
use guard_tests::story::{Fetched, Story, request};
use guard_user::health::ProblemCode;

/// How long the daemon may take to see that the file of allowed signers was changed.
const LOOKS: Duration = Duration::from_secs(20);
const WHOLE: [Fetched; 2] = [Fetched::Whole; 2];
const NOTHING: [Fetched; 2] = [Fetched::Nothing; 2];

/// The fingerprint of a signer's key, as OpenSSH says it.
fn fingerprint(story: &Story, who: &str) -> String {
    let public = story.signers.key(who).with_added_extension("pub");
    let said = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

/// What `status` says of a code, once it says anything, or nothing any more.
fn told(story: &Story, code: ProblemCode, is_told: bool) -> String {
    let message = || {
        let status = story.bed.status().ok()?;
        let found = status.problems.iter().find(|problem| problem.code == code);
        let message = found.map(|problem| problem.message.clone());
        (message.is_some() == is_told).then(|| message.unwrap_or_default())
    };
    retry_until(LOOKS, &format!("{code:?}: {is_told}"), message).unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_key_that_is_gone_is_told_until_it_is_back() {
    let story = Story::new("keys-gone").unwrap();
    let daemon = story.bed.start(&[]).unwrap();
    story.load("one", &request("one", 1)).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    let file = story.signers.key("allowed_signers");
    let all = fs::read_to_string(&file).unwrap();
    let without: String =
        all.lines().filter(|line| !line.starts_with(LEGAL)).map(|line| format!("{line}\n")).collect();
    fs::write(&file, &without).unwrap();
    let message = told(&story, ProblemCode::ApprovalsMissing, true);
    assert!(message.contains(&fingerprint(&story, LEGAL)) && message.contains(LEGAL), "{message}");
    assert!(message.contains("1 as \"legal\""), "{message}");
    fs::write(&file, "no line of a key\n").unwrap();
    let message = told(&story, ProblemCode::SignersUnreadable, true);
    assert!(message.contains("line 1"), "{message}");
    fs::write(&file, &all).unwrap();
    told(&story, ProblemCode::SignersUnreadable, false);
    told(&story, ProblemCode::ApprovalsMissing, false);
    let seen = story.audit("signers").unwrap();
    let keys: Vec<usize> =
        seen.iter().map(|record| record["detail"]["keys"].as_array().unwrap().len()).collect();
    assert_eq!(keys, [2, 1, 2], "each change is in the trail: {seen:?}");
    drop(daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_key_that_is_revoked_closes_what_it_approved_for_good() {
    let story = Story::new("keys-revoked").unwrap();
    let daemon = story.bed.start(&[]).unwrap();
    story.load("one", &request("one", 1)).unwrap();
    let running = story.ask(US, Family::V4, Item::Archive).unwrap();
    running.wait_past(500_000).unwrap();
    let key = fingerprint(&story, LEGAL);
    let revoke = ["approval", "revoke", &key, "--why", "the laptop was stolen"];
    let planned = story.bed.tell(&[&revoke[..], &["--dry-run"]].concat()).unwrap();
    assert!(planned.contains("one") && running.goes_on(), "a dry run changes nothing: {planned}");
    story.bed.tell(&revoke).unwrap();
    let closed = story.counted("exempt").unwrap();
    assert_eq!(running.outcome().unwrap().code, Some(56), "the transfer is cut");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    assert_eq!(story.counted("exempt").unwrap(), closed, "not a packet by it");

    let again = story.approved("again", &request("one", 2)).unwrap();
    let other = story.approved("other", &request("other", 1)).unwrap();
    let refused = |file: &str| {
        let answer = story.try_load(file).unwrap();
        assert_eq!(answer.status.code(), Some(2), "{answer:?}");
        assert!(answer.complaint.contains(&key) && answer.complaint.contains("stolen"), "{answer:?}");
    };
    refused(&again);
    refused(&other);
    drop(daemon);
    let _daemon = story.bed.start(&[]).unwrap();
    refused(&other);
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "after a restart too");
    let list = story.bed.tell(&["approval", "list"]).unwrap();
    assert!(list.contains(&key) && list.contains("stolen"), "{list}");
    let twice = story.bed.ask(&revoke).unwrap();
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
    let record = story.audit("revoke-key").unwrap();
    assert_eq!((record.len(), &record[0]["subject"]), (1, &"one".into()), "{record:?}");
    // The other signer's key is as good as before.
    let last = story.bed.tell(&["approval", "revoke", &fingerprint(&story, COMPLIANCE), "--why", "x"]);
    let words = last.unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("approves nothing any more"), "{words}");
}
