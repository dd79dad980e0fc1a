//! Egress that no pin tags, counted by where it goes. Nothing here changes a verdict.

use aya_ebpf::bindings::BPF_NOEXIST;
use guard_common::abi::{
    Count, Place, PlacedBy, PolicyTable, Side, UntaggedKey, UntaggedRecord, dimension, service_port,
};
use guard_common::decide;
use guard_common::packet::{Addr, Layer};

use crate::cache::LastLookup;
use crate::counters::{add, add_shared};
use crate::maps::{UNTAGGED, UNTAGGED_FLOWS};
use crate::scratch::Scratch;

/// Counts the packet in the scratch where it goes to the last peer that was counted, and no flow is kept. False where
/// nothing was counted: then [`count`] is to. The short way, for a packet that no pin tags is to cost next to nothing.
#[inline(always)]
pub fn count_again(scratch: &Scratch, policy: &PolicyTable) -> bool {
    let peer = decide::layer(&scratch.packet, 0).dst;
    let last = &scratch.last_untagged;
    // With no layer there is no peer, and what stands in its place is an earlier packet's.
    if scratch.packet.layer_count == 0
        || policy.dimensions & dimension::UNTAGGED != 0
        || !last.answers(peer, policy.generation)
        || last.value > u64::from(u16::MAX)
    {
        return false;
    }
    let place = Place(last.value as u16);
    if place.0 >> 8 != PlacedBy::LinkScope as u16 {
        add(UNTAGGED.get_ptr_mut(u32::from(place.jurisdiction_index())), scratch.provenance.wire_len);
    }
    true
}

/// Counts the packet in the scratch, and keeps its flow where the policy asks for that. `place` answers as
/// [`borderguard_place`](crate::subprograms::borderguard_place). What can't go beyond the link is left out.
#[inline(always)]
pub fn count(scratch: &mut Scratch, policy: &PolicyTable, place: impl FnOnce(Addr) -> u32) {
    let bytes = scratch.provenance.wire_len;
    if scratch.packet.layer_count == 0 {
        add(UNTAGGED.get_ptr_mut(u32::from(Place::UNKNOWN.jurisdiction_index())), bytes);
        return;
    }
    let peer = decide::layer(&scratch.packet, 0).dst;
    let last = &mut scratch.last_untagged;
    if !last.answers(peer, policy.generation) {
        let value = u64::from(place(peer));
        *last = LastLookup { address: peer, generation: policy.generation, value };
    }
    // Without tables nothing is placed, and what a map can't hold is no place: `unknown`.
    let place = if last.value > u64::from(u16::MAX) { Place::UNKNOWN } else { Place(last.value as u16) };
    if place.0 >> 8 == PlacedBy::LinkScope as u16 {
        return;
    }
    add(UNTAGGED.get_ptr_mut(u32::from(place.jurisdiction_index())), bytes);
    if policy.dimensions & dimension::UNTAGGED != 0 {
        keep_flow(scratch, place);
    }
}

/// Adds the packet to its flow.
#[inline(always)]
fn keep_flow(scratch: &Scratch, place: Place) {
    let Scratch { provenance, packet, .. } = scratch;
    let layer = decide::layer(packet, 0);
    let (port, side) = match layer.flags & Layer::HAS_PORTS {
        0 => (0, Side::None),
        _ => service_port(layer.sport, layer.dport),
    };
    let key = UntaggedKey {
        peer: layer.dst,
        cgroup: provenance.cgroup,
        ifindex: provenance.ifindex,
        place: place.0,
        port,
        proto: layer.proto,
        side: side as u8,
        pad: [0; 6],
    };
    if UNTAGGED_FLOWS.get_ptr_mut(key).is_none() {
        // Another CPU may make it meanwhile, which is as good. Where there is no room, the counts have the packet.
        let fresh = UntaggedRecord { count: Count { packets: 0, bytes: 0 }, process: provenance.process };
        let _there_now = UNTAGGED_FLOWS.insert(key, fresh, u64::from(BPF_NOEXIST));
    }
    if let Some(record) = UNTAGGED_FLOWS.get_ptr_mut(key) {
        // SAFETY: the record is an element of an LRU hash, whose memory stays a record of this map while the program
        // runs, even if it is given to another flow meanwhile.
        unsafe { add_shared(&raw mut (*record).count, provenance.wire_len) };
    }
}
