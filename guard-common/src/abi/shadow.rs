//! What the programs of a shadow keep: how a candidate's tables judge the packets that the live ones judge.

use super::{FlowKey, FlowRecord, Outcome};

/// By what packets are judged once more, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ShadowTarget {
    /// Until when: `CLOCK_BOOTTIME` in nanoseconds. The daemon moves it on while somebody listens.
    pub deadline_ns: u64,
    /// The candidate's slots, a [`Live`](super::Live) of [`Live::of_shadow`](super::Live::of_shadow).
    pub live: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
}

/// How packets were judged by both, where verdict or reason differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ShadowKey {
    /// Generation that judged.
    pub generation: u64,
    /// Its pins that forbid the destination.
    pub now_pins: u64,
    /// Those of the candidate.
    pub then_pins: u64,
    /// The [`Hook`](super::Hook).
    pub hook: u8,
    /// The [`Verdict`](crate::verdict::Verdict) that was live.
    pub now_verdict: u8,
    /// Its [`Reason`](crate::verdict::Reason).
    pub now_reason: u8,
    /// The candidate's verdict.
    pub then_verdict: u8,
    /// Its reason.
    pub then_reason: u8,
    /// Number of the jurisdiction in which the candidate places the destination that decided.
    pub then_jurisdiction: u8,
    /// Padding up to 8 bytes, zero.
    pub pad: u16,
}

/// A flow of which the two verdicts differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ShadowFlowKey {
    /// The flow as it was judged.
    pub flow: FlowKey,
    /// The candidate's pins, by [`fold_pins`](super::fold_pins).
    pub pins: u32,
    /// Where it places the destination that decided.
    pub place: u16,
    /// Its verdict.
    pub verdict: u8,
    /// Its reason.
    pub reason: u8,
}

/// What is known of such a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ShadowFlow {
    /// As of a flow record; amounts since the shadow has seen it.
    pub record: FlowRecord,
    /// How the candidate judged its first packet.
    pub then: Outcome,
}

/// Differences of both verdicts, by [`ShadowKey`], that are counted apart. Hundreds come of a policy in practice.
pub const MAX_SHADOW_KEYS: usize = 4096;
/// Flows that are kept; with one more, the one that was seen last longest ago goes.
pub const MAX_SHADOW_FLOWS: usize = 8192;

/// Packets of which verdict and reason are the same, by hook.
pub const SHADOW_SAME: u32 = 0;
/// Packets whose difference found no room among [`MAX_SHADOW_KEYS`], by hook.
pub const SHADOW_LOST: u32 = 1;
/// Elements of these counts.
pub const SHADOW_COUNTS: usize = 2 * super::Hook::PACKET_COUNT;

/// The element of a count for a hook's number.
#[inline(always)]
#[must_use]
pub const fn shadow_index(what: u32, hook: u8) -> u32 {
    what * super::Hook::PACKET_COUNT as u32 + hook as u32 % super::Hook::PACKET_COUNT as u32
}

const _: () = {
    assert!(size_of::<ShadowTarget>() == 16);
    assert!(size_of::<ShadowKey>() == 32);
    assert!(size_of::<ShadowFlowKey>() == 56);
    assert!(size_of::<ShadowFlow>() == size_of::<FlowRecord>() + size_of::<Outcome>());
};
