//! Exemptions: which of them cover a forbidden packet, and the charge of their quotas.

use super::place::{destination, layer, layer_of};
use super::tag::{layer_port_key, peer_set_number, remote_set_of_key};
use crate::abi::{self, ExemptionSet, Hook, Place, PolicyTable};
use crate::packet::Packet;
use crate::search::{at, at_ref};
use crate::tables::{Accounts, Recipient, Tables, Transfer};
use crate::trace::Trace;
use crate::verdict::Reason;

/// Exemptions that may share in covering one packet that several pins forbid. They are taken by the lowest
/// slot for the lowest open pin; a packet that would need more of those is not covered.
pub const MAX_SHARING: u32 = 2;

/// What an exemption is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Number of the forbidden destination.
    pub destination: u32,
    /// Where it is.
    pub place: Place,
    /// Pins that forbid it.
    pub denied: u64,
    /// Bytes of the packet on the wire.
    pub bytes: u64,
}

/// The second half of [`decide`]: looks for exemptions that together cover every denied pin, at most
/// [`MAX_SHARING`], and charges them. The answer is the slot of the last, or the reason why an exemption
/// that is there does not cover the packet.
///
/// # Errors
///
/// The reason of the last exemption that was looked at; `None` where there is none.
#[inline(always)]
pub fn exempt<T: Tables, R: Trace>(
    hook: Hook,
    packet: &Packet,
    tables: &T,
    wanted: &Wanted,
    now: impl Fn() -> u64,
    trace: &mut R,
) -> Result<u16, Option<Reason>> {
    let policy = tables.policy().ok_or(None)?;
    let layer = layer(packet, layer_of(wanted.destination));
    let recipient = Recipient {
        address: destination(packet, wanted.destination),
        port_key: layer_port_key(layer, layer.dport),
        jurisdiction: u32::from(wanted.place.jurisdiction_index()),
    };
    let transfer = Transfer { now: now(), bytes: wanted.bytes };
    let mut open = wanted.denied;
    // Slots that were charged plus one, 16 bits each, the last one lowest. It begins with a zero that the
    // verifier does not know for one: else it would follow each of its values by itself.
    let mut charged = u64::from(policy.zero);
    let mut refusal = policy.zero;
    for _ in 0..MAX_SHARING {
        let answer = tables.find_exemption(hook, policy, &recipient, &transfer, open, trace);
        if answer & FOUND == 0 {
            refusal = answer;
            break;
        }
        let slot = answer as u16;
        charged = charged << 16 | (u64::from(slot) + 1);
        open &= !at_ref(&policy.exemptions, u32::from(slot)).pins;
        if open == 0 {
            break;
        }
    }
    let last = charged as u16;
    for _ in 0..MAX_SHARING {
        // What a guarded interface below charges has no bytes here.
        if hook as u8 == Hook::Egress as u8 && charged as u16 != 0 && wanted.bytes != 0 {
            let slot = charged as u16 - 1;
            match open {
                // To its own recipient, whoever else shares the quota.
                0 => tables.book(slot, wanted.bytes),
                _ => tables.refund(slot, wanted.bytes),
            }
        }
        charged >>= 16;
    }
    if open == 0 && last != 0 {
        return Ok(last - 1);
    }
    Err(Reason::from_index(refusal as u8).filter(|_| refusal != 0))
}

/// In an answer of [`find_exemption`]: an exemption was found and its account charged, the slot that covers the packet is
/// in the low 16 bits.
pub const FOUND: u32 = 1 << 16;

/// The slot of the account that the exemption in this slot is charged to.
#[inline(always)]
#[must_use]
pub fn account_of(policy: &PolicyTable, slot: u32) -> u16 {
    at_ref(&policy.exemptions, slot).account as u16
}

/// The exemptions that have this recipient, by its jurisdiction or by its address where that is placed as the
/// exemption has it, whatever their pins, windows and quotas.
#[inline(always)]
#[must_use]
pub fn candidates(policy: &PolicyTable, recipient: &Recipient) -> ExemptionSet {
    let by_place = at_ref(&policy.exempt_jurisdictions, recipient.jurisdiction);
    let placed = at_ref(&policy.exempt_places, recipient.jurisdiction);
    let by_address = &at_ref(&policy.peer_sets, peer_set_number(policy, recipient.address)).exemptions;
    let by_port = &at_ref(&policy.remote_sets, remote_set_of_key(policy, recipient.port_key)).exemptions;
    let mut set = [0; abi::EXEMPTION_WORDS];
    for (word, bits) in set.iter_mut().enumerate() {
        let word = word as u32;
        *bits = (at(by_place, word) | at(by_address, word) & at(placed, word)) & at(by_port, word);
    }
    set
}

/// The lowest slot among the candidates that has the lowest of the open pins; [`abi::MAX_EXEMPTIONS`] where
/// there is none. What [`find_exemption`] looks at first.
#[inline(always)]
#[must_use]
pub fn first_candidate(policy: &PolicyTable, candidates: &ExemptionSet, open: u64) -> u32 {
    let of_pin = at_ref(&policy.exempt_pins, open.trailing_zeros());
    for word in 0..abi::EXEMPTION_WORDS as u32 {
        let bits = at(candidates, word) & at(of_pin, word);
        if bits != 0 {
            return word * 64 + bits.trailing_zeros();
        }
    }
    abi::MAX_EXEMPTIONS as u32
}

/// Lets the exemption in this slot cover the transfer, and charges its account. The answer is [`FOUND`] with the slot, or
/// the number of the [`Reason`] why it does not cover it.
#[inline(always)]
pub fn take<A: Accounts>(
    hook: Hook,
    accounts: &A,
    policy: &PolicyTable,
    slot: u32,
    transfer: &Transfer,
) -> u32 {
    let exemption = at_ref(&policy.exemptions, slot);
    let account = exemption.account as u16;
    if transfer.now < exemption.valid_from_ns {
        return Reason::ExemptionNotYet as u32;
    }
    if transfer.now >= exemption.valid_until_ns {
        return Reason::ExemptionExpired as u32;
    }
    if hook as u8 == Hook::Egress as u8 && !accounts.charge(account, transfer.bytes, exemption.quota) {
        return Reason::ExemptionExhausted as u32;
    }
    // A number that the verifier does not know for less than 256: else it would follow each answer by itself.
    FOUND | slot.wrapping_add(policy.zero) & u32::from(u16::MAX)
}

/// Charges the first of the candidates that covers the lowest of the open pins; `take` is [`take`] of a slot. The
/// answer is [`FOUND`] with its slot, or the number of the [`Reason`] why the last one that was looked at does not cover
/// it, or 0.
#[inline(always)]
pub fn find_exemption<R: Trace>(
    policy: &PolicyTable,
    candidates: &ExemptionSet,
    open: u64,
    take: impl Fn(u32) -> u32,
    trace: &mut R,
) -> u32 {
    let of_pin = at_ref(&policy.exempt_pins, open.trailing_zeros());
    let mut refusal = policy.zero;
    for word in 0..abi::EXEMPTION_WORDS as u32 {
        let mut bits = at(candidates, word) & at(of_pin, word);
        for _ in 0..64 {
            if bits == 0 {
                break;
            }
            let slot = word * 64 + bits.trailing_zeros();
            bits &= bits - 1;
            let answer = take(slot);
            let refused = Reason::from_index(answer as u8).filter(|_| answer & FOUND == 0);
            trace.exemption(slot as u16, refused.map_or(Ok(()), Err));
            if answer & FOUND != 0 {
                return answer;
            }
            refusal = answer;
        }
    }
    refusal
}
