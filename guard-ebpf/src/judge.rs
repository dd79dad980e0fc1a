//! One packet's way: copy, parse, judge, exempt, account.

use guard_common::abi::{Hook, NO_EXEMPTION, Outcome, dimension};
use guard_common::decide::Decision;
use guard_common::packet::{Fault, Link, Packet, Parsed};
use guard_common::tables::Tables;
use guard_common::verdict::{Reason, Verdict};

use crate::account::{account, total};
use crate::header::{self, SHORT_LEN};
use crate::maps::{KernelTables, SCRATCH, Scratch};
use crate::origin::Source;
use crate::seam;

/// Judges one packet and accounts for it. True where it may go.
#[inline(always)]
pub fn judge<S: Source>(hook: Hook, link: Link, source: &S) -> bool {
    judge_with(hook, link, source, |_| ())
}

/// As [`judge`], with a change made to what was parsed: the bench's way to vary the destination.
#[inline(always)]
pub fn judge_with<S: Source>(hook: Hook, link: Link, source: &S, change: impl FnOnce(&mut Packet)) -> bool {
    let Some(scratch) = SCRATCH.get_ptr_mut(hook as u32) else { return false };
    // SAFETY: the element is this CPU's and this hook's, and a hook does not interrupt itself. The seams
    // take their own reference while this one is not used.
    let scratch = unsafe { &mut *scratch };
    source.describe(&mut scratch.provenance);
    let Some(tables) = KernelTables::live() else {
        total(hook, &Outcome::from(Decision::no_tables()), scratch.provenance.wire_len);
        return false;
    };
    let Some(policy) = tables.policy() else { return false };
    if policy.dimensions & dimension::CGROUP != 0 {
        source.describe_cgroups(policy.cgroup_levels, &mut scratch.provenance);
    }
    parse(hook, link, source, scratch);
    change(&mut scratch.packet);
    if seam::borderguard_judge(hook as u32, tables.live.0) == seam::EXEMPTABLE {
        exempt(hook, &tables, scratch);
    }
    account(hook, scratch, policy);
    scratch.outcome.verdict != Verdict::Drop as u8
}

/// Parses the frame's first bytes, and more of them where these do not tell.
#[inline(always)]
fn parse<S: Source>(hook: Hook, link: Link, source: &S, scratch: &mut Scratch) {
    if header::copy_short(source, scratch) {
        scratch.parsed = seam_parse(hook, link);
        if scratch.parsed <= Parsed::Ip.code() || scratch.provenance.frame_len <= SHORT_LEN as u32 {
            return;
        }
    }
    if header::copy(source, scratch) {
        scratch.parsed = seam_parse(hook, link);
    } else {
        scratch.packet.layer_count = 0;
        scratch.packet.hop_count = 0;
        scratch.parsed = Parsed::Malformed(Fault::Truncated).code();
    }
}

#[inline(always)]
fn seam_parse(hook: Hook, link: Link) -> u32 {
    match link {
        Link::Ethernet => seam::borderguard_parse(hook as u32),
        Link::Raw => seam::borderguard_parse_raw(hook as u32),
    }
}

/// Lets an exemption decide where one covers the packet.
#[inline(always)]
fn exempt(hook: Hook, tables: &KernelTables, scratch: &mut Scratch) {
    let answer = seam::borderguard_exempt(hook as u32, tables.live.0);
    let outcome = &mut scratch.outcome;
    if answer & seam::EXEMPT != 0 {
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
