//! `[approval]`: who may approve exemptions. From the raw section to the checked one.

use std::collections::BTreeMap;

use super::each::{each, one};
use super::error::ErrorKind;
use super::policy::Approvals;
use super::read::{List, Section, Text};
use super::sink::{Report, Sink};
use super::values;
use crate::approval::Signer;

#[derive(Debug)]
pub(super) struct RawApproval {
    pub(super) allowed_signers: Option<Text>,
    signers: Vec<RawSigner>,
}

impl RawApproval {
    /// Where each signer's user stands; the file's start for one who has none.
    pub(super) fn users(&self) -> impl Iterator<Item = usize> {
        self.signers.iter().map(|signer| signer.user.as_ref().map_or(0, |user| user.span().start))
    }
}

#[derive(Debug)]
struct RawSigner {
    identity: Option<Text>,
    roles: Option<List>,
    user: Option<Text>,
}

/// The section, where the config has it.
pub(super) fn read(root: &Section<'_, '_>, sink: &mut dyn Report) -> Option<RawApproval> {
    let section = root.table("approval", sink);
    if !section.is_there() {
        return None;
    }
    let entries = section.entries("approval.signer", sink);
    if section.lacks("signer") || section.is_empty_list("signer") {
        let example = "[[approval.signer]] with identity = \"aoife@example.org\" and roles = [\"legal\"]";
        let kind = ErrorKind::Missing { example: example.to_owned() };
        sink.report(section.at, "approval.signer".to_owned(), kind);
    }
    let signers = entries.iter().map(|entry| RawSigner {
        identity: entry.text("identity", sink),
        roles: entry.list("roles", sink),
        user: entry.text("user", sink),
    });
    let signers = signers.collect();
    Some(RawApproval { allowed_signers: section.text("allowed_signers", sink), signers })
}

/// Checks the section; what is wrong is left out, and `None` is right only where the sink has errors.
pub(super) fn check(raw: &RawApproval, sink: &mut Sink<'_>) -> Option<Approvals> {
    let mut first_lines = BTreeMap::new();
    let signers = raw.signers.iter().filter_map(|raw| {
        let identity = one(&raw.identity, "approval.signer.identity", sink, values::identity);
        let roles = each(&raw.roles, "approval.signer.roles", sink, values::name);
        let user = one(&raw.user, "approval.signer.user", sink, values::unix_user);
        let (identity, at) = (identity?, raw.identity.as_ref()?.span().start);
        let line = sink.line(at);
        // Whoever writes a document is known by this name, and must not be somebody else in capitals.
        let first_line = *first_lines.entry(identity.to_ascii_lowercase()).or_insert(line);
        if first_line != line {
            let kind = ErrorKind::DuplicateName { name: identity.clone(), first_line };
            sink.error(at, "approval.signer.identity", kind);
        }
        Some(Signer { identity, roles, user })
    });
    let signers = signers.collect();
    let allowed_signers = one(&raw.allowed_signers, "approval.allowed_signers", sink, values::path);
    Some(Approvals { allowed_signers: allowed_signers?, signers })
}
