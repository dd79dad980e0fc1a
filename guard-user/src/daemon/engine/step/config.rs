//! The config that is live, the one that is about to be, and reading it again.

use std::sync::Arc;

use serde_json::json;

use crate::audit::{Kind, Record, Who};
use crate::config::policy::Policy;
use crate::control::protocol::{ErrorKind, Response};
use crate::daemon::engine::config::Candidate;
use crate::daemon::engine::input::{Held, LoadFailure, Prepared, SignedFile};
use crate::daemon::engine::noting::wants_senders;
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::unconfirmed::LoadOf;
use crate::daemon::engine::{Action, KernelJob, Level, State, StoreJob, Surroundings, Ticket, records};
use crate::exemption::Clocks;
use crate::exemption::record::ApprovedBy;
use crate::health::ProblemCode;
use crate::store::last_policy::LastPolicy;

/// How long after the live config could not be held against the one before the start that is tried again.
const HOLD_AGAIN_NS: u64 = 5_000_000_000;

impl Engine {
    /// Tries again to hold the live config against the one before the start, where that is due.
    pub(super) fn hold_again(&mut self, now: Clocks) {
        if self.config.hold_again.is_some_and(|at| at <= now.boot_ns) && !self.config.is_busy() {
            self.load_config(None);
        }
    }

    pub(super) fn begin_with(&mut self, prepared: Prepared) {
        self.take_up(prepared, false);
    }

    /// Begins to read the config again, for this request or for a signal.
    pub(super) fn load_config(&mut self, request: Option<(Ticket, Who)>) {
        if let Some(why) = self.waits_for_confirmation() {
            let message = format!("not reloaded: {why}");
            self.log(Level::Warn, message.clone());
            let answer = |(ticket, _)| Action::Answer(ticket, Response::error(ErrorKind::Busy, message));
            return self.actions.extend(request.map(answer));
        }
        if self.config.is_busy() {
            self.config.again = true;
            self.config.late.extend(request);
            return;
        }
        self.config.loading = Some(self.now.boot_ns);
        self.config.is_being_held = self.config.of_trail.is_some();
        self.config.hold_again = None;
        match (self.config.is_being_held, request) {
            // What is on the disk is read after that.
            (true, Some(request)) => {
                self.config.again = true;
                self.config.late.push(request);
            }
            (_, request) => self.config.waiting.extend(request),
        }
        // It reads the databases too.
        self.config.databases.again &= !self.config.databases.late.is_empty();
        self.actions.push(Action::Notify(State::Reloading));
        let (live, of_trail) = (self.live_config(), self.config.of_trail.clone());
        let spent = self.spent_signatures();
        self.actions.push(Action::Load { live, spent, of_trail, of: LoadOf::File });
    }

    /// The live config, as the next one is held against it.
    pub(super) fn live_config(&self) -> LastPolicy {
        let policy = &self.config.policy;
        LastPolicy {
            bytes: policy.text.to_vec(),
            observe: policy.host.observe,
            unheld: self.config.unheld.clone(),
            users: policy.named_users(),
        }
    }

    /// Has the live config held against the one that was in force before the start: the store could not be opened then.
    pub(super) fn hold_against(&mut self, found: Result<Option<LastPolicy>, String>) {
        match found {
            // The candidate was held against the live config, which had been held against that.
            _ if self.config.unconfirmed.is_some() => {}
            Ok(found) => {
                self.config.is_unsure = found.is_some();
                self.config.of_trail = found;
                // Where it asks for nothing, what is on the disk is read again, now that it is known which keys are revoked.
                self.load_config(None);
            }
            Err(error) => {
                let why = format!("the audit trail can't be read: {error}");
                self.config.unheld.get_or_insert(why);
            }
        }
    }

    pub(super) fn config_loaded(&mut self, result: Result<Box<Prepared>, LoadFailure>, now: Clocks) {
        match result {
            // What opens is on the disk first.
            Ok(prepared) if self.waits_for_its_record(&prepared.held) => self.record_opening(prepared, now),
            Ok(mut prepared) => {
                self.keep_what_is_recorded(&mut prepared.held);
                prepared.held.signed.retain(|it| !it.by.is_empty());
                self.config_read(Ok(prepared), now);
            }
            Err(failure) => self.config_read(Err(failure), now),
        }
    }

    /// Has the disk keep who signed what the start opened, as long as it has not.
    pub(super) fn keep_approvals(&mut self) {
        let is_asked = self.asked.values().any(|(_, purpose)| *purpose == Purpose::Approvals);
        if !is_asked && !self.config.unrecorded.is_empty() {
            let records = self.config.unrecorded.clone();
            self.ask_store(Purpose::Approvals, StoreJob::RecordAll(records));
        }
    }

    pub(super) fn approvals_kept(&mut self, result: Result<(), String>) {
        if result.is_ok() {
            self.config.unrecorded.clear();
        }
        self.config.unrecorded_why = result.err();
    }

    pub(super) fn config_read(&mut self, result: Result<Box<Prepared>, LoadFailure>, now: Clocks) {
        self.config.loading = None;
        if std::mem::take(&mut self.config.is_being_held) {
            match &result {
                Ok(_) => (self.config.of_trail, self.config.is_unsure) = (None, false),
                // Until then what is live may open over what was in force.
                Err(_) => self.config.hold_again = Some(now.boot_ns.saturating_add(HOLD_AGAIN_NS)),
            }
        }
        if self.config.unconfirmed.is_some() {
            self.candidate_read(result);
            return self.warn_of_age(now);
        }
        if std::mem::take(&mut self.config.databases.are_read_alone) {
            self.databases_loaded(result);
            return self.warn_of_age(now);
        }
        match result {
            Ok(prepared) => {
                // Databases that somebody said yes to, and that were to be live, are not in this one.
                if self.config.candidate.as_ref().is_some_and(|candidate| candidate.is_of_databases) {
                    self.config.databases.accept_again();
                }
                self.take_up(*prepared, true);
            }
            Err(failure) => self.config_refused(failure),
        }
        self.warn_of_age(now);
    }

    /// Takes up what was read of the databases alone.
    pub(super) fn take_up_databases(&mut self, mut prepared: Prepared) {
        // What was held then says nothing of the config.
        prepared.held.unheld.clone_from(&self.config.unheld);
        let is_reload = self.config.candidate.as_ref().is_some_and(|candidate| candidate.is_reload);
        self.take_up(prepared, is_reload);
        if let Some(candidate) = &mut self.config.candidate {
            candidate.is_of_databases = true;
        }
    }

    pub(super) fn take_up(&mut self, prepared: Prepared, is_reload: bool) {
        let Prepared { policy, warnings, geo, cgroups, database_waits, held, law, before: _ } = prepared;
        self.keep_law_pack(&policy, law);
        let file = self.config.file.display().to_string();
        for warning in &warnings {
            self.log(Level::Warn, format!("{file}: {warning}"));
        }
        let refused = held.refused.clone().filter(|_| is_reload);
        let live_unheld = self.config.unheld.clone();
        self.take_up_held(held);
        self.config.taken_up += 1;
        let (serial, is_first) = (self.config.taken_up, self.config.serial == 0);
        if is_first {
            self.config.policy = Arc::clone(&policy);
        }
        self.noting.volumes.place(&policy, &self.config.policy);
        let is_of_databases = false;
        self.config.candidate = Some(Candidate {
            policy,
            serial,
            geo,
            cgroups,
            is_first,
            is_reload,
            is_of_databases,
            database_waits,
            refused,
            live_unheld,
        });
        // A try with the old one says nothing of the new one.
        self.publishing.try_again();
    }

    /// The candidate is live; why packets may be judged by the one before all the same.
    pub(super) fn candidate_is_live(&mut self, settled: Result<(), String>) {
        let Some(candidate) = self.config.candidate.take() else { return };
        let Candidate {
            policy,
            serial,
            geo,
            cgroups,
            is_first,
            is_reload,
            is_of_databases,
            database_waits,
            refused,
            live_unheld: _,
        } = candidate;
        self.actions.push(Action::EventLog(policy.log.clone()));
        self.config.is_judged = !is_first && self.config.asks();
        self.config.policy = policy;
        self.config.serial = serial;
        self.config.cgroups = cgroups;
        if is_of_databases && !is_first {
            self.config.database = geo.map(|(_, info)| info).unwrap_or_default();
            return self.databases_are_live(settled, database_waits);
        }
        self.config.refused = refused;
        if !is_first {
            self.forget_the_starts_config();
        }
        (self.config.databases.refused, self.config.databases.waits) = (None, database_waits.clone());
        if let Some((_, info)) = geo {
            self.config.database = info;
            if is_reload || is_of_databases {
                self.surroundings.remove("last-database");
            }
        }
        let lets_go = is_reload && self.trail_refuses().is_none();
        self.interfaces.config_changed(is_reload, lets_go);
        self.bypass.config_changed();
        self.noting.config_changed();
        self.protection.config_changed();
        if is_first {
            let by = self.daemon.clone();
            self.record_config(Kind::Start, &by);
            self.started_before_confirmed();
            self.look_at_signers();
        }
        // A first one that is still being read again is answered by what comes of that.
        if self.config.unconfirmed.is_some() {
            self.unconfirmed_is_live(settled.clone());
        } else if self.config.loading.is_none() {
            self.answer_reload(is_first, settled.clone());
        }
        match is_of_databases {
            true => self.databases_are_live(settled, database_waits),
            false => self.load_once_more(),
        }
    }

    fn answer_reload(&mut self, is_first: bool, settled: Result<(), String>) {
        let waiting = std::mem::take(&mut self.config.waiting);
        if is_first && waiting.is_empty() {
            return;
        }
        // A legal hold is in force when the answer comes.
        self.follow_history(self.now);
        self.actions.push(Action::Notify(State::Ready));
        let generation = self.publishing.generation();
        self.log(Level::Info, format!("reloaded: generation {generation} is live"));
        let by = waiting.first().map_or_else(|| self.daemon.clone(), |(_, who)| who.clone());
        self.forget_tampering();
        self.forget_refused();
        self.forget_clock();
        self.record_config(Kind::Reload, &by);
        self.look_at_signers();
        for (ticket, _) in waiting {
            let response = match &settled {
                Ok(()) => {
                    let message = format!("config and geo databases are reloaded{}", self.words_of_reload());
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

    /// What the answer to a reload says beside that it is done.
    pub(super) fn words_of_reload(&self) -> String {
        let (released, stays) = (self.words_of_release(&self.config.policy), self.words_of_what_stays());
        let holds = self.words_of_holds(&self.config.policy);
        released + &stays + &holds + &self.words_of_waiting_databases() + &self.words_of_no_record()
    }

    /// What the answer to a reload says of keys that count from the start alone.
    fn words_of_what_stays(&self) -> String {
        let waiting = self.config.waiting_for_restart(&self.config.policy);
        waiting.iter().map(|(key, why)| format!("; `{key}` was changed: {why}")).collect()
    }

    /// What the answer to a reload says of interfaces that it releases.
    pub(super) fn words_of_release(&self, policy: &Policy) -> String {
        if policy.pins.is_empty() {
            return "; NOTHING is guarded now: the config has no pin".to_owned();
        }
        let (named, released) = self.interfaces.by_name_in(policy);
        if !released.is_empty() && self.trail_refuses().is_some() {
            return format!(
                "; still guarded, though the config does not name it: {}, for the audit trail can't have it that it is let go. \
                 Make room and reload again",
                released.join(", ")
            );
        }
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
        let is_of_databases =
            self.config.candidate.as_ref().is_some_and(|candidate| candidate.is_of_databases);
        if self.config.candidate.as_ref().is_some_and(|candidate| candidate.is_first) {
            // There is nothing to go back to: it is tried again.
            let before = self.config.refused.replace(message.clone());
            if before.as_ref() != Some(&message) {
                self.log(
                    Level::Error,
                    format!("the config can't be made live, and is tried again: {message}"),
                );
            }
            if is_of_databases && !self.config.databases.accepting.is_empty() {
                return self.databases_failed(LoadFailure { kind, message });
            }
            if self.config.loading.is_some() || self.config.waiting.is_empty() {
                return;
            }
        } else if let Some(candidate) = self.config.candidate.take() {
            self.goes_on_without(candidate);
        }
        if self.config.unconfirmed.is_some() {
            return self.candidate_not_live(kind, message);
        }
        if is_of_databases {
            return self.databases_failed(LoadFailure { kind, message });
        }
        self.config_refused(LoadFailure { kind, message });
    }

    /// Records who signed what opens, and keeps for `status` what could not be held.
    fn take_up_held(&mut self, held: Held) {
        let Held { signed, unheld, tables_unheld, refused, none_kept: _, to_keep: _ } = held;
        let records = self.approvals_of(&signed);
        self.config.unrecorded.extend(records);
        self.keep_approvals();
        if let Some(why) = refused {
            let file = self.config.file.display().to_string();
            self.record(records::refusal(self.now.wall, &self.daemon, ("start", &file), &why));
        }
        self.config.unheld = unheld;
        // Until a database takes the place of these tables.
        if tables_unheld.is_some() {
            self.config.database.unheld = tables_unheld;
        }
    }

    /// The records of who signed what opens.
    pub(super) fn approvals_of(&self, signed: &[SignedFile]) -> Vec<Record> {
        let of_file = |SignedFile { file, sha256, opens, by }: &SignedFile| {
            let file = file.display().to_string();
            let record = |it: &ApprovedBy| {
                let ApprovedBy { identity, role, fingerprint } = it;
                let detail = json!({
                    "identity": identity, "role": role, "key": fingerprint, "sha256": sha256, "opens": opens,
                });
                records::record_of(self.now.wall, (Kind::Approval, &self.daemon), &file, "", detail)
            };
            by.iter().map(record).collect::<Vec<_>>()
        };
        signed.iter().flat_map(of_file).collect()
    }

    /// There was nothing that the config of the start could be held against, and that is known now.
    pub(super) fn start_was_the_first(&mut self) {
        self.config.is_unsure = false;
        if let Some(candidate) = &mut self.config.candidate {
            candidate.live_unheld = None;
        }
        if self.config.unheld.take().is_some() || self.config.start_is_due {
            let by = self.daemon.clone();
            self.record_config(Kind::Reload, &by);
        }
    }

    /// The config that the start was given is refused no more: another one was read, and held against the one in force.
    fn forget_the_starts_config(&mut self) {
        if let Some(Surroundings::Start(problems)) = self.surroundings.get_mut("start") {
            problems.retain(|problem| problem.code != ProblemCode::ConfigRefused);
        }
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

    pub(super) fn load_once_more(&mut self) {
        if std::mem::take(&mut self.config.again) {
            let late = std::mem::take(&mut self.config.late);
            self.load_config(None);
            self.config.waiting.extend(late);
        } else if self.config.databases.again {
            self.load_databases(None);
        }
    }

    /// Says once that everything that the config names is guarded, or why not, when that is settled.
    pub(super) fn announce_ready(&mut self, now: Clocks) {
        if self.is_ready
            || self.config.is_to_come()
            || self.publishing.generation() == 0
            || !self.interfaces.are_settled()
            || !self.bypass.is_settled()
            || !self.noting.is_settled()
            || !self.protection.is_settled(&self.config.policy)
        {
            return;
        }
        self.is_ready = true;
        self.log_problems(now);
        let (generation, file) = (self.publishing.generation(), self.config.file.display().to_string());
        self.log(Level::Info, format!("ready: generation {generation} of {file}"));
        self.actions.push(Action::Notify(State::Ready));
    }

    /// Looks at the cgroups that the live policy names, and all else that may have changed.
    pub(super) fn observe_job(&self) -> KernelJob {
        let policy = &self.config.policy;
        let (bypass, sockets) = (policy.bypass.clone(), policy.sockets.clone());
        let volumes = policy.volumes().into_iter().map(|volume| volume.path).collect();
        let senders = wants_senders(policy);
        KernelJob::Observe { cgroups: self.cgroups(), bypass, sockets, senders, volumes }
    }
}
