//! A candidate's judgement of packets that are decided and accounted already, and how it differs.
//!
//! It has a scratch, tables and accounts of its own. Of what is live it reads the packet, who sent it, and the outcome; it
//! writes nothing there.

pub mod maps;

use core::mem::offset_of;

use aya_ebpf::bindings::BPF_NOEXIST;
use guard_common::abi::shadow::{SHADOW_LOST, SHADOW_SAME, ShadowFlowKey, ShadowKey, shadow_index};
use guard_common::abi::{Count, Hook, Outcome, Place, fold_pins};
use guard_common::packet::{Layer, Link, Packet};

use crate::clock::boot_ns;
use crate::counters::add;
use crate::decision::{borderguard_judge, decide_on, describe, describe_sender};
use crate::generation::Generation;
use crate::hooks::Source;
use crate::scratch::Scratch;
use crate::{records, scratch};

/// What [`borderguard_compare`] answers where the flow has no entry yet.
const NO_ENTRY: u32 = 1;

/// A packet that a candidate may judge once more. All that is known of it is in its second scratch: the program's own stack is
/// short, and on Linux 6.1 too short for a word more.
pub struct Second;

impl Second {
    /// Keeps a packet that is parsed, and that this generation is about to judge, unless nobody listens any more.
    #[inline(always)]
    #[must_use]
    pub fn begin(number: u32, generation: u64) -> Self {
        borderguard_keep_packet(number, generation);
        Self
    }

    /// Judges it once more, when it is decided and accounted.
    #[inline(always)]
    pub fn judge<S: Source>(self, number: u32, hook: Hook, link: Link, source: &S) {
        let second = scratch::second(number);
        let Some(scratch) = scratch::get(second) else { return };
        // SAFETY: the scratch is this program's alone. Subprograms take their own reference while this one is not used.
        let scratch = unsafe { &mut *scratch };
        let candidate = Generation::of(scratch.valid);
        if !candidate.live.is_shadow() {
            return;
        }
        let Some(policy) = candidate.policy() else { return };
        source.describe(&mut scratch.provenance);
        describe(second, candidate, source, policy, scratch);
        let judged = borderguard_judge(second, candidate.live.0);
        decide_on(second, candidate, judged, (hook, link), source, scratch);
        if borderguard_compare(number) == NO_ENTRY {
            describe_sender(source, &mut scratch.provenance, false);
            borderguard_note_difference(number);
        }
    }
}

/// Copies what was parsed of the packet in the scratch of this number, which this generation judges, to the second one, with the
/// live word of the candidate in the place of the bytes' number; 0 where it judges nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_keep_packet(number: u32, generation: u64) -> u32 {
    let (Some(from), Some(to)) = (scratch::get(number), scratch::get(scratch::second(number))) else {
        return 0;
    };
    let Some(target) = maps::TARGET.get_ptr(0) else { return 0 };
    // SAFETY: both scratches are this program's alone, and two. The target is an array map's, which is never freed, and its
    // words are aligned; the daemon writes them meanwhile, the one or the other first: an old slot keeps its table until it
    // was waited for.
    unsafe {
        if boot_ns() >= core::ptr::read_volatile(&raw const (*target).deadline_ns) {
            (*to).valid = 0;
            return 0;
        }
        (*to).valid = core::ptr::read_volatile(&raw const (*target).live);
        (*to).parsed = (*from).parsed;
        (*to).record.generation = generation;
        copy_packet(&raw const (*from).packet, &raw mut (*to).packet);
    }
    0
}

/// Copies a packet: of nearly all the outermost layer and the counts.
///
/// # Safety
///
/// Both must be in scratches of this program, and two.
#[inline(always)]
unsafe fn copy_packet(from: *const Packet, to: *mut Packet) {
    const WORD: usize = size_of::<u64>();
    const { assert!(size_of::<Packet>().is_multiple_of(WORD) && align_of::<Packet>() == WORD) };
    const COUNTS: usize = offset_of!(Packet, layer_count) / WORD;
    const QUOTES: usize = offset_of!(Packet, quotes) / WORD;
    const { assert!(offset_of!(Packet, hop_count) == COUNTS * WORD + 4) };
    const { assert!(offset_of!(Packet, quoted_count) == QUOTES * WORD + 4) };
    const FIRST: usize = size_of::<Layer>() / WORD;
    // SAFETY: the caller vouches for both.
    unsafe {
        let is_plain = (*from).layer_count <= 1 && (*from).hop_count == 0 && (*from).quotes == 0;
        let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
        // Volatile, so that the compiler makes no call of it.
        let copy =
            |word: usize| core::ptr::write_volatile(to.add(word), core::ptr::read_volatile(from.add(word)));
        for word in 0..FIRST {
            copy(word);
        }
        copy(COUNTS);
        copy(QUOTES);
        if is_plain {
            return;
        }
        for word in FIRST..size_of::<Packet>() / WORD {
            copy(word);
        }
    }
}

/// The scratches of the packet in the scratch of this number: the live one's, and the candidate's.
#[inline(always)]
fn both<'a>(number: u32) -> Option<(&'a Scratch, &'a Scratch)> {
    let (live, second) = (scratch::get(number)?, scratch::get(scratch::second(number))?);
    // SAFETY: both are this program's alone, and nobody writes to them while these references are used.
    Some(unsafe { (&*live, &*second) })
}

/// The key of the packet's flow under both judgements.
#[inline(always)]
fn flow_key(hook: Hook, live: &Scratch, then: &Outcome) -> ShadowFlowKey {
    ShadowFlowKey {
        flow: records::flow_key(hook, live),
        pins: fold_pins(then.tag, then.denied),
        place: then.place,
        verdict: then.verdict,
        reason: then.reason,
    }
}

/// Counts the packet in the scratch of this number where both judge alike, or where they differ. The answer is [`NO_ENTRY`]
/// where its flow is to be kept and is not yet, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_compare(number: u32) -> u32 {
    let Some((live, second)) = both(number) else { return 0 };
    let generation = second.record.generation;
    let (hook, now, then) = (scratch::hook(number), &live.outcome, &second.outcome);
    let bytes = live.provenance.wire_len;
    if now.verdict == then.verdict && now.reason == then.reason {
        add(maps::COUNTS.get_ptr_mut(shadow_index(SHADOW_SAME, hook as u8)), bytes);
        return 0;
    }
    let key = ShadowKey {
        generation,
        now_pins: now.denied,
        then_pins: then.denied,
        hook: hook as u8,
        now_verdict: now.verdict,
        now_reason: now.reason,
        then_verdict: then.verdict,
        then_reason: then.reason,
        then_jurisdiction: Place(then.place).jurisdiction_index(),
        pad: 0,
    };
    if maps::DIFFERENCES.get_ptr_mut(key).is_none() {
        // Another program may make it meanwhile, which is as good: each CPU has its own count under it.
        let fresh = Count { packets: 0, bytes: 0 };
        let _there_now = maps::DIFFERENCES.insert(key, fresh, u64::from(BPF_NOEXIST));
    }
    match maps::DIFFERENCES.get_ptr_mut(key) {
        Some(count) => add(Some(count), bytes),
        None => add(maps::COUNTS.get_ptr_mut(shadow_index(SHADOW_LOST, hook as u8)), bytes),
    }
    if now.verdict == then.verdict {
        return 0;
    }
    match maps::FLOWS.get_ptr_mut(flow_key(hook, live, then)) {
        Some(flow) => {
            let flags = records::flow_flags(live);
            // SAFETY: the entry is an element of an LRU hash, as a flow's record is.
            unsafe { records::count_on(&raw mut (*flow).record, bytes, boot_ns(), flags, generation) };
            0
        }
        None => NO_ENTRY,
    }
}

/// Keeps the flow of the packet in the scratch of this number, whose sender is described in the second one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_note_difference(number: u32) -> u32 {
    let (Some((live, second)), Some(fresh)) = (both(number), maps::FRESH.get_ptr_mut(number)) else {
        return 0;
    };
    let (hook, now, generation) = (scratch::hook(number), boot_ns(), second.record.generation);
    // SAFETY: the element belongs to the scratch of this number, which is this program's alone.
    let fresh = unsafe { &mut *fresh };
    let flags =
        records::fill(&second.provenance, &live.packet, &live.outcome, [now, generation], &mut fresh.record);
    fresh.then = second.outcome;
    let key = flow_key(hook, live, &second.outcome);
    let fresh: &_ = fresh;
    if maps::FLOWS.insert(key, fresh, u64::from(BPF_NOEXIST)).is_err()
        && let Some(flow) = maps::FLOWS.get_ptr_mut(key)
    {
        // Another CPU has just made it.
        let bytes = live.provenance.wire_len;
        // SAFETY: as in `borderguard_compare`.
        unsafe { records::count_on(&raw mut (*flow).record, bytes, now, flags, generation) };
    }
    0
}
