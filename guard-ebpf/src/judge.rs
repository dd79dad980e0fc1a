//! One packet's way: copy, parse, decide, account.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use guard_common::abi::{Hook, NO_EXEMPTION, Place};
use guard_common::decide::{self, Decision, NoTrace};
use guard_common::packet::{self, Link, Packet, Parsed};
use guard_common::tables::Origin;
use guard_common::verdict::{Reason, Verdict};

use crate::account::account;
use crate::header::{self, Frame};
use crate::maps::{KernelTables, SCRATCH};

/// Judges one packet and accounts for it; the answer is what the hook returns the code of.
#[inline(always)]
pub fn judge<F: Frame, O: Origin>(hook: Hook, link: Link, frame: &F, origin: &O) -> Verdict {
    judge_with(hook, link, frame, origin, |_| ())
}

/// As [`judge`], with a change made to what was parsed: the bench's way to vary the destination.
#[inline(always)]
pub fn judge_with<F: Frame, O: Origin>(
    hook: Hook,
    link: Link,
    frame: &F,
    origin: &O,
    change: impl FnOnce(&mut Packet),
) -> Verdict {
    let Some(scratch) = SCRATCH.get_ptr_mut(hook as u32) else { return Verdict::Drop };
    // SAFETY: the element is this CPU's and this hook's, and a hook does not interrupt itself.
    let scratch = unsafe { &mut *scratch };
    let parsed = if header::copy(frame, scratch) {
        packet::parse(
            link,
            &scratch.header,
            scratch.valid as usize,
            frame.frame_len() as usize,
            &mut scratch.packet,
        )
    } else {
        scratch.packet.layer_count = 0;
        scratch.packet.hop_count = 0;
        Parsed::Malformed(packet::Fault::Truncated)
    };
    change(&mut scratch.packet);
    if hook as u8 == Hook::Ingress as u8 {
        decide::mirror(&mut scratch.packet);
    }
    let Some(tables) = KernelTables::live() else {
        return no_tables(hook, &scratch.packet, origin);
    };
    let decision = decide::decide(hook, parsed, &scratch.packet, &tables, origin, boot_ns, &mut NoTrace);
    account(hook, &decision, &scratch.packet, &tables, origin);
    decision.verdict
}

/// `CLOCK_BOOTTIME` in nanoseconds: it goes on in suspend, and nobody can set it.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads the clock.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
fn no_tables<O: Origin>(hook: Hook, _packet: &Packet, origin: &O) -> Verdict {
    let decision = Decision {
        verdict: Verdict::Drop,
        reason: Reason::NoTables,
        place: Place::UNKNOWN,
        exemption: NO_EXEMPTION,
        layer: 0,
        tag: 0,
        denied: 0,
    };
    crate::account::total(hook, &decision, origin.wire_len());
    decision.verdict
}
