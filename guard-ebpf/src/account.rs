//! Counters, flow records and events. Nothing here changes a verdict, and no verdict waits for it.

use aya_ebpf::bindings::BPF_NOEXIST;
use guard_common::abi::{
    Count, Event, FlowKey, FlowRecord, Hook, Loss, Outcome, OutcomeKey, Place, PolicyTable, permitted_index,
    total_index,
};
use guard_common::decide;
use guard_common::packet::{Addr, Layer};
use guard_common::verdict::Reason;

use crate::atomic;
use crate::maps::{EVENTS, FLOWS, LOST, OUTCOMES, PERMITTED, Scratch, TOTAL_COUNTS};
use crate::seam::boot_ns;

/// A flow's verdict is told again after this time at the earliest, nanoseconds.
const EVENT_INTERVAL_NS: u64 = 1_000_000_000;

/// Accounts for one decided packet, whose outcome is in the scratch.
#[inline(always)]
pub fn account(hook: Hook, scratch: &Scratch, policy: &PolicyTable) {
    let bytes = scratch.provenance.wire_len;
    let outcome = &scratch.outcome;
    total(hook, outcome, bytes);
    if outcome.tag == 0 {
        return;
    }
    count_pins(hook, outcome, bytes);
    if outcome.denied != 0 || outcome.tag & policy.record_all != 0 {
        crate::seam::borderguard_record(hook as u32, policy.generation);
    }
}

/// Counts a packet in the totals, where every packet of the hook is.
#[inline(always)]
pub fn total(hook: Hook, decision: &Outcome, bytes: u64) {
    add(TOTAL_COUNTS.get_ptr_mut(total_index(hook, decision.verdict, decision.reason)), bytes);
}

#[inline(always)]
fn add(count: Option<*mut Count>, bytes: u64) {
    if let Some(count) = count {
        // SAFETY: the element is this CPU's, and hooks of one kind do not interrupt each other.
        unsafe {
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
    let key = OutcomeKey {
        pin,
        jurisdiction: Place(decision.place).jurisdiction_index(),
        hook_verdict: (hook as u8) << 4 | decision.verdict,
        reason: decision.reason,
    };
    match OUTCOMES.get_ptr_mut(key) {
        Some(count) => add(Some(count), bytes),
        None => {
            if OUTCOMES.insert(key, Count { packets: 1, bytes }, 0).is_err() {
                lost(Loss::Outcomes);
            }
        }
    }
}

#[inline(always)]
fn lost(what: Loss) {
    if let Some(count) = LOST.get_ptr_mut(what as u32) {
        // SAFETY: the element is this CPU's.
        unsafe { *count += 1 };
    }
}

/// Keeps the flow's record, and sends an event for its first packet under a verdict and then at most
/// once in [`EVENT_INTERVAL_NS`]. Permitted flows have records but no events.
#[inline(always)]
pub fn record(hook: Hook, scratch: &Scratch, generation: u64) {
    let Scratch { provenance, packet, outcome: decision, .. } = scratch;
    let bytes = provenance.wire_len;
    let layer = decide::layer(packet, decide::layer_of(u32::from(decision.destination)));
    let outer = &packet.layers[0];
    // A packet that could not be read to its first addresses has no flow of its own.
    let key = if packet.layer_count == 0 { nameless(hook) } else { key_of(hook, layer) };
    let outer_dst = if packet.layer_count == 0 { Addr::default() } else { outer.dst };
    // Exemptions were held against the clock just before.
    let now = if decision.exemptable != 0 { scratch.now } else { boot_ns() };
    let tcp_flags = if packet.layer_count == 0 { 0 } else { layer.tcp_flags };
    let fresh = || FlowRecord {
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
    let Some(record) = FLOWS.get_ptr_mut(key) else {
        let fresh = fresh();
        if FLOWS.insert(key, fresh, u64::from(BPF_NOEXIST)).is_err() {
            lost(Loss::Flows);
        }
        if decision.denied != 0 {
            send(&key, &fresh, outer_dst);
        }
        return;
    };
    // SAFETY: the record is an element of an LRU hash, whose memory stays a record of this map while the
    // program runs, even if it is given to another flow meanwhile; then a count may land on that flow's
    // record, never outside the map. Counts are atomic, the rest is written by whoever judged last.
    unsafe {
        let changed = (*record).verdict != decision.verdict
            || (*record).reason != decision.reason
            || (*record).exemption != decision.exemption
            || (*record).place != decision.place
            || (*record).denied != decision.denied
            || (*record).tag != decision.tag;
        if changed {
            // What was counted under the old verdict is told as such, and the counts begin anew: no packet
            // that passed is ever told as one that was dropped.
            if (*record).denied != 0 {
                send(&key, &*record, outer_dst);
            }
            *record = fresh();
            if decision.denied != 0 {
                send(&key, &*record, outer_dst);
            }
            return;
        }
        atomic::fetch_add(&raw mut (*record).packets, 1);
        atomic::fetch_add(&raw mut (*record).bytes, bytes);
        (*record).last_ns = now;
        (*record).tcp_flags |= tcp_flags;
        (*record).generation = generation;
        if decision.denied == 0 {
            return;
        }
        let told = (*record).event_ns;
        let due = now.wrapping_sub(told) >= EVENT_INTERVAL_NS;
        if due && atomic::replace(&raw mut (*record).event_ns, told, now) {
            send(&key, &*record, outer_dst);
        }
    }
}

#[inline(always)]
fn key_of(hook: Hook, layer: &Layer) -> FlowKey {
    let ports = layer.flags & Layer::HAS_PORTS != 0;
    FlowKey {
        src: layer.src,
        dst: layer.dst,
        sport: if ports { layer.sport } else { 0 },
        dport: if ports { layer.dport } else { 0 },
        proto: layer.proto,
        hook: hook as u8,
        pad: [0; 2],
    }
}

#[inline(always)]
fn nameless(hook: Hook) -> FlowKey {
    FlowKey {
        src: Addr { hi: 0, lo: 0 },
        dst: Addr { hi: 0, lo: 0 },
        sport: 0,
        dport: 0,
        proto: 0,
        hook: hook as u8,
        pad: [0; 2],
    }
}

#[inline(always)]
fn send(key: &FlowKey, record: &FlowRecord, outer_dst: Addr) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(Event { key: *key, record: *record, outer_dst });
            entry.submit(0);
        }
        None => lost(Loss::Events),
    }
}
