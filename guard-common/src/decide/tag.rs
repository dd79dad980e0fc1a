//! What a packet's origin and addresses let match: the pins that tag it, the failsafe rules that cover it,
//! and the sets of its ports and peers.

use crate::abi::{
    self, Hook, MAX_CGROUP_LEVELS, MAX_FAILSAFES, MAX_INTERFACES, MAX_VOLUMES, PolicyTable, SmallTable,
    SmallTable6, dimension,
};
use crate::interval;
use crate::packet::{Addr, Layer, MAX_LAYERS, Packet};
use crate::search::{at, at_ref, less_or_equal, less64, mask_if_equal, partition_point, steps};
use crate::tables::{Accounts, ByOrigin, FailsafeAnswer, Origin, Tables};
use crate::trace::Trace;

/// The pins that the packet's interface, mark, cgroup, user, volumes and who opened its connection let match: what needs no header.
#[inline(always)]
#[must_use]
pub fn by_origin<O: Origin>(hook: Hook, policy: &PolicyTable, origin: &O) -> ByOrigin {
    let ByOrigin { mut pins, mut unplaced } = by_sender(hook, policy, origin);
    if policy.dimensions & dimension::INTERFACE != 0 {
        let one = interface_pins(policy, origin.ifindex());
        let other = interface_pins(policy, origin.ingress_ifindex());
        let matching = policy.any_interface | one.pins | other.pins;
        let maybe = (one.unplaced | other.unplaced) & !matching;
        unplaced |= maybe;
        pins &= matching | maybe;
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
    if policy.dimensions & dimension::VOLUME != 0 {
        pins &= policy.any_volume | volume_pins(policy, origin.volumes());
    }
    pins &= direction_pins(policy, origin);
    ByOrigin { pins, unplaced: unplaced & pins }
}

/// [`by_origin`] where nothing has to be searched for: no pin goes by interfaces or marks, and the socket carries no data of
/// a volume. `None` elsewhere.
#[inline(always)]
#[must_use]
pub fn by_origin_at_once<O: Origin>(hook: Hook, policy: &PolicyTable, origin: &O) -> Option<ByOrigin> {
    let by_volume = policy.dimensions & dimension::VOLUME != 0;
    if policy.dimensions & dimension::SEARCHED != 0 || by_volume && origin.volumes() != 0 {
        return None;
    }
    let ByOrigin { mut pins, unplaced } = by_sender(hook, policy, origin);
    if by_volume {
        pins &= policy.any_volume;
    }
    pins &= direction_pins(policy, origin);
    Some(ByOrigin { pins, unplaced: unplaced & pins })
}

/// The pins that who opened the connection lets match: all where none goes by that.
#[inline(always)]
fn direction_pins<O: Origin>(policy: &PolicyTable, origin: &O) -> u64 {
    match policy.dimensions & dimension::DIRECTION {
        0 => u64::MAX,
        _ => at(&policy.direction_pins, origin.direction()),
    }
}

/// The part of [`by_origin`] that goes by cgroups and users.
#[inline(always)]
fn by_sender<O: Origin>(hook: Hook, policy: &PolicyTable, origin: &O) -> ByOrigin {
    let ByOrigin { mut pins, mut unplaced } = ByOrigin::any(hook, policy);
    // A socket that may be anybody's matches every selector of cgroups and of users.
    let everybody = nonzero_mask(origin.everybody());
    if policy.dimensions & dimension::CGROUP != 0 {
        let matching = policy.any_cgroup | origin.cgroup_pins(policy) | everybody;
        unplaced = origin.unplaced_pins(policy) & !matching;
        pins &= matching | unplaced;
    }
    if policy.dimensions & dimension::USER != 0 {
        pins &= policy.any_user | origin.user_pins(policy) | everybody;
    }
    ByOrigin { pins, unplaced: unplaced & pins }
}

/// The pins that volumes let match, by their slots.
#[inline(always)]
fn volume_pins(policy: &PolicyTable, volumes: u64) -> u64 {
    let mut pins = u64::from(policy.zero);
    let mut left = volumes;
    for _ in 0..MAX_VOLUMES {
        if left == 0 {
            break;
        }
        pins |= at(&policy.volume_pins, left.trailing_zeros());
        left &= left - 1;
    }
    pins
}

/// The pins that a cgroup lets match, by the ids of it and of those above it from level 1 on.
#[inline(always)]
#[must_use]
pub fn cgroup_pins(policy: &PolicyTable, cgroups: &[u64; MAX_CGROUP_LEVELS]) -> u64 {
    let mut pins = u64::from(policy.zero);
    for level in 1..=MAX_CGROUP_LEVELS as u32 {
        if policy.cgroup_levels & (1 << level) != 0 {
            pins |= pins_of_cgroup(policy, at(cgroups, level - 1));
        }
    }
    pins
}

/// The pins that select a cgroup which may be this one, made anew since the daemon looked: see [`abi::CgroupParent`].
#[inline(always)]
#[must_use]
pub fn unplaced_pins(policy: &PolicyTable, cgroups: &[u64; MAX_CGROUP_LEVELS]) -> u64 {
    // What is asked for level 0 has no meaning.
    let ancestor = |level: u32| at(cgroups, level.wrapping_sub(1));
    let mut pins = u64::from(policy.zero);
    for index in 0..abi::MAX_CGROUP_PARENTS as u32 {
        if index >= policy.parent_len {
            break;
        }
        let parent = at_ref(&policy.parents, index);
        // Every socket's cgroup is below the root. Of level 0 nothing is read; it stands for any id.
        let at_root = mask_if_equal(u64::from(parent.level), 0);
        let below = at_root | mask_if_equal(ancestor(parent.level), parent.id);
        let is_new = less64(parent.known, ancestor(parent.level.wrapping_add(1))).wrapping_neg();
        let is_deep = nonzero_mask(ancestor(parent.depth));
        pins |= parent.pins & below & is_new & is_deep;
    }
    pins
}

#[inline(always)]
fn interface_pins(policy: &PolicyTable, ifindex: u32) -> ByOrigin {
    let place = place_of(&policy.interfaces, policy.interface_len, ifindex);
    let is_known = nonzero_mask(place);
    let came_since = less64(u64::from(policy.interfaces_until), u64::from(ifindex)).wrapping_neg();
    ByOrigin {
        pins: at(&policy.interface_pins, place.wrapping_sub(1)) & is_known,
        unplaced: came_since & !is_known,
    }
}

/// Whether a packet that leaves by this interface is counted and charged by a guarded one below it, by which it leaves the host.
///
/// Not where its pins go by interfaces or marks: below it may have others, and be of other pins.
#[inline(always)]
#[must_use]
pub fn is_counted_below(hook: Hook, policy: &PolicyTable, ifindex: u32, tag: u64) -> bool {
    policy.above_len != 0
        && hook as u8 == Hook::Egress as u8
        && tag & !(policy.any_interface & policy.any_mark) == 0
        && place_of(&policy.above, policy.above_len, ifindex) != 0
}

/// The place of an interface among sorted ones, counted from 1; 0 where it is none of them.
#[inline(always)]
fn place_of(interfaces: &[u32; MAX_INTERFACES], len: u32, ifindex: u32) -> u64 {
    // Interface indexes start at 1, and elements past the known ones are 0: only a known one is equal.
    let after = partition_point(steps::<MAX_INTERFACES>(), 0, u64::from(len), |index| {
        less_or_equal(u64::from(at(interfaces, index)), u64::from(ifindex))
    });
    let known = mask_if_equal(u64::from(at(interfaces, after.wrapping_sub(1))), u64::from(ifindex));
    after & known & nonzero_mask(after)
}

#[inline(always)]
fn pins_of_cgroup(policy: &PolicyTable, id: u64) -> u64 {
    let after = partition_point(steps::<{ abi::MAX_CGROUPS }>(), 0, u64::from(policy.cgroup_len), |index| {
        less64(id, at(&policy.cgroups, index)) ^ 1
    });
    let index = after.wrapping_sub(1);
    let known = mask_if_equal(at(&policy.cgroups, index), id);
    at(&policy.cgroup_pins, index) & known & nonzero_mask(after)
}

/// The pins that a user lets match; none for [`abi::NO_USER`], which no selector names.
#[inline(always)]
#[must_use]
pub fn user_pins(policy: &PolicyTable, uid: u32) -> u64 {
    let after = partition_point(steps::<{ abi::MAX_USERS }>(), 0, u64::from(policy.user_len), |index| {
        less_or_equal(u64::from(at(&policy.users, index)), u64::from(uid))
    });
    let index = after.wrapping_sub(1);
    let known = mask_if_equal(u64::from(at(&policy.users, index)), u64::from(uid));
    at(&policy.user_pins, index) & known & nonzero_mask(after)
}

/// All bits set where the number is not 0.
#[inline(always)]
pub(super) fn nonzero_mask(number: u64) -> u64 {
    !mask_if_equal(number, 0)
}

/// `LOOPBACK_IFINDEX` (include/net/flow.h): the loopback interface's index in every network namespace.
const LOOPBACK: u64 = 1;

/// The pins that match because the host itself makes the packet, whatever address it has: an address that came a moment
/// ago is not known yet, and a raw socket sends with any.
///
/// What the host forwards came in by an interface. What came in by the loopback interface was sent there by a process of
/// this host, whatever source it gave it; what came in by another one that loops back ([`PolicyTable::loops`]) may have been.
/// Nothing that comes in at a guarded interface was made here.
#[inline(always)]
pub(super) fn made_here<O: Origin>(hook: Hook, policy: &PolicyTable, origin: &O) -> u64 {
    if policy.dimensions & dimension::HOST == 0 || hook as u8 == Hook::Ingress as u8 {
        return u64::from(policy.zero);
    }
    let by = origin.ingress_ifindex();
    let is_own = mask_if_equal(u64::from(by), 0) | mask_if_equal(u64::from(by), LOOPBACK);
    if is_own != 0 || policy.loop_len == abi::EVERY_LOOP {
        return policy.from_host;
    }
    policy.from_host & nonzero_mask(place_of(&policy.loops, policy.loop_len, by))
}

/// The pins that a layer's source address and its ports let match. `made_here`: those that match whatever the address.
#[inline(always)]
pub(super) fn tag_by_layer<T: Tables>(
    tables: &T,
    policy: &PolicyTable,
    layer: &Layer,
    made_here: u64,
) -> u64 {
    let mut pins = policy.pins;
    if policy.dimensions & dimension::SOURCE != 0 {
        let mut matching = tables.source_pins(policy, layer.src) | made_here;
        // Those that are left are looked up for alone.
        if policy.from_host & !matching != 0 && tables.is_of_host(layer.src) {
            matching |= policy.from_host;
        }
        pins &= matching;
        if pins == 0 {
            return 0;
        }
    }
    if policy.dimensions & dimension::PORT != 0 {
        pins &= local_set(policy, layer).pins;
    }
    if policy.dimensions & dimension::REMOTE_PORT != 0 {
        pins &= tables.remote_pins(policy, layer_port_key(layer, layer.dport));
    }
    pins
}

/// The pins that a remote port lets match by its key, those without selectors of remote ports among them.
#[inline(always)]
#[must_use]
pub fn remote_pins(policy: &PolicyTable, port_key: u32) -> u64 {
    at_ref(&policy.remote_sets, remote_set_of_key(policy, port_key)).pins
}

/// The pins that a source address lets match, those without source selectors among them.
#[inline(always)]
#[must_use]
pub fn source_pins(policy: &PolicyTable, address: Addr) -> u64 {
    let set = match address.v4() {
        Some(v4) => floor4(&policy.sources4, v4),
        None => floor6(&policy.sources6, address),
    };
    at(&policy.source_sets, set)
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
pub(super) fn remote_set_number(policy: &PolicyTable, layer: &Layer) -> u32 {
    remote_set_of_key(policy, layer_port_key(layer, layer.dport))
}

/// The number of the set of a remote port, by its key.
#[inline(always)]
pub(super) fn remote_set_of_key(policy: &PolicyTable, port_key: u32) -> u32 {
    floor4(&policy.remote_ports, port_key)
}

/// The key of a layer's port, without a branch: [`abi::port_key`], or [`abi::no_port_key`] where a later
/// fragment or another path's ports can't be known, or [`abi::HIDDEN_KEY`]. A whole packet that is known to
/// have no ports has the key of a protocol without ports.
#[inline(always)]
pub(super) fn layer_port_key(layer: &Layer, port: u16) -> u32 {
    const {
        assert!(Layer::HAS_PORTS == 1 && Layer::LATER_FRAGMENT == 4);
        assert!(Layer::OTHER_PORTS == 16 && Layer::HIDDEN == 32);
    };
    let flags = u32::from(layer.flags);
    let (has_ports, later, others, hidden) = (flags & 1, flags >> 2 & 1, flags >> 4 & 1, flags >> 5 & 1);
    let known = has_ports & ((others | hidden) ^ 1);
    let class = abi::port_class(layer.proto) & (has_ports | later).wrapping_neg()
        | abi::HIDDEN_CLASS & hidden.wrapping_neg();
    (class + abi::NO_PORT_CLASS * (known ^ 1)) << 16 | u32::from(port) & known.wrapping_neg()
}

#[inline(always)]
pub(super) fn peer_set_number(policy: &PolicyTable, address: Addr) -> u32 {
    match address.v4() {
        Some(address) => floor4(&policy.peers4, address),
        None => floor6(&policy.peers6, address),
    }
}

/// Whether a failsafe rule lets a packet pass that a pin forbids, of which `bytes` are taken from its budget.
#[inline(always)]
pub fn failsafe<A: Accounts, R: Trace>(
    accounts: &A,
    policy: &PolicyTable,
    packet: &Packet,
    bytes: u64,
    trace: &mut R,
) -> FailsafeAnswer {
    let covering = covering(policy, packet, trace);
    if covering == 0 {
        return FailsafeAnswer::None;
    }
    // One without a budget lets all pass.
    if covering & !policy.failsafe_bounded != 0 {
        return FailsafeAnswer::Passes;
    }
    let mut left = covering;
    for _ in 0..MAX_FAILSAFES {
        if left == 0 {
            break;
        }
        let rule = left.trailing_zeros() & (MAX_FAILSAFES as u32 - 1);
        left &= left - 1;
        let element = at(&policy.failsafe_elements, rule);
        let is_left = accounts.spend_failsafe(element, bytes, at(&policy.failsafe_budgets, rule));
        trace.budget(rule, is_left);
        if is_left {
            return FailsafeAnswer::Passes;
        }
    }
    FailsafeAnswer::Exhausted
}

/// The failsafe rules that cover the packet: every layer of it, because what a tunnel carries past the
/// peer that a rule names was never meant, and no source route.
#[inline(always)]
fn covering<R: Trace>(policy: &PolicyTable, packet: &Packet, trace: &mut R) -> u64 {
    if packet.hop_count != 0 || packet.layer_count == 0 {
        return 0;
    }
    let mut covering = !u64::from(policy.zero);
    for number in 0..MAX_LAYERS {
        if number as u32 >= packet.layer_count {
            break;
        }
        let Some(layer) = packet.layers.get(number) else { return 0 };
        covering &= at_ref(&policy.peer_sets, peer_set_number(policy, layer.dst)).failsafes
            & local_set(policy, layer).failsafes
            & at_ref(&policy.remote_sets, remote_set_number(policy, layer)).failsafes;
        trace.failsafe(number as u32, covering);
        if covering == 0 {
            return 0;
        }
    }
    covering
}

const _: () = assert!(MAX_INTERFACES < 1 << 20);
