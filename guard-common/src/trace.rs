//! Who listens to a decision.

use crate::abi::Place;
use crate::packet::Addr;
use crate::verdict::Reason;

/// Listens to each step of a decision: `explain` tells them in words, the kernel listens to nothing.
pub trait Trace {
    /// The pins that this layer's addresses, ports and the packet's origin let match.
    #[inline(always)]
    fn tagged(&mut self, _layer: u32, _pins: u64) {}
    /// The failsafe rules that cover this layer and those around it.
    #[inline(always)]
    fn failsafe(&mut self, _layer: u32, _rules: u64) {}
    /// A failsafe rule with a budget covers the packet: whether enough of it is left.
    #[inline(always)]
    fn budget(&mut self, _rule: u32, _is_left: bool) {}
    /// Where a destination is, and which of the packet's pins forbid it.
    #[inline(always)]
    fn placed(&mut self, _layer: u32, _destination: Addr, _place: Place, _denied: u64) {}
    /// The packet is an ICMP error, and from here on the packet that it quotes is judged.
    #[inline(always)]
    fn quoted(&mut self) {}
    /// An exemption was looked at: whether it covers the packet, or the reason why not.
    #[inline(always)]
    fn exemption(&mut self, _slot: u16, _outcome: Result<(), Reason>) {}
}

/// Listens to nothing.
pub struct NoTrace;

impl Trace for NoTrace {}
