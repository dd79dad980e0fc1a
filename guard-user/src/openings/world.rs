//! What is compared.

use guard_common::abi::PolicyTable;

use crate::compile::{CompileError, HostFacts, KernelExemption, policy_table};
use crate::config::policy::Policy;
use crate::geo::GeoDb;

/// What one generation is made of. No fact of a host is among it: cgroups, users, interfaces and volumes are compared
/// by their names.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The checked config.
    pub policy: &'a Policy,
    /// The database.
    pub geo: &'a GeoDb,
    /// The exemptions, with the times and slots that the kernel has.
    pub exemptions: &'a [KernelExemption],
    /// Whether there may be others, of any pin and to any jurisdiction: then it opens something that a flow is another
    /// pin's, whatever that one forbids, and that a site has its addresses in another jurisdiction.
    pub may_exempt: bool,
}

/// What the tables of a world have that needs no host.
pub(super) fn tables_of(world: &World<'_>) -> Result<Box<PolicyTable>, CompileError> {
    let mut policy = world.policy.clone();
    for pin in &mut policy.pins {
        // These are compared by name, by `dimensions`.
        pin.select.interfaces.clear();
        pin.select.cgroups.clear();
        pin.select.users.clear();
        pin.select.volumes.clear();
    }
    policy_table(&policy, world.exemptions, &HostFacts::default(), 0)
}
