//! One signature: whose it is, and whether it counts now.

use jiff::Timestamp;
use ssh_key::HashAlg;

use super::allowed_signers::{AllowedSigners, Line};
use super::refusal::Refusal;
use super::signature::Parsed;

/// A signature that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Whose it is, as the config names them.
    pub identity: String,
    /// Of the key, as `ssh-keygen -l` writes it: `SHA256:` and Base64.
    pub fingerprint: String,
    /// The key's type, such as `ssh-ed25519`.
    pub algorithm: String,
    /// The line of the allowed signers that lets it count, from 1.
    pub line: usize,
}

/// Verifies a detached signature over `document`, as `ssh-keygen -Y verify -n NAMESPACE -I IDENTITY` does
/// for whichever of `identities` has the key.
///
/// # Errors
/// Why it does not count.
pub fn verify(
    document: &[u8],
    signature: &[u8],
    namespace: &str,
    identities: &[&str],
    allowed: &AllowedSigners,
    now: Timestamp,
) -> Result<Approval, Refusal> {
    let parsed = Parsed::read(signature)?;
    if parsed.namespace != namespace {
        return Err(Refusal::WrongNamespace { found: parsed.namespace, wanted: namespace.to_owned() });
    }
    let fingerprint = parsed.key.fingerprint(HashAlg::Sha256).to_string();
    // Whose key it is comes first, so that no stranger's key is reckoned with at all.
    let lines: Vec<&Line> = allowed.of_key(parsed.key.key_data()).collect();
    let identity = owner(&lines, identities, &fingerprint)?;
    let line = usable(&lines, identity, &fingerprint, namespace, now)?;
    parsed.verify(document)?;
    let algorithm = parsed.key.algorithm().as_str().to_owned();
    Ok(Approval { identity: identity.to_owned(), fingerprint, algorithm, line: line.number })
}

/// Whether some key of a signer counts for this now, or will.
pub(super) fn can_sign(
    identity: &str,
    identities: &[&str],
    allowed: &AllowedSigners,
    namespace: &str,
    now: Timestamp,
) -> bool {
    let counts = |line: &Line| {
        line.principals.matches(identity)
            && matches!(allows(line, namespace, now), Ok(()) | Err(Refusal::NotYetValid { .. }))
            && owner(&allowed.of_key(&line.key).collect::<Vec<_>>(), identities, "").is_ok()
    };
    allowed.lines().iter().any(counts)
}

/// The one identity that the lines of a key name.
fn owner<'i>(lines: &[&Line], identities: &[&'i str], fingerprint: &str) -> Result<&'i str, Refusal> {
    let fingerprint = || fingerprint.to_owned();
    let Some(first_line) = lines.first() else {
        return Err(Refusal::UnknownKey { fingerprint: fingerprint() });
    };
    let named = |identity: &str| lines.iter().any(|line| line.principals.matches(identity));
    let mut owners = identities.iter().copied().filter(|identity| named(identity));
    let Some(owner) = owners.next() else {
        return Err(Refusal::NoSuchSigner { fingerprint: fingerprint(), line: first_line.number });
    };
    // One person with a key for `*@example.org` could otherwise be everybody there.
    match owners.next() {
        Some(other) => Err(Refusal::SeveralSigners {
            fingerprint: fingerprint(),
            first: owner.to_owned(),
            second: other.to_owned(),
        }),
        None => Ok(owner),
    }
}

/// The first line by which the key may sign this now; else why the last one does not let it.
fn usable<'l>(
    lines: &[&'l Line],
    identity: &str,
    fingerprint: &str,
    namespace: &str,
    now: Timestamp,
) -> Result<&'l Line, Refusal> {
    let mut refusal = Refusal::UnknownKey { fingerprint: fingerprint.to_owned() };
    for line in lines.iter().filter(|line| line.principals.matches(identity)) {
        match allows(line, namespace, now) {
            Ok(()) => return Ok(line),
            Err(reason) => refusal = reason,
        }
    }
    Err(refusal)
}

/// Times count in whole seconds, as OpenSSH counts them.
fn allows(line: &Line, namespace: &str, now: Timestamp) -> Result<(), Refusal> {
    let number = line.number;
    if line.namespaces.as_ref().is_some_and(|namespaces| !namespaces.matches(namespace)) {
        return Err(Refusal::NamespaceNotAllowed { line: number, wanted: namespace.to_owned() });
    }
    if let Some(from) = line.valid_after
        && now.as_second() < from.as_second()
    {
        return Err(Refusal::NotYetValid { line: number, from });
    }
    if let Some(until) = line.valid_before
        && now.as_second() > until.as_second()
    {
        return Err(Refusal::Expired { line: number, until });
    }
    Ok(())
}
