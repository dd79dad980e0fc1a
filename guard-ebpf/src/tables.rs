//! The tables as the decision asks for them: each step is a subprogram, and the last answers are remembered.

use guard_common::abi::{Hook, MAX_EXEMPTIONS, Place, PolicyTable, dimension};
use guard_common::decide::{self, ByOrigin, FailsafeAnswer, Recipient, Trace, Transfer};
use guard_common::interval::{Detail, GeoTables, V4Entries, V4Nodes, V6Entries, V6Nodes};
use guard_common::packet::{Addr, Packet};
use guard_common::tables::{Accounts, Origin, Tables};

use crate::cache::LastLookup;
use crate::generation::Generation;
use crate::{scratch, subprograms};

/// The tables of the generation that was live when the packet came.
pub struct KernelTables {
    pub(crate) generation: Generation,
    /// Number of the scratch that remembers what was looked up.
    pub(crate) scratch: u32,
}

impl KernelTables {
    /// Those of this live word, with the scratch of this number.
    #[inline(always)]
    #[must_use]
    pub fn of(live: u32, scratch: u32) -> Self {
        Self { generation: Generation::of(live), scratch }
    }

    #[inline(always)]
    fn live(&self) -> u32 {
        self.generation.live.0
    }
}

impl GeoTables for KernelTables {
    #[inline(always)]
    fn v4_nodes(&self) -> Option<&V4Nodes> {
        self.generation.v4_nodes()
    }
    #[inline(always)]
    fn v4_entries(&self) -> Option<&V4Entries> {
        self.generation.v4_entries()
    }
    #[inline(always)]
    fn v6_nodes(&self) -> Option<&V6Nodes> {
        self.generation.v6_nodes()
    }
    #[inline(always)]
    fn v6_entries(&self) -> Option<&V6Entries> {
        self.generation.v6_entries()
    }
    #[inline(always)]
    fn detail(&self) -> Option<&Detail> {
        self.generation.detail()
    }
}

impl Accounts for KernelTables {
    #[inline(always)]
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool {
        self.generation.charge(slot, bytes, quota)
    }
    #[inline(always)]
    fn refund(&self, slot: u16, bytes: u64) {
        // In a function of its own: it is rare, and the verifier would follow it with every way here.
        subprograms::borderguard_refund(u32::from(slot), bytes, self.live());
    }
    #[inline(always)]
    fn book(&self, slot: u16, bytes: u64) {
        self.generation.book(slot, bytes);
    }
    #[inline(always)]
    fn spend_failsafe(&self, rule: u32, bytes: u64, budget: u64) -> bool {
        self.generation.spend_failsafe(rule, bytes, budget)
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn policy(&self) -> Option<&PolicyTable> {
        self.generation.policy()
    }

    #[inline(always)]
    fn place(&self, policy: &PolicyTable, address: Addr) -> Option<Place> {
        let scratch = scratch::get(self.scratch)?;
        // SAFETY: the scratch is this program's alone, and nothing else has a reference to this field.
        let last = unsafe { &mut (*scratch).last_destination };
        if last.answers(address, policy.generation) {
            return Some(Place(last.value as u16));
        }
        // In a function of its own, so that nobody pays for prefixes that there are not.
        let place = match policy.dimensions & dimension::NAT64 {
            0 => subprograms::borderguard_place(address.hi, address.lo, self.live()),
            _ => subprograms::borderguard_place_through_nat64(address.hi, address.lo, self.live()),
        };
        if place > u32::from(u16::MAX) {
            return None;
        }
        *last = LastLookup { address, generation: policy.generation, value: u64::from(place) };
        Some(Place(place as u16))
    }

    #[inline(always)]
    fn by_origin<O: Origin>(&self, hook: Hook, policy: &PolicyTable, origin: &O) -> ByOrigin {
        // A call costs more than what it would do here.
        if let Some(known) = decide::by_origin_at_once(hook, policy, origin) {
            return known;
        }
        subprograms::borderguard_by_origin(self.scratch, self.live());
        // SAFETY: the scratch is this program's alone, and nothing else has a reference to this field.
        scratch::get(self.scratch)
            .map(|scratch| unsafe { (*scratch).by_origin })
            .unwrap_or_else(|| ByOrigin::any(hook, policy))
    }

    #[inline(always)]
    fn failsafe<R: Trace>(
        &self,
        _policy: &PolicyTable,
        _packet: &Packet,
        bytes: u64,
        _trace: &mut R,
    ) -> FailsafeAnswer {
        FailsafeAnswer::from_code(subprograms::borderguard_failsafe(self.scratch, self.live(), bytes))
    }

    #[inline(always)]
    fn source_pins(&self, policy: &PolicyTable, address: Addr) -> u64 {
        // Without a scratch nothing is known to be not pinned.
        let Some(scratch) = scratch::get(self.scratch) else { return u64::MAX };
        // SAFETY: the scratch is this program's alone, and nothing else has a reference to this field.
        let last = unsafe { &mut (*scratch).last_source };
        if last.answers(address, policy.generation) {
            return last.value;
        }
        let pins = subprograms::borderguard_source_pins(address.hi, address.lo, self.live());
        *last = LastLookup { address, generation: policy.generation, value: pins };
        pins
    }

    #[inline(always)]
    fn is_of_host(&self, address: Addr) -> bool {
        subprograms::borderguard_is_of_host(address.hi, address.lo) != 0
    }

    #[inline(always)]
    fn remote_pins(&self, _policy: &PolicyTable, port_key: u32) -> u64 {
        subprograms::borderguard_remote_pins(port_key, self.live())
    }

    #[inline(always)]
    fn find_exemption<R: Trace>(
        &self,
        hook: Hook,
        policy: &PolicyTable,
        recipient: &Recipient,
        transfer: &Transfer,
        open: u64,
        trace: &mut R,
    ) -> u32 {
        let Some(scratch) = scratch::get(self.scratch) else { return 0 };
        // SAFETY: the scratch is this program's alone, and nothing else has a reference to this field.
        let last = unsafe { &mut (*scratch).last_recipient };
        if !last.answers(recipient, policy.generation) {
            last.candidates = decide::candidates(policy, recipient);
            last.recipient = *recipient;
            last.generation = policy.generation;
            last.open = 0;
        }
        if last.open != open {
            last.first = decide::first_candidate(policy, &last.candidates, open);
            last.open = open;
        }
        // Nearly always the first candidate covers the packet, and nothing is left to look for.
        if last.first < MAX_EXEMPTIONS as u32 {
            let answer = decide::take(hook, self, policy, last.first, transfer);
            if answer & decide::FOUND != 0 {
                trace.exemption(last.first as u16, Ok(()));
                return answer;
            }
        }
        subprograms::borderguard_find_exemption(
            subprograms::whole(self.scratch, self.live()),
            open,
            transfer.now,
            transfer.bytes,
        )
    }
}
