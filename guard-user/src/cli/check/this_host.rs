//! This host, as `check` sees it. Nothing is made or changed here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::Access;

use crate::approval::load::{LoadError, load};
use crate::approval::{POLICY, without_namespace};
use crate::compile;
use crate::config::host::{GeoFault, HostView, SeenInterface, SeenVolume};
use crate::config::policy::{Approvals, LogTo, NamedPack, Policy};
use crate::control::socket::SocketError;
use crate::control::status::UnpinnedStatus;
use crate::control::users::{Host, LookupError, NameSource as _};
use crate::events::log::EventLog;
use crate::exemption::LawPack;
use crate::exemption::law::PackError;
use crate::geo::complete;
use crate::geo::{GeoDb, Info, embedded, merge, mmdb};
use crate::inputs;
use crate::kernel::{
    DeviceElsewhere, Elsewhere, Interface, KernelError, Reachable, View, ephemeral_ports, places_here,
    unguarded,
};
use crate::kernel::{Mounts, cgroup, senders};
use crate::store::{FILE, Reader, StoreError};
use crate::unpinned;

/// Where init systems mount the BPF file system, and where the daemon does so itself.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// What a disk must have left for the store, its growth and the last geo database, bytes.
const STORE_BYTES: u64 = 16 << 20;
/// How long other network namespaces may take to be looked at.
const NAMESPACES: Duration = Duration::from_secs(2);
/// How long the source of names may take for a group.
const NAMES: Duration = Duration::from_secs(2);

/// The host that the program runs on.
#[derive(Debug)]
pub(super) struct ThisHost {
    is_root: bool,
    cgroups: PathBuf,
    /// Asks for a group's number, which may take any time.
    group: fn(&str) -> io::Result<Option<u32>>,
    /// Keys of the config whose values could not be looked at.
    unseen: RefCell<BTreeSet<&'static str>>,
    /// The geo databases that were read.
    databases: RefCell<Vec<Info>>,
}

impl ThisHost {
    /// As the user sees it who runs the program.
    pub(super) fn new() -> Self {
        Self::seen_by_root(rustix::process::geteuid().is_root())
    }

    fn seen_by_root(is_root: bool) -> Self {
        let group = |name: &str| Host.group(name);
        Self {
            is_root,
            cgroups: cgroup::root(),
            group,
            unseen: RefCell::default(),
            databases: RefCell::default(),
        }
    }

    /// Keys of the config whose values could not be looked at, sorted.
    pub(super) fn unseen(&self) -> Vec<&'static str> {
        self.unseen.borrow().iter().copied().collect()
    }

    /// What is known of the geo databases that were read, in the order of the config.
    pub(super) fn databases(&self) -> Vec<Info> {
        self.databases.borrow().clone()
    }

    /// What of it no pin knows; `None` where it can't be listed.
    pub(super) fn unpinned(&self, policy: &Policy) -> Option<UnpinnedStatus> {
        Some(unpinned::of(policy, &Reachable::look().ok()?))
    }

    /// Looks at what only root may see, and notes that it was not where this is another user.
    fn as_root(&self, key: &'static str, look: impl FnOnce() -> Option<String>) -> Option<String> {
        if self.is_root {
            return look();
        }
        self.unseen.borrow_mut().insert(key);
        None
    }

    /// Whether a file can't be read by this user alone: the daemon may still read it.
    fn is_for_root(&self, key: &'static str, error: &io::Error) -> bool {
        let hidden = !self.is_root && error.kind() == io::ErrorKind::PermissionDenied;
        if hidden {
            self.unseen.borrow_mut().insert(key);
        }
        hidden
    }
}

impl HostView for ThisHost {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn geo(&self, policy: &Policy) -> Result<Option<GeoDb>, Vec<GeoFault>> {
        let (mut databases, mut faults, mut hidden) = (Vec::new(), Vec::new(), false);
        for (index, path) in policy.geo.files.iter().enumerate() {
            match mmdb::read(path) {
                Ok(database) => {
                    self.databases.borrow_mut().push(database.info.clone());
                    databases.push(database);
                }
                Err(mmdb::Error::Read { source, .. }) if self.is_for_root("geo.files", &source) => {
                    hidden = true
                }
                Err(error) => faults.push(GeoFault::File { index, reason: error.to_string() }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if hidden {
            return Ok(None);
        }
        let database = merge::merge(databases).unwrap_or_else(|| {
            let database = embedded::load();
            self.databases.borrow_mut().push(database.info.clone());
            database
        });
        let lacks = complete::lacks(&database.info);
        if !lacks.is_empty() && !policy.geo.incomplete {
            return Err(lacks.into_iter().map(GeoFault::Incomplete).collect());
        }
        match compile::geo_image(&database, &policy.sites) {
            Ok(_) => Ok(Some(database)),
            Err(error) => Err(vec![GeoFault::TooLarge { reason: error.to_string() }]),
        }
    }

    fn pin_path_fault(&self, path: &Path) -> Option<String> {
        self.as_root("state.pin_path", || pin_path_fault(path))
    }

    fn state_fault(&self, directory: &Path) -> Option<String> {
        self.as_root("state.directory", || state_fault(directory))
    }

    fn socket_fault(&self, path: &Path) -> Option<String> {
        self.as_root("control.socket", || socket_fault(path))
    }

    fn log_fault(&self, to: &LogTo) -> Option<String> {
        match to {
            LogTo::Stdout => None,
            to => self.as_root("log.to", || EventLog::fault(to)),
        }
    }

    fn signers_fault(&self, file: &Path) -> Option<String> {
        match load(file, &TimeZone::system()) {
            Err(LoadError::Unreadable { error, .. })
                if self.is_for_root("approval.allowed_signers", &error) =>
            {
                None
            }
            result => result.err().map(|error| error.to_string()),
        }
    }

    fn policy_signers_without_key(&self, approval: &Approvals) -> Vec<String> {
        // Where it can't be read, that is said already.
        let Ok(allowed) = load(&approval.allowed_signers, &TimeZone::system()) else { return Vec::new() };
        without_namespace(&approval.signers, &approval.policy, (&allowed, POLICY), self.now())
    }

    fn law_fault(&self, named: &NamedPack) -> Option<String> {
        match LawPack::read(&named.pack, &named.sha256) {
            Err(PackError::Unreadable { error, .. }) if self.is_for_root("law.pack", &error) => None,
            Err(error) => Some(error.to_string()),
            Ok(pack) if pack.ends() <= self.now() => Some(format!(
                "the law pack, as of {}, was to be looked at again by {}",
                pack.as_of, pack.look_again_by
            )),
            Ok(_) => None,
        }
    }

    fn group_fault(&self, name: &str) -> Option<String> {
        let (sender, answer) = sync_channel(1);
        let (group, asked) = (self.group, name.to_owned());
        // Where nobody waits any more, the answer goes nowhere, and the thread ends with the process.
        let thread = std::thread::Builder::new().spawn(move || drop(sender.send(group(&asked))));
        let error = match thread.map(|_| answer.recv_timeout(NAMES)) {
            Ok(Ok(Ok(Some(_)))) => return None,
            Ok(Ok(Ok(None))) => return Some(format!("there is no group {name:?}")),
            Ok(Ok(Err(error))) | Err(error) => error.to_string(),
            Ok(Err(_)) => LookupError::TimedOut(NAMES).to_string(),
        };
        Some(format!("the group {name:?} can't be looked up: {error}"))
    }

    fn uid_of(&self, name: &str) -> Result<u32, String> {
        inputs::uid_of(name)
    }

    fn sender_fault(&self) -> Option<String> {
        if !self.is_root {
            self.unseen.borrow_mut().insert("pin.select.sent_by");
            return None;
        }
        senders::programs().err()
    }

    fn carrier_fault(&self) -> Option<String> {
        if !self.is_root {
            self.unseen.borrow_mut().insert("pin.select.volumes");
            return None;
        }
        senders::carrier_programs().err()
    }

    fn volume(&self, path: &Path) -> SeenVolume {
        let Ok(mounts) = Mounts::read() else {
            self.unseen.borrow_mut().insert("pin.select.volumes");
            return SeenVolume::Mounted;
        };
        match (mounts.unfit(path), mounts.part_at(path), mounts.devices_at(path).next()) {
            (Some(reason), ..) => SeenVolume::Unfit(reason),
            (None, Some(of), _) => SeenVolume::Part(of.to_owned()),
            (None, None, Some(_)) => SeenVolume::Mounted,
            (None, None, None) => SeenVolume::Absent,
        }
    }

    fn has_cgroup(&self, path: &str) -> bool {
        // One that can't be looked at counts as there.
        fs::metadata(self.cgroups.join(path)).map_or_else(|error| !is_absent(&error), |found| found.is_dir())
    }

    fn ephemeral_ports(&self) -> Option<(u16, u16)> {
        ephemeral_ports()
    }

    fn forwards(&self) -> bool {
        let is_on = |key: &str| fs::read_to_string(key).is_ok_and(|text| text.trim() != "0");
        is_on("/proc/sys/net/ipv4/ip_forward") || is_on("/proc/sys/net/ipv6/conf/all/forwarding")
    }

    fn interfaces(&self) -> Option<Vec<SeenInterface>> {
        let Ok(interfaces) = Interface::all() else {
            self.unseen.borrow_mut().insert("host.interfaces");
            return None;
        };
        let seen = |it: Interface| {
            let unread = it.link_type.link().is_none().then(|| it.link_type.to_string());
            SeenInterface { name: it.name, unread }
        };
        Some(interfaces.into_iter().map(seen).collect())
    }

    fn unguarded(&self, policy: &Policy) -> Vec<String> {
        let Ok(places) = places_here() else {
            self.unseen.borrow_mut().insert("host.interfaces");
            return Vec::new();
        };
        let is_guarded = |index: u32| places.get(&index).is_some_and(|(name, _)| policy.guards(name));
        let all = places.iter().map(|(index, (name, place))| (*index, name.as_str(), place));
        let found = unguarded(all, &is_guarded).into_iter();
        let told = found.filter(|it| !policy.accepts_unguarded(&it.name));
        told.map(|it| format!("{} ({})", it.name, it.how)).collect()
    }

    fn unguarded_elsewhere(&self, policy: &Policy) -> Vec<String> {
        // The thread that looks is in another namespace afterwards.
        let looks = std::thread::Builder::new().spawn(|| Elsewhere::look(NAMESPACES));
        let looked = looks.ok().and_then(|thread| thread.join().ok()?.ok()).filter(|_| self.is_root);
        let (Some(found), Ok(here)) = (looked, Interface::all()) else {
            self.unseen.borrow_mut().insert("host.interfaces");
            return Vec::new();
        };
        if found.unseen.is_some() {
            self.unseen.borrow_mut().insert("host.interfaces");
        }
        let words = |device: DeviceElsewhere| {
            let DeviceElsewhere { name, made_on, command, process } = device;
            let below = here.iter().find(|it| made_on == Some(it.index));
            if below.is_some_and(|it| is_judged(&it.name, policy, MOST_STACKED)) {
                return None;
            }
            let on = match (made_on, below) {
                (None, _) => "hardware".to_owned(),
                (Some(_), Some(it)) => format!("on {}", it.name),
                (Some(_), None) => "on an interface that is not listed".to_owned(),
            };
            Some(format!("{name} ({on}) of process {process} ({command})"))
        };
        found.devices.into_iter().filter_map(words).collect()
    }
}

/// Interfaces that are stacked on one another at most (`MAX_NEST_DEV`, include/linux/netdevice.h).
const MOST_STACKED: usize = 8;

/// Whether what leaves by an interface is judged: at itself, or at all below it.
fn is_judged(name: &str, policy: &Policy, depth: usize) -> bool {
    if policy.guards(name) || depth == 0 {
        return depth != 0;
    }
    let entries = fs::read_dir(Path::new("/sys/class/net").join(name)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut below = names.filter_map(|name| Some(name.strip_prefix("lower_")?.to_owned())).peekable();
    below.peek().is_some() && below.all(|name| is_judged(&name, policy, depth - 1))
}

/// Why the daemon would refuse to start on this pin path: as the kernel side says it.
fn pin_path_fault(path: &Path) -> Option<String> {
    let on_bpffs = path.starts_with(BPFFS);
    let is_plain = |component: Component<'_>| match component {
        Component::RootDir => true,
        Component::Normal(name) => !on_bpffs || !name.to_string_lossy().contains('.'),
        _ => false,
    };
    if path.parent().is_none() || !path.components().all(is_plain) {
        return Some(KernelError::PinPath { path: path.to_owned() }.to_string());
    }
    match View::open_to_read(path) {
        Err(KernelError::NothingPinned { .. }) => {}
        // Maps of another version, or what else is in the way.
        result => return result.err().map(|error| error.to_string()),
    }
    let is_mounted = nearest(path).is_some_and(|(folder, _)| is_bpffs(&folder));
    // Where nothing is mounted there yet, the daemon does it.
    let will_be = on_bpffs && Path::new(BPFFS).is_dir() && !is_bpffs(Path::new(BPFFS));
    (!is_mounted && !will_be).then(|| KernelError::NotBpffs { path: path.to_owned() }.to_string())
}

fn is_bpffs(folder: &Path) -> bool {
    let magic = |found: rustix::fs::StatFs| u64::try_from(found.f_type).unwrap_or_default() & 0xffff_ffff;
    rustix::fs::statfs(folder).is_ok_and(|found| magic(found) == BPF_FS_MAGIC)
}

fn state_fault(directory: &Path) -> Option<String> {
    if let Some(fault) = folder_fault(directory) {
        return Some(fault);
    }
    if let Some(fault) = disk_fault(directory) {
        return Some(fault);
    }
    match Reader::open(directory) {
        // A daemon that runs has it open.
        Ok(_) | Err(StoreError::Held { .. }) => {}
        Err(error) => return Some(error.to_string()),
    }
    let file = directory.join(FILE);
    match rustix::fs::access(&file, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => None,
        Err(error) => Some(format!("{} can't be read and written: {error}", file.display())),
    }
}

fn socket_fault(path: &Path) -> Option<String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if let Some(fault) = folder_fault(folder) {
        return Some(fault);
    }
    let mode = fs::metadata(folder).map_or(0, |found| found.mode());
    if mode & 0o1002 == 0o002 {
        return Some(SocketError::OpenFolder { path: folder.to_owned() }.to_string());
    }
    // A socket that is there is a daemon's that runs, or one that the next takes the place of.
    let found = fs::symlink_metadata(path).ok()?;
    (!found.file_type().is_socket()).then(|| SocketError::NoSocket { path: path.to_owned() }.to_string())
}

/// Why the disk of a folder takes no store.
fn disk_fault(folder: &Path) -> Option<String> {
    let Some((nearest, None)) = nearest(folder) else { return None };
    let disk = rustix::fs::statvfs(&nearest).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    (free < STORE_BYTES).then(|| {
        format!(
            "{} is on a disk that has {} KiB left; the store and the last geo database need {} MiB",
            nearest.display(),
            free >> 10,
            STORE_BYTES >> 20
        )
    })
}

/// Why a folder is not there, can't be made or can't be written.
fn folder_fault(folder: &Path) -> Option<String> {
    let Some((nearest, error)) = nearest(folder) else {
        return Some(format!("{} can't be looked at", folder.display()));
    };
    if let Some(error) = error {
        return Some(format!("{} can't be looked at: {error}", folder.display()));
    }
    if !nearest.is_dir() {
        return Some(format!("{} is no folder", nearest.display()));
    }
    let error = rustix::fs::access(&nearest, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(match nearest == folder {
        true => format!("{} can't be written: {error}", folder.display()),
        false => format!("{} can't be made in {}: {error}", folder.display(), nearest.display()),
    })
}

/// The path itself or the nearest above it that is there, and what keeps from seeing what is below that.
fn nearest(path: &Path) -> Option<(PathBuf, Option<io::Error>)> {
    path.ancestors().find_map(|above| match fs::metadata(above) {
        Ok(_) => Some((above.to_owned(), None)),
        Err(error) if is_absent(&error) => None,
        Err(error) => Some((above.to_owned(), Some(error))),
    })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
