//! The maps, and the tables of a generation as views into them.
//!
//! Every table of a generation has two slots, elements 0 and 1 of an array whose value is the whole
//! table: one lookup gives the table, and inside it plain loads with bounds that the verifier checks.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use guard_common::abi::{
    Control, Count, ExemptionSet, ExemptionUse, FlowKey, FlowRecord, Hook, Live, MAX_EXEMPTIONS, Outcome,
    OutcomeKey, PERMITTED_COUNTS, Place, PolicyTable, Provenance, TOTALS,
};
use guard_common::decide::{self, Recipient, Trace, Transfer};
use guard_common::interval::{Detail, GeoTables, V4Entries, V4Index, V6Entries, V6Index};
use guard_common::packet::{Addr, HEADER_LEN, Packet};
use guard_common::tables::Tables;

use crate::{atomic, seam};

/// Hash entries are made on demand; none wait in memory.
const NO_PREALLOC: u32 = 1;

/// Which slots are live, and the ABI of the maps.
#[map(name = "CONTROL")]
pub static CONTROL: Array<Control> = Array::pinned(1, 0);

/// The policy table of both slots.
#[map(name = "POLICY")]
pub static POLICY: Array<PolicyTable> = Array::pinned(2, 0);

/// Slices of the IPv4 table of both slots.
#[map(name = "V4_INDEX")]
pub static V4_INDEX: Array<V4Index> = Array::pinned(2, 0);
/// Intervals of the IPv4 table of both slots.
#[map(name = "V4_ENTRIES")]
pub static V4_ENTRIES: Array<V4Entries> = Array::pinned(2, 0);
/// Slices of the IPv6 table of both slots.
#[map(name = "V6_INDEX")]
pub static V6_INDEX: Array<V6Index> = Array::pinned(2, 0);
/// Intervals of the IPv6 table of both slots.
#[map(name = "V6_ENTRIES")]
pub static V6_ENTRIES: Array<V6Entries> = Array::pinned(2, 0);
/// Intervals inside split /64s of both slots.
#[map(name = "V6_DETAIL")]
pub static V6_DETAIL: Array<Detail> = Array::pinned(2, 0);

/// What each exemption has let through: of no generation, so that a reload loses nothing.
#[map(name = "EXEMPTION_USE")]
pub static EXEMPTION_USE: Array<ExemptionUse> = Array::pinned(MAX_EXEMPTIONS as u32, 0);

/// All packets by hook, verdict and reason.
#[map(name = "TOTALS")]
pub static TOTAL_COUNTS: PerCpuArray<Count> = PerCpuArray::pinned(TOTALS as u32, 0);

/// Permitted egress by pin and jurisdiction: the common case, without a hash.
#[map(name = "PERMITTED")]
pub static PERMITTED: PerCpuArray<Count> = PerCpuArray::pinned(PERMITTED_COUNTS as u32, 0);

/// Every other outcome of pinned packets. Larger than all keys that 64 pins can have in practice;
/// an outcome that finds no room is counted in [`LOST`], and in the totals like every packet.
#[map(name = "OUTCOMES")]
pub static OUTCOMES: PerCpuHashMap<OutcomeKey, Count> = PerCpuHashMap::pinned(65_536, NO_PREALLOC);

/// Flows that were forbidden or exempt, and permitted ones where the config asks.
#[map(name = "FLOWS")]
pub static FLOWS: LruHashMap<FlowKey, FlowRecord> = LruHashMap::pinned(65_536, 0);

/// Events for the daemon.
#[map(name = "EVENTS")]
pub static EVENTS: RingBuf = RingBuf::pinned(4 << 20, 0);

/// What could not be kept, by [`guard_common::abi::Loss`].
#[map(name = "LOST")]
pub static LOST: PerCpuArray<u64> = PerCpuArray::pinned(guard_common::abi::Loss::COUNT as u32, 0);

/// Where a packet's header is copied and parsed.
#[repr(C)]
pub struct Scratch {
    /// Bytes copied, at most [`HEADER_LEN`].
    pub valid: u32,
    /// What the parser answered, [`Parsed::code`](guard_common::packet::Parsed::code).
    pub parsed: u32,
    /// What was decided.
    pub outcome: Outcome,
    /// What is known beside the bytes.
    pub provenance: Provenance,
    /// The last source address that was looked up, and the pins that it lets match.
    pub last_source: LastLookup,
    /// The last destination that was looked up, and its [`Place`].
    pub last_destination: LastLookup,
    /// The last recipient that exemptions were looked up for, and those that have it.
    pub last_recipient: LastRecipient,
    /// `CLOCK_BOOTTIME` in nanoseconds when exemptions were looked at; of an earlier packet where none were.
    pub now: u64,
    /// The header.
    pub header: [u8; HEADER_LEN],
    /// What the parser reads in it.
    pub packet: Packet,
}

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

/// One scratch for each hook: XDP may interrupt TC on the same CPU.
#[map(name = "SCRATCH")]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// The tables of the generation that was live when the packet came.
pub struct KernelTables {
    pub(crate) live: Live,
    pub(crate) hook: u32,
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
        if live.is_loaded() { Some(Self { live, hook: 0 }) } else { None }
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
        let scratch = SCRATCH.get_ptr_mut(self.hook & 1)?;
        // SAFETY: the element is this CPU's and this hook's, a hook does not interrupt itself, and nobody
        // else has a reference to this field.
        let last = unsafe { &mut (*scratch).last_destination };
        if last.answers(address, policy.generation) {
            return Some(Place(last.value as u16));
        }
        let place = seam::borderguard_place(address.hi, address.lo, self.live.0);
        if place > u32::from(u16::MAX) {
            return None;
        }
        *last = LastLookup { address, generation: policy.generation, value: u64::from(place) };
        Some(Place(place as u16))
    }

    #[inline(always)]
    fn source_pins(&self, policy: &PolicyTable, address: Addr) -> u64 {
        let Some(scratch) = SCRATCH.get_ptr_mut(self.hook & 1) else { return 0 };
        // SAFETY: the element is this CPU's and this hook's, a hook does not interrupt itself, and nobody
        // else has a reference to this field.
        let last = unsafe { &mut (*scratch).last_source };
        if last.answers(address, policy.generation) {
            return last.value;
        }
        let pins = decide::source_pins(policy, address);
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
        let Some(scratch) = SCRATCH.get_ptr_mut(self.hook & 1) else { return 0 };
        // SAFETY: the element is this CPU's and this hook's, a hook does not interrupt itself, and nobody
        // else has a reference to this field.
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
        if last.first < MAX_EXEMPTIONS as u32
            && let Ok(account) = decide::take(hook, self, policy, last.first, transfer)
        {
            return decide::FOUND | account;
        }
        let place = u64::from(self.live.0) << 1 | hook as u64;
        seam::borderguard_find_exemption(place, open, transfer.now, transfer.bytes)
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
