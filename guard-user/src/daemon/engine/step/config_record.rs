//! What the audit trail has of the config that is live.

use std::sync::Arc;

use serde_json::json;

use crate::audit::{Kind, Who};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{StoreJob, records};
use crate::digest::sha256;
use crate::hostname::hostname;
use crate::store::JUDGED;

impl Engine {
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
