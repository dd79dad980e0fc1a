//! The config that is live, the one that is about to be, and reading it again.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::basis::Geo;
use super::input::{LoadFailure, Prepared};
use super::{Action, Engine, KernelJob, Level, State, Ticket, records};
use crate::audit::{Kind, Who};
use crate::compile::HostFacts;
use crate::config::policy::Policy;
use crate::control::protocol::{ErrorKind, Response};
use crate::exemption::Clocks;
use crate::geo::Info;

/// The config.
pub(super) struct Config {
    pub(super) file: PathBuf,
    /// The one that is live, or is to be as soon as anything is.
    pub(super) policy: Arc<Policy>,
    /// Which one that is.
    pub(super) serial: u64,
    /// How many were taken up so far.
    taken_up: u64,
    pub(super) database: Info,
    /// The cgroups that it names, as they were seen last.
    pub(super) cgroups: HostFacts,
    /// The one that is to take its place.
    pub(super) candidate: Option<Candidate>,
    /// Why the config as it is on the disk is not live.
    pub(super) refused: Option<String>,
    /// Since when it is being read, nanoseconds of `CLOCK_BOOTTIME`.
    loading: Option<u64>,
    /// Who waits for it.
    waiting: Vec<(Ticket, Who)>,
    /// Who asked while it was being read already: it is read once more for them.
    late: Vec<(Ticket, Who)>,
    again: bool,
}

/// A config on its way.
pub(super) struct Candidate {
    pub(super) policy: Arc<Policy>,
    pub(super) serial: u64,
    pub(super) geo: Option<(Geo, Info)>,
    pub(super) cgroups: HostFacts,
    /// Whether none was live before it: then there is none to go back to.
    pub(super) is_first: bool,
    /// Whether config and databases were read again for it: the first one may have the last good database.
    is_reload: bool,
}

impl Config {
    pub(super) fn new(file: PathBuf, policy: Arc<Policy>) -> Self {
        Self {
            file,
            policy,
            serial: 0,
            taken_up: 0,
            database: Info::default(),
            cgroups: HostFacts::default(),
            candidate: None,
            refused: None,
            loading: None,
            waiting: Vec::new(),
            late: Vec::new(),
            again: false,
        }
    }

    /// Whether the first one is still on its way, and nothing has kept it from being live.
    pub(super) fn is_to_come(&self) -> bool {
        self.refused.is_none() && self.candidate.as_ref().is_some_and(|candidate| candidate.is_first)
    }

    /// Since when it is being read again.
    pub(super) fn loading_since(&self) -> Option<u64> {
        self.loading
    }

    /// The policy that is to be live.
    pub(super) fn wanted(&self) -> &Arc<Policy> {
        self.candidate.as_ref().map_or(&self.policy, |candidate| &candidate.policy)
    }

    /// The cgroups of the policy that is to be live, as they were seen last.
    pub(super) fn wanted_cgroups(&self) -> &HostFacts {
        self.candidate.as_ref().map_or(&self.cgroups, |candidate| &candidate.cgroups)
    }

    /// Likewise, to be seen anew.
    pub(super) fn wanted_cgroups_mut(&mut self) -> &mut HostFacts {
        self.candidate.as_mut().map_or(&mut self.cgroups, |candidate| &mut candidate.cgroups)
    }

    /// The number of the policy that is to be live.
    pub(super) fn wanted_serial(&self) -> u64 {
        self.candidate.as_ref().map_or(self.serial, |candidate| candidate.serial)
    }

    /// The names of the live pins.
    pub(super) fn pins(&self) -> Vec<String> {
        self.policy.pins.iter().map(|pin| pin.name.clone()).collect()
    }
}

impl Engine {
    pub(super) fn begin_with(&mut self, prepared: Prepared) {
        self.take_up(prepared, false);
    }

    /// Begins to read the config again, for this request or for a signal.
    pub(super) fn load_config(&mut self, request: Option<(Ticket, Who)>) {
        // A first one that can't be made live must not keep its correction out.
        let is_on_its_way = self.config.candidate.as_ref().is_some_and(|candidate| !candidate.is_first);
        if self.config.loading.is_some() || is_on_its_way {
            self.config.again = true;
            self.config.late.extend(request);
            return;
        }
        self.config.loading = Some(self.now.boot_ns);
        self.config.waiting.extend(request);
        self.actions.push(Action::Notify(State::Reloading));
        self.actions.push(Action::Load);
    }

    pub(super) fn config_loaded(&mut self, result: Result<Box<Prepared>, LoadFailure>, now: Clocks) {
        self.config.loading = None;
        match result {
            Ok(prepared) => {
                self.warn_of_what_stays(&prepared.policy);
                self.take_up(*prepared, true);
            }
            Err(failure) => self.config_refused(failure),
        }
        self.warn_of_age(now);
    }

    fn take_up(&mut self, prepared: Prepared, is_reload: bool) {
        let Prepared { policy, warnings, geo, cgroups } = prepared;
        let file = self.config.file.display().to_string();
        for warning in &warnings {
            self.log(Level::Warn, format!("{file}: {warning}"));
        }
        self.config.taken_up += 1;
        let (serial, is_first) = (self.config.taken_up, self.config.serial == 0);
        if is_first {
            self.config.policy = Arc::clone(&policy);
        }
        self.config.candidate = Some(Candidate { policy, serial, geo, cgroups, is_first, is_reload });
        // A try with the old one says nothing of the new one.
        self.publishing.try_again();
    }

    /// Some keys count from the start alone.
    fn warn_of_what_stays(&mut self, next: &Policy) {
        let live = Arc::clone(&self.config.policy);
        for (key, now, next) in [
            ("control.socket", &live.control.socket, &next.control.socket),
            ("state.directory", &live.state.directory, &next.state.directory),
            ("state.pin_path", &live.state.pin_path, &next.state.pin_path),
        ] {
            if now != next {
                self.log(
                    Level::Warn,
                    format!("{key} is {} until the daemon is started again", now.display()),
                );
            }
        }
        if live.control.groups != next.control.groups {
            let line = "control.groups count as they were until the daemon is started again";
            self.log(Level::Warn, line.to_owned());
        }
    }

    /// The candidate is live; why packets may be judged by the one before all the same.
    pub(super) fn candidate_is_live(&mut self, settled: Result<(), String>) {
        let Some(candidate) = self.config.candidate.take() else { return };
        let Candidate { policy, serial, geo, cgroups, is_first, is_reload } = candidate;
        self.actions.push(Action::LogFormat(policy.log.format));
        self.config.policy = policy;
        self.config.serial = serial;
        self.config.cgroups = cgroups;
        self.config.refused = None;
        if let Some((_, info)) = geo {
            self.config.database = info;
            if is_reload {
                self.surroundings.remove("last-database");
            }
        }
        self.interfaces.config_changed(is_reload);
        self.bypass.config_changed();
        if is_first {
            let facts = self.config_facts();
            self.record_of(Kind::Start, "", "", facts);
        }
        // A first one that is still being read again is answered by what comes of that.
        if self.config.loading.is_none() {
            self.answer_reload(is_first, settled);
        }
        self.load_once_more();
    }

    fn answer_reload(&mut self, is_first: bool, settled: Result<(), String>) {
        let waiting = std::mem::take(&mut self.config.waiting);
        if is_first && waiting.is_empty() {
            return;
        }
        self.actions.push(Action::Notify(State::Ready));
        let generation = self.publishing.generation();
        self.log(Level::Info, format!("reloaded: generation {generation} is live"));
        let by = waiting.first().map_or_else(|| self.daemon.clone(), |(_, who)| who.clone());
        let facts = self.config_facts();
        self.record(records::record_of(self.now.wall, (Kind::Reload, &by), "", "", facts));
        for (ticket, _) in waiting {
            let response = match &settled {
                Ok(()) => {
                    let message = format!("config and geo databases are reloaded{}", self.words_of_release());
                    Response::Done { message, generation, exemptions: Vec::new() }
                }
                Err(why) => {
                    let message = format!(
                        "reloaded, but some packets may still be judged by the generation before: {why}. It is tried \
                         again every few seconds"
                    );
                    Response::error(ErrorKind::Failed, message)
                }
            };
            self.answer(ticket, response);
        }
    }

    /// What the answer to a reload says of interfaces that it releases.
    fn words_of_release(&self) -> String {
        let (named, released) = self.interfaces.by_name_in(&self.config.policy);
        match (named, released.is_empty()) {
            (false, _) => {
                "; NOTHING is guarded now: no interface of this host matches `host.interfaces`".to_owned()
            }
            (true, false) => format!("; not guarded any more: {}", released.join(", ")),
            (true, true) => String::new(),
        }
    }

    /// The candidate could not be made live; the config before it goes on.
    pub(super) fn candidate_failed(&mut self, kind: ErrorKind, message: String) {
        if self.config.candidate.as_ref().is_some_and(|candidate| candidate.is_first) {
            // There is nothing to go back to: it is tried again.
            let before = self.config.refused.replace(message.clone());
            if before.as_ref() != Some(&message) {
                self.log(
                    Level::Error,
                    format!("the config can't be made live, and is tried again: {message}"),
                );
            }
            if self.config.loading.is_some() || self.config.waiting.is_empty() {
                return;
            }
        } else {
            self.config.candidate = None;
        }
        self.config_refused(LoadFailure { kind, message });
    }

    fn config_refused(&mut self, failure: LoadFailure) {
        let LoadFailure { kind, message } = failure;
        let generation = self.publishing.generation();
        self.log(Level::Error, format!("not reloaded, generation {generation} stays live: {message}"));
        self.config.refused = Some(message.clone());
        self.actions.push(Action::Notify(State::Ready));
        let waiting = std::mem::take(&mut self.config.waiting);
        let by = waiting.first().map_or_else(|| self.daemon.clone(), |(_, who)| who.clone());
        let file = self.config.file.display().to_string();
        self.record(records::refusal(self.now.wall, &by, ("reload", &file), &message));
        for (ticket, _) in waiting {
            let text = format!("not reloaded, generation {generation} stays live:\n{message}");
            self.answer(ticket, Response::error(kind, text));
        }
        self.load_once_more();
    }

    fn load_once_more(&mut self) {
        if std::mem::take(&mut self.config.again) {
            let late = std::mem::take(&mut self.config.late);
            self.load_config(None);
            self.config.waiting.extend(late);
        }
    }

    /// Says once that everything that the config names is guarded, or why not, when that is settled.
    pub(super) fn announce_ready(&mut self, now: Clocks) {
        if self.is_ready
            || self.config.is_to_come()
            || self.publishing.generation() == 0
            || !self.interfaces.are_settled()
            || !self.bypass.is_settled()
        {
            return;
        }
        self.is_ready = true;
        self.log_problems(now);
        let (generation, file) = (self.publishing.generation(), self.config.file.display().to_string());
        self.log(Level::Info, format!("ready: generation {generation} of {file}"));
        self.actions.push(Action::Notify(State::Ready));
    }

    pub(super) fn warn_of_age(&mut self, now: Clocks) {
        if let Some(stale) = self.stale_database(now) {
            self.log(
                Level::Warn,
                format!(
                    "{stale}: places may be wrong. Bring a newer one (`geo.files`), or allow it (`geo.max_age`)"
                ),
            );
        }
    }

    /// Why the geo database should not be relied on any longer.
    pub(super) fn stale_database(&self, now: Clocks) -> Option<String> {
        let database = &self.config.database;
        // None was read: that is a problem of its own.
        (!database.source.is_empty()).then_some(())?;
        database.stale(now.wall, self.config.policy.geo.max_age).map(|stale| stale.to_string())
    }

    /// The config that is live, for the audit trail.
    pub(super) fn config_facts(&self) -> serde_json::Value {
        let policy = self.config.wanted();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.config.file.to_string_lossy(),
            "fingerprint": format!("{:016x}", policy.fingerprint),
            "generation": self.publishing.generation(),
            "observe": policy.host.observe,
            "approvals_verified": policy.approval.is_some(),
        })
    }

    /// Looks at the cgroups that the live policy names, and all else that may have changed.
    pub(super) fn observe_job(&self) -> KernelJob {
        KernelJob::Observe { cgroups: self.cgroups(), bypass: self.config.policy.bypass.clone() }
    }
}
