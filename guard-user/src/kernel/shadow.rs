//! A candidate's tables for a shadow, and how packets were judged by both: the programs, and what they go by.

use std::fmt;
use std::sync::Arc;

use guard_common::abi::shadow::ShadowKey;
use guard_common::abi::{Count, Hook, PolicyTable};
use guard_common::interval::build::GeoImage;

/// The programs, as they were built with this binary.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/borderguard-shadow-ebpf"));

/// The tables of a candidate.
#[derive(Clone)]
pub struct ShadowTables {
    /// The policy's, with its exemptions.
    pub policy: Arc<PolicyTable>,
    /// The geo tables.
    pub geo: Arc<GeoImage>,
}

impl fmt::Debug for ShadowTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShadowTables")
    }
}

/// How many packets were judged by both, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShadowCounts {
    /// Those of which verdict and reason are the same, by hook.
    pub same: [Count; Hook::PACKET_COUNT],
    /// Those of which they are not.
    pub differences: Vec<(ShadowKey, Count)>,
    /// Those of which they are not either and that had no room, by hook.
    pub lost: [Count; Hook::PACKET_COUNT],
}
