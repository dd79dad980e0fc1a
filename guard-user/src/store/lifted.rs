//! What the audit trail keeps of the document by which an order is lifted.

use redb::WriteTransaction;
use serde_json::{Map, Value, json};

use super::tables::{LIFT_SIGNATURES, LIFTS};
use super::{Reader, StoreError};
use crate::digest::sha256;

use crate::exemption::record::ApprovedBy;

/// A document with the signatures over it, byte for byte.
pub type Signed = (Vec<u8>, Vec<Vec<u8>>);

/// The document by which an order is lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// SHA-256 of its bytes, 64 digits in small letters.
    pub sha256: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The detached signatures over them.
    pub signatures: Vec<Vec<u8>>,
    /// Who approved it; empty where the config asks for no approvals.
    pub by: Vec<ApprovedBy>,
}

impl Lifted {
    /// Keeps its bytes and its signatures.
    pub(super) fn keep(&self, batch: &WriteTransaction) -> Result<(), redb::Error> {
        batch.open_table(LIFTS)?.insert(self.sha256.as_str(), self.bytes.as_slice())?;
        let mut table = batch.open_table(LIFT_SIGNATURES)?;
        for (number, signature) in (0_u32..).zip(&self.signatures) {
            table.insert((self.sha256.as_str(), number), signature.as_slice())?;
        }
        Ok(())
    }

    /// Adds it to the detail of a record.
    pub(super) fn add_to(&self, detail: &mut Map<String, Value>) {
        let by = self.by.iter();
        let by = by.map(|it| json!({"identity": it.identity, "role": it.role, "key": it.fingerprint}));
        detail.insert("document_sha256".to_owned(), self.sha256.clone().into());
        detail.insert("approved_by".to_owned(), by.collect::<Vec<_>>().into());
    }
}

impl Reader {
    /// The document of this SHA-256 by which an order was lifted, with the signatures over it; `None` where none is kept.
    ///
    /// # Errors
    /// Where it can't be read, or is not what was kept.
    pub fn lift_document(&self, hash: &str) -> Result<Option<Signed>, StoreError> {
        let Some(table) = self.table(LIFTS)? else { return Ok(None) };
        let found = table.get(hash).map_err(|error| self.unreadable(error))?;
        let Some(bytes) = found.map(|bytes| bytes.value().to_vec()) else { return Ok(None) };
        if sha256(&bytes) != hash {
            return Err(self.damaged(format!(
                "the document with the SHA-256 {hash}, by which an order was lifted, is not the one that was kept"
            )));
        }
        let mut signatures = Vec::new();
        if let Some(table) = self.table(LIFT_SIGNATURES)? {
            let range = table.range((hash, 0)..=(hash, u32::MAX)).map_err(|error| self.unreadable(error))?;
            for row in range {
                let (_, signature) = row.map_err(|error| self.unreadable(error))?;
                signatures.push(signature.value().to_vec());
            }
        }
        Ok(Some((bytes, signatures)))
    }
}
