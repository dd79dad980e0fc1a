//! The guard: the live generation and what it was made of.
//!
//! Everything that changes what the kernel judges goes through [`Guard::publish`]: a reload, an exemption
//! that is loaded or revoked, a wall clock that was set, an interface or a cgroup that is another one now.
//! What fails leaves the old generation live.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use guard_common::interval::build::GeoImage;
use jiff::Timestamp;
use tracing::{error, info, warn};

use super::facts;
use super::inputs::{self, InputError, Inputs};
use super::interfaces::Guarded;
use super::ledger::Ledger;
use super::trail;
use crate::audit::Kind;
use crate::compile::{self, CompileError, HostFacts};
use crate::config::Checked;
use crate::config::policy::{Pin, Policy};
use crate::events::names::{Names, SharedNames};
use crate::exemption::Clocks;
use crate::geo::Info;
use crate::kernel::{Interface, Kernel, KernelError};
use crate::store::{Store, StoreError};

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The config file, as an absolute path.
    pub config: PathBuf,
    /// Whether every action counts as `observe`, whatever the config says.
    pub observe: bool,
}

/// Why a generation did not go live, or the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The config or a database can't be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The policy can't be turned into tables on this host.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Sites and databases have more ranges than the kernel's tables hold.
    #[error("the geo tables do not fit: {0}")]
    Geo(#[from] guard_common::interval::build::TableFull),
    /// The exemptions can't be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// The live generation, and everything that the next one is made of.
pub struct Guard {
    pub(super) options: Options,
    pub(super) policy: Policy,
    pub(super) database: Info,
    pub(super) kernel: Kernel,
    pub(super) store: Store,
    pub(super) guarded: Guarded,
    pub(super) names: SharedNames,
    pub(super) ledger: Ledger,
    /// When the live generation went live.
    pub(super) since: Timestamp,
    /// The clocks by which its exemptions' windows were computed.
    pub(super) clocks: Clocks,
    pub(super) facts: HostFacts,
    /// Why the kernel's tables are not what they should be, until they are.
    pub(super) behind: Option<String>,
    /// Whether a new generation is live since slots were freed.
    slots_to_free: bool,
    /// Whether the kernel gets no exemptions any more, because the host goes down.
    pub(super) without_exemptions: bool,
    /// Why the audit trail has a gap, since the daemon started.
    pub(super) gap: Option<String>,
    /// Why the config as it is on the disk is not live, since the last reload.
    pub(super) refused: Option<String>,
}

impl Guard {
    /// Loads databases and exemptions, publishes a generation and attaches to the interfaces.
    ///
    /// # Errors
    /// [`GuardError`]; what the kernel guarded before goes on.
    pub fn start(options: Options, checked: Checked) -> Result<Self, GuardError> {
        let Checked { policy, warnings } = checked;
        for warning in &warnings {
            warn!("{}: {warning}", options.config.display());
        }
        let database = inputs::load_database(&policy.geo)?;
        let kernel = Kernel::open(&policy.state.pin_path)?;
        let mut store = Store::open(&policy.state.directory)?;
        for problem in store.problems() {
            error!("an exemption can't be used and is closed: {problem}");
        }
        if kernel.adopted() {
            info!(generation = kernel.generation(), "took over what is guarded already");
        }
        // Before its first generation the kernel has counted nothing, also where a start that was cut
        // short has left its maps.
        if kernel.generation() == 0 {
            store.counters_began_anew()?;
        }
        store.grant()?;
        let ledger = Ledger::open(&policy.state.directory, kernel.adopted());
        let names = SharedNames::default();
        if let Some(earlier) = ledger.names(kernel.generation(), &options.config) {
            names.add(earlier);
        }
        let mut guard = Self {
            database: Info::default(),
            kernel,
            store,
            guarded: Guarded::default(),
            names,
            ledger,
            since: Timestamp::now(),
            clocks: Clocks::read(),
            facts: HostFacts::default(),
            behind: None,
            slots_to_free: false,
            without_exemptions: false,
            gap: None,
            refused: None,
            policy,
            options,
        };
        let policy = guard.policy.clone();
        let geo = compile::geo_image(&database, &policy.sites)?;
        guard.publish(policy, Some((geo, database.info)))?;
        let detail = guard.facts_of_config();
        guard.record(trail::now(Kind::Start, &trail::daemon(), "", "", detail));
        guard.attach_all();
        Ok(guard)
    }

    /// Reads config, databases and exemptions again.
    ///
    /// # Errors
    /// [`GuardError`]; then the old generation stays live. Interfaces that can't be guarded are no error
    /// but problems of the status.
    pub fn reload(&mut self) -> Result<(), GuardError> {
        let result = self.try_reload();
        self.refused = result.as_ref().err().map(ToString::to_string);
        result
    }

    fn try_reload(&mut self) -> Result<(), GuardError> {
        let Inputs { policy, warnings, database } = inputs::load(&self.options.config, self.options.observe)?;
        for warning in &warnings {
            warn!("{}: {warning}", self.options.config.display());
        }
        for (key, now, next) in [
            ("control.socket", &self.policy.control.socket, &policy.control.socket),
            ("state.directory", &self.policy.state.directory, &policy.state.directory),
            ("state.pin_path", &self.policy.state.pin_path, &policy.state.pin_path),
        ] {
            if now != next {
                warn!("{key} is {} until the daemon is started again", now.display());
            }
        }
        if self.policy.control.groups != policy.control.groups {
            warn!("control.groups count as they were until the daemon is started again");
        }
        let geo = compile::geo_image(&database, &policy.sites)?;
        self.publish(policy, Some((geo, database.info)))?;
        self.attach_all();
        Ok(())
    }

    /// Publishes the same policy again, with exemptions, clocks, interfaces and cgroups as they are now.
    ///
    /// # Errors
    /// [`GuardError`]; then the old generation stays live.
    pub fn renew(&mut self) -> Result<(), GuardError> {
        let result = self.publish(self.policy.clone(), None);
        self.behind = result.as_ref().err().map(ToString::to_string);
        result
    }

    /// As [`renew`](Self::renew), for who can't do more about a failure than say it, once. Returns whether
    /// it succeeded.
    pub(super) fn renew_or_say(&mut self, what_is_not: &str) -> bool {
        let before = self.behind.take();
        match self.renew() {
            Ok(()) => true,
            Err(error) => {
                if before != self.behind {
                    error!("{what_is_not}: {error}. It is tried again every few seconds");
                }
                false
            }
        }
    }

    /// Makes a generation of the policy and has the kernel judge by it. When it returns, no packet is
    /// judged by the old one any more.
    fn publish(&mut self, policy: Policy, geo: Option<(GeoImage, Info)>) -> Result<(), GuardError> {
        let generation = self.kernel.generation() + 1;
        let clocks = Clocks::read();
        let interfaces = Interface::all()?;
        let facts = match geo {
            Some(_) => facts::gather(&policy, &interfaces),
            None => self.present_facts(&interfaces),
        };
        let pins = pin_names(&policy);
        let exemptions = match self.without_exemptions {
            true => Vec::new(),
            false => self.store.kernel_exemptions(&clocks, &pins),
        };
        let table = compile::policy_table(&policy, &exemptions, &facts, generation)?;

        // Before the kernel judges by it: an event must find its names.
        let mut names = Names::of(&policy, &self.options.config.to_string_lossy(), generation);
        let id_of = |slot| self.store.by_slot(slot).map(|document| document.id.as_str().into());
        names.exemptions = exemptions
            .iter()
            .filter_map(|exemption| Some((exemption.slot, id_of(exemption.slot)?)))
            .collect();
        (names.interfaces, names.cgroups) = names_of_facts(&facts);
        self.names.add(names);
        self.ledger.before_switch(&policy.pins);

        let (image, info) = geo.unzip();
        let published = self.kernel.publish(&table, image.as_ref());
        if self.kernel.generation() != generation {
            self.names.take_back(generation);
            self.ledger.not_switched();
            published?;
            return Ok(());
        }
        self.policy = policy;
        self.facts = facts;
        self.clocks = clocks;
        self.since = Timestamp::now();
        if let Some(info) = info {
            self.database = info;
        }
        self.ledger.switched(generation, &self.kernel);
        let published = published?;
        info!("{published} is live: {} pins, {} exemptions", self.policy.pins.len(), exemptions.len());
        self.slots_to_free = true;
        trim_memory();
        Ok(())
    }

    /// The facts for the policy that is live. A cgroup of it that is gone keeps its id, which no other one
    /// gets: it must not keep a revocation from the kernel.
    pub(super) fn present_facts(&self, interfaces: &[Interface]) -> HostFacts {
        let mut facts = facts::gather(&self.policy, interfaces);
        facts::keep_missing(&mut facts, &self.facts);
        facts
    }

    /// Saves and resets the use of exemptions that no generation has any more, after a new generation. Who
    /// asked for a change does not wait for this, and the next one who asks finds it done.
    pub(super) fn free_slots(&mut self) {
        let slots = self.store.slots_to_reset();
        if !std::mem::take(&mut self.slots_to_free) || slots.is_empty() {
            return;
        }
        if let Err(error) = self.try_to_free(&slots) {
            warn!("the places of closed exemptions stay taken: {error}");
        }
    }

    fn try_to_free(&mut self, slots: &[u16]) -> Result<(), GuardError> {
        let counts = self.kernel_use()?;
        self.store.checkpoint_use(&counts, Timestamp::now())?;
        for &slot in slots {
            self.kernel.reset_exemption_use(slot, guard_common::abi::ExemptionUse::default())?;
        }
        self.store.slots_were_reset(slots)?;
        Ok(())
    }

    /// The live generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.kernel.generation()
    }

    /// The config that is live, for the audit trail.
    pub(super) fn facts_of_config(&self) -> serde_json::Value {
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.options.config.to_string_lossy(),
            "fingerprint": format!("{:016x}", self.policy.fingerprint),
            "generation": self.generation(),
            "observe": self.policy.host.observe,
            "approvals_verified": self.policy.approval.is_some(),
        })
    }

    /// The live policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The names of the last generations.
    #[must_use]
    pub fn names(&self) -> &SharedNames {
        &self.names
    }

    /// The kernel side.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Opens the reader of events; every event goes to one reader only.
    ///
    /// # Errors
    /// [`GuardError::Kernel`].
    pub fn events(&mut self) -> Result<crate::kernel::EventReader, GuardError> {
        Ok(self.kernel.events()?)
    }
}

/// The names of a policy's pins.
pub(super) fn pin_names(policy: &Policy) -> Vec<String> {
    policy.pins.iter().map(|Pin { name, .. }| name.clone()).collect()
}

/// Names of interfaces by index, and paths of cgroups by id.
fn names_of_facts(facts: &HostFacts) -> (HashMap<u32, Arc<str>>, HashMap<u64, Arc<str>>) {
    let interfaces = facts.interfaces.iter().map(|(index, name)| (*index, name.as_str().into())).collect();
    let cgroups = facts.cgroups.iter().map(|cgroup| (cgroup.id, cgroup.path.as_str().into())).collect();
    (interfaces, cgroups)
}

/// Gives back the memory of databases and images that are gone: glibc keeps it otherwise.
fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a plain number and may be called at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
