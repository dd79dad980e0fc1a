//! Functions that the verifier judges once, for all calls: global functions (kernel 5.6, BTF linkage
//! `global`). Their arguments and answers are plain numbers and the rest is in scratch memory, so that
//! every call looks the same to it and the ways through one do not multiply with those through the next.

use guard_common::abi::Hook;
use guard_common::decide::{self, Transfer};
use guard_common::packet::{self, Addr, HEADER_LEN, Link, Parsed, segment};
use guard_common::tables::Accounts;

use crate::generation::Generation;
use crate::listener::listener;
use crate::maps::{HELD, HIGH_WATER, HOST_ADDRESSES, VOLUME_SLOTS};
use crate::scratch::{self, Scratch};
use crate::{counters, records, untagged};

/// What a function answers that could not read the tables: no place.
pub const NOTHING: u32 = u32::MAX;

/// What [`borderguard_step`] answers where another header follows.
const GOES_ON: u32 = u32::MAX - 1;

/// The scratch of this number.
#[inline(always)]
pub(crate) fn scratch<'a>(number: u32) -> Option<&'a mut Scratch> {
    // SAFETY: the scratch is this program's alone, and the caller of a subprogram does not use its own reference
    // meanwhile.
    scratch::get(number).map(|scratch| unsafe { &mut *scratch })
}

/// [`decide::place_as_written`] of the address with these halves, over the slots of this live word: a place, or
/// [`NOTHING`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_place(hi: u64, lo: u64, live: u32) -> u32 {
    match decide::place_as_written(&Generation::of(live), Addr { hi, lo }) {
        Some(place) => u32::from(place.0),
        None => NOTHING,
    }
}

/// [`borderguard_place`] of what the address with these halves is [`decide::through_nat64`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_place_through_nat64(hi: u64, lo: u64, live: u32) -> u32 {
    let generation = Generation::of(live);
    let Some(policy) = generation.policy() else { return NOTHING };
    let address = decide::through_nat64(policy, Addr { hi, lo });
    borderguard_place(address.hi, address.lo, live)
}

/// [`packet::parse`] of the Ethernet frame in the scratch of this number, mirrored on ingress: a [`Parsed::code`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_parse(number: u32) -> u32 {
    parse(number, Link::Ethernet)
}

/// [`segment::begin`] of the bytes in the scratch of this number, of a datagram of at most `length` bytes: its
/// [`code`](packet::Begin::code).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_segment(number: u32, dport: u32, length: u32) -> u32 {
    // What can't be looked at is taken for a tunnel's.
    scratch(number).map_or(1, |scratch| segment::begin(dport as u16, &scratch.segment, length as u16).code())
}

/// [`segment::has_ip`] of the bytes in the scratch of this number: 1 or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_segment_ip(number: u32, is_ethernet: u32, length: u32) -> u32 {
    let has_ip = |scratch: &mut Scratch| segment::has_ip(is_ethernet != 0, &scratch.segment, length as u16);
    scratch(number).map_or(1, |scratch| u32::from(has_ip(scratch)))
}

/// The same for a bare IP packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_parse_raw(number: u32) -> u32 {
    parse(number, Link::Raw)
}

#[inline(always)]
fn parse(number: u32, link: Link) -> u32 {
    let Some(scratch) = scratch(number) else { return NOTHING };
    let frame_len = scratch.provenance.frame_len;
    let valid = if scratch.valid < HEADER_LEN as u32 { scratch.valid } else { HEADER_LEN as u32 };
    let lengths = (valid as usize, frame_len as usize);
    let begun = packet::begin(link, &scratch.header, lengths, &mut scratch.packet, &mut scratch.walk);
    let parsed = packet::to_the_end(begun, || match borderguard_step(number) {
        GOES_ON => None,
        code => Some(Parsed::from_code(code)),
    });
    if scratch::hook(number) as u8 == Hook::Ingress as u8 {
        decide::mirror(&mut scratch.packet);
    }
    parsed.code()
}

/// [`packet::step`] in the frame of the scratch of this number: a [`Parsed::code`], or [`GOES_ON`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_step(number: u32) -> u32 {
    let Some(scratch) = scratch(number) else { return NOTHING };
    packet::step(&scratch.header, &mut scratch.packet, &mut scratch.walk).map_or(GOES_ON, Parsed::code)
}

/// Puts the packet that the ICMP error in the scratch of this number quotes in its place, and keeps the error's own layer
/// beside: 1. Else 0, where there is nothing to be judged in its place.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_quote(number: u32) -> u32 {
    let Some(scratch) = scratch(number) else { return 0 };
    let valid = if scratch.valid < HEADER_LEN as u32 { scratch.valid } else { HEADER_LEN as u32 };
    packet::quote(&scratch.header, valid as usize, &mut scratch.packet);
    let packet = &mut scratch.packet;
    if !decide::quotes_own(packet) {
        return 0;
    }
    scratch.error = packet.layers[0];
    packet.layers[0] = packet.quoted;
    1
}

/// Writes [`decide::by_origin`] of the packet in the scratch of this number there, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_by_origin(number: u32, live: u32) -> u32 {
    let generation = Generation::of(live);
    if let (Some(scratch), Some(policy)) = (scratch(number), generation.policy()) {
        scratch.by_origin = decide::by_origin(scratch::hook(number), policy, &scratch.provenance);
    }
    0
}

/// [`decide::failsafe`] for the packet in the scratch of this number, of so many bytes on the wire, over the slots of this
/// live word: the number of a [`FailsafeAnswer`](decide::FailsafeAnswer).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_failsafe(number: u32, live: u32, bytes: u64) -> u32 {
    let generation = Generation::of(live);
    match (scratch(number), generation.policy()) {
        (Some(scratch), Some(policy)) => {
            decide::failsafe(&generation, policy, &scratch.packet, bytes, &mut listener(number)) as u32
        }
        _ => 0,
    }
}

/// [`decide::source_pins`] of the address with these halves, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_source_pins(hi: u64, lo: u64, live: u32) -> u64 {
    let generation = Generation::of(live);
    // Without tables nothing is known to be not pinned.
    generation.policy().map_or(u64::MAX, |policy| decide::source_pins(policy, Addr { hi, lo }))
}

/// Whether the address with these halves is one of the host's: 1 or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_is_of_host(hi: u64, lo: u64) -> u32 {
    u32::from(HOST_ADDRESSES.get_ptr(Addr { hi, lo }).is_some())
}

/// [`decide::remote_pins`] of the port of this key, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_remote_pins(port_key: u32, live: u32) -> u64 {
    let generation = Generation::of(live);
    // Without tables nothing is known to be not pinned.
    generation.policy().map_or(u64::MAX, |policy| decide::remote_pins(policy, port_key))
}

/// Writes [`decide::cgroup_pins`] and [`decide::unplaced_pins`] of the cgroups in the scratch of this number to
/// [`Scratch::found`], over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_find_cgroup(number: u32, live: u32) -> u32 {
    let generation = Generation::of(live);
    if let (Some(scratch), Some(policy)) = (scratch(number), generation.policy()) {
        let found = &mut scratch.found;
        found.pins = decide::cgroup_pins(policy, &scratch.provenance.cgroups);
        found.unplaced = match policy.parent_len {
            0 => 0,
            _ => decide::unplaced_pins(policy, &scratch.provenance.cgroups),
        };
        found.generation = policy.generation;
    }
    0
}

/// [`decide::user_pins`] of this user, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_user_pins(uid: u32, live: u32) -> u64 {
    let generation = Generation::of(live);
    // Without tables nothing is known to be not pinned.
    generation.policy().map_or(u64::MAX, |policy| decide::user_pins(policy, uid))
}

/// The number of a scratch and the live word as one number, for a function with many arguments.
#[inline(always)]
#[must_use]
pub fn whole(number: u32, live: u32) -> u64 {
    u64::from(live) << 32 | u64::from(number)
}

/// The two of such a number.
#[inline(always)]
fn parts(whole: u64) -> (u32, Generation) {
    (whole as u32, Generation::of((whole >> 32) as u32))
}

/// [`decide::take`] of the exemption in this slot, for the packet in the scratch of this [`whole`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_take(whole: u64, slot: u32, now: u64, bytes: u64) -> u32 {
    let (number, generation) = parts(whole);
    let Some(policy) = generation.policy() else { return 0 };
    decide::take(scratch::hook(number), &generation, policy, slot, &Transfer { now, bytes })
}

/// [`Accounts::refund`] of a charge to the exemption in this slot, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_refund(slot: u32, bytes: u64, live: u32) -> u32 {
    Generation::of(live).refund(slot as u16, bytes);
    0
}

/// [`decide::find_exemption`] among the candidates in the scratch of this [`whole`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_find_exemption(whole: u64, open: u64, now: u64, bytes: u64) -> u32 {
    let (number, generation) = parts(whole);
    let (Some(scratch), Some(policy)) = (scratch(number), generation.policy()) else { return 0 };
    let candidates = &scratch.last_recipient.candidates;
    let take = |slot| borderguard_take(whole, slot, now, bytes);
    decide::find_exemption(policy, candidates, open, take, &mut listener(number))
}

/// [`counters::count_permitting`] of the packet and the outcome in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_count_permitting(number: u32) -> u32 {
    if let Some(scratch) = scratch(number) {
        counters::count_permitting(scratch::hook(number), scratch);
    }
    0
}

/// [`records::record`] of the packet and the outcome in the scratch of this number, judged by this generation.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_record(number: u32, generation: u64) -> u32 {
    scratch(number)
        .map_or(records::DONE, |scratch| records::record(scratch::hook(number), scratch, generation))
}

/// [`records::report`] of what [`borderguard_record`] has left.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_report(number: u32, generation: u64, left: u32) -> u32 {
    if let Some(scratch) = scratch(number) {
        records::report(scratch, generation, left);
    }
    0
}

/// [`records::report_canary`] of the frame and the outcome in the scratch of this number, which [`counters::count_canary`]
/// counts before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_report_canary(number: u32, generation: u64, name: u64, pin: u32) -> u32 {
    if let Some(scratch) = scratch(number) {
        counters::count_canary(scratch, pin);
        records::report_canary(scratch::hook(number), scratch, generation, name);
    }
    0
}

/// [`counters::count_first_outcome`] of the packet and the outcome in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_count_first_outcome(key: u32, bytes: u64) -> u32 {
    counters::count_first_outcome(key, bytes);
    0
}

/// [`untagged::count`] of the packet in the scratch of this number, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_count_untagged(number: u32, live: u32) -> u32 {
    let generation = Generation::of(live);
    if let (Some(scratch), Some(policy)) = (scratch(number), generation.policy()) {
        let place = |address: Addr| borderguard_place(address.hi, address.lo, live);
        untagged::count(scratch, policy, place);
    }
    0
}

/// [`counters::count_unplaced`] of the packet and the outcome in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_count_unplaced(number: u32) -> u32 {
    if let Some(scratch) = scratch(number) {
        counters::count_unplaced(scratch);
    }
    0
}

/// Uses the maps that are kept for a daemon which starts again, and that no program goes by: of what is attached the kernel then
/// tells that it is of these too. The answer means nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_use_kept() -> u64 {
    let mut word = 0;
    // SAFETY: the pointers are to elements 0 of array maps, which are never freed, and any bytes of theirs are words.
    unsafe {
        if let Some(mark) = HIGH_WATER.get_ptr(0) {
            word ^= core::ptr::read_volatile(&raw const (*mark).sequence);
        }
        if let Some(held) = HELD.get_ptr(0) {
            word ^= core::ptr::read_volatile(held);
        }
        if let Some(volume) = VOLUME_SLOTS.get_ptr(0) {
            word ^= core::ptr::read_volatile(volume);
        }
    }
    word
}
