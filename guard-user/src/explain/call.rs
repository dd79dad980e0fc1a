//! What becomes of the call by which a process would send a packet.

use guard_common::abi::{Hook, MAX_CGROUP_LEVELS, NO_USER, port_key};
use guard_common::decide::{self, Call};
use guard_common::packet::{Layer, Packet, Parsed};
use guard_common::verdict::Verdict;

use super::bit_set::in_set;
use super::explainer::Explainer;
use super::surroundings::Surroundings;

impl Explainer {
    /// What becomes of the call of a process of this host that would send the packet, in a sentence; `None` where there is
    /// no such call, it has been made, or none is ever refused.
    pub(super) fn call(
        &self,
        packet: &Packet,
        from: &Surroundings,
        judged: (Hook, Parsed, Verdict),
    ) -> Option<String> {
        let (hook, parsed, verdict) = judged;
        let [layer] = packet.layers() else { return None };
        let is_sent = (hook, parsed) == (Hook::Egress, Parsed::Ip) && !from.is_forwarded;
        // The call of one that was sent was not refused.
        if from.is_live || !self.policy.refuses_calls() || !is_sent || verdict != Verdict::Drop {
            return None;
        }
        let refusing = self.refusing(layer, from);
        let Some(pin) = in_set(&self.policy.pins, refusing).next() else {
            return Some(
                "the call is left to its packets: another of them might pass, or is of no pin".to_owned(),
            );
        };
        let name = &pin.name;
        Some(format!(
            "a call that names {} fails with EPERM, and no packet is made: the pin \"{name}\" would drop every one of it. \
             `borderguard status` says whether calls are refused now",
            layer.dst
        ))
    }

    /// The pins for which the kernel refuses the call.
    fn refusing(&self, layer: &Layer, from: &Surroundings) -> u64 {
        let tables = self.tables();
        if !decide::CALL_PROTOCOLS.contains(&layer.proto) || tables.addresses.contains(&layer.dst) {
            return 0;
        }
        let mut cgroups = [0; MAX_CGROUP_LEVELS];
        let origin = self.origin(from, 0);
        cgroups.iter_mut().zip(&origin.cgroups).for_each(|(level, id)| *level = *id);
        let user = origin.users.first().copied().unwrap_or(NO_USER);
        let policy = &tables.policy;
        let call = Call {
            destination: layer.dst,
            port_key: port_key(layer.proto, layer.dport),
            by_caller: decide::caller_pins(policy, &cgroups, user),
        };
        decide::refusing(policy, &call, |address| decide::place(tables, policy, address))
    }
}
