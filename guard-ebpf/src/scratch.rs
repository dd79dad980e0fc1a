//! Scratch memory: where a packet is copied, parsed and judged, as a program's stack is too small for it.
//!
//! A program stays on the CPU that it began on. On most kernels nothing else of its hook runs there before it ends:
//! XDP may interrupt TC, but no hook interrupts itself. So one scratch for each hook and CPU is enough.
//!
//! With `PREEMPT_RT` tasks take the CPU from each other in the middle of a program (from Linux 6.18 on, where
//! disabling softirqs takes no lock any more). There a program claims one of [`SHARED_SCRATCHES`] scratches and releases it,
//! both by atomic operations, and drops its packet where none is free.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use guard_common::abi::{FlowKey, FlowRecord, Hook, MAX_PARTIES, Outcome, Provenance, SHARED_SCRATCHES};
use guard_common::decide::ByOrigin;
use guard_common::packet::segment::SEGMENT_LEN;
use guard_common::packet::{HEADER_LEN, Layer, Packet, Walk};

use crate::atomic;
use crate::cache::{LastCgroup, LastFacts, LastLookup, LastRecipient, LastUser};

/// Tries to claim a scratch. One fails only where another task came in between.
const TRIES: u32 = 8;

/// 1 where another program of the same hook may run on this CPU before one ends, else 0. Written by the loader and
/// constant from then on, so that the verifier takes away what is not used.
#[unsafe(no_mangle)]
static PREEMPTIBLE: Global<u32> = Global::new(0);

/// 1 where frames of test runs alone are judged, else 0. The kernel takes two bytes of such a frame for the EtherType that
/// its sender told, also where it has no Ethernet header.
#[unsafe(no_mangle)]
static TEST_RUNS: Global<u32> = Global::new(0);

/// Whether frames of test runs alone are judged.
#[inline(always)]
#[must_use]
pub fn judges_test_runs() -> bool {
    TEST_RUNS.load() != 0
}

/// Whether another program of the same hook may run on this CPU before this one ends.
#[inline(always)]
#[must_use]
pub fn preemptible() -> bool {
    PREEMPTIBLE.load() != 0
}

/// Where a packet's header is copied and parsed.
#[repr(C)]
pub struct Scratch {
    /// Bytes copied, at most [`HEADER_LEN`].
    pub valid: u32,
    /// What the parser answered, [`Parsed::code`](guard_common::packet::Parsed::code).
    pub parsed: u32,
    /// What was decided.
    pub outcome: Outcome,
    /// What was decided by the packet as it is, while it is judged by its socket's own end.
    pub written: Outcome,
    /// What is known beside the bytes.
    pub provenance: Provenance,
    /// The pins that what is known beside the bytes lets match.
    pub by_origin: ByOrigin,
    /// The last source address that was looked up, and the pins that it lets match.
    pub last_source: LastLookup,
    /// The last destination that was looked up, and its [`Place`](guard_common::abi::Place).
    pub last_destination: LastLookup,
    /// The last peer that no pin tagged, and its [`Place`](guard_common::abi::Place).
    pub last_untagged: LastLookup,
    /// What the last facts of sockets let match, by the lowest bits of their numbers.
    pub last_facts: [LastFacts; LastFacts::COUNT],
    /// What is being found out for the facts of a socket: the stack has no room for it.
    pub finding: LastFacts,
    /// The last users of sockets: the owner, the maker, and each party.
    pub last_users: [LastUser; 2 + MAX_PARTIES],
    /// The last cgroups: the socket's own, and each party's.
    pub last_cgroups: [LastCgroup; 1 + MAX_PARTIES],
    /// What was found for a cgroup.
    pub found: LastCgroup,
    /// The last recipient that exemptions were looked up for, and those that have it.
    pub last_recipient: LastRecipient,
    /// `CLOCK_BOOTTIME` in nanoseconds when exemptions or the flow's record were looked at; of an earlier packet where none
    /// was.
    pub now: u64,
    /// The key of the packet's flow, where a record is kept.
    pub flow: FlowKey,
    /// A flow's first record, until the map has it.
    pub record: FlowRecord,
    /// The header.
    pub header: [u8; HEADER_LEN],
    /// What is looked at of a later segment.
    pub segment: [u8; SEGMENT_LEN],
    /// What the numbers of the pins and of the exemption stand for, where a record is kept: a part of [`FlowKey::pins`].
    pub identity: u32,
    /// What the parser reads in it.
    pub packet: Packet,
    /// The outermost layer, while a packet is judged by another one in its place: an ICMP error by what it quotes, another one
    /// with its socket's own end.
    pub error: Layer,
    /// Where the parser stands between two headers.
    pub walk: Walk,
}

/// Scratches of one packet: in the programs of a shadow each has a [`second`] one.
const EACH: u32 = if cfg!(feature = "shadow") { 2 } else { 1 };

/// The scratches: of each hook of packets by turns, so that a scratch's number modulo 2 is its hook's. The loader makes the map
/// larger where they are shared, to [`SHARED_SCRATCHES`] for each hook.
#[map(name = "SCRATCH")]
static SCRATCHES: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(EACH * Hook::PACKET_COUNT as u32, 0);

/// Which scratches of each hook are claimed, a bit each.
#[map(name = "CLAIMED")]
static CLAIMED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Hook::PACKET_COUNT as u32, 0);

const _: () = assert!(Hook::PACKET_COUNT == 2 && SHARED_SCRATCHES < u64::BITS);

/// The number of a scratch that nothing else uses until it is released. `None` where all are claimed.
#[inline(always)]
#[must_use]
pub fn claim(hook: Hook) -> Option<u32> {
    if !preemptible() {
        return Some(hook as u32);
    }
    let claimed = CLAIMED.get_ptr_mut(hook as u32)?;
    for _ in 0..TRIES {
        // SAFETY: the element is this CPU's, and an aligned word, which other programs on this CPU change by atomic
        // operations alone.
        let before = unsafe { core::ptr::read_volatile(claimed) };
        let number = before.trailing_ones();
        if number >= SHARED_SCRATCHES {
            return None;
        }
        // SAFETY: as above.
        if unsafe { atomic::replace(claimed, before, before | 1 << number) } {
            return Some(number * Hook::PACKET_COUNT as u32 + hook as u32);
        }
    }
    None
}

/// Gives a claimed scratch back.
#[inline(always)]
pub fn release(number: u32) {
    if !preemptible() {
        return;
    }
    if let Some(claimed) = CLAIMED.get_ptr_mut(number % Hook::PACKET_COUNT as u32) {
        let bit = 1_u64 << ((number / Hook::PACKET_COUNT as u32) & (u64::BITS - 1));
        // SAFETY: as in `claim`. The bit is set, for this program has set it: taking it off borrows from no other.
        unsafe { atomic::sub(claimed, bit) };
    }
}

/// The scratch of this number, which must be claimed.
#[inline(always)]
#[must_use]
pub fn get(number: u32) -> Option<*mut Scratch> {
    SCRATCHES.get_ptr_mut(number)
}

/// The number of the scratch in which the packet in the scratch of this number is judged once more. It is claimed with that
/// one, for nobody else has a number for it.
#[cfg(feature = "shadow")]
#[inline(always)]
#[must_use]
pub fn second(number: u32) -> u32 {
    let each = if preemptible() { SHARED_SCRATCHES } else { 1 };
    number + each * Hook::PACKET_COUNT as u32
}

/// The hook of the scratch of this number.
#[inline(always)]
#[must_use]
pub fn hook(number: u32) -> Hook {
    if number % Hook::PACKET_COUNT as u32 == Hook::Egress as u32 { Hook::Egress } else { Hook::Ingress }
}
