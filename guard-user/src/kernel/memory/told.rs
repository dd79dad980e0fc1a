//! What the kernel in memory tells as its test wants it.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::{FailsafeUse, Hook};

use super::MemoryKernel;
use crate::kernel::{Counters, Place};

/// What it tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Why the programs do not know all addresses of the host.
    pub(super) addresses_unknown: Option<String>,
    /// What failsafe rules have let pass.
    pub(super) failsafe: Option<Vec<FailsafeUse>>,
    /// The names of interfaces below others, by the upper one's name.
    pub(super) below: BTreeMap<String, Vec<String>>,
    /// By which interfaces what leaves by others leaves, by the upper one's name.
    pub(super) leaves_by: BTreeMap<String, Vec<u32>>,
    /// What tells whether frames leave by an interface, by its name.
    pub(super) places: BTreeMap<String, Place>,
    /// Programs that run before those at egress, by the interface's name.
    pub(super) before: BTreeMap<String, Vec<String>>,
    /// The names of interfaces that loop back.
    pub(super) loops: BTreeSet<String>,
}

impl Told {
    /// The programs that run before the one at this hook.
    pub(super) fn before(&self, name: &str, hook: Hook) -> Vec<String> {
        self.before.get(name).filter(|_| hook == Hook::Egress).cloned().unwrap_or_default()
    }
}

impl MemoryKernel {
    /// The names of all interfaces.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        self.state().interfaces.values().map(|device| device.name.clone()).collect()
    }

    /// The names of interfaces with the program at egress.
    #[must_use]
    pub(crate) fn guarded(&self) -> Vec<String> {
        let state = self.state();
        let guarded =
            state.interfaces.values().filter(|it| it.attachments.contains_key(&(Hook::Egress as u8)));
        guarded.map(|device| device.name.clone()).collect()
    }

    /// Slots that the live table opens.
    #[must_use]
    pub(crate) fn open_slots(&self) -> BTreeSet<u16> {
        self.state().live.clone()
    }

    /// Slots that are marked as closed by an order.
    #[must_use]
    pub(crate) fn marked(&self) -> Vec<u16> {
        self.state().held.iter().copied().collect()
    }

    /// How many pins the live table has.
    #[must_use]
    pub(crate) fn pins(&self) -> u32 {
        self.state().pins
    }

    /// Why the programs do not know all addresses of the host.
    pub(crate) fn lose_addresses(&self, why: Option<&str>) {
        self.state().told.addresses_unknown = why.map(str::to_owned);
    }

    /// An interface is put below another one.
    pub(crate) fn put_below(&self, lower: &str, upper: &str) {
        self.state().told.below.entry(upper.to_owned()).or_default().push(lower.to_owned());
    }

    /// What leaves by an interface leaves by these below it.
    pub(crate) fn leave_by(&self, upper: &str, lower: &[u32]) {
        self.state().told.leaves_by.insert(upper.to_owned(), lower.to_vec());
    }

    /// An interface sends packets as soon as its guard is taken off, before anybody asks how many it has sent.
    pub(crate) fn send_when_let_go(&self, index: u32, packets: u64) {
        self.state().interfaces.get_mut(&index).unwrap().sends_when_let_go = packets;
    }

    /// Whether frames leave the host by an interface.
    pub(crate) fn place(&self, name: &str, place: Place) {
        self.state().told.places.insert(name.to_owned(), place);
    }

    /// These programs run before those at egress.
    pub(crate) fn run_before(&self, name: &str, programs: &[&str]) {
        let programs = programs.iter().map(|&program| program.to_owned()).collect();
        self.state().told.before.insert(name.to_owned(), programs);
    }

    /// What comes in by an interface may be the host's own.
    pub(crate) fn loop_back(&self, name: &str) {
        self.state().told.loops.insert(name.to_owned());
    }

    /// What it has counted.
    pub(crate) fn counters(&self) -> Counters {
        self.state().counters.clone()
    }

    /// From now on it has counted this.
    pub(crate) fn set_counters(&self, counters: Counters) {
        self.state().counters = counters;
    }

    /// The first failsafe rule had too little left for a packet at this time.
    pub(crate) fn refuse_failsafe(&self, refused_ns: u64) {
        self.state().told.failsafe = Some(vec![FailsafeUse { refused_ns, ..FailsafeUse::default() }]);
    }
}
