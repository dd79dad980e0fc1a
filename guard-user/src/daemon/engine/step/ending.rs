//! The daemon's end. Enforcement goes on without it. Where the host goes down with it, exemptions are closed and
//! settled first: the kernel's counts go with the host, and what was granted would have to count as used.

use guard_common::abi::MAX_EXEMPTIONS;

use crate::audit::Kind;
use crate::daemon::engine::ending::{Ending, Step};
use crate::daemon::engine::publishing::Tables;
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Action, KernelJob, Level, State, StoreJob, Surroundings};
use crate::exemption::Clocks;

impl Engine {
    pub(super) fn stop(&mut self, with_host: bool) {
        if self.ending.has_begun() {
            return;
        }
        self.actions.push(Action::Notify(State::Stopping));
        self.end_tracing();
        self.warn_of_unconfirmed();
        self.ending = Ending { step: Step::Counting, with_host };
        self.reads.book();
    }

    /// The last sample was taken, or can't be.
    pub(super) fn sampled_for_end(&mut self) {
        if self.ending.step != Step::Counting {
            return;
        }
        match self.ending.with_host {
            true => self.ending.step = Step::Closing,
            false => self.read_final_uses(),
        }
    }

    pub(super) fn go_on_ending(&mut self, now: Clocks) {
        if self.ending.step == Step::Looking && self.interfaces.are_looked_at() {
            return self.end_now();
        }
        if self.ending.step != Step::Closing {
            return;
        }
        match self.tables(now) {
            Tables::OnTheWay => {}
            Tables::Current => self.read_final_uses(),
            Tables::Failed(error) => {
                self.not_settled(&error);
                self.record_end();
            }
        }
    }

    fn read_final_uses(&mut self) {
        if self.ending.step == Step::Closing {
            self.ending.step = Step::Reading;
        }
        self.quotas.read_for_answers();
        self.read_uses_where_wanted();
    }

    pub(super) fn uses_for_end(&mut self, readable: bool) {
        match self.ending.step {
            Step::Counting if !self.ending.with_host => {
                if readable {
                    let counts = self.counts().unwrap_or_default();
                    self.ask_store(Purpose::SaveUses, StoreJob::SaveUses(counts));
                }
                self.record_end();
            }
            Step::Reading if readable => {
                self.ending.step = Step::Settling;
                let counts = self.counts().unwrap_or_default();
                self.ask_store(Purpose::CountersEnd, StoreJob::CountersEnd(counts));
            }
            Step::Reading => {
                self.not_settled("the kernel's counts can't be read");
                self.record_end();
            }
            _ => {}
        }
    }

    pub(super) fn counters_ended(&mut self, result: Result<(), String>) {
        if self.ending.step != Step::Settling {
            return;
        }
        match result {
            Ok(()) => {
                self.ending.step = Step::Resetting;
                let slots: Vec<u16> = self.kept.slots_in_use();
                let slots = slots.into_iter().filter(|slot| usize::from(*slot) < MAX_EXEMPTIONS).collect();
                self.ask_kernel(KernelJob::ResetUses(slots));
            }
            Err(error) => {
                self.not_settled(&error);
                self.record_end();
            }
        }
    }

    /// Whether a reset of counts was one of the end.
    pub(super) fn uses_reset_for_end(&mut self) -> bool {
        if self.ending.step != Step::Resetting {
            return false;
        }
        let line = "the host goes down: exemptions are closed until it is up again";
        self.log(Level::Info, line.to_owned());
        self.record_end();
        true
    }

    fn not_settled(&mut self, why: &str) {
        let line = format!(
            "the host goes down, and the exemptions could not be settled: what was granted to them counts as used: \
             {why}"
        );
        self.log(Level::Warn, line);
    }

    fn record_end(&mut self) {
        self.ending.step = Step::Recording;
        let facts = self.config_facts();
        self.record_of(Kind::End, "", "", facts);
        // A store whose file was removed ends with this process.
        self.ask_store(Purpose::CheckPlace, StoreJob::CheckPlace);
    }

    /// A record was written, or was not, or the store's place was looked at: the last of these ends the daemon.
    pub(super) fn recorded_for_end(&mut self) {
        let is_last =
            |purpose: &Purpose| matches!(purpose, Purpose::Record | Purpose::RecordGap | Purpose::CheckPlace);
        if self.ending.step != Step::Recording || self.asked.values().any(|(_, purpose)| is_last(purpose)) {
            return;
        }
        // What somebody removed from bpffs would end with this process.
        self.ending.step = Step::Looking;
        self.interfaces.look();
    }

    fn end_now(&mut self) {
        self.ending.step = Step::Done;
        let generation = self.publishing.generation();
        let names = self.not_kept();
        let (level, line) = match names.is_empty() {
            true => {
                let line = format!(
                    "the daemon ends; generation {generation} stays in force. `borderguard run` takes it over, \
                     `borderguard detach` ends it"
                );
                (Level::Info, line)
            }
            false => {
                (Level::Error, format!("the daemon ends, and with it the guard of {}", names.join(", ")))
            }
        };
        self.log(level, line);
        self.actions.push(Action::Ended);
    }

    /// Why what the store holds ends with this process, or is not where a start looks for it.
    #[must_use]
    pub fn store_is_lost(&self) -> Option<&str> {
        match self.surroundings.get("state") {
            Some(Surroundings::State(why)) => why.as_deref(),
            _ => None,
        }
    }

    /// What is guarded by nothing but this process: interfaces, and the cgroup to which ways past the guard are refused,
    /// whose entries in bpffs are gone.
    #[must_use]
    pub fn not_kept(&self) -> Vec<String> {
        let observed = self.interfaces.observed.iter().flat_map(|observed| &observed.interfaces);
        let only_here = observed.filter(|it| it.attachments.iter().any(|at| !at.is_kept));
        let cgroup = self.bypass.is_not_kept().then(|| self.bypass_subject());
        let noted = self.noting.is_not_kept().then(|| format!("sockets of {}", self.noting_subject()));
        only_here.map(|it| it.interface.name.clone()).chain(cgroup).chain(noted).collect()
    }
}
