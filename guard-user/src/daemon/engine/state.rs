//! What the engine knows, and how it asks for what is to be done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::action::{Action, Canaries, KernelJob, Level, StoreJob};
use super::bypass::Bypass;
use super::cgroups::Cgroups;
use super::changes::{ChangeId, Changes};
use super::closings::Closings;
use super::config::Config;
use super::ending::Ending;
use super::ids::{StoreId, Ticket};
use super::input::{Prepared, Surroundings};
use super::interfaces::Interfaces;
use super::latest::Latest;
use super::loads::Loads;
use super::notices::Notices;
use super::noting::Noting;
use super::protection::Protection;
use super::publishing::Publishing;
use super::quotas::Quotas;
use super::reads::Reads;
use super::records::Gap;
use super::signers::Signers;
use super::tampering::Tampering;
use super::tracing::Tracing;
use crate::audit::Who;
use crate::config::policy::{InterfacePattern, Policy};
use crate::control::protocol::Response;
use crate::control::status::AuditStatus;
use crate::exemption::Clocks;
use crate::health::Problem;
use crate::kernel::Counters;
use crate::store::{Kept, Key, LeftUnconfirmed, PinCounts};

/// What the engine begins with.
pub struct Begin {
    /// The config file, for messages and records.
    pub config_file: PathBuf,
    /// The config, and geo tables where there are any.
    pub prepared: Prepared,
    /// The exemptions as the disk has them.
    pub kept: Kept,
    /// Whose counts the kernel's counts are; `None` where the store that has it can't be read yet.
    pub counts: Option<PinCounts>,
    /// The generation that is live.
    pub generation: u64,
    /// Whether its policy has ways past the guard refused.
    pub refused_bypass: bool,
    /// Slots that the kernel holds closed.
    pub held: BTreeSet<u16>,
    /// Slots whose window the kernel has seen the end of.
    pub ended: BTreeSet<u16>,
    /// Which volume is in which slot of the kernel's: the hash of its name, 0 for none.
    pub volume_slots: Vec<u64>,
    /// The daemon, for records.
    pub daemon: Who,
    /// The interfaces that the config before this one named; `None` where that is not known.
    pub named_before: Option<Vec<InterfacePattern>>,
    /// When the guard before this start was last known to be at work; `None` where nothing is known of it.
    pub guarded_until: Option<Timestamp>,
    /// The candidate that an earlier daemon had applied and that nobody confirmed.
    pub left_unconfirmed: Option<LeftUnconfirmed>,
    /// The latest time that audit trail and marks know; `None` where they know none.
    pub latest: Option<Timestamp>,
}

/// The daemon's state.
pub struct Engine {
    pub(super) config: Config,
    pub(super) kept: Kept,
    pub(super) counts: PinCounts,
    /// Until `counts` begins with what the store has of the time before this daemon: which pins went live since then, and
    /// the kernel's counts of those moments. Nothing is saved meanwhile: that would be over what the store has.
    pub(super) counts_unread: Option<Vec<Switch>>,
    pub(super) daemon: Who,
    pub(super) closings: Closings,
    pub(super) publishing: Publishing,
    pub(super) tampering: Tampering,
    pub(super) interfaces: Interfaces,
    pub(super) cgroups: Cgroups,
    pub(super) bypass: Bypass,
    pub(super) noting: Noting,
    pub(super) protection: Protection,
    pub(super) notices: Notices,
    pub(super) quotas: Quotas,
    pub(super) latest: Latest,
    pub(super) changes: Changes,
    pub(super) loads: Loads,
    pub(super) signers: Signers,
    pub(super) reads: Reads,
    pub(super) tracing: Tracing,
    pub(super) ending: Ending,
    /// Whether an earlier daemon had left tables in the kernel.
    pub(super) has_taken_over: bool,
    /// When the daemon began, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) begun_ns: u64,
    pub(super) clocks: Clocks,
    /// How often the wall clock was set.
    pub(super) clock_count: u64,
    pub(super) due: Due,
    pub(super) surroundings: BTreeMap<&'static str, Surroundings>,
    /// When the audit trail was verified last, and what came of it.
    pub(super) verified: AuditStatus,
    /// What the audit trail lacks since the daemon's start.
    pub(super) gap: Option<Gap>,
    /// As [`Begin::named_before`].
    pub(super) named_before: Option<Vec<InterfacePattern>>,
    /// As [`Begin::guarded_until`].
    pub(super) guarded_until: Option<Timestamp>,
    /// Why it is kept nowhere but here that records are lost.
    pub(super) loss_unkept: Option<String>,
    /// Why what crossed could not be saved last.
    pub(super) counts_refused: Option<String>,
    pub(super) next_store: u64,
    /// What is over by its window, of which the sockets are closed already.
    pub(super) cut_over: BTreeSet<Key>,
    /// Problems that were logged.
    pub(super) logged: BTreeSet<Problem>,
    /// The present moment.
    pub(super) now: Clocks,
    /// Whether the service manager was told that the daemon guards.
    pub(super) is_ready: bool,
    /// By what the flow history was last told what to keep.
    pub(super) told_history: Option<(Arc<Policy>, Kept)>,
    /// How events name interfaces.
    pub(super) told_interfaces: HashMap<u32, Arc<str>>,
    /// By what canaries are planned.
    pub(super) told_canaries: Option<Canaries>,
    /// What operations of the store were for, that are not done yet, and since when.
    pub(super) asked: BTreeMap<StoreId, (u64, Purpose)>,
    pub(super) actions: Vec<Action>,
}

/// A generation that went live.
pub(super) struct Switch {
    pub(super) policy: Arc<Policy>,
    pub(super) generation: u64,
    /// The kernel's counts of that moment.
    pub(super) counters: Option<Counters>,
    /// Its exemptions by place.
    pub(super) exemptions: Vec<(u16, String)>,
}

/// When what is done from time to time is due next, nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    pub(super) second: u64,
    pub(super) watchdog: u64,
    pub(super) day: u64,
}

/// What an operation of the store was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Load(Ticket),
    Change(ChangeId),
    /// Whether a document would lift an order.
    PlanLift(ChangeId),
    Tend,
    Compare,
    SaveUses,
    SlotsReset,
    CountersEnd,
    Record,
    NoteConfig,
    /// Who signed what the start opened.
    Approvals,
    /// Who signed what was read, which is taken up then.
    Approving,
    RecordGap,
    SaveCounts,
    ReadCounts,
    Read(Ticket),
    CheckPlace,
    LookAtSigners,
}

impl Engine {
    /// The paths of the cgroups that the policy names.
    #[must_use]
    pub fn cgroups(&self) -> Vec<String> {
        self.config.wanted().pins.iter().flat_map(|pin| pin.select.cgroups.clone()).collect()
    }

    /// The geo databases of the live policy.
    #[must_use]
    pub fn geo_files(&self) -> &[PathBuf] {
        &self.config.policy.geo.files
    }

    /// The paths of the cgroups that something depends on: what comes or goes beside them is to be told.
    #[must_use]
    pub fn watched_cgroups(&self) -> Vec<String> {
        let (bypass, sockets) = (&self.config.policy.bypass, &self.config.policy.sockets);
        let hooked = [&bypass.cgroup, &sockets.cgroup].into_iter().filter(|path| !path.is_empty());
        self.cgroups().into_iter().chain(bypass.allow.iter().chain(hooked).cloned()).collect()
    }

    /// Whether anything depends on what is mounted.
    #[must_use]
    pub fn has_volumes(&self) -> bool {
        self.config.wanted().pins.iter().any(|pin| !pin.select.volumes.is_empty())
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

    pub(super) fn ask_store(&mut self, purpose: Purpose, job: StoreJob) {
        // One look is enough while a slow disk has not answered the last.
        let looks = matches!(purpose, Purpose::CheckPlace | Purpose::LookAtSigners);
        if looks && self.asked.values().any(|(_, asked)| *asked == purpose) {
            return;
        }
        self.next_store += 1;
        let id = StoreId(self.next_store);
        self.asked.insert(id, (self.now.boot_ns, purpose));
        self.actions.push(Action::Store(id, Box::new(job)));
    }

    pub(super) fn ask_kernel(&mut self, job: KernelJob) {
        self.actions.push(Action::Kernel(job));
    }

    pub(super) fn answer(&mut self, ticket: Ticket, response: Response) {
        self.actions.push(Action::Answer(ticket, response));
    }

    pub(super) fn log(&mut self, level: Level, line: String) {
        self.actions.push(Action::Log(level, line));
    }
}
