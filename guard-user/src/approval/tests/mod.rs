//! Tests of approvals. The oracle is OpenSSH's own `ssh-keygen`: without it they fail and say so.

mod approvers_page;
mod bad_signatures;
mod differential;
mod documentation;
pub(crate) mod oracle;
mod quorum;
mod security_keys;
mod signers_file;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{AllowedSigners, Signer};

/// When the tests take place.
pub(crate) const NOW: &str = "2026-06-15T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn allowed(text: &str) -> AllowedSigners {
    AllowedSigners::parse(text.as_bytes(), &TimeZone::UTC).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

pub(crate) fn signer(identity: &str, roles: &[&str], user: Option<&str>) -> Signer {
    Signer {
        identity: identity.to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        user: user.map(str::to_owned),
    }
}
