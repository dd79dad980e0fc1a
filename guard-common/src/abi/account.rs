//! What the kernel program accounts: counts, flow records, events, and what it could not keep.

use super::{MAX_CGROUP_LEVELS, MAX_PINS, Process};
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

/// A hook that judges: packets, or calls of processes of which packets would come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Hook {
    /// TC egress: what leaves.
    Egress = 0,
    /// XDP ingress: what comes in and asks for an answer.
    Ingress = 1,
    /// A process connects a socket: [`decide::refusing`](crate::decide::refusing).
    Connect = 2,
    /// A process sends a datagram to an address: likewise.
    Sendmsg = 3,
}

impl Hook {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Egress, Self::Ingress, Self::Connect, Self::Sendmsg];
    /// How many hooks there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Those of packets, which are on interfaces; their numbers come first.
    pub const OF_PACKETS: [Self; 2] = [Self::Egress, Self::Ingress];
    /// How many of these there are.
    pub const PACKET_COUNT: usize = Self::OF_PACKETS.len();

    /// Whether it judges calls, of which there is no packet yet.
    #[must_use]
    pub const fn is_of_calls(self) -> bool {
        matches!(self, Self::Connect | Self::Sendmsg)
    }

    /// The name in logs and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
            Self::Connect => "connect",
            Self::Sendmsg => "sendmsg",
        }
    }

    /// The hook that events and counters hold as this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Egress),
            1 => Some(Self::Ingress),
            2 => Some(Self::Connect),
            3 => Some(Self::Sendmsg),
            _ => None,
        }
    }
}

/// Scratches of each hook and CPU on a kernel where programs of one hook share a CPU: how many tasks may be in the
/// middle of a program on it at once.
pub const SHARED_SCRATCHES: u32 = 32;

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

/// What the element of the totals at this index counts; the inverse of [`total_index`]. `None` where it counts nothing.
#[must_use]
pub fn total_at(index: u32) -> Option<(Hook, Verdict, Reason)> {
    let slots = Reason::SLOTS as u32;
    let verdicts = Verdict::COUNT as u32;
    let number = |it: u32| u8::try_from(it).ok();
    Some((
        Hook::from_index(number(index / slots / verdicts)?)?,
        Verdict::from_index(number(index / slots % verdicts)?)?,
        Reason::from_index(number(index % slots)?)?,
    ))
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
    /// Hook from bit 4 on, [`Verdict`] in the bits below.
    pub hook_verdict: u8,
    /// The [`Reason`].
    pub reason: u8,
}

/// A flow under one judgement: in an event of the innermost layer that decided.
///
/// What was decided is part of the key. So a flow whose packets are judged by turns in two ways, as when two devices
/// or two exemptions have a hand in it, has a record for each, and no packet is ever counted on another's verdict.
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
    /// The [`Verdict`].
    pub verdict: u8,
    /// The [`Reason`].
    pub reason: u8,
    /// The [`Place`](super::Place) of the destination that decided.
    pub place: u16,
    /// Slot of the exemption that covers it, else [`NO_EXEMPTION`](super::NO_EXEMPTION).
    pub exemption: u16,
    /// The pins that tag it and those that forbid it, by [`fold_pins`]. The numbers of pins and exemptions stand for others after a
    /// reload, so what they stand for is in it too: the identities of the pins and of the exemption are added by exclusive or.
    /// A flow that goes on under other names has another record.
    pub pins: u32,
}

/// The pins that tag a flow and those that forbid it, folded to a word for its key: two judgements of one flow that
/// differ in nothing but their pins have different words, but for one case in 2^32.
#[inline(always)]
#[must_use]
pub const fn fold_pins(tag: u64, denied: u64) -> u32 {
    // Kept apart as far as there is room, for those that forbid are among those that tag. A multiplication carries bits
    // upwards alone, so the upper ones are brought down first. The constant is the golden ratio's fraction.
    let both = tag ^ denied.rotate_left(37);
    ((both ^ both >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// What is known of a flow under one judgement. With another one it has another record, see [`FlowKey`].
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
    /// Cgroup of the socket that sent the first packet; 0 where there is none.
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
    /// Who used or made the socket, when the last event was sent.
    pub process: Process,
    /// Volumes whose data the socket may carry, a bit each, when the last event was sent.
    pub volumes: u64,
    /// The kernel's number of the socket that sent the packet of the last event (`SO_COOKIE`); 0 where there is none, and
    /// where the pins are only those of a cgroup that is not known yet.
    pub cookie: u64,
}

/// One event of the ring buffer: a flow's first packet under a judgement, or its counts a second later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The flow.
    pub key: FlowKey,
    /// The flow's record at this moment; its counts run from the record's begin.
    pub record: FlowRecord,
    /// Destination of the outermost layer: where the tunnel goes, when `record.layers` is above 1.
    pub outer_dst: Addr,
    /// Its source.
    pub outer_src: Addr,
}

/// A decision as plain numbers: what the accounting reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Outcome {
    /// Pins that tag the packet.
    pub tag: u64,
    /// Pins that forbid its destination.
    pub denied: u64,
    /// Pins that tag it only because its cgroup or its interface is not known yet, see [`CgroupParent`](super::CgroupParent) and
    /// [`interfaces_until`](super::PolicyTable::interfaces_until).
    pub unplaced: u64,
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
    /// Ids of cgroups from level 1 on, 0 where there is none: of the sending socket, then of each party that used it.
    /// Of the socket filled only at the levels of [`read_levels`](super::PolicyTable::read_levels).
    pub cgroups: [u64; MAX_CGROUP_LEVELS],
    /// Pins that these cgroups let match, [`decide::cgroup_pins`](crate::decide::cgroup_pins). Filled where a selector
    /// asks for cgroups.
    pub cgroup_pins: u64,
    /// Pins that select a cgroup which may be one of these, [`decide::unplaced_pins`](crate::decide::unplaced_pins).
    /// Filled likewise.
    pub unplaced: u64,
    /// Pins that the users of the socket let match, [`decide::user_pins`](crate::decide::user_pins): its owner, its maker
    /// and each party's. Filled where a selector asks for users.
    pub user_pins: u64,
    /// 1 where the socket may be anybody's, [`SocketFacts::everybody`](super::SocketFacts::everybody). Filled where a
    /// selector asks for cgroups or users.
    pub everybody: u64,
    /// Volumes whose data the sending socket may carry, a bit each. Filled where a selector asks for volumes, else 0.
    pub volumes: u64,
    /// Id of the sending socket's cgroup; 0 where there is none. Filled where a record of the packet is kept.
    pub cgroup: u64,
    /// The kernel's number of the sending socket (`SO_COOKIE`); 0 where there is none. Filled likewise.
    pub cookie: u64,
    /// Who used or made the sending socket. Filled where an event or a record without a pin may come of the packet.
    pub process: Process,
    /// Interface that it leaves (egress) or came in by (ingress).
    pub ifindex: u32,
    /// Interface that a forwarded packet came in by; 0 for one of this host.
    pub ingress_ifindex: u32,
    /// Firewall mark.
    pub mark: u32,
    /// Bytes of the frame.
    pub frame_len: u32,
    /// Who opened the connection, the number of a [`Direction`](super::Direction). Filled where a selector asks for it,
    /// else 0.
    pub direction: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
}

/// Events of one pin and reason that a CPU may send in a second, on average.
///
/// A host with the usual trouble sends some events a minute; a storm of new forbidden flows comes at 100,000 a second
/// and more. A thousand a second is past anything that a person reads, some 5 ms of the daemon's time, and a small
/// part of what the ring buffer holds.
pub const EVENT_RATE: u64 = 1_000;

/// Events of one pin and reason that a CPU may send at once after a quiet time: a reload or a restarted client
/// brings some hundred flows at once. A dozen such bursts fit into the ring buffer.
pub const EVENT_BURST: u64 = 2_000;

/// Elements of the limits of events: by hook, lowest forbidding pin, and reason.
pub const EVENT_LIMITS: usize = Hook::COUNT * MAX_PINS * Reason::SLOTS;

/// The element of the limits for an event of this hook, for these forbidding pins and this reason.
#[inline(always)]
#[must_use]
pub const fn event_limit_index(hook: Hook, denied: u64, reason: u8) -> u32 {
    let pin = denied.trailing_zeros() & (MAX_PINS as u32 - 1);
    let reason = reason as u32 & (Reason::SLOTS as u32 - 1);
    (hook as u32 * MAX_PINS as u32 + pin) * Reason::SLOTS as u32 + reason
}

/// One limit's next state where an event may be sent at `now`, else `None`. The state is the time up to which the
/// budget is spent (the generic cell rate algorithm: ITU-T I.371, annex A), nanoseconds of `CLOCK_BOOTTIME`; 0 at
/// first.
#[inline(always)]
#[must_use]
pub const fn spend_event(spent_until: u64, now: u64) -> Option<u64> {
    spend(spent_until, now, [EVENT_RATE, EVENT_BURST])
}

/// [`spend_event`] of a limit of so many a second, and so many at once.
#[inline(always)]
#[must_use]
pub const fn spend(spent_until: u64, now: u64, [rate, burst]: [u64; 2]) -> Option<u64> {
    let interval_ns = 1_000_000_000 / rate;
    let begin = if spent_until > now { spent_until } else { now };
    if begin - now > (burst - 1) * interval_ns { None } else { Some(begin + interval_ns) }
}

/// What the entry of an exemption in one slot has let through, kept over generations and daemon restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExemptionUse {
    /// Bytes on the wire of the packets that passed by this entry.
    pub bytes: u64,
    /// Packets that passed by this entry.
    pub packets: u64,
    /// Bytes that are charged to the quota by all entries whose account this is: those that passed, and for a moment those
    /// of packets that are being judged. A charge past the quota is taken back, so this may be more than the quota for that moment.
    pub charged: u64,
}

impl ExemptionUse {
    /// The greater of each number of both.
    #[must_use]
    pub fn at_least(&self, other: &Self) -> Self {
        Self {
            bytes: self.bytes.max(other.bytes),
            packets: self.packets.max(other.packets),
            charged: self.charged.max(other.charged),
        }
    }
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
    /// Events that were held back because too many of their pin and reason came at once, see [`EVENT_RATE`].
    Limited = 3,
    /// Writes of carriers to files off their volumes that had no event, see [`COPY_EVENT_RATE`](super::COPY_EVENT_RATE).
    Copies = 4,
}

impl Loss {
    /// How many kinds there are.
    pub const COUNT: usize = 5;
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Events, Self::Flows, Self::Outcomes, Self::Limited, Self::Copies];

    /// The name in status, metrics and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Flows => "flows",
            Self::Outcomes => "outcomes",
            Self::Limited => "limited",
            Self::Copies => "copies",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    /// Events that pass of those that come at these moments.
    fn passed(moments: impl Iterator<Item = u64>) -> u64 {
        let mut state = 0;
        let mut passed = 0;
        for now in moments {
            if let Some(next) = spend_event(state, now) {
                state = next;
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let begin = 77_000 * MILLI;
        assert_eq!(passed((0..EVENT_BURST).map(|_| begin)), EVENT_BURST);
        assert_eq!(passed((0..10 * EVENT_BURST).map(|_| begin)), EVENT_BURST);
        // 400,000 a second for ten seconds.
        let flood = (0..4_000_000).map(|number| begin + number * 2_500);
        let sent = passed(flood);
        assert!((EVENT_BURST + 9_990..=EVENT_BURST + 10_010).contains(&sent), "{sent}");
        // As many as the rate for an hour.
        assert_eq!(passed((0..3_600_000).map(|number| begin + number * MILLI)), 3_600_000);
        // A clock that stands still at its begin.
        assert_eq!(passed((0..2 * EVENT_BURST).map(|_| 0)), EVENT_BURST);
    }

    #[test]
    fn every_pin_reason_and_hook_has_its_limit() {
        let mut seen = std::collections::BTreeSet::new();
        for hook in Hook::ALL {
            for pin in 0..MAX_PINS {
                for reason in Reason::ALL {
                    assert!(seen.insert(event_limit_index(hook, !0 << pin, *reason as u8)));
                }
            }
        }
        assert!(seen.iter().all(|index| (*index as usize) < EVENT_LIMITS));
    }

    #[test]
    fn pins_of_a_flow_are_told_apart_in_its_key() {
        let mut seen = std::collections::BTreeSet::new();
        for tag in 0..256_u64 {
            for denied in (0..256_u64).filter(|denied| denied & !tag == 0) {
                for shift in [0, 8, 31, 56] {
                    if (tag, shift) != (0, 0) && tag == 0 {
                        continue;
                    }
                    assert!(
                        seen.insert(fold_pins(tag << shift, denied << shift)),
                        "{tag:x} {denied:x} {shift}"
                    );
                }
            }
        }
    }
}
