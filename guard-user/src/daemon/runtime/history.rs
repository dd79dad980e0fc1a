//! What became of an exemption, as reports and receipts have it.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{Kind, Stored, THE_DAEMON};
use crate::exemption::Document;
use crate::exemption::record::{Covered, GivenReason};
use crate::exemption::summary::HIDDEN;
use crate::report::{ApprovalEntry, Change};
use crate::store::{Key, Record, in_force_again};

/// What an order covers, by the keys of a record's detail.
const COVERS: [&str; 6] = ["exemption", "pin", "recipient", "instrument", "key", "all"];

/// What became of an exemption, with what was noted as done for other versions and is done for this one too, and with what is told
/// `beside` that, in the order of the trail: the wall clock may have been set back in between, and an order before a lift is that
/// whatever the clock said.
pub(super) fn all<'r>(
    trail: impl Iterator<Item = &'r Stored> + Clone,
    key: &Key,
    of: (Option<&Record>, Option<&Document>),
    done: &[(u32, GivenReason)],
    beside: Vec<(u64, Change)>,
) -> Vec<Change> {
    let mut all = changes(trail.clone(), key, of);
    all.extend(beside);
    all.extend(done_beside(trail, &key.0, done));
    all.sort_by_key(|(sequence, _)| *sequence);
    // A fall and a stay may have the same words, and be lifted by one record.
    all.dedup_by_key(|(sequence, _)| *sequence);
    all.into_iter().map(|(_, change)| change).collect()
}

/// What became of an exemption, as the trail has it, with the numbers of its records.
fn changes<'r>(
    trail: impl Iterator<Item = &'r Stored>,
    (id, version): &Key,
    (record, document): (Option<&Record>, Option<&Document>),
) -> Vec<(u64, Change)> {
    let said = record.map(|record| record.reasons.as_slice()).unwrap_or_default();
    let about = |record: &&Stored| {
        record.subject == *id
            && record.detail.get("version").and_then(Value::as_u64) == Some(u64::from(*version))
            && Kind::OF_EXEMPTIONS.iter().chain([&Kind::DutyDone]).any(|kind| kind.name() == record.kind)
    };
    // The trail has the reasons of a confidential one as hashes alone, and its orders not at all.
    let mut before: HashMap<(Timestamp, String), usize> = HashMap::new();
    let mut said_of = |record: &Stored| {
        let place = before.entry((record.time, record.kind.clone())).or_default();
        let nth = std::mem::replace(place, *place + 1);
        of_the_same(said, record, nth)
    };
    let review = document.and_then(Document::review_that_ends);
    let told = trail.filter(about).map(|record| {
        let change = change(record, said_of(record));
        let change = match review.filter(|_| record.kind == Kind::Expire.name()) {
            // Its window would have gone on, and nothing else here says why it did not.
            Some(by) => Change { why: format!("its assessment was to be reviewed before {by}"), ..change },
            None => change,
        };
        (record.sequence, change)
    });
    told.collect()
}

/// The reason of a record that is the `nth` of its kind at its moment: several orders are lifted, or hold again, in one. By what
/// the order covers where one reason alone has that, else in the order in which they were given.
pub(super) fn of_the_same<'s>(
    said: &'s [GivenReason],
    record: &Stored,
    nth: usize,
) -> Option<&'s GivenReason> {
    let is_of = |it: &&GivenReason| it.at == record.time && it.what == record.kind;
    let alike: Vec<&GivenReason> = said.iter().filter(is_of).collect();
    let told = told_cover(record);
    let is_on = |it: &&&GivenReason| {
        let on = it.on.as_ref().map(|on| (on.covers.as_str(), on.name.as_str()));
        told.is_some() && on == told
    };
    let on: Vec<_> = alike.iter().filter(is_on).collect();
    match on.as_slice() {
        [one] => Some(**one),
        _ => alike.get(nth).or(alike.last()).copied(),
    }
}

/// What the order of a record covers, where the record says so.
fn told_cover(record: &Stored) -> Option<(&'static str, &str)> {
    let name = |key: &str| record.detail.get(key).and_then(Value::as_str);
    COVERS.iter().find_map(|key| Some((*key, name(key)?)))
}

/// What was noted as done of an exemption for other versions, where that is done for this one too, likewise.
fn done_beside<'r>(
    trail: impl Iterator<Item = &'r Stored>,
    id: &str,
    done: &[(u32, GivenReason)],
) -> Vec<(u64, Change)> {
    let noted = trail.filter(|record| record.subject == id && record.kind == Kind::DutyDone.name());
    let of = |record: &Stored| {
        let version = record.detail.get("version").and_then(Value::as_u64)?;
        let (version, reason) =
            done.iter().find(|(its, reason)| u64::from(*its) == version && reason.at == record.time)?;
        let change = change(record, Some(reason));
        let why = format!("{} (noted for version {version})", change.why);
        Some((record.sequence, Change { why, ..change }))
    };
    noted.filter_map(of).collect()
}

/// A user by name and number; the daemon, where nobody asked for it.
fn who(record: &Stored) -> String {
    if Kind::is_by_itself(&record.kind) {
        return THE_DAEMON.to_owned();
    }
    let uid = record.who.uid;
    record.who.user.as_ref().map_or_else(|| format!("the user {uid}"), |name| format!("{name} ({uid})"))
}

/// A record of the trail, with what the store has of it.
pub(super) fn change(record: &Stored, said: Option<&GivenReason>) -> Change {
    let text = |key: &str| record.detail.get(key).and_then(Value::as_str).map(str::to_owned);
    let still_held = record.detail.contains_key("still_held");
    let (covers, name) = covered(record, said, still_held).unzip();
    Change {
        at: record.time,
        what: record.kind.clone(),
        who: who(record),
        why: why(record, said.map_or(record.why.as_str(), |said| &said.why)),
        order: said.and_then(|said| said.order.clone()).or_else(|| text("order")),
        still_held,
        covers,
        name,
        document_sha256: text("document_sha256"),
        signed_by: signed_by(record),
    }
}

/// Why, in the words that were given; where an order holds again that had been lifted, by what; where a newer version closed it,
/// which.
fn why(record: &Stored, given: &str) -> String {
    if let Some(key) = record.detail.get("revoked_key").and_then(Value::as_str) {
        return in_force_again(given, key);
    }
    match record.detail.get("by_version").and_then(Value::as_u64) {
        Some(version) if given.is_empty() => format!("version {version} takes its place"),
        _ => given.to_owned(),
    }
}

/// What the order of a record covers, and its name.
fn covered(record: &Stored, said: Option<&GivenReason>, still_held: bool) -> Option<(String, String)> {
    let of_order = [Kind::Stay, Kind::Resume, Kind::Invalidate, Kind::RevokeKey];
    if !of_order.iter().any(|kind| kind.name() == record.kind) {
        return None;
    }
    if let Some((key, name)) = told_cover(record) {
        return Some((key.to_owned(), name.to_owned()));
    }
    if let Some(Covered { covers, name }) = said.and_then(|said| said.on.clone()) {
        return Some((covers, name));
    }
    // An order on the exemption itself names nothing else. Earlier versions named nothing at all of a confidential one, nor
    // where others held it.
    let is_told = record.why != HIDDEN && !still_held;
    is_told.then(|| ("exemption".to_owned(), record.subject.clone()))
}

/// Who signed the document by which an order was lifted: one entry for each signer, with its roles.
fn signed_by(record: &Stored) -> Vec<ApprovalEntry> {
    let text = |it: &Value, key: &str| it.get(key).and_then(Value::as_str).map(str::to_owned);
    let each = record.detail.get("approved_by").and_then(Value::as_array).into_iter().flatten();
    let entry = |it: &Value| {
        let identity = text(it, "identity")?;
        Some(ApprovalEntry {
            identity,
            roles: text(it, "role").into_iter().collect(),
            key: text(it, "key").unwrap_or_default(),
        })
    };
    each.filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::Who;

    fn record(kind: Kind, why: &str, detail: &Value) -> Stored {
        Stored {
            sequence: 7,
            time: "2026-12-01T09:00:00Z".parse().unwrap(),
            previous: "0".repeat(64),
            kind: kind.name().to_owned(),
            who: Who { uid: 0, user: Some("root".to_owned()), pid: Some(811) },
            subject: "a".to_owned(),
            why: why.to_owned(),
            detail: detail.as_object().cloned().unwrap(),
        }
    }

    fn told(record: &Stored) -> Change {
        all([record].into_iter(), &("a".to_owned(), 1), (None, None), &[], Vec::new()).remove(0)
    }

    /// The clock was an hour ahead until the first order was given.
    #[test]
    fn history_is_in_the_order_of_the_trail_whatever_the_clock_said() {
        let at = |sequence: u64, time: &str, kind: Kind, detail: &Value| Stored {
            sequence,
            time: time.parse().unwrap(),
            ..record(kind, "why", detail)
        };
        let own = json!({"version": 1});
        let records = [
            at(3, "2026-12-01T10:00:00Z", Kind::Load, &own),
            at(4, "2026-12-01T10:01:00Z", Kind::Stay, &own),
            at(6, "2026-12-01T09:05:00Z", Kind::DutyDone, &json!({"version": 2, "duty": "answer"})),
            at(7, "2026-12-01T09:10:00Z", Kind::Resume, &own),
            at(8, "2026-12-01T09:20:00Z", Kind::Revoke, &own),
        ];
        let done = (2, GivenReason::of_duty(records[2].time, "answer", records[2].time, "sent"));
        let beside = vec![(5, change(&record(Kind::Invalidate, "denounced", &json!({})), None))];
        let told = all(records.iter(), &("a".to_owned(), 1), (None, None), &[done], beside);
        let told: Vec<&str> = told.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(told, ["load", "stay", "invalidate", "duty-done", "resume", "revoke"]);
    }

    #[test]
    fn an_order_that_holds_again_is_told_with_the_key_whose_revocation_did_that() {
        let fell = json!({"version": 1, "instrument": "An MLAT"});
        let first = told(&record(Kind::Invalidate, "denounced", &fell));
        assert_eq!(first.words(), "denounced, on the instrument \"An MLAT\"");
        let again = json!({"version": 1, "instrument": "An MLAT", "revoked_key": "SHA256:k"});
        let again = told(&record(Kind::Invalidate, "denounced", &again));
        assert_eq!(again.who, "root (0)");
        assert_eq!(
            again.words(),
            "denounced (in force again: the key SHA256:k, which had approved that it was lifted, is revoked), on the \
             instrument \"An MLAT\""
        );
    }

    #[test]
    fn what_a_newer_version_closed_is_told_with_which() {
        let superseded = told(&record(Kind::Supersede, "", &json!({"version": 1, "by_version": 2})));
        assert_eq!(superseded.words(), "version 2 takes its place");
    }

    #[test]
    fn orders_that_hold_again_at_one_moment_are_told_each_with_its_own_reason() {
        let again = |detail: Value| record(Kind::Stay, HIDDEN, &detail);
        let own = again(json!({"version": 1, "revoked_key": "k"}));
        let on_pin = again(json!({"version": 1, "revoked_key": "k", "pin": "mail"}));
        let on_all = again(json!({"version": 1, "revoked_key": "k", "all": "all"}));
        let said = |why: &str, on: Option<(&str, &str)>| GivenReason {
            at: own.time,
            what: own.kind.clone(),
            why: why.to_owned(),
            order: None,
            still_held: false,
            on: on.map(|(covers, name)| Covered { covers: covers.to_owned(), name: name.to_owned() }),
        };
        let given =
            [said("one", None), said("all", Some(("all", "all"))), said("pin", Some(("pin", "mail")))];
        let reasons = |records: &[&Stored]| -> Vec<&str> {
            let each = records.iter().enumerate();
            each.map(|(nth, record)| of_the_same(&given, record, nth).unwrap().why.as_str()).collect()
        };
        assert_eq!(reasons(&[&own, &on_pin, &on_all]), ["one", "pin", "all"]);
        // Where the record does not say what it is on, by their order.
        assert_eq!(reasons(&[&own, &own, &own, &own]), ["one", "all", "pin", "pin"]);
        assert!(of_the_same(&[], &own, 0).is_none());
    }

    #[test]
    fn what_nobody_asked_for_is_told_as_the_daemons() {
        for kind in Kind::OF_EXEMPTIONS {
            let by_itself = matches!(kind, Kind::Expire | Kind::Exhaust);
            let who = told(&record(kind, "", &json!({"version": 1}))).who;
            assert_eq!(who, if by_itself { THE_DAEMON } else { "root (0)" }, "{kind}");
        }
    }
}
