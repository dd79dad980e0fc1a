//! Receipts whose figures do not agree, and those that are good.

use jiff::civil::date;

use super::super::super::model::ApprovalEntry;
use super::super::super::tests::sample::receipt;
use super::*;

type Forge = fn(&mut Receipt);

fn read(receipt: &Receipt) -> Result<Receipt, String> {
    Receipt::read(receipt.text().unwrap().as_bytes()).map_err(|error| error.to_string())
}

/// What the daemon writes agrees: a quota that is spent to its last byte, a part of it not known to have left, several recipients
/// on one day, and what is attributed to none.
fn spent() -> Receipt {
    let mut good = receipt();
    let second = RecipientEntry { name: "second".to_owned(), ..good.recipients[0].clone() };
    good.recipients.push(second);
    let row = |day: i8, number: Option<u32>| DayUse {
        day: date(2026, 11, day),
        number,
        recipient: None,
        jurisdiction: None,
        packets: 20,
        bytes: 21_000,
    };
    good.use_by_day =
        vec![row(2, Some(1)), row(2, Some(2)), row(2, None), row(3, Some(2)), row(4, None), row(4, None)];
    (good.packets, good.bytes, good.presumed_bytes) = (120, 126_000, Some(64_000));
    good.exemption.state = "exhausted".to_owned();
    good.exemption.quota_bytes = Some(190_000);
    good.history[1].what = "exhaust".to_owned();
    good.orders.push(good.orders[0].clone());
    good
}

#[track_caller]
fn refused(good: &Receipt, forge: Forge, which: &str) {
    let mut changed = good.clone();
    forge(&mut changed);
    assert_eq!(read(&changed), Err(format!("this is not a receipt: its figures do not agree: {which}")));
}

/// Whoever signed it.
#[test]
fn a_receipt_whose_figures_do_not_agree_is_none_and_both_are_named() {
    let good = spent();
    assert_eq!(read(&good).as_ref(), Ok(&good));
    let presumed_bytes = Some(190_000);
    let nothing = Receipt { use_by_day: vec![], packets: 0, bytes: 0, presumed_bytes, ..good.clone() };
    assert_eq!(read(&nothing).as_ref(), Ok(&nothing));
    let forged: [(Forge, &str); 14] = [
        (|it| it.packets = 121, "it has 121 packets in all, and the sum of its rows is 120"),
        (|it| it.use_by_day[3].bytes = 1, "it has 126000 bytes in all, and the sum of its rows is 105001"),
        (
            |it| it.exemption.quota_bytes = Some(189_999),
            "it has 126000 bytes in all and 64000 that count as used, and the quota is 189999",
        ),
        (
            |it| (it.exemption.quota_bytes, it.presumed_bytes) = (Some(125_999), Some(0)),
            "it has 126000 bytes in all, and the quota is 125999",
        ),
        (|it| it.exemption.quota_bytes = None, "it is \"exhausted\", and has no quota"),
        (
            |it| it.presumed_bytes = Some(0),
            "it is \"exhausted\", and 64000 bytes of its quota of 190000 are left",
        ),
        (
            |it| {
                it.use_by_day.iter_mut().for_each(|row| row.bytes = 19);
                it.bytes = 114;
            },
            "it has 120 packets, and 114 bytes",
        ),
        (
            |it| (it.use_by_day[0].packets, it.packets) = (0, 100),
            "a row of 2026-11-02 has 0 packets and 21000 bytes",
        ),
        (
            |it| (it.use_by_day[3].bytes, it.bytes) = (0, 105_000),
            "a row of 2026-11-03 has 20 packets and 0 bytes",
        ),
        (
            |it| it.exemption.valid_until = it.exemption.valid_from,
            "the window is from 2026-11-01T00:00:00Z, and until 2026-11-01T00:00:00Z",
        ),
        (
            |it| it.orders[1].at = "2026-11-19T00:00:00Z".parse().unwrap(),
            "its list of orders has one of 2026-11-19T00:00:00Z behind one of 2026-11-20T00:00:00Z",
        ),
        (
            |it| it.audit.time = "2026-12-01T06:00:01Z".parse().unwrap(),
            "it was made at 2026-12-01T06:00:00Z, and knows a record of the audit trail of 2026-12-01T06:00:01Z",
        ),
        (
            |it| it.use_by_day.swap(2, 3),
            "its use has a row of 2026-11-02 behind one of 2026-11-03, recipient 2",
        ),
        (
            |it| it.use_by_day[1].number = Some(1),
            "its use has a row of 2026-11-02, recipient 1 behind one of 2026-11-02, recipient 1",
        ),
    ];
    for (forge, which) in forged {
        refused(&good, forge, which);
    }
    // A recipient is where the exemption has it.
    let mut moved = good.clone();
    moved.use_by_day[0].jurisdiction = Some("CA".to_owned());
    assert!(read(&moved).unwrap_err().contains("is of none of its recipients"));
}

#[test]
fn the_state_is_what_the_history_has_made_of_it() {
    let good = spent();
    let forged: [(Forge, &str); 12] = [
        (
            |it| it.history[1].what = "supersede".to_owned(),
            "it is \"exhausted\", and by its history \"revoked\"",
        ),
        (
            |it| it.exemption.state = "revoked".to_owned(),
            "it is \"revoked\", and by its history \"exhausted\"",
        ),
        (|it| it.history.clear(), "its history does not say that it was loaded"),
        (|it| it.history.reverse(), "its history has \"exhaust\" before it was loaded"),
        (|it| it.history.push(it.history[0].clone()), "by its history it was loaded 2 times"),
        (
            |it| {
                it.history.push(Change { what: "revoke".to_owned(), ..it.history[1].clone() });
                it.exemption.state = "revoked".to_owned();
                it.presumed_bytes = Some(0);
            },
            "by its history it was \"exhausted\", and 64000 bytes of its quota of 190000 are left",
        ),
        (
            |it| {
                it.history.push(Change { what: "revoke".to_owned(), ..it.history[1].clone() });
                it.exemption.state = "revoked".to_owned();
                it.exemption.quota_bytes = None;
            },
            "by its history it was \"exhausted\", and has no quota",
        ),
        (
            |it| {
                it.history[1].what = "revoke".to_owned();
                it.history.push(Change { what: "expire".to_owned(), ..it.history[1].clone() });
                it.exemption.state = "expired".to_owned();
            },
            "it is \"expired\", and by its history \"revoked\"",
        ),
        (
            |it| {
                it.history.push(Change { what: "invalidate".to_owned(), ..it.history[1].clone() });
                it.exemption.state = "revoked".to_owned();
            },
            "it is \"revoked\", and by its history \"exhausted\"",
        ),
        (
            |it| it.history[1].what = "pardon".to_owned(),
            "its history has \"pardon\", which is no kind of record",
        ),
        (
            |it| it.signers.push(ApprovalEntry { key: "SHA256:other".to_owned(), ..it.signers[0].clone() }),
            "\"a identity\" is among its signers twice as \"legal\"",
        ),
        (
            |it| {
                it.history.truncate(1);
                it.exemption.state = "revoked".to_owned();
            },
            "it is \"revoked\", and its history does not say how it came to that",
        ),
    ];
    for (forge, which) in forged {
        refused(&good, forge, which);
    }
    // Its record may still be to come, and what is over may be revoked all the same, or have a duty noted as done.
    let with = |what: &[&str], state: &str, made_at: &str| {
        let mut it = good.clone();
        let change = it.history[0].clone();
        let what = ["load"].iter().chain(what);
        it.history =
            what.map(|what| super::super::Change { what: (*what).to_owned(), ..change.clone() }).collect();
        it.exemption.state = state.to_owned();
        it.made_at = made_at.parse().unwrap();
        // All of them are of one day here.
        it.gaps.extend(it.to_be_told());
        it.disagreement()
    };
    let (before, after) = ("2026-12-14T23:59:59Z", "2026-12-15T00:00:00Z");
    assert_eq!(with(&[], "exhausted", before), None);
    assert_eq!(with(&["stay"], "expired", after), None);
    assert!(with(&["stay"], "expired", before).unwrap().contains("does not say how"));
    assert_eq!(with(&["expire", "revoke", "duty-done"], "revoked", after), None);
    assert!(with(&["expire", "revoke"], "expired", after).unwrap().contains("by its history \"revoked\""));
}

/// Days before the load and after the end are those of a clock that was set: the daemon says so.
#[test]
fn use_of_days_on_which_it_was_not_open_is_to_be_told_among_the_gaps() {
    let told = |days: &str| {
        format!(
            "its use has rows of {days}, and by its history it was open from 2026-11-02 until 2026-11-30: the host's clock was \
             set, or what had passed was counted later"
        )
    };
    let good = spent();
    assert_eq!(good.to_be_told(), [""; 0]);
    let mut early = good.clone();
    early.use_by_day[0].day = date(1970, 1, 1);
    let words = told("1970-01-01");
    refused(&early, |_| {}, &format!("{words}; and its gaps do not say so"));
    early.gaps.push(words);
    assert_eq!(read(&early).as_ref(), Ok(&early));
    // In whatever words.
    early.gaps = vec!["what passed on 1970-01-01 was counted by a clock that was wrong".to_owned()];
    assert_eq!(read(&early).as_ref(), Ok(&early));
    // Not others than those that are told.
    early.use_by_day[5].day = date(2026, 12, 1);
    let words = told("1970-01-01, 2026-12-01");
    refused(&early, |_| {}, &format!("{words}; and its gaps do not say so"));
}

/// What closes it first ends it: an order that is kept with it later does not.
#[test]
fn use_behind_the_first_end_is_to_be_told_also_where_it_was_revoked_later() {
    let mut it = spent();
    let first: Timestamp = "2026-11-03T12:00:00Z".parse().unwrap();
    it.history[1].at = first;
    let revoked = Change {
        what: "revoke".to_owned(),
        at: "2026-11-30T00:00:00Z".parse().unwrap(),
        ..it.history[1].clone()
    };
    it.history.push(revoked);
    it.exemption.state = "revoked".to_owned();
    // Its rows go on until the 4th.
    assert!(read(&it).unwrap_err().contains("was open from 2026-11-02 until 2026-11-03"));
    it.gaps.extend(it.to_be_told());
    assert_eq!(read(&it).as_ref(), Ok(&it));
}

#[test]
fn what_no_daemon_writes_is_named() {
    let forged: [(Forge, &str); 3] = [
        (|it| it.exemption.version = 0, "the version of the exemption is 0"),
        (|it| it.audit.sequence = 0, "the audit.sequence is 0"),
        (
            |it| {
                it.use_by_day.iter_mut().for_each(|row| row.bytes = 399);
                it.bytes = 2394;
            },
            "it has 120 packets, and 2394 bytes",
        ),
    ];
    for (forge, which) in forged {
        refused(&spent(), forge, which);
    }
}

/// They had neither what counts as used and was not counted, nor days after the end among their gaps.
#[test]
fn receipts_that_earlier_versions_signed_are_good() {
    let mut old = Receipt { presumed_bytes: None, ..spent() };
    old.use_by_day[5].day = date(2026, 12, 1);
    assert!(!old.text().unwrap().contains("presumed_bytes"));
    assert_eq!(read(&old).as_ref(), Ok(&old));
    // What was counted is not past the quota for that.
    refused(
        &old,
        |it| it.exemption.quota_bytes = Some(125_999),
        "it has 126000 bytes in all, and the quota is 125999",
    );
    let new = Receipt { presumed_bytes: Some(0), ..spent() };
    assert!(new.text().unwrap().contains("\"presumed_bytes\": 0,"));
}

/// It is in the order of the trail.
#[test]
fn a_clock_that_was_set_back_makes_no_history_wrong() {
    let mut it = spent();
    it.history[1].at = "2026-11-01T00:00:00Z".parse().unwrap();
    it.use_by_day.truncate(3);
    (it.packets, it.bytes, it.presumed_bytes) = (60, 63_000, Some(127_000));
    assert_eq!(read(&it).as_ref(), Ok(&it));
}

/// What no daemon gives is none, whoever signed it.
#[test]
fn a_receipt_is_of_what_is_closed_and_of_those_who_might_receive() {
    let with = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt();
        change(&mut receipt);
        read(&receipt)
    };
    assert!(with(&|_| {}).is_ok());
    for state in ["active", "stayed", "not-yet-valid", "draft", "approved", "", "x\u{1b}"] {
        let refused = with(&|it| it.exemption.state = state.to_owned()).unwrap_err();
        assert!(refused.contains("only of what is closed"), "{state}: {refused}");
    }
    for number in [0, 2, u32::MAX] {
        let refused = with(&|it| it.use_by_day[0].number = Some(number)).unwrap_err();
        assert!(refused.contains("of which it has 1"), "{number}: {refused}");
    }
    assert!(with(&|it| it.use_by_day[0].recipient = Some("another".to_owned())).is_err());
    // Those of earlier versions have no number, and what is attributed to none has no name either.
    assert!(with(&|it| it.use_by_day[0].number = None).is_ok());
    assert!(with(&|it| (it.use_by_day[0].number, it.use_by_day[0].recipient) = (None, None)).is_ok());
    let another = |it: &mut Receipt| {
        (it.use_by_day[0].number, it.use_by_day[0].recipient) = (None, Some("another".to_owned()));
    };
    assert!(with(&another).is_err());
}

/// The clock was set back in between, which the daemon says.
#[test]
fn an_order_of_a_later_time_than_the_receipt_is_to_be_told_among_the_gaps() {
    let mut it = spent();
    it.orders[1].at = "2026-12-01T06:00:01Z".parse().unwrap();
    let words = "one of its orders is of 2026-12-01T06:00:01Z, and it was made at 2026-12-01T06:00:00Z: the host's clock was set";
    refused(&it, |_| {}, &format!("{words}; and its gaps do not say so"));
    assert_eq!(it.to_be_told(), [words]);
    // Those of earlier versions say neither that nor by which law it went.
    let old = Receipt { exemption: Exemption { law: None, ..it.exemption.clone() }, ..it.clone() };
    assert_eq!(read(&old).as_ref(), Ok(&old));
    it.gaps.push(words.to_owned());
    assert_eq!(read(&it).as_ref(), Ok(&it));
}
