//! One generation of tables, and what its numbers stand for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use guard_common::abi::PolicyTable;
use guard_common::host::{HostOrigin, HostTables};
use guard_common::interval::build::TableFull;
use guard_common::packet::Addr;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::surroundings::Surroundings;
use crate::compile::{
    CgroupFact, CompileError, HostFacts, InterfaceFact, KernelExemption, VolumeFact, geo_image, policy_table,
};
use crate::config::Policy;
use crate::config::policy::Pin;
use crate::geo::GeoDb;

/// Ids of cgroups here: beyond those of any host's, which are inode numbers counted from 1.
const CGROUP_IDS: u64 = 1 << 63;

/// The index of an interface that this host does not have.
const ABSENT_INTERFACE: u32 = i32::MAX as u32;

/// The index of the interface by which a forwarded packet came in, where nobody says which: one that no pin selects.
const CAME_IN_BY: u32 = ABSENT_INTERFACE - 1;

/// The index of that interface where this host does not have it.
const ABSENT_CAME_IN_BY: u32 = ABSENT_INTERFACE - 2;

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

/// Who says what is left of the exemptions' quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quotas {
    /// The daemon that runs.
    #[default]
    OfDaemon,
    /// The store, by what it last recorded as used.
    AsRecorded,
    /// Nobody, for it was at another time: all of each is taken to have been left.
    NotKnown,
}

/// One generation of tables, and what its numbers stand for.
pub struct Explainer {
    pub(super) policy: Policy,
    pub(super) db: GeoDb,
    pub(super) exemptions: Vec<NamedExemption>,
    pub(super) unread: Option<String>,
    pub(super) quotas: Quotas,
    facts: HostFacts,
    tables: HostTables,
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
        let interfaces = interface.map(leaves_by).into_iter().collect();
        let volumes = policy.volumes().into_iter().zip(0..).map(|(volume, slot)| VolumeFact { volume, slot });
        let volumes = volumes.collect();
        let facts = HostFacts { interfaces, cgroups, volumes, ..HostFacts::default() };
        let table = table_of(&policy, &exemptions, &facts)?;
        let tables = HostTables::new(table, geo_image(&db, &policy.sites)?);
        Ok(Self { policy, db, exemptions, unread: None, quotas: Quotas::default(), facts, tables })
    }

    /// The same on a host with these addresses.
    #[must_use]
    pub fn with_addresses(mut self, addresses: BTreeSet<Addr>) -> Self {
        self.tables.addresses = addresses;
        self
    }

    /// The same on a host with these interfaces.
    ///
    /// # Errors
    /// Where a table is too small for the policy or the exemptions.
    pub fn with_interfaces(mut self, interfaces: Vec<InterfaceFact>) -> Result<Self, ExplainError> {
        self.facts.interfaces = interfaces;
        self.tables.policy = table_of(&self.policy, &self.exemptions, &self.facts)?;
        Ok(self)
    }

    /// The same on a host that does not have these cgroups: no packet is in one of them.
    ///
    /// # Errors
    /// As [`with_interfaces`](Self::with_interfaces).
    pub fn without_cgroups(mut self, absent: &BTreeSet<String>) -> Result<Self, ExplainError> {
        for fact in self.facts.cgroups.iter_mut().filter(|fact| absent.contains(&fact.path)) {
            fact.id = None;
        }
        self.tables.policy = table_of(&self.policy, &self.exemptions, &self.facts)?;
        Ok(self)
    }

    /// The policy that it was compiled of.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Has it know an interface too of which only packets are told that the kernel judged: for deciding, tables would have
    /// to have it.
    pub fn name_interface(&mut self, fact: InterfaceFact) {
        if self.facts.interfaces.iter().all(|known| known.names.first() != fact.names.first()) {
            self.facts.interfaces.push(fact);
        }
    }

    /// Whether exemptions may be open that could not be read.
    #[must_use]
    pub fn has_unread_exemptions(&self) -> bool {
        self.unread.is_some()
    }

    /// The same, knowing that exemptions may be open that could not be read, and why.
    #[must_use]
    pub fn with_unread_exemptions(self, why: String) -> Self {
        Self { unread: Some(why), ..self }
    }

    /// The same, knowing who says what is left of the quotas.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// What has to be told of the quotas of these exemptions, where there is anything.
    #[must_use]
    pub fn of_quotas(&self) -> Option<&'static str> {
        let has_quota = self.exemptions.iter().any(|named| named.kernel.quota != u64::MAX);
        match self.quotas {
            Quotas::AsRecorded if has_quota => Some(
                "no daemon was asked: of each quota is left what the store last recorded, and the kernel may have counted more",
            ),
            Quotas::NotKnown if has_quota => {
                Some("what was left of its quota then is not known: all of it is taken to have been")
            }
            _ => None,
        }
    }

    /// Whether this host has the interfaces that the tables were compiled for, if any.
    #[must_use]
    pub fn interface_exists(&self) -> bool {
        self.facts.interfaces.iter().all(is_there)
    }

    /// The tables, as the kernel would get them.
    #[must_use]
    pub fn tables(&self) -> &HostTables {
        &self.tables
    }

    /// What the names of the policy stand for in the tables.
    #[must_use]
    pub const fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// What the tables know of where a packet comes from. `wire_len` is in bytes.
    #[must_use]
    pub fn origin(&self, from: &Surroundings, wire_len: u64) -> HostOrigin {
        let index_of = |name: &String| self.interface(name).map(|fact| fact.index);
        let came_in_by = from.came_in_by.as_ref().and_then(index_of);
        HostOrigin {
            ifindex: from.interface.as_ref().and_then(index_of).unwrap_or(0),
            ingress_ifindex: if from.is_forwarded { came_in_by.unwrap_or(CAME_IN_BY) } else { 0 },
            mark: from.mark,
            wire_len,
            cgroups: from.cgroup.as_deref().map(|path| self.ancestors(path)).unwrap_or_default(),
            users: from.user.iter().map(|(_, uid)| *uid).collect(),
            volumes: self.slots_of(&from.volumes),
            direction: from.direction,
            ..HostOrigin::default()
        }
    }

    /// Whether this host has an interface of this name, where the tables were compiled for one.
    #[must_use]
    pub fn has_interface(&self, name: &str) -> bool {
        self.interface(name).is_some_and(is_there)
    }

    /// What is known of the interface of this name.
    pub(super) fn interface(&self, name: &str) -> Option<&InterfaceFact> {
        self.facts.interfaces.iter().find(|fact| fact.names.first().is_some_and(|known| known == name))
    }

    /// The slots of these volumes, a bit each, whatever the spread.
    fn slots_of(&self, paths: &[PathBuf]) -> u64 {
        let carried = self.facts.volumes.iter().filter(|fact| paths.contains(&fact.volume.path));
        carried.fold(0, |slots, fact| slots | 1 << fact.slot)
    }

    /// The id of the cgroup on each level of a path; 0 for one that no pin selects.
    fn ancestors(&self, path: &str) -> Vec<u64> {
        let path = path.trim_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let id_of = |ancestor: &str| self.facts.cgroups.iter().find(|fact| fact.path == ancestor);
        ends.map(|end| path.get(..end).and_then(id_of).and_then(|fact| fact.id).unwrap_or(0)).collect()
    }

    /// The id of the exemption in a slot.
    pub(super) fn exemption_name(&self, slot: u16) -> String {
        let named = self.exemptions.iter().find(|named| named.kernel.slot == slot);
        named.map_or_else(|| format!("slot {slot}"), |named| named.id.clone())
    }

    /// The pins that the exemption in a slot is for, a bit for each way in which one is known; 0 where it is not known here.
    pub(super) fn pins_of_slot(&self, slot: u16) -> u64 {
        let named = self.exemptions.iter().find(|named| named.kernel.slot == slot);
        let pins = named.map(|named| named.kernel.pins.as_slice()).unwrap_or_default();
        let is_of = |(_, pin): &(usize, &Pin)| pins.contains(&pin.name);
        self.policy.pins.iter().enumerate().filter(is_of).fold(0, |set, (number, _)| set | 1 << number)
    }
}

/// The table of a policy on a host that has no interfaces but those that are told of: none comes later.
fn table_of(
    policy: &Policy,
    exemptions: &[NamedExemption],
    facts: &HostFacts,
) -> Result<Box<PolicyTable>, CompileError> {
    let kernel: Vec<KernelExemption> = exemptions.iter().map(|named| named.kernel.clone()).collect();
    let mut table = policy_table(policy, &kernel, facts, 1)?;
    table.interfaces_until = u32::MAX;
    Ok(table)
}

fn is_there(fact: &InterfaceFact) -> bool {
    ![ABSENT_INTERFACE, ABSENT_CAME_IN_BY].contains(&fact.index)
}

/// The interface of this name by which a packet leaves, with nothing below it.
#[must_use]
pub fn leaves_by(name: &str) -> InterfaceFact {
    let index = interface_index(name).unwrap_or(ABSENT_INTERFACE);
    InterfaceFact { index, names: vec![name.to_owned()], ..InterfaceFact::default() }
}

/// The interface of this name by which a packet came in that is forwarded, with nothing below it.
#[must_use]
pub fn came_in_by(name: &str) -> InterfaceFact {
    let index = interface_index(name).unwrap_or(ABSENT_CAME_IN_BY);
    InterfaceFact { index, names: vec![name.to_owned()], ..InterfaceFact::default() }
}

/// The index of an interface of this thread's network namespace (`SIOCGIFINDEX`, netdevice(7)). Sysfs has those of the
/// namespace in which it was mounted, which may be another one.
fn interface_index(name: &str) -> Option<u32> {
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    any.and_then(|socket| name_to_index(socket, name)).ok()
}
