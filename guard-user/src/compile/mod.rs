//! Compiles a checked policy, the geo database and the exemptions into the tables that the decision reads.
//!
//! Pure functions: what the host has (interfaces, cgroups) and what time it is comes in as values.

mod beyond;
mod cgroups;
mod classes;
mod elsewhere;
mod failsafes;
mod geo_change;
mod identity;
mod interfaces;
mod overlay;
mod policy;
#[cfg(test)]
pub(crate) mod tests;

pub use beyond::beyond;
pub use classes::Beyond;
pub use elsewhere::{Elsewhere, Places};
pub(crate) use failsafes::failsafe_matches;
pub use failsafes::place;
pub use geo_change::{Counts, GeoChange, MovedNetwork, PinChange, geo_change, only_closing};
pub use identity::identity;
pub use overlay::geo_image;
pub(crate) use overlay::{by_ipv4, jurisdictions};
pub use policy::policy_table;

use std::path::PathBuf;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use crate::config::policy::{Pin, Policy, PortRange, Volume};

/// What a policy's names stand for on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Network interfaces, guarded or not, each once: all that [`NeedsInterfaces`] asks for, and those that are counted
    /// below.
    pub interfaces: Vec<InterfaceFact>,
    /// The cgroups that the policy names, those that are absent too.
    pub cgroups: Vec<CgroupFact>,
    /// What cgroups of these paths were before they were made anew, at most [`MAX_FORMER`](Self::MAX_FORMER), the
    /// latest last. Sockets that were made in one send on after it is removed.
    pub former: Vec<CgroupFact>,
    /// The volumes that the policy names, with their slots.
    pub volumes: Vec<VolumeFact>,
    /// The cgroups that are above any of those and exist: what is made below them from now on may be one of those,
    /// made anew. Empty: nothing that is made later counts as any of those.
    pub parents: Vec<CgroupParentFact>,
    /// Cookie of the network namespace in which calls are refused of which every packet would be dropped; 0: in none.
    pub refuse_in: u64,
}

impl HostFacts {
    /// Former cgroups that are kept.
    pub const MAX_FORMER: usize = 64;

    /// Goes on from what was known before: cgroups that were there keep their ids where they are gone now, and those
    /// that were made anew have former ones, for their sockets may live on. Of a parent the highest id counts that was
    /// ever read.
    pub fn go_on_from(&mut self, before: &Self) {
        let is_selected = |fact: &&CgroupFact| self.cgroups.iter().any(|it| it.path == fact.path);
        self.former = before.former.iter().filter(is_selected).cloned().collect();
        for cgroup in &mut self.cgroups {
            let Some(known) = before.cgroups.iter().find(|known| known.path == cgroup.path) else { continue };
            match cgroup.id {
                None => cgroup.id = known.id,
                Some(_) if known.id.is_some() && known.id != cgroup.id => self.former.push(known.clone()),
                Some(_) => {}
            }
        }
        self.former.drain(..self.former.len().saturating_sub(Self::MAX_FORMER));
        for parent in &mut self.parents {
            if let Some(known) = before.parents.iter().find(|known| known.id == parent.id) {
                parent.known = parent.known.max(known.known);
            }
        }
    }
}

/// A volume that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFact {
    /// The volume.
    pub volume: Volume,
    /// Its slot, below [`MAX_VOLUMES`](guard_common::abi::MAX_VOLUMES): what carriers and sockets have in the kernel.
    pub slot: u32,
}

/// A network interface of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFact {
    /// Its number.
    pub index: u32,
    /// Its name, and those of the interfaces below it, whose packets it has.
    pub names: Vec<String>,
    /// Whether what comes in by it may have been sent there by a process of this host.
    pub loops_back: bool,
    /// Whether all that leaves by it leaves the host by guarded interfaces below it.
    pub is_counted_below: bool,
}

/// What the tables of a policy are made of that interfaces have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedsInterfaces {
    /// Nothing.
    Nothing,
    /// Which of them loop back: a pin has the host among its sources.
    Loops,
    /// Their names too: a pin selects interfaces.
    All,
}

impl NeedsInterfaces {
    /// What this policy needs.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let any = |holds: fn(&Pin) -> bool| policy.pins.iter().any(holds);
        match (any(|pin| !pin.select.interfaces.is_empty()), any(|pin| pin.select.from_host)) {
            (true, _) => Self::All,
            (false, true) => Self::Loops,
            (false, false) => Self::Nothing,
        }
    }
}

/// A cgroup that a policy names, as it is on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFact {
    /// The path as the policy has it, below the cgroup v2 root and without slashes at its ends.
    pub path: String,
    /// Its id: the inode number of its folder (Documentation/bpf, `bpf_skb_ancestor_cgroup_id`). `None` where it is
    /// absent: then it is known by its parents alone.
    pub id: Option<u64>,
    /// How many levels it lies below the cgroup v2 root; 1 is the first.
    pub level: u32,
}

/// A cgroup above one that a policy names.
///
/// `known` must be read before the [ids](CgroupFact::id) of the named cgroups are: then each of these is either
/// found or has a higher id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupParentFact {
    /// Its path below the cgroup v2 root; empty for the root itself.
    pub path: String,
    /// Its id.
    pub id: u64,
    /// The highest id that any cgroup directly below it had when it was read. Ids only rise, so what was made since
    /// has a higher one.
    pub known: u64,
}

impl CgroupParentFact {
    /// How many levels it lies below the cgroup v2 root, which itself is 0.
    #[must_use]
    pub fn level(&self) -> u32 {
        u32::try_from(self.path.split('/').filter(|part| !part.is_empty()).count()).unwrap_or(u32::MAX)
    }

    /// Whether the cgroup of this path is below this one.
    #[must_use]
    pub fn is_above(&self, path: &str) -> bool {
        self.path.is_empty() || path.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// An active exemption, as the kernel judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelExemption {
    /// Its slot in the tables, kept as long as it lives.
    pub slot: u16,
    /// The slot that is charged: its own, or that of another entry of the same document. What has passed is booked on
    /// its own slot, which events and flows name.
    pub account: u16,
    /// By what its flows are told from those of another exemption that has its slot after it, [`identity`].
    pub identity: u32,
    /// Names of the pins that it covers.
    pub pins: Vec<String>,
    /// Whole jurisdictions among the recipients.
    pub jurisdictions: Vec<Jurisdiction>,
    /// Networks among the recipients.
    pub networks: Vec<IpNetwork>,
    /// Where these have to be placed to count; `None`: anywhere.
    pub placed: Option<Jurisdiction>,
    /// Ports of the recipients, as destination ports of egress; empty: any, and any protocol.
    pub ports: Vec<PortRange>,
    /// First nanosecond of its validity by `CLOCK_BOOTTIME`.
    pub valid_from_ns: u64,
    /// First nanosecond after its validity by `CLOCK_BOOTTIME`.
    pub valid_until_ns: u64,
    /// Bytes on the wire that it may let through; `u64::MAX` for no bound.
    pub quota: u64,
}

/// Why a policy can't be turned into tables on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A table would need more elements than it has.
    #[error("{table} need {needed} elements of the kernel's table and it has {capacity}: {hint}")]
    TableFull {
        /// What fills the table.
        table: &'static str,
        /// Elements that are needed.
        needed: usize,
        /// Elements that the table has.
        capacity: usize,
        /// What to do.
        hint: &'static str,
    },
    /// A pin selects a cgroup of which nothing is known, and packets of it could not be told from others.
    #[error(
        "pin \"{pin}\" selects the cgroup \"{path}\", which is not on this host: create it, or start its slice, \
         before Border Guard starts"
    )]
    NoCgroup {
        /// The pin.
        pin: String,
        /// The path as the policy has it.
        path: String,
    },
    /// A pin selects a user whose number is not known.
    #[error("pin \"{pin}\" selects the user \"{user}\", whose number is not known: give the number")]
    NoUser {
        /// The pin.
        pin: String,
        /// The user as the policy has it.
        user: String,
    },
    /// A pin selects a volume that has no slot.
    #[error(
        "pin \"{pin}\" selects the volume {}, for which there is no slot: earlier configs have used all {max}, and \
         carriers of their volumes may still run. Start the host anew, or name volumes that were named before",
        path.display()
    )]
    NoVolume {
        /// The pin.
        pin: String,
        /// The volume's path.
        path: PathBuf,
        /// How many slots there are.
        max: usize,
    },
    /// A cgroup lies deeper than the tables look.
    #[error(
        "pin \"{pin}\" selects the cgroup \"{path}\" on level {level} below the root, and levels 1 to {max} are \
         looked at: select a cgroup above it"
    )]
    CgroupLevel {
        /// The pin.
        pin: String,
        /// The path as the policy has it.
        path: String,
        /// Its level.
        level: u32,
        /// The last level that is looked at.
        max: u32,
    },
    /// An exemption is for a pin that the policy does not have.
    #[error("the exemption in slot {slot} is for the pin \"{pin}\", which the policy does not have")]
    UnknownPin {
        /// The exemption's slot.
        slot: u16,
        /// The name that no pin has.
        pin: String,
    },
    /// Two exemptions claim one slot, or a slot is past the table's end.
    #[error("exemption slot {slot} is taken twice or is past the last slot, {max}")]
    Slot {
        /// The slot.
        slot: u16,
        /// The last slot.
        max: u16,
    },
}
