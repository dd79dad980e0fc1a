//! The generation that is live, the one on its way, and what the next one is to be made of.

use std::collections::HashMap;
use std::sync::Arc;

use crate::compile::{CompileError, HostFacts, KernelExemption, NeedsInterfaces};
use crate::config::policy::Policy;
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::basis::{Basis, Table};
use crate::daemon::engine::input::PublishOutcome;
use crate::daemon::engine::publishing::{Failed, InFlight, Tables};
use crate::daemon::engine::state::{Engine, Purpose, Switch};
use crate::daemon::engine::tampering::Again;
use crate::daemon::engine::{Action, KernelJob, Level, Publish, StoreJob};
use crate::events::names::Names;
use crate::exemption::{Clocks, Document};
use crate::store::{GoesLive, end_by};

impl Engine {
    /// What the next generation is to be made of; `None` before the host was looked at.
    pub(super) fn wanted_basis(&self, now: Clocks) -> Option<Basis> {
        let policy = self.config.wanted();
        let facts = self.facts_of(policy, self.config.wanted_cgroups())?;
        let exemptions = self.open_exemptions(&policy.pin_names(), now);
        let refuse_in = match self.config.refuses_calls() {
            true => self.interfaces.refuse_in().unwrap_or_default(),
            false => 0,
        };
        let facts = HostFacts { refuse_in, ..facts };
        Some(Basis { config: self.config.wanted_serial(), clock: self.clock_count, exemptions, facts })
    }

    /// What a policy's names stand for on this host, where its cgroups are these; `None` before the host was looked at.
    pub(super) fn facts_of(&self, policy: &Policy, cgroups: &HostFacts) -> Option<HostFacts> {
        let interfaces = match self.interfaces.facts(policy) {
            Some(interfaces) => interfaces,
            // What closes does not wait for a look that fails, where no pin is about interfaces.
            None if self.interfaces.blind.is_some()
                && NeedsInterfaces::of(policy) != NeedsInterfaces::All =>
            {
                Vec::new()
            }
            None => return None,
        };
        let volumes = self.noting.volumes.facts(policy);
        Some(HostFacts { interfaces, volumes, ..cgroups.clone() })
    }

    /// The exemptions that are open, for a policy of these pins.
    pub(super) fn open_exemptions(&self, pins: &[String], now: Clocks) -> Vec<KernelExemption> {
        if self.ending.closes_exemptions() {
            return Vec::new();
        }
        let mut open = self.kept.kernel_exemptions(&now, pins);
        let over_by = self.over_by(now);
        let has_ended = |document: &Document| document.ends() <= over_by;
        open.retain(|it| {
            let document = self.kept.by_slot(it.slot);
            !self.is_closed_by_order(it.slot)
                && !self.quotas.ended_slots.contains(&it.slot)
                && document.is_some_and(|document| !has_ended(document))
        });
        end_by(&mut open, &now, self.latest.at_least(now));
        open.sort_by_key(|exemption| exemption.slot);
        open
    }

    /// How the live tables compare with what is wanted.
    pub(super) fn tables(&self, now: Clocks) -> Tables {
        let Some(wanted) = self.wanted_basis(now) else {
            return match &self.interfaces.blind {
                Some(why) => Tables::Failed(format!("the network interfaces can't be looked at: {why}")),
                None => Tables::OnTheWay,
            };
        };
        if self.publishing.in_flight.is_some() {
            return Tables::OnTheWay;
        }
        if let Some(failed) = &self.publishing.failed
            && !failed.retry
            && failed.basis.judges_like(&wanted)
        {
            return Tables::Failed(failed.why.clone());
        }
        match &self.publishing.live {
            Some(live) if live.judges_like(&wanted) && self.tampering.again == Again::Nothing => {
                Tables::Current
            }
            _ => Tables::OnTheWay,
        }
    }

    /// Publishes where the live tables are not what they should be, unless that failed just now.
    pub(super) fn publish_where_needed(&mut self, now: Clocks) {
        if self.publishing.in_flight.is_some() || self.changes.wait_for_sockets(now) {
            return;
        }
        let Some(wanted) = self.wanted_basis(now) else { return };
        if self.cut_what_is_over(now) {
            return;
        }
        let is_live = self.publishing.live.as_ref().is_some_and(|live| live.judges_like(&wanted));
        if is_live && self.tampering.again == Again::Nothing {
            self.publishing.failed = None;
            return;
        }
        let failed = self.publishing.failed.as_ref();
        if failed.is_some_and(|failed| !failed.retry && failed.basis.judges_like(&wanted)) {
            return;
        }
        let policy = Arc::clone(self.config.wanted());
        match self.table_of(&wanted, &policy) {
            Ok(table) => self.publish(wanted, table, policy, now),
            Err(error) => self.does_not_compile(wanted, &error, now),
        }
    }

    fn table_of(&mut self, basis: &Basis, policy: &Policy) -> Result<Table, CompileError> {
        let generation = self.publishing.generation + 1;
        if let Some((compiled, mut table)) = self.publishing.compiled.take()
            && compiled.judges_like(basis)
        {
            table.0.generation = generation;
            return Ok(table);
        }
        basis.compile(policy, generation)
    }

    /// What opens may not keep what closes from the kernel: where the whole has no room, closings go alone.
    fn does_not_compile(&mut self, wanted: Basis, error: &CompileError, now: Clocks) {
        let why = error.to_string();
        if self.config.candidate.is_some() {
            self.publishing.failed = Some(Failed::new(wanted, why.clone()));
            return self.candidate_failed(ErrorKind::BadInput, why);
        }
        self.log_failure(&why);
        let policy = Arc::clone(&self.config.policy);
        let closings = self.publishing.live.as_ref().map(|live| (live.clone(), wanted.closings_alone(live)));
        self.publishing.failed = Some(Failed::new(wanted, why));
        if let Some((live, closings)) = closings
            && !closings.judges_like(&live)
            && let Ok(table) = closings.compile(&policy, self.publishing.generation + 1)
        {
            self.publish(closings, table, policy, now);
            if let Some(coming) = &mut self.publishing.in_flight {
                coming.is_part = true;
            }
        }
    }

    fn publish(&mut self, basis: Basis, table: Table, policy: Arc<Policy>, now: Clocks) {
        self.publishing.serial += 1;
        let generation = self.publishing.generation + 1;
        let geo = self.config.candidate.as_ref().and_then(|candidate| candidate.geo.as_ref());
        let again = std::mem::take(&mut self.tampering.again);
        let publish = Publish {
            serial: self.publishing.serial,
            table,
            geo: geo.map(|(image, _)| image.clone()),
            geo_anew: again == Again::Geo,
            names: self.names_of(&basis, &policy, generation),
            goes_live: self.goes_live(now),
            // Where it is not known yet whose the numbers were, any of them may go to another pin.
            counts_change_hands: self.counts_unread.is_some() || self.counts.change_hands(&policy.pins),
        };
        self.publishing.in_flight =
            Some(InFlight { basis, began_ns: now.boot_ns, policy, is_part: false, again });
        self.ask_kernel(KernelJob::Publish(Box::new(publish)));
    }

    /// The candidate, as its record will name it.
    fn goes_live(&self, now: Clocks) -> Option<GoesLive> {
        let candidate = self.config.candidate.as_ref()?;
        let database = candidate.geo.as_ref().map_or(&self.config.database, |(_, info)| info);
        Some(GoesLive::of(&candidate.policy, database.digest.as_deref(), now.wall))
    }

    /// The names that events of the generation are told by. They are known before the kernel judges by it.
    fn names_of(&self, basis: &Basis, policy: &Policy, generation: u64) -> Names {
        let mut names = Names::of(policy, &self.config.file.to_string_lossy(), generation);
        let id_of = |slot| self.kept.by_slot(slot).map(|document| document.id.as_str().into());
        names.exemptions =
            basis.exemptions.iter().filter_map(|it| Some((it.slot, id_of(it.slot)?))).collect();
        names.interfaces = self.interfaces.names().map(|(index, name)| (index, name.into())).collect();
        let volumes = basis.facts.volumes.iter();
        names.volumes =
            volumes.map(|it| (it.slot, it.volume.path.to_string_lossy().into())).collect::<HashMap<_, _>>();
        let cgroups = basis.facts.cgroups.iter();
        names.cgroups =
            cgroups.filter_map(|cgroup| Some((cgroup.id?, cgroup.path.as_str().into()))).collect();
        names
    }

    /// Tells who names events how interfaces are called, where one got another name: no generation is made of that.
    pub(super) fn follow_interface_names(&mut self) {
        let told = &self.told_interfaces;
        let is_told = |(index, name): (u32, &str)| told.get(&index).is_some_and(|it| **it == *name);
        if self.interfaces.names().all(is_told) {
            return;
        }
        let names: HashMap<u32, Arc<str>> =
            self.interfaces.names().map(|(index, name)| (index, name.into())).collect();
        self.told_interfaces.clone_from(&names);
        self.actions.push(Action::NameInterfaces(names));
    }

    pub(super) fn published(&mut self, outcome: PublishOutcome, now: Clocks) {
        if outcome.serial != self.publishing.serial {
            return;
        }
        let Some(InFlight { basis, policy, is_part, again, .. }) = self.publishing.in_flight.take() else {
            return;
        };
        // Another one may have taken the place of a first config that was on its way.
        let is_candidate = self.config.candidate.as_ref().is_some_and(|it| it.serial == basis.config);
        let went_live = outcome.generation == self.publishing.generation + 1;
        if !went_live {
            self.tampering.again = self.tampering.again.max(again);
        }
        if went_live {
            self.published_anew(again);
            self.publishing.generation = outcome.generation;
            self.publishing.since = Some(now.wall);
            let hashes = &mut self.publishing.hashes;
            hashes.generation = outcome.generation;
            hashes.policy_sha256 = outcome.policy_sha256.unwrap_or_default();
            outcome.geo_sha256.into_iter().for_each(|sha256| hashes.geo_sha256 = sha256);
            self.counts_switched(&policy, &basis, outcome.counters.as_ref());
        }
        match outcome.result {
            Ok(words) if went_live => {
                self.log(
                    Level::Info,
                    format!(
                        "{words} is live: {} pins, {} exemptions",
                        policy.distinct_pins().count(),
                        basis.exemptions.len()
                    ),
                );
                // The whole is still not what it should be.
                if !is_part {
                    self.publishing.failed = None;
                }
                self.publishing.live = Some(basis);
                self.cgroups_are_placed(now);
                self.shadow_follows(now);
                if is_candidate {
                    self.candidate_is_live(Ok(()));
                }
            }
            result => {
                let why = result.err().unwrap_or_else(|| "the live generation is another one".to_owned());
                self.log_failure(&why);
                // Where a part failed, the whole did so before it, and is tried again in its time.
                if !is_part {
                    self.publishing.failed = Some(Failed::new(basis, why.clone()));
                }
                if went_live {
                    // Packets may still be judged by the one before: only a further generation settles that.
                    self.publishing.live = None;
                }
                match (is_candidate, went_live) {
                    (true, true) => self.candidate_is_live(Err(why)),
                    (true, false) => self.candidate_failed(ErrorKind::Failed, why),
                    (false, _) => {}
                }
            }
        }
    }

    fn counts_switched(
        &mut self,
        policy: &Arc<Policy>,
        basis: &Basis,
        counters: Option<&crate::kernel::Counters>,
    ) {
        let generation = self.publishing.generation;
        let id_of = |slot| self.kept.by_slot(slot).map(|document| document.id.clone());
        let exemptions = basis.exemptions.iter().filter_map(|it| Some((it.slot, id_of(it.slot)?)));
        let exemptions: Vec<(u16, String)> = exemptions.collect();
        self.counts.switch(&policy.pins, generation, counters);
        self.counts.hold(exemptions.iter().map(|(slot, id)| (*slot, id.as_str())));
        if let Some(since) = &mut self.counts_unread {
            let names = |policy: &Policy| policy.pins.iter().map(|pin| pin.name.clone()).collect::<Vec<_>>();
            match since.last_mut().filter(|last| names(&last.policy) == names(policy)) {
                Some(last) => (last.generation, last.exemptions) = (generation, exemptions),
                None => {
                    let (policy, counters) = (Arc::clone(policy), counters.cloned());
                    since.push(Switch { policy, generation, counters, exemptions });
                }
            }
            return;
        }
        let counts = Some(Box::new(self.counts.clone()));
        self.ask_store(Purpose::SaveCounts, StoreJob::SaveCounts { counts, judged: None, cursor: None });
    }

    fn log_failure(&mut self, why: &str) {
        if self.publishing.failure() != Some(why) {
            let line = format!(
                "the kernel's tables are NOT what config and store want: {why}. It is tried again every few seconds"
            );
            self.log(Level::Error, line);
        }
    }
}
