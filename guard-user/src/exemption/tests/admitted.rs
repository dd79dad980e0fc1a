//! What a document is held against when it is new, and not when it was loaded before.

use std::path::Path;

use super::errors::errors;
use super::{GOOD, NOW, good_with, time};
use crate::approval::Widest;
use crate::exemption::{Surroundings, parse};

#[test]
fn a_large_network_needs_a_word_on_why_unless_it_was_loaded() {
    let large = good_with("203.0.113.0/24", "203.0.0.0/12");
    assert_eq!(errors(&large)[0].0, "large-network");
    let said = large.replacen("\"203.0.0.0/12\"]", "\"203.0.0.0/12\"]\nlarge_network = \"an exchange\"", 1);
    assert_eq!(errors(&said), []);
    assert!(parse(Path::new("x.toml"), large.as_bytes(), &Surroundings::default()).is_ok());
    // As many as a /16 are taken, however they are cut, and what is nested counts once.
    let fits = good_with(
        "[\"203.0.113.0/24\"]",
        "[\"203.0.0.0/17\", \"203.0.64.0/18\", \"203.0.128.0/18\", \"203.0.192.0/19\"]",
    );
    assert_eq!(errors(&fits), []);
    let (one, _) = GOOD.rsplit_once("[[recipient]]").unwrap();
    for (halves, whole) in
        [("\"0.0.0.0/1\", \"128.0.0.0/1\"", "0.0.0.0/0"), ("\"::/1\", \"8000::/1\"", "::/0")]
    {
        let networks = format!("[{halves}]\nlarge_network = \"all of them\"");
        let text = one.replace("[\"198.51.100.20/32\", \"2001:db8:20::/48\"]", &networks);
        let found = errors(&text);
        assert!(found.len() == 1 && found[0].0 == "everybody" && found[0].1.contains(whole), "{found:?}");
    }
    let strict = |bits| {
        let widest = Widest { ipv4: bits, ..Widest::default() };
        let surroundings = Surroundings { now: Some(time(NOW)), widest, ..Surroundings::default() };
        parse(Path::new("x.toml"), GOOD.as_bytes(), &surroundings).err().map(|errors| errors.errors.len())
    };
    assert_eq!([strict(23), strict(24), strict(25), strict(32)], [None, Some(1), Some(1), Some(1)]);
}

#[test]
fn what_nobody_sees_is_looked_for_when_a_document_is_new_and_never_of_one_that_was_loaded() {
    let odd = good_with("count = 1", "count = 1 # \u{2067}");
    assert!(parse(Path::new("x.toml"), odd.as_bytes(), &Surroundings::default()).is_ok());
    assert_eq!(errors(&odd).len(), 1);
    // Line breaks and tabs between the keys are TOML's own.
    let tabbed = GOOD.replace(" = ", "\t=\t").replace('\n', "\r\n");
    assert_eq!(errors(&tabbed), []);
}

#[test]
fn what_nobody_can_mean_is_refused_of_new_documents_alone() {
    let empty = good_with("TIA-2026-07", "tbd");
    assert!(parse(Path::new("x.toml"), empty.as_bytes(), &Surroundings::default()).is_ok());
    // The bounds themselves, and words that only look like none.
    for (part, instead) in [
        ("1_000_000", "1514"),
        ("2026-12-15T00:00:00Z", "2031-12-02T08:00:00Z"),
        ("TIA-2026-07", "N/A-7"),
        ("Translation office", "None Such Records"),
        ("Translation office", "漢字"),
    ] {
        // The assessment outlasts none of these windows.
        assert_eq!(errors(&good_with(part, instead)), [], "{instead}");
    }
    let nat64 = errors(&good_with("2001:db8:20::/48", "64:ff9b::/96"));
    assert!(nat64.len() == 1 && nat64[0].1.contains("64:ff9b::/96 is larger than a /112"), "{nat64:?}");
    assert_eq!(errors(&good_with("e-mail content", "TBD"))[0].0, "says-nothing");
    let one_word = super::check(&good_with("Evidence in case 2026/0142", "Evidence")).unwrap();
    assert!(one_word.doubts()[0].starts_with("its purpose is one word"));
    let other = super::check(&good_with("\"Art. 48\"", "\"Art. 49(1)(a)\"")).unwrap().doubts();
    let told = "its article \"Art. 49(1)(a)\" is neither its ground's (art-46-2-a: Art. 46(2)(a)) nor its type's (treaty-request: ";
    assert!(other[0].starts_with(told), "{other:?}");
    let nobody = errors(&good_with("the treaty's own\"", "the treaty's own\"\nsubjects = 0"));
    let told = "46:12 condition.subjects: 0 is not a number of data subjects | write how many there are at most, from 1";
    assert_eq!(nobody, [("bad-subjects", told.to_owned())]);
    let doubts = super::check(GOOD).unwrap().doubts();
    assert!(doubts.len() == 1 && doubts[0].contains("(retention, delete_by): Art. 30(1)(f)"), "{doubts:?}");
    let said = super::with_value(GOOD, "", "delete_by", Some("2028-12-31"));
    assert_eq!(super::check(&said).unwrap().doubts(), Vec::<String>::new());
    let day = |of: &str| format!("{said}[[duty]]\nwhat = \"tell-authority\"\n{of}\n");
    assert_eq!(
        super::check(&day("due = 2026-12-05\ndone = 2026-11-01")).unwrap().doubts(),
        Vec::<String>::new()
    );
    for (duty, doubt) in [
        ("due = 2026-12-05\ndone = 1999-01-01", "was done on 1999-01-01, it says, more than a year before"),
        ("due = 2099-12-05", "is due before 2099-12-06, more than a year after"),
    ] {
        let doubts = super::check(&day(duty)).unwrap().doubts();
        assert!(doubts.len() == 1 && doubts[0].contains(doubt), "{doubts:?}");
    }
    let many = good_with("the treaty's own\"", "the treaty's own\"\nsubjects = 1_000_000");
    assert!(super::check(&many).unwrap().doubts().iter().any(|it| it.starts_with("1000000 data subjects")));
    let long = good_with("2026-12-15T00:00:00Z", "2031-12-02T08:00:00Z").replace("2027-06-01", "2032-01-01");
    assert!(
        super::check(&long).unwrap().doubts().iter().any(|it| it.starts_with("its window has more than two"))
    );
}

#[test]
fn an_emergency_has_half_an_hour_and_not_a_nanosecond_more() {
    let until = |end: &str| {
        good_with(
            "valid_from = 2026-12-01T09:00:00+01:00\nvalid_until = 2026-12-15T00:00:00Z",
            &format!(
                "valid_from = 2026-12-02T00:00:00Z\nvalid_until = {end}\nemergency = \"a patient in Boston\""
            ),
        )
    };
    assert_eq!(errors(&until("2026-12-02T00:30:00Z")), []);
    let late = errors(&until("2026-12-02T00:30:00.000000001Z"));
    assert!(late.len() == 1 && late[0].0 == "long-emergency", "{late:?}");
    assert!(late[0].1.contains("has 1801 seconds, and 1800 are the most"), "{late:?}");
}

#[test]
fn a_document_whose_recipients_are_none_or_no_tables_is_refused() {
    let (head, _) = GOOD.split_once("[[recipient]]").unwrap();
    let with =
        |value: &str| errors(&head.replace("quota_bytes", &format!("recipient = {value}\nquota_bytes")));
    let found = with("[]");
    assert_eq!((found.len(), found[0].0), (1, "no-recipient"), "{found:?}");
    let found = with("\"Department\"");
    assert_eq!((found.len(), found[0].0), (1, "wrong-type"), "{found:?}");
    let found = errors(&GOOD.replace("[[recipient]]", "[[recipients]]"));
    assert_eq!((found.len(), found[0].0), (1, "unknown-key"), "{found:?}");
}
