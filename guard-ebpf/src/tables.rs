//! The tables of a generation as views into the maps, and what was looked up last.

use guard_common::abi::{ExemptionSet, Hook, Live, MAX_EXEMPTIONS, Place, PolicyTable, dimension};
use guard_common::decide::{self, ByOrigin, Recipient, Trace, Transfer};
use guard_common::interval::{Detail, GeoTables, V4Entries, V4Index, V6Entries, V6Index};
use guard_common::packet::{Addr, Packet};
use guard_common::tables::{Origin, Tables};

use crate::maps::{CONTROL, EXEMPTION_USE, POLICY, V4_ENTRIES, V4_INDEX, V6_DETAIL, V6_ENTRIES, V6_INDEX};
use crate::{atomic, scratch, subprograms};

/// What the last address that was looked up came to, in one generation.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastLookup {
    /// The address.
    pub address: Addr,
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// What it came to.
    pub value: u64,
}

impl LastLookup {
    /// Whether this is the answer for the address in this generation.
    #[inline(always)]
    fn answers(&self, address: Addr, generation: u64) -> bool {
        // One branch: addresses of a flow are all the same or not at all.
        let other =
            (self.address.hi ^ address.hi) | (self.address.lo ^ address.lo) | (self.generation ^ generation);
        other == 0
    }
}

/// The candidates of the last recipient, in one generation.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastRecipient {
    /// The recipient.
    pub recipient: Recipient,
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// The exemptions that have it.
    pub candidates: ExemptionSet,
    /// The pins that were open when the first of them was looked for; 0 where none was.
    pub open: u64,
    /// The slot of the first of them for the lowest open pin, [`decide::first_candidate`].
    pub first: u32,
    /// Padding up to 8 bytes.
    pub pad: u32,
}

impl LastRecipient {
    /// Whether these are the candidates for this recipient in this generation.
    #[inline(always)]
    fn answers(&self, recipient: &Recipient, generation: u64) -> bool {
        let (own, other) = (&self.recipient, recipient);
        let ports =
            u64::from(own.port_key ^ other.port_key) | u64::from(own.jurisdiction ^ other.jurisdiction);
        let addresses = (own.address.hi ^ other.address.hi) | (own.address.lo ^ other.address.lo);
        addresses | ports | (self.generation ^ generation) == 0
    }
}

/// The tables of the generation that was live when the packet came.
pub struct KernelTables {
    pub(crate) live: Live,
    /// Number of the scratch that remembers what was looked up.
    pub(crate) scratch: u32,
}

impl KernelTables {
    /// Reads the live word, once for this packet. `None` where nothing is loaded.
    #[inline(always)]
    #[must_use]
    pub fn live() -> Option<Self> {
        let control = CONTROL.get_ptr(0)?;
        // SAFETY: the pointer is to element 0 of an array map, which is never freed; the word is read in
        // one aligned load, once, so that the whole packet is judged by one generation.
        let live = Live(unsafe { core::ptr::read_volatile(&raw const (*control).live) });
        if live.is_loaded() { Some(Self { live, scratch: 0 }) } else { None }
    }

    /// The live word and the number of the scratch as one number, for a function with many arguments.
    #[inline(always)]
    fn whole(&self) -> u64 {
        u64::from(self.live.0) << 32 | u64::from(self.scratch)
    }

    /// From such a number.
    #[inline(always)]
    #[must_use]
    pub fn from_whole(whole: u64) -> Self {
        Self { live: Live((whole >> 32) as u32), scratch: whole as u32 }
    }
}

impl GeoTables for KernelTables {
    #[inline(always)]
    fn v4_index(&self) -> Option<&V4Index> {
        V4_INDEX.get(self.live.geo_slot())
    }
    #[inline(always)]
    fn v4_entries(&self) -> Option<&V4Entries> {
        V4_ENTRIES.get(self.live.geo_slot())
    }
    #[inline(always)]
    fn v6_index(&self) -> Option<&V6Index> {
        V6_INDEX.get(self.live.geo_slot())
    }
    #[inline(always)]
    fn v6_entries(&self) -> Option<&V6Entries> {
        V6_ENTRIES.get(self.live.geo_slot())
    }
    #[inline(always)]
    fn detail(&self) -> Option<&Detail> {
        V6_DETAIL.get(self.live.geo_slot())
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn policy(&self) -> Option<&PolicyTable> {
        POLICY.get(self.live.policy_slot())
    }

    #[inline(always)]
    fn place(&self, policy: &PolicyTable, address: Addr) -> Option<Place> {
        let scratch = scratch::get(self.scratch)?;
        // SAFETY: the scratch is this program's alone, and nothing else has a reference to this field.
        let last = unsafe { &mut (*scratch).last_destination };
        if last.answers(address, policy.generation) {
            return Some(Place(last.value as u16));
        }
        let place = subprograms::borderguard_place(address.hi, address.lo, self.live.0);
        if place > u32::from(u16::MAX) {
            return None;
        }
        *last = LastLookup { address, generation: policy.generation, value: u64::from(place) };
        Some(Place(place as u16))
    }

    #[inline(always)]
    fn by_origin<O: Origin>(&self, hook: Hook, policy: &PolicyTable, _origin: &O) -> ByOrigin {
        const BESIDE_THE_BYTES: u32 = dimension::INTERFACE | dimension::MARK | dimension::CGROUP;
        if policy.dimensions & BESIDE_THE_BYTES == 0 {
            return ByOrigin::any(hook, policy);
        }
        subprograms::borderguard_by_origin(self.scratch, self.live.0);
        // SAFETY: the scratch is this program's alone, and nothing else has a reference to this field.
        scratch::get(self.scratch)
            .map(|scratch| unsafe { (*scratch).by_origin })
            .unwrap_or_else(|| ByOrigin::any(hook, policy))
    }

    #[inline(always)]
    fn failsafe_covers<R: Trace>(&self, _policy: &PolicyTable, _packet: &Packet, _trace: &mut R) -> bool {
        subprograms::borderguard_failsafe(self.scratch, self.live.0) != 0
    }

    #[inline(always)]
    fn take(&self, _hook: Hook, _policy: &PolicyTable, slot: u32, transfer: &Transfer) -> u32 {
        subprograms::borderguard_take(self.whole(), slot, transfer.now, transfer.bytes)
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
        let pins = subprograms::borderguard_source_pins(address.hi, address.lo, self.live.0);
        *last = LastLookup { address, generation: policy.generation, value: pins };
        pins
    }

    #[inline(always)]
    fn find_exemption<R: Trace>(
        &self,
        hook: Hook,
        policy: &PolicyTable,
        recipient: &Recipient,
        transfer: &Transfer,
        open: u64,
        _trace: &mut R,
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
                return answer;
            }
        }
        subprograms::borderguard_find_exemption(self.whole(), open, transfer.now, transfer.bytes)
    }

    #[inline(always)]
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool {
        let Some(used) = EXEMPTION_USE.get_ptr_mut(u32::from(slot)) else { return false };
        // SAFETY: the pointer is to an element of an array map, which is never freed; programs change
        // it by atomic operations alone.
        unsafe {
            // Added first and taken back when it was too much: two CPUs can't both see the last bytes free.
            let before = atomic::fetch_add(&raw mut (*used).charged, bytes);
            let after = before.wrapping_add(bytes);
            if after < before || after > quota {
                atomic::sub(&raw mut (*used).charged, bytes);
                return false;
            }
        }
        true
    }

    #[inline(always)]
    fn refund(&self, slot: u16, bytes: u64) {
        if let Some(used) = EXEMPTION_USE.get_ptr_mut(u32::from(slot)) {
            // SAFETY: as in `charge`.
            unsafe { atomic::sub(&raw mut (*used).charged, bytes) };
        }
    }

    #[inline(always)]
    fn book(&self, slot: u16, bytes: u64) {
        if let Some(used) = EXEMPTION_USE.get_ptr_mut(u32::from(slot)) {
            // SAFETY: as in `charge`.
            unsafe {
                atomic::fetch_add(&raw mut (*used).bytes, bytes);
                atomic::fetch_add(&raw mut (*used).packets, 1);
            }
        }
    }
}
