//! One line: what goes in comes out, in one line of bounded length.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::{any_record, record, trail};
use crate::audit::record::{LINE_BYTES, Stored, TEXT_BYTES};
use crate::audit::{Head, Record, next_line, verify};

proptest! {
    #[test]
    fn a_line_says_what_the_record_says(records in prop::collection::vec(any_record(), 1..4)) {
        let (lines, head) = trail(&records);
        for (number, (line, record)) in (1..).zip(lines.iter().zip(&records)) {
            prop_assert!(line.chars().all(|c| !c.is_ascii_control()));
            let stored = Stored::read(line.as_bytes()).unwrap();
            let Record { time, kind, who, subject, why, detail } = record;
            prop_assert_eq!(stored.sequence, number);
            prop_assert_eq!(
                (&stored.time, stored.kind.as_str(), &stored.who, &stored.subject, &stored.why, &stored.detail),
                (time, kind.name(), who, subject, why, detail)
            );
        }
        prop_assert_eq!(verify(&lines, &[]), Ok(head));
        prop_assert_eq!(verify(&lines, &[head, Head::START]), Ok(head));
    }

    #[test]
    fn the_next_line_is_the_one_that_a_head_appends(records in prop::collection::vec(any_record(), 1..4)) {
        let (lines, _) = trail(&records);
        let mut previous: Option<&str> = None;
        for (line, record) in lines.iter().zip(&records) {
            prop_assert_eq!(&next_line(previous, record).unwrap(), line);
            previous = Some(line);
        }
        let after_no_record = next_line(Some("{}"), &records[0]);
        prop_assert!(after_no_record.is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Stored::read(&line).is_err());
        prop_assert!(verify([&line], &[]).is_err());
    }
}

#[test]
fn a_line_is_as_documented() {
    let (lines, head) = trail(&[record(5)]);
    let expected = r#"{"sequence":1,"time":"2026-11-20T10:00:00Z","previous":"0000000000000000000000000000000000000000000000000000000000000000","kind":"load","who":{"uid":1001,"user":"aoife","pid":77},"subject":"mlat-5","why":"stayed by the court","detail":{"number":5}}"#;
    assert_eq!(lines, [expected]);
    let next = head.append(&record(6)).0;
    assert!(next.starts_with(r#"{"sequence":2,"#) && next.contains(&head.hash_text()), "{next}");
}

#[test]
fn a_line_is_bounded_and_says_what_it_left_out() {
    let long = "\u{1}\u{20ac}".repeat(10_000);
    let mut record = record(0);
    record.who.user = Some(long.clone());
    (record.subject, record.why) = (long.clone(), long.clone());
    record.detail = Map::from_iter([("text".to_owned(), json!(long))]);
    let (line, head) = Head::START.append(&record);
    assert!(line.len() <= LINE_BYTES);
    let stored = Stored::read(line.as_bytes()).unwrap();
    assert!(stored.why.ends_with("bytes more]") && stored.why.len() < TEXT_BYTES + 40);
    assert!(stored.detail["left_out_bytes"].as_u64() > Some(40_000));
    assert_eq!(verify([&line], &[]), Ok(head));
    assert!(Stored::read(&vec![b' '; LINE_BYTES + 1]).is_err());
}
