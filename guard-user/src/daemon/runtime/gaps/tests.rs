//! What the report says of times in which not all was judged or kept.

use serde_json::json;

use super::*;
use crate::audit::Who;

fn record(at: &str, kind: Kind, subject: &str, why: &str, detail: Value) -> Stored {
    Stored {
        sequence: at.parse().unwrap(),
        time: moment(at),
        previous: String::new(),
        kind: kind.name().to_owned(),
        who: Who { uid: 0, user: None, pid: None },
        subject: subject.to_owned(),
        why: why.to_owned(),
        detail: detail.as_object().cloned().unwrap_or_default(),
    }
}

fn moment(at: &str) -> Timestamp {
    format!("2026-12-01T00:00:{at}Z").parse().unwrap()
}

fn gaps(records: &[Stored]) -> Vec<Gap> {
    of_trail(records.iter())
}

/// Since when, until when, and words that are in the sentence.
fn assert_one(records: &[Stored], (from, until): (Option<&str>, Option<&str>), words: &[&str]) {
    let told = gaps(records);
    let [gap] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((gap.from, gap.until), (from.map(moment), until.map(moment)), "{gap:?}");
    assert!(words.iter().all(|words| gap.words.contains(words)), "{gap:?}");
}

fn start(at: &str) -> Stored {
    record(at, Kind::Start, "", "", json!({}))
}

fn end(at: &str) -> Stored {
    record(at, Kind::End, "", "", json!({}))
}

#[test]
fn each_time_without_a_guard_has_a_sentence_and_a_good_life_has_none() {
    let of_host = |at| record(at, Kind::Detach, "", "maintenance", json!({}));
    let gone = record("02", Kind::Detach, "eth1", "", json!({"index": 3, "gone": true}));
    assert_eq!(gaps(&[start("00"), gone, end("03"), start("04")]), []);
    let crash = [start("00"), start("09")];
    let words = "without a word at some moment from 2026-12-01T00:00:00Z until 2026-12-01T00:00:09Z";
    assert_one(&crash, (Some("00"), Some("09")), &[words, "booked as of 2026-12-01T00:00:09Z"]);
    for records in [
        vec![start("00"), end("03"), of_host("04"), start("09")],
        vec![start("00"), of_host("04"), start("09")],
    ] {
        let words = "from 2026-12-01T00:00:04Z until the start of 2026-12-01T00:00:09Z";
        assert_one(&records, (Some("04"), Some("09")), &[words]);
    }
    let detail = json!({"hook": "egress", "last_seen": "2026-12-01T00:00:04Z"});
    let taken = record("05", Kind::Detach, "eth0", TAKEN_OFF, detail);
    let words = "off eth0 after 2026-12-01T00:00:04Z, which was seen at 2026-12-01T00:00:05Z";
    assert_one(&[start("00"), taken, end("06")], (Some("04"), Some("05")), &[words]);
    let detail = json!({"hooks": "sockets", "last_seen": "2026-12-01T00:00:04Z"});
    let taken = record("05", Kind::Detach, "cgroup /", TAKEN_OFF, detail);
    let words = ["off cgroup /", "who used a socket in between was not noted"];
    assert_one(&[start("00"), taken, end("06")], (Some("04"), Some("05")), &words);
    let times =
        [("last_right", "2026-12-01T00:00:04Z"), ("found", "2026-12-01T00:00:05Z"), ("frozen", "true")];
    let frozen = record("05", Kind::Tampered, "HELD", "", json!(BTreeMap::from(times)));
    let words = ["HELD in the kernel was frozen by another program", "may not have come there"];
    assert_one(&[start("00"), frozen, end("06")], (Some("04"), Some("05")), &words);
    let detail = json!({"lost": 3, "from": "2026-12-01T00:00:01Z", "to": "2026-12-01T00:00:02Z"});
    let lost = record("05", Kind::Gap, "", "the disk is full", detail);
    let words = "lacks: 3, of 2026-12-01T00:00:01Z to 2026-12-01T00:00:02Z: the disk is full";
    assert_one(&[start("00"), lost], (Some("01"), Some("02")), &[words]);
}

#[test]
fn a_guard_that_a_start_finds_gone_is_a_gap_since_it_was_last_known() {
    let last_seen = json!({"hook": "egress", "last_seen": "2026-12-01T00:00:03Z"});
    let until = "2026-12-01T00:00:09Z found";
    for (subject, words) in [
        ("", "nothing of the guard on this host, and the trail has no detachment"),
        ("eth0", "no guard at eth0, and"),
        ("cgroup /a", "nothing that refuses ways past the guard at cgroup /a"),
    ] {
        let gone = record("09", Kind::Detach, subject, NOT_FOUND, last_seen.clone());
        let life = [start("00"), end("04"), gone, start("09"), end("10")];
        assert_one(&life, (Some("03"), Some("09")), &[until, words, "after 2026-12-01T00:00:03Z"]);
    }
}

/// Another config than the one in force was live while nothing could be recorded; that one itself is none.
#[test]
fn a_config_that_the_trail_could_not_have_is_a_gap_where_it_is_another_one() {
    let of = |since: Value, config: Value, other: bool| {
        let detail = json!({"since": since, "config_sha256": config, "other": other, "known": true});
        [start("00"), end("01"), record("09", Kind::Unrecorded, "p.toml", "", detail), start("09"), end("09")]
    };
    let since = "2026-12-01T00:00:05Z";
    assert_eq!(gaps(&of(json!(since), json!("ab"), false)), []);
    let words = [
        "from 2026-12-01T00:00:05Z on another config or geo database was live (SHA-256 ab)",
        "until 2026-12-01T00:00:09Z",
    ];
    assert_one(&of(json!(since), json!("ab"), true), (Some("05"), Some("09")), &words);
    assert_one(&of(Value::Null, Value::Null, true), (None, Some("09")), &["is not known"]);
    // Others may have come after it.
    let detail = json!({"since": since, "config_sha256": "ab", "other": true, "known": false});
    let first = record("09", Kind::Unrecorded, "p.toml", "", detail);
    let words =
        ["(the first of them was that of the SHA-256 ab, and how", "may have been judged by any of them"];
    assert_one(&[start("00"), end("01"), first, start("09"), end("09")], (Some("05"), Some("09")), &words);
}

/// A start closes what is over before it is recorded itself: that is no word of the daemon before.
#[test]
fn a_crash_is_a_gap_from_the_last_booking_whatever_the_next_start_records_first() {
    let of = |pid: u32, record: Stored| Stored { who: Who { pid: Some(pid), ..record.who }, ..record };
    let start_of = |pid, at, until: &str| {
        let until = moment(until);
        of(pid, record(at, Kind::Start, "", "", json!({"counted_until": until})))
    };
    let expire = |pid, at| of(pid, record(at, Kind::Expire, "mlat-1", "", json!({"version": 1})));
    for (stay, counted, from) in
        [("03", "20", "20"), ("25", "20", "20"), ("35", "20", "25"), ("35", "50", "40")]
    {
        let stay = record(stay, Kind::Stay, "mlat-1", "", json!({"version": 1}));
        let records = [of(7, start("00")), stay, expire(8, "40"), start_of(8, "40", counted)];
        let words = format!("from 2026-12-01T00:00:{from}Z until 2026-12-01T00:00:40Z");
        assert_one(&records, (Some(from), Some("40")), &[words.as_str()]);
    }
    // In a container each daemon has the same number.
    let same = [start_of(1, "00", "00"), expire(1, "30"), expire(1, "40"), start_of(1, "40", "31")];
    assert_one(&same, (Some("31"), Some("40")), &[]);
}

#[test]
fn a_time_without_a_daemon_is_a_gap_where_it_is_long_or_goes_over_midnight() {
    assert_eq!(gaps(&[start("00"), end("03"), start("13")]), []);
    let words =
        ["no daemon ran from 2026-12-01T00:00:03Z until 2026-12-01T00:00:14Z", "booked as of the end"];
    assert_one(&[start("00"), end("03"), start("14"), end("15")], (Some("03"), Some("14")), &words);
    let before =
        |at: Stored| Stored { time: moment("00").checked_sub(SignedDuration::from_secs(1)).unwrap(), ..at };
    let midnight = [before(start("01")), before(end("02")), start("03")];
    assert_eq!(gaps(&midnight).len(), 1);
}

/// The store that is put back was copied while a daemon ran: its trail has no end, and that is no crash of its own.
#[test]
fn an_older_store_is_one_gap_from_its_last_record_to_the_start() {
    let older = |at, detail| record(at, Kind::OlderStore, "", "", detail);
    let revoke = record("08", Kind::Revoke, "mlat-1", "an older store was put back", json!({"version": 1}));
    let known = older("09", json!({"has": 2, "had": 40}));
    let records =
        [start("00"), record("02", Kind::Reload, "", "", json!({})), revoke, known, start("10"), end("11")];
    let words = [
        "from its last record, 2 of 2026-12-01T00:00:02Z, until 2026-12-01T00:00:09Z",
        "38 records are missing",
        "amounts of exemptions are those that it had",
    ];
    assert_one(&records, (Some("02"), Some("09")), &words);
    let words = ["from the beginning until 2026-12-01T00:00:01Z", "40 records are missing"];
    let begun = [older("01", json!({"has": 0, "had": 40})), start("02"), end("03")];
    assert_one(&begun, (None, Some("01")), &words);
    let stopped = [start("00"), end("02"), older("30", json!({"has": 2, "had": 40})), start("31"), end("32")];
    assert_one(&stopped, (Some("02"), Some("30")), &[]);
    let unmarked = [start("01"), end("02"), older("03", json!({"has": 2, "had": 0})), start("04")];
    assert_one(&unmarked, (Some("02"), Some("03")), &["missing is not known"]);
    // The next start without an end before it is a crash again.
    let crash = [older("01", json!({"has": 0, "had": 4})), start("02"), start("05")];
    assert_eq!(gaps(&crash).len(), 2);
}

#[test]
fn an_interface_that_was_let_go_is_a_gap_until_it_is_guarded_again() {
    let release = |at, name| record(at, Kind::Detach, name, "", json!({"index": 7}));
    let attach = |at, name, index: u32| {
        record(at, Kind::Attach, name, "", json!({"hooks": ["egress"], "index": index, "sent_before": 90}))
    };
    let words = ["eth1 was not guarded from 2026-12-01T00:00:02Z until 2026-12-01T00:00:04Z", "was 90 when"];
    let life = [start("00"), attach("01", "eth1", 7), release("02", "eth1"), attach("04", "eth1", 7)];
    assert_one(&life, (Some("02"), Some("04")), &words);
    // What it sent by its own counter is what it sent meanwhile, where that is the same interface's.
    let counted = |sent: u64| record("02", Kind::Detach, "eth1", "", json!({"index": 7, "sent": sent}));
    for (sent, index, words) in
        [(83, 7, "it sent 7 packets in"), (83, 8, "was 90 when"), (99, 7, "was 90 when")]
    {
        let life = [start("00"), counted(sent), attach("04", "eth1", index)];
        assert_one(&life, (Some("02"), Some("04")), &[words]);
    }
    // A start that finds it without a guard tells nothing new.
    let found = record("04", Kind::Detach, "eth1", NOT_FOUND, json!({"index": 7}));
    let killed = [start("00"), counted(83), end("03"), start("04"), found, attach("04", "eth1", 7)];
    assert_one(&killed, (Some("02"), Some("04")), &["was 90 when"]);
    // Another interface is guarded meanwhile, and it comes back under another name.
    let renamed = [start("00"), release("02", "eth1"), attach("03", "eth2", 8), attach("04", "wan0", 7)];
    assert_one(&renamed, (Some("02"), Some("04")), &["until 2026-12-01T00:00:04Z as wan0"]);
    // Two were let go, and the second one comes back with the index of the first: it is the one of its name.
    let second = record("03", Kind::Detach, "eth2", "", json!({"index": 8}));
    let told = gaps(&[start("00"), release("02", "eth1"), second, attach("04", "eth2", 7)]);
    let told: Vec<_> = told.iter().map(|it| (it.from, it.until, it.words.contains("eth2"))).collect();
    assert_eq!(told, [(Some(moment("03")), Some(moment("04")), true), (Some(moment("02")), None, false)]);
    // After a start indices may be those of others.
    let again = [start("00"), release("02", "eth1"), end("03"), start("05"), attach("06", "wan0", 7)];
    assert_one(&again, (Some("02"), None), &["eth1 is not guarded since 2026-12-01T00:00:02Z"]);
    let again = [start("00"), release("02", "eth1"), end("03"), start("05"), attach("06", "eth1", 9)];
    assert_one(&again, (Some("02"), Some("06")), &[]);
    // A record of an earlier version has no index.
    let old = record("02", Kind::Detach, "eth1", "", json!({}));
    assert_one(&[start("00"), old, attach("04", "eth1", 7)], (Some("02"), Some("04")), &[]);
    for cgroup in [json!({"hook": "setsockopt"}), json!({"hooks": "sockets"}), json!({})] {
        let gaps = gaps(&[start("00"), record("02", Kind::Detach, "cgroup /a", "", cgroup)]);
        assert_eq!(gaps, []);
    }
}

#[test]
fn a_gap_belongs_to_the_times_that_it_overlaps() {
    let gap = |from: Option<&str>, until: Option<&str>| Gap {
        from: from.map(moment),
        until: until.map(moment),
        words: String::new(),
    };
    let in_life = |gap: Gap| gap.overlaps(moment("10"), moment("20"));
    for (from, until, is_in) in [
        (Some("00"), Some("09"), false),
        (Some("00"), Some("10"), true),
        (Some("12"), Some("13"), true),
        (Some("20"), Some("30"), true),
        (Some("21"), Some("30"), false),
        (None, Some("09"), false),
        (None, Some("11"), true),
        (Some("21"), None, false),
        (Some("19"), None, true),
        (None, None, true),
    ] {
        assert_eq!(in_life(gap(from, until)), is_in, "{from:?} {until:?}");
    }
}

#[test]
fn a_time_in_which_every_guarded_interface_was_gone_has_a_sentence() {
    let attach =
        |at, name, index: u64| record(at, Kind::Attach, name, "", json!({"index": index, "hook": "egress"}));
    let gone =
        |at, name, index: u64| record(at, Kind::Detach, name, "", json!({"index": index, "gone": true}));
    let two = [start("00"), attach("01", "eth0", 2), attach("01", "eth1", 3), gone("02", "eth0", 2)];
    assert_eq!(gaps(&two), [], "the other one is there");
    let none = [&two[..], &[gone("03", "eth1", 3)]].concat();
    assert_one(&none, (Some("03"), None), &["every interface that was guarded is gone since"]);
    let again = [&none[..], &[attach("09", "eth1", 4)]].concat();
    assert_one(
        &again,
        (Some("03"), Some("09")),
        &["until eth1 came at 2026-12-01T00:00:09Z", "neither judged"],
    );
    // Over a restart too; and where somebody took the whole guard off, that is the gap.
    let restarted = [&none[..], &[end("04"), start("05"), attach("09", "eth1", 4)]].concat();
    assert_one(&restarted, (Some("03"), Some("09")), &["eth1 came"]);
}

#[test]
fn a_table_that_was_changed_is_a_gap_from_when_it_was_right() {
    let detail = json!({"last_right": "2026-12-01T00:00:03Z", "found": "2026-12-01T00:00:04Z", "entries": 1});
    let tampered = record("05", Kind::Tampered, "POLICY", "", detail);
    let words =
        ["the table POLICY", "by another program after 2026-12-01T00:00:03Z", "seen at 2026-12-01T00:00:04Z"];
    assert_one(&[start("00"), tampered], (Some("03"), Some("05")), &words);
}

/// The report has it by pin.
#[test]
fn what_is_in_no_exemptions_use_is_no_gap_beside_that() {
    let detail = json!({"pin": "mail", UNATTRIBUTED: 700, "found": "2026-12-01T00:00:04Z", "times": 1});
    let tampered = record("05", Kind::Tampered, "EXEMPTION_USE", "", detail);
    assert_eq!(gaps(&[start("00"), tampered]), []);
}

/// The copy has the whole trail, so that it was made after its last record.
#[test]
fn an_older_copy_of_the_store_with_the_same_trail_is_one_gap_from_its_last_record() {
    let lacking = |id: &str| {
        let detail =
            json!({"exemption": id, "version": 1, LACKING: 700, "found": "2026-12-01T00:00:05Z", "times": 1});
        record("05", Kind::Tampered, "EXEMPTION_USE", "", detail)
    };
    let words = ["an older copy of the store was put back", "seen at 2026-12-01T00:00:05Z"];
    assert_one(&[start("00"), end("03"), lacking("a"), lacking("b")], (Some("03"), Some("05")), &words);
}
