//! A host on which the engine runs: a kernel in memory, a store on a disk in memory, and workers that do what they are
//! asked when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::SignedDuration;

use super::super::{Action, Engine, Input, KernelJob, Sample, SignedFile, StoreId, StoreJob, Ticket};
use super::begin::{begin, closed, opened};
use super::databases::{Load, OnDisk};
use super::inputs::{CONFIG, asker, document, is_promise, put};
use super::shadow::Asked;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::control::status::Status;
use crate::daemon::runtime;
use crate::events::names::SharedNames;
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::kernel::Kernel;
use crate::kernel::memory::{MemoryKernel, open_slots};
use crate::store::tests::model::ModelDisk;
use crate::store::{Key, Store, StoreError, Target};

const SECOND: u64 = 1_000_000_000;

/// Which worker is to do its next job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Kernel,
    Store,
    Sockets,
    Sampler,
    Loader,
}

/// All of them, in the order in which they work where nothing else says so.
pub(super) const PARTS: [Part; 5] = [Part::Sockets, Part::Kernel, Part::Store, Part::Sampler, Part::Loader];

/// The host.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) kernel: MemoryKernel,
    pub(super) disk: ModelDisk,
    pub(super) store: Store,
    /// Whether the next daemon, and this one where it has none, finds no store.
    pub(super) store_is_away: bool,
    /// What is added to the ids of cgroups.
    pub(super) cgroups_remade: u64,
    /// Whether the kernel's counters began with this daemon.
    pub(super) is_anew: bool,
    pub(super) config: &'static str,
    /// Who signed what a config that is read opens.
    pub(super) signed: Vec<SignedFile>,
    pub(super) now: Clocks,
    kernel_jobs: VecDeque<KernelJob>,
    store_jobs: VecDeque<(StoreId, StoreJob)>,
    cuts: VecDeque<u64>,
    samples: usize,
    loads: VecDeque<Load>,
    pub(super) on_disk: OnDisk,
    /// What was asked for shadows.
    pub(super) shadow: Asked,
    names: SharedNames,
    next_ticket: u64,
    pub(super) answers: BTreeMap<Ticket, Response>,
    /// Exemptions whose closing was asked for and not refused, by the request, until a resumption is on the disk.
    pub(super) closings: BTreeMap<Ticket, String>,
    resuming: BTreeMap<Ticket, String>,
    /// Requests of daemons that have ended: nobody answers them any more.
    pub(super) lost: BTreeSet<Ticket>,
    pub(super) log: Vec<String>,
    pub(super) has_ended: bool,
}

impl World {
    /// A host with these interfaces, on which a daemon has begun.
    pub(super) fn new(config: &'static str, interfaces: &[&str]) -> Self {
        let disk = ModelDisk::new();
        Self::on(config, MemoryKernel::with(interfaces), disk)
    }

    fn on(config: &'static str, kernel: MemoryKernel, disk: ModelDisk) -> Self {
        let is_anew = kernel.generation() == 0;
        let store = opened(&disk, is_anew).unwrap();
        let now = Clocks { wall: "2026-11-26T12:00:00Z".parse().unwrap(), boot_ns: 1000 * SECOND };
        let (engine, actions) = begin((config, &[]), &kernel, &store, now);
        let mut world = Self {
            engine,
            kernel,
            disk,
            store,
            store_is_away: false,
            cgroups_remade: 0,
            is_anew,
            config,
            signed: Vec::new(),
            now,
            kernel_jobs: VecDeque::new(),
            store_jobs: VecDeque::new(),
            cuts: VecDeque::new(),
            samples: 0,
            loads: VecDeque::new(),
            on_disk: OnDisk::Good,
            shadow: Asked::default(),
            names: SharedNames::default(),
            next_ticket: 0,
            answers: BTreeMap::new(),
            closings: BTreeMap::new(),
            resuming: BTreeMap::new(),
            lost: BTreeSet::new(),
            log: Vec::new(),
            has_ended: false,
        };
        world.take(actions);
        world
    }

    /// The daemon is killed, with what its workers had not done; another one begins.
    pub(super) fn restart(&mut self) {
        self.kernel.restart();
        self.kernel_jobs.clear();
        self.store_jobs.clear();
        self.cuts.clear();
        self.samples = 0;
        self.loads.clear();
        self.resuming.clear();
        self.lost
            .extend(self.tickets().filter(|ticket| !self.answers.contains_key(ticket)).collect::<Vec<_>>());
        // An order that was neither marked nor answered is as if it had never come.
        let held = self.kernel.held().unwrap();
        let kept = self.store.kept();
        let marked: BTreeSet<String> =
            held.iter().filter_map(|slot| kept.by_slot(*slot).map(|it| it.id.clone())).collect();
        let answers = &self.answers;
        self.closings.retain(|ticket, id| answers.get(ticket).is_some_and(is_promise) || marked.contains(id));
        self.disk.restart(crate::store::tests::model::End::Killed);
        self.is_anew = self.kernel.generation() == 0;
        self.store = match self.store_is_away {
            true => closed(&StoreError::Held { path: "state".into() }),
            false => opened(&self.disk, self.is_anew).unwrap_or_else(|error| closed(&error)),
        };
        self.engine = {
            let (engine, actions) = begin((self.config, &self.signed), &self.kernel, &self.store, self.now);
            self.take(actions);
            engine
        };
    }

    /// Every request so far.
    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> + use<> {
        (1..=self.next_ticket).map(Ticket)
    }

    pub(super) fn clocks(&self) -> Clocks {
        self.now
    }

    /// How the kernel differs from what config and store want.
    pub(super) fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let active = self.store.kept().list(self.now.wall).into_iter();
        let active = active.filter(|it| is_open(it) && !self.is_closed(&it.id));
        let mut wanted: Vec<String> = active.map(|it| it.id).collect();
        let mut open = self.open();
        wanted.sort();
        open.sort();
        if open != wanted {
            differences.push(format!("open are {open:?}, and should be {wanted:?}"));
        }
        let guarded = self.kernel.guarded();
        let names = self.kernel.names();
        for name in names.iter().filter(|name| self.engine.names_interface(name)) {
            if !guarded.contains(name) {
                differences.push(format!("{name} is not guarded"));
            }
        }
        differences.extend(self.kernel.tampered().iter().map(|table| format!("{table} was changed")));
        differences.extend(self.bypass_difference().into_iter().chain(self.noting_difference()));
        differences
    }

    /// Time passes.
    pub(super) fn pass(&mut self, nanoseconds: u64) {
        self.now.boot_ns += nanoseconds;
        self.now.wall += SignedDuration::from_nanos(i64::try_from(nanoseconds).unwrap());
        self.step(Input::Tick);
    }

    /// The wall clock is set.
    pub(super) fn set_clock(&mut self, seconds: i64) {
        self.now.wall += SignedDuration::from_secs(seconds);
        self.step(Input::Tick);
    }

    pub(super) fn step(&mut self, input: Input) {
        let actions = self.engine.step(input, self.now);
        self.take(actions);
    }

    pub(super) fn ask(&mut self, request: Request) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        match &request {
            Request::ExemptionResume { target: Target::Id(id), .. } => {
                drop(self.resuming.insert(ticket, id.clone()))
            }
            Request::ExemptionStay { target: Target::Id(id), dry_run: false, .. }
            | Request::ExemptionRevoke { id, dry_run: false, .. } => {
                // Accepted where it is not refused in the same step, before any worker has done anything.
                let id = id.clone();
                let asker = asker();
                self.step(Input::Request { ticket, request, asker });
                if !self.answers.contains_key(&ticket) {
                    self.closings.insert(ticket, id);
                }
                return ticket;
            }
            _ => {}
        }
        self.step(Input::Request { ticket, request, asker: asker() });
        ticket
    }

    pub(super) fn load(&mut self, id: &str, version: u32) -> Ticket {
        self.load_text(id, document(id, version, self.now.wall))
    }

    /// Asks for a document of this text to be loaded.
    pub(super) fn load_text(&mut self, name: &str, document: String) -> Ticket {
        self.ask(Request::ExemptionLoad {
            document,
            name: name.to_owned(),
            signatures: Vec::new(),
            dry_run: false,
            refused: false,
        })
    }

    pub(super) fn stay(&mut self, id: &str) -> Ticket {
        self.ask(Request::ExemptionStay {
            target: Target::Id(id.to_owned()),
            order: "High Court 1".to_owned(),
            not_loaded: false,
            dry_run: false,
        })
    }

    pub(super) fn resume(&mut self, id: &str) -> Ticket {
        self.ask(Request::ExemptionResume {
            target: Target::Id(id.to_owned()),
            order: None,
            why: "lifted".to_owned(),
            lift: None,
            dry_run: false,
            to_sign: false,
        })
    }

    pub(super) fn revoke(&mut self, id: &str) -> Ticket {
        self.ask(Request::ExemptionRevoke { id: id.to_owned(), why: "withdrawn".to_owned(), dry_run: false })
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Kernel(job) => {
                    if let KernelJob::Publish(publish) = &job {
                        self.nothing_opens_that_may_not(&open_slots(&publish.table.0));
                    }
                    let is_urgent = job.is_urgent();
                    put(&mut self.kernel_jobs, job, is_urgent, KernelJob::is_urgent);
                }
                Action::Store(id, job) => {
                    let is_urgent = job.is_urgent();
                    put(&mut self.store_jobs, (id, *job), is_urgent, |(_, job)| job.is_urgent());
                }
                Action::Sample(_) => self.samples += 1,
                Action::Load { of, .. } => self.loads.push_back(Load::Config(of)),
                Action::KeepConfig(live) => self.log.push(super::openings::kept(live)),
                Action::LoadDatabases { policy, accepted, .. } => {
                    self.loads.push_back(Load::Databases(policy, accepted));
                }
                Action::CloseSockets(cut) => self.cuts.push_back(cut.id),
                Action::NameSockets(_) => self.log.push(super::noting::NAMED.to_owned()),
                it @ (Action::LoadShadow(..) | Action::TellShadow(..)) => self.shadow.take(it),
                Action::Answer(ticket, response) => {
                    if let Response::Error { kind: ErrorKind::NotFound | ErrorKind::BadInput, .. } = &response
                    {
                        self.closings.remove(&ticket);
                    }
                    self.answers.insert(ticket, response);
                }
                Action::Log(_, line) => self.log.push(line),
                Action::Ended => self.has_ended = true,
                Action::EventLog(_)
                | Action::FlowHistory(_)
                | Action::Tell { .. }
                | Action::NameInterfaces(_)
                | Action::Canaries(_)
                | Action::ConfirmCanary(..)
                | Action::Notify(_)
                | Action::FindCarriers(_) => {}
            }
        }
    }

    /// What a generation opens is open on the disk, and no order that was taken says otherwise.
    fn nothing_opens_that_may_not(&self, open: &BTreeSet<u16>) {
        let kept = self.store.kept();
        let unsaved: BTreeSet<Key> = kept.unsaved().into_iter().collect();
        for slot in open {
            let document = kept.by_slot(*slot).unwrap_or_else(|| panic!("slot {slot} is nobody's"));
            let key = (document.id.clone(), document.version);
            let record = kept.record(&key).unwrap();
            assert!(
                record.is_active() && !unsaved.contains(&key),
                "{key:?} is opened, and is {:?}",
                record.status
            );
            assert!(!self.is_closed(&key.0), "{key:?} is opened, and an order closed it");
        }
    }

    /// Whether an order closed it.
    pub(super) fn is_closed(&self, id: &str) -> bool {
        self.closings.values().any(|closed| closed == id)
    }

    /// Whether this part has a job.
    pub(super) fn has_job(&self, part: Part) -> bool {
        match part {
            Part::Kernel => !self.kernel_jobs.is_empty(),
            Part::Store => !self.store_jobs.is_empty(),
            Part::Sockets => !self.cuts.is_empty(),
            Part::Sampler => self.samples > 0,
            Part::Loader => !self.loads.is_empty(),
        }
    }

    /// Whether the kernel's next job is to let an interface go.
    pub(super) fn is_releasing(&self) -> bool {
        matches!(self.kernel_jobs.front(), Some(KernelJob::Release { .. }))
    }

    /// Has one part do its next job.
    pub(super) fn work(&mut self, part: Part) {
        if !self.has_job(part) {
            return;
        }
        match part {
            Part::Kernel => {
                let Some(job) = self.kernel_jobs.pop_front() else { return };
                let mut input = runtime::kernel::done(&mut self.kernel, &self.names, job);
                if let Input::Observed(Ok(sight)) = &mut input {
                    sight.bypass.cgroup = sight.bypass.cgroup.map(|id| id + self.cgroups_remade);
                }
                self.step(input);
            }
            Part::Store => {
                let Some((id, job)) = self.store_jobs.pop_front() else { return };
                let resumed = match &job {
                    StoreJob::Change { target, change: crate::store::Change::Resume { .. }, .. } => {
                        Some(target.clone())
                    }
                    _ => None,
                };
                let is_tried = matches!(job, StoreJob::CheckPlace) && !self.store.kept().is_usable();
                let is_open_again = is_tried && !self.store_is_away && self.opens_again();
                let outcome = runtime::store::done(&mut self.store, job, self.now.wall);
                self.store.keep_marks();
                if let (Some(crate::store::Target::Id(id)), super::super::StoreOutcome::Changed(Ok(_))) =
                    (&resumed, &outcome)
                {
                    self.closings.retain(|_, closed| closed != id);
                }
                let kept = self.store.kept();
                self.step(Input::Stored { id, outcome, kept });
                if is_open_again {
                    self.step(Input::ConfigOfTrail(Ok(None)));
                }
            }
            Part::Sockets => {
                let Some(id) = self.cuts.pop_front() else { return };
                self.step(Input::SocketsClosed { id, flows: 0, problems: Vec::new() });
            }
            Part::Sampler => {
                self.samples -= 1;
                let cursor = Some(crate::store::Cursor { boot: "b".to_owned(), swept_ns: self.now.boot_ns });
                let sample = Sample { counters: self.kernel.counters(), cursor, ..Sample::default() };
                self.step(Input::Sampled(Ok(Box::new(sample))));
            }
            Part::Loader => {
                let Some(load) = self.loads.pop_front() else { return };
                let input = load.done(&mut self.config, (self.on_disk, &self.signed));
                self.step(input);
            }
        }
    }

    /// A host with one exemption that is open.
    pub(super) fn with_one() -> Self {
        let mut world = Self::new(CONFIG, &["eth0"]);
        world.settle();
        let loaded = world.load("a", 1);
        world.settle();
        assert!(world.is_done(loaded), "{:?}", world.answers);
        assert_eq!(world.open(), ["a"]);
        world
    }

    /// Each part has a turn or a few, but for this one.
    pub(super) fn all_but(&mut self, stuck: Part) {
        for _ in 0..20 {
            for part in PARTS.into_iter().filter(|part| *part != stuck) {
                self.work(part);
            }
        }
    }

    /// Each part has its turn until this is answered.
    pub(super) fn work_until_answered(&mut self, ticket: Ticket) {
        while !self.answers.contains_key(&ticket) {
            for part in PARTS {
                self.work(part);
            }
        }
    }

    /// Lets everybody work until nobody has anything to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some(part) = PARTS.into_iter().find(|part| self.has_job(*part)) else { return };
            self.work(part);
        }
        panic!("it never comes to rest: {:?}", self.log.iter().rev().take(5).collect::<Vec<_>>());
    }

    /// Lets time pass with everybody at work, so that what failed is tried again.
    pub(super) fn rest(&mut self) {
        for _ in 0..12 {
            self.settle();
            self.pass(SECOND);
        }
        self.settle();
    }

    pub(super) fn status(&mut self) -> Status {
        let ticket = self.ask(Request::Status {});
        self.settle();
        match self.answers.get(&ticket) {
            Some(Response::Status { status }) => (**status).clone(),
            other => panic!("no status: {other:?}"),
        }
    }

    /// What a status would say, which looks first.
    pub(super) fn problems(&mut self) -> Vec<Problem> {
        without_approvals(self.status().problems)
    }

    /// What the engine knows of without another look.
    pub(super) fn known_problems(&self) -> Vec<Problem> {
        without_approvals(self.engine.problems(self.clocks()))
    }

    pub(super) fn codes(&mut self) -> Vec<ProblemCode> {
        self.problems().into_iter().map(|problem| problem.code).collect()
    }

    pub(super) fn answer(&self, ticket: Ticket) -> &Response {
        self.answers.get(&ticket).unwrap_or_else(|| panic!("{ticket:?} has no answer"))
    }

    pub(super) fn is_done(&self, ticket: Ticket) -> bool {
        matches!(self.answers.get(&ticket), Some(Response::Done { .. }))
    }

    /// Ids of the exemptions that the live generation lets through.
    pub(super) fn open(&self) -> Vec<String> {
        let kept = self.store.kept();
        let open = self.kernel.open_slots();
        let ids = open
            .iter()
            .map(|slot| kept.by_slot(*slot).map_or_else(|| format!("#{slot}"), |it| it.id.clone()));
        ids.collect()
    }
}

/// Whether the kernel has it, be it that its window has not begun by the kernel's own clock.
pub(super) fn is_open(summary: &crate::exemption::Summary) -> bool {
    matches!(summary.state.name(), "active" | "not-yet-valid")
}

/// No test here is about approvals.
fn without_approvals(problems: Vec<Problem>) -> Vec<Problem> {
    problems.into_iter().filter(|problem| problem.code != ProblemCode::ApprovalsOff).collect()
}
