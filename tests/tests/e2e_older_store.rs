//! An older store that is put back, judged by what a client in the US gets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::PathBuf;

use guard_tests::bed::US;
use guard_tests::proc::Process;
use guard_tests::service::Item;
use guard_tests::story::{Fetched, Story, request};
use guard_user::health::ProblemCode;
use guard_user::report::Report;

const WHOLE: [Fetched; 2] = [Fetched::Whole; 2];
const NOTHING: [Fetched; 2] = [Fetched::Nothing; 2];

/// A host whose exemption `one` was open, and is revoked since, and another one let as much through from its place in the kernel's
/// tables; the store of before is put back. The daemon is started after `more` was done as well. Last the bytes that `one` let
/// through before the store was copied.
fn put_back(label: &str, more: impl FnOnce(&Story)) -> (Story, Process, u64) {
    let story = Story::new(label).unwrap();
    let store: PathBuf = story.bed.file("state").join("store.redb");
    let copy = story.bed.file("copy.redb");
    let daemon = story.bed.start(&[]).unwrap();
    story.load("one", &request("one", 1)).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    let before = story.bed.exemption("one").unwrap().used_bytes;
    drop(daemon);
    fs::copy(&store, &copy).unwrap();
    let daemon = story.bed.start(&[]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE, "a restart changes nothing");
    story.bed.tell(&["exemption", "revoke", "one", "--why", "the case is closed"]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    story.load("between", &request("between", 1)).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
    drop(daemon);
    fs::copy(&copy, &store).unwrap();
    more(&story);
    let daemon = story.bed.start(&[]).unwrap();
    (story, daemon, before)
}

fn older(story: &Story) -> Option<String> {
    let problems = story.bed.status().unwrap().problems;
    problems.into_iter().find(|it| it.code == ProblemCode::StoreOlder).map(|it| it.message)
}

/// The older store has the amounts of before: what the kernel counted since is there as nobody's, and the gap is named.
fn the_report_has_what_the_store_lacks(story: &Story, before: u64) {
    let text = story.bed.tell(&["report", "--format", "json"]).unwrap();
    let report: Report = serde_json::from_str(&text).unwrap();
    assert!(report.gaps.iter().any(|gap| gap.starts_with("an older store")), "{:?}", report.gaps);
    let exempted = report.traffic.iter().filter(|row| row.reason == "exempt");
    let counted: u64 = exempted.map(|row| row.bytes).sum();
    let used: u64 = report.exemptions.iter().flat_map(|it| &it.use_by_day).map(|day| day.bytes).sum();
    let lost: u64 = report.unattributed.iter().map(|it| it.bytes).sum();
    assert_eq!(used, before, "no other one's bytes are of the one that came back");
    assert_eq!(counted, used + lost);
    assert!(lost > before);
    let register = story.bed.tell(&["report", "--format", "register"]).unwrap();
    assert!(
        register.contains("an older store") && register.contains("attributed to no exemption"),
        "{register}"
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn what_was_revoked_is_not_open_again_by_an_older_store() {
    let (story, daemon, before) = put_back("older-known", |_| {});
    let message = older(&story).unwrap();
    assert!(message.contains("revoked (1)"), "{message}");
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    let answer = story.try_load(&story.bed.file("one.toml").to_string_lossy()).unwrap();
    assert_eq!(answer.status.code(), Some(2), "the same document is not loaded again: {answer:?}");
    let record = story.audit("older-store").unwrap();
    assert_eq!((record.len(), &record[0]["detail"]["known"]), (1, &true.into()), "{record:?}");
    the_report_has_what_the_store_lacks(&story, before);
    story.load("two", &request("two", 1)).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE, "what is approved anew passes");
    drop(daemon);
    let _daemon = story.bed.start(&[]).unwrap();
    assert_eq!((older(&story), story.fetch(US, Item::Mailbox).unwrap()), (None, WHOLE));
}

#[test]
#[ignore = "needs root and BPF"]
fn without_the_file_of_the_mark_nothing_is_loaded_until_somebody_lifts_that() {
    let (story, _daemon, _) = put_back("older-unknown", |story| {
        fs::remove_dir_all(story.bed.file("state-mark")).unwrap();
    });
    let message = older(&story).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING);
    let file = story.approved("two", &request("two", 1)).unwrap();
    let answer = story.try_load(&file).unwrap();
    assert_eq!(answer.status.code(), Some(2), "{answer:?}");
    assert!(answer.complaint.contains("an older store was put back"), "{answer:?}");
    // As the problem says it.
    let order = message.split('"').nth(1).unwrap();
    story.lift("lift", &["exemption", "resume", "--all", "--order", order, "--why", "looked at it"]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), NOTHING, "that opens nothing");
    story.bed.tell(&["exemption", "load", &file]).unwrap();
    assert_eq!(story.fetch(US, Item::Mailbox).unwrap(), WHOLE);
}
