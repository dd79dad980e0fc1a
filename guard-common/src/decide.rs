//! The decision: which pins a packet has, where it goes, and whether it may.
//!
//! The same function runs in the kernel program over BPF maps and on the host over boxed tables.
//! It does no I/O, keeps no state but the charge of an exemption, and takes the clock as a function,
//! because only packets that need an exemption pay for reading it.

use crate::abi::{
    self, ExemptionSet, Hook, MAX_CGROUP_LEVELS, MAX_EXEMPTIONS, MAX_INTERFACES, NO_EXEMPTION, Place, PlacedBy,
    PolicyTable, SmallTable6, dimension,
};
use crate::interval::{self, partition_point};
use crate::jurisdiction::Jurisdiction;
use crate::packet::{Addr, Fault, Layer, MAX_HOPS, MAX_LAYERS, Packet, Parsed};
use crate::tables::{Origin, Tables};
use crate::verdict::{Reason, Verdict};

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
    /// Number of the layer whose destination decided, 0 for the outermost.
    pub layer: u32,
    /// Pins that tag the packet.
    pub tag: u64,
    /// Pins that forbid the destination that decided.
    pub denied: u64,
}

impl Decision {
    const fn pass(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Pass,
            reason,
            place: Place::UNKNOWN,
            exemption: NO_EXEMPTION,
            layer: 0,
            tag: 0,
            denied: 0,
        }
    }

    const fn no_tables() -> Self {
        Self { verdict: Verdict::Drop, ..Self::pass(Reason::NoTables) }
    }
}

/// Listens to each step of a decision: `explain` tells them in words, the kernel listens to nothing.
pub trait Trace {
    /// The pins that this layer's addresses, ports and the packet's origin let match.
    #[inline(always)]
    fn tagged(&mut self, _layer: u32, _pins: u64) {}
    /// The failsafe rules that cover this layer.
    #[inline(always)]
    fn failsafe(&mut self, _layer: u32, _rules: u64) {}
    /// Where a destination is, and which of the packet's pins forbid it.
    #[inline(always)]
    fn placed(&mut self, _layer: u32, _destination: Addr, _place: Place, _denied: u64) {}
    /// An exemption was looked at: whether it covers the packet, or the reason why not.
    #[inline(always)]
    fn exemption(&mut self, _slot: u16, _outcome: Result<(), Reason>) {}
}

/// Listens to nothing.
pub struct NoTrace;

impl Trace for NoTrace {}

/// Decides for one packet.
///
/// `packet` is what [`crate::packet::parse`] wrote and `parsed` what it answered. On the ingress hook
/// the packet must be mirrored first ([`mirror`]), so that what is judged is the answer to it. `now`
/// reads `CLOCK_BOOTTIME` in nanoseconds.
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
    let fault = match parsed {
        Parsed::NotIp => return Decision::pass(Reason::NotIp),
        Parsed::Ip => None,
        Parsed::Malformed(fault) => Some(reason_of(fault)),
    };
    let Some(policy) = tables.policy() else { return Decision::no_tables() };
    let by_origin = tag_by_origin(policy, origin);
    if by_origin == 0 {
        return Decision::pass(Reason::Untagged);
    }
    if let Some(reason) = fault {
        return unreadable(hook, policy, by_origin, reason);
    }

    let mut tag = 0;
    for at in 0..MAX_LAYERS {
        if at as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(at) else { break };
        let pins = by_origin & tag_by_layer(policy, layer);
        trace.tagged(at as u32, pins);
        tag |= pins;
    }
    if tag == 0 {
        return Decision::pass(Reason::Untagged);
    }
    if policy.dimensions & dimension::FAILSAFE != 0 && failsafe_covers(policy, packet, trace) {
        return Decision { tag, ..Decision::pass(Reason::Failsafe) };
    }

    let Some(judged) = judge_destinations(packet, tables, policy, tag, trace) else {
        return Decision::no_tables();
    };
    if judged.denied == 0 {
        let reason = if judged.place.placed_by() as u8 == PlacedBy::LinkScope as u8 {
            Reason::LinkScope
        } else {
            Reason::Permitted
        };
        return Decision { place: judged.place, tag, ..Decision::pass(reason) };
    }

    let mut decision = Decision {
        verdict: strictest(hook, policy, judged.denied),
        reason: forbidden_by(judged.place),
        place: judged.place,
        exemption: NO_EXEMPTION,
        layer: judged.layer,
        tag,
        denied: judged.denied,
    };
    // An exemption names one recipient: a packet that several forbidden destinations would get
    // (a source route, a tunnel) is more than what was approved.
    if judged.forbidden == 1 && policy.dimensions & dimension::EXEMPTION != 0 {
        if let Some(layer) = packet.layers.get(judged.layer as usize & 3) {
            match exempt(hook, policy, tables, origin, layer, judged.destination, judged.place, judged.denied, now, trace)
            {
                Ok(slot) => {
                    decision.verdict = Verdict::Pass;
                    decision.reason = Reason::Exempt;
                    decision.exemption = slot;
                }
                Err(Some(reason)) => decision.reason = reason,
                Err(None) => {}
            }
        }
    }
    decision
}

/// Turns an incoming packet into the answer that it asks for: sources and destinations change places,
/// hops of its source route are left behind, because an answer does not follow them.
#[inline(always)]
pub fn mirror(packet: &mut Packet) {
    for at in 0..MAX_LAYERS {
        if at as u32 >= packet.layer_count {
            break;
        }
        if let Some(layer) = packet.layers.get_mut(at) {
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
        Hook::Egress => strictest(hook, policy, by_origin),
        Hook::Ingress => Verdict::Pass,
    };
    Decision { verdict, tag: by_origin, denied: by_origin, ..Decision::pass(reason) }
}

/// The strictest action among these pins.
#[inline(always)]
fn strictest(hook: Hook, policy: &PolicyTable, pins: u64) -> Verdict {
    let (drop, flag, mildest) = match hook {
        Hook::Egress => (policy.drop, policy.flag, Verdict::Observe),
        Hook::Ingress => (policy.ingress_drop, policy.ingress_flag, Verdict::Pass),
    };
    if pins & drop != 0 {
        Verdict::Drop
    } else if pins & flag != 0 {
        Verdict::Flag
    } else {
        mildest
    }
}

#[inline(always)]
fn forbidden_by(place: Place) -> Reason {
    if place.jurisdiction_index() == Jurisdiction::UNKNOWN.index() {
        Reason::PlaceUnknown
    } else if place.jurisdiction_index() == Jurisdiction::UNCERTAIN.index() {
        Reason::PlaceUncertain
    } else {
        Reason::Forbidden
    }
}

/// The pins that the packet's interface, cgroup and mark let match: what needs no header.
#[inline(always)]
fn tag_by_origin<O: Origin>(policy: &PolicyTable, origin: &O) -> u64 {
    let mut pins = policy.pins;
    if policy.dimensions & dimension::INTERFACE != 0 {
        pins &= policy.any_interface
            | interface_pins(policy, origin.ifindex())
            | interface_pins(policy, origin.ingress_ifindex());
    }
    if policy.dimensions & dimension::MARK != 0 {
        let mark = origin.mark();
        let mut matching = policy.any_mark;
        for at in 0..abi::MAX_MARKS {
            if at as u32 >= policy.mark_len {
                break;
            }
            if let Some(entry) = policy.marks.get(at)
                && mark & entry.mask == entry.value
            {
                matching |= entry.pins;
            }
        }
        pins &= matching;
    }
    if policy.dimensions & dimension::CGROUP != 0 {
        let mut matching = policy.any_cgroup;
        for level in 1..=MAX_CGROUP_LEVELS as u32 {
            if policy.cgroup_levels & (1 << level) != 0 {
                matching |= cgroup_pins(policy, origin.ancestor_cgroup(level));
            }
        }
        pins &= matching;
    }
    pins
}

#[inline(always)]
fn interface_pins(policy: &PolicyTable, ifindex: u32) -> u64 {
    if ifindex == 0 {
        return 0;
    }
    let at = partition_point(0, policy.interface_len, |at| {
        matches!(policy.interfaces.get(at as usize), Some(&known) if known < ifindex)
    });
    match (policy.interfaces.get(at as usize), policy.interface_pins.get(at as usize)) {
        (Some(&known), Some(&pins)) if known == ifindex && at < policy.interface_len => pins,
        _ => 0,
    }
}

#[inline(always)]
fn cgroup_pins(policy: &PolicyTable, id: u64) -> u64 {
    if id == 0 {
        return 0;
    }
    let at = partition_point(0, policy.cgroup_len, |at| {
        matches!(policy.cgroups.get(at as usize), Some(&known) if known < id)
    });
    match (policy.cgroups.get(at as usize), policy.cgroup_pins.get(at as usize)) {
        (Some(&known), Some(&pins)) if known == id && at < policy.cgroup_len => pins,
        _ => 0,
    }
}

/// The pins that a layer's source address and port let match.
#[inline(always)]
fn tag_by_layer(policy: &PolicyTable, layer: &Layer) -> u64 {
    let mut pins = policy.pins;
    if policy.dimensions & dimension::SOURCE != 0 {
        let set = match layer.src.v4() {
            Some(address) => {
                let after = interval::floor(&policy.sources4.starts, policy.sources4.len, address);
                policy.sources4.sets.get(after.wrapping_sub(1) as usize)
            }
            None => floor6(&policy.sources6, layer.src),
        };
        pins &= set.and_then(|&set| policy.source_sets.get(set as usize)).copied().unwrap_or(0);
        if pins == 0 {
            return 0;
        }
    }
    if policy.dimensions & dimension::PORT != 0 {
        pins &= local_set(policy, layer).map_or(0, |set| set.pins);
    }
    pins
}

#[inline(always)]
fn floor6<const N: usize>(table: &SmallTable6<N>, address: Addr) -> Option<&u16> {
    let after = partition_point(0, table.len, |at| {
        match (table.hi.get(at as usize), table.lo.get(at as usize)) {
            (Some(&hi), Some(&lo)) => hi < address.hi || (hi == address.hi && lo <= address.lo),
            _ => false,
        }
    });
    table.sets.get(after.wrapping_sub(1) as usize)
}

#[inline(always)]
fn local_set<'a>(policy: &'a PolicyTable, layer: &Layer) -> Option<&'a abi::LocalSet> {
    let key = layer_port_key(layer, layer.sport);
    let after = interval::floor(&policy.local_ports.starts, policy.local_ports.len, key);
    let set = policy.local_ports.sets.get(after.wrapping_sub(1) as usize)?;
    policy.local_sets.get(*set as usize)
}

#[inline(always)]
fn remote_set<'a>(policy: &'a PolicyTable, layer: &Layer) -> Option<&'a abi::PeerSet> {
    let key = layer_port_key(layer, layer.dport);
    let after = interval::floor(&policy.remote_ports.starts, policy.remote_ports.len, key);
    let set = policy.remote_ports.sets.get(after.wrapping_sub(1) as usize)?;
    policy.remote_sets.get(*set as usize)
}

#[inline(always)]
fn layer_port_key(layer: &Layer, port: u16) -> u32 {
    if layer.flags & Layer::HAS_PORTS != 0 {
        abi::port_key(layer.proto, port)
    } else {
        abi::no_port_key(layer.proto)
    }
}

#[inline(always)]
fn peer_set<'a>(policy: &'a PolicyTable, address: Addr) -> Option<&'a abi::PeerSet> {
    let set = match address.v4() {
        Some(address) => {
            let after = interval::floor(&policy.peers4.starts, policy.peers4.len, address);
            policy.peers4.sets.get(after.wrapping_sub(1) as usize)
        }
        None => floor6(&policy.peers6, address),
    }?;
    policy.peer_sets.get(*set as usize)
}

/// Whether failsafe rules cover the packet: every layer of it, because what a tunnel carries past the
/// peer that a rule names was never meant, and no source route.
#[inline(always)]
fn failsafe_covers<R: Trace>(policy: &PolicyTable, packet: &Packet, trace: &mut R) -> bool {
    if packet.hop_count != 0 || packet.layer_count == 0 {
        return false;
    }
    for at in 0..MAX_LAYERS {
        if at as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(at) else { return false };
        let rules = peer_set(policy, layer.dst).map_or(0, |set| set.failsafes)
            & local_set(policy, layer).map_or(0, |set| set.failsafes)
            & remote_set(policy, layer).map_or(0, |set| set.failsafes);
        trace.failsafe(at as u32, rules);
        if rules == 0 {
            return false;
        }
    }
    true
}

/// What all destinations of a packet came to.
struct Judged {
    /// Pins that forbid any destination.
    denied: u64,
    /// Destinations that a pin forbids.
    forbidden: u32,
    /// The destination that decides: the first forbidden one, else the innermost.
    destination: Addr,
    /// Where it is.
    place: Place,
    /// The layer that it belongs to.
    layer: u32,
}

/// Places every destination: each layer's, and every hop still to come.
#[inline(always)]
fn judge_destinations<T: Tables, R: Trace>(
    packet: &Packet,
    tables: &T,
    policy: &PolicyTable,
    tag: u64,
    trace: &mut R,
) -> Option<Judged> {
    let mut judged =
        Judged { denied: 0, forbidden: 0, destination: Addr::default(), place: Place::UNKNOWN, layer: 0 };
    for at in 0..MAX_LAYERS + MAX_HOPS {
        let (layer, destination) = if at < MAX_LAYERS {
            if at as u32 >= packet.layer_count {
                continue;
            }
            (at as u32, packet.layers.get(at)?.dst)
        } else {
            if (at - MAX_LAYERS) as u32 >= packet.hop_count {
                break;
            }
            (0, *packet.hops.get(at - MAX_LAYERS)?)
        };
        let place = place(tables, destination)?;
        let denied = if place.0 >> 8 == PlacedBy::LinkScope as u16 {
            0
        } else {
            tag & !*policy.permitted.get(place.jurisdiction_index() as usize)?
        };
        trace.placed(layer, destination, place, denied);
        if judged.denied == 0 {
            judged.destination = destination;
            judged.place = place;
            judged.layer = layer;
        }
        if denied != 0 {
            judged.forbidden += 1;
            judged.denied |= denied;
        }
    }
    Some(judged)
}

/// Where an address is: link scope, else sites and the database by its IPv4 address where it has one.
#[inline(always)]
pub fn place<T: Tables>(tables: &T, address: Addr) -> Option<Place> {
    if address.is_link_scope() {
        return Some(Place::new(Jurisdiction::UNKNOWN, PlacedBy::LinkScope));
    }
    match address.embedded_v4() {
        Some(v4) => interval::place_v4(tables, v4),
        None => interval::place_v6(tables, address),
    }
}

/// Steps of the search for exemptions: enough to look at every one of them for several pins.
const EXEMPTION_STEPS: usize = 2 * MAX_EXEMPTIONS;
/// Exemptions that may share in covering one packet, one for each pin that forbids it.
const MAX_SHARING: usize = 4;

/// Looks for exemptions that together cover every denied pin, and charges them. The answer is the slot
/// of the first, or the reason why an exemption that is there does not cover the packet.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all of it is this packet; a struct would be copied to BPF's small stack")]
fn exempt<T: Tables, O: Origin, R: Trace>(
    hook: Hook,
    policy: &PolicyTable,
    tables: &T,
    origin: &O,
    layer: &Layer,
    destination: Addr,
    place: Place,
    denied: u64,
    now: impl Fn() -> u64,
    trace: &mut R,
) -> Result<u16, Option<Reason>> {
    let candidates = candidates(policy, layer, destination, place).ok_or(None)?;
    if candidates.iter().all(|&word| word == 0) {
        return Err(None);
    }
    let now = now();
    let bytes = origin.wire_len();
    let mut open = denied;
    let mut refusal = None;
    let mut chosen = [NO_EXEMPTION; MAX_SHARING];
    let mut chosen_len = 0;
    let mut pin = open.trailing_zeros();
    let mut word = 0;
    let mut bits = pin_candidates(policy, &candidates, pin, word);
    for _ in 0..EXEMPTION_STEPS {
        if bits == 0 {
            word += 1;
            if word >= abi::EXEMPTION_WORDS {
                break;
            }
            bits = pin_candidates(policy, &candidates, pin, word);
            continue;
        }
        let slot = (word as u32 & (abi::EXEMPTION_WORDS as u32 - 1)) * 64 + (bits.trailing_zeros() & 63);
        bits &= bits - 1;
        let Some(exemption) = policy.exemptions.get(slot as usize) else { break };
        let outcome = if now < exemption.valid_from_ns {
            Err(Reason::ExemptionNotYet)
        } else if now >= exemption.valid_until_ns {
            Err(Reason::ExemptionExpired)
        } else if hook as u8 == Hook::Egress as u8 && !tables.charge(slot as u16, bytes, exemption.quota) {
            Err(Reason::ExemptionExhausted)
        } else {
            Ok(())
        };
        trace.exemption(slot as u16, outcome);
        match outcome {
            Err(reason) => refusal = Some(reason),
            Ok(()) => {
                if let Some(place) = chosen.get_mut(chosen_len) {
                    *place = slot as u16;
                }
                chosen_len += 1;
                open &= !exemption.pins;
                if open == 0 || chosen_len >= MAX_SHARING {
                    break;
                }
                pin = open.trailing_zeros();
                word = 0;
                bits = pin_candidates(policy, &candidates, pin, word);
            }
        }
    }
    if open == 0 {
        return Ok(chosen[0]);
    }
    if hook as u8 == Hook::Egress as u8 {
        for slot in chosen {
            if slot != NO_EXEMPTION {
                tables.refund(slot, bytes);
            }
        }
    }
    Err(refusal)
}

/// The exemptions whose recipients include this destination, by jurisdiction or address, and port.
#[inline(always)]
fn candidates(policy: &PolicyTable, layer: &Layer, destination: Addr, place: Place) -> Option<ExemptionSet> {
    let by_place = policy.exempt_jurisdictions.get(place.jurisdiction_index() as usize)?;
    let by_address = &peer_set(policy, destination)?.exemptions;
    let by_port = &remote_set(policy, layer)?.exemptions;
    let mut candidates = [0; abi::EXEMPTION_WORDS];
    for (word, out) in candidates.iter_mut().enumerate() {
        *out = (by_place[word] | by_address[word]) & by_port[word];
    }
    Some(candidates)
}

#[inline(always)]
fn pin_candidates(policy: &PolicyTable, candidates: &ExemptionSet, pin: u32, word: usize) -> u64 {
    let of_pin = policy.exempt_pins.get(pin as usize & (abi::MAX_PINS - 1));
    match (candidates.get(word), of_pin.and_then(|set| set.get(word))) {
        (Some(candidates), Some(of_pin)) => candidates & of_pin,
        _ => 0,
    }
}

const _: () = assert!(MAX_LAYERS <= 4 && MAX_INTERFACES < 1 << 20);
