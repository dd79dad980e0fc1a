//! What became of an exemption, as reports and receipts have it.

use serde_json::Value;

use crate::audit::{Kind, Stored};
use crate::exemption::record::{Covered, GivenReason};
use crate::exemption::summary::HIDDEN;
use crate::report::{ApprovalEntry, Change};
use crate::store::{Key, Record};

/// What an order covers, by the keys of a record's detail.
const COVERS: [&str; 6] = ["exemption", "pin", "recipient", "instrument", "key", "all"];

/// What became of an exemption, as the trail has it.
pub(super) fn changes<'r>(
    trail: impl Iterator<Item = &'r Stored>,
    (id, version): &Key,
    record: Option<&Record>,
) -> Vec<Change> {
    let said = record.map(|record| record.reasons.as_slice()).unwrap_or_default();
    let about = |record: &&Stored| {
        record.subject == *id
            && record.detail.get("version").and_then(Value::as_u64) == Some(u64::from(*version))
            && Kind::OF_EXEMPTIONS.iter().chain([&Kind::DutyDone]).any(|kind| kind.name() == record.kind)
    };
    // The trail has the reasons of a confidential one as hashes alone, and its orders not at all.
    let said_of =
        |record: &Stored| said.iter().find(|said| said.at == record.time && said.what == record.kind);
    trail.filter(about).map(|record| change(record, said_of(record))).collect()
}

/// What was noted as done of an exemption for other versions, where that is done for this one too.
pub(super) fn done_beside<'r>(
    trail: impl Iterator<Item = &'r Stored>,
    id: &str,
    done: &[(u32, GivenReason)],
) -> Vec<Change> {
    let noted = trail.filter(|record| record.subject == id && record.kind == Kind::DutyDone.name());
    let of = |record: &Stored| {
        let version = record.detail.get("version").and_then(Value::as_u64)?;
        let (version, reason) =
            done.iter().find(|(its, reason)| u64::from(*its) == version && reason.at == record.time)?;
        let change = change(record, Some(reason));
        Some(Change { why: format!("{} (noted for version {version})", change.why), ..change })
    };
    noted.filter_map(of).collect()
}

/// A user by name and number.
fn who(record: &Stored) -> String {
    let uid = record.who.uid;
    record.who.user.as_ref().map_or_else(|| format!("the user {uid}"), |name| format!("{name} ({uid})"))
}

/// A record of the trail, with what the store has of it.
fn change(record: &Stored, said: Option<&GivenReason>) -> Change {
    let text = |key: &str| record.detail.get(key).and_then(Value::as_str).map(str::to_owned);
    let still_held = record.detail.contains_key("still_held");
    let (covers, name) = covered(record, said, still_held).unzip();
    Change {
        at: record.time,
        what: record.kind.clone(),
        who: who(record),
        why: said.map_or_else(|| record.why.clone(), |said| said.why.clone()),
        order: said.and_then(|said| said.order.clone()).or_else(|| text("order")),
        still_held,
        covers,
        name,
        document_sha256: text("document_sha256"),
        signed_by: signed_by(record),
    }
}

/// What the order of a record covers, and its name.
fn covered(record: &Stored, said: Option<&GivenReason>, still_held: bool) -> Option<(String, String)> {
    let of_order = [Kind::Stay, Kind::Resume, Kind::Invalidate, Kind::RevokeKey];
    if !of_order.iter().any(|kind| kind.name() == record.kind) {
        return None;
    }
    let name = |key: &str| record.detail.get(key).and_then(Value::as_str);
    if let Some((key, name)) = COVERS.iter().find_map(|key| Some((*key, name(key)?))) {
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
