//! Hashes of what the kernel judges by: the program and the tables, SHA-256 as 64 hexadecimal digits.

use guard_common::abi::PolicyTable;
use guard_common::interval::build::GeoImage;
use sha2::{Digest, Sha256};

use super::maps::OBJECT;
use super::plain::bytes_of;

/// Of the kernel program's object, as it is in this executable.
#[must_use]
pub fn program_sha256() -> String {
    hexadecimal(Sha256::digest(OBJECT))
}

/// Of the table of policy and exemptions as it is compiled. In the kernel's map `failsafe_elements` and `failsafe_since` are others:
/// whose what failsafe rules have spent is.
#[must_use]
pub fn policy_sha256(policy: &PolicyTable) -> String {
    hexadecimal(Sha256::digest(bytes_of(policy)))
}

/// Of the tables that place addresses, as they are in the kernel's maps, one behind the other: `V4_NODES`, `V4_ENTRIES`,
/// `V6_NODES`, `V6_ENTRIES`, `V6_DETAIL`.
#[must_use]
pub fn geo_sha256(geo: &GeoImage) -> String {
    let mut hash = Sha256::new();
    hash.update(bytes_of(&*geo.v4_nodes));
    hash.update(bytes_of(&*geo.v4_entries));
    hash.update(bytes_of(&*geo.v6_nodes));
    hash.update(bytes_of(&*geo.v6_entries));
    hash.update(bytes_of(&*geo.detail));
    hexadecimal(hash.finalize())
}

fn hexadecimal(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
