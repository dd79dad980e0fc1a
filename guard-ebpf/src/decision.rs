//! What is decided on a packet that is parsed, by the tables of a live word: by those that are live, and in the programs of a
//! shadow by a candidate's too.

use guard_common::abi::{Hook, NO_EXEMPTION, Outcome, Place, PolicyTable, Process, Provenance, dimension};
use guard_common::decide::{self, Trace as _, Wanted};
use guard_common::packet::{self, Link, Parsed};
use guard_common::tables::Tables as _;
use guard_common::verdict::{Reason, Verdict};

use crate::clock::boot_ns;
use crate::generation::Generation;
use crate::header;
use crate::hooks::Source;
use crate::listener;
use crate::scratch::{self, Scratch};
use crate::subprograms;
use crate::tables::KernelTables;
use crate::users;

/// What [`borderguard_judge`] answers where an exemption can cover the packet.
pub const EXEMPTABLE: u32 = 1;

/// In the answer of [`borderguard_exempt`]: the packet is covered, by the slot in the low 16 bits.
pub const EXEMPT: u32 = 1 << 16;

/// Writes what the selectors of these tables ask for beside the packet's bytes to the scratch of this number. In a function of its
/// own where it is done twice: on Linux 6.1 the program's stack, with that of `borderguard_exempt` below it, is too short for both.
#[cfg_attr(feature = "shadow", inline(never))]
#[cfg_attr(not(feature = "shadow"), inline(always))]
pub fn describe<S: Source>(
    number: u32,
    generation: Generation,
    source: &S,
    policy: &PolicyTable,
    scratch: &mut Scratch,
) {
    if policy.dimensions & dimension::BY_SENDER != 0 {
        users::describe(number, generation, source, policy, scratch);
    }
    let by_volume = policy.dimensions & dimension::VOLUME != 0;
    scratch.provenance.volumes = if by_volume { source.volumes() } else { 0 };
    if policy.dimensions & dimension::DIRECTION != 0 {
        scratch.provenance.direction = source.direction();
    }
}

/// Decides on a packet to the end, of which [`borderguard_judge`] has answered this.
#[inline(always)]
pub fn decide_on<S: Source>(
    number: u32,
    generation: Generation,
    judged: u32,
    (hook, link): (Hook, Link),
    source: &S,
    scratch: &mut Scratch,
) {
    if judged == EXEMPTABLE {
        exempt(number, generation, scratch);
    }
    if hook as u8 == Hook::Ingress as u8 && scratch.outcome.verdict != Verdict::Pass as u8 {
        judge_quoted(number, generation, link, source, scratch);
    }
}

/// Writes the cgroup, the socket and the process that the packet is told with. Byte by byte from map to map: the stack
/// has no room for it. `is_certain` where a pin forbids it whose cgroup is known.
#[inline(always)]
pub fn describe_sender<S: Source>(source: &S, provenance: &mut Provenance, is_certain: bool) {
    provenance.cgroup = source.cgroup();
    // A socket that is pinned only until its cgroup is known may be nobody's by the next packet: it is not to be closed.
    provenance.cookie = if is_certain { source.cookie() } else { 0 };
    match source.facts() {
        // SAFETY: what is kept with a socket stays there while the program runs, and is no scratch. Another program may
        // write it meanwhile: then parts of two processes may come together in an event.
        Some(facts) => unsafe {
            core::ptr::copy_nonoverlapping((*facts).process(), &raw mut provenance.process, 1);
        },
        None => provenance.process = Process::default(),
    }
}

/// Parses what was copied to the scratch of this number.
#[inline(always)]
pub fn parse_copied(number: u32, link: Link) -> u32 {
    match link {
        Link::Ethernet => subprograms::borderguard_parse(number),
        Link::Raw => subprograms::borderguard_parse_raw(number),
    }
}

/// Judges an ICMP error that a pin forbids by the packet that it quotes, [`decide::quoted_by`]. Where that does not stand
/// for it, nothing is changed.
#[inline(always)]
fn judge_quoted<S: Source>(
    number: u32,
    generation: Generation,
    link: Link,
    source: &S,
    scratch: &mut Scratch,
) {
    let layer = decide::layer(&scratch.packet, 0);
    if scratch.parsed != Parsed::Ip.code() || !packet::is_icmp(layer.proto, layer) {
        return;
    }
    // The short copy ends before what is quoted.
    if !header::copy(source, scratch) || parse_copied(number, link) != Parsed::Ip.code() {
        return;
    }
    if subprograms::borderguard_quote(number) == 0 {
        return;
    }
    listener::listener(number).quoted();
    let of_error = scratch.outcome;
    if borderguard_judge(number, generation.live.0) == EXEMPTABLE {
        exempt(number, generation, scratch);
    }
    let of_quoted = &scratch.outcome;
    if !decide::stands_for(of_error.denied, of_quoted.verdict, of_quoted.tag) {
        scratch.outcome = of_error;
        scratch.packet.layers[0] = scratch.error;
    }
}

/// Lets an exemption decide where one covers the packet.
#[inline(always)]
fn exempt(number: u32, generation: Generation, scratch: &mut Scratch) {
    let answer = borderguard_exempt(number, generation.live.0);
    let outcome = &mut scratch.outcome;
    if answer & EXEMPT != 0 {
        outcome.verdict = Verdict::Pass as u8;
        outcome.reason = Reason::Exempt as u8;
        outcome.exemption = answer as u16;
    } else {
        outcome.exemption = NO_EXEMPTION;
        if answer != 0 && outcome.reason != Reason::FailsafeExhausted as u8 {
            outcome.reason = answer as u8;
        }
    }
}

/// [`decide::judge`] of the packet in the scratch of this number; the outcome is written there. The answer is
/// [`EXEMPTABLE`] or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_judge(number: u32, live: u32) -> u32 {
    let Some(scratch) = subprograms::scratch(number) else { return 0 };
    let tables = KernelTables::of(live, number);
    let parsed = Parsed::from_code(scratch.parsed);
    let decision = decide::judge(
        scratch::hook(number),
        parsed,
        &scratch.packet,
        &tables,
        &scratch.provenance,
        &mut listener::listener(number),
    );
    scratch.outcome = Outcome::from(decision);
    u32::from(decision.exemptable)
}

/// [`decide::exempt`] for the packet and the outcome in the scratch of this number: [`EXEMPT`] with a slot, or
/// the number of the reason why an exemption does not cover it, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_exempt(number: u32, live: u32) -> u32 {
    let Some(scratch) = subprograms::scratch(number) else { return 0 };
    let tables = KernelTables::of(live, number);
    scratch.now = boot_ns();
    let now = scratch.now;
    let hook = scratch::hook(number);
    let Some(policy) = tables.policy() else { return 0 };
    let wanted = Wanted {
        destination: u32::from(scratch.outcome.destination),
        place: Place(scratch.outcome.place),
        denied: scratch.outcome.denied,
        bytes: decide::charged(hook, policy, &scratch.provenance, scratch.outcome.tag),
    };
    match decide::exempt(hook, &scratch.packet, &tables, &wanted, || now, &mut listener::listener(number)) {
        Ok(slot) => EXEMPT | u32::from(slot),
        Err(Some(reason)) => reason as u32,
        Err(None) => 0,
    }
}
