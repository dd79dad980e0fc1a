//! What is under a legal hold, and its copies.

use std::fs;

use guard_common::verdict::{Reason, Verdict};
use serde_json::Value;

use super::start;
use crate::events::event::Event;
use crate::events::{Entry, tests::dropped};
use crate::history::hold::{Copied, Copies, Held, Transfer};

fn held() -> Held {
    let to = |cidrs: &[&str], jurisdiction: &str| Transfer {
        pins: vec!["mail".into()],
        jurisdiction: jurisdiction.into(),
        cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    };
    Held { name: "mlat-1".into(), transfers: vec![to(&["198.51.100.0/24"], "US"), to(&[], "BR")] }
}

#[test]
fn a_hold_covers_its_exemption_its_pin_and_what_was_denied_to_its_recipients() {
    let exempted = Event {
        verdict: Verdict::Pass,
        reason: Reason::Exempt,
        exemption: Some("mlat-1".into()),
        ..dropped()
    };
    assert!(held().covers(&exempted));
    assert!(!held().covers(&Event { exemption: Some("mlat-2".into()), ..exempted.clone() }));
    assert!(held().covers(&dropped()), "denied from its pin to its recipient");
    let elsewhere = Event { destination: None, ..dropped() };
    assert!(!held().covers(&elsewhere));
    assert!(
        held().covers(&Event { jurisdiction: "BR".parse().unwrap(), ..elsewhere.clone() }),
        "to anybody there"
    );
    let of_others = Event { pins: vec!["etcd".into()], tagged: vec!["etcd".into()], ..dropped() };
    assert!(!held().covers(&of_others));
    let by_pin = Held { name: "etcd".into(), transfers: Vec::new() };
    assert!(by_pin.covers(&of_others) && !by_pin.covers(&dropped()));
    // What its pins permit is no transfer of the exemption's.
    assert!(!held().covers(&Event { verdict: Verdict::Pass, reason: Reason::Failsafe, ..dropped() }));
}

#[test]
fn what_has_a_number_for_a_name_may_be_under_a_hold() {
    let by_pin = Held { name: "etcd".into(), transfers: Vec::new() };
    let unnamed =
        Event { verdict: Verdict::Pass, reason: Reason::Exempt, exemption: Some("#0".into()), ..dropped() };
    assert!(!held().covers(&unnamed) && held().may_cover(&unnamed) && !by_pin.may_cover(&unnamed));
    let elsewhere = Event { destination: None, jurisdiction: "JP".parse().unwrap(), ..unnamed.clone() };
    assert!(!held().may_cover(&elsewhere), "no recipient of it is there");
    let no_pins = Event { pins: vec!["#1".into()], tagged: vec!["#1".into()], ..unnamed };
    assert!(by_pin.may_cover(&no_pins));
    assert!(!held().may_cover(&dropped()), "it has names");
}

#[test]
fn copies_are_whole_lines_and_never_more_than_their_bound() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("hold");
    let most = 64 << 10;
    let mut copied = 0;
    for run in 0..3 {
        let session = start().checked_add(jiff::SignedDuration::from_secs(run)).unwrap();
        let mut copies = Copies::open(&folder, most, session).unwrap();
        for number in 1..=30 {
            let event = Event { sequence: number, ..dropped() };
            match copies.copy(&Entry::Flow(event)).unwrap() {
                Copied::Yes => copied += 1,
                Copied::Full => break,
            }
        }
        copies.sync().unwrap();
    }
    let mut lines = 0;
    let mut bytes = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        bytes += text.len() as u64;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["kind"], &line["process"]["command"]), (&"event".into(), &"imap".into()));
            lines += 1;
        }
    }
    assert_eq!(lines, copied);
    assert!(bytes <= most && (30..90).contains(&lines), "{bytes} bytes, {lines} lines");
    // What is full stays full, and nothing of it is removed.
    let mut copies = Copies::open(&folder, most, start()).unwrap();
    while copies.copy(&Entry::Flow(dropped())).unwrap() == Copied::Yes {}
    assert_eq!(copies.copy(&Entry::Flow(dropped())).unwrap(), Copied::Full);
}

#[test]
fn a_folder_of_copies_that_is_removed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("hold");
    let mut copies = Copies::open(&folder, 1 << 20, start()).unwrap();
    assert_eq!(copies.copy(&Entry::Flow(dropped())).unwrap(), Copied::Yes);
    copies.sync().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(copies.sync().is_err());
}
