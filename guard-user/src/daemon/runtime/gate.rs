//! Whether a config may be taken: one that newly lets anything pass needs the signatures that the config in force asks for.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::info;

use super::patience::within;
use crate::approval::{self, beside};
use crate::config::policy::{Approvals, Policy};
use crate::config::{self, Checked, Surroundings, limits};
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::{Held, LoadFailure, SignedConfig};
use crate::exemption::record::ApprovedBy;
use crate::geo::GeoDb;
use crate::inputs;
use crate::openings::{Openings, World, openings};
use crate::store::last_policy::{self, LastPolicy};
use crate::store::sha256;

/// A config that was read.
pub(super) struct Candidate {
    /// The file's bytes, which signatures are made over.
    bytes: Vec<u8>,
    observe: bool,
    /// What they say.
    pub(super) checked: Checked,
}

impl Candidate {
    /// Reads a config that was read before and may be something else by now: a pipe would be waited for.
    ///
    /// # Errors
    /// Every error in it, or that it can't be read.
    pub(super) fn read(file: &Path, observe: bool) -> Result<Self, LoadFailure> {
        let unreadable = |error: std::io::Error| bad_input(format!("{}: {error}", file.display()));
        if std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(bad_input(format!("{}: it is not a regular file", file.display())));
        }
        let mut bytes = Vec::new();
        let opened = File::open(file).map_err(unreadable)?;
        opened.take(limits::FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let checked = config::parse(file, &bytes, &Surroundings::new(None));
        let mut checked = checked.map_err(|errors| bad_input(errors.to_string()))?;
        checked.policy.host.observe |= observe;
        Ok(Self { bytes, observe, checked })
    }

    /// Keeps it as the one that the next is held against, where it asks for signatures of that.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(super) fn keep(&self, state: &Path) -> Result<(), LoadFailure> {
        let kept = match asks(&self.checked.policy) {
            Some(_) => {
                last_policy::write(state, &LastPolicy { bytes: self.bytes.clone(), observe: self.observe })
            }
            None => last_policy::forget(state),
        };
        kept.map_err(|error| LoadFailure {
            kind: ErrorKind::Failed,
            message: format!("what the next config is held against can't be kept: {}: {error}", path(state)),
        })
    }
}

/// The config that the next one is held against.
pub(super) struct InForce {
    last: LastPolicy,
    policy: Policy,
    approvals: Approvals,
}

impl InForce {
    /// Of this state directory; `None` where it asks for no signatures.
    ///
    /// # Errors
    /// Where it can't be read: nobody knows then what opens.
    pub(super) fn read(state: &Path) -> Result<Option<Self>, LoadFailure> {
        let unusable = |why: String| {
            bad_input(format!(
                "the config that asks for signatures of this one can't be read, so that nobody knows what this one \
                 opens: {}: {why}. Restore the file, or remove it where all that opens is meant",
                path(state)
            ))
        };
        let last = last_policy::read(state).map_err(|error| unusable(error.to_string()))?;
        let Some(last) = last else { return Ok(None) };
        let parsed = config::parse(Path::new(last_policy::FILE), &last.bytes, &Surroundings::new(None));
        let mut policy = parsed.map_err(|errors| unusable(errors.to_string()))?.policy;
        policy.host.observe |= last.observe;
        // Users that are gone meanwhile are compared by their names.
        let _unknown = inputs::look_up_users(&mut policy);
        let approvals = asks(&policy).cloned();
        Ok(approvals.map(|approvals| Self { last, policy, approvals }))
    }

    /// Whether a config may take its place. `file` is where its signatures lie beside; `policy` is the one that it says with
    /// its users looked up. Databases are compared where it names others than this one; `before` is what this one has then.
    ///
    /// # Errors
    /// What it newly lets pass, and whose signature is bad or missing.
    pub(super) fn admit(
        &self,
        (file, revoked): (&Path, &[String]),
        (candidate, policy): (&Candidate, &Policy),
        database: &GeoDb,
        before: impl FnOnce() -> Option<GeoDb>,
    ) -> Result<Option<SignedConfig>, LoadFailure> {
        if candidate.bytes == self.last.bytes && candidate.observe == self.last.observe {
            return Ok(None);
        }
        let before = if policy.geo.files == self.policy.geo.files { None } else { before() };
        let old = World { policy: &self.policy, geo: before.as_ref().unwrap_or(database), exemptions: &[] };
        let new = World { policy, geo: database, exemptions: &[] };
        let found = openings(&old, &new).map_err(|error| bad_input(error.to_string()))?;
        if found.is_empty() {
            return Ok(None);
        }
        match self.signed((file, revoked), &candidate.bytes) {
            Ok(by) => {
                let names: Vec<&str> = by.iter().map(|it| it.identity.as_str()).collect();
                info!("the config opens, signed by {}: {found}", names.join(" and "));
                Ok(Some(SignedConfig { sha256: sha256(&candidate.bytes), opens: found.to_string(), by }))
            }
            Err(why) => Err(self.refusal(file, &found, &why)),
        }
    }

    fn signed(&self, (file, revoked): (&Path, &[String]), bytes: &[u8]) -> Result<Vec<ApprovedBy>, String> {
        let signatures = beside::read(file).map_err(|error| error.to_string())?;
        let allowed = approval::load::load(&self.approvals.allowed_signers, &TimeZone::system());
        let allowed = allowed.map_err(|error| error.to_string())?;
        let of = (self.approvals.signers.as_slice(), self.approvals.policy.as_slice());
        let judged = approval::judge_policy(bytes, &signatures, of, &allowed, Timestamp::now());
        let (approvals, quorum) = judged.map_err(|error| error.to_string())?;
        if let Some(by) = approvals.iter().find(|by| revoked.contains(&by.fingerprint)) {
            let approval::Approval { identity, fingerprint, .. } = by;
            return Err(format!(
                "the key {fingerprint} of {identity} is revoked (`borderguard approval list`): take its signature away"
            ));
        }
        let role_of = |identity: &str| quorum.seats.iter().find(|seat| seat.identity == identity);
        let by = approvals.into_iter().map(|it| ApprovedBy {
            role: role_of(&it.identity).map(|seat| seat.role.clone()),
            identity: it.identity,
            fingerprint: it.fingerprint,
        });
        Ok(by.collect())
    }

    fn refusal(&self, file: &Path, found: &Openings, why: &str) -> LoadFailure {
        let file = file.display();
        bad_input(format!(
            "{file} newly lets pass: {found}. The config in force asks for signatures of that ([approval.policy]), and \
             all of the new one waits for them: {why}. `borderguard policy diff` says more of it; a signature is \
             {file}.NAME.sig, as `ssh-keygen -Y sign -n {}` makes it",
            approval::POLICY
        ))
    }
}

/// By which config a start goes on. It goes on in any case: a host that guards nothing lets everything pass.
pub(super) enum AtStart {
    /// By the one that it was given.
    Given(Held),
    /// Likewise, which asks for signatures of the next one, and no config is kept that it could be held against.
    First(Held),
    /// By the one that it was given, which was held against none, for this reason.
    Unheld(String),
    /// By the one in force, for what this says of the other.
    InForce(Box<Policy>, String),
}

/// What a start holds its config against: the same as a reload does, with the databases that it can read. It waits no longer
/// than so long for the disk.
///
/// # Errors
/// Where the config can't be read any more.
pub(super) fn at_start(
    (state, patience): (&Path, Duration),
    ((file, observe), revoked): ((&Path, bool), &[String]),
    policy: &Policy,
    database: impl FnOnce() -> Option<GeoDb>,
    before: impl FnOnce() -> Option<GeoDb>,
) -> Result<AtStart, LoadFailure> {
    let folder = state.to_owned();
    let in_force = match within(patience, "last-policy", move || InForce::read(&folder)) {
        Ok(Ok(in_force)) => in_force,
        // Whoever makes it unreadable could as well remove it.
        Ok(Err(failure)) => return Ok(AtStart::Unheld(failure.message)),
        Err(why) => return Ok(AtStart::Unheld(format!("{}: {why}", path(state)))),
    };
    if in_force.is_none() && asks(policy).is_none() {
        return Ok(AtStart::Given(Held::default()));
    }
    let (mut held, is_first) = (Held::default(), in_force.is_none());
    let candidate = Candidate::read(file, observe)?;
    if candidate.checked.policy.fingerprint != policy.fingerprint {
        return Err(bad_input(format!("{} was changed while it was read: start again", file.display())));
    }
    if let Some(in_force) = in_force {
        let no_database = || {
            bad_input("no geo database can be read, so that nobody knows what the config opens".to_owned())
        };
        let database = database().ok_or_else(no_database);
        let admitted =
            database.and_then(|it| in_force.admit((file, revoked), (&candidate, policy), &it, before));
        match admitted {
            Ok(signed) => held.signed = signed,
            Err(failure) => return Ok(AtStart::InForce(Box::new(in_force.policy), failure.message)),
        }
    }
    let folder = state.to_owned();
    let kept = within(patience, "last-policy", move || candidate.keep(&folder));
    // What opens later is held against the one before it then, which opened no more than this one does.
    held.unkept = match kept {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.message),
        Err(why) => {
            Some(format!("what the next config is held against can't be kept: {}: {why}", path(state)))
        }
    };
    Ok(if is_first { AtStart::First(held) } else { AtStart::Given(held) })
}

/// What a config asks for, of the next one.
fn asks(policy: &Policy) -> Option<&Approvals> {
    policy.approval.as_ref().filter(|approvals| !approvals.policy.is_empty())
}

/// What is told of a config that was held against none because none is kept, though a daemon was at work before.
pub(super) fn none_is_kept(state: &Path) -> String {
    format!(
        "{} is not there: it was removed, or no config before this one asked for signatures of the next \
         ([approval.policy])",
        path(state)
    )
}

fn path(state: &Path) -> String {
    state.join(last_policy::FILE).display().to_string()
}

const fn bad_input(message: String) -> LoadFailure {
    LoadFailure { kind: ErrorKind::BadInput, message }
}

#[cfg(test)]
mod tests;
