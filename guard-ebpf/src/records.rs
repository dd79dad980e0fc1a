//! Flow records and events. Nothing here changes a verdict, and no verdict waits for it.

use core::mem::offset_of;

use aya_ebpf::bindings::BPF_NOEXIST;
use guard_common::abi::{
    CanaryEvent, Event, FlowKey, FlowRecord, Hook, Loss, Outcome, Process, Provenance, event_limit_index,
    fold_pins, spend_event,
};
use guard_common::decide;
use guard_common::packet::{Addr, Layer, Packet};

use crate::atomic;
use crate::clock::boot_ns;
use crate::counters::lost;
use crate::maps::{EVENTS, FLOWS, LIMITS};
use crate::scratch::Scratch;

/// A flow's verdict is reported again after this time at the earliest, nanoseconds.
const EVENT_INTERVAL_NS: u64 = 1_000_000_000;

/// What [`record`] leaves to [`report`]: nothing.
pub const DONE: u32 = 0;
/// The flow has no record yet.
pub const NO_RECORD: u32 = 1;
/// The packet is counted, and the flow's next event is due.
pub const EVENT_DUE: u32 = 2;

/// Counts the packet on its flow's record. What is left to do for that packet is [`DONE`], [`NO_RECORD`] or
/// [`EVENT_DUE`]: only then it need be known who sends, which takes longer than all of this.
#[inline(always)]
pub fn record(hook: Hook, scratch: &mut Scratch, generation: u64) -> u32 {
    let Scratch { provenance, packet, outcome: decision, identity, .. } = scratch;
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    // A packet that could not be read to its first addresses has no flow of its own.
    let is_named = packet.layer_count != 0;
    let mut key = if is_named { key_of(hook, layer, decision) } else { nameless(hook, decision) };
    key.pins ^= *identity;
    let tcp_flags = if is_named { layer.tcp_flags } else { 0 };
    // Exemptions were held against the clock just before.
    let now = if decision.exemptable != 0 { scratch.now } else { boot_ns() };
    scratch.flow = key;
    scratch.now = now;
    let Some(record) = FLOWS.get_ptr_mut(key) else { return NO_RECORD };
    // SAFETY: the record is an element of an LRU hash, whose memory stays a record of this map while the
    // program runs, even if it is given to another flow meanwhile; then a count may land on that flow's
    // record, never outside the map. Counts are atomic, of the rest the last writer's stays.
    unsafe {
        count_on(record, provenance.wire_len, now, tcp_flags, generation);
        if decision.denied != 0 && is_due(record, now) { EVENT_DUE } else { DONE }
    }
}

/// Makes the flow's record, or sends its next event, as [`record`] has left it. An event is sent for a flow's first
/// packet under a judgement and then at most once in [`EVENT_INTERVAL_NS`]. Permitted flows have records but no events.
#[inline(always)]
pub fn report(scratch: &mut Scratch, generation: u64, left: u32) {
    let Scratch { provenance, packet, outcome: decision, record: fresh, now, flow, .. } = scratch;
    let (now, key) = (*now, *flow);
    let is_named = packet.layer_count != 0;
    let outer = match is_named {
        true => [packet.layers[0].dst, packet.layers[0].src],
        false => [Addr::default(); 2],
    };
    if left == EVENT_DUE {
        let Some(record) = FLOWS.get_ptr_mut(key) else {
            // Given to another flow since: the next packet makes a new one.
            return;
        };
        // SAFETY: as in `record`.
        unsafe {
            let reported = (*record).event_ns;
            if is_due(record, now) && atomic::replace(&raw mut (*record).event_ns, reported, now) {
                (*record).process = provenance.process;
                (*record).volumes = provenance.volumes;
                (*record).cookie = provenance.cookie;
                send(&key, &*record, outer, now);
            }
        }
        return;
    }
    let tcp_flags = fill(provenance, packet, decision, [now, generation], fresh);
    let fresh: &FlowRecord = fresh;
    let made = FLOWS.insert(key, fresh, u64::from(BPF_NOEXIST)).is_ok();
    if !made && let Some(record) = FLOWS.get_ptr_mut(key) {
        // Another CPU has just made it, and sends its event.
        // SAFETY: as in `record`.
        unsafe { count_on(record, provenance.wire_len, now, tcp_flags, generation) };
        return;
    }
    if !made {
        lost(Loss::Flows);
    }
    if decision.denied != 0 {
        send(&key, fresh, outer, now);
    }
}

/// Writes the record of a packet that is the first of its flow, at a moment and by a generation. Returns its TCP flags.
#[inline(always)]
pub(crate) fn fill(
    provenance: &Provenance,
    packet: &Packet,
    decision: &Outcome,
    [now, generation]: [u64; 2],
    to: &mut FlowRecord,
) -> u8 {
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    let tcp_flags = if packet.layer_count != 0 { layer.tcp_flags } else { 0 };
    // Not on the stack, which has no room for it.
    *to = FlowRecord {
        first_ns: now,
        last_ns: now,
        event_ns: now,
        packets: 1,
        bytes: provenance.wire_len,
        tag: decision.tag,
        denied: decision.denied,
        generation,
        ifindex: provenance.ifindex,
        mark: provenance.mark,
        cgroup: provenance.cgroup,
        place: decision.place,
        exemption: decision.exemption,
        verdict: decision.verdict,
        reason: decision.reason,
        tcp_flags,
        layers: packet.layer_count as u8,
        process: provenance.process,
        volumes: provenance.volumes,
        cookie: provenance.cookie,
    };
    tcp_flags
}

/// Sends the event of a canary. Where the ring buffer has no room, that is a lost event.
#[inline(always)]
pub fn report_canary(hook: Hook, scratch: &mut Scratch, generation: u64, name: u64) {
    let Scratch { provenance, packet, outcome: decision, record: fresh, .. } = scratch;
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    let key = if packet.layer_count != 0 { key_of(hook, layer, decision) } else { nameless(hook, decision) };
    fill(provenance, packet, decision, [boot_ns(), generation], fresh);
    match EVENTS.reserve::<CanaryEvent>(0) {
        Some(mut entry) => {
            let to = entry.as_mut_ptr();
            // SAFETY: as in `send`.
            unsafe {
                (*to).event.key = key;
                (*to).event.record = *fresh;
                (*to).event.outer_dst = Addr::default();
                (*to).event.outer_src = Addr::default();
                (*to).number = name;
            }
            entry.submit(0);
        }
        None => lost(Loss::Events),
    }
}

/// Counts one more refused call on a flow's record at a moment and by a generation, and sends the flow's next event where it
/// is due.
///
/// # Safety
///
/// `record` must be an element of [`FLOWS`].
#[inline(always)]
pub unsafe fn count_again(key: &FlowKey, record: *mut FlowRecord, process: &Process, by: (u64, u64)) {
    let (now, generation) = by;
    // SAFETY: the caller vouches for `record`; as in `record`.
    unsafe {
        count_on(record, 0, now, 0, generation);
        let reported = (*record).event_ns;
        if is_due(record, now) && atomic::replace(&raw mut (*record).event_ns, reported, now) {
            (*record).process = *process;
            send(key, &*record, [key.dst, key.src], now);
        }
    }
}

/// Whether a flow's next event is due at `now`. Another CPU may have made the record after this one read the clock.
///
/// # Safety
///
/// `record` must be an element of [`FLOWS`].
#[inline(always)]
unsafe fn is_due(record: *const FlowRecord, now: u64) -> bool {
    // SAFETY: the caller vouches for `record`.
    now >= unsafe { (*record).event_ns }.wrapping_add(EVENT_INTERVAL_NS)
}

/// Adds a packet to a flow's record.
///
/// # Safety
///
/// `record` must be an element of [`FLOWS`].
#[inline(always)]
pub(crate) unsafe fn count_on(record: *mut FlowRecord, bytes: u64, now: u64, tcp_flags: u8, generation: u64) {
    // SAFETY: the caller vouches for `record`.
    unsafe {
        atomic::fetch_add(&raw mut (*record).packets, 1);
        atomic::fetch_add(&raw mut (*record).bytes, bytes);
        (*record).last_ns = now;
        (*record).tcp_flags |= tcp_flags;
        (*record).generation = generation;
    }
}

/// The key of the flow of the packet in this scratch, as it was judged.
#[cfg(feature = "shadow")]
#[inline(always)]
pub(crate) fn flow_key(hook: Hook, scratch: &Scratch) -> FlowKey {
    let Scratch { packet, outcome: decision, .. } = scratch;
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    if packet.layer_count != 0 { key_of(hook, layer, decision) } else { nameless(hook, decision) }
}

/// The TCP flags of that packet.
#[cfg(feature = "shadow")]
#[inline(always)]
pub(crate) fn flow_flags(scratch: &Scratch) -> u8 {
    let Scratch { packet, outcome: decision, .. } = scratch;
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    if packet.layer_count != 0 { layer.tcp_flags } else { 0 }
}

#[inline(always)]
fn key_of(hook: Hook, layer: &Layer, decision: &Outcome) -> FlowKey {
    let ports = layer.flags & Layer::HAS_PORTS != 0;
    let (sport, dport) = if ports { (layer.sport, layer.dport) } else { (0, 0) };
    key(hook, [layer.src, layer.dst], [sport, dport], layer.proto, decision)
}

/// The key of packets without addresses that could be read.
#[inline(always)]
fn nameless(hook: Hook, decision: &Outcome) -> FlowKey {
    key(hook, [Addr { hi: 0, lo: 0 }; 2], [0, 0], 0, decision)
}

/// The key of these fields, written by whole words: the map's hash reads words, which a processor would have to put
/// together from the stores of single bytes that are still under way.
#[inline(always)]
fn key(hook: Hook, addresses: [Addr; 2], ports: [u16; 2], proto: u8, decision: &Outcome) -> FlowKey {
    const { assert!(size_of::<FlowKey>() == 6 * size_of::<u64>() && offset_of!(FlowKey, sport) == 32) };
    const { assert!(offset_of!(FlowKey, proto) == 36 && offset_of!(FlowKey, reason) == 39) };
    const { assert!(offset_of!(FlowKey, place) == 40 && offset_of!(FlowKey, pins) == 44) };
    let [sport, dport] = ports.map(u16::to_ne_bytes);
    let (verdict, reason) = (decision.verdict, decision.reason);
    let head = [sport[0], sport[1], dport[0], dport[1], proto, hook as u8, verdict, reason];
    let (place, exemption) = (decision.place.to_ne_bytes(), decision.exemption.to_ne_bytes());
    let pins = fold_pins(decision.tag, decision.denied).to_ne_bytes();
    let tail = [place[0], place[1], exemption[0], exemption[1], pins[0], pins[1], pins[2], pins[3]];
    let [src, dst] = addresses;
    let words = [src.hi, src.lo, dst.hi, dst.lo, u64::from_ne_bytes(head), u64::from_ne_bytes(tail)];
    // SAFETY: a FlowKey is made of integers alone, without padding, in this order: the layout is held above.
    unsafe { core::mem::transmute::<[u64; 6], FlowKey>(words) }
}

/// Whether an event of this flow is within its limit at `now`, which it is then counted on. Each pin, reason and hook
/// has a limit of its own on each CPU, so that a flood of one hides no other's events.
#[inline(always)]
fn within_limit(key: &FlowKey, record: &FlowRecord, now: u64) -> bool {
    let Some(hook) = Hook::from_index(key.hook) else { return false };
    let Some(limit) = LIMITS.get_ptr_mut(event_limit_index(hook, record.denied, record.reason)) else {
        return false;
    };
    // SAFETY: the element is this CPU's and this hook's. Where another program writes it meanwhile, one event more may
    // pass: the words are aligned, and each is a state.
    unsafe {
        match spend_event(*limit, now) {
            Some(next) => {
                *limit = next;
                true
            }
            None => false,
        }
    }
}

/// Sends an event, or counts why it could not be sent; `outer` has destination and source of the outermost layer.
#[inline(always)]
pub fn send(key: &FlowKey, record: &FlowRecord, outer: [Addr; 2], now: u64) {
    if !within_limit(key, record, now) {
        lost(Loss::Limited);
        return;
    }
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            let event = entry.as_mut_ptr();
            // SAFETY: the entry has room for an event, and all of it is written. Not as a whole, which would first be
            // put together on the stack.
            unsafe {
                (*event).key = *key;
                (*event).record = *record;
                [(*event).outer_dst, (*event).outer_src] = outer;
            }
            entry.submit(0);
        }
        None => lost(Loss::Events),
    }
}
