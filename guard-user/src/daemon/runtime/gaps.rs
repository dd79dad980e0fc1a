//! What the audit trail has of times in which not all was judged or kept.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::audit::{Kind, NOT_FOUND, Stored, TAKEN_OFF};
use crate::store::{LACKING, UNATTRIBUTED, what_judged, what_was_live};

/// A time in which not all was judged or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Its first moment; `None` where it is not known, or where it lies before the first record.
    pub(crate) from: Option<Timestamp>,
    /// Its last moment; `None` where it is not known, or goes on.
    pub(crate) until: Option<Timestamp>,
    /// What it is, one sentence.
    pub(crate) words: String,
}

impl Gap {
    /// Whether any moment from the one to the other belongs to it. A gap whose time is not known belongs to every time.
    pub(crate) fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.from.is_none_or(|its| its <= until) && self.until.is_none_or(|its| its >= from)
    }
}

/// An interface that was let go.
struct LetGo {
    since: Timestamp,
    index: Option<u64>,
    /// How many packets it had sent by then, by its own counter.
    sent: Option<u64>,
    /// Whether the daemon has started anew since then: indices may be other interfaces' by now.
    is_before_start: bool,
}

/// The interfaces that are guarded, by their numbers, as far as the trail has that.
#[derive(Default)]
struct Guarded(BTreeSet<u64>);

impl Guarded {
    fn add(&mut self, attached: &Stored) {
        self.0.extend(attached.detail.get("index").and_then(Value::as_u64));
    }

    /// Takes one out that is gone. Whether it was the last one.
    fn is_last(&mut self, gone: &Stored) -> bool {
        let index = gone.detail.get("index").and_then(Value::as_u64);
        index.is_some_and(|index| self.0.remove(&index)) && self.0.is_empty()
    }
}

/// A gap for each such time, in the order of the trail.
pub(crate) fn of_trail<'r>(records: impl Iterator<Item = &'r Stored>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut running = false;
    // Since when nothing of the guard is in the kernel, by somebody's command.
    let mut detached: Option<Timestamp> = None;
    let mut let_go: BTreeMap<String, LetGo> = BTreeMap::new();
    // The interfaces that are guarded, and since when the last of them is gone.
    let mut guarded = Guarded::default();
    let mut no_interface: Option<Timestamp> = None;
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
        if is(Kind::Detach) && record.subject.is_empty() && record.why != NOT_FOUND {
            detached = Some(record.time);
        }
        if is(Kind::Detach) && record.why == TAKEN_OFF {
            let lost = match text("hook") {
                Some("egress" | "ingress") => "what crossed it in between was neither judged nor counted",
                None if text("hooks") == Some("sockets") => {
                    "who used a socket in between was not noted, so that a pin by cgroup or user may not know what was sent by it"
                }
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
        // One that a config let go is a gap since then.
        if is(Kind::Detach) && record.why == NOT_FOUND && !let_go.contains_key(&record.subject) {
            push(time("last_seen"), Some(record.time), not_found(record, of("last_seen")));
        }
        if is(Kind::Detach) && is_release(record) {
            let (since, index) = (record.time, number("index"));
            let of_one = LetGo { since, index, sent: number("sent"), is_before_start: false };
            let_go.insert(record.subject.clone(), of_one);
        }
        if is(Kind::Detach)
            && record.detail.get("gone") == Some(&Value::Bool(true))
            && guarded.is_last(record)
        {
            no_interface = Some(record.time);
        }
        if is(Kind::Detach) && record.subject.is_empty() {
            (guarded, no_interface) = (Guarded::default(), None);
        }
        if is(Kind::Attach) {
            guarded.add(record);
            if let Some(since) = no_interface.take() {
                let words = format!(
                    "every interface that was guarded was gone from {since} until {} came at {}: what left by others in between was \
                     neither judged nor counted",
                    record.subject, record.time
                );
                push(Some(since), Some(record.time), words);
            }
        }
        if is(Kind::Attach)
            && let Some((name, it)) = taken(&mut let_go, record, number("index"))
        {
            let words = not_guarded(&name, &it, Some((record, number("sent_before"))));
            push(Some(it.since), Some(record.time), words);
        }
        if is(Kind::Unrecorded) && record.detail.get("other") == Some(&Value::Bool(true)) {
            let (what, judged) = (what_was_live(&record.detail), what_judged(&record.detail));
            let words = format!(
                "{what} while the store could not be opened or took no record, until {} at the latest: what crossed in between \
                 {judged}, and the audit trail had no record of it then",
                record.time
            );
            push(time("since"), Some(record.time), words);
        }
        let has = |it: &Stored, key: &str| it.detail.contains_key(key);
        // One for all exemptions, and without their ids: it is in the receipts of others.
        if is(Kind::Tampered)
            && has(record, LACKING)
            && before.last().is_none_or(|it| it.time != record.time || !has(it, LACKING))
        {
            // The copy has the trail to its end, so it was made after that.
            let last = before.last().map(|it| it.time);
            let words = format!(
                "an older copy of the store was put back, which was seen at {}: what exemptions had let through and it lacks is booked \
                 as of then, as far as its mark had it, and the rest of that may be missing",
                record.time
            );
            push(last, Some(record.time), words);
        }
        // What is in no exemption's use is in the report by itself.
        if is(Kind::Tampered) && !has(record, UNATTRIBUTED) && !has(record, LACKING) {
            let (what, then) = match record.detail.contains_key("frozen") {
                true => ("frozen", "what was loaded, ordered or booked since may not have come there"),
                false => ("changed", "what crossed in between may have been judged by that, or booked"),
            };
            let words = format!(
                "the table {} in the kernel was {what} by another program after {}, which was seen at {}: {then}",
                record.subject,
                of("last_right"),
                of("found")
            );
            push(time("last_right"), Some(record.time), words);
        }
        if is(Kind::Unwatched) {
            let words = format!(
                "the daemon was stopped, or the host was too busy for it, from {} until {}: what is attached and what the tables have \
                 may have been others in between, and what left by that was neither judged nor counted",
                of("from"),
                of("to")
            );
            push(time("from"), time("to"), words);
        }
        if is(Kind::ClockSet)
            && let (Some(was), Some(set)) = (time("from"), time("to"))
            && is_much(was, set)
        {
            let words = format!(
                "the host's clock was set from {was:.0} to {set:.0}: days and times between these two are by the one clock or the other"
            );
            push(Some(was.min(set)), Some(was.max(set)), words);
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
    if let Some(since) = no_interface {
        let words = format!(
            "every interface that was guarded is gone since {since}: what leaves by others is neither judged nor counted"
        );
        gaps.push(Gap { from: Some(since), until: None, words });
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

/// Whether the clock was set by so much that what is told of a time may be of another one.
fn is_much(was: Timestamp, set: Timestamp) -> bool {
    const MINUTE: u64 = 60;
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    set.duration_since(was).unsigned_abs().as_secs() >= MINUTE || day(was) != day(set)
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

/// What a start found gone. `last_seen` is when it was last known to be there.
fn not_found(record: &Stored, last_seen: &str) -> String {
    let of_cgroup = record.subject.starts_with("cgroup ");
    let what = match record.subject.as_str() {
        "" => "nothing of the guard on this host",
        _ if of_cgroup => "nothing that refuses ways past the guard",
        _ => "no guard",
    };
    let at = if record.subject.is_empty() { String::new() } else { format!(" at {}", record.subject) };
    let lost = match of_cgroup {
        true => "sockets that were opened may send past the guard",
        false => "what left was neither judged nor counted",
    };
    format!(
        "the start of {} found {what}{at}, and the trail has no detachment: from some moment after {last_seen} until then {lost}",
        record.time
    )
}

/// Whether an interface was let go by this: neither taken off by another program nor gone itself, and no hooks of a cgroup.
fn is_release(record: &Stored) -> bool {
    let has = |key: &str| record.detail.contains_key(key);
    let is_of_cgroup = record.subject.starts_with("cgroup ") || has("hooks");
    !record.subject.is_empty()
        && ![TAKEN_OFF, NOT_FOUND].contains(&record.why.as_str())
        && !has("gone")
        && !has("hook")
        && !is_of_cgroup
}

/// The interface that is guarded again by this record, under its name or, as long as indices stay, under another one. One of
/// this name is meant first: an index may be another's by now.
fn taken(
    let_go: &mut BTreeMap<String, LetGo>,
    record: &Stored,
    index: Option<u64>,
) -> Option<(String, LetGo)> {
    if let Some(of_name) = let_go.remove_entry(&record.subject) {
        return Some(of_name);
    }
    let is_it = |it: &LetGo| !it.is_before_start && it.index.is_some() && it.index == index;
    let name = let_go.iter().find(|(_, it)| is_it(it)).map(|(name, _)| name.clone())?;
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
    // A counter that went back is another interface's of this name, and after a start it may be that of another boot.
    let index = record.detail.get("index").and_then(Value::as_u64);
    let is_the_same = !it.is_before_start && index.is_some() && it.index == index;
    let between = it.sent.filter(|_| is_the_same).zip(sent_before);
    let sent = match (between.and_then(|(before, sent)| sent.checked_sub(before)), sent_before) {
        (Some(count), _) => format!("; by its own counter it sent {count} packets in that time"),
        (None, Some(sent)) => format!(
            "; its own counter of sent packets, which has those of before too, was {sent} when that ended"
        ),
        (None, None) => String::new(),
    };
    format!(
        "the interface {name} was not guarded from {since} until {}{under}: what left by it in between was neither judged \
         nor counted{sent}",
        record.time
    )
}

#[cfg(test)]
mod tests;
