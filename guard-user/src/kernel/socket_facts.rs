//! Who made and who uses sockets: what the kernel keeps with each, and what is written there of sockets that were open
//! before the hooks were attached.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use guard_common::abi::{COMMAND_LEN, MAX_CGROUP_LEVELS, Party, Process, SocketFacts};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::maps::FIRST;
use super::plain::{bytes_of, read};
use super::{KernelError, View, cgroup};

/// The most open sockets that are looked at. Whoever has more has a host whose sockets come and go, and are noted by
/// the hooks.
const MOST: usize = 131_072;
/// How long they are looked at.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of naming the sockets that were open already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedSockets {
    /// Sockets that nothing was known of, and whose holder is noted now.
    pub named: usize,
    /// Sockets that could not be looked at, and why the last of them could not.
    pub refused: Option<(usize, String)>,
    /// Whether there were more than are looked at.
    pub is_cut_off: bool,
}

impl View {
    /// What the kernel keeps with the socket of this descriptor; `None` where it keeps nothing.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the kernel does not tell, as of what is no socket.
    pub fn socket_facts(&self, socket: impl AsFd) -> Result<Option<SocketFacts>, KernelError> {
        let mut bytes = [0; size_of::<SocketFacts>()];
        match self.maps.socket_facts.lookup(&key(&socket), &mut bytes) {
            Ok(()) => Ok(read(&bytes)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(KernelError::Map { what: "read", map: "SOCKET_FACTS", source }),
        }
    }

    /// Notes the holders of sockets of which nothing is known: of processes below the cgroup of this folder. Takes time,
    /// and some that are made or closed meanwhile are left out.
    ///
    /// Who made such a socket and who used it can't be told any more. Whoever has it open may have, and is taken for it.
    #[must_use]
    pub fn name_open_sockets(&self, below: &Path) -> NamedSockets {
        let mut done = NamedSockets::default();
        let deadline = Instant::now() + PATIENCE;
        let mut found = Found::default();
        for pid in pids() {
            if found.looked >= MOST || Instant::now() >= deadline {
                done.is_cut_off = true;
                break;
            }
            if let Err(error) = found.look_at(pid, below) {
                // A process or descriptor that is gone by now is none to name.
                let is_gone = matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::EBADF));
                if !is_gone {
                    let refused = done.refused.take().map_or(0, |(count, _)| count);
                    done.refused = Some((refused + 1, error.to_string()));
                }
            }
        }
        for Socket { process, descriptor, facts } in found.sockets.into_values() {
            // It may be another one by now, or closed.
            let Ok(socket) = pidfd_getfd(&*process, descriptor, PidfdGetfdFlags::empty()) else { continue };
            if is_inet(&socket) {
                // Whether it was opened or accepted can't be told any more, but of what it accepts or opens from now on it can.
                let noted = sockopt::socket_cookie(&socket).unwrap_or(0);
                let original = if is_tcp(&socket) { noted } else { 0 };
                let facts = SocketFacts { original, noted, ..facts };
                let noted = self.maps.socket_facts.insert(&key(&socket), bytes_of(&facts));
                done.named += usize::from(noted.is_ok_and(|is_new| is_new));
            }
        }
        if let Err(error) = self.are_named(true) {
            done.refused.get_or_insert((0, error.to_string()));
        }
        done
    }

    /// Says to the hooks whether the holders of sockets are noted that were open before them. Until then they note
    /// nothing of those.
    pub(super) fn are_named(&self, named: bool) -> Result<(), KernelError> {
        let set = self.maps.sockets_named.update(&FIRST, bytes_of(&u64::from(named)));
        set.map_err(|source| KernelError::Map { what: "write", map: "SOCKETS_NAMED", source })
    }
}

/// A socket that some processes have open.
struct Socket {
    /// The first of them, and the number that it has there.
    process: Rc<OwnedFd>,
    descriptor: RawFd,
    facts: SocketFacts,
}

/// Open sockets by their inodes.
#[derive(Default)]
struct Found {
    sockets: BTreeMap<String, Socket>,
    looked: usize,
}

impl Found {
    fn look_at(&mut self, pid: Pid, below: &Path) -> io::Result<()> {
        // Opened first: as long as a descriptor of it can be had, what is read of this number is of this process.
        let process = Rc::new(pidfd_open(pid, PidfdFlags::empty())?);
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let cgroup = cgroup_of(&fs::read_to_string(folder.join("cgroup"))?)?;
        if !cgroup.starts_with(below) {
            return Ok(());
        }
        let holder = describe(pid, &folder, &cgroup)?;
        let party = party(&holder, &cgroup);
        for entry in fs::read_dir(folder.join("fd"))? {
            let entry = entry?;
            let target = fs::read_link(entry.path()).unwrap_or_default().to_string_lossy().into_owned();
            let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if !target.starts_with("socket:") {
                continue;
            }
            self.looked += 1;
            if self.looked >= MOST {
                return Ok(());
            }
            let facts = SocketFacts { maker: holder, ..SocketFacts::default() };
            let first = || Socket { process: Rc::clone(&process), descriptor, facts };
            let socket = self.sockets.entry(target).or_insert_with(first);
            take_up(&mut socket.facts, &party);
        }
        Ok(())
    }
}

/// Adds a holder to those that may have used the socket, as the hooks do.
fn take_up(facts: &mut SocketFacts, party: &Party) {
    let is_there = |it: &Party| it.state == Party::READY && (it.cgroup, it.uid) == (party.cgroup, party.uid);
    if facts.parties.iter().any(is_there) {
        return;
    }
    match facts.parties.iter_mut().find(|it| it.state == Party::FREE) {
        Some(free) => *free = *party,
        None => facts.everybody = 1,
    }
}

/// A process as one that uses a socket; `cgroup` is its folder.
fn party(process: &Process, cgroup: &Path) -> Party {
    let root = cgroup::root();
    let mut cgroups = [0; MAX_CGROUP_LEVELS];
    let below = cgroup.strip_prefix(&root).into_iter().flat_map(Path::components);
    let mut folder = root.clone();
    for (id, part) in cgroups.iter_mut().zip(below) {
        folder.push(part);
        *id = fs::metadata(&folder).map_or(0, |found| found.ino());
    }
    Party { state: Party::READY, cgroup: process.cgroup, uid: process.uid, pad: 0, cgroups }
}

/// A process that runs on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The name of its command.
    pub command: String,
    /// Its real user.
    pub uid: u32,
    /// Path of its cgroup below the cgroup v2 root; empty for the root.
    pub cgroup: String,
}

/// The process of this number.
///
/// # Errors
/// Where there is none, or it can't be looked at.
pub fn running(pid: u32) -> io::Result<Running> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let cgroup = cgroup_of(&fs::read_to_string(folder.join("cgroup"))?)?;
    let no_user = || io::Error::other(format!("no user in {}", folder.display()));
    let uid = uid_of(&fs::read_to_string(folder.join("status"))?).ok_or_else(no_user)?;
    let command = fs::read(folder.join("comm"))?;
    let command = String::from_utf8_lossy(command.strip_suffix(b"\n").unwrap_or(&command)).into_owned();
    let below = cgroup.strip_prefix(cgroup::root()).unwrap_or(&cgroup);
    Ok(Running { command, uid, cgroup: below.to_string_lossy().into_owned() })
}

/// The key of a socket in its storage: the number of a descriptor of this process.
fn key(socket: &impl AsFd) -> [u8; 4] {
    socket.as_fd().as_raw_fd().to_ne_bytes()
}

/// Whether packets of the socket can leave the host.
fn is_inet(socket: impl AsFd) -> bool {
    let family = sockopt::socket_domain(socket);
    matches!(family, Ok(AddressFamily::INET | AddressFamily::INET6))
}

/// Whether it is a socket of plain TCP.
fn is_tcp(socket: impl AsFd) -> bool {
    sockopt::socket_type(&socket) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(&socket) == Ok(Some(ipproto::TCP))
}

/// The numbers of all processes, the lowest first.
pub(super) fn pids() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut numbers: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}

/// The folder of a process's cgroup, of `/proc/PID/cgroup`: its line of cgroup v2. An error where it is outside of this process's
/// cgroup namespace ([`cgroup::see_all`]): the folder that its path names is another one.
pub(super) fn cgroup_of(lines: &str) -> io::Result<PathBuf> {
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    if path.split('/').next() == Some("..") {
        return Err(io::Error::other("its cgroup is outside of this process's cgroup namespace"));
    }
    let root = cgroup::root();
    Ok(if path.is_empty() { root } else { root.join(path) })
}

/// What a hook would have noted of the process.
fn describe(pid: Pid, folder: &Path, cgroup: &Path) -> io::Result<Process> {
    let status = fs::read_to_string(folder.join("status"))?;
    let number = pid.as_raw_nonzero().get().unsigned_abs();
    let command = fs::read(folder.join("comm"))?;
    Ok(Process {
        // Of a cgroup that is gone meanwhile, or that this mount namespace does not have.
        cgroup: fs::metadata(cgroup).map_or(0, |found| found.ino()),
        pid: number,
        thread: number,
        uid: uid_of(&status).ok_or_else(|| io::Error::other(format!("no user in {}", folder.display())))?,
        pad: 0,
        command: command_name(&command),
    })
}

/// The real user, of `/proc/PID/status`.
fn uid_of(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().next()?.parse().ok()
}

/// A command's name as the kernel has it, of `/proc/PID/comm`.
fn command_name(line: &[u8]) -> [u8; COMMAND_LEN] {
    let name = line.strip_suffix(b"\n").unwrap_or(line);
    let mut command = [0; COMMAND_LEN];
    // The last byte is always zero.
    for (to, from) in command.iter_mut().take(COMMAND_LEN - 1).zip(name) {
        *to = *from;
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_of_a_process_is_read() {
        let status = "Name:\tpostgres\nUmask:\t0022\nUid:\t999\t998\t997\t996\nGid:\t1\t1\t1\t1\n";
        assert_eq!((uid_of(status), uid_of("Uid:\n"), uid_of("")), (Some(999), None, None));
        let root = cgroup::root();
        let lines = "1:name=systemd:/x\n0::/system.slice/etcd.service\n";
        assert_eq!(cgroup_of(lines).unwrap(), root.join("system.slice/etcd.service"));
        assert_eq!((cgroup_of("0::/\n").unwrap(), cgroup_of("").unwrap()), (root.clone(), root));
        assert!(cgroup_of("0::/../../system.slice/etcd.service\n").is_err(), "seen from another namespace");
        assert_eq!(&command_name(b"etcd\n")[..5], b"etcd\0");
        assert_eq!(&command_name(b"a-name-that-is-too-long\n"), b"a-name-that-is-\0");
    }

    #[test]
    fn this_process_is_described_as_the_kernel_would() {
        let own = rustix::process::getpid();
        assert!(pids().contains(&own));
        let folder = Path::new("/proc/self");
        let process = describe(own, folder, Path::new("/absent")).unwrap();
        assert_eq!((process.pid, process.cgroup), (std::process::id(), 0));
        assert_eq!(process.uid, rustix::process::getuid().as_raw());
        assert!(process.is_known());
        let seen = running(std::process::id()).unwrap();
        assert_eq!(
            (seen.uid, seen.command.as_bytes()),
            (process.uid, process.command.split(|it| *it == 0).next().unwrap())
        );
        assert!(running(u32::MAX).is_err());
    }

    #[test]
    fn holders_are_told_apart_by_cgroup_and_user_as_far_as_there_is_room() {
        let of = |cgroup, uid| Party { state: Party::READY, cgroup, uid, ..Party::default() };
        let mut facts = SocketFacts::default();
        for party in [of(1, 0), of(1, 0), of(1, 7), of(1, 0), of(1, 7)] {
            take_up(&mut facts, &party);
        }
        assert_eq!((facts.parties, facts.everybody), ([of(1, 0), of(1, 7)], 0));
        take_up(&mut facts, &of(2, 7));
        assert_eq!((facts.parties, facts.everybody), ([of(1, 0), of(1, 7)], 1));
    }
}
