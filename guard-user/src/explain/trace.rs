//! A decision as it came about.

use guard_common::abi::Place;
use guard_common::decide::Trace;
use guard_common::packet::Addr;
use guard_common::verdict::Reason;

/// What the decision said at its steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    Tagged {
        layer: u32,
        pins: u64,
    },
    Failsafe {
        layer: u32,
        rules: u64,
    },
    Budget {
        rule: u32,
        is_left: bool,
    },
    Placed {
        layer: u32,
        destination: Addr,
        place: Place,
        denied: u64,
    },
    Exemption {
        slot: u16,
        outcome: Result<(), Reason>,
    },
    /// What follows is said of the packet that an ICMP error quotes.
    Quoted,
}

/// Keeps what the decision said, in order.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Vec<Heard>);

impl Recorder {
    /// What was said of the packet, and what of the one that it quotes.
    pub(super) fn parts(&self) -> (&[Heard], &[Heard]) {
        let at = self.0.iter().position(|heard| matches!(heard, Heard::Quoted));
        self.0.split_at(at.unwrap_or(self.0.len()))
    }
}

impl Trace for Recorder {
    fn tagged(&mut self, layer: u32, pins: u64) {
        self.0.push(Heard::Tagged { layer, pins });
    }
    fn failsafe(&mut self, layer: u32, rules: u64) {
        self.0.push(Heard::Failsafe { layer, rules });
    }
    fn budget(&mut self, rule: u32, is_left: bool) {
        self.0.push(Heard::Budget { rule, is_left });
    }
    fn placed(&mut self, layer: u32, destination: Addr, place: Place, denied: u64) {
        self.0.push(Heard::Placed { layer, destination, place, denied });
    }
    fn quoted(&mut self) {
        self.0.push(Heard::Quoted);
    }
    fn exemption(&mut self, slot: u16, outcome: Result<(), Reason>) {
        self.0.push(Heard::Exemption { slot, outcome });
    }
}
