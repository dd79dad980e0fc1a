//! The decision: which pins a packet has, where it goes, and whether it may.
//!
//! The same function runs in the kernel program over BPF maps and on the host over boxed tables.
//! It does no I/O, keeps no state but the charge of an exemption, and takes the clock as a function,
//! because only packets that need an exemption pay for reading it.

use crate::abi::{
    self, Hook, MAX_CGROUP_LEVELS, MAX_INTERFACES, NO_EXEMPTION, Outcome, Place, PlacedBy, PolicyTable,
    SmallTable, SmallTable6, dimension,
};
use crate::interval::{self, GeoTables};
use crate::jurisdiction::Jurisdiction;
use crate::packet::{Addr, Fault, Layer, MAX_HOPS, MAX_LAYERS, Packet, Parsed};
use crate::search::{at, at_ref, less_or_equal, less64, mask_if_equal, partition_point, steps};
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
    /// Number of the destination that decided: those of the layers come first, then the hops.
    pub destination: u32,
    /// Pins that tag the packet.
    pub tag: u64,
    /// Pins that forbid any destination of the packet.
    pub denied: u64,
    /// Whether an exemption can cover the packet.
    pub exemptable: bool,
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
            exemptable: false,
        }
    }

    /// Nothing can be judged, so nothing may go.
    #[must_use]
    pub const fn no_tables() -> Self {
        Self { verdict: Verdict::Drop, ..Self::pass(Reason::NoTables) }
    }
}

impl From<Decision> for Outcome {
    #[inline(always)]
    fn from(decision: Decision) -> Self {
        Self {
            tag: decision.tag,
            denied: decision.denied,
            place: decision.place.0,
            exemption: decision.exemption,
            verdict: decision.verdict as u8,
            reason: decision.reason as u8,
            destination: decision.destination as u8,
            exemptable: u8::from(decision.exemptable),
        }
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
///
/// The kernel program calls the two halves, [`judge`] and [`exempt`], each in a function that the
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
    let mut decision = judge(hook, parsed, packet, tables, origin, trace);
    if decision.exemptable {
        let wanted = Wanted {
            destination: decision.destination,
            place: decision.place,
            denied: decision.denied,
            bytes: origin.wire_len(),
        };
        match exempt(hook, packet, tables, &wanted, now, trace) {
            Ok(slot) => {
                decision.verdict = Verdict::Pass;
                decision.reason = Reason::Exempt;
                decision.exemption = slot;
            }
            Err(Some(reason)) => decision.reason = reason,
            Err(None) => {}
        }
    }
    decision
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
    let by_origin = tag_by_origin(hook, policy, origin);
    if by_origin == 0 {
        return Decision::pass(Reason::Untagged);
    }
    if let Some(reason) = fault {
        return unreadable(hook, policy, by_origin, reason);
    }

    let mut tag = u64::from(policy.zero);
    for number in 0..MAX_LAYERS {
        if number as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(number) else { break };
        let pins = by_origin & tag_by_layer(policy, layer);
        trace.tagged(number as u32, pins);
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
        let reason = if judged.place.0 >> 8 == PlacedBy::LinkScope as u16 {
            Reason::LinkScope
        } else {
            Reason::Permitted
        };
        return Decision { place: judged.place, destination: judged.number, tag, ..Decision::pass(reason) };
    }
    Decision {
        verdict: strictest(hook, policy, judged.denied),
        reason: forbidden_by(judged.place),
        place: judged.place,
        exemption: NO_EXEMPTION,
        destination: judged.number,
        tag,
        denied: judged.denied,
        // An exemption names one recipient: a packet that several forbidden destinations would get
        // (a source route, a tunnel) is more than what was approved.
        exemptable: judged.forbidden == 1 && policy.dimensions & dimension::EXEMPTION != 0,
    }
}

/// The layer of this number; a number that no layer has is the outermost's.
#[inline(always)]
#[must_use]
pub fn layer(packet: &Packet, number: u32) -> &Layer {
    match number {
        1 => &packet.layers[1],
        2 => &packet.layers[2],
        _ => &packet.layers[0],
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
pub fn tag_by_origin<O: Origin>(hook: Hook, policy: &PolicyTable, origin: &O) -> u64 {
    let mut pins = match hook {
        Hook::Egress => policy.pins,
        Hook::Ingress => policy.ingress_drop | policy.ingress_flag,
    };
    if policy.dimensions & dimension::INTERFACE != 0 {
        pins &= policy.any_interface
            | interface_pins(policy, origin.ifindex())
            | interface_pins(policy, origin.ingress_ifindex());
    }
    if policy.dimensions & dimension::MARK != 0 {
        let mark = origin.mark();
        let mut matching = policy.any_mark;
        for index in 0..abi::MAX_MARKS as u32 {
            if index >= policy.mark_len {
                break;
            }
            let entry = at_ref(&policy.marks, index);
            matching |= entry.pins & mask_if_equal(u64::from(mark & entry.mask), u64::from(entry.value));
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
    // Interface indexes start at 1, and elements past the known ones are 0: only a known one is equal.
    let after = partition_point(steps::<MAX_INTERFACES>(), 0, u64::from(policy.interface_len), |index| {
        less_or_equal(u64::from(at(&policy.interfaces, index)), u64::from(ifindex))
    });
    let index = after.wrapping_sub(1);
    let known = mask_if_equal(u64::from(at(&policy.interfaces, index)), u64::from(ifindex));
    at(&policy.interface_pins, index) & known & nonzero_mask(after)
}

#[inline(always)]
fn cgroup_pins(policy: &PolicyTable, id: u64) -> u64 {
    let after = partition_point(steps::<{ abi::MAX_CGROUPS }>(), 0, u64::from(policy.cgroup_len), |index| {
        less64(id, at(&policy.cgroups, index)) ^ 1
    });
    let index = after.wrapping_sub(1);
    let known = mask_if_equal(at(&policy.cgroups, index), id);
    at(&policy.cgroup_pins, index) & known & nonzero_mask(after)
}

/// All bits set where the number is not 0.
#[inline(always)]
fn nonzero_mask(number: u64) -> u64 {
    !mask_if_equal(number, 0)
}

/// The pins that a layer's source address and port let match.
#[inline(always)]
pub fn tag_by_layer(policy: &PolicyTable, layer: &Layer) -> u64 {
    let mut pins = policy.pins;
    if policy.dimensions & dimension::SOURCE != 0 {
        let set = match layer.src.v4() {
            Some(address) => floor4(&policy.sources4, address),
            None => floor6(&policy.sources6, layer.src),
        };
        pins &= at(&policy.source_sets, set);
        if pins == 0 {
            return 0;
        }
    }
    if policy.dimensions & dimension::PORT != 0 {
        pins &= local_set(policy, layer).pins;
    }
    pins
}

/// The number of the set that holds for this key.
#[inline(always)]
fn floor4<const N: usize>(table: &SmallTable<N>, key: u32) -> u32 {
    u32::from(at(&table.sets, interval::floor(&table.starts, table.len, key)))
}

/// The number of the set that holds for this IPv6 address.
#[inline(always)]
fn floor6<const N: usize>(table: &SmallTable6<N>, address: Addr) -> u32 {
    u32::from(at(&table.sets, interval::floor_pair(&table.hi, &table.lo, table.len, address)))
}

#[inline(always)]
fn local_set<'a>(policy: &'a PolicyTable, layer: &Layer) -> &'a abi::LocalSet {
    at_ref(&policy.local_sets, floor4(&policy.local_ports, layer_port_key(layer, layer.sport)))
}

#[inline(always)]
fn remote_set_number(policy: &PolicyTable, layer: &Layer) -> u32 {
    floor4(&policy.remote_ports, layer_port_key(layer, layer.dport))
}

/// The key of a layer's port, [`abi::port_key`] or [`abi::no_port_key`], without a branch. A whole packet
/// without ports has the key of a protocol without ports, whatever its number: over IPv4 the numbers of
/// most IPv6 extension headers are those of protocols of their own, such as HIP.
#[inline(always)]
fn layer_port_key(layer: &Layer, port: u16) -> u32 {
    const { assert!(Layer::HAS_PORTS == 1 && Layer::LATER_FRAGMENT == 4) };
    let has_ports = u32::from(layer.flags & Layer::HAS_PORTS);
    let later = u32::from(layer.flags & Layer::LATER_FRAGMENT) >> 2;
    let class = abi::port_class(layer.proto) & (has_ports | later).wrapping_neg();
    (class + abi::NO_PORT_CLASS * (has_ports ^ 1)) << 16 | u32::from(port) & has_ports.wrapping_neg()
}

#[inline(always)]
fn peer_set_number(policy: &PolicyTable, address: Addr) -> u32 {
    match address.v4() {
        Some(address) => floor4(&policy.peers4, address),
        None => floor6(&policy.peers6, address),
    }
}

/// Whether failsafe rules cover the packet: every layer of it, because what a tunnel carries past the
/// peer that a rule names was never meant, and no source route.
#[inline(always)]
pub fn failsafe_covers<R: Trace>(policy: &PolicyTable, packet: &Packet, trace: &mut R) -> bool {
    if packet.hop_count != 0 || packet.layer_count == 0 {
        return false;
    }
    for number in 0..MAX_LAYERS {
        if number as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(number) else { return false };
        let rules = at_ref(&policy.peer_sets, peer_set_number(policy, layer.dst)).failsafes
            & local_set(policy, layer).failsafes
            & at_ref(&policy.remote_sets, remote_set_number(policy, layer)).failsafes;
        trace.failsafe(number as u32, rules);
        if rules == 0 {
            return false;
        }
    }
    true
}

/// What all destinations of a packet came to.
pub struct Judged {
    /// Pins that forbid any destination.
    denied: u64,
    /// Destinations that a pin forbids.
    pub forbidden: u32,
    /// Number of the destination that decides: the first forbidden one, else the last.
    number: u32,
    /// Where it is.
    place: Place,
}

/// Places every destination: each layer's, and every hop still to come.
#[inline(always)]
pub fn judge_destinations<T: Tables, R: Trace>(
    packet: &Packet,
    tables: &T,
    policy: &PolicyTable,
    tag: u64,
    trace: &mut R,
) -> Option<Judged> {
    // A zero that the verifier does not know for one: see `exempt`.
    let zero = policy.zero;
    let mut denied_by_any = u64::from(zero);
    let mut forbidden = zero;
    let mut decides = u64::from(zero);
    for number in 0..(MAX_LAYERS + MAX_HOPS) as u32 {
        if number < MAX_LAYERS as u32 {
            if number >= packet.layer_count {
                continue;
            }
        } else if number - MAX_LAYERS as u32 >= packet.hop_count {
            break;
        }
        let destination = destination(packet, number);
        let place = tables.place(destination)?;
        // What stays on the link reaches no jurisdiction.
        let on_link = mask_if_equal(u64::from(place.0 >> 8), PlacedBy::LinkScope as u64);
        let denied = tag & !at(&policy.permitted, u32::from(place.jurisdiction_index())) & !on_link;
        trace.placed(layer_of(number), destination, place, denied);
        // The first forbidden destination decides; until there is one, the last.
        let settled = nonzero_mask(denied_by_any);
        decides = decides & settled | (u64::from(number) << 16 | u64::from(place.0)) & !settled;
        denied_by_any |= denied;
        forbidden += nonzero_mask(denied) as u32 & 1;
    }
    Some(Judged {
        denied: denied_by_any,
        forbidden,
        number: (decides >> 16) as u32,
        place: Place(decides as u16),
    })
}

/// The destination of this number: those of the layers come first, then the hops.
#[inline(always)]
#[must_use]
pub fn destination(packet: &Packet, number: u32) -> Addr {
    if number < MAX_LAYERS as u32 {
        layer(packet, number).dst
    } else {
        at(&packet.hops, number - MAX_LAYERS as u32)
    }
}

/// The layer that a destination belongs to. A hop's is the outermost: its layer was not kept, and its
/// ports are those that the exemption's recipient is named by.
#[inline(always)]
pub const fn layer_of(number: u32) -> u32 {
    if number < MAX_LAYERS as u32 { number } else { 0 }
}

/// Where an address is: link scope, else sites and the database by its IPv4 address where it has one.
/// `None` where the tables cannot be read.
#[inline(always)]
pub fn place<T: GeoTables>(tables: &T, address: Addr) -> Option<Place> {
    if address.is_link_scope() {
        return Some(Place::new(Jurisdiction::UNKNOWN, PlacedBy::LinkScope));
    }
    match address.embedded_v4() {
        Some(v4) => interval::place_v4(tables, v4),
        None => interval::place_v6(tables, address),
    }
}

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

/// In an answer of [`find_exemption`]: an exemption was found and charged, its slot is in the low 16 bits.
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

/// Charges the first exemption that covers the lowest of the open pins. The answer is [`FOUND`] with its
/// slot, or the number of the [`Reason`] why the last one that was looked at does not cover it, or 0.
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
                && !tables.charge(slot as u16, transfer.bytes, exemption.quota)
            {
                Err(Reason::ExemptionExhausted)
            } else {
                Ok(())
            };
            trace.exemption(slot as u16, outcome);
            match outcome {
                Ok(()) => return FOUND | slot,
                // A number that the verifier does not know, or it would follow each reason by itself.
                Err(reason) => refusal = policy.zero | reason as u32,
            }
        }
    }
    refusal
}

const _: () = assert!(MAX_LAYERS == 3 && MAX_INTERFACES < 1 << 20);
