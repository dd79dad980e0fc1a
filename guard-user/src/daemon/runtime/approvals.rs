//! Who approves a document that is loaded: the config's signers, by their signatures.

use jiff::tz::TimeZone;

use jiff::{SignedDuration, Timestamp};

use crate::approval::{self, AllowedSigners, Candidate, Missing, NotApproved, NotEnough, Signature, Signer};
use crate::audit::Who;
use crate::config::Policy;
use crate::config::policy::Approvals;
use crate::exemption::document::Document;
use crate::exemption::record::ApprovedBy;
use crate::hostname::hostname;
use crate::store::{ApprovalError, Kept};

/// When keys are judged: one has begun by the wall clock, and has not ended by the latest time that is known either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the wall clock.
    pub(super) wall: Timestamp,
    /// The latest time that is known.
    pub(super) latest: Timestamp,
}

impl Moment {
    /// What this judges, by both: nothing counts by the later one alone.
    pub(super) fn judge<T, E>(self, judge: impl Fn(Timestamp) -> Result<T, E>) -> Result<T, E> {
        let judged = judge(self.wall)?;
        if self.latest > self.wall { judge(self.latest) } else { Ok(judged) }
    }
}

/// Says who approves a document, as the rules of the config and the document itself want it. Where the config asks
/// for no approval nobody does, and nobody has to.
pub(super) fn approver<'a>(
    kept: &'a Kept,
    policy: &'a Policy,
    bytes: &'a [u8],
    signatures: &'a [Signature],
    who: &'a Who,
    now: Moment,
) -> impl Fn(&Document) -> Result<Vec<ApprovedBy>, ApprovalError> + 'a {
    move |document| {
        check_host(document, policy)?;
        let Some(config) = &policy.approval else { return Ok(Vec::new()) };
        check_emergency(document, kept, now.wall)?;
        let required = document.due(config).map_err(approval::NotApproved::from)?;
        let candidate = Candidate {
            bytes,
            namespace: approval::EXEMPTION,
            submitter: document.approval.submitter.as_deref(),
            required: &required,
        };
        judged((config, &kept.revoked_keys()), &candidate, signatures, who, now)
    }
}

/// Hours for which an emergency's pins can't be opened by another one: what goes on is approved by the rules.
const BETWEEN_EMERGENCIES: i64 = 24;

/// Minutes within which the window of an emergency begins.
const BEGINS_WITHIN: i64 = 5;

/// Refuses an emergency that is to begin later, or where one opened one of its pins just before.
fn check_emergency(document: &Document, kept: &Kept, now: Timestamp) -> Result<(), ApprovalError> {
    if document.emergency.is_none() {
        return Ok(());
    }
    // Else several, loaded a day apart, could follow each other without a gap.
    if document.valid_from.duration_since(now) > SignedDuration::from_mins(BEGINS_WITHIN) {
        return Err(ApprovalError::EmergencyLater { from: document.valid_from });
    }
    // Seconds are added to a moment that was: no calendar ends there.
    let bar = SignedDuration::from_hours(BETWEEN_EMERGENCIES);
    if let Some(at) = kept.older_at()
        && let until = at.saturating_add(bar).unwrap_or(now)
        && now < until
    {
        return Err(ApprovalError::EmergenciesUnknown { at, until });
    }
    let Some((id, pin, loaded_at)) = kept.last_emergency(&document.pins) else { return Ok(()) };
    let until = loaded_at.saturating_add(bar).unwrap_or(now);
    match now < until {
        true => Err(ApprovalError::EmergencyAgain { id, pin, until }),
        false => Ok(()),
    }
}

/// Refuses a document for other hosts, and one for no certain host where it has to be approved: whoever signed it for one
/// host would have signed it for all.
fn check_host(document: &Document, policy: &Policy) -> Result<(), ApprovalError> {
    let host = hostname().to_owned();
    let fleet = policy.host.fleet.as_deref();
    match document.hosts.as_slice() {
        [] if policy.approval.is_some() => Err(ApprovalError::NoHosts { host }),
        hosts if !hosts.is_empty() && !document.names_host(&host, fleet) => Err(ApprovalError::OtherHost {
            hosts: hosts.join(", "),
            this: fleet.map_or_else(|| host.clone(), |fleet| format!("{host} of the fleet {fleet}")),
            hint: "load it there, or have one signed that names this host or its fleet (host.fleet of the config)",
        }),
        _ => Ok(()),
    }
}

/// Who approves it, by signatures that are all good and together enough. Whose keys are all revoked is not named among those
/// who can sign.
///
/// # Errors
/// Where the allowed signers can't be read, or what is bad or missing.
pub(super) fn judged(
    (config, revoked): (&Approvals, &[String]),
    candidate: &Candidate<'_>,
    signatures: &[Signature],
    who: &Who,
    now: Moment,
) -> Result<Vec<ApprovedBy>, ApprovalError> {
    // Read anew each time: a key that was taken out of the file counts no more.
    let allowed = approval::load::load(&config.allowed_signers, &TimeZone::system())?;
    let loader = who.user.as_deref();
    let judge = |now| approval::judge(candidate, signatures, &config.signers, &allowed, loader, now);
    let (approvals, quorum) =
        now.judge(judge).map_err(|why| refusal(why, &who_can_sign(&config.signers, &allowed, revoked)))?;
    let seat_of = |identity: &str| {
        let seat = quorum.seats.iter().find(|seat| seat.identity == identity);
        seat.map(|seat| seat.role.clone())
    };
    let approved = approvals.into_iter().map(|approval| ApprovedBy {
        role: seat_of(&approval.identity),
        identity: approval.identity,
        fingerprint: approval.fingerprint,
    });
    Ok(approved.collect())
}

/// The signers, but for those who have keys of which every one is revoked.
fn who_can_sign<'s>(signers: &'s [Signer], allowed: &AllowedSigners, revoked: &[String]) -> Vec<&'s Signer> {
    let is_out = |signer: &Signer| {
        let mut keys = allowed.of_identity(&signer.identity).peekable();
        keys.peek().is_some() && keys.all(|key| revoked.contains(&key))
    };
    signers.iter().filter(|signer| !is_out(signer)).collect()
}

/// Why it is not approved; where signatures are missing with who can make them, and how.
fn refusal(why: NotApproved, signers: &[&Signer]) -> ApprovalError {
    let NotApproved::NotEnough(NotEnough::Missing { missing }) = &why else { return why.into() };
    let of_role = |missing: &Missing| {
        let has_it = signers.iter().filter(|signer| signer.roles.contains(&missing.role));
        let who: Vec<String> = has_it.map(|it| it.identity.escape_debug().to_string()).collect();
        let who = if who.is_empty() { "nobody whose key is not revoked".to_owned() } else { who.join(", ") };
        format!("the config has as \"{}\": {who}", missing.role.escape_debug())
    };
    let who: Vec<String> = missing.iter().map(of_role).collect();
    let next = format!(
        "{}. Whoever of them has not signed does it by `borderguard exemption sign FILE --key KEY`",
        who.join("; ")
    );
    ApprovalError::Missing { why, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lacks_approvals_is_told_who_can_make_them_and_how() {
        let signer = |identity: &str, roles: &[&str]| Signer {
            identity: identity.to_owned(),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            user: None,
        };
        let signers =
            [signer("aoife@example.org", &["legal", "dpo"]), signer("brian@example.org", &["legal"])];
        let missing = |role: &str| Missing { role: role.to_owned(), count: 1 };
        let why = NotEnough::Missing { missing: vec![missing("legal"), missing("dpo")] };
        let error = refusal(why.into(), &signers.each_ref());
        assert_eq!(error.code(), "approvals-missing");
        assert_eq!(
            error.to_string(),
            "not approved: approvals are missing: 1 as \"legal\", 1 as \"dpo\"; the config has as \"legal\": \
             aoife@example.org, brian@example.org; the config has as \"dpo\": aoife@example.org. Whoever of them has not \
             signed does it by `borderguard exemption sign FILE --key KEY`"
        );
        let other = refusal(NotEnough::NobodyElse.into(), &signers.each_ref());
        assert!(!other.to_string().contains("exemption sign"), "{other}");
    }
    #[test]
    fn whose_only_key_is_revoked_is_not_named_as_one_who_can_sign() {
        let key = |byte: u8| {
            let key = ssh_key::public::KeyData::Ed25519(ssh_key::public::Ed25519PublicKey([byte; 32]));
            let fingerprint = key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
            (ssh_key::PublicKey::from(key).to_openssh().unwrap(), fingerprint)
        };
        let (eve, eve_2, aoife) = (key(1), key(2), key(3));
        let lines = format!("eve {}\neve {}\naoife {}\n", eve.0, eve_2.0, aoife.0);
        let allowed = AllowedSigners::parse(lines.as_bytes(), &TimeZone::UTC).unwrap();
        let signer = |identity: &str| Signer {
            identity: identity.to_owned(),
            roles: vec!["legal".to_owned()],
            user: None,
        };
        let signers = ["eve", "aoife", "new"].map(signer);
        let named = |revoked: &[&str]| {
            let revoked: Vec<String> = revoked.iter().map(|&it| it.to_owned()).collect();
            let can = who_can_sign(&signers, &allowed, &revoked).into_iter();
            can.map(|it| it.identity.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named(&[&eve.1]), ["eve", "aoife", "new"], "with another key she can");
        assert_eq!(named(&[&eve.1, &eve_2.1]), ["aoife", "new"]);
    }
}
