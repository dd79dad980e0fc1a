//! Functions that the verifier judges once, for all calls: global functions (kernel 5.6, BTF linkage
//! `global`). Their arguments and answers are plain numbers and the rest is in scratch memory, so that
//! every call looks the same to it and the ways through one do not multiply with those through the next.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use guard_common::abi::{Hook, Live, Outcome, Place};
use guard_common::decide::{self, NoTrace, Transfer, Wanted};
use guard_common::packet::{self, Addr, HEADER_LEN, Link, Parsed};
use guard_common::tables::Tables as _;

use crate::accounting;
use crate::scratch::{self, Scratch};
use crate::tables::KernelTables;

/// What a function answers that could not read the tables: no place.
pub const NOTHING: u32 = u32::MAX;

/// What [`borderguard_step`] answers where another header follows.
const GOES_ON: u32 = u32::MAX - 1;

/// What [`borderguard_judge`] answers where an exemption can cover the packet.
pub const EXEMPTABLE: u32 = 1;

/// In the answer of [`borderguard_exempt`]: the packet is covered, by the slot in the low 16 bits.
pub const EXEMPT: u32 = 1 << 16;

/// The scratch of this number.
#[inline(always)]
fn scratch<'a>(number: u32) -> Option<&'a mut Scratch> {
    // SAFETY: the scratch is this program's alone, and the caller of a subprogram does not use its own reference
    // meanwhile.
    scratch::get(number).map(|scratch| unsafe { &mut *scratch })
}

/// [`decide::place`] of the address with these halves, over the slots of this live word: a place, or
/// [`NOTHING`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_place(hi: u64, lo: u64, live: u32) -> u32 {
    let tables = KernelTables { live: Live(live), scratch: 0 };
    match decide::place(&tables, Addr { hi, lo }) {
        Some(place) => u32::from(place.0),
        None => NOTHING,
    }
}

/// [`packet::parse`] of the Ethernet frame in the scratch of this number, mirrored on ingress: a [`Parsed::code`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_parse(number: u32) -> u32 {
    parse(number, Link::Ethernet)
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

/// [`decide::judge`] of the packet in the scratch of this number; the outcome is written there. The answer is
/// [`EXEMPTABLE`] or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_judge(number: u32, live: u32) -> u32 {
    let Some(scratch) = scratch(number) else { return 0 };
    let tables = KernelTables { live: Live(live), scratch: number };
    let parsed = Parsed::from_code(scratch.parsed);
    let decision = decide::judge(
        scratch::hook(number),
        parsed,
        &scratch.packet,
        &tables,
        &scratch.provenance,
        &mut NoTrace,
    );
    scratch.outcome = Outcome::from(decision);
    u32::from(decision.exemptable)
}

/// Writes [`decide::by_origin`] of the packet in the scratch of this number there, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_by_origin(number: u32, live: u32) -> u32 {
    let tables = KernelTables { live: Live(live), scratch: number };
    if let (Some(scratch), Some(policy)) = (scratch(number), tables.policy()) {
        scratch.by_origin = decide::by_origin(scratch::hook(number), policy, &scratch.provenance);
    }
    0
}

/// [`decide::failsafe_covers`] the packet in the scratch of this number, over the slots of this live word: 1 or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_failsafe(number: u32, live: u32) -> u32 {
    let tables = KernelTables { live: Live(live), scratch: number };
    match (scratch(number), tables.policy()) {
        (Some(scratch), Some(policy)) => {
            u32::from(decide::failsafe_covers(policy, &scratch.packet, &mut NoTrace))
        }
        _ => 0,
    }
}

/// [`decide::source_pins`] of the address with these halves, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_source_pins(hi: u64, lo: u64, live: u32) -> u64 {
    let tables = KernelTables { live: Live(live), scratch: 0 };
    // Without tables nothing is known to be not pinned.
    tables.policy().map_or(u64::MAX, |policy| decide::source_pins(policy, Addr { hi, lo }))
}

/// Writes [`decide::unplaced_pins`] of the packet in the scratch of this number there, over the slots of this live
/// word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_find_unplaced(number: u32, live: u32) -> u32 {
    let tables = KernelTables { live: Live(live), scratch: number };
    if let (Some(scratch), Some(policy)) = (scratch(number), tables.policy()) {
        scratch.provenance.unplaced = decide::unplaced_pins(policy, &scratch.provenance);
    }
    0
}

/// [`decide::exempt`] for the packet and the outcome in the scratch of this number: [`EXEMPT`] with a slot, or
/// the number of the reason why an exemption does not cover it, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_exempt(number: u32, live: u32) -> u32 {
    let Some(scratch) = scratch(number) else { return 0 };
    let tables = KernelTables { live: Live(live), scratch: number };
    scratch.now = boot_ns();
    let now = scratch.now;
    let wanted = Wanted {
        destination: u32::from(scratch.outcome.destination),
        place: Place(scratch.outcome.place),
        denied: scratch.outcome.denied,
        bytes: scratch.provenance.wire_len,
    };
    match decide::exempt(scratch::hook(number), &scratch.packet, &tables, &wanted, || now, &mut NoTrace) {
        Ok(slot) => EXEMPT | u32::from(slot),
        Err(Some(reason)) => reason as u32,
        Err(None) => 0,
    }
}

/// [`decide::take`] of the exemption in this slot; `tables` is [`KernelTables::from_whole`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_take(tables: u64, slot: u32, now: u64, bytes: u64) -> u32 {
    let tables = KernelTables::from_whole(tables);
    let Some(policy) = tables.policy() else { return 0 };
    decide::take(scratch::hook(tables.scratch), &tables, policy, slot, &Transfer { now, bytes })
}

/// [`decide::find_exemption`] among the candidates of the scratch; `tables` is [`KernelTables::from_whole`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_find_exemption(tables: u64, open: u64, now: u64, bytes: u64) -> u32 {
    let tables = KernelTables::from_whole(tables);
    let number = tables.scratch;
    let Some(scratch) = scratch(number) else { return 0 };
    let transfer = Transfer { now, bytes };
    let candidates = &scratch.last_recipient.candidates;
    decide::find_exemption(scratch::hook(number), &tables, candidates, &transfer, open, &mut NoTrace)
}

/// [`accounting::record`] of the packet and the outcome in the scratch of this number, judged by this generation.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_record(number: u32, generation: u64) -> u32 {
    if let Some(scratch) = scratch(number) {
        accounting::record(scratch::hook(number), scratch, generation);
    }
    0
}

/// [`accounting::count_first_outcome`] of the packet and the outcome in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_count_first_outcome(key: u32, bytes: u64) -> u32 {
    accounting::count_first_outcome(key, bytes);
    0
}

/// [`accounting::count_unplaced`] of the packet and the outcome in the scratch of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_count_unplaced(number: u32) -> u32 {
    if let Some(scratch) = scratch(number) {
        accounting::count_unplaced(scratch);
    }
    0
}

/// `CLOCK_BOOTTIME` in nanoseconds: it goes on in suspend, and nobody can set it.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads the clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
