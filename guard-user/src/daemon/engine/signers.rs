//! The keys of the config's signers, as the file of allowed signers had them when it was last looked at.

use crate::approval::{AllowedSigners, Signer};

/// What is known of the keys.
#[derive(Default)]
pub(super) struct Signers {
    /// The file, or why it can't be used; `None` before it was looked at, or where the config requires no approvals.
    pub(super) file: Option<Result<AllowedSigners, String>>,
    /// What the audit trail has of the keys.
    pub(super) recorded: Option<Vec<String>>,
}

/// Each signer's keys, as `IDENTITY FINGERPRINT`, sorted.
pub(super) fn keys(file: &AllowedSigners, signers: &[Signer]) -> Vec<String> {
    let of = |signer: &Signer| {
        let identity = signer.identity.clone();
        file.of_identity(&signer.identity).map(move |key| format!("{identity} {key}")).collect::<Vec<_>>()
    };
    let mut keys: Vec<String> = signers.iter().flat_map(of).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
