//! One packet's way: copy, parse, decide, account.

use guard_common::abi::{Canary, Hook, Outcome, dimension};
use guard_common::decide::{self, Decision};
use guard_common::packet::{Fault, Link, Packet, Parsed, contradicts};
use guard_common::verdict::{Reason, Verdict};

use crate::accounting::account;
use crate::atomic;
use crate::counters::total;
use crate::decision::{borderguard_judge, decide_on, describe, describe_sender, parse_copied};
use crate::generation::Generation;
use crate::header;
use crate::hooks::Source;
use crate::listener;
use crate::rewritten;
use crate::scratch::{self, Scratch};
use crate::second::Second;
use crate::segments;
use crate::subprograms;
use crate::untagged;

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
        // Here, where no packet comes by once something is live.
        subprograms::borderguard_use_kept();
        return false;
    };
    let Some(policy) = generation.policy() else { return false };
    describe(number, generation, source, policy, scratch);
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
    let second = Second::begin(number, policy.generation);
    let judged = borderguard_judge(number, generation.live.0);
    let judged = rewritten::judge((number, hook), generation, source, policy, scratch, judged);
    if let Some(canary) = source.canary() {
        drop_canary(number, policy.generation, source, scratch, canary);
        return false;
    }
    decide_on(number, generation, judged, (hook, link), source, scratch);
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
    second.judge(number, hook, link, source);
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

/// Parses the frame's first bytes, and more of them where these do not tell.
#[inline(always)]
fn parse<S: Source>(number: u32, link: Link, source: &S, scratch: &mut Scratch) {
    if header::copy_short(source, scratch) {
        scratch.parsed = parse_copied(number, link);
        if scratch.parsed <= Parsed::Ip.code() || scratch.provenance.frame_len <= scratch.valid {
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
