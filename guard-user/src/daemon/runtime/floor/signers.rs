//! Who signs in the property, with keys of the tests' own.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use crate::approval::signature::Parsed;
use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, P256, key, sign};
use crate::approval::{ORDER, Signature};

/// Who can sign: the number of a key of the tests' own, the identity, and the role.
pub(super) const SIGNERS: [(usize, &str, &str); 3] = [
    (ED25519, "anne@example.org", "legal"),
    (OTHER_ED25519, "carl@example.org", "legal"),
    (P256, "bob@example.org", "compliance"),
];
/// Some of the signers, a bit each.
pub(super) type Who3 = u8;

/// Signatures are made by `ssh-keygen`, the same ones once.
pub(super) fn signature(which: usize, namespace: &str, bytes: &[u8]) -> Signature {
    type Made = Mutex<HashMap<(usize, String, Vec<u8>), Vec<u8>>>;
    static MADE: LazyLock<Made> = LazyLock::new(Mutex::default);
    let at = (which, namespace.to_owned(), bytes.to_vec());
    let known = MADE.lock().unwrap().get(&at).cloned();
    let made = known.unwrap_or_else(|| sign(key(which), namespace, "sha512", bytes));
    MADE.lock().unwrap().insert(at, made.clone());
    Signature { name: format!("{which}.sig"), bytes: made }
}

pub(super) fn fingerprint(which: usize) -> String {
    let made = signature(which, ORDER, b"known by this");
    Parsed::read(&made.bytes).unwrap().key.fingerprint(ssh_key::HashAlg::Sha256).to_string()
}

pub(super) fn chosen(by: Who3) -> impl Iterator<Item = usize> {
    (0..SIGNERS.len()).filter(move |at| by & 1 << at != 0)
}

pub(super) fn signed(by: Who3, namespace: &str, bytes: &[u8]) -> Vec<Signature> {
    chosen(by).map(|at| signature(SIGNERS[at].0, namespace, bytes)).collect()
}
