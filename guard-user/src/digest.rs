//! Digests, by which files and documents are named.

use sha2::{Digest, Sha256};

/// Returns the SHA-256 (FIPS 180-4) of these bytes as `sha256sum` prints it: 64 digits in small letters.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes))
}

/// Returns two hexadecimal digits in small letters for each byte.
#[must_use]
pub fn hexadecimal(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
