//! Geo databases that are read without the config: by themselves as they are replaced, and with a yes.

use std::sync::Arc;

use serde_json::json;

use crate::audit::{Kind, Who};
use crate::control::protocol::{ErrorKind, Response};
use crate::daemon::engine::input::{LoadFailure, Prepared, Waits};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Action, Level, StoreJob, Ticket, records};
use crate::exemption::Clocks;
use crate::store::JUDGED;

impl Engine {
    /// Begins to read the databases of the policy that is to be live; with a yes also what waits for one.
    pub(super) fn load_databases(&mut self, yes: Option<(Ticket, Who)>) {
        if let (Some((ticket, _)), Some(why)) = (&yes, self.waits_for_confirmation()) {
            return self
                .answer(*ticket, Response::error(ErrorKind::Busy, format!("nothing was done: {why}")));
        }
        if let (Some((ticket, _)), Some(why)) = (&yes, self.trail_refuses()) {
            let message = format!(
                "nothing was done: what the geo databases open is to be on record, and the audit trail takes no record now: {why}. \
                 Do it again when it does; what they close is taken by itself"
            );
            return self.answer(*ticket, Response::error(ErrorKind::Failed, message));
        }
        // What a candidate goes back to has the databases of its time.
        if self.config.is_busy() || self.config.unconfirmed.is_some() {
            self.config.databases.again = true;
            self.config.databases.late.extend(yes);
            return;
        }
        self.config.loading = Some(self.now.boot_ns);
        let databases = &mut self.config.databases;
        databases.are_read_alone = true;
        databases.again = false;
        databases.accepting.extend(yes);
        databases.accepting.append(&mut databases.late);
        let accepted = !databases.accepting.is_empty();
        let policy = Arc::clone(self.config.wanted());
        let spent = self.spent_signatures();
        self.actions.push(Action::LoadDatabases { policy, accepted, spent });
    }

    /// They were read, or can't be used.
    pub(super) fn databases_loaded(&mut self, result: Result<Box<Prepared>, LoadFailure>) {
        match result {
            Ok(prepared) if prepared.geo.is_some() => self.take_up_databases(*prepared),
            Ok(prepared) => {
                self.config.databases.refused = None;
                self.config.databases.waits = prepared.database_waits;
                self.nothing_to_accept();
                self.load_once_more();
            }
            Err(failure) => self.databases_failed(failure),
        }
    }

    /// Answers those who said yes to databases of which nothing is to be taken: a reload took them meanwhile, or they wait for
    /// more than a yes.
    fn nothing_to_accept(&mut self) {
        let generation = self.publishing.generation();
        let response = match &self.config.databases.waits {
            Some(Waits::All(why) | Waits::Openings(why)) => {
                Response::error(ErrorKind::BadInput, format!("the geo databases are not taken: {why}"))
            }
            None => {
                let source = Some(self.config.database.source.as_str()).filter(|source| !source.is_empty());
                let source = source.unwrap_or("those of the tables that the kernel has");
                let message = format!("the geo databases are live already: {source}");
                Response::Done { message, generation, exemptions: Vec::new() }
            }
        };
        for (ticket, _) in std::mem::take(&mut self.config.databases.accepting) {
            self.answer(ticket, response.clone());
        }
    }

    /// The ones that were read are live with the policy that was, but for what waits; why packets may be judged by those
    /// before all the same.
    pub(super) fn databases_are_live(&mut self, settled: Result<(), String>, waits: Option<Waits>) {
        let databases = &mut self.config.databases;
        (databases.refused, databases.waits) = (None, waits.clone());
        let accepting = std::mem::take(&mut databases.accepting);
        self.surroundings.remove("last-database");
        let (generation, source) = (self.publishing.generation(), self.config.database.source.clone());
        self.log(
            Level::Info,
            format!("geo databases are taken: generation {generation} is live with {source}"),
        );
        let by = accepting.first().map_or_else(|| self.daemon.clone(), |(_, who)| who.clone());
        let mut facts = self.config_facts();
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("databases_alone".to_owned(), json!(true));
            facts.insert(JUDGED.to_owned(), self.config.is_judged.into());
            facts.insert("accepted".to_owned(), json!(!accepting.is_empty()));
            if let Some(waits) = &waits {
                facts.insert("waits".to_owned(), waits.why().into());
            }
        }
        let record = records::record_of(self.now.wall, (Kind::Reload, &by), "", "", facts);
        let text = Arc::clone(&self.config.policy.text);
        match self.config.is_unsure {
            // Until it is known what was in force, the trail's last config is that.
            true => {
                let job = StoreJob::NoteConfig { record: record.clone(), text };
                self.ask_store(Purpose::NoteConfig, job);
                self.record(record);
            }
            false => self.ask_store(Purpose::Record, StoreJob::RecordConfig { record, text }),
        }
        for (ticket, _) in accepting {
            let response = match (&settled, &waits) {
                (Ok(()), None) => {
                    let message =
                        format!("the geo databases are taken: {source}{}", self.words_of_no_record());
                    Response::Done { message, generation, exemptions: Vec::new() }
                }
                (Ok(()), Some(waits)) => {
                    let taken = format!(
                        "what the geo databases close is in force (generation {generation}): {source}"
                    );
                    Response::error(ErrorKind::Failed, format!("{taken}. {}", waits.why()))
                }
                (Err(why), _) => {
                    let message = format!(
                        "the geo databases are taken, but some packets may still be judged by those before: {why}. It \
                         is tried again every few seconds"
                    );
                    Response::error(ErrorKind::Failed, message)
                }
            };
            self.answer(ticket, response);
        }
        self.load_once_more();
    }

    /// They can't be used; those before them go on.
    pub(super) fn databases_failed(&mut self, failure: LoadFailure) {
        let LoadFailure { kind, message } = failure;
        for (ticket, who) in std::mem::take(&mut self.config.databases.accepting) {
            let file = self.config.file.display().to_string();
            self.record(records::refusal(self.now.wall, &who, ("geo-accept", &file), &message));
            self.answer(
                ticket,
                Response::error(kind, format!("the geo databases are not taken:\n{message}")),
            );
        }
        self.config.databases.refused = Some(message);
        self.load_once_more();
    }

    /// What the answer to a reload says of databases that wait.
    pub(super) fn words_of_waiting_databases(&self) -> String {
        let waits = self.config.databases.waits.as_ref();
        let words = |waits: &Waits| match waits {
            Waits::All(why) => format!("; the geo databases WAIT for a yes: {why}"),
            Waits::Openings(why) => format!("; what the geo databases open is CLOSED: {why}"),
        };
        waits.map(words).unwrap_or_default()
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
}
