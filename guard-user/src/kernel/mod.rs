//! The kernel side, as the daemon sees it: programs loaded, maps pinned, generations published,
//! interfaces guarded, counters and events read.
//!
//! Everything that enforces outlives the process: maps and links are pinned (see [`folder`]), and a
//! later [`LinuxKernel::open`] adopts them with their generation and counters, after it has held them
//! against what this version would have made (see [`maps`]). Programs are attached only once a
//! generation is live, and replaced in place, so that no packet meets none.
//!
//! Interfaces are those of the calling thread's network namespace, and one pin path serves one
//! network namespace.

mod addresses;
mod alternate;
pub mod api;
mod attach;
mod batch;
mod bypass;
mod canary;
mod carriers;
pub mod cgroup;
mod cgroup_hook;
mod clock;
mod counters;
mod counts;
mod detach;
mod elements;
mod ended;
mod entries;
mod entry_file;
mod error;
mod events;
mod exchanged;
mod exits;
mod failsafe;
mod fill;
mod filter;
mod folder;
mod frozen;
mod grace;
pub mod hashes;
mod held;
mod high_water;
mod hooks;
mod interface;
mod inward;
mod kept_maps;
mod kernel_types;
mod link;
mod link_type;
mod linux;
mod listening;
mod live_shadow;
mod live_trace;
mod maps;
#[cfg(test)]
pub(crate) mod memory;
mod namespaces;
mod netfilter;
mod netlink;
mod observe;
mod on_cgroups;
mod open_files;
mod pair;
mod plain;
mod programs;
mod protect;
mod protected;
mod protection;
mod publish;
mod published;
mod raw;
mod reading;
mod relays;
mod restore;
mod routes;
pub mod senders;
mod sending;
mod settings;
mod shadow;
mod shadow_reader;
mod socket_facts;
pub mod sockets;
mod spare;
mod stacked;
mod stage;
mod swap;
mod tampered;
mod test_run;
mod traced;
mod untagged;
mod view;
mod volumes;
mod watch;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::Path;
use std::sync::Mutex;

use aya::Ebpf;
use aya::programs::{ProgramFd, ProgramInfo, SchedClassifier, Xdp};
use aya::util::KernelVersion;
use guard_common::abi::{Hook, Live};
use guard_common::packet::Link;

pub use addresses::host_addresses;
pub use api::{
    Attachment, BypassTarget, CgroupAttachment, CgroupTarget, How, Kernel, Observed, ObservedBypass,
    ObservedInterface, ObservedRelay, ObservedSenders, ObservedVolumes, ShadowSeen, ShadowStep, Stray, Told,
    Tracing, VolumeTarget,
};
pub use canary::{OutgoingCanary, SentCanary};
pub use carriers::Carriers;
pub use cgroup_hook::{Calls, CgroupHook};
pub use clock::{WallClock, wall_clock};
pub use counts::{Counters, OutcomeCount, PermittedCount, TotalCount, UntaggedCount, UntaggedFlow};
pub use detach::Removed;
pub use error::KernelError;
pub use events::{EventReader, RingEntry};
pub use exits::{Place, Places, Unguarded, places_here, unguarded};
pub use folder::{is_private, other_pin_paths};
pub use frozen::FROZEN;
pub use held::Marks;
pub use high_water::{KeptHead, latest_of};
pub use interface::{Below, Interface};
pub use link_type::LinkType;
pub use listening::{Listening, Reachable, ephemeral_ports};
pub use namespaces::{DeviceElsewhere, Elsewhere};
pub use open_files::FoundCarriers;
pub use pair::{OutgoingFrame, Pair};
pub use protection::{ObservedProtection, Protecting, Refused};
pub use published::Published;
pub use settings::{CpuUse, FrameSource};
pub use shadow::{ShadowCounts, ShadowTables};
pub use shadow_reader::ShadowReader;
pub use socket_facts::{NamedSockets, Running, running};
pub use stacked::Joined;
pub use tampered::{Mending, Tampered};
pub use test_run::Judged;
pub use traced::{TraceReader, TraceRecords, TracedPacket};
pub use view::View;
pub use volumes::Mounts;

use addresses::KnownAddresses;
use alternate::Alternate;
use folder::Folder;
use grace::GracePeriod;
use hooks::program_name;
use kept_maps::KeptMaps;
use maps::{Found, Maps};
use observe::Memory;
use protected::Protection;
use senders::OnFunctions;
use settings::Settings;
use spare::Spare;
use stage::Stage;
use written::Written;

/// The oldest kernel that the programs are tested on.
const OLDEST: (u8, u8) = (6, 1);

/// The programs that only the bench loads, over the pinned maps of an open [`LinuxKernel`].
#[cfg(feature = "bench")]
#[must_use]
pub fn bench_object() -> &'static [u8] {
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/borderguard-bench-ebpf"))
}

/// The programs, loaded, and the maps, open: the one process that may change what is pinned at a path.
#[derive(Debug)]
pub struct LinuxKernel {
    ebpf: Ebpf,
    /// How objects are loaded.
    settings: Settings,
    /// The programs that attachments get in the place of the ordinary ones.
    alternate: Option<Alternate>,
    /// How far programs have come that are to take the ordinary ones' place.
    stage: Stage,
    view: View,
    adopted: bool,
    live: Live,
    generation: u64,
    grace: GracePeriod,
    /// Whether every program that began by another live word than the present one has ended.
    quiet: bool,
    /// Whether calls may be judged by tables that are live, or were before the last wait.
    judges_calls: bool,
    /// Test runs, one after the other.
    test_run: Mutex<()>,
    /// Ids of the programs that attachments get.
    current: BTreeSet<u32>,
    /// What those at calls do.
    calls: Calls,
    /// Why the kernel does not take programs of cgroups, by hook.
    refused_on_cgroups: BTreeMap<CgroupHook, String>,
    on_functions: OnFunctions,
    /// The paths of the cgroups of relays, by their ids.
    relay_cgroups: BTreeMap<u64, Option<String>>,
    kept_maps: KeptMaps,
    /// The links that this process keeps; `None` where it can't.
    spare: Option<Spare>,
    memory: Memory,
    addresses: KnownAddresses,
    /// What this process has written, by which it is told what somebody else has changed.
    written: Written,
    /// What keeps others from it all, where it is wanted.
    protection: Option<Protection>,
    // Last, so that the lock is let go when all else is closed.
    folder: Folder,
}

impl LinuxKernel {
    /// Loads the programs, and makes the maps at the pin path or adopts those that are there. Mounts the
    /// BPF file system where `pin_path` lies in `/sys/fs/bpf` and none is mounted.
    ///
    /// Adopted maps keep their generation, counters and flow records, and go on judging throughout.
    ///
    /// # Errors
    ///
    /// [`KernelError::Locked`] where another process has the path; [`KernelError::AbiDiffers`],
    /// [`KernelError::MapDiffers`], [`KernelError::MapOfAnother`] and [`KernelError::MapsMissing`] where the pins
    /// cannot be adopted, with nothing changed; [`KernelError::Refused`] where the verifier does not take a program;
    /// [`KernelError::NotPermitted`], [`KernelError::KernelTooOld`], [`KernelError::NotBpffs`] by name.
    pub fn open(pin_path: &Path) -> Result<Self, KernelError> {
        Self::open_for(pin_path, CpuUse::of_this_kernel())
    }

    /// As [`open`](Self::open), with programs that do this at calls.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_and(pin_path: &Path, calls: Calls) -> Result<Self, KernelError> {
        Self::open_with(pin_path, CpuUse::of_this_kernel(), FrameSource::Interfaces, calls)
    }

    /// As [`open`](Self::open), with programs for this use of CPUs. Those for [`CpuUse::Shared`] are right on every
    /// kernel, and cost more for each packet.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_for(pin_path: &Path, cpus: CpuUse) -> Result<Self, KernelError> {
        Self::open_with(pin_path, cpus, FrameSource::Interfaces, Calls::Noted)
    }

    /// As [`open_for`](Self::open_for), with programs for these frames. Those for [`FrameSource::TestRuns`] must never
    /// be attached.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_with(
        pin_path: &Path,
        cpus: CpuUse,
        frames: FrameSource,
        calls: Calls,
    ) -> Result<Self, KernelError> {
        check_version()?;
        clock::check()?;
        let folder = Folder::make(pin_path)?;
        let found = maps::inspect(pin_path)?;
        if found == Found::BrokenOff {
            maps::clear(pin_path)?;
        }
        // Before this process has programs of its own, which use what has the entries.
        let exchanged = if found == Found::All { exchanged::find(pin_path)? } else { Vec::new() };
        let settings = Settings { cpus, frames };
        let mut ebpf = settings.load(maps::OBJECT, pin_path)?;
        load_programs(&mut ebpf)?;
        let refused_on_cgroups = load_on_cgroups(&mut ebpf, calls);
        let maps = Maps::open(pin_path)?;
        let live = maps.live()?;
        if found != Found::All {
            // With the ABI the maps are complete: before it, whoever finds them makes them anew.
            maps.set_live(Live::NONE)?;
        }
        let view = View::new(pin_path, maps);
        let generation = view.live_generation()?;
        let grace = GracePeriod::new().map_err(|source| KernelError::Map {
            what: "create",
            map: "of the grace period",
            source,
        })?;
        let adopted = found == Found::All;
        let held = view.held()?;
        view.begin_mark()?;
        let mut kernel = Self {
            current: ids(&ebpf)?,
            kept_maps: KeptMaps::open(pin_path, maps::declared()?.into_keys())?,
            calls,
            refused_on_cgroups,
            on_functions: OnFunctions::default(),
            relay_cgroups: BTreeMap::new(),
            ebpf,
            settings,
            alternate: None,
            stage: Stage::default(),
            view,
            adopted,
            live,
            generation,
            grace,
            // Another process may have flipped the word just before, and ended.
            quiet: !adopted,
            judges_calls: adopted,
            test_run: Mutex::new(()),
            spare: Spare::new()
                .inspect_err(|error| {
                    tracing::warn!("links have one entry each in bpffs, and none to spare: {error}")
                })
                .ok(),
            memory: Memory::default(),
            addresses: KnownAddresses::default(),
            written: Written::begin(held, exchanged),
            protection: None,
            folder,
        };
        kernel.keep_adopted()?;
        kernel.keep_adopted_on_cgroups()?;
        kernel.adopt_on_functions();
        Ok(kernel)
    }

    /// Whether the maps were there already.
    #[must_use]
    pub const fn adopted(&self) -> bool {
        self.adopted
    }

    /// The live generation; 0 where none was published.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Where everything is pinned.
    #[must_use]
    pub fn pin_path(&self) -> &Path {
        self.folder.path()
    }

    /// Instructions that the verifier walked through for each program, by name: how near they are to its
    /// bound of a million. A program is left out where the kernel does not tell.
    ///
    /// # Errors
    ///
    /// [`KernelError::Load`] where the kernel does not answer.
    pub fn verified_instructions(&self) -> Result<Vec<(&'static str, u32)>, KernelError> {
        let mut counts = Vec::new();
        let of_cgroups =
            CgroupHook::ALL.into_iter().filter(|hook| !self.refused_on_cgroups.contains_key(hook));
        let of_cgroups = of_cgroups.map(|hook| (hook.name(), hook.program(self.calls)));
        for name in hooks::programs() {
            let count = info(self.programs(), name)?.verified_instruction_count();
            counts.extend(count.map(|count| (name, count)));
        }
        for (name, program) in of_cgroups {
            let count = info(&self.ebpf, program)?.verified_instruction_count();
            counts.extend(count.map(|count| (name, count)));
        }
        Ok(counts)
    }

    fn classifier(&self, link: Link) -> Result<&SchedClassifier, KernelError> {
        let name = program_name(Hook::Egress, link);
        self.programs()
            .program(name)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| missing_program(name))
    }

    fn xdp(&self, link: Link) -> Result<&Xdp, KernelError> {
        let name = program_name(Hook::Ingress, link);
        self.programs()
            .program(name)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| missing_program(name))
    }

    fn program_fd(&self, hook: Hook, link: Link) -> Result<&ProgramFd, KernelError> {
        let fd = match hook {
            Hook::Egress => self.classifier(link)?.fd(),
            Hook::Ingress => self.xdp(link)?.fd(),
            Hook::Connect | Hook::Sendmsg => return Err(missing_program(hook.name())),
        };
        fd.map_err(|error| KernelError::of_program(program_name(hook, link), error))
    }

    fn program_id(&self, hook: Hook, link: Link) -> Result<u32, KernelError> {
        Ok(info(self.programs(), program_name(hook, link))?.id())
    }
}

/// Everything that can be read without changing anything.
impl Deref for LinuxKernel {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// Ids of the programs.
fn ids(ebpf: &Ebpf) -> Result<BTreeSet<u32>, KernelError> {
    hooks::programs().map(|name| Ok(info(ebpf, name)?.id())).collect()
}

/// What the kernel says of a loaded program.
fn info(ebpf: &Ebpf, name: &'static str) -> Result<ProgramInfo, KernelError> {
    let info = match ebpf.program(name) {
        Some(aya::programs::Program::SchedClassifier(program)) => program.info(),
        Some(aya::programs::Program::Xdp(program)) => program.info(),
        Some(aya::programs::Program::CgroupSockopt(program)) => program.info(),
        Some(aya::programs::Program::CgroupSock(program)) => program.info(),
        Some(aya::programs::Program::CgroupSockAddr(program)) => program.info(),
        Some(aya::programs::Program::Lsm(program)) => program.info(),
        Some(aya::programs::Program::FEntry(program)) => program.info(),
        Some(aya::programs::Program::FExit(program)) => program.info(),
        Some(aya::programs::Program::BtfTracePoint(program)) => program.info(),
        _ => return Err(missing_program(name)),
    };
    info.map_err(|error| KernelError::of_program(name, error))
}

fn load_programs(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    for name in hooks::programs() {
        let loaded = match ebpf.program_mut(name) {
            Some(aya::programs::Program::SchedClassifier(program)) => program.load(),
            Some(aya::programs::Program::Xdp(program)) => program.load(),
            _ => return Err(missing_program(name)),
        };
        loaded.map_err(|error| KernelError::of_program(name, error))?;
    }
    Ok(())
}

/// Loads the programs of cgroups; why the kernel refuses some of them, by hook. A kernel that refuses them is guarded
/// at its interfaces all the same.
fn load_on_cgroups(ebpf: &mut Ebpf, calls: Calls) -> BTreeMap<CgroupHook, String> {
    let load = |hook: CgroupHook| {
        let name = hook.program(calls);
        let loaded = match ebpf.program_mut(name) {
            Some(aya::programs::Program::CgroupSockopt(program)) => program.load(),
            Some(aya::programs::Program::CgroupSock(program)) => program.load(),
            Some(aya::programs::Program::CgroupSockAddr(program)) => program.load(),
            _ => return Some((hook, missing_program(name).to_string())),
        };
        let refused = loaded.map_err(|error| KernelError::of_program(name, error)).err()?;
        Some((hook, refused.to_string()))
    };
    CgroupHook::ALL.into_iter().filter_map(load).collect()
}

fn missing_program(name: &str) -> KernelError {
    KernelError::Embedded { what: format!("program `{name}`") }
}

fn check_version() -> Result<(), KernelError> {
    let found = error::release();
    // A version that cannot be told is tried: what it lacks shows at the load.
    match KernelVersion::current() {
        Ok(version) if version < KernelVersion::new(OLDEST.0, OLDEST.1, 0) => {
            Err(KernelError::KernelTooOld { found })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_may_hand_it_to_each_other() {
        const fn is_send<T: Send>() {}
        is_send::<LinuxKernel>();
        is_send::<View>();
        is_send::<EventReader>();
        is_send::<KernelError>();
    }
}
