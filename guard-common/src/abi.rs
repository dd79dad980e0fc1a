//! The binary interface between the kernel program and the daemon: map values, keys and events.
//!
//! Everything here is `repr(C)` of plain integers in the host's byte order with explicit padding, so
//! that both sides and the verifier see the same bytes. Any change of a layout or of a meaning raises
//! [`ABI_VERSION`]; the daemon refuses pinned maps of another version.

mod account;
mod bypass;
mod canary;
pub mod dimension;
pub mod failsafe;
mod high_water;
mod nat64;
mod ports;
pub mod protect;
mod relay;
pub mod shadow;
mod socket;
pub mod traced;
mod untagged;
mod volume;

use core::mem::{offset_of, size_of};

use crate::jurisdiction::{self, Jurisdiction};

pub use account::*;
pub use bypass::*;
pub use canary::*;
pub use failsafe::{FailsafeUse, MAX_BUDGET};
pub use high_water::*;
pub use nat64::*;
pub use ports::*;
pub use relay::*;
pub use socket::*;
pub use untagged::*;
pub use volume::*;

/// Version of everything in this file and of the geo tables in [`crate::interval`].
pub const ABI_VERSION: u32 = 25;

/// Pins on one host: the bits of a pin set.
pub const MAX_PINS: usize = 64;
/// Failsafe rules on one host: the bits of a failsafe set.
pub const MAX_FAILSAFES: usize = 64;
/// Exemptions on one host: the bits of an exemption set.
pub const MAX_EXEMPTIONS: usize = 256;
/// Words of an exemption set.
pub const EXEMPTION_WORDS: usize = MAX_EXEMPTIONS / 64;
/// Interval starts of the source addresses of all pins, for each family.
pub const MAX_SOURCES: usize = 4096;
/// Addresses of the host that the kernel knows at once.
pub const MAX_HOST_ADDRESSES: usize = 16_384;
/// Interval starts of failsafe peers and exemption recipients, for each family.
pub const MAX_PEERS: usize = 4096;
/// Interval starts of ports over all protocols.
pub const MAX_PORTS: usize = 1024;
/// Interfaces that selectors name.
pub const MAX_INTERFACES: usize = 256;

/// [`PolicyTable::loop_len`] where every interface counts as one that loops back.
pub const EVERY_LOOP: u32 = u32::MAX;
/// Cgroups that selectors name.
pub const MAX_CGROUPS: usize = 256;
/// Users that selectors name.
pub const MAX_USERS: usize = 256;
/// Levels below the cgroup v2 root on which selectors may name a cgroup.
pub const MAX_CGROUP_LEVELS: usize = 8;
/// Cgroups below which new ones count as those that selectors name.
pub const MAX_CGROUP_PARENTS: usize = 64;
/// Firewall marks that selectors name.
pub const MAX_MARKS: usize = 64;
/// The slot of no exemption.
pub const NO_EXEMPTION: u16 = u16::MAX;

/// A set of exemptions, bit `n % 64` of word `n / 64` for slot `n`.
pub type ExemptionSet = [u64; EXEMPTION_WORDS];

/// What placed a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PlacedBy {
    /// Nothing knows the address.
    Nothing = 0,
    /// A site of the config.
    Site = 1,
    /// The geo database.
    Database = 2,
    /// The address itself: it cannot be reached beyond the link.
    LinkScope = 3,
}

impl PlacedBy {
    /// The name in logs and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Site => "site",
            Self::Database => "database",
            Self::LinkScope => "link-scope",
        }
    }

    /// What the tables hold as this number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Nothing),
            1 => Some(Self::Site),
            2 => Some(Self::Database),
            3 => Some(Self::LinkScope),
            _ => None,
        }
    }
}

/// A place as the tables hold it: the jurisdiction in the low byte, what placed it in the high byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Place(pub u16);

impl Place {
    /// No source knows the address.
    pub const UNKNOWN: Self = Self(0);
    /// In the IPv6 table: this /64 is settled by the detail table.
    pub const SPLIT: Self = Self(u16::MAX);

    /// The place that this source gives.
    #[must_use]
    pub const fn new(jurisdiction: Jurisdiction, by: PlacedBy) -> Self {
        Self(jurisdiction.index() as u16 | (by as u16) << 8)
    }

    /// The number of the jurisdiction, an index into arrays of [`jurisdiction::COUNT`] elements.
    #[inline(always)]
    #[must_use]
    pub const fn jurisdiction_index(self) -> u8 {
        self.0 as u8
    }

    /// The jurisdiction; `unknown` for a number that no jurisdiction has.
    #[must_use]
    pub const fn jurisdiction(self) -> Jurisdiction {
        match Jurisdiction::from_index(self.0 as u8) {
            Some(jurisdiction) => jurisdiction,
            None => Jurisdiction::UNKNOWN,
        }
    }

    /// What placed the address.
    #[must_use]
    pub const fn placed_by(self) -> PlacedBy {
        match PlacedBy::from_index((self.0 >> 8) as u8) {
            Some(by) => by,
            None => PlacedBy::Nothing,
        }
    }
}

/// The one word that every packet reads once: which slots of the tables are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Live(pub u32);

impl Live {
    /// Nothing is loaded: no packet can be judged.
    pub const NONE: Self = Self(0);

    /// These slots, each 0 or 1, are live.
    #[must_use]
    pub const fn new(policy_slot: u32, geo_slot: u32) -> Self {
        Self(0x100 | (policy_slot & 1) | (geo_slot & 1) << 1)
    }

    /// These slots of the candidate's own tables, by which a shadow judges; it has one slot of geo tables. Never the live word.
    #[must_use]
    pub const fn of_shadow(policy_slot: u32) -> Self {
        Self(0x300 | (policy_slot & 1))
    }

    /// Whether the slots are those of a candidate's tables.
    #[inline(always)]
    #[must_use]
    pub const fn is_shadow(self) -> bool {
        self.0 & 0x200 != 0
    }

    /// Whether a generation is live at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_loaded(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// The live slot of the policy table.
    #[inline(always)]
    #[must_use]
    pub const fn policy_slot(self) -> u32 {
        self.0 & 1
    }

    /// The live slot of the geo tables.
    #[inline(always)]
    #[must_use]
    pub const fn geo_slot(self) -> u32 {
        (self.0 >> 1) & 1
    }
}

/// What `CONTROL` holds: the live word alone on its cache line, so that reading it stays cheap.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Control {
    /// The live slots, a [`Live`].
    pub live: u32,
    /// [`ABI_VERSION`] of whoever made the maps.
    pub abi: u32,
}

/// Intervals of `u32` keys (IPv4 addresses, ports, interface indexes) with what holds in each.
#[derive(Clone)]
#[repr(C)]
pub struct SmallTable<const N: usize> {
    /// Interval starts, sorted; the first is 0.
    pub starts: [u32; N],
    /// Number of each interval's set.
    pub sets: [u16; N],
    /// Intervals in use.
    pub len: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
}

/// Intervals of IPv6 addresses with what holds in each.
#[derive(Clone)]
#[repr(C)]
pub struct SmallTable6<const N: usize> {
    /// Upper halves of the interval starts, host order; sorted by both halves, the first is 0.
    pub hi: [u64; N],
    /// Lower halves of the interval starts, host order.
    pub lo: [u64; N],
    /// Number of each interval's set.
    pub sets: [u16; N],
    /// Intervals in use.
    pub len: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
}

/// What a local port lets match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct LocalSet {
    /// Pins whose port selectors the port satisfies, or that have none.
    pub pins: u64,
    /// Failsafe rules whose local ports the port satisfies, or that name none.
    pub failsafes: u64,
}

/// What a peer's address lets match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PeerSet {
    /// Failsafe rules that the peer satisfies, or that do not ask.
    pub failsafes: u64,
    /// Exemptions that the peer satisfies.
    pub exemptions: ExemptionSet,
}

/// What a remote port lets match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RemoteSet {
    /// Pins whose selectors of remote ports the port satisfies, or that have none.
    pub pins: u64,
    /// Failsafe rules whose remote ports the port satisfies, or that name none.
    pub failsafes: u64,
    /// Exemptions whose ports the port satisfies, or that name none.
    pub exemptions: ExemptionSet,
}

/// One firewall mark that selectors name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Mark {
    /// What the mark must be under the mask.
    pub value: u32,
    /// Bits of the mark that count.
    pub mask: u32,
    /// Pins that this mark lets match.
    pub pins: u64,
}

/// A cgroup below which a cgroup that a selector names is, or may come to be.
///
/// Ids of cgroups only rise (kernel, `kernfs_new_node`). So a cgroup directly below this one whose id is above
/// [`known`](Self::known) was made after the children were read, and may be the named one, made anew. Until the
/// children are read again, it counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CgroupParent {
    /// Its id.
    pub id: u64,
    /// The highest id among its children, when they were read last.
    pub known: u64,
    /// Pins that select a cgroup below it.
    pub pins: u64,
    /// Its level: 0 is the cgroup v2 root.
    pub level: u32,
    /// The level of the cgroup that those pins select. What is less deep can't be in it.
    pub depth: u32,
}

/// One exemption as the kernel judges it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exemption {
    /// Pins whose egress it covers.
    pub pins: u64,
    /// First nanosecond of its validity by `CLOCK_BOOTTIME`.
    pub valid_from_ns: u64,
    /// First nanosecond after its validity by `CLOCK_BOOTTIME`.
    pub valid_until_ns: u64,
    /// Bytes on the wire that it may let through; `u64::MAX` for no bound.
    pub quota: u64,
    /// The slot that is charged. Entries of one document, one for each recipient, share one account, and with it
    /// one quota; their pins, windows and quotas are the same. What has passed is booked on the entry's own slot.
    pub account: u32,
    /// By what its flows are told from those of another that has had the slot: a part of [`FlowKey::pins`].
    pub identity: u32,
}

/// Everything of a policy but the geo tables: one map value, filled as a whole and then switched live.
#[derive(Clone)]
#[repr(C)]
pub struct PolicyTable {
    /// Number of the generation, rising by one with every switch.
    pub generation: u64,
    /// Every pin's bit.
    pub pins: u64,
    /// Pins whose action is `drop`.
    pub drop: u64,
    /// Pins whose action is `flag`.
    pub flag: u64,
    /// Pins whose `ingress` is `drop`.
    pub ingress_drop: u64,
    /// Pins whose `ingress` is `flag`.
    pub ingress_flag: u64,
    /// Pins of whose permitted flows a record is kept too.
    pub record_all: u64,
    /// Pins that select no cgroup.
    pub any_cgroup: u64,
    /// Pins that select no firewall mark.
    pub any_mark: u64,
    /// Pins that select no interface.
    pub any_interface: u64,
    /// Pins that select no user.
    pub any_user: u64,
    /// The [`dimension`] bits in use.
    pub dimensions: u32,
    /// Levels below the cgroup v2 root on which a selector names a cgroup, a bit each from level 1 on.
    pub cgroup_levels: u32,
    /// Interfaces in use.
    pub interface_len: u32,
    /// Cgroups in use.
    pub cgroup_len: u32,
    /// Marks in use.
    pub mark_len: u32,
    /// Always 0, which only who fills the table knows: what begins with it is no constant to the verifier.
    pub zero: u32,
    /// Levels of the cgroups that a packet is asked for, a bit each from level 1 on: those of `cgroup_levels`, and
    /// those that the parents need.
    pub read_levels: u32,
    /// Parents in use.
    pub parent_len: u32,
    /// Users in use.
    pub user_len: u32,
    /// By what flows of these pins are told from those of others with the same bits: a part of [`FlowKey::pins`].
    pub identity: u32,
    /// Pins that permit each jurisdiction.
    pub permitted: [u64; jurisdiction::COUNT],
    /// IPv4 source addresses; sets are numbers in `source_sets`.
    pub sources4: SmallTable<MAX_SOURCES>,
    /// IPv6 source addresses; sets are numbers in `source_sets`.
    pub sources6: SmallTable6<MAX_SOURCES>,
    /// Pin sets by source address.
    pub source_sets: [u64; MAX_SOURCES],
    /// Local ports, keys by [`port_key`]; sets are numbers in `local_sets`.
    pub local_ports: SmallTable<MAX_PORTS>,
    /// What local ports let match.
    pub local_sets: [LocalSet; MAX_PORTS],
    /// Remote ports, keys by [`port_key`]; sets are numbers in `remote_sets`.
    pub remote_ports: SmallTable<MAX_PORTS>,
    /// What remote ports let match.
    pub remote_sets: [RemoteSet; MAX_PORTS],
    /// IPv4 peers; sets are numbers in `peer_sets`.
    pub peers4: SmallTable<MAX_PEERS>,
    /// IPv6 peers; sets are numbers in `peer_sets`.
    pub peers6: SmallTable6<MAX_PEERS>,
    /// What peers' addresses let match.
    pub peer_sets: [PeerSet; MAX_PEERS],
    /// Interface indexes, sorted: of those that a pin selects.
    pub interfaces: [u32; MAX_INTERFACES],
    /// Pins that each interface lets match.
    pub interface_pins: [u64; MAX_INTERFACES],
    /// Cgroup ids, sorted.
    pub cgroups: [u64; MAX_CGROUPS],
    /// Pins that each cgroup lets match.
    pub cgroup_pins: [u64; MAX_CGROUPS],
    /// Users, sorted.
    pub users: [u32; MAX_USERS],
    /// Pins that each user lets match.
    pub user_pins: [u64; MAX_USERS],
    /// Cgroups below which new ones count as pinned.
    pub parents: [CgroupParent; MAX_CGROUP_PARENTS],
    /// Firewall marks.
    pub marks: [Mark; MAX_MARKS],
    /// The exemptions by slot.
    pub exemptions: [Exemption; MAX_EXEMPTIONS],
    /// Exemptions whose recipients include a whole jurisdiction.
    pub exempt_jurisdictions: [ExemptionSet; jurisdiction::COUNT],
    /// Exemptions whose networks count where they are placed in this jurisdiction.
    pub exempt_places: [ExemptionSet; jurisdiction::COUNT],
    /// Exemptions of each pin.
    pub exempt_pins: [ExemptionSet; MAX_PINS],
    /// Pins whose sources have the host itself: [`dimension::HOST`].
    pub from_host: u64,
    /// Failsafe rules that have a budget.
    pub failsafe_bounded: u64,
    /// Bytes on the wire that each of those lets pass in a minute; at most [`MAX_BUDGET`].
    pub failsafe_budgets: [u64; MAX_FAILSAFES],
    /// The element of what is spent that each of those has; whoever makes the table live gives them.
    pub failsafe_elements: [u32; MAX_FAILSAFES],
    /// By what a rule is known from one generation to the next, a hash of what it matches; 0: there is no such rule.
    pub failsafe_matches: [u64; MAX_FAILSAFES],
    /// The minute ([`failsafe::minute_at`]) in which each took the place of rules that went, 0: in none; given as the elements are.
    pub failsafe_since: [u32; MAX_FAILSAFES],
    /// Pins that select no volume.
    pub any_volume: u64,
    /// Pins that the volume in each slot lets match.
    pub volume_pins: [u64; MAX_VOLUMES],
    /// Pins that a connection lets match by who opened it, by the number of its [`Direction`]: those that do not ask among
    /// them, and where that is not known all.
    pub direction_pins: [u64; Direction::NUMBERS],
    /// NAT64 prefixes, none of which is in another.
    pub nat64: [Nat64; MAX_NAT64],
    /// NAT64 prefixes in use.
    pub nat64_len: u32,
    /// Interfaces in use that loop back; [`EVERY_LOOP`] where there are more than fit, and every interface counts as one.
    pub loop_len: u32,
    /// Indexes of interfaces that loop back, sorted: what comes in by them may have been sent there by a process of this
    /// host. The loopback interface is known without this.
    pub loops: [u32; MAX_INTERFACES],
    /// Indexes of interfaces whose packets leave the host by guarded ones below them, sorted: they are counted and charged
    /// there.
    pub above: [u32; MAX_INTERFACES],
    /// Such interfaces in use.
    pub above_len: u32,
    /// The highest index of an interface that was there. One with a higher index came since: any pin may select it.
    pub interfaces_until: u32,
    /// Pins that drop and of whose selectors all is known when a process connects or sends: those of no source address
    /// but the host's, and of no source port, interface, mark, volume or direction.
    pub known_early: u64,
    /// Cookie of the network namespace (`SO_NETNS_COOKIE`) in which calls are refused of which every packet would be
    /// dropped; 0: in none.
    pub refuse_in: u64,
}

const _: () = {
    assert!(size_of::<Control>() == 8);
    assert!(size_of::<LocalSet>() == 16);
    assert!(size_of::<PeerSet>() == 40);
    assert!(size_of::<RemoteSet>() == 48);
    assert!(size_of::<Mark>() == 16);
    assert!(size_of::<Exemption>() == 40);
    assert!(offset_of!(Exemption, account) == 32);
    assert!(size_of::<Count>() == 16);
    assert!(size_of::<OutcomeKey>() == 4);
    assert!(size_of::<FlowKey>() == 48);
    assert!(offset_of!(FlowKey, sport) == 32);
    assert!(offset_of!(FlowKey, pins) == 44);
    assert!(size_of::<CgroupParent>() == 32);
    assert!(size_of::<FlowRecord>() == 144);
    assert!(offset_of!(FlowRecord, place) == 80);
    assert!(size_of::<Event>() == 224);
    assert!(offset_of!(Event, outer_dst) == 192);
    assert!(offset_of!(Event, outer_src) == 208);
    assert!(size_of::<Outcome>() == 32);
    assert!(size_of::<Provenance>() == 192);
    assert!(size_of::<ExemptionUse>() == 24);
    assert!(size_of::<FailsafeUse>() == 16);
    assert!(offset_of!(ExemptionUse, charged) == 16);
    assert!(offset_of!(PolicyTable, permitted) == 128);
    assert!(size_of::<Nat64>() == 40);
    assert!(offset_of!(Nat64, upper_bits) == 32);
    // A map value is padded to 8 bytes by the kernel; without padding of its own both sides agree.
    assert!(size_of::<PolicyTable>().is_multiple_of(8));
    assert!(jurisdiction::COUNT == 256 && MAX_PINS == 64);
};
