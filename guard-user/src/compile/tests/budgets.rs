//! Budgets of failsafe rules, as the reference counts them.

use guard_common::abi::Hook;

use super::reference::{PlainPacket, World};

impl World<'_> {
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
