//! Whether what is open is still approved: by the rules, the signers and the keys of now.

use serde_json::json;

use super::asked::ids;
use crate::approval::{self, AllowedSigners, NotEnough};
use crate::audit::Kind;
use crate::config::policy::Approvals;
use crate::daemon::engine::StoreJob;
use crate::daemon::engine::signers::{Keys, keys};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::digest::sha256;
use crate::exemption::Document;
use crate::exemption::record::{ApprovedBy, Record};
use crate::health::{Problem, ProblemCode};
use crate::hostname::hostname;
use crate::store::{Key, StoreError, Target};

impl Engine {
    /// Has the file of allowed signers read, where the config has one.
    pub(super) fn look_at_signers(&mut self) {
        match &self.config.policy.approval {
            Some(approvals) => {
                let job = StoreJob::LookAtSigners(approvals.allowed_signers.clone());
                self.ask_store(Purpose::LookAtSigners, job);
            }
            None => self.signers.keys = None,
        }
    }

    /// The file was read. What it lets approve is recorded where that changed, so that a key which was there for an hour
    /// is in the trail.
    pub(super) fn signers_are(&mut self, read: Result<AllowedSigners, String>) {
        let Some(approvals) = &self.config.policy.approval else { return };
        let keys = read.map(|file| keys(&file, &approvals.signers));
        if let Ok(keys) = &keys
            && self.signers.recorded.as_ref() != Some(keys)
        {
            let file = approvals.allowed_signers.display().to_string();
            let words: Vec<String> = keys.iter().map(|(identity, key)| format!("{identity} {key}")).collect();
            self.signers.recorded = Some(keys.clone());
            self.record_of(Kind::Signers, &file, "", json!({ "keys": words }));
        }
        self.signers.keys = Some(keys);
    }

    /// Refuses the fingerprint of a key that no allowed signer has and that approved nothing which was ever loaded or is in force,
    /// unless it `may_be_unknown`: a slip in it revokes nothing. Where nobody knows who may sign, it is taken.
    pub(super) fn is_known_key(&self, target: &Target, may_be_unknown: bool) -> Result<(), StoreError> {
        let (Target::Key(fingerprint), Some(Ok(keys)), false) = (target, &self.signers.keys, may_be_unknown)
        else {
            return Ok(());
        };
        let has_signed = || !self.signed_with(std::slice::from_ref(fingerprint)).is_empty();
        if keys.iter().any(|(_, key)| key == fingerprint) || self.kept.is_known(target) || has_signed() {
            return Ok(());
        }
        let signers = keys.iter().map(|(identity, key)| format!("{identity} with {key}")).collect();
        Err(StoreError::UnknownKey { fingerprint: fingerprint.clone(), signers })
    }

    /// What it means, or would mean, that a key is revoked, and these exemptions are closed or stayed by it.
    pub(super) fn revoked_words(
        &self,
        key: &Target,
        keys: &[Key],
        candidate: Option<String>,
        would: bool,
    ) -> String {
        let closed = self.kept.approved_with(key.name(), keys);
        let orders = self.kept.lifts_of_key(key.name());
        let held: Vec<Key> = keys.iter().filter(|it| !closed.contains(it)).cloned().collect();
        let mut parts = Vec::new();
        if let Some(candidate) = candidate {
            let goes = if would { "would go" } else { "goes" };
            parts.push(format!(
                "the config {candidate}, which was applied and is signed with it, {goes} back to the one before it"
            ));
        }
        if !closed.is_empty() {
            let be = if would { "would be " } else { "" };
            parts.push(format!("{be}closed with a key that approved it: {}", ids(&closed)));
        }
        if !orders.is_empty() {
            let stand = if would { "would stand" } else { "stand" };
            let hold = if held.is_empty() { String::new() } else { format!(", and hold {}", ids(&held)) };
            parts.push(format!("orders that were lifted with it {stand} again: {}{hold}", orders.join("; ")));
        }
        let signed = self.signed_with(&[key.name().to_owned()]);
        if !signed.is_empty() {
            let goes = if would { "would go" } else { "goes" };
            parts.push(format!(
                "{}: what that has opened {goes} on until a config, or a newer database, is signed by others",
                signed.join("; ")
            ));
        }
        if parts.is_empty() && would {
            return "nothing that is open is covered".to_owned();
        }
        if parts.is_empty() {
            let nobody = match self.is_known_key(key, false) {
                Ok(()) => "",
                Err(_) => ". NO ALLOWED SIGNER HAS IT: its holder may approve with another key",
            };
            return format!("{key} approves nothing any more; it had approved nothing that is open{nobody}");
        }
        parts.join("; ")
    }

    /// What goes on that was signed with one of these keys, in words: a config, and databases in force.
    fn signed_with(&self, keys: &[String]) -> Vec<String> {
        let config = self.kept.config_signed_with(keys).map(|(digest, by)| {
            let place = match sha256(&self.config.policy.text) == digest {
                true => "is in force",
                false => "was in force before, and no later one is signed",
            };
            format!("the config {digest}, which is signed with {by}, {place}")
        });
        let databases = self.config.database.files().iter().filter_map(|file| {
            let digest = file.sha256.as_deref()?;
            let by = self.kept.file_signed_with(digest, keys)?;
            Some(format!(
                "the geo database {digest} ({}), which is signed with {by}, is in force",
                file.source
            ))
        });
        config.into_iter().chain(databases).collect()
    }

    /// What is open and was approved for other hosts: this one had another name then, or was of another fleet.
    pub(super) fn problems_of_hosts(&self, problems: &mut Vec<Problem>) {
        let (host, fleet) = (hostname(), self.config.policy.host.fleet.as_deref());
        for (document, _) in self.kept.open().filter(|(it, _)| !it.hosts.is_empty()) {
            if !document.names_host(host, fleet) {
                let message = format!("it is for {}, and open on {host}", document.hosts.join(", "));
                problems.push(Problem::of(ProblemCode::ExemptionOtherHost, &document.id, message));
            }
        }
    }

    /// What is open and would not be approved today.
    pub(super) fn problems_of_approvals(&self, problems: &mut Vec<Problem>) {
        let Some(approvals) = &self.config.policy.approval else {
            if self.kept.has_any() {
                let message = "approvals of exemptions are not verified, for the config requires none: one person may open";
                problems.push(Problem::new(ProblemCode::ApprovalsOff, message));
            }
            return;
        };
        let keys = match &self.signers.keys {
            Some(Ok(keys)) => Some(keys),
            Some(Err(why)) => {
                let message = format!("nothing can be loaded, and whose keys approve is not known: {why}");
                problems.push(Problem::new(ProblemCode::SignersUnreadable, message));
                None
            }
            None => None,
        };
        // Where nobody is asked for signatures of configs, nobody can take another's place.
        let revoked = if approvals.policy.is_empty() { Vec::new() } else { self.kept.revoked_keys() };
        for signed in self.signed_with(&revoked) {
            let message = format!(
                "{signed}, and that key is revoked: what was opened by it goes on until a config, or a newer database, is signed \
                 by others"
            );
            problems.push(Problem::new(ProblemCode::ApprovalsMissing, message));
        }
        for (document, record) in self.kept.open() {
            if let Some(why) = &document.emergency {
                let why = if document.confidential { "why is confidential" } else { why };
                let message = format!("it was opened as an emergency, until {}: {why}", document.ends());
                problems.push(Problem::of(ProblemCode::EmergencyOpen, &document.id, message));
            }
            let message = if record.approvals.is_empty() {
                "nobody approved it: it was loaded while the config required no approval, and is open"
                    .to_owned()
            } else if let Err((why, gone)) = holds(document, record, approvals, keys) {
                let gone =
                    if gone.is_empty() { String::new() } else { format!(" (gone: {})", gone.join(", ")) };
                format!(
                    "it is open, and by the config and the allowed signers of now it would not be: {why}{gone}"
                )
            } else {
                continue;
            };
            problems.push(Problem::of(ProblemCode::ApprovalsMissing, &document.id, message));
        }
    }
}

/// Whether those who approved an exemption could approve it now. A key whose time is over approved it while it was not.
/// Else why not, and whose approvals count no more.
fn holds(
    document: &Document,
    record: &Record,
    approvals: &Approvals,
    keys: Option<&Keys>,
) -> Result<(), (NotEnough, Vec<String>)> {
    let is_signer = |by: &ApprovedBy| approvals.signers.iter().any(|it| it.identity == by.identity);
    let has_key = |by: &ApprovedBy| {
        keys.is_none_or(|keys| keys.contains(&(by.identity.clone(), by.fingerprint.clone())))
    };
    let (there, gone): (Vec<&ApprovedBy>, Vec<&ApprovedBy>) =
        record.approvals.iter().partition(|by| is_signer(by) && has_key(by));
    let gone = || gone.iter().map(|by| format!("{} with {}", by.identity, by.fingerprint)).collect();
    let required = document.due(approvals).map_err(|why| (why, gone()))?;
    let there: Vec<approval::Approval> = there
        .into_iter()
        .map(|by| approval::Approval {
            identity: by.identity.clone(),
            fingerprint: by.fingerprint.clone(),
            algorithm: String::new(),
            line: 0,
        })
        .collect();
    let submitter = document.approval.submitter.as_deref();
    let counted = approval::quorum::count(&there, &approvals.signers, &required, submitter, None);
    counted.map(drop).map_err(|why| (why, gone()))
}
