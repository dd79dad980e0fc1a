//! Who approved a document: detached SSH signatures, held against OpenSSH's file of allowed signers.
//!
//! This is the boundary between a document that somebody wrote and one that may open the kernel, so it is
//! small and does no I/O but in [`load`]: [`signature`] reads what `ssh-keygen -Y sign` wrote,
//! [`allowed_signers`] says which key speaks for whom and when, [`verify`] puts both together for one
//! signature, and [`quorum`] says whether all of them are enough. Where it differs from `ssh-keygen -Y
//! verify`, it refuses more: docs/approvals.md lists where, and the tests hold it against that program.

pub mod allowed_signers;
pub mod beside;
mod bounds;
pub mod host_key;
pub mod load;
pub mod pattern;
mod prospect;
pub mod quorum;
mod refusal;
mod rule;
pub mod signature;
mod signer;
#[cfg(test)]
pub(crate) mod tests;
mod validity;
pub mod verify;
mod widest;

use jiff::Timestamp;

pub use allowed_signers::AllowedSigners;
pub use prospect::{Hopeless, prospect, without_namespace};
pub use quorum::{Missing, NotEnough, Quorum, Requirement, Seat};
pub use refusal::Refusal;
pub use rule::{ACTS, Needed, Rule, due, greatest, of_every_rule, requirements};
pub use signer::Signer;
pub use verify::{Approval, verify};
pub use widest::Widest;

/// What a signature over an exemption's document is made for; one made for anything else never counts
/// (PROTOCOL.sshsig, "namespace").
pub const EXEMPTION: &str = "borderguard-exemption";
/// What a signature over a document is made for that lifts an order.
pub const ORDER: &str = "borderguard-order";
/// What is said wherever a config asks for nobody's approval.
pub const NONE_REQUIRED: &str = "no approval is required: one person may open";
/// What a signature over a config is made for, which newly lets anything pass.
pub const POLICY: &str = "borderguard-policy";

/// For what a signature of a geo database is made (`ssh-keygen -Y sign -n`).
pub const GEO: &str = "borderguard-geo";
/// What a signature of a geo database is made for that is older than one that was in force: one for [`GEO`] says nothing of
/// when it may be put in its place.
pub const GEO_OLDER: &str = "borderguard-geo-older";
/// What a signature over a checkpoint of the audit trail is made for.
pub const AUDIT: &str = "borderguard-audit";
/// What a signature over a receipt of an exemption is made for.
pub const RECEIPT: &str = "borderguard-receipt";

/// A document with what it says about its own approval.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The file's bytes, to the last one.
    pub bytes: &'a [u8],
    /// What its signatures are made for: [`EXEMPTION`], or [`ORDER`].
    pub namespace: &'static str,
    /// Who wrote it.
    pub submitter: Option<&'a str>,
    /// Who has to approve it.
    pub required: &'a [Requirement<'a>],
}

/// A detached signature as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of its file, for errors.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Why a document is not approved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// A signature is bad; one is enough, whatever the others are.
    #[error("{signature}: {refusal}; every signature has to count: remove this one, or have it made anew")]
    Refused {
        /// The name of its file.
        signature: String,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// Every signature is good, and together they are not what is needed.
    #[error(transparent)]
    NotEnough(#[from] NotEnough),
}

impl NotApproved {
    /// A short name that stays the same from release to release.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { refusal, .. } => refusal.code(),
            Self::NotEnough(not_enough) => not_enough.code(),
        }
    }
}

/// Every signature of a document, each of them good and made for this namespace.
///
/// # Errors
/// The first bad one: a document to which somebody attached something bad is to be looked at, not loaded.
pub fn verify_all(
    (bytes, namespace): (&[u8], &str),
    signatures: &[Signature],
    signers: &[Signer],
    allowed: &AllowedSigners,
    now: Timestamp,
) -> Result<Vec<Approval>, NotApproved> {
    let identities: Vec<&str> = signers.iter().map(|signer| signer.identity.as_str()).collect();
    let verified = signatures.iter().map(|signature| {
        verify(bytes, &signature.bytes, namespace, &identities, allowed, now)
            .map_err(|refusal| NotApproved::Refused { signature: signature.name.clone(), refusal })
    });
    verified.collect()
}

/// Whether a config, or a geo database, is approved that opens something: every signature is good and made for the namespace,
/// and together they are what the config in force asks for. Nobody is known to have written it: signatures of whoever did
/// count as well.
///
/// # Errors
/// What is bad, or what is missing.
pub fn judge_policy(
    (bytes, namespace): (&[u8], &str),
    signatures: &[Signature],
    (signers, required): (&[Signer], &[Needed]),
    allowed: &AllowedSigners,
    now: Timestamp,
) -> Result<(Vec<Approval>, Quorum), NotApproved> {
    let approvals = verify_all((bytes, namespace), signatures, signers, allowed, now)?;
    // No signer has an empty identity.
    let quorum = quorum::count(&approvals, signers, &requirements(required), Some(""), None)?;
    Ok((approvals, quorum))
}

/// Whether a document is approved: every signature is good, and together they are what it asks for.
/// `loader` is the Unix user who loads it.
///
/// # Errors
/// What is bad, or what is missing.
pub fn judge(
    candidate: &Candidate<'_>,
    signatures: &[Signature],
    signers: &[Signer],
    allowed: &AllowedSigners,
    loader: Option<&str>,
    now: Timestamp,
) -> Result<(Vec<Approval>, Quorum), NotApproved> {
    let approvals = verify_all((candidate.bytes, candidate.namespace), signatures, signers, allowed, now)?;
    quorum::check_submitter(signers, candidate.submitter, loader)?;
    let quorum = quorum::count(&approvals, signers, candidate.required, candidate.submitter, loader)?;
    quorum::check_took_part(&approvals, signers, candidate.submitter, loader)?;
    Ok((approvals, quorum))
}
