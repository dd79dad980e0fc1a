//! What an exemption had let through, as the file of the mark has it: use leaves no record in the trail by which a store that lacks
//! some of it could be known.

use serde::{Deserialize, Serialize};

use crate::exemption::record::Use;

/// The use of an exemption that is not closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkedUse {
    /// Its id.
    pub(super) id: String,
    /// Its version.
    pub(super) version: u32,
    /// SHA-256 of its document, 64 hexadecimal digits.
    pub(super) sha256: String,
    /// All that it had let through.
    pub(super) used: Use,
    /// Its places in the kernel's tables then, and what of it the kernel had counted in each of them.
    pub(super) slots: Vec<u16>,
    pub(super) counted: Vec<Use>,
}
