//! The steps of the engine: what each input does to the state, and what is asked for then.

mod asked;
mod bypass;
mod canaries;
mod carriers;
mod cgroups;
mod changes;
mod closings;
mod config;
mod config_record;
mod cut;
mod databases;
mod ending;
mod history;
mod interfaces;
mod latest;
mod law;
mod lifts;
mod loads;
mod notices;
mod noting;
mod problems;
mod protection;
mod publish;
mod quotas;
mod reads;
mod reconcile;
mod records;
mod shadow;
mod signers;
mod status;
mod tampering;
mod tracing;
mod unconfirmed;

pub use history::history_settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

use crate::audit::Kind;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::control::status::AuditStatus;
use crate::daemon::engine::bypass::Bypass;
use crate::daemon::engine::cgroups::Cgroups;
use crate::daemon::engine::changes::Changes;
use crate::daemon::engine::closings::Closings;
use crate::daemon::engine::config::Config;
use crate::daemon::engine::ending::Ending;
use crate::daemon::engine::interfaces::{Interfaces, LOST_NS};
use crate::daemon::engine::latest::Latest;
use crate::daemon::engine::loads::{Handed, Loads, Wanted};
use crate::daemon::engine::notices::Notices;
use crate::daemon::engine::noting::Noting;
use crate::daemon::engine::periods::{EACH_DAY, EACH_SECOND, WATCHDOG};
use crate::daemon::engine::protection::Protection;
use crate::daemon::engine::publishing::Publishing;
use crate::daemon::engine::quotas::Quotas;
use crate::daemon::engine::reads::Reads;
use crate::daemon::engine::signers::Signers;
use crate::daemon::engine::state::{Begin, Due, Engine, Purpose};
use crate::daemon::engine::tampering::Tampering;
use crate::daemon::engine::tracing::Tracing;
use crate::daemon::engine::{
    Action, Asker, Input, Level, StoreId, StoreJob, StoreOutcome, Surroundings, Ticket,
};
use crate::exemption::Clocks;
use crate::health::ProblemCode;
use crate::kernel::Elsewhere;
use crate::store::Kept;

impl Engine {
    /// The state at the start, with what is to be done first.
    #[must_use]
    pub fn new(begin: Begin, now: Clocks) -> (Self, Vec<Action>) {
        let Begin {
            config_file,
            prepared,
            kept,
            counts,
            generation,
            refused_bypass,
            held,
            ended,
            volume_slots,
            daemon,
            named_before,
            guarded_until,
            left_unconfirmed,
            latest,
        } = begin;
        let let_go = left_unconfirmed.as_ref().map(|left| left.let_go.clone()).unwrap_or_default();
        let config = Config { left_unconfirmed, ..Config::new(config_file, prepared.policy.clone()) };
        let mut engine = Self {
            config,
            kept,
            counts_unread: counts.is_none().then(Vec::new),
            counts: counts.unwrap_or_default(),
            daemon,
            closings: Closings::begin(held),
            publishing: Publishing::new(generation),
            tampering: Tampering::default(),
            interfaces: Interfaces { let_go, ..Interfaces::default() },
            cgroups: Cgroups::default(),
            bypass: Bypass { was_refused: refused_bypass, ..Bypass::default() },
            noting: Noting::begin(volume_slots),
            protection: Protection::default(),
            notices: Notices::default(),
            quotas: Quotas::begin(ended),
            changes: Changes::default(),
            loads: Loads::default(),
            signers: Signers::default(),
            reads: Reads::default(),
            tracing: Tracing::default(),
            ending: Ending::default(),
            latest: Latest::begin(now),
            has_taken_over: generation > 0,
            begun_ns: now.boot_ns,
            clocks: now,
            clock_count: 0,
            due: Due { second: now.boot_ns, watchdog: now.boot_ns, day: now.boot_ns },
            surroundings: BTreeMap::new(),
            verified: AuditStatus::default(),
            gap: None,
            loss_unkept: None,
            named_before,
            guarded_until,
            counts_refused: None,
            next_store: 0,
            cut_over: BTreeSet::new(),
            logged: BTreeSet::new(),
            now,
            is_ready: false,
            told_history: None,
            told_interfaces: HashMap::new(),
            told_canaries: None,
            asked: BTreeMap::new(),
            actions: Vec::new(),
        };
        engine.config.is_unsure = !engine.kept.is_usable();
        engine.close_held(now);
        engine.learn_latest(latest, now);
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
            Input::RecordsLost(lost) => self.records_were_lost(lost),
            Input::LossUnkept(why) => self.loss_unkept = why,
            Input::Hangup => self.load_config(None),
            Input::DatabasesReplaced => self.load_databases(None),
            Input::Changed => self.interfaces.look(),
            Input::Tick => {}
            Input::Absent(from) => {
                let detail = json!({"from": from.to_string(), "to": now.wall.to_string()});
                self.record_of(Kind::Unwatched, "", "", detail);
            }
            Input::Observed(sight) => self.observed(sight, now),
            Input::Published(outcome) => self.published(*outcome, now),
            Input::Attached { index, result } => self.attached(index, result, now),
            Input::Released { interface, result } => self.released(&interface, result, now),
            Input::BypassSet { is_on, result } => self.bypass_set(is_on, result, now),
            Input::NotingSet(result) => self.noting_set(result, now),
            Input::ProtectionSet(result) => self.protection_set(result, now),
            Input::Forgotten { stray, result } => self.forgotten(&stray, result),
            Input::TimeNoted(result) => self.time_noted(result),
            Input::Restored(result) => self.restored(result, now),
            Input::Traced(told) => self.traced(told, now),
            Input::Shadowed(sight) => self.shadowed(sight, now),
            Input::ShadowLoaded(id, result) => self.shadow_loaded(&id, result),
            Input::ShadowTold(ticket, response) => self.answer(ticket, response),
            Input::PutBack(result) => self.were_put_back(result),
            Input::Uses(uses) => self.uses_read(uses, now),
            Input::UsesReset { slots, result } => self.uses_reset(slots, result),
            Input::Held { slots, held, result } => self.closings.held(slots, held, result, now),
            Input::Sampled(sample) => self.sampled(sample),
            Input::SocketsClosed { id, flows, problems } => self.sockets_closed(id, flows, problems, now),
            Input::Stored { id, outcome, kept } => self.stored(id, outcome, kept, now),
            Input::Read { id, response } => self.read_beside(id, response),
            Input::Loaded(result) => self.config_loaded(result, now),
            Input::Planned(ticket, result) => self.reload_planned(ticket, result),
            Input::Surroundings(found) => self.surroundings_are(found),
            Input::FirstStart => self.start_was_the_first(),
            Input::ConfigOfTrail(found) => self.hold_against(found),
            Input::Verified(found) => {
                self.verified = AuditStatus {
                    verified: Some(format!("{:.0}", now.wall)),
                    whole: Some(found.is_ok()),
                    records: found.as_ref().ok().copied(),
                };
                self.surroundings_are(Surroundings::Trail(found.err()));
            }
            Input::Stop { with_host } => self.stop(with_host),
        }
        self.do_what_is_due(now);
        self.reconcile(now);
        self.follow_history(now);
        self.follow_canaries();
        std::mem::take(&mut self.actions)
    }

    /// When the next [`Input::Tick`] is wanted, nanoseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn next_tick(&self) -> u64 {
        // What is due every few seconds, and each day, is done with the look of its second.
        let regular = self.due.second;
        let of_requests = self.changes.next_deadline().into_iter().chain(self.reads.next_deadline()).min();
        let more = [self.quotas.next_look(&self.kept), of_requests, self.next_return()];
        more.into_iter().flatten().fold(regular, u64::min)
    }

    fn request(&mut self, ticket: Ticket, request: Request, asker: Asker, now: Clocks) {
        if self.ending.has_begun() {
            return self
                .answer(ticket, Response::error(ErrorKind::Busy, "the daemon is ending; nothing was done"));
        }
        match request {
            Request::Reload {} => self.load_config(Some((ticket, asker.who))),
            Request::ReloadPlan {} => self.plan_reload(ticket),
            Request::Apply { wanted } => self.apply(ticket, *wanted, asker.who),
            Request::Confirm { roll_back } => self.confirm(ticket, roll_back, asker.who),
            Request::CanaryConfirm { canary } => self.confirm_canary(ticket, &canary),
            Request::Trace { id, begin } => self.trace(ticket, id, begin, asker.who, now),
            Request::Shadow { id, begin } => self.shadow(ticket, id, begin, &asker, now),
            Request::GeoAccept {} => self.load_databases(Some((ticket, asker.who))),
            Request::ExemptionLoad { document, name, signatures, dry_run, refused } => {
                let wanted = match (dry_run, refused) {
                    (true, _) => Wanted::Plan,
                    (false, true) => Wanted::Refusal,
                    (false, false) => Wanted::Load,
                };
                self.load_exemption(ticket, Handed { document, name, signatures, wanted }, asker.who, now);
            }
            Request::ExemptionStay { .. }
            | Request::ExemptionResume { .. }
            | Request::ExemptionRevoke { .. }
            | Request::InstrumentInvalidate { .. }
            | Request::ApprovalRevoke { .. } => self.change_exemptions(ticket, &request, asker.who, now),
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
            let by_ms = i64::try_from(moved / 1_000_000).unwrap_or(i64::MAX);
            let by = jiff::SignedDuration::from_millis(by_ms);
            let was = now.wall.checked_sub(by).unwrap_or(now.wall);
            self.latest.was_set.add(by, was, now);
            if was > now.wall {
                // What ended before the clock was set back was told as expired, and may not be closed in the store yet.
                self.quotas.ended_by = self.quotas.ended_by.max(Some(was));
                self.quotas.look_now();
            }
            let detail = json!({"by_ms": by_ms, "from": was.to_string(), "to": now.wall.to_string()});
            self.record_of(Kind::ClockSet, "", "", detail);
            self.clocks = now;
            self.clock_count += 1;
            self.settle_clock(now);
        }
    }

    fn do_what_is_due(&mut self, now: Clocks) {
        if now.boot_ns >= self.due.second {
            self.due.second = now.boot_ns + EACH_SECOND;
            self.quotas.look_now();
            self.keep_latest(now);
            self.settle_clock(now);
            self.look_at_tracing(now);
            self.interfaces.look();
            self.forget_the_start(now);
            self.record_tampering(|told| told.record_is_due(now), now);
            self.log_problems(now);
        }
        if now.boot_ns >= self.due.watchdog {
            self.due.watchdog = now.boot_ns + WATCHDOG;
            self.publishing.try_again();
            self.reads.book();
            self.ask_store(Purpose::CheckPlace, StoreJob::CheckPlace);
            self.look_at_signers();
            self.tell_of_exemptions(now);
        }
        if now.boot_ns >= self.due.day {
            self.due.day = now.boot_ns + EACH_DAY;
            self.warn_of_age(now);
        }
        self.changes_are_late(now);
        self.reads_are_late(now);
        self.opening_is_late(now);
        self.go_back_where_due(now);
    }

    /// That nothing was guarded before the start is told for a minute.
    fn forget_the_start(&mut self, now: Clocks) {
        if now.boot_ns > self.begun_ns + LOST_NS
            && let Some(Surroundings::Start(problems)) = self.surroundings.get_mut("start")
        {
            problems.retain(|problem| problem.code != ProblemCode::AttachmentLost);
        }
    }

    /// Whether these surroundings are known to be so: to be told it once more changes nothing.
    #[must_use]
    pub fn knows(&self, found: &Surroundings) -> bool {
        let (key, is_well) = place_of(found);
        self.surroundings.get(key).map_or(is_well, |known| known == found)
    }

    fn surroundings_are(&mut self, found: Surroundings) {
        // A store that opens late finds more, and what was found before still is so.
        if let (Surroundings::Start(more), Some(Surroundings::Start(before))) =
            (&found, self.surroundings.get_mut("start"))
        {
            return before.extend(more.iter().cloned());
        }
        let (key, is_well) = place_of(&found);
        match is_well {
            true => drop(self.surroundings.remove(key)),
            false => drop(self.surroundings.insert(key, found)),
        }
    }

    fn stored(&mut self, id: StoreId, outcome: StoreOutcome, kept: Kept, now: Clocks) {
        self.kept = kept;
        self.learn_latest(self.kept.latest(), now);
        self.close_held(now);
        self.settle_closings();
        let Some((_, purpose)) = self.asked.remove(&id) else { return };
        match (purpose, outcome) {
            (Purpose::Load(ticket), StoreOutcome::Loaded(result)) => {
                self.exemption_loaded(ticket, result, now)
            }
            (Purpose::Change(change), StoreOutcome::Changed(result)) => self.change_kept(change, result, now),
            (Purpose::PlanLift(change), StoreOutcome::Changed(result)) => {
                self.lift_planned(change, result, now)
            }
            (Purpose::Read(ticket), StoreOutcome::Answered(response)) => self.answer(ticket, response),
            (Purpose::Tend, StoreOutcome::Tended { closed, refused }) => self.tended(closed, refused, now),
            (Purpose::ReadCounts, StoreOutcome::WhoseCounts(read)) => self.whose_counts(read),
            (Purpose::LookAtSigners, StoreOutcome::Signers(read)) => self.signers_are(read),
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
            Purpose::Approvals => self.approvals_kept(result),
            Purpose::Approving => self.approved(result),
            Purpose::RecordGap => {
                self.gap_recorded(result);
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
            // It is compared again with the next look that books what crossed.
            Purpose::Compare if result.is_err() => self.quotas.compare_ns = 0,
            Purpose::CheckPlace => {
                self.surroundings_are(Surroundings::State(result.err()));
                self.ask_whose_counts();
                // The disk may take a record again though there is none to write.
                if self.kept.is_usable() {
                    self.record_gap();
                    self.keep_approvals();
                    self.hold_again(self.now);
                }
                self.recorded_for_end();
            }
            Purpose::Load(_)
            | Purpose::Change(_)
            | Purpose::PlanLift(_)
            | Purpose::Tend
            | Purpose::Compare
            | Purpose::NoteConfig
            | Purpose::LookAtSigners
            | Purpose::ReadCounts
            | Purpose::Read(_) => {}
        }
    }
}

/// Under which name these are kept, and whether nothing is wrong with them.
fn place_of(found: &Surroundings) -> (&'static str, bool) {
    match found {
        Surroundings::Control(problems) => ("control", problems.is_empty()),
        Surroundings::Start(problems) => ("start", problems.is_empty()),
        Surroundings::State(why) => ("state", why.is_none()),
        Surroundings::Trail(why) => ("trail", why.is_none()),
        Surroundings::Notices(why) => ("notices", why.is_none()),
        Surroundings::Pins(why) => ("pins", why.is_none()),
        Surroundings::Mark(why) => ("mark", why.is_none()),
        Surroundings::Store(why) => ("store", why.is_none()),
        Surroundings::Carriers(why) => ("carriers", why.is_none()),
        Surroundings::Loop(why) => ("loop", why.is_none()),
        Surroundings::ConfigNotKept(why) => ("config-not-kept", why.is_none()),
        Surroundings::DatabaseNotKept(why) => ("database-not-kept", why.is_none()),
        Surroundings::LastDatabase(why) => ("last-database", why.is_none()),
        Surroundings::DatabaseWritten(why) => ("database-written", why.is_none()),
        Surroundings::Canaries(problems) => ("canaries", problems.is_empty()),
        Surroundings::Elsewhere(found) => ("elsewhere", *found == Elsewhere::default()),
    }
}
