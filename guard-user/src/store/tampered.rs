//! Records of tables in the kernel that somebody else has changed, and what is told of them over restarts until somebody reloads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redb::{ReadableTable as _, WriteTransaction};
use serde_json::{Map, Value, json};

use super::key::Key;
use super::tables::META;
use crate::audit::{self, Kind, Who};

/// The field of a record that has how many bytes exemptions have let through that none of them has in its use.
pub const UNATTRIBUTED: &str = "unattributed_bytes";

/// The field of a record that has how many bytes less the store had in an exemption's use than its mark.
pub const LACKING: &str = "lacking_bytes";

/// The row of the table of meta data that has the number of the first record of a changed table since somebody reloaded.
pub(super) const SINCE: &str = "tampered";
/// The row that says that what is in no exemption's use was looked for since the kernel's counters began.
pub(super) const LOOKED_FOR: &str = "unattributed";
/// The map that has what exemptions have let through.
const USES: &str = "EXEMPTION_USE";

/// What is told, by the table and the pin or the exemption that it is of, which most are not.
pub(super) type Changed = BTreeMap<(String, String), String>;

/// Keeps where the first of these records is that is of a changed table, in the records' transaction.
pub(super) fn keep<'r>(
    records: impl Iterator<Item = (u64, &'r audit::Record)>,
    batch: &WriteTransaction,
) -> Result<(), redb::Error> {
    let mut changed = records.filter(|(_, record)| record.kind == Kind::Tampered);
    let Some((sequence, _)) = changed.next() else { return Ok(()) };
    let mut table = batch.open_table(META)?;
    let is_there = table.get(SINCE)?.is_some();
    if !is_there {
        table.insert(SINCE, sequence)?;
    }
    Ok(())
}

/// Somebody has asked for a reload, and knows of what was found by then.
pub(super) fn forget(batch: &WriteTransaction) -> Result<(), redb::Error> {
    batch.open_table(META)?.remove(SINCE)?;
    Ok(())
}

/// What is in no exemption's use may be more from now on without anybody's doing.
pub(super) fn look_anew(batch: &WriteTransaction) -> Result<(), redb::Error> {
    batch.open_table(META)?.remove(LOOKED_FOR)?;
    Ok(())
}

/// The row that has how many bytes of a pin are known to be in no exemption's use.
pub(super) fn row_of(pin: &str) -> String {
    format!("{LOOKED_FOR} {pin}")
}

/// The record that so many more bytes of a pin are in no exemption's use.
pub(super) fn record_of((pin, more): (&str, u64), who: &Who, now: Timestamp) -> audit::Record {
    let detail = json!({"pin": pin, UNATTRIBUTED: more, "found": now.to_string(), "times": 1});
    audit::Record {
        time: now,
        kind: Kind::Tampered,
        who: who.clone(),
        subject: USES.to_owned(),
        why: String::new(),
        detail: detail.as_object().cloned().unwrap_or_default(),
    }
}

/// What the store had less in the use of an exemption than its mark.
pub(super) struct Lacking<'k> {
    /// The exemption.
    pub(super) key: &'k Key,
    /// How much.
    pub(super) bytes: u64,
}

impl Lacking<'_> {
    /// The record of it.
    pub(super) fn record(&self, who: &Who, now: Timestamp) -> audit::Record {
        let Self { key: (id, version), bytes } = self;
        let detail = json!({
            "exemption": id, "version": version, LACKING: bytes, "found": now.to_string(), "times": 1
        });
        audit::Record {
            time: now,
            kind: Kind::Tampered,
            who: who.clone(),
            subject: USES.to_owned(),
            why: String::new(),
            detail: detail.as_object().cloned().unwrap_or_default(),
        }
    }
}

/// What is told of a record of this table. One that was frozen is found again as long as it is.
pub(super) fn told(table: &str, detail: &Map<String, Value>) -> Option<((String, String), String)> {
    let text = |key: &str| detail.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| detail.get(key).and_then(Value::as_u64);
    if detail.contains_key("frozen") {
        return None;
    }
    let (pin, found) = (text("pin"), text("found"));
    if let Some(bytes) = number(LACKING) {
        let (id, version) = (text("exemption"), number("version").unwrap_or_default());
        let words = format!(
            "the store had {bytes} bytes less in the use of the exemption \"{id}\" (version {version}) than its mark \
             (high-water.json), as was found at {found}: somebody has put back an older copy of the store, or its disk has lost what it \
             had confirmed. The exemption goes on with the use that the mark has; what it has let through since the mark was written \
             may be in no exemption's use"
        );
        return Some(((table.to_owned(), format!("{id} version {version}")), words));
    }
    let words = match number(UNATTRIBUTED) {
        Some(bytes) => format!(
            "exemptions have let through {bytes} bytes of the pin \"{pin}\" that none of them has in its use, as was found at \
             {found}: somebody has changed what the kernel counts or may let through, or has put back an older copy of the \
             store, and quotas may have been spent more than once. Which exemption it was is not known: see `borderguard report`"
        ),
        None => {
            let entries = number("entries").unwrap_or_default();
            let were =
                if entries == 1 { "1 entry was".to_owned() } else { format!("{entries} entries were") };
            format!(
                "an earlier daemon has found that somebody else had changed it in the kernel: {were} other before {found}, the first \
                 one {}. What left meanwhile was judged by that",
                text("first")
            )
        }
    };
    Some(((table.to_owned(), pin.to_owned()), words))
}
