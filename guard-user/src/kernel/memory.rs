//! A kernel in memory, for tests of what is decided by [`Observed`]: the same rules as the running kernel's, and
//! failures on demand.
//!
//! A [`Host`] has the network interfaces and what the kernel keeps; tests change it as users, drivers and attackers
//! change a real one. A [`MemoryKernel`] is one process's side of it, and ends with the process. Both can be used from
//! any thread.

mod host;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guard_common::abi::{Exemption, ExemptionUse, Hook, MAX_EXEMPTIONS, PolicyTable, dimension};
use guard_common::interval::build::GeoImage;

use self::host::State;
pub use self::host::{Host, Nic};
use super::{Interface, Kernel, KernelError, Observed, Published, Stray};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Kernel::publish`], before the flip: the old generation stays live.
    Publish,
    /// [`Kernel::publish`], after the flip: the new generation is live, and the old one may still judge a packet.
    Wait,
    /// [`Kernel::observe`].
    Observe,
    /// [`Kernel::attach`].
    Attach,
    /// [`Kernel::attach`], at ingress, after egress was guarded.
    AttachIngress,
    /// [`Kernel::release`].
    Release,
    /// [`Kernel::forget`].
    Forget,
    /// [`Kernel::restore_entries`].
    Restore,
    /// [`Kernel::exemption_uses`].
    Uses,
    /// [`Kernel::reset_exemption_use`].
    Reset,
    /// [`Kernel::held`].
    Held,
    /// [`Kernel::hold`].
    Hold,
}

/// How long an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The next so many times.
    Next(usize),
    /// Until it is told otherwise.
    Always,
}

/// One process's side of a [`Host`].
#[derive(Debug)]
pub struct MemoryKernel {
    host: Host,
    adopted: bool,
    programs: Programs,
}

/// Ids of the programs that a process has loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    egress: u32,
    ingress: u32,
}

impl Programs {
    const fn at(self, hook: Hook) -> u32 {
        match hook {
            Hook::Egress => self.egress,
            Hook::Ingress => self.ingress,
        }
    }
}

impl Host {
    /// Starts a process on this host, as the running kernel's `open` does: what has an entry is adopted. Links
    /// without an entry were kept by the process before, and have ended with it.
    #[must_use]
    pub fn open(&self) -> MemoryKernel {
        let mut state = self.state();
        state.end_unkept_links();
        let adopted = std::mem::replace(&mut state.has_maps, true) && !state.lost_maps;
        if !adopted {
            state.begin_anew();
        }
        let programs = Programs { egress: state.next_id(), ingress: state.next_id() };
        drop(state);
        MemoryKernel { host: self.clone(), adopted, programs }
    }

    /// The exemptions that the live table could open at some time, by slot; none before the first generation.
    #[must_use]
    pub fn exemptions(&self) -> Vec<(u16, Exemption)> {
        self.state().live.as_ref().map_or_else(Vec::new, |table| exemptions(table))
    }

    /// The accounts by which a packet could pass at this time by `CLOCK_BOOTTIME`: the exemption is in the live table,
    /// its window is open, and its quota is not used up.
    #[must_use]
    pub fn open_accounts(&self, now_ns: u64) -> BTreeSet<u16> {
        let exemptions = self.exemptions();
        let state = self.state();
        let is_open = |exemption: &Exemption| {
            let used = state.uses.get(exemption.account as usize).map_or(0, |used| used.charged);
            (exemption.valid_from_ns..exemption.valid_until_ns).contains(&now_ns) && used < exemption.quota
        };
        let open = exemptions.into_iter().filter(|(_, exemption)| is_open(exemption));
        open.filter_map(|(_, exemption)| u16::try_from(exemption.account).ok()).collect()
    }
}

/// The exemptions of a table that some packet could pass by, by slot.
#[must_use]
pub fn exemptions(table: &PolicyTable) -> Vec<(u16, Exemption)> {
    if table.dimensions & dimension::EXEMPTION == 0 {
        return Vec::new();
    }
    let of_some_pin = |slot: &usize| {
        table
            .exempt_pins
            .iter()
            .any(|set| set.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1))
    };
    let all = (0..MAX_EXEMPTIONS).filter(of_some_pin);
    let known = all.filter_map(|slot| Some((u16::try_from(slot).ok()?, *table.exemptions.get(slot)?)));
    known.filter(|(_, it)| it.pins != 0 && it.valid_from_ns < it.valid_until_ns && it.quota > 0).collect()
}

impl MemoryKernel {
    /// A process on a host of its own, which has no interface but the loopback.
    #[must_use]
    pub fn new() -> Self {
        Host::new().open()
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> Host {
        self.host.clone()
    }

    /// The state, where this operation does not fail.
    fn doing(&self, operation: Operation) -> Result<MutexGuard<'_, State>, KernelError> {
        let mut state = self.host.state();
        state.fail_if_asked(operation)?;
        Ok(state)
    }
}

impl Default for MemoryKernel {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel for MemoryKernel {
    fn adopted(&self) -> bool {
        self.adopted
    }

    fn generation(&self) -> u64 {
        self.host.state().live.as_ref().map_or(0, |table| table.generation)
    }

    fn publish(&mut self, policy: &PolicyTable, geo: Option<&GeoImage>) -> Result<Published, KernelError> {
        let mut state = self.doing(Operation::Publish)?;
        let live = state.live.as_ref().map_or(0, |table| table.generation);
        if geo.is_none() && live == 0 {
            return Err(KernelError::NoGeo);
        }
        if policy.generation <= live {
            return Err(KernelError::OldGeneration { given: policy.generation, live });
        }
        let generation = policy.generation;
        let mut table = PolicyTable::zeroed();
        *table = policy.clone();
        state.live = Some(table);
        state.published.push(generation);
        let outcome = state.fail_if_asked(Operation::Wait);
        outcome.map_err(|_| KernelError::GracePeriod { generation, source: host::failure() })?;
        let (fill, flip, wait) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Ok(Published { generation, fill, flip, wait })
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(self.doing(Operation::Observe)?.observe(self.programs))
    }

    fn attach(&mut self, interface: &Interface, ingress: bool) -> Result<(), KernelError> {
        let mut state = self.doing(Operation::Attach)?;
        if state.live.is_none() {
            return Err(KernelError::NotPublished);
        }
        let nic = state.nic_at(interface)?;
        let link_type = state.link_type(nic);
        if link_type.link().is_none() {
            return Err(KernelError::LinkType { interface: interface.name.clone(), link_type });
        }
        state.guard(nic, Hook::Egress, self.programs);
        if !ingress {
            return state.unguard(nic, Hook::Ingress);
        }
        state.fail_if_asked(Operation::AttachIngress)?;
        state.guard(nic, Hook::Ingress, self.programs);
        Ok(())
    }

    fn release(&mut self, interface: &Interface) -> Result<(), KernelError> {
        let mut state = self.doing(Operation::Release)?;
        if let Ok(nic) = state.nic_at(interface) {
            state.unguard(nic, Hook::Egress)?;
            state.unguard(nic, Hook::Ingress)?;
        }
        Ok(())
    }

    fn forget(&mut self, stray: &Stray) -> Result<(), KernelError> {
        self.doing(Operation::Forget)?.forget(&stray.entry)
    }

    fn restore_entries(&mut self) -> Result<(), KernelError> {
        self.doing(Operation::Restore)?.restore();
        Ok(())
    }

    fn exemption_uses(&mut self) -> Result<Vec<ExemptionUse>, KernelError> {
        Ok(self.doing(Operation::Uses)?.uses.clone())
    }

    fn reset_exemption_use(&mut self, slot: u16, used: ExemptionUse) -> Result<(), KernelError> {
        let mut state = self.doing(Operation::Reset)?;
        match state.uses.get_mut(usize::from(slot)) {
            Some(place) => *place = used,
            None => return Err(host::failed()),
        }
        Ok(())
    }

    fn held(&mut self) -> Result<BTreeSet<u16>, KernelError> {
        Ok(self.doing(Operation::Held)?.held.clone())
    }

    fn hold(&mut self, slot: u16, held: bool) -> Result<(), KernelError> {
        let mut state = self.doing(Operation::Hold)?;
        if held {
            state.held.insert(slot)
        } else {
            state.held.remove(&slot)
        };
        Ok(())
    }
}

/// A lock of the state; a test that failed elsewhere does not hide its own failure behind a poisoned lock.
fn locked(state: &Arc<Mutex<State>>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
