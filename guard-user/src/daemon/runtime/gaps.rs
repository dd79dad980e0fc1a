//! What the audit trail has of times in which not all was judged or kept.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::audit::{Kind, Stored, TAKEN_OFF};
use crate::store::what_was_live;

/// A time in which not all was judged or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Its first moment; `None` where it is not known, or where it lies before the first record.
    pub(super) from: Option<Timestamp>,
    /// Its last moment; `None` where it is not known, or goes on.
    pub(super) until: Option<Timestamp>,
    /// What it is, one sentence.
    pub(super) words: String,
}

impl Gap {
    /// Whether any moment from the one to the other belongs to it. A gap whose time is not known belongs to every time.
    pub(super) fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.from.is_none_or(|its| its <= until) && self.until.is_none_or(|its| its >= from)
    }
}

/// An interface that was let go.
struct LetGo {
    since: Timestamp,
    index: Option<u64>,
    /// Whether the daemon has started anew since then: indices may be other interfaces' by now.
    is_before_start: bool,
}

/// A gap for each such time, in the order of the trail.
pub(super) fn of_trail<'r>(records: impl Iterator<Item = &'r Stored>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut running = false;
    // Since when nothing of the guard is in the kernel, by somebody's command.
    let mut detached: Option<Timestamp> = None;
    let mut let_go: BTreeMap<String, LetGo> = BTreeMap::new();
    let mut before: Vec<&Stored> = Vec::new();
    let mut older_was_last = false;
    // When the daemon before ended in good order.
    let mut ended: Option<Timestamp> = None;
    for record in records {
        let is = |kind: Kind| record.kind == kind.name();
        let text = |key: &str| record.detail.get(key).and_then(Value::as_str);
        let number = |key: &str| record.detail.get(key).and_then(Value::as_u64);
        let of = |key: &str| text(key).unwrap_or("an unknown time");
        let time = |key: &str| text(key).and_then(|text| text.parse().ok());
        let mut push = |from: Option<Timestamp>, until: Option<Timestamp>, words: String| {
            gaps.push(Gap { from, until, words });
        };
        if is(Kind::Start) {
            if let Some(since) = detached.take() {
                let words = format!(
                    "the guard was detached from the whole host from {since} until the start of {}: what left in between \
                     was neither judged nor counted",
                    record.time
                );
                push(Some(since), Some(record.time), words);
            } else if running && !older_was_last {
                let from = last_word(&before, record, time("counted_until"));
                push(from, Some(record.time), without_a_word(from, record.time));
            } else if let Some(since) = ended.filter(|since| is_long(*since, record.time)) {
                let words = format!(
                    "no daemon ran from {since} until {}: what the kernel counted in between is booked as of the end of that \
                     time; where the host was restarted in between, what left by then was neither judged nor counted",
                    record.time
                );
                push(Some(since), Some(record.time), words);
            }
            ended = None;
            let_go.values_mut().for_each(|it| it.is_before_start = true);
        }
        if is(Kind::OlderStore) {
            let has = number("has").unwrap_or_default();
            let last = before.iter().rev().find(|it| it.sequence == has).map(|it| it.time);
            push(last, Some(record.time), older_store(record, last));
            // That it has an end says nothing of the daemons that ran since.
            ended = None;
        }
        if is(Kind::End) {
            ended = Some(record.time);
        }
        if is(Kind::Detach) && record.subject.is_empty() {
            detached = Some(record.time);
        }
        if is(Kind::Detach) && record.why == TAKEN_OFF {
            let lost = match text("hook") {
                Some("egress" | "ingress") => "what crossed it in between was neither judged nor counted",
                _ => "in between no way past the guard was refused there",
            };
            let words = format!(
                "another program took the guard off {} after {}, which was seen at {}: {lost}",
                record.subject,
                of("last_seen"),
                record.time
            );
            push(time("last_seen"), Some(record.time), words);
        }
        if is(Kind::Detach) && is_release(record) {
            let (since, index) = (record.time, number("index"));
            let_go.insert(record.subject.clone(), LetGo { since, index, is_before_start: false });
        }
        if is(Kind::Attach)
            && let Some((name, it)) = taken(&mut let_go, record, number("index"))
        {
            let words = not_guarded(&name, &it, Some((record, number("sent_before"))));
            push(Some(it.since), Some(record.time), words);
        }
        if is(Kind::Unrecorded) && record.detail.get("other") == Some(&Value::Bool(true)) {
            let what = what_was_live(&record.detail);
            let words = format!(
                "{what} while the store could not be opened, until {} at the latest: what crossed in between was judged by \
                 that one, of which the audit trail had no record",
                record.time
            );
            push(time("since"), Some(record.time), words);
        }
        if is(Kind::Gap) {
            let lost = number("lost").unwrap_or_default();
            let words = format!(
                "records that could not be written and that the audit trail lacks: {lost}, of {} to {}: {}",
                of("from"),
                of("to"),
                record.why
            );
            push(time("from"), time("to"), words);
        }
        older_was_last = is(Kind::OlderStore) || (older_was_last && !is(Kind::Start));
        running = (running || is(Kind::Start)) && !is(Kind::End) && detached.is_none();
        before.push(record);
    }
    for (name, it) in let_go {
        gaps.push(Gap { from: Some(it.since), until: None, words: not_guarded(&name, &it, None) });
    }
    gaps
}

/// How often what was counted is kept, with room for a disk that takes its time: what passed before the last record of a daemon
/// was, but for so much, booked by it.
const LOOKS: SignedDuration = SignedDuration::from_secs(10);

/// When the daemon that ended without a word before this start is last known to have booked what was counted; `None` where
/// nothing of it is known. `counted` is when it last found the counts to be more.
fn last_word(before: &[&Stored], start: &Stored, counted: Option<Timestamp>) -> Option<Timestamp> {
    // What is over is closed before a start is recorded.
    let is_of_the_new = |record: &&Stored| {
        record.kind != Kind::Start.name()
            && start.who.pid.is_some()
            && (record.who.pid, record.who.uid) == (start.who.pid, start.who.uid)
    };
    let last = before.iter().rev().copied().find(|record| !is_of_the_new(record)).map(|record| record.time);
    match (last, counted) {
        (Some(last), Some(counted)) => {
            Some(last.checked_sub(LOOKS).unwrap_or(last).max(counted).min(start.time))
        }
        (last, counted) => last.or(counted),
    }
}

fn without_a_word(from: Option<Timestamp>, start: Timestamp) -> String {
    let when = match from {
        Some(from) => format!("at some moment from {from} until {start}: what crossed in between"),
        None => format!("before {start}: what crossed in the last seconds before that"),
    };
    format!(
        "the daemon or the host ended without a word {when} may be booked as of {start} or, after a loss of power, be missing"
    )
}

/// Whether a time without a daemon is more than a restart takes: what was counted in it may be booked on another day, or long
/// after it passed.
fn is_long(since: Timestamp, until: Timestamp) -> bool {
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    until.duration_since(since) > LOOKS || day(since) != day(until)
}

/// Since when a store that was put back knows nothing, and what that means. `last` is when the last record was written that
/// it had.
fn older_store(record: &Stored, last: Option<Timestamp>) -> String {
    let number = |key: &str| record.detail.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (has, had) = (number("has"), number("had"));
    let since = match last {
        Some(last) => format!("from its last record, {has} of {last},"),
        None => "from the beginning".to_owned(),
    };
    let lacks = match had.checked_sub(has) {
        Some(count) if had > 0 => format!("; of the trail {count} records are missing"),
        _ => "; how many records of the trail are missing is not known".to_owned(),
    };
    format!(
        "an older store, or another one, was put in the place of the host's: what was loaded, ordered and let through {since} \
         until {} is not in it, and amounts of exemptions are those that it had{lacks}",
        record.time
    )
}

/// Whether an interface was let go by this: neither taken off by another program nor gone itself, and no hooks of a cgroup.
fn is_release(record: &Stored) -> bool {
    let has = |key: &str| record.detail.contains_key(key);
    let is_of_cgroup = record.subject.starts_with("cgroup ") || has("hooks");
    !record.subject.is_empty() && record.why != TAKEN_OFF && !has("gone") && !has("hook") && !is_of_cgroup
}

/// The interface that is guarded again by this record, under its name or, as long as indices stay, under another one.
fn taken(
    let_go: &mut BTreeMap<String, LetGo>,
    record: &Stored,
    index: Option<u64>,
) -> Option<(String, LetGo)> {
    let is_it = |(name, it): &(&String, &LetGo)| {
        **name == record.subject || (!it.is_before_start && it.index.is_some() && it.index == index)
    };
    let name = let_go.iter().find(is_it).map(|(name, _)| name.clone())?;
    let_go.remove_entry(&name)
}

fn not_guarded(name: &str, it: &LetGo, again: Option<(&Stored, Option<u64>)>) -> String {
    let since = it.since;
    let Some((record, sent_before)) = again else {
        return format!(
            "the interface {name} is not guarded since {since}, when the config did not name it any more: what leaves by it \
             is neither judged nor counted"
        );
    };
    let under = if record.subject == name { String::new() } else { format!(" as {}", record.subject) };
    let sent = sent_before.map(|sent| {
        format!(
            "; its own counter of sent packets, which has those of before too, was {sent} when that ended"
        )
    });
    let sent = sent.unwrap_or_default();
    format!(
        "the interface {name} was not guarded from {since} until {}{under}: what left by it in between was neither judged \
         nor counted{sent}",
        record.time
    )
}

#[cfg(test)]
mod tests {
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
        let detail = json!({"lost": 3, "from": "2026-12-01T00:00:01Z", "to": "2026-12-01T00:00:02Z"});
        let lost = record("05", Kind::Gap, "", "the disk is full", detail);
        let words = "lacks: 3, of 2026-12-01T00:00:01Z to 2026-12-01T00:00:02Z: the disk is full";
        assert_one(&[start("00"), lost], (Some("01"), Some("02")), &[words]);
    }

    /// Another config than the one in force was live while nothing could be recorded; that one itself is none.
    #[test]
    fn a_config_that_the_trail_could_not_have_is_a_gap_where_it_is_another_one() {
        let of = |since: Value, config: Value, other: bool| {
            let detail = json!({"since": since, "config_sha256": config, "other": other, "known": true});
            [
                start("00"),
                end("01"),
                record("09", Kind::Unrecorded, "p.toml", "", detail),
                start("09"),
                end("09"),
            ]
        };
        let since = "2026-12-01T00:00:05Z";
        assert_eq!(gaps(&of(json!(since), json!("ab"), false)), []);
        let words = [
            "from 2026-12-01T00:00:05Z on another config or geo database was live (SHA-256 ab)",
            "until 2026-12-01T00:00:09Z",
        ];
        assert_one(&of(json!(since), json!("ab"), true), (Some("05"), Some("09")), &words);
        assert_one(&of(Value::Null, Value::Null, true), (None, Some("09")), &["is not known"]);
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
        let before = |at: Stored| Stored {
            time: moment("00").checked_sub(SignedDuration::from_secs(1)).unwrap(),
            ..at
        };
        let midnight = [before(start("01")), before(end("02")), start("03")];
        assert_eq!(gaps(&midnight).len(), 1);
    }

    /// The store that is put back was copied while a daemon ran: its trail has no end, and that is no crash of its own.
    #[test]
    fn an_older_store_is_one_gap_from_its_last_record_to_the_start() {
        let older = |at, detail| record(at, Kind::OlderStore, "", "", detail);
        let revoke =
            record("08", Kind::Revoke, "mlat-1", "an older store was put back", json!({"version": 1}));
        let known = older("09", json!({"has": 2, "had": 40}));
        let records = [
            start("00"),
            record("02", Kind::Reload, "", "", json!({})),
            revoke,
            known,
            start("10"),
            end("11"),
        ];
        let words = [
            "from its last record, 2 of 2026-12-01T00:00:02Z, until 2026-12-01T00:00:09Z",
            "38 records are missing",
            "amounts of exemptions are those that it had",
        ];
        assert_one(&records, (Some("02"), Some("09")), &words);
        let words = ["from the beginning until 2026-12-01T00:00:01Z", "40 records are missing"];
        let begun = [older("01", json!({"has": 0, "had": 40})), start("02"), end("03")];
        assert_one(&begun, (None, Some("01")), &words);
        let stopped =
            [start("00"), end("02"), older("30", json!({"has": 2, "had": 40})), start("31"), end("32")];
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
            record(
                at,
                Kind::Attach,
                name,
                "",
                json!({"hooks": ["egress"], "index": index, "sent_before": 90}),
            )
        };
        let words =
            ["eth1 was not guarded from 2026-12-01T00:00:02Z until 2026-12-01T00:00:04Z", "was 90 when"];
        let life = [start("00"), attach("01", "eth1", 7), release("02", "eth1"), attach("04", "eth1", 7)];
        assert_one(&life, (Some("02"), Some("04")), &words);
        // Another interface is guarded meanwhile, and it comes back under another name.
        let renamed = [start("00"), release("02", "eth1"), attach("03", "eth2", 8), attach("04", "wan0", 7)];
        assert_one(&renamed, (Some("02"), Some("04")), &["until 2026-12-01T00:00:04Z as wan0"]);
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
}
