//! The maps.
//!
//! Every table of a generation has two slots, elements 0 and 1 of an array whose value is the whole
//! table: one lookup gives the table, and inside it plain loads with bounds that the verifier checks.

use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use guard_common::abi::protect::{AttemptKey, Attempts, MAX_ATTEMPTS, MAX_PROTECTED, Protected, Protector};
use guard_common::abi::{
    BYPASS_COUNTS, COPY_WORDS, Canary, Carrier, CarrierControl, Control, Count, DEVICE_WORDS, EVENT_LIMITS,
    ExemptionUse, FailsafeUse, FileKey, FlowKey, FlowRecord, Handed, HighWater, Loss, MAX_BYPASS_ALLOWED,
    MAX_CARRIER_CGROUPS, MAX_CARRIERS, MAX_COPIES, MAX_EXEMPTIONS, MAX_FAILSAFES, MAX_HOST_ADDRESSES,
    MAX_PINS, MAX_RELAYS, MAX_UNTAGGED_FLOWS, MAX_VOLUME_DEVICES, MAX_VOLUMES, MAX_WAYS, MAX_WRITERS,
    OutcomeKey, PERMITTED_COUNTS, PolicyTable, Relay, RelayKey, SocketFacts, TOTALS, UntaggedKey,
    UntaggedRecord, WayKey, WriterKey,
};
use guard_common::interval::{Detail, V4Entries, V4Nodes, V6Entries, V6Nodes};
use guard_common::jurisdiction;
use guard_common::packet::Addr;

use crate::socket_storage::SocketStorage;

/// Hash entries are made on demand; none wait in memory.
const NO_PREALLOC: u32 = 1;

/// Which slots are live, and the ABI of the maps.
#[map(name = "CONTROL")]
pub static CONTROL: Array<Control> = Array::pinned(1, 0);

/// The policy table of both slots.
#[map(name = "POLICY")]
pub static POLICY: Array<PolicyTable> = Array::pinned(2, 0);

/// Slices of the IPv4 table of both slots.
#[map(name = "V4_NODES")]
pub static V4_NODES: Array<V4Nodes> = Array::pinned(2, 0);
/// Intervals of the IPv4 table of both slots.
#[map(name = "V4_ENTRIES")]
pub static V4_ENTRIES: Array<V4Entries> = Array::pinned(2, 0);
/// Slices of the IPv6 table of both slots.
#[map(name = "V6_NODES")]
pub static V6_NODES: Array<V6Nodes> = Array::pinned(2, 0);
/// Intervals of the IPv6 table of both slots.
#[map(name = "V6_ENTRIES")]
pub static V6_ENTRIES: Array<V6Entries> = Array::pinned(2, 0);
/// Intervals inside split /64s of both slots.
#[map(name = "V6_DETAIL")]
pub static V6_DETAIL: Array<Detail> = Array::pinned(2, 0);

/// Addresses of the host: of no generation, for they come and go by themselves. The daemon keeps them.
#[map(name = "HOST_ADDRESSES")]
pub static HOST_ADDRESSES: HashMap<Addr, u8> = HashMap::pinned(MAX_HOST_ADDRESSES as u32, NO_PREALLOC);

/// What each exemption has let through: of no generation, so that a reload loses nothing.
#[map(name = "EXEMPTION_USE")]
pub static EXEMPTION_USE: Array<ExemptionUse> = Array::pinned(MAX_EXEMPTIONS as u32, 0);

/// What each failsafe rule with a budget has let pass, by its number.
#[map(name = "FAILSAFE_USE")]
pub static FAILSAFE_USE: Array<FailsafeUse> = Array::pinned(MAX_FAILSAFES as u32, 0);

/// 1 for each slot whose exemption is closed by an order that the disk has not taken. No program goes by it: it is
/// kept here for a daemon that starts again, and [used](crate::subprograms::borderguard_use_kept) all the same.
#[map(name = "HELD")]
pub static HELD: Array<u64> = Array::pinned(MAX_EXEMPTIONS as u32, 0);

/// The end of the audit trail as the disk had it last. Likewise.
#[map(name = "HIGH_WATER")]
pub static HIGH_WATER: Array<HighWater> = Array::pinned(1, 0);

/// All packets by hook, verdict and reason.
#[map(name = "TOTALS")]
pub static TOTAL_COUNTS: PerCpuArray<Count> = PerCpuArray::pinned(TOTALS as u32, 0);

/// Permitted egress by pin and jurisdiction: the common case, without a hash.
#[map(name = "PERMITTED")]
pub static PERMITTED: PerCpuArray<Count> = PerCpuArray::pinned(PERMITTED_COUNTS as u32, 0);

/// Every other outcome of pinned packets. Larger than all keys that 64 pins can have in practice;
/// an outcome that finds no room is counted in [`LOST`], and in the totals like every packet.
#[map(name = "OUTCOMES")]
pub static OUTCOMES: PerCpuHashMap<OutcomeKey, Count> = PerCpuHashMap::pinned(65_536, NO_PREALLOC);

/// Flows that were forbidden or exempt, and permitted ones where the config asks.
#[map(name = "FLOWS")]
pub static FLOWS: LruHashMap<FlowKey, FlowRecord> = LruHashMap::pinned(65_536, 0);

/// Events for the daemon.
#[map(name = "EVENTS")]
pub static EVENTS: RingBuf = RingBuf::pinned(4 << 20, 0);

/// What could not be kept, by [`Loss`].
#[map(name = "LOST")]
pub static LOST: PerCpuArray<u64> = PerCpuArray::pinned(Loss::COUNT as u32, 0);

/// Packets that a pin tagged only because their cgroup was not known yet, by pin.
#[map(name = "UNPLACED")]
pub static UNPLACED: PerCpuArray<Count> = PerCpuArray::pinned(MAX_PINS as u32, 0);

/// Egress that no pin tags, by the peer's jurisdiction.
#[map(name = "UNTAGGED")]
pub static UNTAGGED: PerCpuArray<Count> = PerCpuArray::pinned(jurisdiction::COUNT as u32, 0);

/// Flows that no pin tags, where the policy asks for them.
#[map(name = "UNTAGGED_FLOWS")]
pub static UNTAGGED_FLOWS: LruHashMap<UntaggedKey, UntaggedRecord> =
    LruHashMap::pinned(MAX_UNTAGGED_FLOWS as u32, 0);

/// Ids of cgroups whose processes may open ways past the hooks.
#[map(name = "BYPASS_ALLOWED")]
pub static BYPASS_ALLOWED: HashMap<u64, u8> = HashMap::pinned(MAX_BYPASS_ALLOWED as u32, NO_PREALLOC);

/// How often a way past the hooks was asked for, by [`guard_common::abi::bypass_index`].
#[map(name = "BYPASSES")]
pub static BYPASSES: Array<u64> = Array::pinned(BYPASS_COUNTS as u32, 0);

/// Who made and who uses each socket: kept with the socket itself, and gone with it.
#[btf_map(name = "SOCKET_FACTS")]
pub static SOCKET_FACTS: SocketStorage<SocketFacts> = SocketStorage::pinned();

/// The canaries that the daemon sends, each with the socket that it is sent by. The daemon alone makes entries.
#[btf_map(name = "SOCKET_CANARIES")]
pub static SOCKET_CANARIES: SocketStorage<Canary> = SocketStorage::pinned();

/// Canaries that the pin which they are for forbids, by the number of that pin. No other count has them.
#[map(name = "CANARIES")]
pub static CANARIES: PerCpuArray<Count> = PerCpuArray::pinned(MAX_PINS as u32, 0);

/// How many times a socket's facts were changed: each change has a number that no other has, [`SocketFacts::noted`].
#[map(name = "SOCKET_CHANGES")]
pub static SOCKET_CHANGES: Array<u64> = Array::pinned(1, 0);

/// 1 once the holders of sockets were noted that were open before the hooks were attached, else 0.
#[map(name = "SOCKETS_NAMED")]
pub static SOCKETS_NAMED: Array<u64> = Array::pinned(1, 0);

/// Slots of the volumes on each device, a bit each, by the device's number as the kernel has it in a superblock.
#[map(name = "VOLUMES")]
pub static VOLUMES: HashMap<u32, u64> = HashMap::pinned(MAX_VOLUME_DEVICES as u32, 0);

/// Devices that may be in [`VOLUMES`], [`guard_common::abi::device_bit`]: asked first.
#[map(name = "DEVICE_BITS")]
pub static DEVICE_BITS: Array<u64> = Array::pinned(DEVICE_WORDS as u32, 0);

/// Which volume is in which slot: the hash of its name, or 0. Likewise: what carriers and sockets have are slots.
#[map(name = "VOLUME_SLOTS")]
pub static VOLUME_SLOTS: Array<u64> = Array::pinned(MAX_VOLUMES as u32, 0);

/// Processes that carry data of volumes. With memory of their own, so that none is missing for want of it.
#[map(name = "CARRIERS")]
pub static CARRIERS: HashMap<u32, Carrier> = HashMap::pinned(MAX_CARRIERS as u32, 0);

/// Cgroups that do, by their ids.
#[map(name = "CARRIER_CGROUPS")]
pub static CARRIER_CGROUPS: HashMap<u64, Carrier> = HashMap::pinned(MAX_CARRIER_CGROUPS as u32, 0);

/// Files elsewhere that have data of volumes, whose slots are the value's bits. No storage of the kernel's with the inode:
/// that ends when the inode leaves the kernel's memory, and programs of tracing have none.
#[map(name = "COPIES")]
pub static COPIES: HashMap<FileKey, u64> = HashMap::pinned(MAX_COPIES as u32, NO_PREALLOC);

/// Files that may be in [`COPIES`], [`guard_common::abi::copy_bit`]: asked first.
#[map(name = "COPY_BITS")]
pub static COPY_BITS: Array<u64> = Array::pinned(COPY_WORDS as u32, 0);

/// Processes whose writes to files off their volumes were reported, and of which volumes.
#[map(name = "WRITERS")]
pub static WRITERS: LruHashMap<WriterKey, u64> = LruHashMap::pinned(MAX_WRITERS as u32, 0);

/// What is left of each volume's limit of such reports, [`guard_common::abi::spend`].
#[map(name = "COPY_LIMITS")]
pub static COPY_LIMITS: Array<u64> = Array::with_max_entries(MAX_VOLUMES as u32, 0);

/// What the hooks of carriers go by, by [`CarrierControl`].
#[map(name = "CARRIER_CONTROL")]
pub static CARRIER_CONTROL: Array<u64> = Array::pinned(CarrierControl::COUNT as u32, 0);

/// Slots of the volumes whose data a socket may carry, a bit each: kept with the socket itself, and gone with it.
#[btf_map(name = "SOCKET_VOLUMES")]
pub static SOCKET_VOLUMES: SocketStorage<u64> = SocketStorage::pinned();

/// What a Unix socket was handed by carriers, for who receives by it: kept with the socket.
#[btf_map(name = "UNIX_HANDED")]
pub static UNIX_HANDED: SocketStorage<Handed> = SocketStorage::pinned();

/// What was handed on by other ways.
#[map(name = "WAYS")]
pub static WAYS: LruHashMap<WayKey, Handed> = LruHashMap::pinned(MAX_WAYS as u32, 0);

/// Who received what carriers handed on, and carried nothing of it before.
#[map(name = "RELAYS")]
pub static RELAYS: LruHashMap<RelayKey, Relay> = LruHashMap::pinned(MAX_RELAYS as u32, 0);

/// What is left of each limit of events, [`guard_common::abi::spend_event`].
#[map(name = "EVENT_LIMITS")]
pub static LIMITS: PerCpuArray<u64> = PerCpuArray::with_max_entries(EVENT_LIMITS as u32, 0);

/// Who is the guard, where others are kept from what is the guard's.
#[map(name = "PROTECTOR")]
pub static PROTECTOR: Array<Protector> = Array::with_max_entries(1, 0);

/// What is the guard's.
#[map(name = "PROTECTED")]
pub static PROTECTED: HashMap<Protected, u8> = HashMap::with_max_entries(MAX_PROTECTED as u32, NO_PREALLOC);

/// Who was refused to change it.
#[map(name = "ATTEMPTS")]
pub static ATTEMPTS: LruHashMap<AttemptKey, Attempts> = LruHashMap::with_max_entries(MAX_ATTEMPTS as u32, 0);
