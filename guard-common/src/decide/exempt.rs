//! Exemptions: which of them cover a forbidden packet, and the charge of their quotas.

use super::tag::{peer_set_number, remote_set_number};
use super::{Trace, destination, layer, layer_of};
use crate::abi::{self, Hook, Place};
use crate::packet::Packet;
use crate::search::{at, at_ref};
use crate::tables::Tables;
use crate::verdict::Reason;

/// Exemptions that may share in covering one packet that several pins forbid. They are taken by the lowest
/// slot for the lowest open pin; a packet that would need more of those is not covered.
const MAX_SHARING: u32 = 2;

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
    let transfer = Transfer {
        jurisdiction: u32::from(wanted.place.jurisdiction_index()),
        peer_set: peer_set_number(policy, destination(packet, wanted.destination)),
        remote_set: remote_set_number(policy, layer),
        now: now(),
        bytes: wanted.bytes,
    };
    let mut open = wanted.denied;
    // Slots that were charged plus one, 16 bits each, the last one lowest. It begins with a zero that the
    // verifier does not know for one: else it would follow each of its values by itself.
    let mut charged = u64::from(policy.zero);
    let mut refusal = policy.zero;
    for _ in 0..MAX_SHARING {
        let answer = tables.find_exemption(hook, &transfer, open, trace);
        if answer & FOUND == 0 {
            refusal = answer;
            break;
        }
        let slot = answer as u16;
        charged = charged << 16 | (u64::from(slot) + 1);
        open &= !at_ref(&policy.exemptions, u32::from(slot)).pins;
        if open == 0 {
            return Ok(slot);
        }
    }
    for _ in 0..MAX_SHARING {
        if hook as u8 == Hook::Egress as u8 && charged as u16 != 0 {
            tables.refund(charged as u16 - 1, wanted.bytes);
        }
        charged >>= 16;
    }
    Err(Reason::from_index(refusal as u8).filter(|_| refusal != 0))
}

/// In an answer of [`find_exemption`]: an exemption was found and charged, its account's slot is in the low
/// 16 bits.
pub const FOUND: u32 = 1 << 16;

/// A transfer as exemptions see it.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Number of the destination's jurisdiction.
    pub jurisdiction: u32,
    /// Number of the peer set of its address.
    pub peer_set: u32,
    /// Number of the peer set of its port.
    pub remote_set: u32,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub now: u64,
    /// Bytes of the packet on the wire.
    pub bytes: u64,
}

/// Charges the first exemption that covers the lowest of the open pins. The answer is [`FOUND`] with the
/// slot of its account, or the number of the [`Reason`] why the last one that was looked at does not cover it, or 0.
#[inline(always)]
pub fn find_exemption<T: Tables, R: Trace>(
    hook: Hook,
    tables: &T,
    transfer: &Transfer,
    open: u64,
    trace: &mut R,
) -> u32 {
    let Some(policy) = tables.policy() else { return 0 };
    let by_place = at_ref(&policy.exempt_jurisdictions, transfer.jurisdiction);
    let by_address = &at_ref(&policy.peer_sets, transfer.peer_set).exemptions;
    let by_port = &at_ref(&policy.remote_sets, transfer.remote_set).exemptions;
    let of_pin = at_ref(&policy.exempt_pins, open.trailing_zeros());
    let mut refusal = policy.zero;
    for word in 0..abi::EXEMPTION_WORDS as u32 {
        let mut bits = (at(by_place, word) | at(by_address, word)) & at(by_port, word) & at(of_pin, word);
        for _ in 0..64 {
            if bits == 0 {
                break;
            }
            let slot = word * 64 + bits.trailing_zeros();
            bits &= bits - 1;
            let exemption = at_ref(&policy.exemptions, slot);
            let outcome = if transfer.now < exemption.valid_from_ns {
                Err(Reason::ExemptionNotYet)
            } else if transfer.now >= exemption.valid_until_ns {
                Err(Reason::ExemptionExpired)
            } else if hook as u8 == Hook::Egress as u8
                && !tables.charge(exemption.account as u16, transfer.bytes, exemption.quota)
            {
                Err(Reason::ExemptionExhausted)
            } else {
                Ok(())
            };
            trace.exemption(slot as u16, outcome);
            match outcome {
                Ok(()) => return FOUND | exemption.account as u16 as u32,
                // A number that the verifier does not know, or it would follow each reason by itself.
                Err(reason) => refusal = policy.zero | reason as u32,
            }
        }
    }
    refusal
}
