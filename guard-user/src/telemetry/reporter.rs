//! What the thread does with events: tracks flows, gives names, and passes on to the history and the log.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_common::abi::{self, Loss};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{error, warn};

use super::cgroups::CgroupNames;
use super::losses::{Counted, Losses};
use super::shared::Shared;
use super::source::{Events, Records, TakeFlow};
use super::still::Still;
use super::tunnels::Tunnels;
use super::users::UserNames;
use crate::canary::Sent;
use crate::config::policy::Log;
use crate::events::budget::{Budget, Limits};
use crate::events::canary::Canary;
use crate::events::enrich::{Context, enrich};
use crate::events::flows::{self, Resume, Tracker};
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::events::log_past::Earlier;
use crate::events::lost::{Lost, What};
use crate::events::names::SharedNames;
use crate::events::pinned_copy::PinnedCopy;
use crate::events::record::Record;
use crate::events::run::{End, Start};
use crate::events::told_flows::{KnownFlows, ToldFlow};
use crate::events::{Entry, Event};
use crate::exemption::Clocks;
use crate::history::Worker as Past;
use crate::kernel::{KernelError, RingEntry};

/// Events that are taken at once, and records that are swept, before the thread looks for something else to do:
/// a few milliseconds.
const BATCH: usize = 1024;
/// How long events wait for more where there were some: a small part of what the ring buffer has room for.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// How often losses are looked at.
const EACH_SECOND: Duration = Duration::from_secs(1);
/// How often quiet flows are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Where events go, and by which names.
pub(super) struct Rest {
    pub(super) names: SharedNames,
    pub(super) users: UserNames,
    pub(super) history: Arc<History>,
    pub(super) past: Option<Arc<Past>>,
    pub(super) log: EventLog,
    pub(super) looks: Log,
    pub(super) keep: Box<dyn FnMut(u64) + Send>,
    pub(super) flow: TakeFlow,
    pub(super) canaries: Sent,
    pub(super) diagnostics_lost: Box<dyn Fn() -> u64 + Send>,
}

/// What was taken from the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) events: usize,
    /// Whether there were no more.
    pub(super) is_all: bool,
}

pub(super) struct Reporter {
    events: Box<dyn Events>,
    rest: Rest,
    tracker: Tracker,
    tunnels: Tunnels,
    budget: Budget,
    losses: Losses,
    malformed: u64,
    /// Flows whose records were evicted before they were settled, in all.
    evicted: u64,
    /// The most flows that are tracked before those are taken out that the kernel has forgotten. Meanwhile there
    /// may be a ring buffer's more, and in a sweep every record that the kernel has.
    most_flows: usize,
    session: Timestamp,
    /// Whether the log has its first line.
    has_begun: bool,
    cgroups: CgroupNames,
    next_second: Instant,
    next_sweep: Instant,
    still: Still,
    shared: Arc<Shared>,
}

impl Reporter {
    pub(super) fn new(events: Box<dyn Events>, rest: Rest, limits: Limits, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            events,
            tracker: Tracker::default(),
            tunnels: Tunnels::default(),
            budget: Budget::new(limits),
            losses: Losses::default(),
            malformed: 0,
            evicted: 0,
            most_flows: 0,
            session: rest.log.session(),
            has_begun: false,
            cgroups: CgroupNames::default(),
            next_second: now + EACH_SECOND,
            next_sweep: now + SWEEP,
            still: Still::default(),
            shared,
            rest,
        }
    }

    /// Goes on from an earlier daemon, which has seen these losses.
    pub(super) fn begin(
        &mut self,
        records: &dyn Records,
        lost: Result<[u64; Loss::COUNT], KernelError>,
        earlier: &Earlier,
    ) {
        let Earlier { resume, flows, .. } = earlier;
        // A kernel that has all the records it can have, and half of that in flows whose records it has evicted.
        self.most_flows = records.flow_capacity() + records.flow_capacity() / 2;
        match lost {
            Ok(lost) => self.losses.kernel = lost.map(Counted::from),
            Err(error) => self.losses.unreadable = Some(error.to_string()),
        }
        self.tracker = Tracker::resume(*resume, flows, Clocks::read().boot_ns);
        let taken_up = records.for_each_flow(&mut |key, record| self.tracker.take_up(key, &record, flows));
        if let Err(error) = taken_up {
            warn!("the flow records can't be read, so some flows may be reported twice: {error}");
        }
    }

    pub(super) fn set_log(&mut self, log: Log) {
        if self.rest.looks.to != log.to {
            self.rest.log.set_to(log.to.clone());
        }
        self.rest.looks = log;
    }

    pub(super) fn reopen_log(&self) {
        self.rest.log.reopen();
    }

    fn log(&self, record: Record) {
        if let Some(past) = &self.rest.past {
            past.put(&record);
        }
        self.rest.log.write(record, self.rest.looks.format);
    }

    /// Writes the first line of the run, where it is not written yet: with the first event, or when it is known by what
    /// generation it is judged.
    fn begin_log(&mut self) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let names = self.rest.names.get();
        let newest = names.newest();
        self.log(Record::Start(Start {
            time: Timestamp::now(),
            generation: newest.map(|names| names.generation),
            policy: newest.and_then(|names| names.policy.clone()),
            predecessor: self.rest.log.predecessor(),
        }));
    }

    /// Takes events that there are, at most a batch of them.
    pub(super) fn take_batch(&mut self) -> Taken {
        let clock = Clocks::read();
        let mut names = self.rest.names.get();
        let (mut new, mut told, mut canaries, mut events) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut is_all = false;
        while events < BATCH && !is_all {
            let Some(event) = self.events.next() else {
                is_all = true;
                continue;
            };
            events += 1;
            let event = match event {
                RingEntry::Flow(event) => event,
                RingEntry::Canary(canary) => {
                    canaries.push(canary);
                    continue;
                }
                RingEntry::Copy(copy) => {
                    let context = Context { names: &names, clock, session: self.session };
                    new.push(Entry::Copy(PinnedCopy::of(&copy, context)));
                    continue;
                }
            };
            (self.rest.flow)(&event.key, &event.record);
            let Some((phase, added)) = self.tracker.event(&event.key, &event.record) else { continue };
            told.extend(self.tracker.told(&event.key));
            self.tunnels.note(&event);
            if names.get(event.record.generation).is_none() {
                // It may have been published after the batch began.
                names = self.rest.names.get();
            }
            let context = Context { names: &names, clock, session: self.session };
            new.push(Entry::Flow(enrich(&event, phase, added, context)));
        }
        self.emit(new, told, clock);
        if !canaries.is_empty() {
            self.begin_log();
            let names = self.rest.names.get();
            let context = Context { names: &names, clock, session: self.session };
            for raw in canaries {
                let canary = Canary::of(&raw, self.rest.canaries.see(raw.number), context);
                // The flow history has none of them.
                self.rest.log.write(Record::Canary(Box::new(canary)), self.rest.looks.format);
            }
        }
        self.shared.beat(self.tracker.len());
        Taken { events, is_all }
    }

    /// Gives out new events; `told` is what they tell of their flows, one after the other.
    fn emit(&mut self, mut new: Vec<Entry>, mut told: Vec<ToldFlow>, clock: Clocks) {
        for entry in &mut new {
            match entry {
                Entry::Flow(event) => self.name(event),
                Entry::Copy(copy) => {
                    let Some(process) = &mut copy.process else { continue };
                    process.user = self.rest.users.name(process.uid);
                    process.cgroup = self.cgroups.path(process.cgroup_id);
                }
            }
        }
        let now = Instant::now();
        if !new.is_empty() {
            self.begin_log();
        }
        let mut of_flows = told.iter_mut();
        let mut lines = Vec::new();
        for entry in self.rest.history.push(new) {
            if let Some(past) = &self.rest.past {
                past.hold(&entry);
            }
            // Of copies the kernel sends no more than the log may have.
            let Some(event) = entry.flow() else {
                lines.push(entry);
                continue;
            };
            let told = of_flows.next();
            if self.budget.take(event, now) {
                lines.push(entry);
            } else {
                self.rest.history.sums(entry.sequence());
                told.into_iter().for_each(|it| it.told = None);
            }
        }
        self.rest.log.keep_flows(told, clock.boot_ns);
        for entry in lines {
            self.log(Record::Event(entry));
        }
    }

    /// Gives the names that no generation has.
    fn name(&mut self, event: &mut Event) {
        if event.cgroup.is_none() {
            event.cgroup = self.cgroups.path(event.cgroup_id);
        }
        let Some(process) = &mut event.process else { return };
        process.user = self.rest.users.name(process.uid);
        process.cgroup = match process.cgroup_id == event.cgroup_id {
            true => event.cgroup.clone(),
            false => self.cgroups.path(process.cgroup_id),
        };
    }

    /// Does what is due by now besides events.
    pub(super) fn tend(&mut self, records: &dyn Records, now: Instant) {
        let due = self.budget.due(now);
        if !due.is_empty() {
            self.rest.history.has_summed();
        }
        for summary in due {
            self.log(Record::Summary(summary.into()));
        }
        if now >= self.next_second {
            self.next_second = now + EACH_SECOND;
            if self.rest.names.get().newest().is_some_and(|names| names.policy.is_some()) {
                self.begin_log();
            }
            self.look_at_losses(records, now);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            let swept_ns = Clocks::read().boot_ns;
            if self.look_at_totals(records) || self.sweep(records) {
                self.keep(swept_ns);
            } else {
                self.rest.log.unsettle();
                self.still.unsettle();
            }
        } else if self.tracker.len() > self.most_flows && !self.forget(records) {
            // Bounded memory goes before an event that is reported twice.
            self.tracker = Tracker::resume(Resume::default(), &KnownFlows::default(), Clocks::read().boot_ns);
            self.tunnels = Tunnels::default();
        }
        self.shared.beat(self.tracker.len());
    }

    /// The most events that wait at any moment.
    pub(super) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    /// Takes every event that is there by now, and perhaps some that come meanwhile.
    fn take_all(&mut self) {
        for _ in 0..=self.events.capacity() / BATCH {
            if self.take_batch().is_all {
                return;
            }
        }
    }

    /// Forgets the flows that the kernel has forgotten, and reports nothing. Whether it was done.
    fn forget(&mut self, records: &dyn Records) -> bool {
        self.tracker.begin_sweep();
        let seen = records.for_each_flow(&mut |key, record| self.tracker.mark(&key, &record));
        self.end_sweep(seen)
    }

    /// Reports what quiet flows have that no event had, and forgets the flows that the kernel has forgotten.
    /// Whether all of it was done.
    fn sweep(&mut self, records: &dyn Records) -> bool {
        let clock = Clocks::read();
        self.take_all();
        let (mut rests, mut count) = (Vec::new(), 0_usize);
        self.tracker.begin_sweep();
        let swept = records.for_each_flow(&mut |key, record| {
            rests.extend(self.tracker.sweep_one(&key, &record, clock.boot_ns));
            count += 1;
            if count.is_multiple_of(BATCH) {
                self.emit_rests(&mut rests, clock);
                // Events go on meanwhile, as long as that takes no more than the memory that there is.
                if self.tracker.len() < self.most_flows {
                    self.take_batch();
                }
                self.shared.beat(self.tracker.len());
            }
        });
        self.emit_rests(&mut rests, clock);
        self.end_sweep(swept)
    }

    fn end_sweep(&mut self, seen: Result<(), KernelError>) -> bool {
        // A flow whose record was evicted meanwhile may have an event here; it is known until that is taken.
        self.take_all();
        match seen {
            Ok(()) => {
                self.evicted += self.tracker.end_sweep();
                self.tunnels.keep(|key| self.tracker.has(key));
            }
            Err(error) => {
                warn!("the flow records can't be read: {error}");
                return false;
            }
        }
        true
    }

    fn emit_rests(&mut self, rests: &mut Vec<flows::Rest>, clock: Clocks) {
        let names = self.rest.names.get();
        let context = Context { names: &names, clock, session: self.session };
        let event = |rest: flows::Rest| {
            // The ends of its tunnel are in events alone.
            let [outer_dst, outer_src] = self.tunnels.of(&rest.key);
            let raw = abi::Event { key: rest.key, record: rest.record, outer_dst, outer_src };
            Entry::Flow(enrich(&raw, rest.phase, rest.added, context))
        };
        let told = rests.iter().filter_map(|rest| self.tracker.told(&rest.key)).collect();
        let new = rests.drain(..).map(event).collect();
        self.emit(new, told, clock);
    }

    /// Has the log say what it has not of what the kernel counted. Only between two sweeps, for it goes by what has stood
    /// still from one to the other. Whether the next sweep would find nothing.
    fn look_at_totals(&mut self, records: &dyn Records) -> bool {
        let totals = match records.totals() {
            Ok(totals) => totals,
            Err(error) => {
                warn!("the log can't be held against the kernel's counters: {error}");
                self.still.unsettle();
                return false;
            }
        };
        let finds_nothing = self.still.look(&totals);
        if self.has_begun {
            self.rest.log.look(totals, self.rest.looks.format);
        }
        finds_nothing
    }

    /// Reports what was lost since the last look, once for each kind.
    fn look_at_losses(&mut self, records: &dyn Records, now: Instant) {
        let mut news = Vec::new();
        match records.lost() {
            Ok(lost) => {
                self.losses.unreadable = None;
                for ((loss, count), counted) in Loss::ALL.into_iter().zip(lost).zip(&mut self.losses.kernel) {
                    let new = counted.take(count, now);
                    if new > 0 {
                        error!("{new} {}, {count} in all", What::Kernel(loss).fate());
                        news.push((What::Kernel(loss), new));
                    }
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.losses.unreadable.as_ref() != Some(&why) {
                    warn!("what was lost in the kernel can't be read: {why}");
                }
                self.losses.unreadable = Some(why);
            }
        }
        let new = self.losses.evicted.take(self.evicted, now);
        if new > 0 {
            error!("{new} {}, {} in all", What::Evicted.fate(), self.evicted);
            news.push((What::Evicted, new));
        }
        // Those of the log itself are said by its writer, who has lines to spare for them.
        if !news.is_empty() {
            self.begin_log();
        }
        for (what, count) in news {
            self.log(Record::Lost(Lost { time: Timestamp::now(), what, count }));
        }
        let lines = self.rest.log.lost();
        let new = self.losses.log.take(lines, now);
        if new > 0 {
            error!(
                "{new} lines of the event log were lost, because its destination did not take them, {lines} in all"
            );
        }
        // Standard error itself has a line about these when it takes lines again.
        self.losses.diagnostics.take((self.rest.diagnostics_lost)(), now);
        let malformed = self.events.malformed();
        if malformed > self.malformed {
            error!("{} entries of the ring buffer were no events", malformed - self.malformed);
        }
        self.malformed = malformed;
        self.shared.show(&self.losses);
    }

    /// Waits until there are events, the daemon has something to say, or something is due. Where there were events just now,
    /// more of them wait for a moment: a storm's would wake it for each.
    pub(super) fn wait(&self, wake: BorrowedFd<'_>, had_events: bool) {
        if had_events {
            let mut woken = [PollFd::from_borrowed_fd(wake, PollFlags::IN)];
            // Whatever comes of it, the next wait looks at both.
            let _over = poll(&mut woken, Some(&PAUSE));
        }
        // A sweep is made with the look of its second: no wake of its own.
        let due = self.budget.next_due().map_or(self.next_second, |due| due.min(self.next_second));
        let patience = due.saturating_duration_since(Instant::now());
        let Ok(patience) = Timespec::try_from(patience) else { return };
        let ring = self.events.fd();
        let mut waited =
            [PollFd::from_borrowed_fd(ring, PollFlags::IN), PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        match poll(&mut waited, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Nothing that is known; a pause keeps it from taking the CPU.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        // Any number of wake-ups is one; that there was none is no error.
        let _none = rustix::io::read(wake, &mut [0_u8; 8]);
    }

    /// Keeps that what all flows had that were quiet at this moment was reported.
    fn keep(&mut self, swept_ns: u64) {
        (self.rest.keep)(swept_ns);
        self.rest.log.swept(swept_ns);
    }

    /// Reports what there is by now, for the last time.
    pub(super) fn end(mut self, records: &dyn Records) {
        let swept_ns = Clocks::read().boot_ns;
        if self.sweep(records) {
            self.keep(swept_ns);
        }
        let now = Instant::now();
        self.look_at_losses(records, now);
        self.begin_log();
        for summary in self.budget.rest(now) {
            self.log(Record::Summary(summary.into()));
        }
        self.log(Record::End(End { time: Timestamp::now() }));
        self.rest.log.keep_all_flows(self.tracker.all_told(), Clocks::read().boot_ns);
        // The log writes its last lines when it is dropped, which is now.
    }
}
