//! Counters, each of one processor. Nothing here changes a verdict.

use aya_ebpf::bindings::BPF_NOEXIST;
use guard_common::abi::{Count, Hook, Loss, Outcome, OutcomeKey, Place, permitted_index, total_index};
use guard_common::verdict::Verdict;

use crate::atomic;
use crate::maps::{CANARIES, LOST, OUTCOMES, PERMITTED, TOTAL_COUNTS, UNPLACED};
use crate::scratch::{Scratch, preemptible};

/// Counts a packet in the totals, where every packet of the hook is.
#[inline(always)]
pub fn total(hook: Hook, decision: &Outcome, bytes: u64) {
    add(TOTAL_COUNTS.get_ptr_mut(total_index(hook, decision.verdict, decision.reason)), bytes);
}

/// Adds a packet to a count that all CPUs share.
///
/// # Safety
///
/// `count` must be an element of a map.
#[inline(always)]
pub unsafe fn add_shared(count: *mut Count, bytes: u64) {
    // SAFETY: the caller vouches for `count`, which programs write by atomic operations alone.
    unsafe {
        atomic::fetch_add(&raw mut (*count).packets, 1);
        atomic::fetch_add(&raw mut (*count).bytes, bytes);
    }
}

/// Adds a packet to a count of this CPU, atomically where another program may be at the same count.
#[inline(always)]
pub fn add(count: Option<*mut Count>, bytes: u64) {
    let Some(count) = count else { return };
    // SAFETY: the pointer is to this CPU's element of a map. Where no other program of this hook runs on the CPU
    // meanwhile, this one alone writes it; else all write it by atomic operations alone.
    unsafe {
        if preemptible() {
            add_shared(count, bytes);
        } else {
            (*count).packets += 1;
            (*count).bytes += bytes;
        }
    }
}

/// The key of these bytes.
#[inline(always)]
pub fn outcome_key(bytes: u32) -> OutcomeKey {
    // SAFETY: an OutcomeKey is four bytes, and any are a value.
    unsafe { core::mem::transmute::<u32, OutcomeKey>(bytes) }
}

/// Counts a packet under a key that was not there, the bytes of an [`OutcomeKey`]. Another program may make it
/// meanwhile, which is as good: each CPU has its own count under it.
#[inline(always)]
pub fn count_first_outcome(key: u32, bytes: u64) {
    let key = outcome_key(key);
    let _there_now = OUTCOMES.insert(key, Count { packets: 0, bytes: 0 }, u64::from(BPF_NOEXIST));
    match OUTCOMES.get_ptr_mut(key) {
        Some(count) => add(Some(count), bytes),
        None => lost(Loss::Outcomes),
    }
}

/// Counts a packet for each pin that tags it only because its cgroup or interface is not known yet.
#[inline(always)]
pub fn count_unplaced(scratch: &Scratch) {
    let mut pins = scratch.outcome.unplaced;
    for _ in 0..64 {
        if pins == 0 {
            break;
        }
        let pin = pins.trailing_zeros() & 63;
        pins &= pins - 1;
        add(UNPLACED.get_ptr_mut(pin), scratch.provenance.wire_len);
    }
}

/// Counts a canary for the pin that it is for, where that forbids it.
#[inline(always)]
pub fn count_canary(scratch: &Scratch, pin: u32) {
    if scratch.outcome.denied >> (pin & 63) & 1 != 0 {
        add(CANARIES.get_ptr_mut(pin & 63), scratch.provenance.wire_len);
    }
}

/// Counts something that could not be kept.
#[inline(always)]
pub fn lost(what: Loss) {
    if let Some(count) = LOST.get_ptr_mut(what as u32) {
        // SAFETY: the pointer is to this CPU's element. Both hooks count here, and one may interrupt the other.
        unsafe { atomic::fetch_add(count, 1) };
    }
}

/// Counts a packet that leaves though a pin forbids it, as permitted for its other pins: they permit it.
#[inline(always)]
pub fn count_permitting(hook: Hook, scratch: &Scratch) {
    let decision = &scratch.outcome;
    if hook as u8 != Hook::Egress as u8 || decision.denied == 0 || decision.verdict == Verdict::Drop as u8 {
        return;
    }
    let mut pins = decision.tag & !decision.denied;
    for _ in 0..64 {
        if pins == 0 {
            break;
        }
        let pin = pins.trailing_zeros() & 63;
        pins &= pins - 1;
        permitted(pin, decision, scratch.provenance.wire_len);
    }
}

/// Counts a packet that this pin permits.
#[inline(always)]
pub fn permitted(pin: u32, decision: &Outcome, bytes: u64) {
    let index = permitted_index(pin, Place(decision.place).jurisdiction_index());
    add(PERMITTED.get_ptr_mut(index), bytes);
}
