//! What is accounted for a decided packet: its counters, and where one is kept its flow's record. Nothing here changes
//! a verdict, and no verdict waits for it.

use guard_common::abi::{Hook, NO_EXEMPTION, Outcome, Place, PolicyTable, Provenance};
use guard_common::search::at_ref;
use guard_common::verdict::Reason;

use crate::counters::{add, outcome_key, permitted, total};
use crate::maps::OUTCOMES;
use crate::records;
use crate::scratch::Scratch;
use crate::subprograms;

/// Accounts for one decided packet, whose outcome is in the scratch of this number. `describe` writes who sent it, where
/// an event is to have that.
#[inline(always)]
pub fn account(
    number: u32,
    hook: Hook,
    scratch: &mut Scratch,
    policy: &PolicyTable,
    describe: impl FnOnce(&mut Provenance),
) {
    let bytes = scratch.provenance.wire_len;
    let outcome = &scratch.outcome;
    total(hook, outcome, bytes);
    if outcome.tag == 0 {
        return;
    }
    count_pins(hook, outcome, bytes);
    if outcome.unplaced != 0 {
        subprograms::borderguard_count_unplaced(number);
    }
    if outcome.denied != 0 || outcome.tag & policy.record_all != 0 {
        // It looks by itself whether there are any: a branch here is one more for each path of the verifier's.
        subprograms::borderguard_count_permitting(number);
        scratch.identity = identity(policy, &scratch.outcome);
        let left = subprograms::borderguard_record(number, policy.generation);
        if left != records::DONE {
            describe(&mut scratch.provenance);
            subprograms::borderguard_report(number, policy.generation, left);
        }
    }
}

/// What the pins' numbers and the exemption's stand for in this policy.
#[inline(always)]
fn identity(policy: &PolicyTable, decision: &Outcome) -> u32 {
    match decision.exemption {
        NO_EXEMPTION => policy.identity,
        slot => policy.identity ^ at_ref(&policy.exemptions, u32::from(slot)).identity,
    }
}

/// Counts a packet for each of its pins that it was decided for.
#[inline(always)]
fn count_pins(hook: Hook, decision: &Outcome, bytes: u64) {
    let is_permitted = decision.reason == Reason::Permitted as u8 && hook as u8 == Hook::Egress as u8;
    let mut pins = if decision.denied != 0 { decision.denied } else { decision.tag };
    for _ in 0..64 {
        if pins == 0 {
            break;
        }
        let pin = pins.trailing_zeros() & 63;
        pins &= pins - 1;
        if is_permitted {
            permitted(pin, decision, bytes);
        } else {
            count_outcome(hook, decision, pin as u8, bytes);
        }
    }
}

#[inline(always)]
fn count_outcome(hook: Hook, decision: &Outcome, pin: u8, bytes: u64) {
    let jurisdiction = Place(decision.place).jurisdiction_index();
    let hook_verdict = (hook as u8) << 4 | decision.verdict;
    // By a whole word, as in `key`.
    let key = u32::from_ne_bytes([pin, jurisdiction, hook_verdict, decision.reason]);
    match OUTCOMES.get_ptr_mut(outcome_key(key)) {
        Some(count) => add(Some(count), bytes),
        None => {
            subprograms::borderguard_count_first_outcome(key, bytes);
        }
    }
}
