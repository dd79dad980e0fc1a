//! Exemptions as the control socket asks for them: first the store, then the kernel, then the answer.

use std::path::Path;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::guard::{Guard, GuardError, pin_names};
use super::{approvals, trail};
use crate::approval::Signature;
use crate::audit::{Kind, Who};
use crate::compile;
use crate::control::protocol::{ErrorKind, Response, SignatureText};
use crate::exemption::record::Use;
use crate::exemption::{Clocks, Summary};
use crate::store::{Admission, ApprovalError, Change, Key, LoadError, StoreError, Submission, Target};

impl Guard {
    /// Loads an exemption. When the answer is `done`, the kernel judges by it. With `dry_run` nothing is
    /// changed, and the answer says what it would come to.
    pub(super) fn load_exemption(
        &mut self,
        (name, document): (&str, &str),
        signatures: Vec<SignatureText>,
        dry_run: bool,
        who: &Who,
    ) -> Response {
        let signatures: Vec<Signature> = signatures
            .into_iter()
            .map(|signature| Signature { name: signature.name, bytes: signature.text.into_bytes() })
            .collect();
        self.try_load((name, document.as_bytes()), &signatures, dry_run, who).unwrap_or_else(|refused| {
            if !dry_run {
                self.record(trail::load_refused(who, name, document.as_bytes(), &refused.codes));
            }
            refused.response
        })
    }

    fn try_load(
        &mut self,
        (name, bytes): (&str, &[u8]),
        signatures: &[Signature],
        dry_run: bool,
        who: &Who,
    ) -> Result<Response, RefusedLoad> {
        let pins = pin_names(&self.policy);
        let now = Timestamp::now();
        let config = self.policy.approval.clone();
        let approve = approvals::approver(config.as_ref(), bytes, signatures, who, now);
        let submission =
            Submission { name: Path::new(name), bytes, signatures, pins: &pins, approve: &approve };
        // Whether the tables have room is seen before anything is kept.
        let admission = self.store.admit(&submission, now)?;
        let clocks = Clocks::read();
        let exemptions = self.store.kept().kernel_exemptions_with(&admission, &clocks, &pins);
        compile::policy_table(&self.policy, &exemptions, &self.facts, self.generation() + 1)
            .map_err(|error| RefusedLoad::new("no-room", ErrorKind::BadInput, error.to_string()))?;
        if dry_run {
            let summary = Summary::of_document(admission.document(), now);
            let message = format!("exemption {} would be loaded{}", summary.id, approved_words(&admission));
            return Ok(Response::Planned { message, exemptions: vec![summary] });
        }

        let approved = approved_words(&admission);
        let key = self.store.load_admitted(&admission, who, now).map_err(LoadError::from)?;
        self.renew().map_err(|error| {
            let message = format!(
                "exemption {} is kept, but the kernel does not judge by it yet: {error}. It is tried again \
                 with the next change; revoke it to give it up",
                key.0
            );
            error!("{message}");
            RefusedLoad::new("not-published", ErrorKind::Failed, message)
        })?;
        info!(uid = who.uid, "exemption {} is loaded{approved}", key.0);
        Ok(self.done_to(format!("exemption {} is loaded{approved}", key.0), &[key]))
    }

    /// Stays, resumes or closes exemptions. When the answer is `done`, the kernel judges by it: no further
    /// packet passes by what is stayed or closed. With `dry_run` nothing is changed.
    pub(super) fn change_exemptions(
        &mut self,
        target: &Target,
        change: &Change,
        dry_run: bool,
        who: &Who,
    ) -> Response {
        let now = Timestamp::now();
        let keys = match self.store.affected(target, change, now) {
            Ok(keys) => keys,
            Err(error) => return self.refuse_change(target, change, dry_run, who, &error),
        };
        let names = ids(&keys);
        let accounts = self.store.accounts_of(&keys);
        if dry_run {
            let cut = match change {
                Change::Resume { .. } => String::new(),
                _ => format!("; live flows that would be cut: {}", self.flows_of(&accounts).len()),
            };
            let message = format!("would be {}: {names}{cut}", done_word(change));
            return Response::Planned { message, exemptions: self.summaries(&keys) };
        }
        // While their packets still pass, so that the other ends are told.
        if !matches!(change, Change::Resume { .. }) {
            self.close_sockets(&accounts);
        }
        let kept = self.store.change(target, change, who, now);
        // Also where the disk refused: what can be closed is closed.
        if let Err(error) = self.renew() {
            let message = match change {
                Change::Resume { .. } => format!(
                    "{names}: resumed, but the kernel's tables can't be changed, so nothing passes yet: \
                     {error}. It is tried again every few seconds"
                ),
                _ => format!(
                    "{names}: {}, but packets may STILL PASS: the kernel's tables can't be changed: {error}. \
                     Do it again",
                    done_word(change)
                ),
            };
            error!("{message}");
            return Response::error(ErrorKind::Failed, message);
        }
        if !matches!(change, Change::Resume { .. }) {
            // And those that were opened in between.
            self.close_sockets(&accounts);
        }
        if let Err(error) = kept {
            let message = match change {
                Change::Resume { .. } => format!("{names}: not resumed: {error}"),
                _ => format!(
                    "{names}: no packet passes any more, but that could not be kept: {error}. The next write \
                     keeps it, and doing it again is one; until then it would be open after a restart"
                ),
            };
            error!("{message}");
            return Response::error(ErrorKind::Failed, message);
        }
        info!(uid = who.uid, "{}: {names}", done_word(change));
        self.done_to(format!("{}: {names}", done_word(change)), &keys)
    }

    fn refuse_change(
        &mut self,
        target: &Target,
        change: &Change,
        dry_run: bool,
        who: &Who,
        error: &StoreError,
    ) -> Response {
        // One that is closed already: perhaps the tables could not be changed then, and now they can.
        if self.behind.is_some() {
            self.renew_or_say("the kernel's tables are NOT up to date");
        }
        if !dry_run {
            self.record(trail::refusal(who, change.name(), target.name(), &error.to_string()));
        }
        Response::error(kind_of(error), error.to_string())
    }

    /// Every exemption, with its use as the kernel counts it now.
    pub(super) fn list_exemptions(&mut self) -> Vec<Summary> {
        self.checkpoint_exemptions();
        self.store.list(Timestamp::now())
    }

    /// What an answer says of exemptions. The kernel's counts are in it, and are saved after the answer.
    fn summaries(&self, keys: &[Key]) -> Vec<Summary> {
        if keys.is_empty() {
            return Vec::new();
        }
        let counts = self.kernel_use().unwrap_or_else(|error| {
            warn!("an answer tells the use of exemptions as it was last saved: {error}");
            Vec::new()
        });
        let all = self.store.list_with(&counts, Timestamp::now());
        all.into_iter().filter(|it| keys.contains(&(it.id.clone(), it.version))).collect()
    }

    /// Saves what the kernel has counted for each exemption that has an account.
    pub(super) fn checkpoint_exemptions(&mut self) {
        let saved =
            self.kernel_use().and_then(|counts| Ok(self.store.checkpoint_use(&counts, Timestamp::now())?));
        if let Err(error) = saved {
            warn!("what the exemptions have used can't be saved: {error}");
        }
    }

    /// What the kernel has counted for each account.
    ///
    /// # Errors
    /// Where the kernel can't be asked; nothing may be reset then.
    pub(super) fn kernel_use(&self) -> Result<Vec<(u16, Use)>, GuardError> {
        let uses = self.kernel.exemption_uses()?;
        let used = |slot: u16| {
            let used = uses.get(usize::from(slot))?;
            Some((slot, Use { bytes: used.bytes, packets: used.packets }))
        };
        Ok(self.store.accounts().into_iter().filter_map(used).collect())
    }

    /// Whether [`extend_quotas`](Self::extend_quotas) may have something to do.
    pub(super) fn has_more_to_grant(&self) -> bool {
        self.behind.is_none() && self.store.has_more_to_grant()
    }

    /// Extends quotas that are used up faster than once a second. Nothing is written where that is not due.
    pub(super) fn extend_quotas(&mut self) {
        // What can't be read is said by the look of each second.
        if self.kernel_use().is_ok_and(|counts| self.store.is_grant_due(&counts)) {
            self.tend_exemptions();
        }
    }

    /// Keeps quotas ahead of their use, and closes in the store what the kernel's clock and counters have
    /// closed already.
    pub(super) fn tend_exemptions(&mut self) {
        self.checkpoint_exemptions();
        let accounts = self.store.accounts();
        let closed = match self.store.close_what_is_over(&trail::daemon(), Timestamp::now()) {
            Ok(closed) => closed,
            Err(error) => {
                error!("an exemption is over, and that could not be kept: {error}");
                Vec::new()
            }
        };
        for ((id, _), kind) in &closed {
            info!("exemption {id} is {}", if *kind == Kind::Expire { "expired" } else { "exhausted" });
        }
        let granted = self.store.grant().unwrap_or_else(|error| {
            error!("quotas can't be extended, and what is granted runs out: {error}");
            false
        });
        if closed.is_empty() && !granted {
            return;
        }
        let over: Vec<Key> = closed.into_iter().map(|(key, _)| key).collect();
        let over: Vec<u16> =
            self.store.accounts_of(&over).into_iter().filter(|slot| accounts.contains(slot)).collect();
        self.close_sockets(&over);
        self.renew_or_say("the exemptions in the kernel's tables are those of a moment ago");
    }

    /// Computes the windows of exemptions again where the wall clock was set.
    pub(super) fn follow_wall_clock(&mut self) {
        let Some(moved) = Clocks::read().wall_jumped_since(&self.clocks) else { return };
        // A failure is tried again by the watchdog, not every second.
        if self.behind.is_some() {
            return;
        }
        warn!("the wall clock was set by {} ms: the windows of exemptions follow", moved / 1_000_000);
        self.renew_or_say("the windows of exemptions are those of the old wall clock");
    }

    /// Tries again to bring the kernel's tables up to date where that failed.
    pub(super) fn catch_up(&mut self) {
        if self.behind.is_some() && self.renew_or_say("the kernel's tables are NOT up to date") {
            info!("the kernel's tables are up to date again");
        }
    }

    pub(super) fn done(&self, message: String) -> Response {
        self.done_to(message, &[])
    }

    fn done_to(&self, message: String, keys: &[Key]) -> Response {
        Response::Done { message, generation: self.generation(), exemptions: self.summaries(keys) }
    }
}

/// What a change is called once it is made.
fn done_word(change: &Change) -> &'static str {
    match change {
        Change::Stay { .. } => "stayed",
        Change::Resume { .. } => "resumed",
        Change::Revoke { .. } => "revoked",
        Change::Invalidate { .. } => "closed with its instrument",
    }
}

fn ids(keys: &[Key]) -> String {
    keys.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ")
}

fn approved_words(admission: &Admission) -> String {
    let names: Vec<&str> = admission.approvals().iter().map(|approval| approval.identity.as_str()).collect();
    if names.is_empty() {
        "; nobody's approval was verified, for the config has no [approval]".to_owned()
    } else {
        format!(", approved by {}", names.join(" and "))
    }
}

/// Why a document was not loaded: for who asked, and for the audit trail. That has the codes of the errors and
/// not their text, which may quote a confidential document.
struct RefusedLoad {
    response: Response,
    codes: Vec<&'static str>,
}

impl RefusedLoad {
    fn new(code: &'static str, kind: ErrorKind, message: String) -> Self {
        Self { response: Response::error(kind, message), codes: vec![code] }
    }
}

impl From<LoadError> for RefusedLoad {
    fn from(error: LoadError) -> Self {
        let (kind, codes) = match &error {
            LoadError::Document(errors) => {
                (ErrorKind::BadInput, errors.errors.iter().map(|error| error.kind.code()).collect())
            }
            LoadError::Approval(ApprovalError::NotApproved(not)) => (ErrorKind::BadInput, vec![not.code()]),
            LoadError::Approval(ApprovalError::Signers(_)) => (ErrorKind::BadInput, vec!["allowed-signers"]),
            LoadError::Store(error) => (kind_of(error), vec!["store"]),
        };
        Self { response: Response::error(kind, error.to_string()), codes }
    }
}

fn kind_of(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::NotFound { .. } | StoreError::NoSuchInstrument { .. } => ErrorKind::NotFound,
        StoreError::State { .. } | StoreError::NotResumable { .. } | StoreError::BadReason => {
            ErrorKind::BadInput
        }
        StoreError::Held { .. }
        | StoreError::Disk { .. }
        | StoreError::Damaged { .. }
        | StoreError::Misplaced { .. }
        | StoreError::Outdated { .. }
        | StoreError::NoSlot { .. } => ErrorKind::Failed,
    }
}

/// What a failure to publish is to a client.
pub(super) fn error_kind(error: &GuardError) -> ErrorKind {
    match error {
        GuardError::Input(_) | GuardError::Compile(_) | GuardError::Geo(_) => ErrorKind::BadInput,
        GuardError::Store(_) | GuardError::Kernel(_) => ErrorKind::Failed,
    }
}
