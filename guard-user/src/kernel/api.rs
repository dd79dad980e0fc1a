//! What the daemon asks of the kernel: one trait, which the running kernel and a model in memory implement.
//!
//! The daemon's engine decides by an [`Observed`] and asks for one step at a time. So its logic runs in tests on
//! the memory kernel, without root, with any order of failures.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use guard_common::abi::shadow::{ShadowFlow, ShadowFlowKey};
use guard_common::abi::traced::TraceTarget;
use guard_common::abi::{ExemptionUse, FailsafeUse, HighWater, Hook, PolicyTable, Relay, RelayKey};
use guard_common::interval::build::GeoImage;

use super::cgroup_hook::CgroupHook;
use super::protection::{ObservedProtection, Protecting};
use super::tampered::Tampered;
use super::{Counters, Interface, KernelError, Place, Published, ShadowCounts, ShadowTables, TraceRecords};

/// By what a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// A TCX link (kernel 6.6 and later).
    Tcx,
    /// A filter of the clsact qdisc (kernels before 6.6).
    Clsact,
    /// An XDP link in the driver.
    XdpNative,
    /// An XDP link behind the driver, which costs more for each packet.
    XdpGeneric,
}

impl How {
    /// The name in status and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
        }
    }
}

/// A program of ours on an interface, as the kernel shows it: never by what was once asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The hook.
    pub hook: Hook,
    /// By what.
    pub how: How,
    /// Id of the link; 0 for a clsact filter, which has none, and for an XDP program whose link has no entry and is
    /// not kept by this process.
    pub link: u32,
    /// The name that the interface had when it was attached.
    pub attached_as: String,
    /// Id of the program, which `bpftool prog` shows too.
    pub program: u32,
    /// Whether the program is one that this process loaded.
    pub is_current: bool,
    /// Whether its entry in bpffs is there, without which the link ends with the process. Always true for a clsact
    /// filter.
    pub is_kept: bool,
    /// Programs that are asked before it, which can let packets pass unseen; empty where it is the first.
    pub before: Vec<String>,
}

/// An interface of this network namespace, and what of ours is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedInterface {
    /// The interface.
    pub interface: Interface,
    /// The names of all interfaces below it: ports of a bridge, members of a bond or a VRF, what a VLAN is made on, and what is
    /// below those. What comes in by one of them and is for the host comes in by this one.
    pub below: Vec<String>,
    /// Whether what comes in by it may have been sent there by a process of this host: the loopback interface, a tunnel whose
    /// packets end at this host, a pair of which both ends are here, and what lies above such a one.
    pub loops_back: bool,
    /// The numbers of the interfaces directly below it by which all that leaves by it leaves, as it is: what a VLAN is made on,
    /// or a macvlan that is not in bridge mode, and the members of a bond. Empty for others: a bridge's ports may get copies, and a tunnel's packets are others.
    pub leaves_by: Vec<u32>,
    /// Whether a unicast route of any table but the local one leads out by it. Routes to link-local and multicast
    /// addresses alone do not count, for every interface with IPv6 has them.
    pub has_route: bool,
    /// What tells whether frames leave the host by it.
    pub place: Place,
    /// What is attached, by hook.
    pub attachments: Vec<Attachment>,
    /// How many packets it had sent, by its own counter, when this process began to guard its egress; `None` where
    /// this process took that over.
    pub sent_before: Option<u64>,
    /// Hooks at which another Border Guard is attached, one with another pin path.
    pub other_guards: Vec<Hook>,
}

impl ObservedInterface {
    /// What is attached at this hook.
    #[must_use]
    pub fn at(&self, hook: Hook) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.hook == hook)
    }
}

/// A kept link that is on no interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its entry in bpffs, below the pin path.
    pub entry: String,
    /// The interface's name when it was attached.
    pub interface: String,
    /// The hook.
    pub hook: Hook,
    /// Whether the link is still on an interface, in another network namespace: it guards there, and here again
    /// when the interface comes back. Where it is not, the interface is gone (`ENODEV`), and the entry with
    /// nothing behind it can be removed.
    pub is_alive: bool,
}

/// Where ways past the hooks are refused, and to whom not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BypassTarget {
    /// The folder of the cgroup: its processes and those of cgroups below it are refused.
    pub cgroup: PathBuf,
    /// Its id.
    pub id: u64,
    /// Ids of cgroups whose processes, and those below, are not refused.
    pub allowed: BTreeSet<u64>,
}

/// Where who makes and uses sockets is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupTarget {
    /// The folder of the cgroup: of its processes and those of cgroups below it.
    pub cgroup: PathBuf,
    /// Its id.
    pub id: u64,
    /// Whether it is also noted who sends, of all processes of the host.
    pub senders: bool,
    /// And who carries data of which volumes, where any pin asks for volumes.
    pub volumes: Option<VolumeTarget>,
}

/// What of ours notes who sends, or who carries data of volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObservedSenders {
    /// Whether any program is attached.
    pub is_any: bool,
    /// Whether all are that this kernel needs for it, those of this process, with their entries in bpffs.
    pub is_whole: bool,
}

/// A program of ours on a cgroup, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupAttachment {
    /// The hook.
    pub hook: CgroupHook,
    /// Id of the link.
    pub link: u32,
    /// Id of the cgroup; 0 where the link is on none any more: somebody detached it, or the cgroup is gone.
    pub cgroup: u64,
    /// Id of the program, which `bpftool prog` shows too.
    pub program: u32,
    /// Whether the program is one that this process loaded.
    pub is_current: bool,
    /// Whether its entry in bpffs is there, without which the link ends with the process.
    pub is_kept: bool,
}

/// What of ours is on cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedBypass {
    /// Every link of ours.
    pub attachments: Vec<CgroupAttachment>,
    /// Ids of cgroups whose processes are not refused.
    pub allowed: BTreeSet<u64>,
}

impl ObservedBypass {
    /// What is attached to this cgroup.
    #[must_use]
    pub fn at(&self, cgroup: u64) -> Option<&CgroupAttachment> {
        self.attachments.iter().find(|attachment| attachment.cgroup == cgroup && cgroup != 0)
    }
}

/// What kernel and host are seen to have, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every interface of this network namespace, by index. An interface of which something of ours is known is
    /// in here unless the kernel itself said `ENODEV` to its index: absence from a dump says nothing.
    pub interfaces: Vec<ObservedInterface>,
    /// What is on cgroups; `None` where that can't be looked at.
    pub bypass: Option<ObservedBypass>,
    /// What on cgroups notes who makes and uses sockets; `None` where that can't be looked at.
    pub sockets: Option<Vec<CgroupAttachment>>,
    /// What notes who sends.
    pub senders: ObservedSenders,
    /// What notes who carries data of volumes.
    pub carriers: ObservedSenders,
    /// What that knows of volumes; `None` where it can't be looked at.
    pub volumes: Option<ObservedVolumes>,
    /// What each failsafe rule with a budget has let pass, by its number; `None` where that can't be looked at.
    pub failsafe: Option<Vec<FailsafeUse>>,
    /// Why the programs do not know all addresses of the host; `None` where they do.
    pub addresses_unknown: Option<String>,
    /// Cookie of this network namespace (`SO_NETNS_COOKIE`); `None` where the kernel does not tell it.
    pub netns: Option<u64>,
    /// Kept links on no interface of this namespace.
    pub strays: Vec<Stray>,
    /// What could not be looked at, a sentence each; the rest holds all the same.
    pub blind: Vec<String>,
    /// Entries below the pin path that should be there and are not, or are another object's, as those are of which somebody has
    /// exchanged the names; `.` is the folder
    /// itself, without which another daemon could start beside this one.
    pub missing_entries: Vec<String>,
    /// Tables that somebody else has changed.
    pub tampered: Vec<Tampered>,
    /// What keeps others from what is the guard's.
    pub protection: ObservedProtection,
}

/// What came of a look at a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether the tracing programs are on the interfaces. Before that nothing is logged.
    pub is_on: bool,
    /// How many packets were logged since they are, or found no room in the log.
    pub taken: u64,
    /// Those that were told to their end since the last look.
    pub packets: Vec<TraceRecords>,
}

/// What is asked of the programs of a shadow.
#[derive(Default)]
pub struct ShadowStep {
    /// The candidate's tables, for the first step.
    pub begin: Option<ShadowTables>,
    /// Another table in the place of the policy's, where one is needed since.
    pub policy: Option<Box<PolicyTable>>,
    /// Slots of exemptions whose live use is taken over.
    pub copied: Vec<u16>,
    /// Slots of exemptions of which nothing counts as used.
    pub cleared: Vec<u16>,
    /// Failsafe rules whose live use is taken over by the first step that finds the programs loaded: the live number, and the
    /// candidate's.
    pub failsafe: Vec<(u32, u32)>,
    /// Until when packets are judged by the candidate, nanoseconds of `CLOCK_BOOTTIME`.
    pub deadline_ns: u64,
    /// Whether it is over: nothing is judged by the candidate any more, and flows are read.
    pub is_last: bool,
}

impl fmt::Debug for ShadowStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowStep").field("is_last", &self.is_last).finish_non_exhaustive()
    }
}

/// What came of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShadowSeen {
    /// Whether the programs are on the interfaces. Before that nothing is judged twice.
    pub is_on: bool,
    /// How packets were judged.
    pub counts: ShadowCounts,
    /// The flows of which the verdicts differ; of the last step alone.
    pub flows: Vec<(ShadowFlowKey, ShadowFlow)>,
}

/// Has other programs in the place of the ordinary ones, which tell more of live packets. One kind at a time.
pub trait Tracing {
    /// Sets which packets are told of and until when, and takes what was told since the last call. The first call has the
    /// tracing programs loaded; one that finds them loaded puts them in the place of the ordinary ones.
    ///
    /// # Errors
    /// Where the kernel refuses. [`put_back`](Self::put_back) is to follow then.
    fn trace_packets(&mut self, target: &TraceTarget) -> Result<Told, KernelError>;

    /// Has packets judged by a candidate too, in tables of its own, and takes what came of it. The first call has the
    /// programs loaded that do so; one that finds them loaded puts them in the place of the ordinary ones.
    ///
    /// # Errors
    /// Where the kernel refuses. [`put_back`](Self::put_back) is to follow then.
    fn shadow_packets(&mut self, step: ShadowStep) -> Result<ShadowSeen, KernelError>;

    /// Puts the ordinary programs in the place of those of a trace or a shadow, whose tables are freed. To be called again
    /// where there are none is no error.
    ///
    /// # Errors
    /// Where an interface still has the other program, which judges as the ordinary one does.
    fn put_back(&mut self) -> Result<(), KernelError>;
}

/// The kernel side of the guard: what may change what the kernel judges. One owner at a time.
pub trait Kernel: Tracing + Protecting + Send {
    /// Whether the maps were there already when this was opened.
    fn adopted(&self) -> bool;

    /// The live generation; 0 where none was published.
    fn generation(&self) -> u64;

    /// Makes a new generation live. When it returns `Ok`, the old one judges nothing any more.
    ///
    /// # Errors
    /// Whatever fails before the flip leaves the old generation live, as [`generation`](Self::generation) tells.
    fn publish(
        &mut self,
        policy: &PolicyTable,
        geo: Option<&Arc<GeoImage>>,
    ) -> Result<Published, KernelError>;

    /// The geo tables that are live, as they were published; `None` where an earlier process did that.
    fn published_geo(&self) -> Option<Arc<GeoImage>>;

    /// Changes the mark that is kept for a daemon that starts again, and returns what it was before.
    ///
    /// # Errors
    /// Where the kernel refuses.
    fn change_mark(&mut self, change: &mut dyn FnMut(&mut HighWater)) -> Result<HighWater, KernelError>;

    /// Looks at interfaces, attachments and entries in bpffs, and at what decides in the maps: what somebody else has
    /// changed there of no generation is set back. One interface that can't be looked at hides no
    /// other one.
    ///
    /// # Errors
    /// Where nothing can be looked at.
    fn observe(&mut self) -> Result<Observed, KernelError>;

    /// Guards an interface: egress always, ingress where asked. What is attached already is replaced in place;
    /// ingress that is asked for no more is taken off. To be called again it needs no change: that is no error.
    ///
    /// # Errors
    /// Where ingress alone fails, egress stays guarded.
    fn attach(&mut self, interface: &Interface, ingress: bool) -> Result<(), KernelError>;

    /// Takes everything of ours off an interface. Only a config that does not name it asks for this.
    ///
    /// # Errors
    /// Where something stays attached.
    fn release(&mut self, interface: &Interface) -> Result<(), KernelError>;

    /// How many packets an interface has sent, by its own counter; `None` where it can't be asked.
    fn sent(&self, interface: &Interface) -> Option<u64>;

    /// Refuses ways past the hooks of interfaces to processes below a cgroup, or nowhere (`None`). What is attached to
    /// that cgroup already is replaced in place, and what is attached to another one is taken off after that.
    ///
    /// # Errors
    /// Where the kernel refuses; what was refused before stays refused.
    fn refuse_bypass(&mut self, target: Option<&BypassTarget>) -> Result<(), KernelError>;

    /// Notes who makes and who uses sockets, of processes below a cgroup, or nowhere (`None`). As for
    /// [`refuse_bypass`](Self::refuse_bypass).
    ///
    /// # Errors
    /// Where the kernel refuses one of the hooks; the others are attached all the same.
    fn note_sockets(&mut self, target: Option<&CgroupTarget>) -> Result<(), KernelError>;

    /// Removes the entry of a stray that is not alive. One that is gone already is no error.
    ///
    /// # Errors
    /// Where it can't be removed, or its link is on an interface by now.
    fn forget(&mut self, stray: &Stray) -> Result<(), KernelError>;

    /// Makes entries in bpffs anew that are [missing](Observed::missing_entries), from what this process keeps, also
    /// where the whole folder is gone. Nothing is detached.
    ///
    /// # Errors
    /// Where some of them can't be made; where another process has made the folder, and works with it.
    fn restore_entries(&mut self) -> Result<(), KernelError>;

    /// What was counted since the maps were made.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn counters(&mut self) -> Result<Counters, KernelError>;

    /// What the exemptions of all slots have let through, by slot. It is no less than what is `known` of some of them, as
    /// from an earlier daemon: where the kernel has less somebody has lowered it, and it is set back.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn exemption_uses(&mut self, known: &[(u16, ExemptionUse)]) -> Result<Vec<ExemptionUse>, KernelError>;

    /// Sets what the exemption of this slot has let through.
    ///
    /// # Errors
    /// Where the kernel refuses.
    fn reset_exemption_use(&mut self, slot: u16, used: ExemptionUse) -> Result<(), KernelError>;

    /// Slots whose exemption is closed by an order that the disk has not taken: kept in the kernel, so that a
    /// daemon that starts again does not open them.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn held(&mut self) -> Result<BTreeSet<u16>, KernelError>;

    /// The slots of the live generation's exemptions whose window is over at this time, nanoseconds of `CLOCK_BOOTTIME`: by a
    /// clock that nobody can set.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn ended(&mut self, now_ns: u64) -> Result<BTreeSet<u16>, KernelError>;

    /// Which volume is in which slot: the hash of its name, 0 for none. A slot keeps its meaning, for what carriers and
    /// sockets have are slots.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    fn volume_slots(&mut self) -> Result<Vec<u64>, KernelError>;

    /// Marks a slot as held, or not any more.
    ///
    /// # Errors
    /// Where the kernel refuses.
    fn hold(&mut self, slot: u16, held: bool) -> Result<(), KernelError>;
}

/// What the hooks of carriers are to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeTarget {
    /// Slots of the volumes on each device, a bit each.
    pub devices: BTreeMap<u32, u64>,
    /// Slots of those whose carriers are cgroups too.
    pub spread: u64,
    /// Slots of those whose data is followed into files elsewhere.
    pub copied: u64,
    /// Slots of those whose data makes carriers of those to whom it is handed on.
    pub tagged: u64,
    /// Id of the cgroup `init.scope`; 0 where there is none.
    pub init_scope: u64,
    /// Which volume is in which slot: the hash of its name, 0 for none.
    pub slots: Vec<u64>,
}

/// What they know, and how many carriers found no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedVolumes {
    /// What they know.
    pub known: VolumeTarget,
    /// How many carriers found no room since the maps were made. Where any did, every sender counts as one.
    pub overflowed: u64,
    /// To whom carriers have handed data on.
    pub relays: Vec<ObservedRelay>,
}

/// Somebody to whom a carrier has handed data on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedRelay {
    /// By what it is known.
    pub key: RelayKey,
    /// What it was handed.
    pub relay: Relay,
    /// The path of its cgroup below the root; `None` where that was gone when it was looked for.
    pub cgroup: Option<String>,
    /// That of the one who handed over first.
    pub from_cgroup: Option<String>,
}

impl ObservedRelay {
    /// The name of its command.
    #[must_use]
    pub fn command(&self) -> String {
        let name = self.key.command.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}
