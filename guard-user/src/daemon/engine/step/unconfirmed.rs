//! Applying a config that goes by itself unless it is confirmed: the candidate goes live, waits, and is kept or taken back.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::loads::signatures;
use crate::audit::{Kind, Who};
use crate::config::policy::Policy;
use crate::control::protocol::{ApplyWanted, ErrorKind, MOST_UNCONFIRMED_SECONDS, Response};
use crate::control::status::UnconfirmedStatus;
use crate::daemon::engine::input::{LoadFailure, Prepared, SignedFile};
use crate::daemon::engine::periods::SECOND;
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::unconfirmed::{Applied, Before, LoadOf, Step, Unconfirmed};
use crate::daemon::engine::{Action, Level, State, StoreJob, Ticket, records};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::store::{LIVE, LeftUnconfirmed, sha256};

/// How long after a way back that failed it is tried again, nanoseconds.
const AGAIN_NS: u64 = 5 * SECOND;
/// Why it goes back where nobody asked for that.
const TIME_IS_OVER: &str = "nobody confirmed it in time";
/// Why it goes back where what it opens is signed no more.
const KEY_IS_REVOKED: &str = "a key that signed what it opens is revoked";
/// Why it goes back where somebody did.
const ASKED_FOR: &str = "it was asked for";
/// Why a start goes by the config before it.
const STARTED_ANEW: &str = "the daemon was started anew before anybody confirmed it";

impl Engine {
    /// Begins to read a candidate.
    pub(super) fn apply(&mut self, ticket: Ticket, wanted: ApplyWanted, who: Who) {
        let ApplyWanted { name, config, signatures: texts, seconds, guard_nothing } = wanted;
        if let Some((kind, why)) = self.why_not_applied(&who, seconds) {
            let subject = name.display().to_string();
            self.record(records::refusal(self.now.wall, &who, ("apply", &subject), &why));
            return self.answer(ticket, Response::error(kind, format!("not applied: {why}")));
        }
        let applied = Applied { name, bytes: config.into_bytes(), signatures: signatures(texts) };
        let applied = Arc::new(applied);
        let of = LoadOf::Candidate(Arc::clone(&applied), Arc::clone(&self.config.policy));
        self.config.unconfirmed = Some(Unconfirmed {
            applied,
            who,
            seconds,
            guard_nothing,
            until_ns: 0,
            until: self.now.wall,
            keys: Vec::new(),
            before: None,
            step: Step::Applied(ticket),
            stuck: None,
        });
        self.load_candidate(of);
    }

    fn why_not_applied(&self, who: &Who, seconds: u64) -> Option<(ErrorKind, String)> {
        // A config names programs that the daemon runs, and who may ask it: whoever writes it may do everything.
        if who.uid != 0 && who.uid != self.daemon.uid {
            let why = "a config names programs that the daemon runs: ask as root";
            return Some((ErrorKind::NotPermitted, why.to_owned()));
        }
        if let Some(why) = self.waits_for_confirmation() {
            return Some((ErrorKind::Busy, why));
        }
        if self.config.serial == 0 || self.config.loading.is_some() || self.config.candidate.is_some() {
            let why = "the config or a geo database is being read: try again in a moment";
            return Some((ErrorKind::Busy, why.to_owned()));
        }
        if !self.kept.is_usable() || self.config.is_unsure || self.config.of_trail.is_some() {
            let why =
                "the store can't be used, so that nobody knows what was in force: see `borderguard status`";
            return Some((ErrorKind::Failed, why.to_owned()));
        }
        if !(1..=MOST_UNCONFIRMED_SECONDS).contains(&seconds) {
            let why = format!("it may wait for 1 to {MOST_UNCONFIRMED_SECONDS} seconds, and not {seconds}");
            return Some((ErrorKind::BadRequest, why));
        }
        None
    }

    fn load_candidate(&mut self, of: LoadOf) {
        self.config.loading = Some(self.now.boot_ns);
        self.actions.push(Action::Notify(State::Reloading));
        let (live, spent) = (self.live_config(), self.spent_signatures());
        self.actions.push(Action::Load { live, spent, of_trail: None, of });
    }

    /// That a candidate waits, for whoever asks for what has to wait for that.
    pub(super) fn waits_for_confirmation(&self) -> Option<String> {
        let it = self.config.unconfirmed.as_ref()?;
        let how = match it.step {
            Step::Waits => format!("waits for its confirmation until {:.0}", it.until),
            _ => "is on its way".to_owned(),
        };
        Some(format!(
            "{} was applied and {how}: `borderguard confirm` keeps it, `borderguard confirm --roll-back` goes back",
            it.applied.name.display()
        ))
    }

    /// Whether a candidate is being confirmed: who signed what it opens was recorded when it was applied.
    pub(super) fn is_confirming(&self) -> bool {
        let step = self.config.unconfirmed.as_ref().map(|it| &it.step);
        matches!(step, Some(Step::Confirmed(..)))
    }

    /// Keeps the candidate that waits, or goes back from it.
    pub(super) fn confirm(&mut self, ticket: Ticket, roll_back: bool, who: Who) {
        let now = self.now;
        let Some(it) = self.config.unconfirmed.as_mut() else {
            let why = "no config waits for a confirmation: none was applied, or its time is over and the one before it is \
                       live again (`borderguard audit show`)";
            return self.answer(ticket, Response::error(ErrorKind::NotFound, why));
        };
        let is_over = now.boot_ns >= it.until_ns;
        match (&it.step, &it.before) {
            (Step::Waits, _) if roll_back => self.go_back(who, ASKED_FOR, Some(ticket)),
            (Step::Waits, Some(before)) if !is_over => {
                let of = LoadOf::Confirmed(Arc::clone(&it.applied), Arc::clone(&before.policy));
                it.step = Step::Confirmed(ticket, who);
                self.load_candidate(of);
            }
            _ => {
                let why = "it is on its way to be live, to be kept, or to be gone: see `borderguard status`";
                self.answer(ticket, Response::error(ErrorKind::Busy, why));
            }
        }
    }

    /// The candidate was read, or can't be taken.
    pub(super) fn candidate_read(&mut self, result: Result<Box<Prepared>, LoadFailure>) {
        let nothing = result.as_ref().ok().and_then(|prepared| self.would_guard_nothing(&prepared.policy));
        let Some(it) = self.config.unconfirmed.as_mut() else { return };
        match (&it.step, result) {
            (Step::Applied(_), Ok(mut prepared)) => {
                if let Some(why) = nothing.filter(|_| !it.guard_nothing) {
                    return self.candidate_not_live(ErrorKind::Failed, why);
                }
                let Some(before) = prepared.before.take() else {
                    let why = "there are no tables of the config before it".to_owned();
                    return self.candidate_not_live(ErrorKind::Failed, why);
                };
                let waits = self.config.databases.waits.clone();
                it.before = Some(Before::of(*before, waits, self.config.unheld.clone()));
                self.take_up(*prepared, true);
            }
            (Step::Confirmed(..), Ok(mut prepared)) => {
                prepared.held.signed.clear();
                self.take_up(*prepared, true);
            }
            (Step::Confirmed(ticket, who), Err(failure)) => {
                let (ticket, who, until) = (*ticket, who.clone(), it.until);
                let subject = it.applied.name.display().to_string();
                it.step = Step::Waits;
                self.actions.push(Action::Notify(State::Ready));
                self.record(records::refusal(self.now.wall, &who, ("confirm", &subject), &failure.message));
                let message = format!("not confirmed, and still to go at {until:.0}: {}", failure.message);
                self.answer(ticket, Response::error(failure.kind, message));
            }
            (_, Err(failure)) => self.candidate_not_live(failure.kind, failure.message),
            // Nothing is read for these.
            (Step::Waits | Step::GoesBack(..), Ok(_)) => {}
        }
    }

    /// That something is guarded, and nothing would be by this policy.
    fn would_guard_nothing(&self, policy: &Policy) -> Option<String> {
        let why = match (policy.pins.is_empty(), self.interfaces.by_name_in(policy).0) {
            (true, _) => "it has no pin",
            (false, false) => "no interface of this host matches its `host.interfaces`",
            (false, true) => return None,
        };
        self.interfaces.guard_something().then(|| {
            format!(
                "it guards no interface after this: {why}. Correct that, or say that it is meant: `borderguard apply \
                 --guard-nothing`"
            )
        })
    }

    /// What was made live is live: the candidate, the same once it is kept, or the config before it. Why packets may be judged
    /// by another generation all the same.
    pub(super) fn unconfirmed_is_live(&mut self, settled: Result<(), String>) {
        let Some(mut it) = self.config.unconfirmed.take() else { return };
        // A legal hold is in force when the answer comes.
        self.follow_history(self.now);
        self.actions.push(Action::Notify(State::Ready));
        let name = it.applied.name.display().to_string();
        let digest = json!({ "config_sha256": sha256(&it.applied.bytes) });
        match it.step {
            Step::Applied(ticket) => {
                let wait = SignedDuration::from_secs(i64::try_from(it.seconds).unwrap_or(i64::MAX));
                it.until_ns = self.now.boot_ns.saturating_add(it.seconds.saturating_mul(SECOND));
                it.until = self.now.wall.checked_add(wait).unwrap_or(self.now.wall);
                let until = it.until;
                self.record_applied(&it, &name);
                it.step = Step::Waits;
                self.config.unconfirmed = Some(it);
                let message = format!(
                    "{name} is live until {until:.0}: `borderguard confirm` keeps it, else the config before it comes back{}",
                    self.words_of_reload()
                );
                self.answer_live(Some(ticket), message, settled);
            }
            Step::Confirmed(ticket, who) => {
                self.record_of_candidate((Kind::Confirm, &who), &name, "", digest);
                // From here on it is what the next config is held against.
                self.record_config(Kind::Reload, &who);
                let message = format!("{name} is confirmed, and is {} now", self.config.file.display());
                self.answer_live(Some(ticket), message, settled);
            }
            Step::GoesBack(who, why, ticket) => {
                let mut detail = digest;
                detail[LIVE] = self.config_facts();
                self.record_of_candidate((Kind::RollBack, &who), &name, why, detail);
                let message = format!("{name} is not live any more, and the config before it is: {why}");
                self.answer_live(ticket, message, settled);
            }
            Step::Waits => self.config.unconfirmed = Some(it),
        }
        self.look_at_signers();
    }

    fn answer_live(&mut self, ticket: Option<Ticket>, message: String, settled: Result<(), String>) {
        self.log(Level::Warn, message.clone());
        let Some(ticket) = ticket else { return };
        let generation = self.publishing.generation();
        let response = match settled {
            Ok(()) => Response::Done { message, generation, exemptions: Vec::new() },
            Err(why) => Response::error(
                ErrorKind::Failed,
                format!("{message}. Some packets may still be judged by the generation before: {why}"),
            ),
        };
        self.answer(ticket, response);
    }

    /// What was to be made live could not be.
    pub(super) fn candidate_not_live(&mut self, kind: ErrorKind, message: String) {
        let Some(it) = self.config.unconfirmed.as_mut() else { return };
        match &it.step {
            Step::Applied(ticket) => {
                let (ticket, who) = (*ticket, it.who.clone());
                let subject = it.applied.name.display().to_string();
                if let Some(held) = it.before.as_ref().map(Before::held) {
                    self.config.unheld = held.unheld;
                }
                self.config.unconfirmed = None;
                self.actions.push(Action::Notify(State::Ready));
                let generation = self.publishing.generation();
                self.log(Level::Error, format!("{subject} is not applied: {message}"));
                self.record(records::refusal(self.now.wall, &who, ("apply", &subject), &message));
                let message = format!("not applied, generation {generation} stays live:\n{message}");
                self.answer(ticket, Response::error(kind, message));
                self.load_once_more();
            }
            // The same text is live already, and kept.
            Step::Confirmed(..) => {
                self.unconfirmed_is_live(Err(message));
                self.load_once_more();
            }
            Step::GoesBack(..) => {
                let line = format!("the config before the candidate can't be made live: {message}");
                it.stuck = Some((message, self.now.boot_ns.saturating_add(AGAIN_NS)));
                self.log(Level::Error, line);
            }
            Step::Waits => {}
        }
    }

    fn go_back(&mut self, who: Who, why: &'static str, ticket: Option<Ticket>) {
        let Some(it) = self.config.unconfirmed.as_mut() else { return };
        it.stuck = None;
        it.step = Step::GoesBack(who, why, ticket);
        let before = it.before.as_ref().map(Before::prepared);
        if let Some(prepared) = before {
            self.actions.push(Action::Notify(State::Reloading));
            self.take_up(prepared, true);
        }
    }

    /// These signed what a candidate opens, where one is being read.
    pub(super) fn candidate_is_signed(&mut self, files: &[SignedFile]) {
        if let Some(it) = self.config.unconfirmed.as_mut() {
            let by = files.iter().flat_map(|file| &file.by);
            it.keys = by.map(|by| by.fingerprint.clone()).collect();
        }
    }

    /// The name of the candidate that waits, where this key signed what it opens.
    pub(super) fn candidate_by(&self, fingerprint: &str) -> Option<String> {
        let it = self.config.unconfirmed.as_ref()?;
        let is_signed = it.keys.iter().any(|key| key == fingerprint);
        is_signed.then(|| it.applied.name.display().to_string())
    }

    /// Goes back where the time of a candidate is over or a key is revoked that signed it, and tries that again where it failed.
    pub(super) fn go_back_where_due(&mut self, now: Clocks) {
        let Some(it) = self.config.unconfirmed.as_mut() else { return };
        let revoked = if it.keys.is_empty() { Vec::new() } else { self.kept.revoked_keys() };
        match (&mut it.step, &it.stuck) {
            (Step::Waits, _) if it.keys.iter().any(|key| revoked.contains(key)) => {
                let daemon = self.daemon.clone();
                self.go_back(daemon, KEY_IS_REVOKED, None);
            }
            (Step::Waits, _) if now.boot_ns >= it.until_ns => {
                let daemon = self.daemon.clone();
                self.go_back(daemon, TIME_IS_OVER, None);
            }
            (Step::GoesBack(who, why, ticket), Some((_, again_ns))) if now.boot_ns >= *again_ns => {
                let (who, why, ticket) = (who.clone(), *why, *ticket);
                self.go_back(who, why, ticket);
            }
            _ => {}
        }
    }

    /// When the candidate that waits is to go, or that is tried again, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) fn next_return(&self) -> Option<u64> {
        let it = self.config.unconfirmed.as_ref()?;
        match (&it.step, &it.stuck) {
            (Step::Waits, _) => Some(it.until_ns),
            (Step::GoesBack(..), Some((_, again_ns))) => Some(*again_ns),
            _ => None,
        }
    }

    /// The daemon ends: until the next start the kernel goes on by the candidate.
    pub(super) fn warn_of_unconfirmed(&mut self) {
        let Some(it) = &self.config.unconfirmed else { return };
        let line = format!(
            "{} was not confirmed: the kernel goes on by it until the daemon is started anew, by the config before it",
            it.applied.name.display()
        );
        self.log(Level::Warn, line);
    }

    /// An earlier daemon had a candidate that nobody confirmed, and this start went by the config before it.
    pub(super) fn started_before_confirmed(&mut self) {
        let Some(left) = self.config.left_unconfirmed.take() else { return };
        let LeftUnconfirmed { name, sha256: digest, .. } = left;
        if sha256(&self.config.policy.text) == digest {
            return;
        }
        self.log(Level::Warn, format!("{name} is not live any more: {STARTED_ANEW}"));
        let daemon = self.daemon.clone();
        let detail = json!({ "config_sha256": digest });
        self.record_of_candidate((Kind::RollBack, &daemon), &name, STARTED_ANEW, detail);
    }

    fn record_of_candidate(&mut self, of: (Kind, &Who), name: &str, why: &str, detail: Value) {
        self.record(records::record_of(self.now.wall, of, name, why, detail));
    }

    fn record_applied(&mut self, it: &Unconfirmed, name: &str) {
        let mut facts = self.config_facts();
        facts["before_sha256"] = json!(it.before.as_ref().map(|before| sha256(&before.policy.text)));
        facts["until"] = it.until.to_string().into();
        let record = records::record_of(self.now.wall, (Kind::Apply, &it.who), name, "", facts);
        let text = Arc::clone(&self.config.policy.text);
        self.ask_store(Purpose::Record, StoreJob::RecordConfig { record, text });
    }

    /// The candidate that waits, for the status.
    pub(super) fn unconfirmed_status(&self, now: Clocks) -> Option<UnconfirmedStatus> {
        let it = self.config.unconfirmed.as_ref().filter(|it| !matches!(it.step, Step::Applied(_)))?;
        Some(UnconfirmedStatus {
            config: it.applied.name.to_string_lossy().into_owned(),
            sha256: sha256(&it.applied.bytes),
            by: it.who.user.clone().unwrap_or_else(|| it.who.uid.to_string()),
            until: format!("{:.0}", it.until),
            seconds_left: it.until_ns.saturating_sub(now.boot_ns).div_ceil(SECOND),
        })
    }

    /// That the way back from a candidate failed.
    pub(super) fn problem_of_unconfirmed(&self) -> Option<Problem> {
        let it = self.config.unconfirmed.as_ref()?;
        let (why, _) = it.stuck.as_ref()?;
        let name = it.applied.name.display();
        let message = format!(
            "{name} is still live, though the config before it should be: {why}. It is tried again every few seconds"
        );
        Some(Problem::new(ProblemCode::RollBackFailed, message))
    }

    /// What a reload would do; nothing is changed.
    pub(super) fn plan_reload(&mut self, ticket: Ticket) {
        if let Some(why) = self.waits_for_confirmation() {
            return self.answer(
                ticket,
                Response::error(ErrorKind::Busy, format!("it would not be reloaded: {why}")),
            );
        }
        let (live, spent) = (self.live_config(), self.spent_signatures());
        let of_trail = self.config.of_trail.clone();
        self.actions.push(Action::Load { live, spent, of_trail, of: LoadOf::Plan(ticket) });
    }

    /// It is known what a reload would do.
    pub(super) fn reload_planned(&mut self, ticket: Ticket, result: Result<Box<Prepared>, LoadFailure>) {
        let generation = self.publishing.generation();
        let response = match result {
            Ok(prepared) => {
                let file = self.config.file.display().to_string();
                let mut message = format!("{file} would be reloaded");
                for signed in &prepared.held.signed {
                    let names: Vec<&str> = signed.by.iter().map(|it| it.identity.as_str()).collect();
                    message += &format!("; it opens {}, signed by {}", signed.opens, names.join(" and "));
                }
                message += &self.words_of_release(&prepared.policy);
                for (key, why) in self.config.waiting_for_restart(&prepared.policy) {
                    message += &format!("; `{key}` would be changed: {why}");
                }
                message += &self.words_of_holds(&prepared.policy);
                if let Some(waits) = &prepared.database_waits {
                    message += &format!("; the geo databases would wait: {}", waits.why());
                }
                for warning in &prepared.warnings {
                    message += &format!("\n{file}: {warning}");
                }
                Response::Planned { message, exemptions: Vec::new() }
            }
            Err(LoadFailure { kind, message }) => Response::error(
                kind,
                format!("it would not be reloaded, generation {generation} would stay live:\n{message}"),
            ),
        };
        self.answer(ticket, response);
    }
}
