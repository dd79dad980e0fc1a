//! The program of `record.notify`: it is told of a request that waits and of a window that closes, and of no text of the
//! document.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::Path;

use guard_tests::bed::{Bed, PATIENCE, PIN, exemption_within};
use guard_tests::proc::retry_until;
use guard_tests::signing::{APPROVAL, COMPLIANCE, LEGAL, Signers, sha256_of};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

#[test]
#[ignore = "needs root and BPF"]
fn the_program_learns_what_waits_and_what_ends_and_no_text_of_the_document() {
    let bed = Bed::new("notices").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    let told = bed.file("told");
    let script = format!("cat >> {}", told.display());
    bed.configure(&format!(
        "[record]\nnotify = [\"/bin/sh\", \"-c\", {script:?}]\n{PIN}{}",
        signers.config()
    ))
    .unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let now = Timestamp::now();
    // Three quarters of its window are over.
    let window = now - SignedDuration::from_mins(50)..now + SignedDuration::from_mins(10);
    let document = exemption_within("mlat-7", "mail", &["203.0.113.10/32"], window, None) + APPROVAL;
    let file = bed.write("mlat-7.toml", &document).unwrap();
    let notice = |what: &str| {
        retry_until(PATIENCE, what, || {
            let text = fs::read_to_string(&told).unwrap_or_default();
            let whole = text.rsplit_once('\n')?.0;
            let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.map(|line| line["notice"].clone()).find(|notice| notice["what"] == what)
        })
        .unwrap()
    };
    let refused = bed.ask(&["exemption", "load", &file]).unwrap();
    assert!(refused.complaint.contains("approvals are missing"), "{refused:?}");
    let waits = notice("request-waits");
    assert_eq!((&waits["exemption"], &waits["version"]), (&"mlat-7".into(), &1.into()));
    assert_eq!((&waits["by"], &waits["duty"]), (&Value::Null, &Value::Null));
    for who in [LEGAL, COMPLIANCE] {
        let key = signers.key(who).to_string_lossy().into_owned();
        let shown = sha256_of(Path::new(&file)).unwrap();
        bed.tell(&["exemption", "sign", &file, "--key", &key, "--yes", &shown]).unwrap();
    }
    bed.tell(&["exemption", "load", &file]).unwrap();
    let closes = notice("window-closes");
    assert_eq!(closes["exemption"], "mlat-7");
    assert!(closes["by"].as_str().unwrap().parse::<Timestamp>().unwrap() > now);

    // Of the document there is the id and the version: no value of it that a person wrote, and no recipient.
    let said = fs::read_to_string(&told).unwrap();
    // What stands between quotation marks.
    let parsed: Vec<&str> = document.split('"').skip(1).step_by(2).collect();
    assert!(parsed.len() > 10, "{parsed:?}");
    for value in parsed.iter().filter(|value| value.len() > 3 && **value != "mlat-7") {
        assert!(!said.contains(*value), "{value}: {said}");
    }
}
