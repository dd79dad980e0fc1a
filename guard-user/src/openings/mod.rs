//! What a policy newly lets pass: the difference of two generations, computed from their tables.
//!
//! Every dimension of a flow is cut into classes wherever the old or the new tables say something else, and each
//! combination of classes is judged once by either side. Nothing is sampled. What can't be compared counts as opened.

mod attributes;
mod destinations;
mod dimensions;
mod judge;
mod marks;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use guard_common::abi::{Direction, Hook, PolicyTable};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::Verdict;

use crate::compile::{CompileError, HostFacts, KernelExemption, policy_table};
use crate::config::policy::{Mark, Policy};
use crate::geo::GeoDb;

pub use attributes::Change;

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
}

/// All that newly passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    /// Flows that the new generation judges more mildly.
    pub flows: Vec<OpenedFlow>,
    /// What is no matter of a single packet, and what can't be compared.
    pub changes: Vec<Change>,
}

impl Openings {
    /// Whether nothing newly passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.changes.is_empty()
    }
}

/// Flows that the new generation judges more mildly than the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedFlow {
    /// Where they are judged: egress or ingress.
    pub hook: Hook,
    /// The pins of the old policy that forbade them, each once.
    pub pins: Vec<String>,
    /// What the old generation does.
    pub was: Outcome,
    /// What the new generation does.
    pub is: Outcome,
    /// By which they are known: for each dimension that tells flows apart the values of it. A flow has one value of each.
    pub known_by: Vec<Vec<Value>>,
    /// Where they go; `None` for packets that can't be read, whose destination does not matter.
    pub to: Option<Vec<Destinations>>,
}

/// What a generation does with a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The verdict where no failsafe rule and no exemption lets it pass.
    pub verdict: Verdict,
    /// Bytes on the wire that failsafe rules let pass in a minute; `u64::MAX` for no bound.
    pub budget: u64,
    /// Bytes on the wire that exemptions let pass; `u64::MAX` for no bound.
    pub quota: u64,
}

impl Outcome {
    /// Whether all of the flow passes, and without a report.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self.verdict, Verdict::Pass) || self.budget == u64::MAX || self.quota == u64::MAX
    }

    /// Whether more passes by this than by another.
    #[must_use]
    pub fn opens_against(&self, old: &Self) -> bool {
        !old.passes()
            && (self.passes()
                || self.verdict < old.verdict
                || self.budget > old.budget
                || self.quota > old.quota)
    }
}

/// One value, or one run of values, of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Source addresses, both ends included.
    Source {
        /// The lowest.
        first: IpAddr,
        /// The highest.
        last: IpAddr,
        /// Whether it is the host's.
        made: Made,
    },
    /// Ports of one kind, in host byte order, both ends included.
    Ports {
        /// The upper half of the [`port_key`](guard_common::abi::port_key): from
        /// [`NO_PORT_CLASS`](guard_common::abi::NO_PORT_CLASS) on, no port can be read.
        class: u32,
        /// At this end.
        local: (u16, u16),
        /// At the other end.
        remote: (u16, u16),
    },
    /// An interface by name or pattern.
    Interface(String),
    /// None of the interfaces that either policy names.
    OtherInterface,
    /// Packets whose mark is this one under its mask, in host byte order.
    Marked(Mark),
    /// A cgroup or one below it, as a path below the root of cgroup v2.
    Cgroup(String),
    /// None of the cgroups that either policy names.
    OtherCgroup,
    /// A user as the config has it.
    User(String),
    /// None of the users that either policy names.
    OtherUser,
    /// A socket that may be anybody's: it matches every selector of cgroups, or of users.
    Anybody,
    /// Data of the volume that is mounted here.
    Volume(String),
    /// Data of none of the volumes that either policy names.
    NoVolume,
    /// Who opened the connection.
    Opened(Direction),
    /// From the first nanosecond of `CLOCK_BOOTTIME` to the last, both included.
    Window {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// Whose a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The host itself makes the packet, or has its source address.
    Here,
    /// Neither.
    Elsewhere,
}

/// Destinations that are judged alike, and were placed and are placed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    /// Where the old tables have them.
    pub from: Jurisdiction,
    /// Where the new tables have them.
    pub to: Jurisdiction,
    /// How many addresses at most.
    pub addresses: u128,
    /// The first runs of them, both ends included, at most [`KEPT`].
    pub first: Vec<(IpAddr, IpAddr)>,
}

/// Runs of addresses that are kept of [`Destinations`].
pub const KEPT: usize = 256;

/// What the tables of a world have that needs no host.
fn tables_of(world: &World<'_>) -> Result<Box<PolicyTable>, CompileError> {
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

/// What passes by the new world and not by the old one.
///
/// A pin that is gone, and one that has another name, opens what it forbade, whatever another pin says: exemptions and
/// history go by the name.
///
/// # Errors
///
/// [`CompileError`] where either world is none that the kernel's tables can hold.
pub fn openings(old: &World<'_>, new: &World<'_>) -> Result<Openings, CompileError> {
    let tables = [tables_of(old)?, tables_of(new)?];
    let mut changes = attributes::changes(old.policy, new.policy);
    let judged = judge::flows([old, new], &tables);
    if !judged.is_complete {
        changes.push(Change::TooManyToCompare);
    }
    Ok(Openings { flows: judged.flows, changes })
}
