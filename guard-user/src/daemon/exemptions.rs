//! Exemptions as the control socket asks for them: first the store, then the kernel, then the answer.

use std::path::Path;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::guard::{Guard, GuardError, pin_names};
use crate::compile;
use crate::control::protocol::{ErrorKind, Response};
use crate::exemption::{Clocks, LoadError, StoreError, Summary};

impl Guard {
    /// Loads an exemption. When the answer is `done`, the kernel judges by it.
    pub(super) fn load_exemption(&mut self, name: &str, document: &str, uid: u32) -> Response {
        match self.try_load(name, document, uid) {
            Ok(id) => {
                info!(uid, "exemption {id} is loaded");
                self.done(format!("exemption {id} is loaded"))
            }
            Err(refusal) => refusal,
        }
    }

    fn try_load(&mut self, name: &str, document: &str, uid: u32) -> Result<String, Response> {
        let (name, bytes, pins) = (Path::new(name), document.as_bytes(), pin_names(&self.policy));
        // Whether the tables have room is seen before anything is kept.
        let admission = self.store.admit(name, bytes, &pins, Timestamp::now()).map_err(refused)?;
        let clocks = Clocks::read();
        let mut exemptions = self.store.kernel_exemptions(&clocks, &pins);
        exemptions.push(admission.to_kernel(&clocks));
        compile::policy_table(&self.policy, &exemptions, &self.facts, self.generation() + 1)
            .map_err(|error| Response::error(ErrorKind::BadInput, error.to_string()))?;

        let admission = self.store.load(name, bytes, &pins, uid, clocks.wall).map_err(refused)?;
        let id = admission.document.id;
        self.renew().map_err(|error| {
            let message = format!(
                "exemption {id} is kept, but the kernel does not judge by it yet: {error}. It is tried again \
                 with the next change; revoke it to give it up"
            );
            error!("{message}");
            Response::error(ErrorKind::Failed, message)
        })?;
        Ok(id)
    }

    /// Ends an exemption. When the answer is `done`, no further packet passes by it.
    pub(super) fn revoke_exemption(&mut self, id: &str, why: &str, uid: u32) -> Response {
        let kept = self.store.revoke(id, why, uid, Timestamp::now());
        if let Err(error @ StoreError::NotFound { .. }) = &kept {
            return Response::error(ErrorKind::NotFound, error.to_string());
        }
        if let Err(error @ StoreError::BadReason) = &kept {
            return Response::error(ErrorKind::BadInput, error.to_string());
        }
        // Also where the disk refused: what can be closed is closed.
        if let Err(error) = self.renew() {
            let message = format!(
                "exemption {id} is revoked, but its packets may STILL PASS: the kernel's tables can't be \
                 changed: {error}. Revoke it again"
            );
            error!("{message}");
            return Response::error(ErrorKind::Failed, message);
        }
        // One that was closed already: perhaps the tables could not be changed then, and now they are.
        if let Err(error @ StoreError::Closed { .. }) = &kept {
            return Response::error(ErrorKind::NotFound, error.to_string());
        }
        if let Err(error) = kept {
            let message = format!(
                "no packet passes by exemption {id} any more, but that could not be kept: {error}. Revoke it \
                 again, or it is open after a restart"
            );
            error!("{message}");
            return Response::error(ErrorKind::Failed, message);
        }
        info!(uid, "exemption {id} is revoked");
        self.done(format!("exemption {id} is revoked"))
    }

    /// Every exemption, with its use as the kernel counts it now.
    pub(super) fn list_exemptions(&mut self) -> Vec<Summary> {
        self.checkpoint_exemptions();
        self.store.list(Timestamp::now())
    }

    /// Saves what the kernel has counted for each exemption that has a slot.
    pub(super) fn checkpoint_exemptions(&mut self) {
        let slots: Vec<u16> =
            self.store.list(Timestamp::now()).iter().filter_map(|exemption| exemption.slot).collect();
        for slot in slots {
            if let Err(error) = self.checkpoint_slot(slot) {
                warn!("what the exemption in slot {slot} has used can't be saved: {error}");
            }
        }
    }

    /// Closes in the store what the kernel's clock has closed already, and frees its slots.
    pub(super) fn expire_exemptions(&mut self) {
        match self.store.expire(Timestamp::now()) {
            Ok(ids) if ids.is_empty() => return,
            Ok(ids) => info!("expired: {}", ids.join(", ")),
            Err(error) => error!("an exemption has expired, and that could not be kept: {error}"),
        }
        self.renew_or_say(
            "expired exemptions are still in the kernel's tables, where no packet passes by them",
        );
    }

    /// Computes the windows of exemptions again where the wall clock was set.
    pub(super) fn follow_wall_clock(&mut self) {
        /// What a clock that is only disciplined drifts by stays below it, between two publications.
        const JUMP_NS: u128 = 500_000_000;
        let moved = Clocks::read().wall_set_since(&self.clocks);
        // A failure is tried again by the watchdog, not every second.
        if moved.unsigned_abs() < JUMP_NS || self.behind.is_some() {
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
        Response::Done { message, generation: self.generation() }
    }
}

fn refused(error: LoadError) -> Response {
    let kind = match &error {
        LoadError::Document(_) => ErrorKind::BadInput,
        LoadError::NoSlot | LoadError::Store(_) => ErrorKind::Failed,
    };
    Response::error(kind, error.to_string())
}

/// What a failure to publish is to a client.
pub(super) fn error_kind(error: &GuardError) -> ErrorKind {
    match error {
        GuardError::Input(_) | GuardError::Compile(_) | GuardError::Geo(_) => ErrorKind::BadInput,
        GuardError::Store(_) | GuardError::Kernel(_) => ErrorKind::Failed,
    }
}
