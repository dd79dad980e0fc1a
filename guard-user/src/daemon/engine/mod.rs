//! What the daemon does next: a state machine without I/O, clock or `await`.
//!
//! [`Engine::step`] takes one [`Input`] and the clocks, and gives back what is to be done. It compares what config
//! and store want with what kernel and host are seen to have (`reconcile`), so that every difference, wherever it
//! comes from, is mended in one place and is a problem of the status until then.
//!
//! What opens comes from a [`Kept`] alone, the exemptions as the disk has them, which only the store can make. What
//! closes needs none: it takes effect here first ([`closings`]), is marked in the kernel, and is on the disk when
//! the disk has taken it.

mod action;
mod basis;
mod bypass;
mod cgroups;
mod changes;
mod closings;
mod config;
mod cut;
mod ending;
mod ids;
mod input;
mod interfaces;
mod loads;
mod problems;
mod publish;
mod quotas;
mod reads;
mod reconcile;
mod records;
mod refusing;
mod status;
#[cfg(test)]
mod tests;
mod tries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use action::{Action, Cut, Judged, KernelJob, Level, LoadJob, Publish, Query, ReadJob, State, StoreJob};
pub use basis::{Basis, Geo, Table};
pub use changes::kind_of;
pub use cut::{is_cut, may_be_cut};
pub use ids::{StoreId, Ticket};
pub use input::{
    Asker, BypassFacts, Input, LoadFailure, LoadedExemption, Prepared, PublishOutcome, RefusedLoad, Sample,
    Sight, StoreOutcome, Surroundings,
};
pub use records::{daemon, not_permitted, record_of};

use crate::audit::Who;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::exemption::Clocks;
use crate::health::Problem;
use crate::store::{Kept, Key, PinCounts};

use bypass::Bypass;
use cgroups::Cgroups;
use changes::Changes;
use closings::Closings;
use config::Config;
use ending::Ending;
use interfaces::Interfaces;
use loads::Loads;
use publish::Publishing;
use quotas::Quotas;
use reads::Reads;

const SECOND: u64 = 1_000_000_000;
/// How often quotas are looked at that are granted in part: a tenth of what half a slice lasts at 1 Gbit/s, and
/// half of what it lasts at 10.
const QUOTAS: u64 = SECOND / 20;
/// How often kernel and host are looked at, uses are saved and windows looked at.
const EACH_SECOND: u64 = SECOND;
/// How often what failed is tried again, and what crossed is booked.
const WATCHDOG: u64 = 5 * SECOND;
/// How often a stale database is warned of.
const EACH_DAY: u64 = 24 * 60 * 60 * SECOND;

/// What the engine begins with.
pub struct Begin {
    /// The config file, for messages and records.
    pub config_file: PathBuf,
    /// The config, and geo tables where there are any.
    pub prepared: Prepared,
    /// The exemptions as the disk has them.
    pub kept: Kept,
    /// Whose counts the kernel's counts are.
    pub counts: PinCounts,
    /// The generation that is live.
    pub generation: u64,
    /// Slots that the kernel holds closed.
    pub held: BTreeSet<u16>,
    /// The daemon, for records.
    pub daemon: Who,
}

/// The daemon's state.
pub struct Engine {
    config: Config,
    kept: Kept,
    counts: PinCounts,
    daemon: Who,
    closings: Closings,
    publishing: Publishing,
    interfaces: Interfaces,
    cgroups: Cgroups,
    bypass: Bypass,
    quotas: Quotas,
    changes: Changes,
    loads: Loads,
    reads: Reads,
    ending: Ending,
    clocks: Clocks,
    /// How often the wall clock was set.
    clock_count: u64,
    due: Due,
    surroundings: BTreeMap<&'static str, Surroundings>,
    /// Why the audit trail has a gap.
    gap: Option<String>,
    /// Why what crossed could not be saved last.
    counts_refused: Option<String>,
    next_store: u64,
    /// What is over by its window, of which the sockets are closed already.
    cut_over: BTreeSet<Key>,
    /// Problems that were logged.
    logged: BTreeSet<Problem>,
    /// The present moment.
    now: Clocks,
    /// Whether the service manager was told that the daemon guards.
    is_ready: bool,
    /// What operations of the store were for, that are not done yet, and since when.
    asked: BTreeMap<StoreId, (u64, Purpose)>,
    actions: Vec<Action>,
}

/// When what is done from time to time is due next, nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    second: u64,
    watchdog: u64,
    day: u64,
}

/// What an operation of the store was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Load(Ticket),
    Change(changes::ChangeId),
    Tend,
    SaveUses,
    SlotsReset,
    CountersEnd,
    Record,
    SaveCounts,
    Read(Ticket),
    CheckPlace,
}

impl Engine {
    /// The state at the start, with what is to be done first.
    #[must_use]
    pub fn new(begin: Begin, now: Clocks) -> (Self, Vec<Action>) {
        let Begin { config_file, prepared, kept, counts, generation, held, daemon } = begin;
        let mut engine = Self {
            config: Config::new(config_file, prepared.policy.clone()),
            kept,
            counts,
            daemon,
            closings: Closings::begin(held),
            publishing: Publishing::new(generation),
            interfaces: Interfaces::default(),
            cgroups: Cgroups::default(),
            bypass: Bypass::default(),
            quotas: Quotas::default(),
            changes: Changes::default(),
            loads: Loads::default(),
            reads: Reads::default(),
            ending: Ending::default(),
            clocks: now,
            clock_count: 0,
            due: Due { second: now.boot_ns, watchdog: now.boot_ns, day: now.boot_ns },
            surroundings: BTreeMap::new(),
            gap: None,
            counts_refused: None,
            next_store: 0,
            cut_over: BTreeSet::new(),
            logged: BTreeSet::new(),
            now,
            is_ready: false,
            asked: BTreeMap::new(),
            actions: Vec::new(),
        };
        engine.close_held(now);
        engine.begin_with(prepared);
        engine.interfaces.look();
        engine.reconcile(now);
        let actions = std::mem::take(&mut engine.actions);
        (engine, actions)
    }

    /// Takes one input, and says what is to be done.
    #[must_use]
    pub fn step(&mut self, input: Input, now: Clocks) -> Vec<Action> {
        self.now = now;
        self.follow_clock(now);
        match input {
            Input::Request { ticket, request, asker } => self.request(ticket, request, asker, now),
            Input::Record(record) => self.record(record),
            Input::Hangup => self.load_config(None),
            Input::Changed => self.interfaces.look(),
            Input::Tick => {}
            Input::Observed(sight) => self.observed(sight, now),
            Input::Published(outcome) => self.published(*outcome, now),
            Input::Attached { index, result } => self.attached(index, result, now),
            Input::Released { interface, result } => self.released(&interface, result, now),
            Input::BypassSet { is_on, result } => self.bypass_set(is_on, result, now),
            Input::Forgotten { stray, result } => self.forgotten(&stray, result),
            Input::Restored(result) => self.restored(result, now),
            Input::Uses(uses) => self.uses_read(uses, now),
            Input::UsesReset { slots, result } => self.uses_reset(slots, result),
            Input::Held { slots, held, result } => self.closings.held(slots, held, result, now),
            Input::Sampled(sample) => self.sampled(sample),
            Input::SocketsClosed { id, flows, problems } => self.sockets_closed(id, flows, problems, now),
            Input::Stored { id, outcome, kept } => self.stored(id, outcome, kept, now),
            Input::Read { id, response } => self.read_beside(id, response),
            Input::Loaded(result) => self.config_loaded(result, now),
            Input::Surroundings(found) => self.surroundings_are(found),
            Input::Stop { with_host } => self.stop(with_host),
        }
        self.do_what_is_due(now);
        self.reconcile(now);
        std::mem::take(&mut self.actions)
    }

    /// When the next [`Input::Tick`] is wanted, nanoseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn next_tick(&self) -> u64 {
        let regular = self.due.second.min(self.due.watchdog).min(self.due.day);
        let of_requests = self.changes.next_deadline().into_iter().chain(self.reads.next_deadline()).min();
        [self.quotas.next_look(&self.kept), of_requests].into_iter().flatten().fold(regular, u64::min)
    }

    /// The paths of the cgroups that the policy names.
    #[must_use]
    pub fn cgroups(&self) -> Vec<String> {
        self.config.wanted().pins.iter().flat_map(|pin| pin.select.cgroups.clone()).collect()
    }

    /// The paths of the cgroups that something depends on: what comes or goes beside them is to be told.
    #[must_use]
    pub fn watched_cgroups(&self) -> Vec<String> {
        let bypass = &self.config.policy.bypass;
        let named = bypass.allow.iter().chain(Some(&bypass.cgroup).filter(|path| !path.is_empty()));
        self.cgroups().into_iter().chain(named.cloned()).collect()
    }

    /// Whether everything that the config names is guarded, or known not to be, since the start.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The live generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.publishing.generation()
    }

    fn request(&mut self, ticket: Ticket, request: Request, asker: Asker, now: Clocks) {
        if self.ending.has_begun() {
            return self
                .answer(ticket, Response::error(ErrorKind::Busy, "the daemon is ending; nothing was done"));
        }
        match request {
            Request::Reload {} => self.load_config(Some((ticket, asker.who))),
            Request::ExemptionLoad { document, name, signatures, dry_run } => {
                self.load_exemption(
                    ticket,
                    loads::Handed { document, name, signatures, dry_run },
                    asker.who,
                    now,
                );
            }
            Request::ExemptionStay { .. }
            | Request::ExemptionResume { .. }
            | Request::ExemptionRevoke { .. }
            | Request::InstrumentInvalidate { .. } => {
                self.change_exemptions(ticket, &request, asker.who, now)
            }
            request => self.read(ticket, request, asker, now),
        }
    }

    fn follow_clock(&mut self, now: Clocks) {
        if let Some(moved) = now.wall_jumped_since(&self.clocks) {
            self.log(
                Level::Warn,
                format!(
                    "the wall clock was set by {} ms: the windows of exemptions follow",
                    moved / 1_000_000
                ),
            );
            self.clocks = now;
            self.clock_count += 1;
        }
    }

    fn do_what_is_due(&mut self, now: Clocks) {
        if now.boot_ns >= self.due.second {
            self.due.second = now.boot_ns + EACH_SECOND;
            self.quotas.look_now();
            self.interfaces.look();
            self.log_problems(now);
        }
        if now.boot_ns >= self.due.watchdog {
            self.due.watchdog = now.boot_ns + WATCHDOG;
            self.publishing.try_again();
            self.reads.book();
            self.ask_store(Purpose::CheckPlace, StoreJob::CheckPlace);
        }
        if now.boot_ns >= self.due.day {
            self.due.day = now.boot_ns + EACH_DAY;
            self.warn_of_age(now);
        }
        self.changes_are_late(now);
        self.reads_are_late(now);
    }

    fn surroundings_are(&mut self, found: Surroundings) {
        let (key, is_well) = match &found {
            Surroundings::Control(problems) => ("control", problems.is_empty()),
            Surroundings::State(why) => ("state", why.is_none()),
            Surroundings::Store(why) => ("store", why.is_none()),
            Surroundings::Loop(why) => ("loop", why.is_none()),
            Surroundings::DatabaseNotKept(why) => ("database-not-kept", why.is_none()),
            Surroundings::LastDatabase(why) => ("last-database", why.is_none()),
        };
        match is_well {
            true => drop(self.surroundings.remove(key)),
            false => drop(self.surroundings.insert(key, found)),
        }
    }

    fn stored(&mut self, id: StoreId, outcome: StoreOutcome, kept: Kept, now: Clocks) {
        self.kept = kept;
        self.close_held(now);
        self.settle_closings();
        let Some((_, purpose)) = self.asked.remove(&id) else { return };
        match (purpose, outcome) {
            (Purpose::Load(ticket), StoreOutcome::Loaded(result)) => {
                self.exemption_loaded(ticket, result, now)
            }
            (Purpose::Change(change), StoreOutcome::Changed(result)) => self.change_kept(change, result, now),
            (Purpose::Read(ticket), StoreOutcome::Answered(response)) => self.answer(ticket, response),
            (Purpose::Tend, StoreOutcome::Tended { closed, refused }) => self.tended(closed, refused, now),
            (purpose, StoreOutcome::Saved(result)) => {
                self.saved(purpose, result.map_err(|it| it.to_string()))
            }
            // The worker answers each job in its own way; nothing else comes.
            _ => {}
        }
    }

    fn saved(&mut self, purpose: Purpose, result: Result<(), String>) {
        match purpose {
            Purpose::Record => {
                self.recorded(result);
                self.recorded_for_end();
            }
            Purpose::SaveUses => self.uses_saved(result),
            Purpose::SlotsReset => self.slots_are_free(result),
            Purpose::CountersEnd => self.counters_ended(result),
            Purpose::SaveCounts => {
                self.counts_refused = result.as_ref().err().cloned();
                if let Err(error) = result {
                    self.reads.booked = None;
                    self.log(
                        Level::Warn,
                        format!("what crossed can't be saved, and is with the next look: {error}"),
                    );
                }
            }
            Purpose::CheckPlace => self.surroundings_are(Surroundings::State(result.err())),
            Purpose::Load(_) | Purpose::Change(_) | Purpose::Tend | Purpose::Read(_) => {}
        }
    }

    fn ask_store(&mut self, purpose: Purpose, job: StoreJob) {
        // One look at its place is enough while a slow disk has not answered the last.
        if purpose == Purpose::CheckPlace && self.asked.values().any(|(_, asked)| *asked == purpose) {
            return;
        }
        self.next_store += 1;
        let id = StoreId(self.next_store);
        self.asked.insert(id, (self.now.boot_ns, purpose));
        self.actions.push(Action::Store(id, Box::new(job)));
    }

    fn ask_kernel(&mut self, job: KernelJob) {
        self.actions.push(Action::Kernel(job));
    }

    fn answer(&mut self, ticket: Ticket, response: Response) {
        self.actions.push(Action::Answer(ticket, response));
    }

    fn log(&mut self, level: Level, line: String) {
        self.actions.push(Action::Log(level, line));
    }
}
