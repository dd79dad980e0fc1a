//! What the tracing program is asked for, and the records that it logs of a packet.
//!
//! A record is a line of five numbers, separated by spaces: its head ([`head`]) and four words. What the words are is
//! said at each kind. The records of one packet are the [`PACKET`] record, those of its layers and hops, those of its
//! steps, and the [`OUTCOME`] record, which is the last one.

use crate::packet::Addr;

/// Addresses that begin with the bits of `address` under `mask`; all where the mask is 0. IPv4 addresses are taken as
/// the parser writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceNetwork {
    /// The network's address.
    pub address: Addr,
    /// The bits that count.
    pub mask: Addr,
}

impl TraceNetwork {
    /// Whether the address is in the network.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, address: Addr) -> bool {
        let hi = (self.address.hi ^ address.hi) & self.mask.hi;
        let lo = (self.address.lo ^ address.lo) & self.mask.lo;
        hi | lo == 0
    }
}

/// Which packets are logged, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceTarget {
    /// Where one of a packet's layers comes from.
    pub from: TraceNetwork,
    /// Where the same layer goes.
    pub to: TraceNetwork,
    /// Pins of which one tags the packet, a bit each; 0 for every packet.
    pub pins: u64,
    /// Until when packets are logged: `CLOCK_BOOTTIME` in nanoseconds. The daemon moves it on while somebody listens.
    pub deadline_ns: u64,
    /// How many packets are logged.
    pub packets: u64,
}

/// The most steps of one packet that are kept. Those beyond are counted.
pub const MAX_TRACE_STEPS: usize = 64;

/// One step of a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TraceStep {
    /// The kind of step, below it the layer or the rule from bit 8 on, and what the kind says from bit 32 on.
    pub what: u64,
    /// As the kind says.
    pub words: [u64; 3],
}

/// The steps of the packet that is being judged.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TraceSteps {
    /// How many there were, those that found no room too.
    pub count: u64,
    /// The first of them.
    pub steps: [TraceStep; MAX_TRACE_STEPS],
}

/// The kinds of steps.
pub mod step {
    /// [`Trace::tagged`](crate::trace::Trace::tagged): the layer; the pins.
    pub const TAGGED: u64 = 1;
    /// [`Trace::failsafe`](crate::trace::Trace::failsafe): the layer; the rules.
    pub const FAILSAFE: u64 = 2;
    /// [`Trace::budget`](crate::trace::Trace::budget): the rule; 1 where enough is left, else 0.
    pub const BUDGET: u64 = 3;
    /// [`Trace::placed`](crate::trace::Trace::placed): the layer, and from bit 32 on the place; the destination's halves,
    /// the pins that forbid it.
    pub const PLACED: u64 = 4;
    /// [`Trace::quoted`](crate::trace::Trace::quoted).
    pub const QUOTED: u64 = 5;
    /// [`Trace::exemption`](crate::trace::Trace::exemption): the slot; 0 where it covers the packet, else the number of the
    /// reason.
    pub const EXEMPTION: u64 = 6;
}

/// The first record: the generation; the hook, from bit 8 on what the parser answered
/// ([`Parsed::code`](crate::packet::Parsed::code)), from bit 16 on how many layers there are, from bit 24 on how many hops, and from
/// bit 32 on how many steps there were, and from bit 56 on who opened the connection
/// ([`Direction`](crate::abi::Direction)); the interface, and from bit 32 on the one by which the packet came in; the mark, and
/// from bit 32 on the bytes on the wire.
pub const PACKET: u64 = 1;
/// A layer's source, by its number, or that of an ICMP error whose quoted packet was judged too, by [`ERROR_LAYER`]: the address's halves; the ports, the source's lower; protocol, TCP flags
/// and flags, a byte each.
pub const SOURCE: u64 = 2;
/// A layer's destination, by its number: the address's halves.
pub const DESTINATION: u64 = 3;
/// A hop still to come, by its number: the address's halves.
pub const HOP: u64 = 4;
/// A step, by its number: [`TraceStep`].
pub const STEP: u64 = 5;
/// The last record: the pins that tag the packet; those that forbid it; those of an unplaced cgroup; the place, the exemption,
/// and a byte each for verdict, reason and number of the destination.
pub const OUTCOME: u64 = 6;

/// In the place of a layer's number: the outermost layer of an ICMP error. Layer 0 is then what it quotes, where that was
/// judged in its place.
pub const ERROR_LAYER: u64 = 255;

/// The head of a record: the packet's number in the trace from bit 16 on, the record's kind from bit 8 on, its number.
#[inline(always)]
#[must_use]
pub const fn head(packet: u64, kind: u64, number: u64) -> u64 {
    packet << 16 | kind << 8 | number
}

const _: () = {
    assert!(size_of::<TraceTarget>() == 88);
    assert!(size_of::<TraceSteps>() == 8 + 32 * MAX_TRACE_STEPS);
    assert!(MAX_TRACE_STEPS.is_power_of_two() && MAX_TRACE_STEPS <= 256);
};
