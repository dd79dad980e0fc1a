//! One packet's way: copy, parse, judge, exempt, account.

use guard_common::abi::{Canary, Hook, NO_EXEMPTION, Outcome, Place, Process, Provenance, dimension};
use guard_common::decide::{self, Decision, Trace as _, Wanted};
use guard_common::packet::{self, Fault, Link, Packet, Parsed, contradicts};
use guard_common::tables::Tables as _;
use guard_common::verdict::{Reason, Verdict};

use crate::accounting::account;
use crate::atomic;
use crate::clock::boot_ns;
use crate::counters::total;
use crate::generation::Generation;
use crate::header::{self, SHORT_LEN};
use crate::hooks::Source;
use crate::listener;
use crate::scratch::{self, Scratch};
use crate::segments;
use crate::subprograms;
use crate::tables::KernelTables;
use crate::{untagged, users};

/// What [`borderguard_judge`] answers where an exemption can cover the packet.
pub const EXEMPTABLE: u32 = 1;

/// In the answer of [`borderguard_exempt`]: the packet is covered, by the slot in the low 16 bits.
pub const EXEMPT: u32 = 1 << 16;

/// Judges one packet and accounts for it. True where it may go.
#[inline(always)]
pub fn judge<S: Source>(hook: Hook, link: Link, source: &S) -> bool {
    judge_with(hook, link, source, |_| ())
}

/// As [`judge`], with a change made to what was parsed: the bench's way to vary the destination.
#[inline(always)]
pub fn judge_with<S: Source>(hook: Hook, link: Link, source: &S, change: impl FnOnce(&mut Packet)) -> bool {
    let Some(number) = scratch::claim(hook) else {
        total(hook, &Outcome::from(Decision::dropped(Reason::Busy)), source.wire_len());
        return false;
    };
    let passes = judge_in(number, hook, link, source, change);
    scratch::release(number);
    passes
}

/// Judges one packet in the scratch of this number.
#[inline(always)]
fn judge_in<S: Source>(
    number: u32,
    hook: Hook,
    link: Link,
    source: &S,
    change: impl FnOnce(&mut Packet),
) -> bool {
    let Some(scratch) = scratch::get(number) else { return false };
    // SAFETY: the scratch is this program's alone. Subprograms take their own reference while this one is not used.
    let scratch = unsafe { &mut *scratch };
    source.describe(&mut scratch.provenance);
    let Some(generation) = Generation::live() else {
        total(hook, &Outcome::from(Decision::no_tables()), scratch.provenance.wire_len);
        return false;
    };
    let Some(policy) = generation.policy() else { return false };
    if policy.dimensions & dimension::BY_SENDER != 0 {
        users::describe(number, generation, source, policy, scratch);
    }
    let by_volume = policy.dimensions & dimension::VOLUME != 0;
    scratch.provenance.volumes = if by_volume { source.volumes() } else { 0 };
    if policy.dimensions & dimension::DIRECTION != 0 {
        scratch.provenance.direction = source.direction();
    }
    listener::begin(number);
    parse(number, link, source, scratch);
    if link as u8 == Link::Raw as u8
        && scratch.parsed == Parsed::Ip.code()
        && !scratch::judges_test_runs()
        && source.told_ethertype().is_some_and(|told| contradicts(scratch.header[0], told))
    {
        scratch.parsed = Parsed::Malformed(Fault::Opaque).code();
    }
    let segment_size = source.segment_size();
    if segment_size != 0
        && scratch.parsed == Parsed::Ip.code()
        && segments::is_another_in_a_tunnel(number, source, scratch, segment_size)
    {
        scratch.parsed = Parsed::Malformed(Fault::Opaque).code();
    }
    change(&mut scratch.packet);
    let judged = borderguard_judge(number, generation.live.0);
    if let Some(canary) = source.canary() {
        drop_canary(number, policy.generation, source, scratch, canary);
        return false;
    }
    if judged == EXEMPTABLE {
        exempt(number, generation, scratch);
    }
    if hook as u8 == Hook::Ingress as u8 && scratch.outcome.verdict != Verdict::Pass as u8 {
        judge_quoted(number, generation, link, source, scratch);
    }
    listener::end(number, hook, policy.generation);
    let passes = scratch.outcome.verdict != Verdict::Drop as u8;
    if passes && decide::is_counted_below(hook, policy, scratch.provenance.ifindex, scratch.outcome.tag) {
        return true;
    }
    let is_untagged = hook as u8 == Hook::Egress as u8 && scratch.outcome.reason == Reason::Untagged as u8;
    if is_untagged && policy.dimensions & dimension::UNTAGGED != 0 {
        describe_sender(source, &mut scratch.provenance, false);
    }
    let is_certain = scratch.outcome.denied & !scratch.outcome.unplaced != 0;
    account(number, hook, scratch, policy, |provenance| describe_sender(source, provenance, is_certain));
    if is_untagged && !untagged::count_again(scratch, policy) {
        subprograms::borderguard_count_untagged(number, generation.live.0);
    }
    passes
}

/// Notes what was decided for a canary, which does not leave the host whatever that is. No flow, total or exemption has it.
#[inline(always)]
fn drop_canary<S: Source>(
    number: u32,
    generation: u64,
    source: &S,
    scratch: &mut Scratch,
    canary: *mut Canary,
) {
    describe_sender(source, &mut scratch.provenance, false);
    // SAFETY: what is kept with a socket stays there while the program runs, and is no scratch. The daemon writes it before
    // it sends, and reads it afterwards.
    let (name, pin) = unsafe {
        (*canary).outcome = scratch.outcome;
        (*canary).generation = generation;
        (*canary).ifindex = scratch.provenance.ifindex;
        atomic::fetch_add(&raw mut (*canary).packets, 1);
        ((*canary).number, (*canary).pin)
    };
    subprograms::borderguard_report_canary(number, generation, name, pin);
}

/// Writes the cgroup, the socket and the process that the packet is told with. Byte by byte from map to map: the stack
/// has no room for it. `is_certain` where a pin forbids it whose cgroup is known.
#[inline(always)]
fn describe_sender<S: Source>(source: &S, provenance: &mut Provenance, is_certain: bool) {
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

/// Parses the frame's first bytes, and more of them where these do not tell.
#[inline(always)]
fn parse<S: Source>(number: u32, link: Link, source: &S, scratch: &mut Scratch) {
    if header::copy_short(source, scratch) {
        scratch.parsed = parse_copied(number, link);
        if scratch.parsed <= Parsed::Ip.code() || scratch.provenance.frame_len <= SHORT_LEN as u32 {
            return;
        }
    }
    if header::copy(source, scratch) {
        scratch.parsed = parse_copied(number, link);
    } else {
        scratch.packet.layer_count = 0;
        scratch.packet.hop_count = 0;
        scratch.parsed = Parsed::Malformed(Fault::Truncated).code();
    }
}

#[inline(always)]
fn parse_copied(number: u32, link: Link) -> u32 {
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
