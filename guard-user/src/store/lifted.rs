//! What the audit trail keeps of the document by which an order is lifted.

use serde_json::{Map, Value, json};

use crate::exemption::record::ApprovedBy;

/// The document by which an order is lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// SHA-256 of its bytes, 64 digits in small letters.
    pub sha256: String,
    /// Who approved it; empty where the config asks for no approvals.
    pub by: Vec<ApprovedBy>,
}

impl Lifted {
    /// Adds it to the detail of a record.
    pub(super) fn add_to(&self, detail: &mut Map<String, Value>) {
        let by = self.by.iter();
        let by = by.map(|it| json!({"identity": it.identity, "role": it.role, "key": it.fingerprint}));
        detail.insert("document_sha256".to_owned(), self.sha256.clone().into());
        detail.insert("approved_by".to_owned(), by.collect::<Vec<_>>().into());
    }
}
