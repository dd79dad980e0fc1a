//! Why a packet passes or not, step by step and in plain words.
//!
//! What is told is what [`guard_common::decide::decide`] did: the function that the kernel runs, over the
//! same tables, with a listener at each of its steps. Words are made of the checked config afterwards, and
//! change nothing.
//!
//! - [`flow`] makes a packet of what a person says of it, [`capture`] reads frames from a file.
//! - [`Explainer`] holds one generation of tables and decides.
//! - [`words`] tells a decision, [`selectors`] why a pin matches and [`places`] where an address is.
//! - [`frames`] judges a whole capture, and [`kernel_copy`] has the kernel judge it as well.

pub mod capture;
mod country;
pub mod flow;
pub mod frames;
pub mod kernel_copy;
mod places;
mod selectors;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;

use guard_common::abi::{Hook, NO_EXEMPTION, Place};
use guard_common::decide::{Decision, Trace, decide, mirror};
use guard_common::host::{HostOrigin, HostTables};
use guard_common::interval::build::TableFull;
use guard_common::packet::{Addr, Packet, Parsed};
use guard_common::verdict::{Reason, Verdict};

use crate::compile::{CgroupFact, CompileError, HostFacts, KernelExemption, geo_image, policy_table};
use crate::config::Policy;
use crate::geo::GeoDb;

pub use words::Step;

/// Ids of cgroups here: beyond those of any host's, which are inode numbers counted from 1.
const CGROUP_IDS: u64 = 1 << 63;

/// The index of an interface that this host does not have.
const ABSENT_INTERFACE: u32 = i32::MAX as u32;

/// Why there are no tables to decide over.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The policy can't be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The geo database and the sites are too large.
    #[error(transparent)]
    Geo(#[from] TableFull),
}

/// An exemption with the id that people know it by.
#[derive(Clone, Debug)]
pub struct NamedExemption {
    /// Its id in documents and logs.
    pub id: String,
    /// What the kernel judges.
    pub kernel: KernelExemption,
}

/// One generation of tables, and what its numbers stand for.
pub struct Explainer {
    policy: Policy,
    db: GeoDb,
    exemptions: Vec<NamedExemption>,
    unread: Option<String>,
    facts: HostFacts,
    tables: HostTables,
}

/// Where a packet comes from, as a person says it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The interface that it leaves or came in by.
    pub interface: Option<String>,
    /// Its firewall mark.
    pub mark: u32,
    /// The cgroup of the process that sends it, as a path below the root of cgroup v2.
    pub cgroup: Option<String>,
}

/// What was decided for one packet, and how it came about.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What happens to the packet.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Names of the pins that tag the packet.
    pub pins: Vec<String>,
    /// Names of the pins that forbid a destination of it.
    pub denied: Vec<String>,
    /// The place of the destination that decided; `None` where no destination was placed.
    pub place: Option<Place>,
    /// The destination that decided; `None` where none was placed.
    pub destination: Option<IpAddr>,
    /// The id of the exemption that covers the packet.
    pub exemption: Option<String>,
    /// Each step, in order.
    pub steps: Vec<Step>,
}

/// What the decision said at its steps.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Tagged { layer: u32, pins: u64 },
    Failsafe { layer: u32, rules: u64 },
    Placed { layer: u32, destination: Addr, place: Place, denied: u64 },
    Exemption { slot: u16, outcome: Result<(), Reason> },
}

#[derive(Default)]
struct Recorder(Vec<Heard>);

impl Trace for Recorder {
    fn tagged(&mut self, layer: u32, pins: u64) {
        self.0.push(Heard::Tagged { layer, pins });
    }
    fn failsafe(&mut self, layer: u32, rules: u64) {
        self.0.push(Heard::Failsafe { layer, rules });
    }
    fn placed(&mut self, layer: u32, destination: Addr, place: Place, denied: u64) {
        self.0.push(Heard::Placed { layer, destination, place, denied });
    }
    fn exemption(&mut self, slot: u16, outcome: Result<(), Reason>) {
        self.0.push(Heard::Exemption { slot, outcome });
    }
}

impl Explainer {
    /// Compiles the policy for packets with these surroundings. Cgroups need not exist on this host: a
    /// packet is in those that its path names.
    ///
    /// # Errors
    /// Where a table is too small for the policy, the database or the exemptions.
    pub fn new(
        policy: Policy,
        db: GeoDb,
        exemptions: Vec<NamedExemption>,
        interface: Option<&str>,
    ) -> Result<Self, ExplainError> {
        let mut paths: Vec<&String> = policy.pins.iter().flat_map(|pin| &pin.select.cgroups).collect();
        paths.sort_unstable();
        paths.dedup();
        let cgroups = paths
            .into_iter()
            .zip(CGROUP_IDS..)
            .map(|(path, id)| CgroupFact {
                path: path.clone(),
                id: Some(id),
                level: path.split('/').count() as u32,
            })
            .collect();
        let interfaces = interface.map(|name| (interface_index(name), name.to_owned())).into_iter().collect();
        let facts = HostFacts { interfaces, cgroups, ..HostFacts::default() };
        let kernel: Vec<KernelExemption> = exemptions.iter().map(|named| named.kernel.clone()).collect();
        let table = policy_table(&policy, &kernel, &facts, 1)?;
        let tables = HostTables::new(table, geo_image(&db, &policy.sites)?);
        Ok(Self { policy, db, exemptions, unread: None, facts, tables })
    }

    /// The same, knowing that exemptions may be open that could not be read, and why.
    #[must_use]
    pub fn with_unread_exemptions(self, why: String) -> Self {
        Self { unread: Some(why), ..self }
    }

    /// Whether this host has the interface that the tables were compiled for, if any.
    #[must_use]
    pub fn interface_exists(&self) -> bool {
        self.facts.interfaces.iter().all(|(index, _)| *index != ABSENT_INTERFACE)
    }

    /// The tables, as the kernel would get them.
    #[must_use]
    pub fn tables(&self) -> &HostTables {
        &self.tables
    }

    /// What the tables know of where a packet comes from. `wire_len` is in bytes.
    #[must_use]
    pub fn origin(&self, from: &Surroundings, wire_len: u64) -> HostOrigin {
        let index_of = |name: &String| self.facts.interfaces.iter().find(|(_, known)| known == name);
        HostOrigin {
            ifindex: from.interface.as_ref().and_then(index_of).map_or(0, |(index, _)| *index),
            ingress_ifindex: 0,
            mark: from.mark,
            wire_len,
            cgroups: from.cgroup.as_deref().map(|path| self.ancestors(path)).unwrap_or_default(),
        }
    }

    /// The id of the cgroup on each level of a path; 0 for one that no pin selects.
    fn ancestors(&self, path: &str) -> Vec<u64> {
        let path = path.trim_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let id_of = |ancestor: &str| self.facts.cgroups.iter().find(|fact| fact.path == ancestor);
        ends.map(|end| path.get(..end).and_then(id_of).and_then(|fact| fact.id).unwrap_or(0)).collect()
    }

    /// Decides for a packet at the time `now`, in nanoseconds of `CLOCK_BOOTTIME`, and tells how. The packet
    /// is as the parser read it, on ingress too, where it has no mark and no cgroup yet.
    #[must_use]
    pub fn explain(
        &self,
        hook: Hook,
        parsed: Parsed,
        packet: &Packet,
        from: &Surroundings,
        wire_len: u64,
        now: u64,
    ) -> Explanation {
        let at_ingress = Surroundings { interface: from.interface.clone(), ..Surroundings::default() };
        let from = if hook == Hook::Ingress { &at_ingress } else { from };
        let mut judged = *packet;
        if hook == Hook::Ingress {
            mirror(&mut judged);
        }
        let origin = self.origin(from, wire_len);
        let mut recorder = Recorder::default();
        let decision = decide(hook, parsed, &judged, &self.tables, &origin, || now, &mut recorder);
        let heard = recorder.0;
        let (place, destination) = deciding(&heard);
        Explanation {
            verdict: decision.verdict,
            reason: decision.reason,
            pins: self.pin_names(decision.tag),
            denied: self.pin_names(decision.denied),
            place,
            destination,
            exemption: self.exemption_id(&decision),
            steps: words::Teller { explainer: self, hook, packet: &judged, from, decision: &decision }
                .tell(parsed, &heard),
        }
    }

    fn pin_names(&self, pins: u64) -> Vec<String> {
        in_set(&self.policy.pins, pins).map(|pin| pin.name.clone()).collect()
    }

    fn exemption_id(&self, decision: &Decision) -> Option<String> {
        (decision.exemption != NO_EXEMPTION).then(|| self.exemption_name(decision.exemption))
    }

    fn exemption_name(&self, slot: u16) -> String {
        let named = self.exemptions.iter().find(|named| named.kernel.slot == slot);
        named.map_or_else(|| format!("slot {slot}"), |named| named.id.clone())
    }
}

/// The destination that decided: the first forbidden one, else the last.
fn deciding(heard: &[Heard]) -> (Option<Place>, Option<IpAddr>) {
    let mut placed = heard.iter().filter_map(|heard| match *heard {
        Heard::Placed { destination, place, denied, .. } => Some((denied, place, destination)),
        _ => None,
    });
    let forbidden = placed.clone().find(|(denied, ..)| *denied != 0);
    let one = forbidden.or_else(|| placed.next_back());
    (one.map(|one| one.1), one.map(|one| one.2.into()))
}

/// The items whose bits are set.
fn in_set<T>(items: &[T], set: u64) -> impl Iterator<Item = &T> {
    items.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1).map(|(_, item)| item)
}

/// The index of an interface of this host, or that of none.
fn interface_index(name: &str) -> u32 {
    let named = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    let read = || std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok();
    named.then(read).flatten().and_then(|text| text.trim().parse().ok()).unwrap_or(ABSENT_INTERFACE)
}
