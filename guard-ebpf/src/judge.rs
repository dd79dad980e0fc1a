//! One packet's way: copy, parse, judge, exempt, account.

use guard_common::abi::{Hook, NO_EXEMPTION, Outcome, dimension};
use guard_common::decide::Decision;
use guard_common::packet::{Fault, Link, Packet, Parsed};
use guard_common::tables::Tables;
use guard_common::verdict::{Reason, Verdict};

use crate::accounting::{account, total};
use crate::header::{self, SHORT_LEN};
use crate::hooks::Source;
use crate::scratch::{self, Scratch};
use crate::subprograms;
use crate::tables::KernelTables;

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
    let Some(tables) = KernelTables::live() else {
        total(hook, &Outcome::from(Decision::no_tables()), scratch.provenance.wire_len);
        return false;
    };
    let Some(policy) = tables.policy() else { return false };
    if policy.dimensions & dimension::CGROUP != 0 {
        source.describe_cgroups(policy.read_levels, &mut scratch.provenance);
        scratch.provenance.unplaced = 0;
        if policy.parent_len != 0 {
            subprograms::borderguard_find_unplaced(number, tables.live.0);
        }
    }
    parse(number, link, source, scratch);
    change(&mut scratch.packet);
    if subprograms::borderguard_judge(number, tables.live.0) == subprograms::EXEMPTABLE {
        exempt(number, &tables, scratch);
    }
    account(number, hook, scratch, policy);
    scratch.outcome.verdict != Verdict::Drop as u8
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

/// Lets an exemption decide where one covers the packet.
#[inline(always)]
fn exempt(number: u32, tables: &KernelTables, scratch: &mut Scratch) {
    let answer = subprograms::borderguard_exempt(number, tables.live.0);
    let outcome = &mut scratch.outcome;
    if answer & subprograms::EXEMPT != 0 {
        outcome.verdict = Verdict::Pass as u8;
        outcome.reason = Reason::Exempt as u8;
        outcome.exemption = answer as u16;
    } else {
        outcome.exemption = NO_EXEMPTION;
        if answer != 0 {
            outcome.reason = answer as u8;
        }
    }
}
