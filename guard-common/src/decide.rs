//! The decision: which pins a packet has, where it goes, and whether it may.
//!
//! The same function runs in the kernel program over BPF maps and on the host over boxed tables.
//! It does no I/O, keeps no state but the charge of an exemption, and takes the clock as a function,
//! because only packets that need an exemption pay for reading it.

mod early;
mod exempt;
mod own;
mod place;
mod tag;

use crate::abi::{Hook, NO_EXEMPTION, Outcome, Place, PlacedBy, PolicyTable, dimension};
use crate::jurisdiction::Jurisdiction;
use crate::packet::{Fault, MAX_LAYERS, Packet, Parsed};
use crate::tables::{Origin, Tables};
use crate::verdict::{Reason, Verdict};

pub use early::{CALL_PROTOCOLS, Call, caller_pins, refusing};
pub use exempt::{
    FOUND, MAX_SHARING, Wanted, account_of, candidates, exempt, find_exemption, first_candidate, take,
};
pub use own::{OwnEnd, is_sent_from, together};
use place::judge_destinations;
pub use place::{destination, layer, layer_of, place, place_as_written, through_nat64};
pub use tag::{
    by_origin, by_origin_at_once, cgroup_pins, failsafe, is_counted_below, remote_pins, source_pins,
    unplaced_pins, user_pins,
};
use tag::{made_here, tag_by_layer};

pub use crate::tables::{ByOrigin, FailsafeAnswer, Recipient, Transfer};
pub use crate::trace::{NoTrace, Trace};

/// What was decided for one packet, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens to the packet.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Place of the destination that decided.
    pub place: Place,
    /// Slot of the exemption that covers the packet, else [`NO_EXEMPTION`].
    pub exemption: u16,
    /// Number of the destination that decided: those of the layers come first, then the hops.
    pub destination: u32,
    /// Pins that tag the packet.
    pub tag: u64,
    /// Pins that forbid any destination of the packet.
    pub denied: u64,
    /// Pins that tag the packet only because its cgroup is not known yet.
    pub unplaced: u64,
    /// Whether an exemption can cover the packet.
    pub exemptable: bool,
    /// Whether it is the decision for the packet that an ICMP error quotes: [`quoted_by`].
    pub quoted: bool,
}

impl Decision {
    /// The layer that the destination belongs to, 0 for the outermost.
    #[must_use]
    pub const fn layer(&self) -> u32 {
        layer_of(self.destination)
    }

    const fn pass(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Pass,
            reason,
            place: Place::UNKNOWN,
            exemption: NO_EXEMPTION,
            destination: 0,
            tag: 0,
            denied: 0,
            unplaced: 0,
            exemptable: false,
            quoted: false,
        }
    }

    /// Nothing can be judged, so nothing may go.
    #[must_use]
    pub const fn no_tables() -> Self {
        Self::dropped(Reason::NoTables)
    }

    /// The packet could not be judged for this reason, so it may not go.
    #[must_use]
    pub const fn dropped(reason: Reason) -> Self {
        Self { verdict: Verdict::Drop, ..Self::pass(reason) }
    }
}

impl From<Decision> for Outcome {
    #[inline(always)]
    fn from(decision: Decision) -> Self {
        Self {
            tag: decision.tag,
            denied: decision.denied,
            unplaced: decision.unplaced,
            place: decision.place.0,
            exemption: decision.exemption,
            verdict: decision.verdict as u8,
            reason: decision.reason as u8,
            destination: decision.destination as u8,
            exemptable: u8::from(decision.exemptable),
        }
    }
}

/// Decides for one packet.
///
/// `packet` is what [`crate::packet::parse`] wrote and `parsed` what it answered. On the ingress hook
/// the packet must be mirrored first ([`mirror`]), so that what is judged is the answer to it. `now`
/// reads `CLOCK_BOOTTIME` in nanoseconds.
///
/// An ICMP error that a pin forbids by where it comes from is judged by the packet that it quotes, where that may go:
/// [`quoted_by`] and [`stands_for`].
///
/// The kernel program calls the parts, [`judge`] and [`exempt`], each in a function that the
/// verifier judges by itself.
#[inline(always)]
pub fn decide<T: Tables, O: Origin, R: Trace>(
    hook: Hook,
    parsed: Parsed,
    packet: &Packet,
    tables: &T,
    origin: &O,
    now: impl Fn() -> u64,
    trace: &mut R,
) -> Decision {
    let decision = decide_as_it_is(hook, parsed, packet, tables, origin, &now, trace);
    let Some(quoted) = quoted_by(hook, packet, decision.verdict as u8) else { return decision };
    trace.quoted();
    let of_quoted = decide_as_it_is(hook, parsed, &quoted, tables, origin, &now, trace);
    match stands_for(decision.denied, of_quoted.verdict as u8, of_quoted.tag) {
        true => Decision { quoted: true, ..of_quoted },
        false => decision,
    }
}

/// The packet that is judged in the place of an ICMP error: the one that it quotes, as the host has sent it. `None` where
/// the packet comes in for another reason, where what it quotes was not read or was not sent by the host that gets the
/// error, and where the packet passes by its own addresses. `verdict` is the number of the [`Verdict`] by those.
#[inline(always)]
#[must_use]
pub fn quoted_by(hook: Hook, packet: &Packet, verdict: u8) -> Option<Packet> {
    if hook as u8 != Hook::Ingress as u8 || verdict == Verdict::Pass as u8 || !quotes_own(packet) {
        return None;
    }
    let mut quoted = Packet { layer_count: 1, ..Packet::default() };
    quoted.layers[0] = packet.quoted;
    Some(quoted)
}

/// Whether the packet, which came in and is [mirrored](mirror), quotes one that was sent by the host that gets it.
#[inline(always)]
#[must_use]
pub fn quotes_own(packet: &Packet) -> bool {
    let (own, quoted) = (packet.layers[0].src, packet.quoted.src);
    packet.quoted_count != 0 && (own.hi ^ quoted.hi) | (own.lo ^ quoted.lo) == 0
}

/// Whether the decision for a quoted packet, the number of its [`Verdict`] and the pins that tag it, is the decision for the
/// ICMP error that these pins deny: where it may go by all of them. Nothing answers an error, so what passes here brings no
/// data out.
#[inline(always)]
#[must_use]
pub fn stands_for(denied: u64, verdict: u8, tag: u64) -> bool {
    verdict == Verdict::Pass as u8 && denied & !tag == 0
}

/// As [`decide`], by the packet's own addresses.
#[inline(always)]
fn decide_as_it_is<T: Tables, O: Origin, R: Trace>(
    hook: Hook,
    parsed: Parsed,
    packet: &Packet,
    tables: &T,
    origin: &O,
    now: &impl Fn() -> u64,
    trace: &mut R,
) -> Decision {
    let mut decision = judge(hook, parsed, packet, tables, origin, trace);
    if decision.exemptable {
        let bytes = tables.policy().map_or(0, |policy| charged(hook, policy, origin, decision.tag));
        let Decision { destination, place, denied, .. } = decision;
        let wanted = Wanted { destination, place, denied, bytes };
        match exempt(hook, packet, tables, &wanted, now, trace) {
            Ok(slot) => {
                decision.verdict = Verdict::Pass;
                decision.reason = Reason::Exempt;
                decision.exemption = slot;
            }
            // That a budget is used up will not be so for long, and nothing else says it.
            Err(Some(reason)) if decision.reason as u8 != Reason::FailsafeExhausted as u8 => {
                decision.reason = reason;
            }
            Err(_) => {}
        }
    }
    decision
}

/// The bytes that quotas and budgets are charged with: none where a guarded interface below charges them.
#[inline(always)]
#[must_use]
pub fn charged<O: Origin>(hook: Hook, policy: &PolicyTable, origin: &O, tag: u64) -> u64 {
    if is_counted_below(hook, policy, origin.ifindex(), tag) { 0 } else { origin.wire_len() }
}

/// The first half of [`decide`]: everything but the exemptions.
#[inline(always)]
pub fn judge<T: Tables, O: Origin, R: Trace>(
    hook: Hook,
    parsed: Parsed,
    packet: &Packet,
    tables: &T,
    origin: &O,
    trace: &mut R,
) -> Decision {
    let fault = match parsed {
        Parsed::NotIp => return Decision::pass(Reason::NotIp),
        Parsed::Ip => None,
        Parsed::Malformed(fault) => Some(reason_of(fault)),
    };
    let Some(policy) = tables.policy() else { return Decision::no_tables() };
    let ByOrigin { pins: by_origin, unplaced } = tables.by_origin(hook, policy, origin);
    if by_origin == 0 {
        return Decision::pass(Reason::Untagged);
    }
    if let Some(reason) = fault {
        return Decision { unplaced, ..unreadable(hook, policy, by_origin, reason) };
    }

    let made_here = made_here(hook, policy, origin);
    let mut tag = u64::from(policy.zero);
    for number in 0..MAX_LAYERS {
        if number as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(number) else { break };
        let pins = by_origin & tag_by_layer(tables, policy, layer, made_here);
        trace.tagged(number as u32, pins);
        tag |= pins;
    }
    if tag == 0 {
        return Decision::pass(Reason::Untagged);
    }
    let unplaced = unplaced & tag;
    let judged = judge_destinations(packet, tables, policy, tag, trace);
    if let Some(judged) = &judged
        && judged.denied == 0
    {
        let reason = if judged.place.0 >> 8 == PlacedBy::LinkScope as u16 {
            Reason::LinkScope
        } else {
            Reason::Permitted
        };
        return Decision {
            place: judged.place,
            destination: judged.number,
            tag,
            unplaced,
            ..Decision::pass(reason)
        };
    }
    let failsafe = match policy.dimensions & dimension::FAILSAFE {
        0 => FailsafeAnswer::None as u32,
        _ => {
            // What comes in takes nothing from a budget.
            let bytes = if hook as u8 == Hook::Egress as u8 { charged(hook, policy, origin, tag) } else { 0 };
            tables.failsafe(policy, packet, bytes, trace) as u32
        }
    };
    let is_failsafe = failsafe == FailsafeAnswer::Passes as u32;
    let Some(judged) = judged else {
        // What keeps the host manageable passes without the geo tables too.
        return match is_failsafe {
            true => Decision { tag, denied: tag, unplaced, ..Decision::pass(Reason::Failsafe) },
            false => Decision::no_tables(),
        };
    };
    if is_failsafe {
        return Decision {
            place: judged.place,
            destination: judged.number,
            tag,
            denied: judged.denied,
            unplaced,
            ..Decision::pass(Reason::Failsafe)
        };
    }
    Decision {
        verdict: strictest(hook, policy, judged.denied),
        reason: if failsafe == FailsafeAnswer::Exhausted as u32 {
            Reason::FailsafeExhausted
        } else {
            forbidden_by(judged.place)
        },
        place: judged.place,
        exemption: NO_EXEMPTION,
        destination: judged.number,
        tag,
        denied: judged.denied,
        unplaced,
        // An exemption names one recipient: a packet that several forbidden destinations would get
        // (a source route, a tunnel) is more than what was approved.
        exemptable: judged.forbidden == 1 && policy.dimensions & dimension::EXEMPTION != 0,
        quoted: false,
    }
}

/// Turns an incoming packet into the answer that it asks for: sources and destinations change places,
/// hops of its source route are left behind, because an answer does not follow them.
#[inline(always)]
pub fn mirror(packet: &mut Packet) {
    for number in 0..MAX_LAYERS {
        if number as u32 >= packet.layer_count {
            break;
        }
        if let Some(layer) = packet.layers.get_mut(number) {
            (layer.src, layer.dst) = (layer.dst, layer.src);
            (layer.sport, layer.dport) = (layer.dport, layer.sport);
        }
    }
    packet.hop_count = 0;
}

/// The reason that a parser's fault has as a verdict.
#[inline(always)]
#[must_use]
pub const fn reason_of(fault: Fault) -> Reason {
    match fault {
        Fault::Truncated => Reason::Truncated,
        Fault::BadHeader => Reason::BadHeader,
        Fault::TooDeep => Reason::TooDeep,
        Fault::TinyFragment => Reason::TinyFragment,
        Fault::Opaque => Reason::Opaque,
    }
}

/// A packet that can't be read may be of every pin that its origin lets match. On ingress it passes:
/// the host's own stack refuses it, and no answer comes of it.
#[inline(always)]
fn unreadable(hook: Hook, policy: &PolicyTable, by_origin: u64, reason: Reason) -> Decision {
    let verdict = match hook {
        Hook::Ingress => Verdict::Pass,
        Hook::Egress | Hook::Connect | Hook::Sendmsg => strictest(hook, policy, by_origin),
    };
    Decision { verdict, tag: by_origin, denied: by_origin, ..Decision::pass(reason) }
}

/// The strictest action among these pins.
#[inline(always)]
fn strictest(hook: Hook, policy: &PolicyTable, pins: u64) -> Verdict {
    let (drop, flag, mildest) = match hook {
        Hook::Ingress => (policy.ingress_drop, policy.ingress_flag, Verdict::Pass),
        Hook::Egress | Hook::Connect | Hook::Sendmsg => (policy.drop, policy.flag, Verdict::Observe),
    };
    if pins & drop != 0 {
        Verdict::Drop
    } else if pins & flag != 0 {
        Verdict::Flag
    } else {
        mildest
    }
}

/// The reason of what a pin forbids by where it goes.
#[inline(always)]
#[must_use]
pub fn forbidden_by(place: Place) -> Reason {
    if place.jurisdiction_index() == Jurisdiction::UNKNOWN.index() {
        Reason::PlaceUnknown
    } else if place.jurisdiction_index() == Jurisdiction::UNCERTAIN.index() {
        Reason::PlaceUncertain
    } else {
        Reason::Forbidden
    }
}
