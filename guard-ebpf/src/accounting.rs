//! Counters, flow records and events. Nothing here changes a verdict, and no verdict waits for it.

use core::mem::offset_of;

use aya_ebpf::bindings::BPF_NOEXIST;
use guard_common::abi::{
    Count, Event, FlowKey, FlowRecord, Hook, Loss, Outcome, OutcomeKey, Place, PolicyTable,
    event_limit_index, fold_pins, permitted_index, spend_event, total_index,
};
use guard_common::decide;
use guard_common::packet::{Addr, Layer};
use guard_common::verdict::Reason;

use crate::atomic;
use crate::maps::{EVENTS, FLOWS, LIMITS, LOST, OUTCOMES, PERMITTED, TOTAL_COUNTS, UNPLACED};
use crate::scratch::{Scratch, preemptible};
use crate::subprograms::{self, boot_ns};

/// A flow's verdict is reported again after this time at the earliest, nanoseconds.
const EVENT_INTERVAL_NS: u64 = 1_000_000_000;

/// Accounts for one decided packet, whose outcome is in the scratch of this number.
#[inline(always)]
pub fn account(number: u32, hook: Hook, scratch: &Scratch, policy: &PolicyTable) {
    let bytes = scratch.provenance.wire_len;
    let outcome = &scratch.outcome;
    total(hook, outcome, bytes);
    if outcome.tag == 0 {
        return;
    }
    count_pins(hook, outcome, bytes);
    if outcome.unplaced != 0 {
        subprograms::borderguard_count_unplaced(number);
    }
    if outcome.denied != 0 || outcome.tag & policy.record_all != 0 {
        subprograms::borderguard_record(number, policy.generation);
    }
}

/// Counts a packet in the totals, where every packet of the hook is.
#[inline(always)]
pub fn total(hook: Hook, decision: &Outcome, bytes: u64) {
    add(TOTAL_COUNTS.get_ptr_mut(total_index(hook, decision.verdict, decision.reason)), bytes);
}

/// Adds a packet to a count of this CPU, atomically where another program may be at the same count.
#[inline(always)]
fn add(count: Option<*mut Count>, bytes: u64) {
    let Some(count) = count else { return };
    // SAFETY: the pointer is to this CPU's element of a map. Where no other program of this hook runs on the CPU
    // meanwhile, this one alone writes it; else all write it by atomic operations alone.
    unsafe {
        if preemptible() {
            atomic::fetch_add(&raw mut (*count).packets, 1);
            atomic::fetch_add(&raw mut (*count).bytes, bytes);
        } else {
            (*count).packets += 1;
            (*count).bytes += bytes;
        }
    }
}

/// Counts a packet for each of its pins.
#[inline(always)]
fn count_pins(hook: Hook, decision: &Outcome, bytes: u64) {
    let permitted = decision.reason == Reason::Permitted as u8 && hook as u8 == Hook::Egress as u8;
    let mut pins = if decision.denied != 0 { decision.denied } else { decision.tag };
    for _ in 0..64 {
        if pins == 0 {
            break;
        }
        let pin = pins.trailing_zeros() & 63;
        pins &= pins - 1;
        if permitted {
            add(
                PERMITTED.get_ptr_mut(permitted_index(pin, Place(decision.place).jurisdiction_index())),
                bytes,
            );
        } else {
            count_outcome(hook, decision, pin as u8, bytes);
        }
    }
}

#[inline(always)]
fn count_outcome(hook: Hook, decision: &Outcome, pin: u8, bytes: u64) {
    let jurisdiction = Place(decision.place).jurisdiction_index();
    let hook_verdict = (hook as u8) << 4 | decision.verdict;
    // By a whole word, as in `key`.
    let key = u32::from_ne_bytes([pin, jurisdiction, hook_verdict, decision.reason]);
    match OUTCOMES.get_ptr_mut(outcome_key(key)) {
        Some(count) => add(Some(count), bytes),
        None => {
            subprograms::borderguard_count_first_outcome(key, bytes);
        }
    }
}

/// The key of these bytes.
#[inline(always)]
fn outcome_key(bytes: u32) -> OutcomeKey {
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

/// Counts a packet for each pin that tags it only because its cgroup is not known yet.
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

#[inline(always)]
fn lost(what: Loss) {
    if let Some(count) = LOST.get_ptr_mut(what as u32) {
        // SAFETY: the pointer is to this CPU's element. Both hooks count here, and one may interrupt the other.
        unsafe { atomic::fetch_add(count, 1) };
    }
}

/// Keeps the flow's record, and sends an event for its first packet under a judgement and then at most
/// once in [`EVENT_INTERVAL_NS`]. Permitted flows have records but no events.
#[inline(always)]
pub fn record(hook: Hook, scratch: &Scratch, generation: u64) {
    let Scratch { provenance, packet, outcome: decision, .. } = scratch;
    let bytes = provenance.wire_len;
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    let outer = &packet.layers[0];
    // A packet that could not be read to its first addresses has no flow of its own.
    let key = if packet.layer_count == 0 { nameless(hook, decision) } else { key_of(hook, layer, decision) };
    let outer_dst = if packet.layer_count == 0 { Addr::default() } else { outer.dst };
    // Exemptions were held against the clock just before.
    let now = if decision.exemptable != 0 { scratch.now } else { boot_ns() };
    let tcp_flags = if packet.layer_count == 0 { 0 } else { layer.tcp_flags };
    let Some(record) = FLOWS.get_ptr_mut(key) else {
        let fresh = FlowRecord {
            first_ns: now,
            last_ns: now,
            event_ns: now,
            packets: 1,
            bytes,
            tag: decision.tag,
            denied: decision.denied,
            generation,
            ifindex: provenance.ifindex,
            mark: provenance.mark,
            cgroup: 0,
            place: decision.place,
            exemption: decision.exemption,
            verdict: decision.verdict,
            reason: decision.reason,
            tcp_flags,
            layers: packet.layer_count as u8,
        };
        let made = FLOWS.insert(key, fresh, u64::from(BPF_NOEXIST)).is_ok();
        if !made && let Some(record) = FLOWS.get_ptr_mut(key) {
            // Another CPU has just made it, and sends its event.
            // SAFETY: as below.
            unsafe { count_on(record, bytes, now, tcp_flags, generation) };
            return;
        }
        if !made {
            lost(Loss::Flows);
        }
        if decision.denied != 0 {
            send(&key, &fresh, outer_dst, now);
        }
        return;
    };
    // SAFETY: the record is an element of an LRU hash, whose memory stays a record of this map while the
    // program runs, even if it is given to another flow meanwhile; then a count may land on that flow's
    // record, never outside the map. Counts are atomic, of the rest the last writer's stays.
    unsafe {
        count_on(record, bytes, now, tcp_flags, generation);
        if decision.denied == 0 {
            return;
        }
        let reported = (*record).event_ns;
        // Another CPU may have made the record after this one read the clock.
        let due = now >= reported.wrapping_add(EVENT_INTERVAL_NS);
        if due && atomic::replace(&raw mut (*record).event_ns, reported, now) {
            send(&key, &*record, outer_dst, now);
        }
    }
}

/// Adds a packet to a flow's record.
///
/// # Safety
///
/// `record` must be an element of [`FLOWS`].
#[inline(always)]
unsafe fn count_on(record: *mut FlowRecord, bytes: u64, now: u64, tcp_flags: u8, generation: u64) {
    // SAFETY: the caller vouches for `record`.
    unsafe {
        atomic::fetch_add(&raw mut (*record).packets, 1);
        atomic::fetch_add(&raw mut (*record).bytes, bytes);
        (*record).last_ns = now;
        (*record).tcp_flags |= tcp_flags;
        (*record).generation = generation;
    }
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
    let hook = if key.hook == Hook::Egress as u8 { Hook::Egress } else { Hook::Ingress };
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

/// Sends an event, or counts why it could not be sent.
#[inline(always)]
fn send(key: &FlowKey, record: &FlowRecord, outer_dst: Addr, now: u64) {
    if !within_limit(key, record, now) {
        lost(Loss::Limited);
        return;
    }
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(Event { key: *key, record: *record, outer_dst });
            entry.submit(0);
        }
        None => lost(Loss::Events),
    }
}
