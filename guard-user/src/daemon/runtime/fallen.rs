//! The falls of instruments and their restorations, as the trail has them. One that changed nothing of an exemption is in no
//! record of it, and belongs to it all the same: what is loaded after a restoration rests on that.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::history::change;
use crate::audit::{Kind, Stored};
use crate::exemption::record::GivenReason;
use crate::exemption::summary::HIDDEN;
use crate::exemption::{Document, Lift};
use crate::report::Change;
use crate::store::{Kept, Key, Reader, Target, sha256};
use crate::text::look_alike;

/// The letters of a SHA-256 in hexadecimal digits.
const DIGITS: usize = 64;

/// A fall of an instrument, or its restoration.
pub(super) struct Act<'r> {
    /// The first record of it.
    record: &'r Stored,
    /// The instrument's name, or the SHA-256 of that where nothing else is known.
    instrument: String,
    /// SHA-256 of why it fell.
    fall: String,
    /// Why it fell, where that is known.
    fell: Option<String>,
    /// Why it is restored; `None` for a fall.
    restored: Option<String>,
    /// What has a record of its own of this.
    own: BTreeSet<Key>,
}

/// What the store knows of what the trail has as hashes alone: texts by their SHA-256.
struct Known<'s> {
    kept: &'s Kept,
    reader: &'s Reader,
    names: HashMap<String, String>,
    reasons: HashMap<String, String>,
}

/// All of them, in the order of the trail.
pub(super) fn acts<'r>(records: &'r [(String, Stored)], (kept, reader): (&Kept, &Reader)) -> Vec<Act<'r>> {
    let hashed = |text: &str| (sha256(text.as_bytes()), text.to_owned());
    let falls = kept.all_falls();
    let names = falls.iter().map(|it| hashed(it.covers.name())).collect();
    let reasons = falls.iter().map(|it| hashed(&it.order)).collect();
    let known = Known { kept, reader, names, reasons };
    let mut acts: Vec<Act<'r>> = Vec::new();
    for act in records.iter().filter_map(|(_, record)| known.act(record)) {
        // Another order on the instrument may have been lifted.
        let is_of_fall = act.restored.is_none()
            || known.reasons.contains_key(&act.fall)
            || acts.iter().any(|it| it.restored.is_none() && it.fall == act.fall);
        if !is_of_fall {
            continue;
        }
        match acts.iter_mut().rev().find(|it| it.is_same(&act)) {
            Some(first) => first.own.extend(act.own),
            None => acts.push(act),
        }
    }
    acts
}

/// Those of an exemption's instrument of which it has no record of its own, with the numbers of their records.
pub(super) fn beside(acts: &[Act<'_>], key: &Key, document: &Document) -> Vec<(u64, Change)> {
    let others = acts.iter().filter(|act| !act.own.contains(key));
    others.filter_map(|act| Some((act.record.sequence, act.change(act.name_in(document)?)))).collect()
}

impl Known<'_> {
    /// What a record says of the fall of an instrument or its restoration; `None` where it is of neither.
    fn act<'r>(&self, record: &'r Stored) -> Option<Act<'r>> {
        let text = |key: &str| record.detail.get(key).and_then(Value::as_str);
        let is_fall = record.kind == Kind::Invalidate.name();
        if !is_fall && record.kind != Kind::Resume.name() {
            return None;
        }
        let version = record.detail.get("version").and_then(Value::as_u64);
        let version = version.and_then(|version| u32::try_from(version).ok());
        let key = version.map(|version| (record.subject.clone(), version));
        let instrument = match &key {
            // It fell with it. Of a confidential one its document has the name.
            Some(key) if is_fall => {
                let of_document = || self.kept.document_of(key).map(|it| it.instrument.name.clone());
                text("instrument").map(str::to_owned).or_else(of_document)?
            }
            None if text("covers") == Some("instrument") => {
                self.names.get(&record.subject).unwrap_or(&record.subject).clone()
            }
            _ => return None,
        };
        let (hash, open) = match is_fall {
            true => (text("why_sha256"), Some(record.why.as_str())),
            false => (text("order_sha256"), text("order")),
        };
        let (fall, fell) = match (hash, open) {
            (Some(hash), _) => (hash.to_owned(), self.reasons.get(hash).cloned()),
            (None, Some(open)) => (sha256(open.as_bytes()), Some(open.to_owned())),
            (None, None) => return None,
        };
        let restored = (!is_fall).then(|| match record.why.as_str() {
            HIDDEN => {
                let told = text("document_sha256").and_then(|sha256| why_of(self.reader, sha256));
                told.unwrap_or_else(|| HIDDEN.to_owned())
            }
            open => open.to_owned(),
        });
        Some(Act { record, instrument, fall, fell, restored, own: key.into_iter().collect() })
    }
}

/// Why an order was lifted, by the document of this SHA-256.
pub(super) fn why_of(reader: &Reader, sha256: &str) -> Option<String> {
    let (bytes, _) = reader.lift_document(sha256).ok()??;
    Lift::parse(&bytes).ok().map(|lift| lift.why)
}

impl Act<'_> {
    /// Whether both are of one moment and one fall: each exemption that falls with an instrument has a record.
    fn is_same(&self, other: &Act<'_>) -> bool {
        (self.record.time, &self.record.kind, &self.fall)
            == (other.record.time, &other.record.kind, &other.fall)
            && look_alike(&self.instrument, &other.instrument)
    }

    /// The instrument's name, where this document rests on it.
    fn name_in<'n>(&'n self, document: &'n Document) -> Option<&'n str> {
        let own = self.instrument.as_str();
        if document.rests_on(own) {
            return Some(own);
        }
        let is_own = |name: &&str| own.len() == DIGITS && own == sha256(name.as_bytes());
        document.names_of_instrument().find(is_own)
    }

    fn change(&self, name: &str) -> Change {
        let fell = self.fell.clone().unwrap_or_else(|| HIDDEN.to_owned());
        let (why, order) = match &self.restored {
            Some(restored) => (restored.clone(), Some(fell)),
            None => (fell, None),
        };
        let given = GivenReason {
            at: self.record.time,
            what: self.record.kind.clone(),
            why,
            order,
            still_held: false,
            on: Some(Target::Instrument(name.to_owned()).covered()),
        };
        change(self.record, Some(&given))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::audit::Who;
    use crate::store::tests::model::ModelDisk;
    use crate::store::tests::{load, named};
    use crate::store::{ApprovedBy, Change as Order, Lifted, Store};

    const NAME: &str = "US-Ireland MLAT 2001";

    fn who() -> Who {
        Who { uid: 0, user: Some("root".to_owned()), pid: None }
    }

    fn at(hour: u8) -> Timestamp {
        format!("2026-12-03T{hour:02}:00:00Z").parse().unwrap()
    }

    /// What is told beside the records of the first version of an exemption.
    fn told(store: &Store, id: &str) -> Vec<String> {
        let lines = store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
        let read = |line: String| (line.clone(), Stored::read(line.as_bytes()).unwrap());
        let records: Vec<(String, Stored)> = lines.into_iter().map(read).collect();
        let (kept, reader) = (store.kept(), store.reader().unwrap());
        let (acts, key) = (acts(&records, (&kept, &reader)), (id.to_owned(), 1));
        let told = beside(&acts, &key, kept.document_of(&key).unwrap());
        told.iter().map(|(_, it)| format!("{}: {}", it.what, it.words())).collect()
    }

    /// What had ended before has no record of it, and what fell with it one of its own.
    #[test]
    fn a_fall_that_came_back_with_a_key_is_told_of_all_that_rested_on_the_instrument() {
        let mut store = ModelDisk::new().open_store();
        for id in ["ended", "open"] {
            load(&mut store, &named(id, 1)).unwrap();
        }
        let id = Target::Id("ended".to_owned());
        store.change(&id, &Order::Revoke { why: "done".to_owned() }, &who(), at(1)).unwrap();
        let instrument = Target::Instrument(NAME.to_owned());
        let fell = Order::Invalidate { why: "denounced".to_owned() };
        store.change(&instrument, &fell, &who(), at(2)).unwrap();
        let key = format!("SHA256:{}", "A".repeat(43));
        let by = ApprovedBy {
            identity: "brian@example.org".to_owned(),
            role: Some("legal".to_owned()),
            fingerprint: key.clone(),
        };
        let bytes = b"a document".to_vec();
        let hash = sha256(&bytes);
        let lifted = Lifted { sha256: hash.clone(), bytes, signatures: Vec::new(), by: vec![by] };
        let resume = Order::Resume { order: None, why: "in force again".to_owned() };
        store.lift(&instrument, &resume, &lifted, &who(), at(3)).unwrap();
        let revoked = Order::RevokeKey { why: "it was lost".to_owned() };
        store.change(&Target::Key(key.clone()), &revoked, &who(), at(4)).unwrap();
        let on = format!("on the instrument \"{NAME}\"");
        let back = [
            format!(
                "resume: lifts the order denounced {on}: in force again; by the document {hash}; signed by brian@example.org \
                 (legal) with {key}"
            ),
            format!(
                "invalidate: denounced (in force again: the key {key}, which had approved that it was lifted, is revoked), {on}"
            ),
        ];
        assert_eq!(told(&store, "open"), back);
        let fall = format!("invalidate: denounced, {on}");
        assert_eq!(told(&store, "ended"), [&[fall][..], &back].concat());
    }

    /// Another order that was lifted, and another instrument's fall, are none of these.
    #[test]
    fn only_falls_and_restorations_of_the_very_instrument_are_told() {
        let mut store = ModelDisk::new().open_store();
        load(&mut store, &named("a", 1)).unwrap();
        let id = Target::Id("a".to_owned());
        store.change(&id, &Order::Revoke { why: "done".to_owned() }, &who(), at(1)).unwrap();
        let other = Target::Instrument("A treaty".to_owned());
        let fell = Order::Invalidate { why: "denounced".to_owned() };
        store.change(&other, &fell, &who(), at(2)).unwrap();
        let stay = Order::Stay { order: "High Court 7".to_owned() };
        let instrument = Target::Instrument(NAME.to_owned());
        store.change(&instrument, &stay, &who(), at(3)).unwrap();
        let resume = Order::Resume { order: None, why: "on appeal".to_owned() };
        store.change(&instrument, &resume, &who(), at(4)).unwrap();
        assert_eq!(told(&store, "a"), Vec::<String>::new());
    }
}
