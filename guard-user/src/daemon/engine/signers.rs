//! The keys of the config's signers, as the file of allowed signers had them when it was last looked at.

use std::collections::BTreeSet;

use crate::approval::{AllowedSigners, Signer};

/// Each signer's identity with the fingerprint of a key of theirs.
pub(super) type Keys = BTreeSet<(String, String)>;

/// What is known of the keys.
#[derive(Default)]
pub(super) struct Signers {
    /// The keys, or why the file can't be used; `None` before it was looked at, or where the config requires no approvals.
    pub(super) keys: Option<Result<Keys, String>>,
    /// What the audit trail has of them.
    pub(super) recorded: Option<Keys>,
}

/// The keys that the file has for these signers.
pub(super) fn keys(file: &AllowedSigners, signers: &[Signer]) -> Keys {
    let of = |signer: &Signer| {
        let identity = signer.identity.clone();
        file.of_identity(&signer.identity).map(move |key| (identity.clone(), key)).collect::<Vec<_>>()
    };
    signers.iter().flat_map(of).collect()
}
