//! Emergencies, which a quorum of their own opens, and documents for other hosts, judged by what a client in the US gets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;

use guard_tests::bed::{self, US};
use guard_tests::service::Item;
use guard_tests::signing::{COMPLIANCE, LEGAL, SUBMITTER};
use guard_tests::story::{Fetched, Story, pin, request};
use jiff::{SignedDuration, Timestamp};

const WHOLE: [Fetched; 2] = [Fetched::Whole; 2];
const NOTHING: [Fetched; 2] = [Fetched::Nothing; 2];
const QUORUM: &str = "\n[approval.emergency]\nrequired = [{ role = \"compliance\", count = 1 }]\n";

/// A document that asks for no approval itself, valid for this long from so many seconds on.
fn document(id: &str, begins_in: i64, minutes: i64) -> String {
    let begin = Timestamp::now() + SignedDuration::from_secs(begins_in);
    let cidrs = ["203.0.113.10/32", "2001:db8:3::10/128"];
    let window = begin..begin + SignedDuration::from_mins(minutes);
    bed::exemption_within(id, "mail", &cidrs, window, None)
        + &format!("\n[approval]\nsubmitter = \"{SUBMITTER}\"\n")
}

/// The same as an emergency.
fn emergency(id: &str, begins_in: i64, minutes: i64) -> String {
    document(id, begins_in, minutes).replacen(
        "\npins",
        "\nemergency = \"a ship sends distress calls\"\npins",
        1,
    )
}

/// A story whose config has the quorum for emergencies, and perhaps keys of `[host]`.
fn story(label: &str, host: &str) -> Story {
    let story = Story::new(label).unwrap();
    story.bed.configure(&format!("{}{}{QUORUM}", pin(), story.signers.config())).unwrap();
    let text = fs::read_to_string(story.bed.config()).unwrap();
    fs::write(story.bed.config(), text.replacen("[host]\n", &format!("[host]\n{host}"), 1)).unwrap();
    story
}

/// Has one person sign a document, and the daemon refuse it with this code.
fn refused(story: &Story, name: &str, text: &str, code: &str) {
    let file = story.written(name, text).unwrap();
    story.sign(&file, COMPLIANCE).unwrap();
    refused_as_it_is(story, &file, code);
}

fn refused_as_it_is(story: &Story, file: &str, code: &str) {
    let answer = story.bed.ask(&["exemption", "load", file, "--json"]).unwrap();
    assert!(!answer.status.success(), "{file}: {answer:?}");
    assert!(answer.out.contains(&format!("\"{code}\"")), "{file}: {code}: {answer:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn an_emergency_opens_by_its_own_quorum_now_once_and_is_told() {
    let story = story("emergency", "");
    let _daemon = story.bed.start(&[]).unwrap();
    refused(&story, "no-emergency", &document("usual", -1, 10), "approvals-missing");
    // Ahead of time they could be stored up; one that begins just now may have been signed some minutes ago.
    refused(&story, "later", &emergency("later", 600, 10), "emergency-later");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    let file = story.written("first", &emergency("first", -1, 30)).unwrap();
    refused_as_it_is(&story, &file, "approvals-missing");
    story.sign(&file, COMPLIANCE).unwrap();
    story.bed.tell(&["exemption", "load", &file]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    let status = story.bed.ask(&["status", "--json"]).unwrap();
    assert!(status.out.contains("emergency-open"), "{status:?}");
    assert_eq!(story.audit("load").unwrap().last().unwrap()["detail"]["emergency"], true);
    // Neither another nor a new version of it goes on where it ends, also when it is closed and after a restart.
    let next = emergency("first", -1, 30).replace("version = 1", "version = 2\nreplaces = 1");
    refused(&story, "next", &next, "emergency-again");
    story.bed.tell(&["exemption", "revoke", "first", "--why", "it is over"]).unwrap();
    refused(&story, "second", &emergency("second", -1, 10), "emergency-again");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    // What has to go on is approved by the rules, and an emergency does not stand in its way.
    story.load("by-rules", &request("by-rules", 1)).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
}

#[test]
#[ignore = "needs root and BPF"]
fn an_emergency_that_opened_is_remembered_over_a_restart() {
    let story = story("emergency-restart", "");
    let daemon = story.bed.start(&[]).unwrap();
    let file = story.written("first", &emergency("first", -1, 30)).unwrap();
    story.sign(&file, COMPLIANCE).unwrap();
    story.bed.tell(&["exemption", "load", &file]).unwrap();
    drop(daemon);
    let _daemon = story.bed.start(&[]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE, "it is open still");
    refused(&story, "second", &emergency("second", -1, 10), "emergency-again");
}

#[test]
#[ignore = "needs root and BPF"]
fn where_the_store_was_lost_no_emergency_opens_for_what_there_may_have_been() {
    let story = story("emergency-lost", "");
    let daemon = story.bed.start(&[]).unwrap();
    let file = story.written("first", &emergency("first", -1, 30)).unwrap();
    story.sign(&file, COMPLIANCE).unwrap();
    story.bed.tell(&["exemption", "load", &file]).unwrap();
    drop(daemon);
    fs::remove_file(story.bed.file("state").join("store.redb")).unwrap();
    for id in ["second", "third"] {
        let _daemon = story.bed.start(&[]).unwrap();
        refused(&story, id, &emergency(id, -1, 10), "emergency-again");
        assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn without_a_quorum_for_it_no_document_is_an_emergency() {
    let story = Story::new("emergency-none").unwrap();
    let _daemon = story.bed.start(&[]).unwrap();
    let file = story.approved("first", &emergency("first", -1, 10)).unwrap();
    refused_as_it_is(&story, &file, "no-emergency");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_document_opens_on_the_hosts_and_fleets_that_its_signers_saw() {
    let story = story("hosts", "fleet = \"mail-eu\"\n");
    let _daemon = story.bed.start(&[]).unwrap();
    let text = request("one", 1);
    let hosts = text.lines().find(|line| line.starts_with("hosts")).unwrap();
    let with = |name: &str, hosts_of: &str| story.approved(name, &text.replacen(hosts, hosts_of, 1)).unwrap();
    refused_as_it_is(&story, &with("none", ""), "no-hosts");
    refused_as_it_is(&story, &with("other", "hosts = [\"storage-9\"]"), "other-host");
    // Another fleet, and a fleet of another writing.
    refused_as_it_is(&story, &with("fleet", "hosts = [\"mail-us\", \"Mail-EU\"]"), "other-host");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    let file = with("ours", "hosts = [\"mail-eu\"]");
    let shown = story.bed.tell(&["exemption", "verify", &file, "--loader", "root"]).unwrap();
    assert!(shown.contains(LEGAL), "{shown}");
    story.bed.tell(&["exemption", "load", &file]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
}
