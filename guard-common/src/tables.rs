//! What the decision reads: the tables of the live generation and where the packet comes from.
//!
//! The traits have two real implementations: BPF maps and the socket buffer in the kernel program,
//! boxed tables and plain values on the host.

use crate::abi::{Hook, Place, PolicyTable, Provenance};
use crate::interval::GeoTables;
use crate::packet::{Addr, Packet};
use crate::trace::Trace;

/// The pins that what is known beside the bytes lets match.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByOrigin {
    /// The pins.
    pub pins: u64,
    /// Those of them that match only because the cgroup or the interface is not known yet.
    pub unplaced: u64,
}

impl ByOrigin {
    /// All that this hook looks at.
    #[inline(always)]
    #[must_use]
    pub fn any(hook: Hook, policy: &PolicyTable) -> Self {
        let pins = match hook {
            Hook::Ingress => policy.ingress_drop | policy.ingress_flag,
            Hook::Egress | Hook::Connect | Hook::Sendmsg => policy.pins,
        };
        Self { pins, unplaced: u64::from(policy.zero) }
    }
}

/// Who gets a packet, as exemptions name recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Recipient {
    /// The address.
    pub address: Addr,
    /// The [`port_key`](crate::abi::port_key) of its port.
    pub port_key: u32,
    /// Number of its jurisdiction.
    pub jurisdiction: u32,
}

/// What passes from the host to a recipient.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub now: u64,
    /// Bytes of the packet on the wire.
    pub bytes: u64,
}

/// The accounts of the exemptions, each by its slot. They belong to no generation.
pub trait Accounts {
    /// Charges an account, which all recipients of an exemption share, with these bytes on the wire unless that would take
    /// it past `quota`. True where the bytes were charged. Exact under concurrency: what all true answers charged
    /// never exceeds the quota.
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool;

    /// Takes a charge back, from the account of the exemption in this slot, whose packet does not go after all.
    fn refund(&self, slot: u16, bytes: u64);

    /// Books a charge whose packet goes on the slot of its recipient. What is booked is never taken back, so that
    /// whoever reads it meanwhile reads what has passed and no more.
    fn book(&self, slot: u16, bytes: u64);

    /// Charges the element of a failsafe rule with these bytes on the wire unless that would take it past what it may let pass in a
    /// minute, which is one of `CLOCK_BOOTTIME`. True where the bytes were charged, over all processors together.
    fn spend_failsafe(&self, element: u32, bytes: u64, budget: u64) -> bool;
}

/// What failsafe rules say to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FailsafeAnswer {
    /// None covers it.
    None = 0,
    /// One lets it pass.
    Passes = 1,
    /// Those that cover it have used up their budgets.
    Exhausted = 2,
}

impl FailsafeAnswer {
    /// The answer of this number; of one that none has, that nothing covers the packet.
    #[inline(always)]
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Passes,
            2 => Self::Exhausted,
            _ => Self::None,
        }
    }
}

/// The tables of one generation.
///
/// Steps of the decision are here where the kernel program does more than to take them: it puts them into functions
/// that the verifier judges once, for all that calls them, and remembers what was asked last. On the host they are the
/// functions of [`decide`](crate::decide) that they are named by.
pub trait Tables: GeoTables + Accounts {
    /// The policy table.
    fn policy(&self) -> Option<&PolicyTable>;

    /// `decide::place`. The kernel program remembers the last answer of this generation: a transfer is many packets to
    /// one destination.
    fn place(&self, policy: &PolicyTable, address: Addr) -> Option<Place>;

    /// `decide::by_origin`.
    fn by_origin<O: Origin>(&self, hook: Hook, policy: &PolicyTable, origin: &O) -> ByOrigin;

    /// `decide::failsafe`.
    fn failsafe<R: Trace>(
        &self,
        policy: &PolicyTable,
        packet: &Packet,
        bytes: u64,
        trace: &mut R,
    ) -> FailsafeAnswer;

    /// `decide::source_pins`. The kernel program remembers the last answer: what a storage host sends comes from few
    /// addresses.
    fn source_pins(&self, policy: &PolicyTable, address: Addr) -> u64;

    /// Whether this is an address of the host. What is known of that belongs to no generation.
    fn is_of_host(&self, address: Addr) -> bool;

    /// `decide::remote_pins`.
    fn remote_pins(&self, policy: &PolicyTable, port_key: u32) -> u64;

    /// `decide::find_exemption` among the `decide::candidates` for this recipient. The kernel program remembers those
    /// of the last recipient.
    fn find_exemption<R: Trace>(
        &self,
        hook: Hook,
        policy: &PolicyTable,
        recipient: &Recipient,
        transfer: &Transfer,
        open: u64,
        trace: &mut R,
    ) -> u32;
}

/// What is known of a packet beside its bytes.
pub trait Origin {
    /// Interface that it leaves (egress) or came in by (ingress).
    fn ifindex(&self) -> u32;
    /// Interface that a forwarded packet came in by; 0 for one of this host.
    fn ingress_ifindex(&self) -> u32;
    /// Firewall mark.
    fn mark(&self) -> u32;
    /// Bytes on the wire: of a GSO packet, all its segments with their headers.
    fn wire_len(&self) -> u64;
    /// `decide::cgroup_pins`: the pins that the cgroup of the sending socket lets match, and those of the processes that
    /// used it. The kernel program has found them before.
    fn cgroup_pins(&self, policy: &PolicyTable) -> u64;
    /// `decide::unplaced_pins`: the pins that select a cgroup which may be one of these, made anew since the daemon
    /// looked. The kernel program has found them before.
    fn unplaced_pins(&self, policy: &PolicyTable) -> u64;
    /// `decide::user_pins`: the pins that the users of the sending socket let match. The kernel program has found them
    /// before.
    fn user_pins(&self, policy: &PolicyTable) -> u64;
    /// Whether the sending socket may be anybody's: 1, else 0.
    fn everybody(&self) -> u64;
    /// Slots of the volumes whose data the sending socket may carry, a bit each.
    fn volumes(&self) -> u64;
    /// Who opened the connection, the number of a [`Direction`](crate::abi::Direction).
    fn direction(&self) -> u32;
}

impl Origin for Provenance {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ifindex
    }
    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        self.ingress_ifindex
    }
    #[inline(always)]
    fn mark(&self) -> u32 {
        self.mark
    }
    #[inline(always)]
    fn wire_len(&self) -> u64 {
        self.wire_len
    }
    #[inline(always)]
    fn cgroup_pins(&self, _policy: &PolicyTable) -> u64 {
        self.cgroup_pins
    }
    #[inline(always)]
    fn unplaced_pins(&self, _policy: &PolicyTable) -> u64 {
        self.unplaced
    }
    #[inline(always)]
    fn user_pins(&self, _policy: &PolicyTable) -> u64 {
        self.user_pins
    }
    #[inline(always)]
    fn everybody(&self) -> u64 {
        self.everybody
    }
    #[inline(always)]
    fn volumes(&self) -> u64 {
        self.volumes
    }
    #[inline(always)]
    fn direction(&self) -> u32 {
        self.direction
    }
}
