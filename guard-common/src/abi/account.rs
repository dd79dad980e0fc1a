//! What the kernel program accounts: counts, flow records, events, and what it could not keep.

use super::MAX_CGROUP_LEVELS;
use super::MAX_PINS;
use crate::jurisdiction;
use crate::packet::Addr;
use crate::verdict::{Reason, Verdict};

/// Packets and their bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Count {
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire, every GSO segment with its headers.
    pub bytes: u64,
}

/// A hook that judges packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Hook {
    /// TC egress: what leaves.
    Egress = 0,
    /// XDP ingress: what comes in and asks for an answer.
    Ingress = 1,
}

impl Hook {
    /// How many hooks there are.
    pub const COUNT: usize = 2;

    /// The name in logs and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }

    /// The hook that events and counters hold as this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Egress),
            1 => Some(Self::Ingress),
            _ => None,
        }
    }
}

/// Elements of the totals: by hook, verdict and reason.
pub const TOTALS: usize = Hook::COUNT * Verdict::COUNT * Reason::SLOTS;

/// The element of the totals for this outcome, a [`Verdict`] and a [`Reason`] as numbers.
#[inline(always)]
#[must_use]
pub const fn total_index(hook: Hook, verdict: u8, reason: u8) -> u32 {
    let verdict = verdict as u32 & (Verdict::COUNT as u32 - 1);
    let reason = reason as u32 & (Reason::SLOTS as u32 - 1);
    ((hook as u32 * Verdict::COUNT as u32) + verdict) * Reason::SLOTS as u32 + reason
}

/// Elements of the counters of permitted egress: by pin and jurisdiction.
pub const PERMITTED_COUNTS: usize = MAX_PINS * jurisdiction::COUNT;

/// The element of the counters of permitted egress.
#[inline(always)]
#[must_use]
pub const fn permitted_index(pin: u32, jurisdiction: u8) -> u32 {
    (pin & (MAX_PINS as u32 - 1)) * jurisdiction::COUNT as u32 + jurisdiction as u32
}

/// The key of the counters of every other outcome of a pinned packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct OutcomeKey {
    /// The pin's number.
    pub pin: u8,
    /// The jurisdiction's number.
    pub jurisdiction: u8,
    /// Hook in bit 4, [`Verdict`] in the low bits.
    pub hook_verdict: u8,
    /// The [`Reason`].
    pub reason: u8,
}

/// A flow, as it was judged: in an event of the innermost layer that decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port, host order; 0 where there is none.
    pub sport: u16,
    /// Destination port, host order; 0 where there is none.
    pub dport: u16,
    /// IP protocol number.
    pub proto: u8,
    /// The [`Hook`].
    pub hook: u8,
    /// Padding, zero.
    pub pad: [u8; 2],
}

/// What is known of a flow under one verdict, reason and exemption: with another one it begins anew, after
/// an event with what was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowRecord {
    /// First packet, nanoseconds of `CLOCK_BOOTTIME`.
    pub first_ns: u64,
    /// Last packet, nanoseconds of `CLOCK_BOOTTIME`.
    pub last_ns: u64,
    /// Last event sent, nanoseconds of `CLOCK_BOOTTIME`.
    pub event_ns: u64,
    /// Packets since the record began.
    pub packets: u64,
    /// Bytes on the wire since the record began.
    pub bytes: u64,
    /// Pins that tag the flow.
    pub tag: u64,
    /// Pins that forbid its destination.
    pub denied: u64,
    /// Generation that judged the last packet.
    pub generation: u64,
    /// Interface that the packet leaves or came in by.
    pub ifindex: u32,
    /// Firewall mark of the last packet.
    pub mark: u32,
    /// Cgroup of the sending socket at the last event; 0 where there is none.
    pub cgroup: u64,
    /// The [`Place`] of the destination that decided.
    pub place: u16,
    /// Slot of the exemption that covered it, else [`NO_EXEMPTION`].
    pub exemption: u16,
    /// The [`Verdict`].
    pub verdict: u8,
    /// The [`Reason`].
    pub reason: u8,
    /// TCP flags seen, ORed.
    pub tcp_flags: u8,
    /// IP layers of the packet; above 1 it was in a tunnel.
    pub layers: u8,
}

/// One event of the ring buffer: a flow's first packet under a verdict, its counts a second later, or its
/// last counts under a verdict that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The flow.
    pub key: FlowKey,
    /// The flow's record at this moment; its counts run from the record's begin.
    pub record: FlowRecord,
    /// Destination of the outermost layer: where the tunnel goes, when `record.layers` is above 1.
    pub outer_dst: Addr,
}

/// A decision as plain numbers: what the accounting reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Outcome {
    /// Pins that tag the packet.
    pub tag: u64,
    /// Pins that forbid its destination.
    pub denied: u64,
    /// The [`Place`] of the destination that decided.
    pub place: u16,
    /// Slot of the exemption that covers the packet, else [`NO_EXEMPTION`].
    pub exemption: u16,
    /// The [`Verdict`].
    pub verdict: u8,
    /// The [`Reason`].
    pub reason: u8,
    /// Number of the destination that decided: those of the layers come first, then the hops.
    pub destination: u8,
    /// 1 where an exemption can cover the packet, else 0.
    pub exemptable: u8,
}

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Provenance {
    /// Bytes on the wire: of a GSO packet, all its segments with their headers.
    pub wire_len: u64,
    /// Ids of the sending socket's cgroups from level 1 on; 0 where there is none. Filled only where a
    /// selector asks.
    pub cgroups: [u64; MAX_CGROUP_LEVELS],
    /// Interface that it leaves (egress) or came in by (ingress).
    pub ifindex: u32,
    /// Interface that a forwarded packet came in by; 0 for one of this host.
    pub ingress_ifindex: u32,
    /// Firewall mark.
    pub mark: u32,
    /// Bytes of the frame.
    pub frame_len: u32,
}

/// What an exemption has let through, kept over generations and daemon restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExemptionUse {
    /// Bytes on the wire of the packets that passed.
    pub bytes: u64,
    /// Packets that passed.
    pub packets: u64,
    /// Bytes that are charged to the quota: those that passed, and for a moment those of packets that are being
    /// judged. A charge past the quota is taken back, so this may be more than the quota for that moment.
    pub charged: u64,
}

/// What the kernel program could not keep; counted by kind, never silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Loss {
    /// Events that found the ring buffer full.
    Events = 0,
    /// Flow records that found no room.
    Flows = 1,
    /// Counts by pin that found no room; the totals have them.
    Outcomes = 2,
}

impl Loss {
    /// How many kinds there are.
    pub const COUNT: usize = 3;
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Events, Self::Flows, Self::Outcomes];

    /// The name in status, metrics and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Flows => "flows",
            Self::Outcomes => "outcomes",
        }
    }
}
