//! What the audit trail has of the config that is live.

use std::sync::Arc;

use serde_json::json;

use crate::audit::{Kind, Record, Who};
use crate::config::policy::Policy;
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::config::{Candidate, Config};
use crate::daemon::engine::input::{Held, LoadFailure, Prepared, SignedFile};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Action, StoreJob, records};
use crate::digest::sha256;
use crate::exemption::Clocks;
use crate::hostname::hostname;
use crate::store::JUDGED;

/// How long what opens waits for the disk to take its record, nanoseconds.
const OPENS_NS: u64 = 10_000_000_000;

impl Engine {
    /// Whether what was read opens, and is to be on the disk before it is live. A start can't wait for that, and what is confirmed
    /// was recorded when it was applied. Of what nobody has to sign, notes have to do as long as the store can't be opened.
    pub(super) fn waits_for_its_record(&self, held: &Held) -> bool {
        let is_signed = held.signed.iter().any(|it| !it.by.is_empty());
        self.config.serial != 0
            && !self.is_confirming()
            && !held.signed.is_empty()
            && (is_signed || self.kept.is_usable())
    }

    /// Has the disk take what opens, and who signed it.
    pub(super) fn record_opening(&mut self, prepared: Box<Prepared>, now: Clocks) {
        self.config.approving_until = now.boot_ns.saturating_add(OPENS_NS);
        // The answer to an earlier one would be taken for that to this one.
        let is_on_its_way = self.asked.values().any(|(_, purpose)| *purpose == Purpose::Approving);
        let records = self.records_of_openings(&prepared.held.signed);
        self.candidate_is_signed(&prepared.held.signed);
        self.config.approving = Some(prepared);
        match is_on_its_way {
            true => self.approved(Err("the disk has not answered yet".to_owned())),
            false => self.ask_store(Purpose::Approving, StoreJob::RecordAll(records)),
        }
    }

    fn records_of_openings(&self, files: &[SignedFile]) -> Vec<Record> {
        let asked = self.config.waiting.first().map(|(_, who)| who);
        let by = self.config.unconfirmed.as_ref().map(|it| &it.who).or(asked).unwrap_or(&self.daemon);
        let unsigned = files.iter().filter(|it| it.by.is_empty()).map(|it| {
            let detail = json!({"sha256": it.sha256, "opens": it.opens});
            let file = it.file.display().to_string();
            records::record_of(self.now.wall, (Kind::Opening, by), &file, "", detail)
        });
        let signed = self.approvals_of(files);
        signed.into_iter().chain(unsigned).collect()
    }

    /// The disk has what opens, and who signed it, or has it not.
    pub(super) fn approved(&mut self, result: Result<(), String>) {
        let Some(mut prepared) = self.config.approving.take() else { return };
        match &result {
            Ok(()) => self.keep_what_is_recorded(&mut prepared.held),
            Err(_) => self.keep_what_is_live(&prepared.policy),
        }
        let is_signed = prepared.held.signed.iter().any(|it| !it.by.is_empty());
        prepared.held.signed.clear();
        let what = if is_signed { "who signed it" } else { "a record of it" };
        let result = result.map(|()| prepared).map_err(|error| LoadFailure {
            kind: ErrorKind::Failed,
            message: format!(
                "what opens is not taken, for the audit trail can't have {what}: {error}. Do it again when the disk takes \
                 records; what closes is taken meanwhile"
            ),
        });
        self.config_read(result, self.now);
    }

    /// Has what opens kept as what the next config is held against, where the loader left that until it is on record: kept before
    /// that, a start would go by it though it was never live. Where it waits for no record, that is at once.
    pub(super) fn keep_what_is_recorded(&mut self, held: &mut Held) {
        self.actions.extend(held.to_keep.take().map(Action::KeepConfig));
    }

    /// The candidate could not be made live, and what is live is what the next config is held against again.
    pub(super) fn goes_on_without(&mut self, candidate: Candidate) {
        let Candidate { policy, is_of_databases, refused, live_unheld, .. } = candidate;
        // What was found of the text that is live holds of it all the same.
        if policy.text != self.config.policy.text {
            self.config.unheld = live_unheld;
        }
        // One that was in force before the start, and that the live one opens over, stays what everything is held against.
        if !is_of_databases && refused.is_none() {
            self.keep_what_is_live(&policy);
        }
    }

    /// Another config was kept as what the next one is held against. Where it is refused after that, what is live takes its place
    /// again: else it could go live later without its record, and would keep out what is live.
    fn keep_what_is_live(&mut self, refused: &Policy) {
        let Config { unconfirmed, databases, is_being_held, .. } = &self.config;
        if unconfirmed.is_some() || databases.are_read_alone || *is_being_held {
            return;
        }
        let asks = self.config.asks();
        let is_kept = refused.approval.as_ref().is_some_and(|approvals| !approvals.policy.is_empty());
        if asks || is_kept {
            let live = asks.then(|| self.live_config());
            self.actions.push(Action::KeepConfig(live));
        }
    }

    /// What opens is refused where the disk takes too long.
    pub(super) fn opening_is_late(&mut self, now: Clocks) {
        if self.config.approving.is_some() && now.boot_ns >= self.config.approving_until {
            self.approved(Err("the disk has not answered in 10 seconds".to_owned()));
        }
    }

    /// Records which config is live, and keeps its text with that.
    pub(super) fn record_config(&mut self, kind: Kind, by: &Who) {
        let is_due = !self.config.is_unsure && std::mem::take(&mut self.config.start_is_due);
        if is_due && kind != Kind::Start {
            let daemon = self.daemon.clone();
            self.record_config(Kind::Start, &daemon);
        }
        let mut facts = self.config_facts();
        if let (Kind::Start, Some(until)) = (kind, self.kept.counted_before()) {
            facts["counted_until"] = json!(until);
        }
        if kind == Kind::Reload {
            facts[JUDGED] = self.config.is_judged.into();
        }
        let record = records::record_of(self.now.wall, (kind, by), "", "", facts);
        let text = Arc::clone(&self.config.wanted().text);
        let (purpose, job) = match self.config.is_unsure {
            true => {
                self.config.start_is_due |= kind == Kind::Start;
                (Purpose::NoteConfig, StoreJob::NoteConfig { record, text })
            }
            false => (Purpose::Record, StoreJob::RecordConfig { record, text }),
        };
        self.ask_store(purpose, job);
    }

    /// The config that is live, for the audit trail.
    pub(super) fn config_facts(&self) -> serde_json::Value {
        let policy = self.config.wanted();
        let mut facts = json!({
            "host": hostname(),
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.config.file.to_string_lossy(),
            "fingerprint": format!("{:016x}", policy.fingerprint),
            "config_sha256": sha256(&policy.text),
            "generation": self.publishing.generation(),
            "policy_sha256": self.publishing.hashes.policy_sha256,
            "geo_sha256": self.publishing.hashes.geo_sha256,
            "database": self.config.database.source,
            "observe": policy.host.observe,
            "approvals_verified": policy.approval.is_some(),
        });
        let database = &self.config.database;
        let more = [
            ("unheld", &self.config.unheld),
            ("database_unheld", &database.unheld),
            ("database_sha256", &database.digest),
        ];
        for (name, value) in more.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
            facts[name] = value.into();
        }
        if !database.built.is_empty() {
            facts["database_built"] = json!(database.built);
        }
        let users = policy.named_users();
        if !users.is_empty() {
            facts["users"] = json!(users);
        }
        facts
    }
}
