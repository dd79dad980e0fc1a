//! The tracing programs' listener: keeps the steps of each packet, and logs them where the packet is asked for.
//!
//! Steps are kept first, because which pins a packet has is known only when it is judged. Nothing here changes what is
//! decided or accounted.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_log_ebpf::info;
use guard_common::abi::traced::{
    DESTINATION, ERROR_LAYER, HOP, MAX_TRACE_STEPS, OUTCOME, PACKET, SOURCE, STEP, TraceSteps, TraceTarget,
    head, step,
};
use guard_common::abi::{Hook, Place};
use guard_common::packet::{Addr, Layer, MAX_HOPS, MAX_LAYERS};
use guard_common::trace::Trace;
use guard_common::verdict::Reason;

use crate::clock::boot_ns;
use crate::scratch::Scratch;
use crate::{atomic, scratch};

/// What is asked for.
#[map(name = "TRACE_TARGET")]
static TARGET: Array<TraceTarget> = Array::with_max_entries(1, 0);

/// How many packets were logged, or would have been past the last one.
#[map(name = "TRACE_TAKEN")]
static TAKEN: Array<u64> = Array::with_max_entries(1, 0);

/// The steps of the packet in the scratch of the same number.
#[map(name = "TRACE_STEPS")]
static STEPS: PerCpuArray<TraceSteps> = PerCpuArray::with_max_entries(Hook::PACKET_COUNT as u32, 0);

/// The scratch of this number.
#[inline(always)]
fn scratch_of<'a>(number: u32) -> Option<&'a Scratch> {
    // SAFETY: the scratch is this program's alone, and nobody writes to it while this reference is used.
    scratch::get(number).map(|scratch| unsafe { &*scratch })
}

/// Keeps each step of the packet in the scratch of this number.
pub struct Steps(u32);

/// The listener for the packet in the scratch of this number.
#[inline(always)]
#[must_use]
pub fn listener(number: u32) -> Steps {
    Steps(number)
}

impl Steps {
    #[inline(always)]
    fn keep(&self, what: u64, words: [u64; 3]) {
        borderguard_keep_step(self.0, what, words[0], words[1], words[2]);
    }
}

impl Trace for Steps {
    #[inline(always)]
    fn tagged(&mut self, layer: u32, pins: u64) {
        self.keep(step::TAGGED | u64::from(layer) << 8, [pins, 0, 0]);
    }
    #[inline(always)]
    fn failsafe(&mut self, layer: u32, rules: u64) {
        self.keep(step::FAILSAFE | u64::from(layer) << 8, [rules, 0, 0]);
    }
    #[inline(always)]
    fn budget(&mut self, rule: u32, is_left: bool) {
        self.keep(step::BUDGET | u64::from(rule) << 8, [u64::from(is_left), 0, 0]);
    }
    #[inline(always)]
    fn placed(&mut self, layer: u32, destination: Addr, place: Place, denied: u64) {
        let what = step::PLACED | u64::from(layer) << 8 | u64::from(place.0) << 32;
        self.keep(what, [destination.hi, destination.lo, denied]);
    }
    #[inline(always)]
    fn quoted(&mut self) {
        self.keep(step::QUOTED, [0, 0, 0]);
    }
    #[inline(always)]
    fn exemption(&mut self, slot: u16, outcome: Result<(), Reason>) {
        let reason = outcome.err().map_or(0, |reason| reason as u64);
        self.keep(step::EXEMPTION | u64::from(slot) << 8, [reason, 0, 0]);
    }
}

/// Begins a packet.
#[inline(always)]
pub fn begin(number: u32) {
    if let Some(steps) = STEPS.get_ptr_mut(number) {
        // SAFETY: the element belongs to the scratch of this number, which is this program's alone.
        unsafe { (*steps).count = 0 };
    }
}

/// Ends a packet, which is decided: it is logged where it is asked for.
#[inline(always)]
pub fn end(number: u32, hook: Hook, generation: u64) {
    if borderguard_is_asked_for(number, hook as u32) != 0 {
        borderguard_log_packet(number, hook as u32, generation);
    }
}

/// Keeps one step of the packet in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_keep_step(number: u32, what: u64, one: u64, two: u64, three: u64) -> u32 {
    let Some(steps) = STEPS.get_ptr_mut(number) else { return 0 };
    // SAFETY: as in `begin`; the index is held below.
    unsafe {
        let at = (*steps).count;
        (*steps).count = at.wrapping_add(1);
        if at < MAX_TRACE_STEPS as u64 {
            let kept = (&raw mut (*steps).steps).cast::<[u64; 4]>().add(at as usize & (MAX_TRACE_STEPS - 1));
            *kept = [what, one, two, three];
        }
    }
    0
}

/// Whether the packet in the scratch of this number is to be logged: 1 or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_is_asked_for(number: u32, hook: u32) -> u32 {
    let Some(scratch) = scratch_of(number) else { return 0 };
    let Some(target) = TARGET.get(0) else { return 0 };
    // SAFETY: the element is an array map's, which is never freed, and the word is aligned; the daemon writes it meanwhile.
    let deadline = unsafe { core::ptr::read_volatile(&raw const target.deadline_ns) };
    if boot_ns() >= deadline || target.pins != 0 && target.pins & scratch.outcome.tag == 0 {
        return 0;
    }
    let mut matches = 0;
    for layer in 0..MAX_LAYERS {
        if layer as u32 >= scratch.packet.layer_count {
            break;
        }
        let Some(layer) = scratch.packet.layers.get(layer) else { break };
        // What comes in is mirrored.
        let (src, dst) =
            if hook == Hook::Ingress as u32 { (layer.dst, layer.src) } else { (layer.src, layer.dst) };
        matches |= u32::from(target.from.has(src) && target.to.has(dst));
    }
    // A frame that has no addresses is asked for where none are named.
    let any = target.from.mask.hi | target.from.mask.lo | target.to.mask.hi | target.to.mask.lo == 0;
    matches | u32::from(any)
}

/// Logs the packet in the scratch of this number, where the count is not used up.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_log_packet(number: u32, hook: u32, generation: u64) -> u32 {
    let (Some(scratch), Some(steps)) = (scratch_of(number), STEPS.get_ptr(number)) else {
        return 0;
    };
    let (Some(target), Some(taken)) = (TARGET.get(0), TAKEN.get_ptr_mut(0)) else { return 0 };
    // SAFETY: the element is an array map's, which is never freed, and changed by atomic operations alone.
    let packet = unsafe {
        if core::ptr::read_volatile(taken) >= target.packets {
            return 0;
        }
        atomic::fetch_add(taken, 1)
    };
    if packet >= target.packets {
        return 0;
    }
    // SAFETY: as in `begin`.
    let count = unsafe { (*steps).count };
    let provenance = &scratch.provenance;
    borderguard_log(
        head(packet, PACKET, 0),
        generation,
        u64::from(hook & 0xff)
            | u64::from(scratch.parsed & 0xff) << 8
            | u64::from(scratch.packet.layer_count & 0xff) << 16
            | u64::from(scratch.packet.hop_count & 0xff) << 24
            | (count & 0xff_ffff) << 32
            | u64::from(provenance.direction & 0xff) << 56,
        u64::from(provenance.ifindex) | u64::from(provenance.ingress_ifindex) << 32,
        u64::from(provenance.mark) | provenance.wire_len << 32,
    );
    for at in 0..MAX_LAYERS {
        if at as u32 >= scratch.packet.layer_count {
            break;
        }
        let Some(layer) = scratch.packet.layers.get(at) else { break };
        log_layer(packet, at as u64, layer);
    }
    if scratch.packet.quoted_count != 0 {
        log_layer(packet, ERROR_LAYER, &scratch.error);
    }
    for at in 0..MAX_HOPS {
        if at as u32 >= scratch.packet.hop_count {
            break;
        }
        let Some(hop) = scratch.packet.hops.get(at) else { break };
        borderguard_log(head(packet, HOP, at as u64), hop.hi, hop.lo, 0, 0);
    }
    for at in 0..MAX_TRACE_STEPS as u64 {
        if at >= count {
            break;
        }
        borderguard_log_step(number, packet, at as u32);
    }
    let outcome = &scratch.outcome;
    let decided = u64::from(outcome.place)
        | u64::from(outcome.exemption) << 16
        | u64::from(outcome.verdict) << 32
        | u64::from(outcome.reason) << 40
        | u64::from(outcome.destination) << 48;
    borderguard_log(head(packet, OUTCOME, 0), outcome.tag, outcome.denied, outcome.unplaced, decided);
    1
}

/// Logs one layer.
#[inline(always)]
fn log_layer(packet: u64, number: u64, layer: &Layer) {
    let ports = u64::from(layer.sport) | u64::from(layer.dport) << 16;
    let rest = u64::from(layer.proto) | u64::from(layer.tcp_flags) << 8 | u64::from(layer.flags) << 16;
    borderguard_log(head(packet, SOURCE, number), layer.src.hi, layer.src.lo, ports, rest);
    borderguard_log(head(packet, DESTINATION, number), layer.dst.hi, layer.dst.lo, 0, 0);
}

/// Logs one step of the packet in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_log_step(number: u32, packet: u64, at: u32) -> u32 {
    let Some(steps) = STEPS.get_ptr(number) else { return 0 };
    // SAFETY: as in `begin`; the index is within the array.
    let [what, one, two, three] =
        unsafe { *(&raw const (*steps).steps).cast::<[u64; 4]>().add(at as usize & (MAX_TRACE_STEPS - 1)) };
    borderguard_log(head(packet, STEP, u64::from(at)), what, one, two, three)
}

/// Logs one record. In a function of its own, so that the verifier follows the formatting once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_log(head: u64, one: u64, two: u64, three: u64, four: u64) -> u32 {
    info!((), "{} {} {} {} {}", head, one, two, three, four);
    0
}
