//! What can go wrong between the daemon and the kernel, and what to do about it.

use std::io;
use std::path::PathBuf;

use guard_common::abi::Hook;

use super::link_type::LinkType;

/// Lines of the verifier's log that an error shows: the refusal is at its end.
const LOG_LINES: usize = 20;

/// Why the kernel side could not be set up, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process lacks a capability.
    #[error(
        "not permitted to {what}: run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and \
         CAP_SYS_ADMIN ({source})"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel lacks what the programs use.
    #[error("the kernel is version {found}, and Linux 6.1 or later is needed")]
    KernelTooOld {
        /// The version that runs.
        found: String,
    },
    /// The kernel's clock is shifted for this process.
    #[error(
        "this process has a clock of its own: its time namespace is {offset} seconds off the kernel's boot time, by \
         which windows of exemptions are judged. Run Border Guard outside of that namespace (`unshare --time`)"
    )]
    TimeNamespace {
        /// Offset of `CLOCK_BOOTTIME` as the kernel shows it, in seconds.
        offset: String,
    },
    /// Pins can only be made in a BPF file system.
    #[error(
        "{path} is not in a BPF file system: choose a pin path in /sys/fs/bpf, or mount one there \
         (`mount -t bpf -o mode=0700 bpf FOLDER`)",
        path = path.display()
    )]
    NotBpffs {
        /// The pin path.
        path: PathBuf,
    },
    /// A name that the BPF file system does not take, or a path from nowhere.
    #[error(
        "{path} cannot be a pin path: it must be absolute, and no folder in it may have a dot in its name \
         (the BPF file system keeps these for itself)",
        path = path.display()
    )]
    PinPath {
        /// The pin path.
        path: PathBuf,
    },
    /// A file operation on the pin path failed.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Folder {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process works with the same pins.
    #[error(
        "another Border Guard uses {path}: stop it first, or give this one a pin path of its own",
        path = path.display()
    )]
    Locked {
        /// The pin path.
        path: PathBuf,
    },
    /// There is nothing at the pin path.
    #[error("nothing of Border Guard is pinned at {path}: is the daemon's pin path another?", path = path.display())]
    NothingPinned {
        /// The pin path.
        path: PathBuf,
    },
    /// The embedded programs cannot be prepared for this kernel.
    #[error("cannot prepare the kernel programs: {source}")]
    Load {
        /// What the loader says.
        source: Box<aya::EbpfError>,
    },
    /// The program in the binary lacks a part: the binary itself is damaged or badly built.
    #[error("the program inside this binary has no {what}: install an undamaged build")]
    Embedded {
        /// What is missing or cannot be read.
        what: String,
    },
    /// The verifier refused a program.
    #[error(
        "this kernel ({release}) refuses the program `{program}` ({source}). Report this with the kernel's \
         version; the end of its log:\n{log}"
    )]
    Refused {
        /// The program.
        program: &'static str,
        /// The kernel's release.
        release: String,
        /// The kernel's answer.
        source: io::Error,
        /// The last lines of the verifier's log.
        log: String,
    },
    /// The pins were made by another version of Border Guard.
    #[error(
        "{path} holds maps of ABI {found}, and this version has ABI {wanted}. They still guard as they were \
         last told. To replace them, run `borderguard detach` (nothing is guarded from then on) and start \
         the daemon again",
        path = path.display()
    )]
    AbiDiffers {
        /// The pin path.
        path: PathBuf,
        /// The ABI in the pinned maps.
        found: u32,
        /// This version's.
        wanted: u32,
    },
    /// A pinned map is not what this version makes.
    #[error(
        "the map {map} at {path} has {what} {found} where {wanted} is due: it was not made by this version. \
         Run `borderguard detach` (nothing is guarded from then on) and start the daemon again",
        path = path.display()
    )]
    MapDiffers {
        /// The pin path.
        path: PathBuf,
        /// The map.
        map: String,
        /// The property that differs.
        what: &'static str,
        /// As it is pinned.
        found: u32,
        /// As this version makes it.
        wanted: u32,
    },
    /// An entry in bpffs is another map's.
    #[error(
        "the entry maps/{entry} at {path} is the map {found}: somebody has exchanged the names of entries in bpffs. The maps \
         have what they had, and still guard: give each entry its own map's name back with `mv`, and start the daemon again. \
         Where you can't, run `borderguard detach` (nothing is guarded from then on) and start the daemon again; \
         docs/problems.md, `entries-missing`",
        path = path.display()
    )]
    MapExchanged {
        /// The pin path.
        path: PathBuf,
        /// The entry's name.
        entry: String,
        /// The name by which the kernel knows the map, of 15 bytes at most.
        found: String,
    },
    /// An entry in bpffs is the map of another guard.
    #[error(
        "the entry maps/{entry} at {path} is a map of another Border Guard (number {found}), and the programs that are attached \
         by this path use another one (number {used}): somebody has exchanged entries of the two in bpffs. What is attached guards \
         on as it was last told: give each entry its own map back with `mv`, and start the daemon again. Where you can't, first \
         somebody with authority over exemptions should look at the audit trail (`borderguard audit verify`, `audit show`): the \
         kernel's mark of how far it had come ends with the maps. Then run `borderguard detach` (nothing is guarded from then on) \
         and start the daemon again; docs/limits.md, \"Tables that root changes\"",
        path = path.display()
    )]
    MapOfAnother {
        /// The pin path.
        path: PathBuf,
        /// The entry's name.
        entry: &'static str,
        /// The number of the map that has it.
        found: u32,
        /// The number of the one that the attached programs use.
        used: u32,
    },
    /// Pins are gone that cannot be made anew without losing what they held.
    #[error(
        "the maps {missing} are gone from {path}, and the rest is in use: something else removed them. First somebody with \
         authority over exemptions should look at the audit trail (`borderguard audit verify`, `audit show`): the kernel's mark \
         of how far it had come ends with the maps, and an older store that was put back can't be known by it afterwards. Then \
         run `borderguard detach` (nothing is guarded from then on) and start the daemon again",
        missing = missing.join(", "),
        path = path.display()
    )]
    MapsMissing {
        /// The pin path.
        path: PathBuf,
        /// The maps that are not there.
        missing: Vec<String>,
    },
    /// A map holds what no version writes.
    #[error(
        "the map {map} holds {found}, which Border Guard never writes: run `borderguard detach` and start again"
    )]
    Damaged {
        /// The map.
        map: &'static str,
        /// What it holds.
        found: String,
    },
    /// A map operation failed.
    #[error("cannot {what} the map {map}: {source}")]
    Map {
        /// What was tried, as a verb.
        what: &'static str,
        /// The map.
        map: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// What was written is not what is read back. The old generation stays live.
    #[error(
        "the map {map} does not hold what was written to it: the new generation was not made live, the old \
         one goes on. Try again; if it stays so, suspect the machine's memory"
    )]
    ReadBack {
        /// The map.
        map: &'static str,
    },
    /// There are more addresses of the host than the kernel's map has room for.
    #[error("{missing} addresses of the host are not known to the kernel, which has room for {max}")]
    AddressesFull {
        /// How many found no room.
        missing: usize,
        /// How many have.
        max: usize,
    },
    /// The first generation must bring its geo tables.
    #[error("no geo tables are loaded yet: the first generation must bring them")]
    NoGeo,
    /// Generations only rise.
    #[error("generation {given} is not newer than {live}, which is live")]
    OldGeneration {
        /// The generation to publish.
        given: u64,
        /// The live one.
        live: u64,
    },
    /// It could not be made sure that no packet is judged by the old tables any more.
    #[error(
        "generation {generation} is live, but it cannot be told whether packets are still judged by the one \
         before ({source})"
    )]
    GracePeriod {
        /// The generation that was published.
        generation: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Attached before there is anything to judge by, the programs would drop every packet.
    #[error("no generation is live: publish one before programs are attached")]
    NotPublished,
    /// There is no such interface in this network namespace.
    #[error("there is no interface `{name}`")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// An interface has another name than the one by which it was to be let go.
    #[error("it is called {is} by now, and not {was}: nothing was done; it is looked at again")]
    Renamed {
        /// Its name when it was looked at.
        was: String,
        /// Its name now.
        is: String,
    },
    /// Frames of this kind cannot be read.
    #[error(
        "{interface} carries {link_type}, which Border Guard does not read: what leaves by it is NOT \
         guarded. Ethernet, tun, WireGuard and PPP interfaces can be"
    )]
    LinkType {
        /// The interface.
        interface: String,
        /// What its frames are.
        link_type: LinkType,
    },
    /// A program could not be attached.
    #[error("cannot attach to {interface} for {hook} by {how}: {source}{hint}", hook = hook.name())]
    Attach {
        /// The interface.
        interface: String,
        /// The hook.
        hook: Hook,
        /// The kernel's mechanisms that were tried.
        how: String,
        /// The kernel's answer.
        source: io::Error,
        /// What to do, where the answer tells; empty or beginning with a separator.
        hint: &'static str,
    },
    /// A hook of cgroups could not be attached.
    #[error("cannot attach to the cgroup {cgroup} for {hook}: {source}{hint}", cgroup = cgroup.display(), hint = to_cgroup(source))]
    Cgroup {
        /// The cgroup's folder.
        cgroup: PathBuf,
        /// The hook.
        hook: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program of a hook of cgroups was not taken at the start.
    #[error("the program at {hook} was not loaded: {why}")]
    CgroupProgram {
        /// The hook.
        hook: &'static str,
        /// Why.
        why: String,
    },
    /// Who sends, or who carries data of volumes, can't be noted.
    #[error("what processes do can't be noted: {why}")]
    Senders {
        /// Why.
        why: String,
    },
    /// Others can't be kept from what is the guard's in the kernel.
    #[error("others can't be kept from the guard's maps, links and entries: {why}")]
    Protect {
        /// Why.
        why: String,
    },
    /// What is on an interface can't be told.
    #[error("cannot look at what is attached to {interface}: {source}")]
    Look {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel does not show which of two XDP links is the one on an interface.
    #[error(
        "ingress of {interface} stays guarded: two links may be the one there, and the other one guards an \
         interface with the same index in another network namespace. Take that one back into this namespace or \
         delete it, then try again"
    )]
    Ambiguity {
        /// The interface.
        interface: String,
    },
    /// A kept link that is still on an interface is not forgotten.
    #[error(
        "the link of {entry} can't be forgotten: it is not on an interface of this network namespace, and may guard one of another"
    )]
    StillAttached {
        /// The entry in bpffs.
        entry: String,
    },
    /// The programs that are to take the ordinary ones' place for a time can't be had.
    #[error("cannot load the programs that are to take the ordinary ones' place: {source}")]
    OthersLoad {
        /// The reason.
        source: io::Error,
    },
    /// A netlink request failed.
    #[error("cannot {what}: {source}")]
    Netlink {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A frame cannot be judged by the kernel's test run.
    #[error(
        "the kernel does not take this frame of {len} bytes for a test run ({source}): it wants at least 14 \
         bytes, at XDP at most one page less headroom, and an interface that exists"
    )]
    TestRun {
        /// The frame's length in bytes.
        len: usize,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Other packets were counted during the test run.
    #[error(
        "the totals changed by {packets} packets during a test run of one: judge frames where nothing else \
         runs through the same programs"
    )]
    Ambiguous {
        /// Packets counted meanwhile.
        packets: u64,
    },
}

impl KernelError {
    /// A refusal by the verifier with the end of its log, or a missing permission.
    pub(super) fn of_program(program: &'static str, error: aya::programs::ProgramError) -> Self {
        match error {
            aya::programs::ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                if io_error.raw_os_error() == Some(libc::EPERM) && log.trim().is_empty() {
                    return Self::NotPermitted { what: "load BPF programs".to_owned(), source: io_error };
                }
                Self::Refused { program, release: release(), source: io_error, log: last_lines(&log) }
            }
            other => Self::Load { source: Box::new(aya::EbpfError::from(other)) },
        }
    }

    /// A failed file operation; a missing permission is told apart.
    pub(super) fn folder(what: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.into(), source.into());
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::NotPermitted { what: format!("{what} {}", path.display()), source };
        }
        Self::Folder { what, path, source }
    }
}

/// Why a program is not attached, with what to do where the answer tells.
pub(super) fn refused(interface: &str, hook: Hook, how: &str, source: io::Error) -> KernelError {
    if source.raw_os_error() == Some(libc::EPERM) {
        return KernelError::NotPermitted { what: format!("attach to {interface}"), source };
    }
    let hint = match (hook, source.raw_os_error()) {
        (_, Some(libc::ENODEV)) => ". The interface is gone",
        (Hook::Ingress, Some(libc::EBUSY | libc::EEXIST)) => {
            ". Another XDP program is there (take it off: `ip link set dev INTERFACE xdp off`), or one is at an interface \
             above it that was guarded before (guard that one alone, or `borderguard detach` and start anew: what is below comes first)"
        }
        (Hook::Ingress, _) => ". Leave ingress off on this interface, or give it a driver with XDP",
        (Hook::Egress, Some(libc::EEXIST | libc::EBUSY)) => {
            ". Another classifier has the first place: `tc filter show dev INTERFACE egress` shows it"
        }
        (Hook::Egress | Hook::Connect | Hook::Sendmsg, _) => "",
    };
    KernelError::Attach { interface: interface.to_owned(), hook, how: how.to_owned(), source, hint }
}

/// The kernel's release, as `uname -r` says it.
pub(super) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}

/// What the kernel's answer means where a program is attached to a cgroup, and what to do.
fn to_cgroup(answer: &io::Error) -> &'static str {
    match answer.raw_os_error() {
        // It asks the folder for its cgroup.
        Some(libc::EBADF) => {
            ". It is no folder of cgroup version 2: in this mount namespace that is not mounted there (`mount -t cgroup2 none` with \
             the folder mounts it; `ip netns exec` takes it away)"
        }
        Some(libc::EPERM | libc::EBUSY) => {
            ". A program that was attached there without BPF_F_ALLOW_MULTI keeps others out: `bpftool cgroup tree` shows it"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_detach_for_maps_that_are_gone_is_told_what_ends_with_the_rest() {
        for name in ["HIGH_WATER", "HELD"] {
            let error = KernelError::MapsMissing { path: "/bpf".into(), missing: vec![name.to_owned()] };
            let told = error.to_string();
            let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
            assert!(told.starts_with(&format!("the maps {name} are gone from /bpf, ")), "{told}");
            assert!(at("look at the audit trail") < at("the kernel's mark"), "{told}");
            assert!(
                at("an older store that was put back can't be known") < at("borderguard detach"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_log_is_cut_to_its_end() {
        let log: String = (0..100).map(|n| format!("line {n}\n\n")).collect();
        let cut = last_lines(&log);
        assert_eq!(cut.lines().count(), LOG_LINES);
        assert!(cut.starts_with("line 80\n") && cut.ends_with("line 99"), "{cut}");
        assert_eq!(last_lines("one\n"), "one");
    }
}
