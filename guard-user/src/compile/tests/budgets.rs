//! What quotas are charged with, and budgets of failsafe rules, as the reference counts them.

use std::collections::BTreeSet;

use guard_common::abi::Hook;

use super::reference::{PlainPacket, World};

impl World<'_> {
    /// The bytes that quotas and budgets are charged with.
    pub(super) fn charged(&self, packet: &PlainPacket, tag: &BTreeSet<usize>) -> u64 {
        let is_above =
            self.host.interfaces.iter().any(|it| it.index == packet.interface && it.is_counted_below);
        let may_differ_below = tag.iter().any(|&pin| {
            let select = &self.policy.pins[pin].select;
            !select.interfaces.is_empty() || !select.marks.is_empty()
        });
        match packet.hook == Hook::Egress && is_above && !may_differ_below {
            true => 0,
            false => packet.wire_len,
        }
    }

    /// Whether one of these failsafe rules lets the packet pass.
    pub(super) fn lets_pass(&mut self, covering: &[usize], packet: &PlainPacket) -> bool {
        let budget_of = |rule: &usize| self.policy.failsafe[*rule].bytes_per_minute;
        if covering.iter().any(|rule| budget_of(rule).is_none()) {
            return true;
        }
        let minute = packet.now * PlainPacket::TICK_NS / 60_000_000_000;
        let bytes = if packet.hook == Hook::Egress { packet.wire_len } else { 0 };
        for rule in covering {
            let spent = self.spent.entry(*rule).or_default();
            if spent.0 < minute {
                *spent = (minute, 0);
            }
            if spent.1 + bytes <= self.policy.failsafe[*rule].bytes_per_minute.unwrap() {
                spent.1 += bytes;
                return true;
            }
        }
        false
    }
}
