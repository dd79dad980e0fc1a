//! Whether a config may be taken: one that newly lets anything pass needs the signatures that the config in force asks for.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::info;

use super::approvals::Moment;
use super::kept_config::{ConfigKeeper, NotRead};
use crate::approval::{self, Signature, beside};
use crate::config::policy::{Approvals, Policy};
use crate::config::{self, Checked, Surroundings};
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::{Held, LoadFailure, SignedFile};
use crate::exemption::record::ApprovedBy;
use crate::geo::GeoDb;
use crate::inputs;
use crate::openings::{Change, Openings, World, openings};
use crate::store::last_policy::{self, LastPolicy, NamedUsers};
use crate::store::{KnownSpent, sha256};

/// A file that is signed, and its signatures where they do not lie beside it.
#[derive(Clone, Copy)]
pub(super) struct OfFile<'a> {
    /// The file, for messages where the signatures are here.
    pub(super) file: &'a Path,
    /// The signatures; `None` for those that lie beside it.
    pub(super) signatures: Option<&'a [Signature]>,
}

impl<'a> From<&'a Path> for OfFile<'a> {
    fn from(file: &'a Path) -> Self {
        Self { file, signatures: None }
    }
}

/// A config that was read.
pub(super) struct Candidate {
    /// Its text, which signatures are made over.
    bytes: Vec<u8>,
    observe: bool,
    /// What they say.
    pub(super) checked: Checked,
}

impl Candidate {
    /// Reads a config that was read before and may be something else by now.
    ///
    /// # Errors
    /// Every error in it, or that it can't be read.
    pub(super) fn read(file: &Path, observe: bool) -> Result<Self, LoadFailure> {
        let text = config::text(file).map_err(|errors| bad_input(errors.to_string()))?;
        Self::of(file, text, observe)
    }

    /// The config of this text.
    ///
    /// # Errors
    /// Every error in it.
    pub(super) fn of(file: &Path, bytes: Vec<u8>, observe: bool) -> Result<Self, LoadFailure> {
        let checked = config::parse(file, &bytes, &Surroundings::new(None));
        let mut checked = checked.map_err(|errors| bad_input(errors.to_string()))?;
        checked.policy.host.observe |= observe;
        Ok(Self { bytes, observe, checked })
    }

    /// Why it was held against none, where nobody has signed it since: whose signatures that takes is what it asks for of the
    /// next one. Those of a text that was replaced are from before that.
    pub(super) fn still_unheld<'a>(
        &self,
        (file, spent): (impl Into<OfFile<'a>>, &KnownSpent),
        unheld: Option<&str>,
    ) -> Option<String> {
        let (unheld, approvals) = (unheld?, asks(&self.checked.policy)?);
        let counts = not_spent(&sha256(&self.bytes), spent).is_ok()
            && signed(file, (&self.bytes, approval::POLICY), approvals, spent).is_ok();
        (!counts).then(|| unheld.to_owned())
    }

    /// Who signed it, where the last one that was signed has the signature of a key that is revoked since: by their word goes on
    /// from now what that one opened.
    pub(super) fn signed_anew<'a>(
        &self,
        of: impl Into<OfFile<'a>>,
        spent: &KnownSpent,
        others: &[SignedFile],
    ) -> Option<SignedFile> {
        let approvals =
            asks(&self.checked.policy).filter(|_| spent.as_ref().is_ok_and(|it| it.is_by_revoked))?;
        let (of, sha256): (OfFile<'a>, _) = (of.into(), sha256(&self.bytes));
        if others.iter().any(|it| it.sha256 == sha256) {
            return None;
        }
        let by = signed(of, (&self.bytes, approval::POLICY), approvals, spent).ok()?;
        let opens =
            "what the one before it has opened, which was signed with a key that is revoked".to_owned();
        Some(SignedFile { file: of.file.to_owned(), sha256, opens, by })
    }

    /// It as the one that the next is held against, where it asks for signatures of that, with why it was held against none itself,
    /// and the users that it names.
    pub(super) fn to_keep(&self, unheld: Option<String>, users: NamedUsers) -> Option<LastPolicy> {
        let (bytes, observe) = (self.bytes.clone(), self.observe);
        asks(&self.checked.policy).map(|_| LastPolicy { bytes, observe, unheld, users })
    }
}

/// The config that the next one is held against.
pub(super) struct InForce {
    last: LastPolicy,
    policy: Policy,
}

impl InForce {
    /// Of what is kept; `None` where none is, or it asks for no signatures.
    ///
    /// # Errors
    /// Where it can't be used: nobody knows then what opens. Why the disk has not answered is `Ok(Err(_))`.
    pub(super) fn kept(
        kept: Result<Option<LastPolicy>, NotRead>,
        state: &Path,
    ) -> Result<Result<Option<Self>, String>, LoadFailure> {
        let at = path(state);
        match kept {
            Ok(last) => last.map_or(Ok(None), |last| Self::of(last, &at)).map(Ok),
            Err(NotRead::Late(why)) => Ok(Err(format!("{at}: {why}"))),
            Err(NotRead::Unusable(why)) => Err(unusable(&at, &why)),
        }
    }

    /// Of a config that was in force last; `None` where it asks for no signatures. `at` is where it comes from.
    ///
    /// # Errors
    /// Where it can't be used any more.
    pub(super) fn of(last: LastPolicy, at: &str) -> Result<Option<Self>, LoadFailure> {
        Self::any(last, at).map(|it| asks(&it.policy).is_some().then_some(it))
    }

    /// Likewise, whether it asks for any or not.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(super) fn any(last: LastPolicy, at: &str) -> Result<Self, LoadFailure> {
        let parsed = config::parse(Path::new(last_policy::FILE), &last.bytes, &Surroundings::new(None));
        let mut policy = parsed.map_err(|errors| unusable(at, &errors.to_string()))?.policy;
        policy.host.observe |= last.observe;
        policy.name_users(&last.users);
        // What an earlier version has kept has no numbers; users that are gone meanwhile are compared by their names then.
        let _unknown = inputs::look_up_users(&mut policy);
        Ok(Self { last, policy })
    }

    /// Whether it is this one.
    pub(super) fn is(&self, other: &LastPolicy) -> bool {
        self.last.bytes == other.bytes
            && self.last.observe == other.observe
            && self.policy.named_users() == other.users
    }

    /// It as it was kept.
    pub(super) const fn last(&self) -> &LastPolicy {
        &self.last
    }

    /// Whether it asks for signatures of what the next one opens.
    pub(super) fn asks(&self) -> bool {
        asks(&self.policy).is_some()
    }

    /// It as it was kept, and what it says.
    pub(super) fn into_policy(self) -> (LastPolicy, Policy) {
        (self.last, self.policy)
    }

    /// Why it was held against none itself, where nobody has signed it since.
    pub(super) fn unheld(&self) -> Option<&str> {
        self.last.unheld.as_deref()
    }

    /// Whether a config may take its place. `file` is where its signatures lie beside; `policy` is the one that it says with
    /// its users looked up. Both are compared by the database in force, `before`: what another one opens is judged by itself,
    /// by the config that is taken, and compared by the other one here each change would hide the other. Where it names
    /// other files than this one does, `database`, which it has from those, is compared with the one in force here.
    ///
    /// # Errors
    /// What it newly lets pass, and whose signature is bad or missing.
    pub(super) fn admit<'a>(
        &self,
        (of, spent): (impl Into<OfFile<'a>>, &KnownSpent),
        (candidate, policy): (&Candidate, &Policy),
        database: &GeoDb,
        before: Option<&GeoDb>,
    ) -> Result<Option<SignedFile>, LoadFailure> {
        let Some(found) = self.opened_by((candidate, policy), database, before)? else { return Ok(None) };
        let of = of.into();
        let file = of.file;
        let is_same_text = self.is_same_text(candidate);
        let approvals = asks(&self.policy).ok_or_else(|| "it asks for none".to_owned());
        let sha256 = sha256(&candidate.bytes);
        let by = approvals.and_then(|it| signed(of, (&candidate.bytes, approval::POLICY), it, spent));
        let is_new = || if is_same_text { Err(self.other_users(policy)) } else { not_spent(&sha256, spent) };
        match by.and_then(|by| is_new().map(|()| by)) {
            Ok(by) => {
                let names: Vec<&str> = by.iter().map(|it| it.identity.as_str()).collect();
                info!("the config opens, signed by {}: {found}", names.join(" and "));
                Ok(Some(SignedFile { file: file.to_owned(), sha256, opens: found.to_string(), by }))
            }
            Err(why) => Err(self.refusal(file, &found, &why)),
        }
    }

    /// What a config opens that takes its place, by the databases that [`admit`](Self::admit) has; `None` where that is nothing.
    ///
    /// # Errors
    /// Where that can't be computed.
    pub(super) fn opened_by(
        &self,
        (candidate, policy): (&Candidate, &Policy),
        database: &GeoDb,
        before: Option<&GeoDb>,
    ) -> Result<Option<Openings>, LoadFailure> {
        if self.is_same_text(candidate) && policy.named_users() == self.policy.named_users() {
            return Ok(None);
        }
        let in_force = before.unwrap_or(database);
        let has_others = policy.geo.files != self.policy.geo.files;
        let world = |policy, geo| World { policy, geo, exemptions: &[], may_exempt: true };
        let (old, new) =
            (world(&self.policy, in_force), world(policy, if has_others { database } else { in_force }));
        let mut found = openings(&old, &new).map_err(|error| bad_input(error.to_string()))?;
        if before.is_none() {
            found.changes.push(databases_before_are_gone(policy, &self.policy));
        }
        Ok((!found.is_empty()).then_some(found))
    }

    fn is_same_text(&self, candidate: &Candidate) -> bool {
        candidate.bytes == self.last.bytes && candidate.observe == self.last.observe
    }

    /// That the text in force is the same, and its signatures are of a time when its names meant other users.
    fn other_users(&self, policy: &Policy) -> String {
        let (before, now) = (self.policy.named_users(), policy.named_users());
        let others = before.iter().filter_map(|(name, was)| Some((name, was, now.get(name)?)));
        let others: Vec<String> = others
            .filter(|(_, was, is)| was != is)
            .map(|(name, was, is)| format!("{name} was {was} and is {is}"))
            .collect();
        format!(
            "this very text is in force, and its signatures don't cover which users its names are in /etc/passwd ({}): give \
             the names their numbers back, or change the text, if only by a comment with the date, and have it signed anew",
            others.join(", ")
        )
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

/// That this config was not in force before, and replaced since.
///
/// # Errors
/// That it was: its signatures may be from then.
fn not_spent(sha256: &str, spent: &KnownSpent) -> Result<(), String> {
    match spent {
        Ok(spent) if spent.configs.contains(sha256) => Err(
            "this very text was in force before and was replaced since, so that its signatures may be from then and do not \
             count: change the text, if only by a comment with the date, and have it signed anew"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// That the databases of a config can't be compared with those in force: any address may be in another place by them.
fn databases_before_are_gone(new: &Policy, old: &Policy) -> Change {
    let named = |policy: &Policy| match policy.geo.files.as_slice() {
        [] => "the embedded database".to_owned(),
        files => files.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    Change {
        key: "geo.files".to_owned(),
        was: named(old),
        is: named(new),
        opens: "the database in force can't be read, so that what this config opens is not known".to_owned(),
    }
}

fn unusable(at: &str, why: &str) -> LoadFailure {
    bad_input(format!(
        "the config that asks for signatures of this one can't be read, so that nobody knows what this one opens: {at}: \
         {why}. Restore the file, or remove it: then the next start holds the config against the one that the audit trail has"
    ))
}

/// Who signed a file, where the signatures are what these approvals ask for of a config.
///
/// # Errors
/// What is bad or missing.
pub(super) fn signed<'a>(
    of: impl Into<OfFile<'a>>,
    content: (&[u8], &str),
    approvals: &Approvals,
    spent: &KnownSpent,
) -> Result<Vec<ApprovedBy>, String> {
    let spent = spent
        .as_ref()
        .map_err(|why| format!("which keys are revoked is not known, so that no signature counts: {why}"))?;
    let OfFile { file, signatures } = of.into();
    let signatures = match signatures {
        Some(given) => given.to_vec(),
        None => beside::read(file).map_err(|error| error.to_string())?,
    };
    let allowed = approval::load::load(&approvals.allowed_signers, &TimeZone::system());
    let allowed = allowed.map_err(|error| error.to_string())?;
    let of = (approvals.signers.as_slice(), approvals.policy.as_slice());
    let wall = Timestamp::now();
    let now = Moment { wall, latest: spent.latest.unwrap_or(wall) };
    let judged = now.judge(|now| approval::judge_policy(content, &signatures, of, &allowed, now));
    let (approvals, quorum) = judged.map_err(|error| error.to_string())?;
    if let Some(by) = approvals.iter().find(|by| spent.keys.contains(&by.fingerprint)) {
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

/// By which config a start goes on. It goes on in any case: a host that guards nothing lets everything pass.
pub(super) enum AtStart {
    /// By the one that it was given.
    Given(Held),
    /// By the one in force, for what this says of the other.
    InForce(Box<Policy>, Held),
}

/// The config that a start was given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// Its file.
    pub(super) file: &'a Path,
    /// Whether the daemon is told to observe only.
    pub(super) observe: bool,
    /// Why the file can't be used, where the config is the one that is kept.
    pub(super) refused: Option<&'a str>,
}

/// Holds the config of a start against the one in force, as a reload does, with the databases that it can read. It waits no
/// longer than so long for the disk. `recorded` is the config in force as the audit trail has it, for where none is kept;
/// `is_anew` is whether no daemon was at work before.
///
/// # Errors
/// Where the config can't be read any more.
pub(super) fn at_start(
    (configs, patience): (&ConfigKeeper, Duration),
    (recorded, is_anew): (impl FnOnce() -> Result<Option<LastPolicy>, String>, bool),
    (Given { file, observe, refused }, spent): (Given<'_>, &KnownSpent),
    policy: &Policy,
    (database, before): (impl FnOnce() -> Option<GeoDb>, Option<&GeoDb>),
) -> Result<AtStart, LoadFailure> {
    let state = configs.state();
    let kept = match InForce::kept(configs.read(patience), state) {
        Ok(kept) => kept,
        // Whoever makes it unreadable could as well remove it.
        Err(failure) => Err(failure.message),
    };
    let none_kept = matches!(kept, Ok(None));
    let (in_force, unheld) = match kept {
        Ok(None) if is_anew => (Vec::new(), None),
        kept => bases(kept, recorded(), state),
    };
    let is_asked = !in_force.is_empty() || asks(policy).is_some();
    // What is refused above is told in any case; that none is kept means nothing where nobody is asked.
    let mut held = Held { unheld, none_kept, refused: refused.map(str::to_owned), ..Held::default() };
    if !is_asked {
        return Ok(AtStart::Given(held));
    }
    let candidate = match refused {
        None => Candidate::read(file, observe)?,
        Some(_) => Candidate::of(file, policy.text.to_vec(), observe)?,
    };
    // By its bytes: those are held against the one in force, and what was read before is what would be live.
    if candidate.bytes != *policy.text {
        return Err(bad_input(format!("{} was changed while it was read: start again", file.display())));
    }
    let database = if in_force.is_empty() { None } else { database() };
    for in_force in in_force {
        let admitted = match &database {
            Some(it) => in_force.admit((file, spent), (&candidate, policy), it, before),
            None => Err(bad_input(
                "no geo database can be read, so that nobody knows what the config opens".to_owned(),
            )),
        };
        match admitted {
            Ok(signed) => {
                let is_new = |it: &SignedFile| !held.signed.iter().any(|other| other.sha256 == it.sha256);
                held.signed.extend(signed.filter(is_new));
            }
            Err(failure) => {
                let and = |why: &str| format!("{why}\nThat one can't go on either: {}", failure.message);
                held.refused = Some(refused.map_or_else(|| failure.message.clone(), and));
                return Ok(AtStart::InForce(Box::new(in_force.policy), held));
            }
        }
    }
    let anew = candidate.signed_anew(file, spent, &held.signed);
    held.signed.extend(anew);
    held.unheld = candidate.still_unheld((file, spent), held.unheld.as_deref());
    // Where it can't be kept, what opens later is held against the one before it, which opened no more than this one does.
    configs.keep(candidate.to_keep(held.unheld.clone(), policy.named_users()), patience);
    Ok(AtStart::Given(held))
}

/// What a config asks for, of the next one and of geo databases.
pub(super) fn asks(policy: &Policy) -> Option<&Approvals> {
    policy.approval.as_ref().filter(|approvals| !approvals.policy.is_empty())
}

/// Returns what the config of a start is held against, and why that is nothing, or was held against nothing itself: the one
/// that is kept and the one that the audit trail has, each of which somebody may have removed or written anew. It may open
/// over neither of them.
fn bases(
    kept: Result<Option<InForce>, String>,
    recorded: Result<Option<LastPolicy>, String>,
    state: &Path,
) -> (Vec<InForce>, Option<String>) {
    let (mut bases, mut unheld) = (Vec::new(), None);
    let missing = match kept {
        Ok(Some(in_force)) => {
            unheld.clone_from(&in_force.last.unheld);
            bases.push(in_force);
            None
        }
        Ok(None) => Some(format!("{} is not there", path(state))),
        Err(why) => Some(why),
    };
    let of_trail = match recorded {
        Ok(Some(it)) => {
            unheld = unheld.or_else(|| it.unheld.clone());
            InForce::of(it, "the audit trail").map_err(|failure| failure.message)
        }
        // None is kept of one that asks for no signatures.
        Ok(None) if bases.is_empty() => Err("the audit trail has no config that was in force".to_owned()),
        Ok(None) => Ok(None),
        Err(why) => Err(format!("the audit trail can't be read: {why}")),
    };
    match of_trail {
        Ok(in_force) => bases.extend(in_force),
        Err(why) => {
            let why = match missing {
                Some(missing) => format!("{missing}, and {why}"),
                None => format!("{} may be another one than was kept, for {why}", path(state)),
            };
            unheld = unheld.or(Some(why));
        }
    }
    (bases, unheld)
}

fn path(state: &Path) -> String {
    state.join(last_policy::FILE).display().to_string()
}

const fn bad_input(message: String) -> LoadFailure {
    LoadFailure { kind: ErrorKind::BadInput, message }
}

#[cfg(test)]
mod tests;
