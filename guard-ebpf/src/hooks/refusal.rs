//! `connect` and `sendmsg` of processes: refused where every packet that would come of the call is dropped.
//!
//! These programs may be interrupted by others of their kind on every kernel. So they claim no scratch: what they need is on
//! the stack, and they count by atomic operations alone.

use core::ptr::read_volatile;

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_sock_addr};
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_netns_cookie,
};
use aya_ebpf::programs::SockAddrContext;
use guard_common::abi::{
    Count, FlowKey, FlowRecord, Hook, Loss, MAX_CGROUP_LEVELS, NO_EXEMPTION, OutcomeKey, Place, PolicyTable,
    Process, dimension, fold_pins, port_key, total_index,
};
use guard_common::decide::{self, Call};
use guard_common::packet::Addr;
use guard_common::verdict::Verdict;

use super::socket::{note, user};
use crate::clock::boot_ns;
use crate::counters::{add_shared, lost};
use crate::generation::Generation;
use crate::maps::{FLOWS, HOST_ADDRESSES, OUTCOMES, TOTAL_COUNTS};
use crate::records;
use crate::subprograms::{NOTHING, borderguard_place, borderguard_place_through_nat64};

/// Whether packets may come of a call by an IPv4 address. The process must have been noted with its socket before.
#[inline(always)]
#[must_use]
pub fn may_go_by_v4(hook: Hook, context: &SockAddrContext) -> bool {
    may_go(hook, context, |call| {
        // SAFETY: the context is the kernel's, and its fields are read as words, as the verifier wants it.
        let v4 = unsafe { read_volatile(&raw const (*call).user_ip4) };
        Addr::from_v4(u32::from_be(v4))
    })
}

/// Likewise by an IPv6 address.
#[inline(always)]
#[must_use]
pub fn may_go_by_v6(hook: Hook, context: &SockAddrContext) -> bool {
    may_go(hook, context, |call| {
        let word = |at: usize| {
            // SAFETY: as above, and there are four of them.
            let word = unsafe { read_volatile((&raw const (*call).user_ip6).cast::<u32>().add(at)) };
            u64::from(u32::from_be(word))
        };
        Addr { hi: word(0) << 32 | word(1), lo: word(2) << 32 | word(3) }
    })
}

#[inline(always)]
fn may_go(hook: Hook, context: &SockAddrContext, address: impl FnOnce(*const bpf_sock_addr) -> Addr) -> bool {
    let call = context.sock_addr;
    let Some(generation) = Generation::live() else { return true };
    let Some(policy) = generation.policy() else { return true };
    // SAFETY: the context is the kernel's; the helper only reads it.
    if policy.refuse_in == 0 || policy.refuse_in != unsafe { bpf_get_netns_cookie(call.cast()) } {
        return true;
    }
    // SAFETY: as for the address.
    let (protocol, port) =
        unsafe { (read_volatile(&raw const (*call).protocol), read_volatile(&raw const (*call).user_port)) };
    if !decide::CALL_PROTOCOLS.iter().any(|refused| u32::from(*refused) == protocol) {
        return true;
    }
    let (to, port) = (address(call), u16::from_be(port as u16));
    let live = generation.live.0;
    let pins = borderguard_refusing(to.hi, to.lo, port_key(protocol as u8, port), live);
    if pins == 0 {
        return true;
    }
    let place = place(policy, to, live);
    let what = u64::from(port)
        | protocol_word(protocol)
        | (hook as u64) << 24
        | u64::from(place as u16) << 32
        | u64::from(policy.identity) << 48;
    borderguard_account_refused(to.hi, to.lo, what, pins, policy.generation);
    false
}

#[inline(always)]
const fn protocol_word(protocol: u32) -> u64 {
    (protocol as u64 & 0xff) << 16
}

/// A place, or [`NOTHING`].
#[inline(always)]
fn place(policy: &PolicyTable, address: Addr, live: u32) -> u32 {
    match policy.dimensions & dimension::NAT64 {
        0 => borderguard_place(address.hi, address.lo, live),
        _ => borderguard_place_through_nat64(address.hi, address.lo, live),
    }
}

/// [`decide::refusing`] for a call of the process that asks, to the address with these halves and the port of this key, over
/// the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_refusing(hi: u64, lo: u64, port_key: u32, live: u32) -> u64 {
    let generation = Generation::of(live);
    let Some(policy) = generation.policy() else { return 0 };
    let destination = Addr { hi, lo };
    if HOST_ADDRESSES.get_ptr(destination).is_some() {
        return 0;
    }
    let by_caller = borderguard_caller_pins(live);
    let call = Call { destination, port_key, by_caller };
    decide::refusing(policy, &call, |address| match place(policy, address, live) {
        NOTHING => None,
        place => Some(Place(place as u16)),
    })
}

/// [`decide::caller_pins`] of the process that asks, over the slots of this live word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_caller_pins(live: u32) -> u64 {
    let generation = Generation::of(live);
    let Some(policy) = generation.policy() else { return 0 };
    let mut cgroups = [0; MAX_CGROUP_LEVELS];
    if policy.dimensions & dimension::CGROUP != 0 {
        for (at, id) in cgroups.iter_mut().enumerate() {
            // SAFETY: the helper takes a number, and gives 0 where the process is less deep.
            *id = unsafe { bpf_get_current_ancestor_cgroup_id(at as i32 + 1) };
        }
    }
    decide::caller_pins(policy, &cgroups, user())
}

/// Counts a call that is refused, and tells it as the packet that would have come of it: of no bytes, from no address.
/// `what` has the port, the protocol (from bit 16 on), the hook (24), the place (32) and the low half of what the pins' numbers
/// stand for (48), which there is room for.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_account_refused(
    hi: u64,
    lo: u64,
    what: u64,
    pins: u64,
    generation: u64,
) -> u32 {
    let Some(hook) = Hook::from_index((what >> 24) as u8) else { return 0 };
    let place = Place((what >> 32) as u16);
    let (verdict, reason) = (Verdict::Drop as u8, decide::forbidden_by(place) as u8);
    count(TOTAL_COUNTS.get_ptr_mut(total_index(hook, verdict, reason)));
    let mut left = pins;
    for _ in 0..u64::BITS {
        if left == 0 {
            break;
        }
        let pin = left.trailing_zeros() as u8;
        left &= left - 1;
        let jurisdiction = place.jurisdiction_index();
        count_pin(OutcomeKey { pin, jurisdiction, hook_verdict: (hook as u8) << 4 | verdict, reason });
    }
    let dst = Addr { hi, lo };
    let src = if dst.v4().is_some() { Addr::from_v4(0) } else { Addr { hi: 0, lo: 0 } };
    let key = FlowKey {
        src,
        dst,
        sport: 0,
        dport: what as u16,
        proto: (what >> 16) as u8,
        hook: hook as u8,
        verdict,
        reason,
        place: place.0,
        exemption: NO_EXEMPTION,
        pins: fold_pins(pins, pins) ^ (what >> 48) as u32,
    };
    tell(&key, pins, generation);
    0
}

/// Adds the call to the flow's record, and sends an event as for packets.
#[inline(always)]
fn tell(key: &FlowKey, pins: u64, generation: u64) {
    let now = boot_ns();
    let mut process = Process::default();
    // SAFETY: it is on the stack; the helper only reads.
    let cgroup = unsafe {
        note(&raw mut process);
        bpf_get_current_cgroup_id()
    };
    if let Some(record) = FLOWS.get_ptr_mut(*key) {
        // SAFETY: the record is an element of the map.
        unsafe { records::count_again(key, record, &process, (now, generation)) };
        return;
    }
    let fresh = &FlowRecord {
        first_ns: now,
        last_ns: now,
        event_ns: now,
        packets: 1,
        bytes: 0,
        tag: pins,
        denied: pins,
        generation,
        ifindex: 0,
        mark: 0,
        cgroup,
        place: key.place,
        exemption: key.exemption,
        verdict: key.verdict,
        reason: key.reason,
        tcp_flags: 0,
        layers: 1,
        process,
        volumes: 0,
        // The socket is not to be closed: it may be used for other destinations.
        cookie: 0,
    };
    if FLOWS.insert(key, fresh, u64::from(BPF_NOEXIST)).is_ok() {
        records::send(key, fresh, [key.dst, key.src], now);
        return;
    }
    match FLOWS.get_ptr_mut(*key) {
        // Another process has just made it.
        // SAFETY: as above.
        Some(record) => unsafe { records::count_again(key, record, &process, (now, generation)) },
        None => {
            lost(Loss::Flows);
            records::send(key, fresh, [key.dst, key.src], now);
        }
    }
}

#[inline(always)]
fn count_pin(key: OutcomeKey) {
    if OUTCOMES.get_ptr_mut(key).is_none() {
        let _there_now = OUTCOMES.insert(key, Count { packets: 0, bytes: 0 }, u64::from(BPF_NOEXIST));
    }
    match OUTCOMES.get_ptr_mut(key) {
        Some(found) => count(Some(found)),
        None => lost(Loss::Outcomes),
    }
}

#[inline(always)]
fn count(count: Option<*mut Count>) {
    if let Some(count) = count {
        // SAFETY: it is an element of a map, which programs of these hooks alone write, all by atomic operations.
        unsafe { add_shared(count, 0) };
    }
}
