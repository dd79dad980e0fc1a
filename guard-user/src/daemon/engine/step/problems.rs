//! Everything that makes the live state differ from what config and store want, as problems with stable codes.

use std::collections::BTreeSet;
use std::path::Path;

use guard_common::abi::Hook;
use guard_common::abi::failsafe::minute_at;

use crate::config::policy::Action;
use crate::daemon::engine::bypass::{BEING_ATTACHED, Difference};
use crate::daemon::engine::interfaces::{Claim, wants_ingress};
use crate::daemon::engine::periods::SECOND;
use crate::daemon::engine::publishing::Tables;
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::{Level, StoreFault, Surroundings, Waits};
use crate::exemption::Clocks;
use crate::health::{Enforcement, Problem, ProblemCode};
use crate::kernel::{DeviceElsewhere, Elsewhere, ObservedInterface};

/// How long a new generation may be on its way before that is a problem, nanoseconds: it takes milliseconds.
const ON_THE_WAY_NS: u64 = SECOND / 4;
/// How long config and databases may take to be read, nanoseconds: large ones take seconds.
const LOADING_NS: u64 = 15 * SECOND;
/// How long a look at the interfaces may take, nanoseconds: one at a thousand takes a tenth of that.
const LOOKING_NS: u64 = SECOND;
/// How long a worker may be silent, nanoseconds.
const STUCK_NS: u64 = 5 * SECOND;

impl Engine {
    /// What the live generation does to packets that it forbids.
    pub(super) fn enforcement(&self) -> Enforcement {
        let policy = &self.config.policy;
        if self.publishing.generation() == 0 || !self.interfaces.guard_something() || policy.pins.is_empty() {
            return Enforcement::Nothing;
        }
        let enforces = |pin: &crate::config::policy::Pin| {
            pin.action != Action::Observe || pin.ingress != crate::config::policy::Ingress::Off
        };
        match !policy.host.observe && policy.pins.iter().any(enforces) {
            true => Enforcement::Enforces,
            false => Enforcement::Observes,
        }
    }

    /// What is not as it should be, the worst first.
    pub(in crate::daemon::engine) fn problems(&self, now: Clocks) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.problems_of_tables(&mut problems, now);
        problems.extend(self.problems_of_tampering());
        problems.extend(self.problems_of_protection());
        self.problems_of_interfaces(&mut problems, now);
        self.problems_of_pins_interfaces(&mut problems);
        self.problems_of_bypass(&mut problems, now);
        self.problems_of_volumes(&mut problems, now);
        self.problems_of_failsafe(&mut problems, now);
        let unnoted = self.noting.difference(&self.config.policy);
        problems.extend(unnoted.map(|how| {
            Problem::of(
                ProblemCode::SocketsUnnoted,
                self.noting_subject(),
                format!("who makes and uses sockets is {how}"),
            )
        }));
        problems.extend(self.problem_of_law(now));
        problems.extend(self.problem_of_tracing());
        problems.extend(self.problem_of_unconfirmed());
        self.problems_of_store(&mut problems, now);
        self.problems_of_workers(&mut problems, now);
        self.problems_of_surroundings(&mut problems);
        problems.extend(self.stale_database(now).map(|why| Problem::new(ProblemCode::DatabaseStale, why)));
        problems.sort();
        problems.dedup();
        problems
    }

    /// Logs problems that are new, and those that are mended.
    pub(super) fn log_problems(&mut self, now: Clocks) {
        let mut present = self.problems(now);
        // The log has these from where they come from.
        present.retain(|problem| {
            !matches!(
                problem.code,
                ProblemCode::ChangeDenied
                    | ProblemCode::DatabaseStale
                    | ProblemCode::EventsLost
                    | ProblemCode::GuardedLate
                    | ProblemCode::LogLost
                    | ProblemCode::TablesBehind
                    | ProblemCode::ConfigRefused
                    | ProblemCode::AuditGap
                    | ProblemCode::StoreUnwritable
            ) && !problem.message.contains(BEING_ATTACHED)
        });
        let present: BTreeSet<Problem> = present.into_iter().collect();
        let before = std::mem::replace(&mut self.logged, present.clone());
        // A number in it that grows is no news.
        let is_known = |problem: &&Problem| before.iter().any(|it| says(it) == says(problem));
        for problem in present.difference(&before).filter(|it| !is_known(it)) {
            let line = match (problem.code, &problem.subject) {
                (ProblemCode::InterfaceMissing | ProblemCode::InterfaceNotGuarded, Some(name)) => {
                    format!("{name} is NOT guarded as it should be: {}", problem.message)
                }
                _ => problem.to_string(),
            };
            self.log(Level::Error, line);
        }
        for problem in before.difference(&present) {
            let same = |it: &&Problem| (it.code, &it.subject) == (problem.code, &problem.subject);
            if !present.iter().any(|it| same(&it)) {
                let subject =
                    problem.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
                self.log(Level::Info, format!("mended: {}{subject}", problem.code));
            }
        }
    }

    fn problems_of_tables(&self, problems: &mut Vec<Problem>, now: Clocks) {
        let generation = self.publishing.generation();
        if let Some(why) = &self.config.refused {
            let message = format!("the config can't be used, generation {generation} stays live: {why}");
            problems.push(Problem::new(ProblemCode::ConfigRefused, message));
        }
        let unheld = self.config.unheld.iter();
        problems.extend(unheld.map(|why| Problem::new(ProblemCode::ConfigUnheld, why)));
        let databases = &self.config.databases;
        let refused = databases.refused.iter().map(|why| (ProblemCode::DatabaseRefused, why));
        let unheld = self.config.database.unheld.iter().map(|why| (ProblemCode::DatabaseUnheld, why));
        problems.extend(refused.chain(unheld).map(|(code, why)| Problem::new(code, why)));
        problems.extend(databases.waits.iter().map(|waits| match waits {
            Waits::All(why) => Problem::new(ProblemCode::DatabaseWaits, why),
            Waits::Openings(why) => Problem::new(ProblemCode::DatabaseUnsigned, why),
        }));
        for (key, why) in self.config.waiting_for_restart(&self.config.policy) {
            problems.push(Problem::of(ProblemCode::RestartNeeded, key, why));
        }
        let slow =
            self.publishing.on_its_way_since().is_some_and(|since| now.boot_ns > since + ON_THE_WAY_NS);
        let why = match self.tables(now) {
            Tables::Failed(why) => Some(why),
            Tables::OnTheWay if slow => Some("a new generation is on its way and not live yet".to_owned()),
            Tables::OnTheWay | Tables::Current => self.publishing.failure().map(str::to_owned),
        };
        if let Some(why) = why {
            let message = format!("the kernel's tables are NOT up to date: {why}");
            problems.push(Problem::new(ProblemCode::TablesBehind, message));
        }
        problems.extend(self.problems_of_clock(now));
        for path in self.cgroups.unplaced() {
            let message =
                "it was made again; until it is in the tables, it and newer ones beside it count as pinned";
            problems.push(Problem::of(ProblemCode::CgroupUnplaced, path, message));
        }
        for path in self.config.policy.pins.iter().flat_map(|pin| &pin.select.cgroups) {
            if self.noting.looked.is_some() && !self.cgroups.is_there(path) {
                let message =
                    "there is no such cgroup; when it is made, it counts as pinned from its first packet";
                problems.push(Problem::of(ProblemCode::CgroupMissing, path, message));
            }
        }
    }

    fn problems_of_volumes(&self, problems: &mut Vec<Problem>, now: Clocks) {
        let facts = self.noting.facts.as_ref().filter(|facts| facts.volumes.blind.is_none());
        let absent = |path: &Path| {
            facts.is_some_and(|facts| facts.volumes.devices.get(path).is_some_and(BTreeSet::is_empty))
        };
        for path in self.config.policy.volumes().into_iter().map(|it| it.path).collect::<BTreeSet<_>>() {
            if absent(&path) {
                let message = "nothing is mounted there; it is known as soon as it is";
                problems.push(Problem::of(ProblemCode::VolumeAbsent, path.to_string_lossy(), message));
            }
        }
        let overflowed = self.noting.volumes.observed.as_ref().map_or(0, |observed| observed.overflowed);
        if overflowed > 0 {
            let message = format!(
                "{overflowed} times there was no room for a process or cgroup that carries data of a volume: every local \
                 sender counts as one, of all volumes"
            );
            problems.push(Problem::new(ProblemCode::CarriersFull, message));
        }
        // What is said of one stays the same while it is there, so that the log has it once.
        for relay in self.relays(now) {
            let volumes = self.volumes_told_of(relay);
            if !volumes.is_empty() {
                let by = relay.from_cgroup.as_deref().unwrap_or("the root cgroup, or one that is gone");
                let at = relay.cgroup.as_deref().unwrap_or("the root cgroup, or one that is gone");
                let message = format!(
                    "a process of {at} was handed data of {} by a carrier of {by}, and what it sends is not the pin's",
                    volumes.join(", ")
                );
                problems.push(Problem::of(ProblemCode::Relay, relay.command(), message));
            }
        }
    }

    /// Budgets that are used up: told until the minute in which that was is over.
    fn problems_of_failsafe(&self, problems: &mut Vec<Problem>, now: Clocks) {
        let observed = self.interfaces.observed.as_ref();
        let uses = observed.and_then(|observed| observed.failsafe.as_ref()).into_iter().flatten();
        for (rule, used) in self.config.policy.failsafe.iter().zip(uses) {
            let Some(budget) = rule.bytes_per_minute.filter(|_| used.refused_ns != 0) else { continue };
            if minute_at(used.refused_ns) == minute_at(now.boot_ns) {
                let message = format!(
                    "its {budget} bytes of this minute are used up: packets of pins are judged as if there was no such rule"
                );
                problems.push(Problem::of(ProblemCode::FailsafeExhausted, &rule.name, message));
            }
        }
    }

    fn problems_of_interfaces(&self, problems: &mut Vec<Problem>, now: Clocks) {
        if let Some(why) = &self.interfaces.blind {
            let message = format!("the network interfaces can't be looked at: {why}");
            problems.push(Problem::new(ProblemCode::InterfacesUnseen, message));
        }
        if let Some(since) = self.interfaces.looking_since.filter(|since| now.boot_ns > since + LOOKING_NS) {
            let seconds = now.boot_ns.saturating_sub(since) / SECOND;
            let message = format!(
                "what is said of interfaces is {seconds} s old or older: the kernel is still being asked"
            );
            problems.push(Problem::new(ProblemCode::InterfacesUnseen, message));
        }
        let Some(observed) = &self.interfaces.observed else { return };
        if let Some(why) = &observed.addresses_unknown
            && self.config.policy.pins.iter().any(|pin| pin.select.from_host)
        {
            let message = format!(
                "pins whose sources have \"host\" know what the host makes itself, and not all else: {why}"
            );
            problems.push(Problem::new(ProblemCode::AddressesUnknown, message));
        }
        let blind = observed.blind.iter();
        problems.extend(blind.map(|why| Problem::new(ProblemCode::InterfacesUnseen, why)));
        for it in &observed.interfaces {
            self.problems_of_interface(it, problems, now);
        }
        problems.extend(self.problems_of_exits());
        for pattern in self.config.policy.host.interfaces.iter().filter(|pattern| !pattern.is_glob()) {
            let name = pattern.as_str();
            if observed.interfaces.iter().all(|it| it.interface.name != name) {
                let message = "there is no such interface; it is guarded as soon as it appears";
                problems.push(Problem::of(ProblemCode::InterfaceMissing, name, message));
            }
        }
        if self.enforcement() == Enforcement::Nothing {
            let why = match (self.config.policy.pins.is_empty(), self.publishing.generation()) {
                (true, _) => "the config has no pin",
                (false, 0) => "no generation is live",
                (false, _) => "no interface has the program",
            };
            problems.push(Problem::new(ProblemCode::NothingGuarded, format!("NOTHING is guarded: {why}")));
        }
        if !observed.missing_entries.is_empty() {
            let missing = observed.missing_entries.join(", ");
            let why = self.interfaces.restore_failure().map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!(
                "gone from bpffs, or another object's there, without which nothing is guarded after the daemon's end: {missing}{why}"
            );
            problems.push(Problem::new(ProblemCode::EntriesMissing, message));
        }
    }

    fn problems_of_bypass(&self, problems: &mut Vec<Problem>, now: Clocks) {
        let subject = self.bypass_subject();
        let difference = self.bypass.difference(&self.config.policy).map(|difference| match difference {
            Difference::Open(why) => {
                let message = format!("a process can open sockets that send past the guard: {why}");
                Problem::of(ProblemCode::BypassOpen, &subject, message)
            }
            Difference::Behind(what) => Problem::of(ProblemCode::BypassBehind, &subject, what),
        });
        problems.extend(difference);
        let noting = self.noting.lost(now);
        problems
            .extend(noting.map(|told| Problem::of(ProblemCode::AttachmentLost, self.noting_subject(), told)));
        let lost = self.bypass.lost(now);
        problems.extend(lost.map(|message| Problem::of(ProblemCode::AttachmentLost, &subject, message)));
    }

    fn problems_of_interface(&self, it: &ObservedInterface, problems: &mut Vec<Problem>, now: Clocks) {
        let name = &it.interface.name;
        let claim = self.claim(it);
        if claim == Claim::Renamed {
            let message = "it was guarded under another name, which the config has, and stays guarded until the \
                           config is reloaded: name it in `host.interfaces`, or give it its name back";
            problems.push(Problem::of(ProblemCode::InterfaceRenamed, name, message));
        }
        if let Some(why) = self.interface_problem(it) {
            problems.push(Problem::of(ProblemCode::InterfaceNotGuarded, name, why));
        }
        for hook in Hook::OF_PACKETS {
            let lost = self.interfaces.lost(it.interface.index, hook, now).filter(|_| claim != Claim::None);
            problems.extend(lost.map(|message| Problem::of(ProblemCode::AttachmentLost, name, message)));
        }
        if let Some(why) = self.interfaces.release_failure(it.interface.index) {
            let message = format!("the config does not name it any more, and it stays guarded: {why}");
            problems.push(Problem::of(ProblemCode::InterfaceNotReleased, name, message));
        }
        let late = self.interfaces.late(it.interface.index, now);
        problems.extend(late.map(|why| Problem::of(ProblemCode::GuardedLate, name, why)));
        if !it.other_guards.is_empty() {
            let hooks: Vec<&str> = it.other_guards.iter().map(|hook| hook.name()).collect();
            let message = format!("another Border Guard is at {} as well", hooks.join(" and "));
            problems.push(Problem::of(ProblemCode::SecondGuard, name, message));
        }
        let passed = Hook::OF_PACKETS
            .into_iter()
            .filter_map(|hook| self.interfaces.passed(it.interface.index, hook, now));
        problems.extend(passed.map(|message| Problem::of(ProblemCode::AttachmentNotFirst, name, message)));
    }

    /// Why an interface that the config claims is not guarded as it should be.
    pub(super) fn interface_problem(&self, it: &ObservedInterface) -> Option<String> {
        // One whose entry alone is gone is guarded: that is a problem of its own.
        if self.claim(it) == Claim::None || self.is_guarded_as_wanted(it) {
            return None;
        }
        let why = self.interfaces.failure(it.interface.index);
        Some(why.map_or_else(
            || {
                let hooks = if wants_ingress(&self.config.policy) { "egress and ingress" } else { "egress" };
                format!("it is NOT guarded at {hooks} as it should be; {BEING_ATTACHED}")
            },
            str::to_owned,
        ))
    }

    fn problems_of_store(&self, problems: &mut Vec<Problem>, now: Clocks) {
        // Where the whole store can't be had, that is a problem of its own.
        let has_fault = self.surroundings.values().any(|it| matches!(it, Surroundings::Store(Some(_))));
        let damaged = self.kept.problems().iter().filter(|_| !has_fault);
        problems.extend(
            damaged.map(|problem| Problem::new(ProblemCode::StoreDamaged, format!("exemption: {problem}"))),
        );
        for (id, _) in &self.refused_or_late(now) {
            let message = "no packet passes by it any more, and the disk has not taken that yet; it is tried again \
                           every few seconds";
            problems.push(Problem::of(ProblemCode::OrderNotKept, id, message));
        }
        // What is loaded and open of what they cover is named above.
        if let Some(orders) = self.unkept_orders() {
            let message = format!(
                "{orders} in memory alone: the disk has not taken that yet; it is tried again every few seconds. {}",
                self.after_a_restart()
            );
            problems.push(Problem::new(ProblemCode::OrderNotKept, message));
        }
        // Without a name, which may be of what nobody may read.
        let noted = self.changes.deferred.iter().filter(|it| it.until.is_none()).count();
        if noted > 0 {
            let message = format!(
                "{noted} noted alone, for the store can't be changed yet: they are kept as soon as it can, and lost if the \
                 daemon ends before"
            );
            problems.push(Problem::new(ProblemCode::OrderNotKept, message));
        }
        if let Some(why) = self.hold_error() {
            let message =
                format!("the kernel does not take the mark either, so a restart would open it: {why}");
            problems.push(Problem::new(ProblemCode::OrderNotKept, message));
        }
        let refused = self.quotas.refused.iter().chain(&self.counts_refused);
        problems.extend(refused.map(|why| Problem::new(ProblemCode::StoreUnwritable, why)));
        problems.extend(self.problems_of_trail());
        for (id, pins) in self.kept.without_pins(&self.config.pins()) {
            let message = format!("it names pins that the config does not have: {}", pins.join(", "));
            problems.push(Problem::of(ProblemCode::ExemptionWithoutPin, id, message));
        }
        self.problems_of_hosts(problems);
        self.problems_of_approvals(problems);
        problems.extend(self.problems_of_holds());
    }

    fn problems_of_workers(&self, problems: &mut Vec<Problem>, now: Clocks) {
        let late = |since: Option<u64>| since.is_some_and(|since| now.boot_ns > since + STUCK_NS);
        if late(self.interfaces.looking_since) || late(self.publishing.on_its_way_since()) {
            let message = "it has not answered for some seconds: interfaces and tables stay as they are";
            problems.push(Problem::of(ProblemCode::WorkerStuck, "kernel", message));
        }
        if late(self.reads.sampling_since) {
            let message = "the kernel's counters are being read for some seconds already";
            problems.push(Problem::of(ProblemCode::WorkerStuck, "counters", message));
        }
        if self.config.loading_since().is_some_and(|since| now.boot_ns > since + LOADING_NS) {
            let message =
                "config and databases are being read for some seconds already: no reload is done meanwhile";
            problems.push(Problem::of(ProblemCode::WorkerStuck, "config", message));
        }
        let asked = self.asked.values();
        let oldest =
            asked.filter(|(_, purpose)| !matches!(purpose, Purpose::Read(_))).map(|(at, _)| *at).min();
        if oldest.is_some_and(|at| now.boot_ns > at + STUCK_NS) {
            let message = "the disk has not answered for some seconds: closings hold in the kernel all the same, and \
                           nothing is opened";
            problems.push(Problem::new(ProblemCode::StoreSlow, message));
        }
        let unreadable = self.quotas.unreadable.iter().chain(&self.reads.unreadable);
        problems.extend(unreadable.map(|why| Problem::new(ProblemCode::CountersUnreadable, why)));
        problems.extend(self.reads.sample.problems.iter().cloned());
    }

    /// Devices of other network namespaces by which packets leave that nobody judges.
    fn problems_of_namespaces(&self, found: &Elsewhere, problems: &mut Vec<Problem>) {
        let here = |index: &u32| {
            let mut observed = self.interfaces.observed.iter().flat_map(|it| &it.interfaces);
            observed.find(|it| it.interface.index == *index)
        };
        for DeviceElsewhere { name, made_on, command, process } in &found.devices {
            let below = made_on.as_ref().and_then(here);
            if below.is_some_and(|it| self.is_judged_below(it)) {
                continue;
            }
            let by = match (made_on, below) {
                (None, _) => "is hardware there".to_owned(),
                (Some(_), Some(it)) => format!("is made on {}, which is not guarded", it.interface.name),
                (Some(_), None) => "is made on an interface that is not guarded".to_owned(),
            };
            let message = format!("{by}, in the network namespace of process {process} ({command})");
            problems.push(Problem::of(ProblemCode::NamespaceUnguarded, name, message));
        }
        problems.extend(found.unseen.iter().map(|why| {
            let message = format!("other network namespaces are not looked at, or not all of them: {why}");
            Problem::new(ProblemCode::NamespaceUnguarded, message)
        }));
    }

    /// Whether what leaves by an interface is judged: at itself, or at all below it by which it may leave.
    fn is_judged_below(&self, it: &ObservedInterface) -> bool {
        let is_guarded = |it: &ObservedInterface| it.at(Hook::Egress).is_some_and(|at| at.is_current);
        let observed = self.interfaces.observed.iter().flat_map(|it| &it.interfaces);
        let mut lowest =
            observed.filter(|lower| it.below.contains(&lower.interface.name) && lower.below.is_empty());
        is_guarded(it) || (!it.below.is_empty() && lowest.all(is_guarded))
    }

    fn problems_of_surroundings(&self, problems: &mut Vec<Problem>) {
        for found in self.surroundings.values() {
            match found {
                Surroundings::Control(found) | Surroundings::Start(found) | Surroundings::Canaries(found) => {
                    problems.extend(found.iter().cloned());
                }
                Surroundings::State(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::StoreMoved, why));
                }
                Surroundings::Store(Some(StoreFault { is_damaged, why })) => {
                    let code = match is_damaged {
                        true => ProblemCode::StoreDamaged,
                        false => ProblemCode::StoreUnavailable,
                    };
                    problems.push(Problem::new(code, why));
                }
                Surroundings::Trail(Some(why)) => problems.push(Problem::new(ProblemCode::AuditBroken, why)),
                Surroundings::Pins(Some(why)) => problems.push(Problem::new(ProblemCode::PinsPrivate, why)),
                Surroundings::Notices(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::NotNotified, why))
                }
                Surroundings::Mark(Some(fault)) => {
                    problems.push(Problem::new(ProblemCode::MarkUnwritable, fault.to_string()));
                }
                Surroundings::LastDatabase(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::LastDatabase, why));
                }
                Surroundings::DatabaseWritten(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::DatabaseRefused, why));
                }
                Surroundings::ConfigNotKept(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::ConfigUnkept, why));
                }
                Surroundings::DatabaseNotKept(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::StoreUnwritable, why));
                }
                Surroundings::Carriers(Some(why)) => {
                    problems.push(Problem::new(ProblemCode::CarriersUnseen, why));
                }
                Surroundings::Elsewhere(found) => self.problems_of_namespaces(found, problems),
                Surroundings::Loop(Some(why)) => problems.push(Problem::new(ProblemCode::LoopSlow, why)),
                Surroundings::Loop(None)
                | Surroundings::Carriers(None)
                | Surroundings::Notices(None)
                | Surroundings::State(None)
                | Surroundings::Mark(None)
                | Surroundings::Trail(None)
                | Surroundings::Pins(None)
                | Surroundings::Store(None)
                | Surroundings::ConfigNotKept(None)
                | Surroundings::DatabaseNotKept(None)
                | Surroundings::DatabaseWritten(None)
                | Surroundings::LastDatabase(None) => {}
            }
        }
    }
}

/// What a problem says, but for the numbers in it.
fn says(problem: &Problem) -> (ProblemCode, Option<&str>, String) {
    let words = problem.message.chars().filter(|it| !it.is_ascii_digit()).collect();
    (problem.code, problem.subject.as_deref(), words)
}
