//! Of the status: whether others are kept from what is the guard's in the kernel.

use serde::{Deserialize, Serialize};

/// Whether others are kept from what is the guard's in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectStatus {
    /// Whether they are to be, as `protect.lsm` says.
    pub lsm: bool,
    /// Whether they are.
    pub on: bool,
    /// Why they are not, where `protect.lsm` is set: null where they are, and where it is not set.
    pub not_on: Option<String>,
    /// How often anybody was refused to change it, since the daemon started.
    pub denied: u64,
}
