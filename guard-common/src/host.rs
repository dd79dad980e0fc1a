//! The tables in the host's memory: what `explain`, `simulate` and the tests decide over.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::abi::failsafe::{begun, bytes_of, minute_at, minute_of};
use crate::abi::{Direction, MAX_CGROUP_LEVELS, MAX_EXEMPTIONS, MAX_FAILSAFES, PolicyTable};
use crate::decide;
use crate::interval::build::GeoImage;
use crate::interval::{Detail, GeoTables, V4Entries, V4Nodes, V6Entries, V6Nodes};
use crate::packet::Addr;
use crate::tables::{Accounts, Origin, Tables};

/// The steps of the decision that [`Tables`] has as the functions of [`decide`](crate::decide) that they are named by:
/// for tables that have nothing to add to them.
#[macro_export]
macro_rules! steps_as_decided {
    () => {
        fn place(
            &self,
            policy: &$crate::abi::PolicyTable,
            address: $crate::packet::Addr,
        ) -> Option<$crate::abi::Place> {
            $crate::decide::place(self, policy, address)
        }

        fn by_origin<O: $crate::tables::Origin>(
            &self,
            hook: $crate::abi::Hook,
            policy: &$crate::abi::PolicyTable,
            origin: &O,
        ) -> $crate::tables::ByOrigin {
            $crate::decide::by_origin(hook, policy, origin)
        }

        fn failsafe<R: $crate::trace::Trace>(
            &self,
            policy: &$crate::abi::PolicyTable,
            packet: &$crate::packet::Packet,
            bytes: u64,
            trace: &mut R,
        ) -> $crate::tables::FailsafeAnswer {
            $crate::decide::failsafe(self, policy, packet, bytes, trace)
        }

        fn source_pins(&self, policy: &$crate::abi::PolicyTable, address: $crate::packet::Addr) -> u64 {
            $crate::decide::source_pins(policy, address)
        }

        fn remote_pins(&self, policy: &$crate::abi::PolicyTable, port_key: u32) -> u64 {
            $crate::decide::remote_pins(policy, port_key)
        }

        fn find_exemption<R: $crate::trace::Trace>(
            &self,
            hook: $crate::abi::Hook,
            policy: &$crate::abi::PolicyTable,
            recipient: &$crate::tables::Recipient,
            transfer: &$crate::tables::Transfer,
            open: u64,
            trace: &mut R,
        ) -> u32 {
            let candidates = $crate::decide::candidates(policy, recipient);
            let take = |slot| $crate::decide::take(hook, self, policy, slot, transfer);
            $crate::decide::find_exemption(policy, &candidates, open, take, trace)
        }
    };
}

/// One generation in the host's memory.
pub struct HostTables {
    /// The policy table.
    pub policy: Box<PolicyTable>,
    /// The geo tables.
    pub geo: GeoImage,
    /// Bytes that are charged to each exemption.
    pub charged: Box<[AtomicU64; MAX_EXEMPTIONS]>,
    /// Bytes that each exemption has let through.
    pub used: Box<[AtomicU64; MAX_EXEMPTIONS]>,
    /// Addresses of the host.
    pub addresses: BTreeSet<Addr>,
    /// What each failsafe rule with a budget has let pass, by its element, as [`FailsafeUse::spent`](crate::abi::FailsafeUse::spent).
    pub failsafe_spent: Box<[AtomicU64; MAX_FAILSAFES]>,
    /// When the packet is judged, nanoseconds of `CLOCK_BOOTTIME`: what those budgets go by.
    pub now_ns: AtomicU64,
}

impl HostTables {
    /// Tables of a generation whose exemptions are all unused, on a host without addresses.
    #[must_use]
    pub fn new(policy: Box<PolicyTable>, geo: GeoImage) -> Self {
        let zeroes = || Box::new([const { AtomicU64::new(0) }; MAX_EXEMPTIONS]);
        Self {
            policy,
            geo,
            charged: zeroes(),
            used: zeroes(),
            addresses: BTreeSet::new(),
            failsafe_spent: Box::new([const { AtomicU64::new(0) }; MAX_FAILSAFES]),
            now_ns: AtomicU64::new(0),
        }
    }
}

impl PolicyTable {
    /// A table of zeroes, which tags nothing.
    #[must_use]
    pub fn zeroed() -> Box<Self> {
        // SAFETY: PolicyTable is made of plain integers, for which all zeroes is a value, and the layout
        // given to the allocator is its own.
        unsafe { Box::<Self>::new_zeroed().assume_init() }
    }
}

impl GeoTables for HostTables {
    fn v4_nodes(&self) -> Option<&V4Nodes> {
        self.geo.v4_nodes()
    }
    fn v4_entries(&self) -> Option<&V4Entries> {
        self.geo.v4_entries()
    }
    fn v6_nodes(&self) -> Option<&V6Nodes> {
        self.geo.v6_nodes()
    }
    fn v6_entries(&self) -> Option<&V6Entries> {
        self.geo.v6_entries()
    }
    fn detail(&self) -> Option<&Detail> {
        self.geo.detail()
    }
}

impl Tables for HostTables {
    fn policy(&self) -> Option<&PolicyTable> {
        Some(&self.policy)
    }

    fn is_of_host(&self, address: Addr) -> bool {
        self.addresses.contains(&address)
    }

    crate::steps_as_decided!();
}

impl Accounts for HostTables {
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool {
        let Some(charged) = self.charged.get(usize::from(slot)) else { return false };
        let before = charged.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.checked_add(bytes).is_some_and(|after| after <= quota);
        if !fits {
            charged.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn refund(&self, slot: u16, bytes: u64) {
        let account = decide::account_of(&self.policy, u32::from(slot));
        if let Some(charged) = self.charged.get(usize::from(account)) {
            charged.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn book(&self, slot: u16, bytes: u64) {
        if let Some(used) = self.used.get(usize::from(slot)) {
            used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn spend_failsafe(&self, element: u32, bytes: u64, budget: u64) -> bool {
        let Some(kept) = self.failsafe_spent.get(element as usize) else { return false };
        let minute = minute_at(self.now_ns.load(Ordering::Relaxed));
        // As in the kernel, the minute begins whether or not enough is left in it.
        let begin = |spent: u64| (minute_of(spent) < minute).then_some(begun(minute));
        let _is_of_this_minute = kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin);
        let spend = |spent: u64| (bytes_of(spent) + bytes <= budget).then_some(spent + bytes);
        kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

/// Where a packet comes from, as plain values.
#[derive(Clone, Debug, Default)]
pub struct HostOrigin {
    /// Interface that it leaves or came in by.
    pub ifindex: u32,
    /// Interface that a forwarded packet came in by.
    pub ingress_ifindex: u32,
    /// Firewall mark.
    pub mark: u32,
    /// Bytes on the wire.
    pub wire_len: u64,
    /// Cgroup ids from level 1 on: of the sending socket.
    pub cgroups: Vec<u64>,
    /// Likewise of each process that used it.
    pub parties: Vec<Vec<u64>>,
    /// Users of the socket.
    pub users: Vec<u32>,
    /// Whether the socket may be anybody's.
    pub everybody: bool,
    /// Slots of the volumes whose data the socket may carry, a bit each.
    pub volumes: u64,
    /// Who opened the connection.
    pub direction: Direction,
}

impl HostOrigin {
    /// The cgroups of the socket and of whoever used it, as the kernel program has them.
    fn all_cgroups(&self) -> impl Iterator<Item = [u64; MAX_CGROUP_LEVELS]> {
        std::iter::once(&self.cgroups).chain(&self.parties).map(|ids| {
            let mut levels = [0; MAX_CGROUP_LEVELS];
            levels.iter_mut().zip(ids).for_each(|(level, id)| *level = *id);
            levels
        })
    }
}

impl Origin for HostOrigin {
    fn ifindex(&self) -> u32 {
        self.ifindex
    }
    fn ingress_ifindex(&self) -> u32 {
        self.ingress_ifindex
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn wire_len(&self) -> u64 {
        self.wire_len
    }
    fn cgroup_pins(&self, policy: &PolicyTable) -> u64 {
        self.all_cgroups().fold(0, |pins, cgroups| pins | decide::cgroup_pins(policy, &cgroups))
    }
    fn unplaced_pins(&self, policy: &PolicyTable) -> u64 {
        self.all_cgroups().fold(0, |pins, cgroups| pins | decide::unplaced_pins(policy, &cgroups))
    }
    fn user_pins(&self, policy: &PolicyTable) -> u64 {
        self.users.iter().fold(0, |pins, uid| pins | decide::user_pins(policy, *uid))
    }
    fn everybody(&self) -> u64 {
        u64::from(self.everybody)
    }
    fn volumes(&self) -> u64 {
        self.volumes
    }
    fn direction(&self) -> u32 {
        self.direction as u32
    }
}
