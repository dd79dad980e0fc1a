//! The maps of a shadow's programs: the candidate's tables, and what came of them. None is pinned: they are gone with the
//! programs. Those that have the name of a map of the live tables stand for it.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, PerCpuHashMap};
use guard_common::abi::shadow::{
    MAX_SHADOW_FLOWS, MAX_SHADOW_KEYS, SHADOW_COUNTS, ShadowFlow, ShadowFlowKey, ShadowKey, ShadowTarget,
};
use guard_common::abi::{Count, ExemptionUse, FailsafeUse, Hook, MAX_EXEMPTIONS, MAX_FAILSAFES, PolicyTable};
use guard_common::interval::{Detail, V4Entries, V4Nodes, V6Entries, V6Nodes};

/// Hash entries are made on demand; none wait in memory.
const NO_PREALLOC: u32 = 1;

/// By what packets are judged once more, and until when.
#[map(name = "SHADOW_TARGET")]
pub static TARGET: Array<ShadowTarget> = Array::with_max_entries(1, 0);

/// The candidate's policy table, in both slots.
#[map(name = "SHADOW_POLICY")]
pub static POLICY: Array<PolicyTable> = Array::with_max_entries(2, 0);

/// Slices of its IPv4 table.
#[map(name = "SHADOW_V4_NODES")]
pub static V4_NODES: Array<V4Nodes> = Array::with_max_entries(1, 0);
/// Intervals of its IPv4 table.
#[map(name = "SHADOW_V4_ENTRIES")]
pub static V4_ENTRIES: Array<V4Entries> = Array::with_max_entries(1, 0);
/// Slices of its IPv6 table.
#[map(name = "SHADOW_V6_NODES")]
pub static V6_NODES: Array<V6Nodes> = Array::with_max_entries(1, 0);
/// Intervals of its IPv6 table.
#[map(name = "SHADOW_V6_ENTRIES")]
pub static V6_ENTRIES: Array<V6Entries> = Array::with_max_entries(1, 0);
/// Intervals inside split /64s of it.
#[map(name = "SHADOW_V6_DETAIL")]
pub static V6_DETAIL: Array<Detail> = Array::with_max_entries(1, 0);

/// What exemptions would have let through: the live use when the shadow began, and what the candidate has charged since.
#[map(name = "SHADOW_USE")]
pub static EXEMPTION_USE: Array<ExemptionUse> = Array::with_max_entries(MAX_EXEMPTIONS as u32, 0);

/// Likewise what failsafe rules with a budget would have let pass.
#[map(name = "SHADOW_FAILSAFE")]
pub static FAILSAFE_USE: Array<FailsafeUse> = Array::with_max_entries(MAX_FAILSAFES as u32, 0);

/// Packets of which both judge alike, and those whose difference had no room, by
/// [`shadow_index`](guard_common::abi::shadow::shadow_index).
#[map(name = "SHADOW_COUNTS")]
pub static COUNTS: PerCpuArray<Count> = PerCpuArray::with_max_entries(SHADOW_COUNTS as u32, 0);

/// Packets of which they do not.
#[map(name = "SHADOW_DIFF")]
pub static DIFFERENCES: PerCpuHashMap<ShadowKey, Count> =
    PerCpuHashMap::with_max_entries(MAX_SHADOW_KEYS as u32, NO_PREALLOC);

/// Flows of which the verdicts differ.
#[map(name = "SHADOW_FLOWS")]
pub static FLOWS: LruHashMap<ShadowFlowKey, ShadowFlow> =
    LruHashMap::with_max_entries(MAX_SHADOW_FLOWS as u32, 0);

/// A flow's first entry, until the map has it, of the packet in the scratch of the same number.
#[map(name = "SHADOW_FRESH")]
pub static FRESH: PerCpuArray<ShadowFlow> = PerCpuArray::with_max_entries(Hook::PACKET_COUNT as u32, 0);
