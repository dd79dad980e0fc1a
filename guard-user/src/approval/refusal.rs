//! Why a signature does not count.

use jiff::Timestamp;

use super::bounds::{RSA_BITS, SIGNATURE_BYTES};

/// Why a signature does not count. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The file is longer than [`SIGNATURE_BYTES`].
    #[error("the file has more than {SIGNATURE_BYTES} bytes, and no signature has as many")]
    TooLong,
    /// Not exactly one armoured SSH signature.
    #[error("this is not one SSH signature and nothing else: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A form, hash or key that this program can't verify, or does not take for good enough.
    #[error("{what} are not accepted: {why}")]
    Unsupported {
        /// What it is, in the plural.
        what: &'static str,
        /// Why it does not count, or what to use instead.
        why: &'static str,
    },
    /// A length of RSA key outside what counts.
    #[error("the RSA key has {bits} bits, and {} to {} are accepted", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits {
        /// How many it has.
        bits: usize,
    },
    /// Made for something else.
    #[error("it was made for \"{}\" and not for \"{wanted}\": sign again with -n {wanted}", found.escape_debug())]
    WrongNamespace {
        /// What it was made for.
        found: String,
        /// What it had to be made for.
        wanted: String,
    },
    /// No line of the file has the key.
    #[error("the key {fingerprint} is not among the allowed signers")]
    UnknownKey {
        /// Of the key that made it.
        fingerprint: String,
    },
    /// The lines that have the key name nobody whom the config knows.
    #[error("the key {fingerprint} (line {line} of the allowed signers) belongs to no signer of the config")]
    NoSuchSigner {
        /// Of the key that made it.
        fingerprint: String,
        /// The first line that has the key.
        line: usize,
    },
    /// The lines that have the key fit several signers, so that it could be any of them.
    #[error("the key {fingerprint} could be that of {} and of {}: give each a line of their own", first.escape_debug(), second.escape_debug())]
    SeveralSigners {
        /// Of the key that made it.
        fingerprint: String,
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// The line that has the key does not let it sign for this.
    #[error("line {line} of the allowed signers does not let this key sign for \"{wanted}\"")]
    NamespaceNotAllowed {
        /// The line.
        line: usize,
        /// What it would have to allow.
        wanted: String,
    },
    /// The key's time has not come.
    #[error("the key is valid from {from} on (line {line} of the allowed signers)")]
    NotYetValid {
        /// The line.
        line: usize,
        /// Its first second.
        from: Timestamp,
    },
    /// The key's time is over.
    #[error("the key was valid until {until} (line {line} of the allowed signers)")]
    Expired {
        /// The line.
        line: usize,
        /// Its last second.
        until: Timestamp,
    },
    /// A security key signed without being touched.
    #[error("the security key was not touched, so that a program may have signed alone")]
    NotTouched,
    /// The signature is not one of this key over these bytes.
    #[error("the document is not the one that was signed, or the signature was altered")]
    Altered,
}

impl Refusal {
    /// A short name that stays the same from release to release, for programs and the audit trail.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "signature-too-long",
            Self::Malformed { .. } => "signature-malformed",
            Self::Unsupported { .. } => "signature-unsupported",
            Self::RsaBits { .. } => "rsa-bits",
            Self::WrongNamespace { .. } => "wrong-namespace",
            Self::UnknownKey { .. } => "unknown-key",
            Self::NoSuchSigner { .. } => "no-such-signer",
            Self::SeveralSigners { .. } => "several-signers",
            Self::NamespaceNotAllowed { .. } => "namespace-not-allowed",
            Self::NotYetValid { .. } => "key-not-yet-valid",
            Self::Expired { .. } => "key-expired",
            Self::NotTouched => "not-touched",
            Self::Altered => "altered",
        }
    }
}
