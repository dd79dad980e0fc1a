//! Who signed the configs and the geo databases that opened something: what a revoked key has signed goes on, and that is told.

use std::collections::BTreeMap;

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tables::SIGNED_FILES;
use crate::audit::{self, Kind};

/// Who signed one, the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedBy {
    /// The number of the last record that says so.
    pub(super) sequence: u64,
    /// Identities, each with the fingerprint of the key.
    by: Vec<(String, String)>,
}

/// Who signed which, by the SHA-256 of its bytes.
pub(super) type SignedFiles = BTreeMap<String, SignedBy>;

/// Whom these records say, each with its number. An approval of an exemption names a version, and no file.
pub(super) fn told_by<'r>(records: impl Iterator<Item = (u64, &'r audit::Record)>) -> SignedFiles {
    let mut told = SignedFiles::new();
    for (sequence, record) in records.filter(|(_, record)| record.kind == Kind::Approval) {
        let word = |name: &str| record.detail.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(sha256), Some(identity), Some(key)) = (word("sha256"), word("identity"), word("key"))
        else {
            continue;
        };
        let signed = told.entry(sha256).or_insert_with(|| SignedBy { sequence, by: Vec::new() });
        signed.sequence = sequence;
        signed.by.push((identity, key));
    }
    told
}

/// Keeps them in the place of who signed the same before.
pub(super) fn keep(files: &SignedFiles, batch: &WriteTransaction) -> Result<(), redb::Error> {
    if files.is_empty() {
        return Ok(());
    }
    let mut table = batch.open_table(SIGNED_FILES)?;
    for (sha256, signed) in files {
        let bytes = serde_json::to_vec(signed).map_err(|error| redb::Error::Io(error.into()))?;
        table.insert(sha256.as_str(), bytes.as_slice())?;
    }
    Ok(())
}

impl SignedBy {
    /// Whose of these keys are among them, in words.
    pub(super) fn with(&self, keys: &[String]) -> Option<String> {
        let by = self.by.iter().filter(|(_, key)| keys.contains(key));
        let by: Vec<String> = by.map(|(identity, key)| format!("{key} of {identity}")).collect();
        (!by.is_empty()).then(|| by.join(" and "))
    }
}
