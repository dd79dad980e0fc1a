//! Whether a document can be approved at all: by all signers of the config together, who have a key.

use std::fmt;

use jiff::Timestamp;

use super::allowed_signers::AllowedSigners;
use super::quorum::{NotEnough, Requirement, check_submitter, check_took_part, count};
use super::rule::Needed;
use super::signer::Signer;
use super::verify::{Approval, can_sign};
use super::{Candidate, EXEMPTION};

/// Why nobody can approve a document, however many sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hopeless {
    /// What is missing when everybody has signed who can.
    pub why: NotEnough,
    /// Signers of the config who can't sign: no key of theirs counts.
    pub without_key: Vec<String>,
}

impl Hopeless {
    /// The code that a load would be refused with.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.why.code()
    }
}

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            NotEnough::NobodyElse => f.write_str(
                "nobody can approve it: of those who can sign it in its roles there is nobody but who wrote it",
            )?,
            NotEnough::NothingRequired | NotEnough::NoRule { .. } | NotEnough::NoSubmitter => write!(f, "nobody can approve it: {}", self.why)?,
            why => write!(f, "nobody can approve it, also when all signers of the config have signed: {why}")?,
        }
        match self.without_key.as_slice() {
            [] => Ok(()),
            some => write!(f, " (no key of these signers counts: {})", some.join(", ")),
        }
    }
}

impl std::error::Error for Hopeless {}

/// Whether everybody together could approve the document, and which users among the signers can't load it then, since
/// nobody else would have approved it. Without a file of allowed signers everybody is taken to have a key.
///
/// # Errors
/// What would be missing.
pub fn prospect(
    candidate: &Candidate<'_>,
    signers: &[Signer],
    allowed: Option<&AllowedSigners>,
    now: Timestamp,
) -> Result<Vec<String>, Hopeless> {
    let identities: Vec<&str> = signers.iter().map(|signer| signer.identity.as_str()).collect();
    let has_key = |signer: &&Signer| {
        allowed.is_none_or(|allowed| can_sign(&signer.identity, &identities, allowed, EXEMPTION, now))
    };
    let (able, unable): (Vec<&Signer>, Vec<&Signer>) = signers.iter().partition(has_key);
    let able: Vec<Signer> = able.into_iter().cloned().collect();
    let all: Vec<Approval> = able.iter().zip(0..).map(signed).collect();
    let with = |loader: Option<&str>| {
        check_submitter(signers, candidate.submitter, loader)?;
        let quorum = count(&all, &able, candidate.required, candidate.submitter, loader)?;
        check_took_part(&all, signers, candidate.submitter, loader).map(|()| quorum)
    };
    // One who can't sign may be the user who loads it, and nobody else then.
    let is_absent = check_submitter(signers, candidate.submitter, None).is_err()
        || check_took_part(&all, signers, candidate.submitter, None).is_err();
    let alone = candidate.submitter.filter(|_| is_absent);
    with(alone).map_err(|why| {
        let asked = |role: &str| candidate.required.iter().any(|it: &Requirement<'_>| it.role == role);
        let without = unable.into_iter().filter(|signer| signer.roles.iter().any(|role| asked(role)));
        let without_key = without.map(|signer| signer.identity.clone()).collect();
        Hopeless { why, without_key }
    })?;
    let users = able.iter().filter_map(|signer| signer.user.as_deref());
    let mut cannot: Vec<String> = users.filter(|user| with(Some(user)).is_err()).map(str::to_owned).collect();
    cannot.sort();
    cannot.dedup();
    Ok(cannot)
}

/// The signers of a role that [`Needed`] asks for whose keys are known and may not sign this, each once, by their identity.
#[must_use]
pub fn without_namespace(
    signers: &[Signer],
    required: &[Needed],
    (allowed, namespace): (&AllowedSigners, &str),
    now: Timestamp,
) -> Vec<String> {
    let identities: Vec<&str> = signers.iter().map(|signer| signer.identity.as_str()).collect();
    let is_asked = |signer: &&Signer| required.iter().any(|it| signer.roles.contains(&it.role));
    let unable = |signer: &&Signer| !can_sign(&signer.identity, &identities, allowed, namespace, now);
    signers.iter().filter(is_asked).filter(unable).map(|signer| signer.identity.clone()).collect()
}

/// The approval of a signer as it would be, with a key of their own.
fn signed((signer, number): (&Signer, usize)) -> Approval {
    Approval {
        identity: signer.identity.clone(),
        fingerprint: format!("key {number}"),
        algorithm: String::new(),
        line: 0,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::approval::tests::oracle::{ED25519, OTHER_ED25519, P256, key};
    use crate::approval::tests::signer;

    const ANNE: &str = "anne@example.org";

    fn now() -> Timestamp {
        "2026-12-02T00:00:00Z".parse().unwrap()
    }

    fn told(
        required: &[(&str, u32)],
        submitter: Option<&str>,
        allowed: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let signers = [
            signer(ANNE, &["legal", "dpo"], Some("anne")),
            signer("bob@example.org", &["legal"], Some("bob")),
            signer("carl@example.org", &["board"], None),
        ];
        let required: Vec<Requirement<'_>> =
            required.iter().map(|&(role, count)| Requirement { role, count }).collect();
        let allowed = allowed.map(|text| AllowedSigners::parse(text.as_bytes(), &TimeZone::UTC).unwrap());
        let candidate = Candidate { bytes: b"", namespace: super::EXEMPTION, submitter, required: &required };
        prospect(&candidate, &signers, allowed.as_ref(), now())
            .map_err(|hopeless| format!("{}: {hopeless}", hopeless.code()))
    }

    #[test]
    fn what_all_signers_together_can_approve_is_approvable() {
        assert_eq!(told(&[("legal", 2)], Some(ANNE), None), Ok(vec!["bob".to_owned()]));
        assert_eq!(told(&[("legal", 1), ("board", 1)], Some(ANNE), None), Ok(Vec::new()));
        let refused = |required: &[(&str, u32)], submitter, code: &str| {
            let error = told(required, submitter, None).unwrap_err();
            assert!(error.starts_with(&format!("{code}: nobody can approve it")), "{error}");
        };
        refused(&[("legal", 3)], Some(ANNE), "too-few-signers");
        refused(&[("press", 1)], Some(ANNE), "too-few-signers");
        // Anne can't sit for both.
        refused(&[("legal", 2), ("dpo", 1)], Some("carl@example.org"), "approvals-missing");
        refused(&[("dpo", 1)], Some(ANNE), "nobody-else");
        refused(&[("dpo", 1)], None, "no-submitter");
        refused(&[], Some(ANNE), "nothing-required");
        // Who is no signer has to be the one who loads it.
        assert_eq!(told(&[("board", 1)], Some("dora"), None), Ok(vec!["anne".to_owned(), "bob".to_owned()]));
    }

    #[test]
    fn a_signer_without_a_key_that_counts_can_t_sign() {
        let lines = |bob: &str, carl: &str| {
            format!(
                "{ANNE} {}\nbob@example.org {bob} {}\n{carl} {}\n",
                key(ED25519).public,
                key(P256).public,
                key(OTHER_ED25519).public
            )
        };
        let both = [("legal", 2), ("board", 1)];
        let with = |bob: &str, carl: &str| told(&both, Some(ANNE), Some(&lines(bob, carl)));
        assert_eq!(with("", "carl@example.org"), Ok(Vec::new()));
        assert_eq!(with("valid-after=\"20270101Z\"", "carl@example.org"), Ok(Vec::new()), "it can later");
        for bob in ["valid-before=\"20261201Z\"", "namespaces=\"borderguard-audit\""] {
            let error = with(bob, "carl@example.org").unwrap_err();
            assert!(
                error.contains("too-few-signers") && error.ends_with("counts: bob@example.org)"),
                "{error}"
            );
        }
        // A key that fits several signers is nobody's.
        let error = with("", "*@example.org").unwrap_err();
        assert!(error.ends_with("(no key of these signers counts: carl@example.org)"), "{error}");
    }
}
