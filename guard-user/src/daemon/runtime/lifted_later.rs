//! Lifts of orders that came after the end of what these had held. The trail has such a lift of the order alone, or of others
//! that it held, and it belongs to the history of each of them all the same.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use super::fallen::why_of;
use super::history::{change, of_the_same};
use crate::audit::{Kind, Stored};
use crate::exemption::record::{Covered, GivenReason};
use crate::exemption::summary::HIDDEN;
use crate::report::Change;
use crate::store::{Kept, Key, Reader, sha256};

/// An order. The trail may have its texts as hashes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    /// What it covers, such as `pin`.
    covers: String,
    /// SHA-256 of the name of that.
    name: String,
    /// SHA-256 of its reference.
    reference: String,
}

/// That an order was given, or lifted.
pub(super) struct Act<'r> {
    /// The first record of it.
    record: &'r Stored,
    order: Order,
    /// The name of what the order covers, where that is known.
    name: String,
    /// The order's reference, likewise.
    reference: String,
    /// Why it was lifted, where that is known.
    why: Option<String>,
    /// What has a record of its own of this.
    own: BTreeSet<Key>,
}

/// All of them, in the order of the trail.
pub(super) fn acts<'r>(records: &'r [(String, Stored)], (kept, reader): (&Kept, &Reader)) -> Vec<Act<'r>> {
    let mut acts: Vec<Act<'r>> = Vec::new();
    // An exemption has several records of one kind and moment where several orders hold again.
    let mut places: HashMap<(Key, Timestamp, &str), usize> = HashMap::new();
    for (_, record) in records {
        if !is_lift(record) && record.kind != Kind::Stay.name() {
            continue;
        }
        let act = match key_of(record) {
            Some(key) => {
                let place = places.entry((key.clone(), record.time, record.kind.as_str())).or_default();
                let nth = std::mem::replace(place, *place + 1);
                let said = kept.record(&key).map(|it| it.reasons.as_slice()).unwrap_or_default();
                of_one(record, key, of_the_same(said, record, nth))
            }
            None => of_order(record, reader),
        };
        let Some(act) = act else { continue };
        let mut of_moment = acts.iter_mut().rev().take_while(|it| it.record.time == record.time);
        match of_moment.find(|it| it.is_same(&act)) {
            Some(first) => {
                first.own.extend(act.own);
                first.why = first.why.take().or(act.why);
            }
            None => acts.push(act),
        }
    }
    acts
}

/// Those of an order that held this exemption to its end, which came after that, with the numbers of their records: as long as
/// it was held it has records of its own.
pub(super) fn beside(acts: &[Act<'_>], key: &Key) -> Vec<(u64, Change)> {
    // The orders that hold it, and those that are lifted since its end, each by how it was given.
    let (mut holding, mut lifted): (Vec<&Act<'_>>, Vec<&Act<'_>>) = (Vec::new(), Vec::new());
    let mut told = Vec::new();
    for act in acts {
        let is_own = act.own.contains(key);
        if is_lift(act.record) {
            let Some(given) = take(&mut holding, &act.order) else { continue };
            if !is_own {
                told.push((act.record.sequence, act.change(given, !holding.is_empty())));
                lifted.push(given);
            }
        } else if is_own {
            holding.retain(|it| it.order != act.order);
            holding.push(act);
        } else if act.record.detail.contains_key("revoked_key")
            && let Some(given) = take(&mut lifted, &act.order)
        {
            // A key that had approved its lift is revoked.
            told.push((act.record.sequence, act.change(given, false)));
            holding.push(given);
        }
    }
    told
}

/// Takes the order out of these.
fn take<'a, 'r>(orders: &mut Vec<&'a Act<'r>>, order: &Order) -> Option<&'a Act<'r>> {
    let at = orders.iter().position(|it| it.order == *order)?;
    Some(orders.remove(at))
}

fn is_lift(record: &Stored) -> bool {
    record.kind == Kind::Resume.name()
}

/// The exemption that a record is of; `None` where it is of an order alone.
fn key_of(record: &Stored) -> Option<Key> {
    let version = record.detail.get("version").and_then(Value::as_u64)?;
    Some((record.subject.clone(), u32::try_from(version).ok()?))
}

/// What a record of an exemption says of an order; `None` where it does not say of which.
fn of_one<'r>(record: &'r Stored, key: Key, said: Option<&GivenReason>) -> Option<Act<'r>> {
    let Change { covers, name, order, why, .. } = change(record, said);
    let (covers, name) = (covers?, name?);
    let (reference, why) = match is_lift(record) {
        true => (order?, Some(why)),
        // Where it holds again the change says more than that.
        false => (said.map_or(record.why.as_str(), |said| said.why.as_str()).to_owned(), None),
    };
    let order = Order { covers, name: sha256(name.as_bytes()), reference: sha256(reference.as_bytes()) };
    let why = why.filter(|why| why != HIDDEN);
    Some(Act { record, order, name, reference, why, own: BTreeSet::from([key]) })
}

/// The same of a record that is of an order alone.
fn of_order<'r>(record: &'r Stored, reader: &Reader) -> Option<Act<'r>> {
    let text = |key: &str| record.detail.get(key).and_then(Value::as_str);
    let covers = text("covers")?;
    let hides = record.detail.contains_key("why_sha256");
    let subject = record.subject.as_str();
    let name = match hides && ["instrument", "recipient"].contains(&covers) {
        true => subject.to_owned(),
        false => sha256(subject.as_bytes()),
    };
    let (hash, open) = match is_lift(record) {
        true => (text("order_sha256"), text("order")),
        false => (text("why_sha256"), Some(record.why.as_str())),
    };
    let reference = hash.map(str::to_owned).or_else(|| open.map(|open| sha256(open.as_bytes())))?;
    let why = match hides {
        true => text("document_sha256").and_then(|hash| why_of(reader, hash)),
        false => Some(record.why.clone()),
    };
    let order = Order { covers: covers.to_owned(), name, reference };
    let unknown = || HIDDEN.to_owned();
    Some(Act { record, order, name: unknown(), reference: unknown(), why, own: BTreeSet::new() })
}

impl Act<'_> {
    /// Whether both are of one moment and one order: each exemption that it holds has a record.
    fn is_same(&self, other: &Self) -> bool {
        (self.record.time, &self.record.kind, &self.order)
            == (other.record.time, &other.record.kind, &other.order)
    }

    /// This as a history has it. `given` is how the order was given to the exemption.
    fn change(&self, given: &Self, still_held: bool) -> Change {
        let (why, order) = match is_lift(self.record) {
            true => (self.why.clone().unwrap_or_else(|| HIDDEN.to_owned()), Some(given.reference.clone())),
            false => (given.reference.clone(), None),
        };
        let said = GivenReason {
            at: self.record.time,
            what: self.record.kind.clone(),
            why,
            order,
            still_held,
            on: Some(Covered { covers: given.order.covers.clone(), name: given.name.clone() }),
        };
        // The record may be another exemption's.
        Change { still_held, ..change(self.record, Some(&said)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Who;
    use crate::exemption::{Lift, Target};
    use crate::store::tests::model::ModelDisk;
    use crate::store::tests::{load, named};
    use crate::store::{ApprovedBy, Change as Order, Lifted, Store};

    const RECIPIENT: &str = "Department";

    fn who() -> Who {
        Who { uid: 0, user: Some("root".to_owned()), pid: None }
    }

    fn at(hour: u8) -> Timestamp {
        format!("2026-12-03T{hour:02}:00:00Z").parse().unwrap()
    }

    fn recipient() -> Target {
        Target::Recipient(RECIPIENT.to_owned())
    }

    fn stay(store: &mut Store, target: &Target, order: &str, hour: u8) {
        store.change(target, &Order::Stay { order: order.to_owned() }, &who(), at(hour)).unwrap();
        let slots = store.kept().slots_to_reset();
        store.slots_were_reset(&slots).unwrap();
    }

    fn revoke(store: &mut Store, id: &str, hour: u8) {
        let change = Order::Revoke { why: "done".to_owned() };
        store.change(&Target::Id(id.to_owned()), &change, &who(), at(hour)).unwrap();
    }

    fn resume(store: &mut Store, target: &Target, hour: u8) {
        let change = Order::Resume { order: None, why: "withdrawn".to_owned() };
        store.change(target, &change, &who(), at(hour)).unwrap();
    }

    /// What is told beside the records of the first version of an exemption.
    fn told(store: &Store, id: &str) -> Vec<String> {
        let lines = store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
        let read = |line: String| (line.clone(), Stored::read(line.as_bytes()).unwrap());
        let records: Vec<(String, Stored)> = lines.into_iter().map(read).collect();
        let (kept, reader) = (store.kept(), store.reader().unwrap());
        let told = beside(&acts(&records, (&kept, &reader)), &(id.to_owned(), 1));
        told.iter().map(|(_, it)| format!("{}: {}", it.what, it.words())).collect()
    }

    /// What is open has a record of its own, and what had ended before the order was never held by it.
    #[test]
    fn an_order_is_lifted_of_what_it_held_to_its_end() {
        let mut store = ModelDisk::new().open_store();
        for id in ["before", "one", "two", "open"] {
            load(&mut store, &named(id, 1)).unwrap();
        }
        revoke(&mut store, "before", 1);
        let own = Target::Id("one".to_owned());
        stay(&mut store, &recipient(), "CNIL 2026-1", 2);
        stay(&mut store, &own, "TA Paris 3", 3);
        for id in ["one", "two"] {
            assert_eq!(told(&store, id), [""; 0]);
            revoke(&mut store, id, 4);
        }
        resume(&mut store, &recipient(), 5);
        let lifted = format!("resume: lifts the order CNIL 2026-1 on the recipient \"{RECIPIENT}\"");
        let held = format!("{lifted}, and others hold it still: withdrawn");
        assert_eq!(told(&store, "one"), std::slice::from_ref(&held));
        assert_eq!(told(&store, "two"), [format!("{lifted}: withdrawn")]);
        resume(&mut store, &own, 6);
        assert_eq!(told(&store, "one"), [held, "resume: lifts the order TA Paris 3: withdrawn".to_owned()]);
        for id in ["before", "open"] {
            assert_eq!(told(&store, id), [""; 0], "{id}");
        }
        // The same order once more holds nothing that has ended, and so is not lifted of it.
        stay(&mut store, &recipient(), "CNIL 2026-1", 7);
        resume(&mut store, &recipient(), 8);
        assert_eq!(told(&store, "two").len(), 1);
    }

    /// The trail has its words as hashes alone; the exemption's record and the document have them.
    #[test]
    fn of_a_confidential_one_it_is_told_in_words() {
        let mut store = ModelDisk::new().open_store();
        load(&mut store, &named("a", 1).replace("pins = ", "confidential = true\npins = ")).unwrap();
        stay(&mut store, &recipient(), "CNIL 2026-1", 1);
        revoke(&mut store, "a", 2);
        let order = store.kept().orders().next().unwrap().summary();
        let bytes = Lift::of(&order, "withdrawn", None, Vec::new()).unwrap().to_toml().into_bytes();
        let hash = sha256(&bytes);
        let lifted = Lifted { sha256: hash.clone(), bytes, signatures: Vec::new(), by: Vec::new() };
        let change = Order::Resume { order: None, why: "withdrawn".to_owned() };
        store.lift(&recipient(), &change, &lifted, &who(), at(3)).unwrap();
        let lifted = format!(
            "resume: lifts the order CNIL 2026-1 on the recipient \"{RECIPIENT}\": withdrawn; by the document {hash}"
        );
        assert_eq!(told(&store, "a"), [lifted]);
    }

    #[test]
    fn an_order_that_holds_again_is_told_where_its_lift_is() {
        let mut store = ModelDisk::new().open_store();
        load(&mut store, &named("a", 1)).unwrap();
        stay(&mut store, &recipient(), "CNIL 2026-1", 1);
        revoke(&mut store, "a", 2);
        let key = format!("SHA256:{}", "A".repeat(43));
        let by = ApprovedBy {
            identity: "brian@example.org".to_owned(),
            role: Some("legal".to_owned()),
            fingerprint: key.clone(),
        };
        let bytes = b"a document".to_vec();
        let lifted = Lifted { sha256: sha256(&bytes), bytes, signatures: Vec::new(), by: vec![by] };
        let change = Order::Resume { order: None, why: "withdrawn".to_owned() };
        store.lift(&recipient(), &change, &lifted, &who(), at(3)).unwrap();
        let revoked = Order::RevokeKey { why: "it was lost".to_owned() };
        store.change(&Target::Key(key.clone()), &revoked, &who(), at(4)).unwrap();
        resume(&mut store, &recipient(), 5);
        let told = told(&store, "a");
        let on = format!("on the recipient \"{RECIPIENT}\"");
        let again = format!(
            "stay: CNIL 2026-1 (in force again: the key {key}, which had approved that it was lifted, is revoked), {on}"
        );
        let lifted = format!("resume: lifts the order CNIL 2026-1 {on}: withdrawn");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with(&format!("{lifted}; by the document ")), "{told:?}");
        assert_eq!(told[1..], [again, lifted]);
    }
}
