//! What a generation is made of: two that are made of the same judge alike.

use std::fmt;
use std::sync::Arc;

use guard_common::abi::PolicyTable;
use guard_common::interval::build::GeoImage;

use crate::compile::{self, CompileError, HostFacts, KernelExemption};
use crate::config::policy::Policy;

/// A policy's table. Large, so that it is moved by its box alone.
pub struct Table(pub Box<PolicyTable>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table(generation {})", self.0.generation)
    }
}

/// Geo tables, on their way to the kernel.
#[derive(Clone)]
pub struct Geo(pub Arc<GeoImage>);

impl fmt::Debug for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Geo")
    }
}

/// What a generation is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// Which config, counted by reloads.
    pub config: u64,
    /// How often the wall clock was set: windows are computed anew then.
    pub clock: u64,
    /// The exemptions, with windows by the clock of this count.
    pub exemptions: Vec<KernelExemption>,
    /// What the policy's names stand for on this host.
    pub facts: HostFacts,
}

impl Basis {
    /// Whether the other judges alike. Windows are compared by the count of the clock alone, for they are never
    /// computed to the same nanosecond twice.
    #[must_use]
    pub fn judges_like(&self, other: &Self) -> bool {
        (self.config, self.clock) == (other.config, other.clock)
            && self.facts.cgroups == other.facts.cgroups
            && self.facts.parents == other.facts.parents
            && self.facts.volumes == other.facts.volumes
            && self.facts.refuse_in == other.facts.refuse_in
            && self.facts.interfaces == other.facts.interfaces
            && self.exemptions.len() == other.exemptions.len()
            && self.exemptions.iter().zip(&other.exemptions).all(|(one, other)| same(one, other))
    }

    /// The table of this policy.
    ///
    /// # Errors
    /// Where it does not fit.
    pub fn compile(&self, policy: &Policy, generation: u64) -> Result<Table, CompileError> {
        compile::policy_table(policy, &self.exemptions, &self.facts, generation).map(Table)
    }

    /// The same with those exemptions alone that the other has just so: it opens nothing that is not open there.
    #[must_use]
    pub fn closings_alone(&self, live: &Self) -> Self {
        let is_live = |it: &&KernelExemption| live.exemptions.iter().any(|open| same(it, open));
        let exemptions = self.exemptions.iter().filter(is_live).cloned().collect();
        Self { exemptions, ..self.clone() }
    }
}

/// Whether two exemptions of the kernel let the same through, but for the nanoseconds of their windows.
fn same(one: &KernelExemption, other: &KernelExemption) -> bool {
    let key = |it: &KernelExemption| (it.slot, it.account, it.quota);
    key(one) == key(other)
        && one.pins == other.pins
        && one.jurisdictions == other.jurisdictions
        && one.networks == other.networks
        && one.placed == other.placed
        && one.ports == other.ports
}
