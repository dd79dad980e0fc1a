//! Entry points that only the bench loads: an empty program, the destinations' generator alone, the
//! judgement and the lookups with a new destination at each run, and a kernel LPM trie as yardstick.
//!
//! A fixed test packet would stay in the cache. So the destination is taken from a long list that the
//! bench fills with draws from the database's ranges; it is read in order, so that reading it costs
//! next to nothing and touches none of what is measured.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the program macros expand to public functions without docs"
)]

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, LpmTrie, PerCpuArray};
use aya_ebpf::programs::TcContext;
use guard_common::abi::{Hook, NO_USER, Provenance, SocketFacts};
use guard_common::interval::{place_v4, place_v6};
use guard_common::packet::{Addr, Link};
use guard_common::search::at;
use guard_ebpf::generation::Generation;
use guard_ebpf::hooks::{Source, tcp_owner};
use guard_ebpf::judge::{judge, judge_with};
use guard_ebpf::maps::SOCKET_FACTS;

/// Destinations in the list.
const DRAWS: usize = 1 << 19;
/// Entries of the kernel's tries: past the ranges of any country database.
const TRIE_ENTRIES: u32 = 4 << 20;

/// Upper halves of the destinations, as the parser writes them.
#[map(name = "DRAWS_HI")]
static DRAWS_HI: Array<[u64; DRAWS]> = Array::with_max_entries(1, 0);
/// Lower halves of the destinations, as the parser writes them.
#[map(name = "DRAWS_LO")]
static DRAWS_LO: Array<[u64; DRAWS]> = Array::with_max_entries(1, 0);
/// Which destination is next.
#[map(name = "NEXT_DRAW")]
static NEXT_DRAW: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
/// Where results go, so that no work is left out.
#[map(name = "RESULT")]
static RESULT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
/// The yardstick: IPv4 prefixes, keys in network order.
#[map(name = "TRIE_V4")]
static TRIE_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(TRIE_ENTRIES, 1);
/// The yardstick: IPv6 prefixes, keys in network order.
#[map(name = "TRIE_V6")]
static TRIE_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(TRIE_ENTRIES, 1);

/// A place in a `struct sock` that is always there, as that of its owner is: no such socket is found in a test run.
const OWNER: usize = 8;

/// The number of a listener: no socket of a test run has it.
const LISTENER: u64 = u64::MAX;

/// The next destination of the list.
#[inline(always)]
fn draw() -> Option<Addr> {
    let next = NEXT_DRAW.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's.
    let number = unsafe {
        let number = *next;
        *next = number.wrapping_add(1);
        number
    };
    Some(Addr { hi: at(DRAWS_HI.get(0)?, number), lo: at(DRAWS_LO.get(0)?, number) })
}

#[inline(always)]
fn keep(result: u32) {
    if let Some(kept) = RESULT.get_ptr_mut(0) {
        // SAFETY: the element is this CPU's.
        unsafe { core::ptr::write_volatile(kept, result) };
    }
}

#[inline(always)]
fn code(passes: bool) -> i32 {
    if passes { TC_ACT_UNSPEC } else { 2 }
}

#[classifier]
pub fn bench_empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[classifier]
pub fn bench_draw(_: TcContext) -> i32 {
    if let Some(address) = draw() {
        keep((address.hi ^ address.lo) as u32);
    }
    TC_ACT_UNSPEC
}

#[classifier]
pub fn bench_egress(context: TcContext) -> i32 {
    code(judge(Hook::Egress, Link::Ethernet, &context))
}

#[classifier]
pub fn bench_egress_random(context: TcContext) -> i32 {
    code(judge_with(Hook::Egress, Link::Ethernet, &context, |packet| {
        if let Some(address) = draw() {
            packet.layers[0].dst = address;
        }
    }))
}

/// Gives the packet's socket the facts that a socket of a service has: its maker is its owner, and another one listened.
#[inline(always)]
fn note_maker(context: &TcContext) {
    // SAFETY: the context is the kernel's, and zeroes are facts: those of nobody.
    unsafe {
        let socket = (*context.skb.skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return;
        }
        if let Some(facts) = SOCKET_FACTS.get_or_make(socket.cast()) {
            (*facts).maker.pid = 1;
            (*facts).noted = 1;
            (*facts).original = LISTENER;
        }
    }
}

/// A packet whose socket is taken for one of TCP: that of a test run is of no protocol. The owner is asked for in the way of
/// such a socket, and is the same.
struct OfTcp<'a>(&'a TcContext);

impl Source for OfTcp<'_> {
    #[inline(always)]
    fn owner(&self) -> u32 {
        // SAFETY: the context is the kernel's, and so is the socket.
        unsafe {
            let socket = (*self.0.skb.skb).__bindgen_anon_2.sk;
            if socket.is_null() { NO_USER } else { tcp_owner(socket.cast(), OWNER).unwrap_or(0) }
        }
    }

    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        self.0.linear()
    }
    #[inline(always)]
    fn told_ethertype(&self) -> Option<u16> {
        self.0.told_ethertype()
    }
    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.0.frame_len()
    }
    #[inline(always)]
    fn wire_len(&self) -> u64 {
        self.0.wire_len()
    }
    #[inline(always)]
    fn segment_size(&self) -> u32 {
        self.0.segment_size()
    }
    #[inline(always)]
    unsafe fn copy(&self, at: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: the caller vouches for `to`.
        unsafe { self.0.copy(at, to, len) }
    }
    #[inline(always)]
    fn describe(&self, to: &mut Provenance) {
        Source::describe(self.0, to);
    }
    #[inline(always)]
    fn describe_cgroups(&self, levels: u32, to: &mut Provenance) {
        self.0.describe_cgroups(levels, to);
    }
    #[inline(always)]
    fn facts(&self) -> Option<*mut SocketFacts> {
        self.0.facts()
    }
    #[inline(always)]
    fn volumes(&self) -> u64 {
        self.0.volumes()
    }
    #[inline(always)]
    fn direction(&self) -> u32 {
        self.0.direction()
    }
    #[inline(always)]
    fn cgroup(&self) -> u64 {
        Source::cgroup(self.0)
    }
    #[inline(always)]
    fn cookie(&self) -> u64 {
        Source::cookie(self.0)
    }
}

#[classifier]
pub fn bench_facts(context: TcContext) -> i32 {
    note_maker(&context);
    TC_ACT_UNSPEC
}

#[classifier]
pub fn bench_egress_facts(context: TcContext) -> i32 {
    note_maker(&context);
    code(judge(Hook::Egress, Link::Ethernet, &context))
}

#[classifier]
pub fn bench_egress_facts_of_tcp(context: TcContext) -> i32 {
    note_maker(&context);
    code(judge(Hook::Egress, Link::Ethernet, &OfTcp(&context)))
}

#[classifier]
pub fn bench_lookup_v4(_: TcContext) -> i32 {
    let Some(tables) = Generation::live() else { return TC_ACT_UNSPEC };
    let Some(address) = draw() else { return TC_ACT_UNSPEC };
    if let Some(place) = place_v4(&tables, address.lo as u32) {
        keep(u32::from(place.0));
    }
    TC_ACT_UNSPEC
}

#[classifier]
pub fn bench_lookup_v6(_: TcContext) -> i32 {
    let Some(tables) = Generation::live() else { return TC_ACT_UNSPEC };
    let Some(address) = draw() else { return TC_ACT_UNSPEC };
    if let Some(place) = place_v6(&tables, address) {
        keep(u32::from(place.0));
    }
    TC_ACT_UNSPEC
}

#[classifier]
pub fn bench_trie_v4(_: TcContext) -> i32 {
    if let Some(address) = draw() {
        let key = Key::new(32, (address.lo as u32).to_be_bytes());
        keep(TRIE_V4.get(&key).copied().unwrap_or(0));
    }
    TC_ACT_UNSPEC
}

#[classifier]
pub fn bench_trie_v6(_: TcContext) -> i32 {
    if let Some(address) = draw() {
        let mut octets = [0; 16];
        let (hi, lo) = octets.split_at_mut(8);
        hi.copy_from_slice(&address.hi.to_be_bytes());
        lo.copy_from_slice(&address.lo.to_be_bytes());
        keep(TRIE_V6.get(Key::new(128, octets)).copied().unwrap_or(0));
    }
    TC_ACT_UNSPEC
}

/// As [`bench_trie_v6`], of the packet's own destination, behind Ethernet's header.
#[classifier]
pub fn bench_trie_packet(context: TcContext) -> i32 {
    if let Ok(address) = context.load::<[u8; 16]>(14 + 24) {
        keep(TRIE_V6.get(Key::new(128, address)).copied().unwrap_or(0));
    }
    TC_ACT_UNSPEC
}

/// Where packets end.
#[classifier]
pub fn bench_end(_: TcContext) -> i32 {
    TC_ACT_SHOT
}

guard_ebpf::object_parts!();
