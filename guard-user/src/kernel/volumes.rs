//! Volumes: on which devices they are mounted, what the hooks of carriers know of them, and who carries their data.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use guard_common::abi::{COPY_WORDS, CarrierControl, DEVICE_WORDS, FOUND, MAX_VOLUMES, device_bit};

use super::api::{ObservedVolumes, VolumeTarget};
use super::plain::{bytes_of, read};
use super::raw::Map;
use super::senders::Task;
use super::{KernelError, LinuxKernel, View};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// The number of its device, as the kernel has it in a superblock.
    device: u32,
    /// Which folder of the file system is the mount's root.
    root: PathBuf,
    /// Where it is mounted.
    at: PathBuf,
    /// The type of the file system.
    kind: String,
}

impl Mount {
    /// Whether the service manager has put it in a folder's place, so that the service does not see that
    /// (`ProtectHome=` and `InaccessiblePaths=` of systemd.exec(5)).
    fn hides(&self) -> bool {
        self.root.starts_with("/systemd/inaccessible")
    }
}

/// The mounts of this process's mount namespace. To look at them asks no file system for anything, so that one that does
/// not answer holds nobody up.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads them.
    ///
    /// # Errors
    /// Where the kernel does not show them.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/self/mountinfo")?))
    }

    fn parse(lines: &[u8]) -> Self {
        Self(lines.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// The devices of what is mounted at this path: of several all, for what lies below may be open still. One that mounts
    /// when it is looked into is none.
    pub fn devices_at(&self, path: &Path) -> impl Iterator<Item = u32> {
        self.at(path).map(|mount| mount.device)
    }

    /// The folder of its file system that is mounted at this path, where it is not the whole one.
    #[must_use]
    pub fn part_at(&self, path: &Path) -> Option<&Path> {
        self.at(path).last().map(|mount| mount.root.as_path()).filter(|root| *root != Path::new("/"))
    }

    /// Why what is at this path is no volume, where nothing is mounted there: only an absent folder and an empty one may
    /// become one.
    #[must_use]
    pub fn unfit(&self, path: &Path) -> Option<String> {
        // One that mounts when it is looked into, or something below it, may wait for a server; and what hides a folder from
        // a service has nothing of that folder.
        let is_left = |mount: &Mount| mount.kind == "autofs" || mount.hides();
        let is_in_one = self.0.iter().any(|mount| is_left(mount) && path.starts_with(&mount.at));
        if is_in_one || self.at(path).next().is_some() {
            return None;
        }
        match fs::canonicalize(path) {
            Ok(real) if real != path => return Some(format!("it leads to {}", real.display())),
            Ok(_) => {}
            // One that is not there, or can't be looked at.
            Err(_) => return None,
        }
        match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_some().then(|| {
                "nothing is mounted at this folder, which has files of the file system that it lies in"
                    .to_owned()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Some("it is no folder".to_owned()),
            Err(_) => None,
        }
    }

    fn at(&self, path: &Path) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.at == path && mount.kind != "autofs" && !mount.hides())
    }
}

/// One line of `mountinfo` (proc_pid_mountinfo(5)).
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let (root, at) = (unescaped(words.next()?), unescaped(words.next()?));
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    Some(Mount {
        device: device_number(major.parse().ok()?, minor.parse().ok()?),
        root,
        at,
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// The devices of mounts by their ids, of `mountinfo`.
pub(super) fn mount_ids(lines: &[u8]) -> BTreeMap<u32, u32> {
    let id = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    let mounts = lines.split(|byte| *byte == b'\n');
    mounts.filter_map(|line| Some((id(line)?, mount(line)?.device))).collect()
}

/// The number of a device as the kernel has it (`MKDEV` of linux/kdev_t.h), which is not that of stat(2).
#[must_use]
pub(super) const fn device_number(major: u32, minor: u32) -> u32 {
    major << 20 | minor & 0xf_ffff
}

/// A path of `mountinfo`, in which blanks and the like are octal numbers.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| byte == b'\\' && digits.iter().all(|it| (b'0'..=b'7').contains(it)));
        match octal {
            Some(digits) => {
                bytes.push(digits.iter().fold(0_u8, |number, digit| number << 3 | (digit - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

impl View {
    /// What the hooks of carriers know.
    pub(super) fn look_at_volumes(&self) -> Result<ObservedVolumes, KernelError> {
        let mut devices = BTreeMap::new();
        let each = self.maps.volumes.for_each(|key, value| {
            devices.extend(read::<u32>(key).zip(read::<u64>(value)));
        });
        each.map_err(reading("VOLUMES"))?;
        let control = words(&self.maps.carrier_control, "CARRIER_CONTROL", CarrierControl::COUNT)?;
        let word = |word: CarrierControl| control.get(word as usize).copied().unwrap_or_default();
        let known = VolumeTarget {
            devices,
            spread: word(CarrierControl::Spread),
            copied: word(CarrierControl::Copied),
            tagged: word(CarrierControl::Tagged),
            init_scope: word(CarrierControl::InitScope),
            slots: self.volume_slots()?,
        };
        let overflowed = word(CarrierControl::Overflowed);
        Ok(ObservedVolumes { known, overflowed, relays: Vec::new() })
    }

    /// Which volume is in which slot: the hash of its name, 0 for none.
    pub(super) fn volume_slots(&self) -> Result<Vec<u64>, KernelError> {
        words(&self.maps.volume_slots, "VOLUME_SLOTS", MAX_VOLUMES)
    }

    /// Slots of the volumes whose data the socket of this descriptor may carry, a bit each.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the kernel does not tell, as of what is no socket.
    pub fn socket_volumes(&self, socket: impl AsFd) -> Result<u64, KernelError> {
        let key = socket.as_fd().as_raw_fd().to_ne_bytes();
        match element(&self.maps.socket_volumes, "SOCKET_VOLUMES", &key) {
            Err(KernelError::Map { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => Ok(0),
            kept => kept,
        }
    }

    /// Says what the socket of this descriptor may carry.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the kernel refuses, as of what is no socket.
    pub fn set_socket_volumes(&self, socket: impl AsFd, volumes: u64) -> Result<(), KernelError> {
        let key = socket.as_fd().as_raw_fd().to_ne_bytes();
        self.maps.socket_volumes.update(&key, bytes_of(&volumes)).map_err(writing("SOCKET_VOLUMES"))
    }

    pub(super) fn carrier_control(&self, word: CarrierControl) -> Result<u64, KernelError> {
        element(&self.maps.carrier_control, "CARRIER_CONTROL", &(word as u32).to_ne_bytes())
    }
}

impl LinuxKernel {
    /// Notes who carries data of these volumes, or of none.
    pub(super) fn note_carriers(&mut self, volumes: Option<&VolumeTarget>) -> Result<(), KernelError> {
        if let Some(volumes) = volumes {
            // What was written in part is not known to be anybody's.
            self.written.volumes = None;
            self.set_volumes(volumes)?;
            self.written.volumes = Some(volumes.clone());
            return self.set_on_functions(Task::Carriers, true);
        }
        self.set_on_functions(Task::Carriers, false)?;
        self.written.volumes = None;
        self.forget_volumes()
    }

    /// Has the hooks know of volumes. What is new is there before anything goes.
    pub(super) fn set_volumes(&self, target: &VolumeTarget) -> Result<(), KernelError> {
        let maps = &self.view.maps;
        let known = self.look_at_volumes()?;
        for (slot, (hash, before)) in target.slots.iter().zip(&known.known.slots).enumerate() {
            if hash != before {
                let key = u32::try_from(slot).unwrap_or(u32::MAX).to_ne_bytes();
                maps.volume_slots.update(&key, bytes_of(hash)).map_err(writing("VOLUME_SLOTS"))?;
            }
        }
        self.view.set_control(CarrierControl::Spread, target.spread)?;
        self.view.set_control(CarrierControl::Copied, target.copied)?;
        self.view.set_control(CarrierControl::Tagged, target.tagged)?;
        self.view.set_control(CarrierControl::InitScope, target.init_scope)?;
        // A bit is there before its device, and goes after it.
        let of = |devices: &BTreeMap<u32, u64>| bits(devices.keys().copied());
        let (before, after) = (of(&known.known.devices), of(&target.devices));
        self.view.set_device_bits(&before.iter().zip(&after).map(|(a, b)| a | b).collect::<Vec<u64>>())?;
        for (device, volumes) in &target.devices {
            maps.volumes.update(&device.to_ne_bytes(), bytes_of(volumes)).map_err(writing("VOLUMES"))?;
        }
        for device in known.known.devices.keys().filter(|device| !target.devices.contains_key(device)) {
            maps.volumes.remove(&device.to_ne_bytes()).map_err(writing("VOLUMES"))?;
        }
        self.view.set_device_bits(&after)
    }

    /// Forgets volumes and carriers, once no hook notes them any more. What sockets have stays with them.
    fn forget_volumes(&self) -> Result<(), KernelError> {
        let maps = &self.view.maps;
        let (known, carriers) = (self.look_at_volumes()?, self.carriers()?);
        for device in known.known.devices.keys() {
            maps.volumes.remove(&device.to_ne_bytes()).map_err(writing("VOLUMES"))?;
        }
        self.view.set_device_bits(&bits([]))?;
        for process in carriers.processes.keys() {
            for key in [*process, process | FOUND] {
                maps.carriers.remove(&key.to_ne_bytes()).map_err(writing("CARRIERS"))?;
            }
        }
        for cgroup in carriers.cgroups.keys() {
            maps.carrier_cgroups.remove(&cgroup.to_ne_bytes()).map_err(writing("CARRIER_CGROUPS"))?;
        }
        for file in self.copies()? {
            maps.copies.remove(bytes_of(&file)).map_err(writing("COPIES"))?;
        }
        if known.known.copied != 0 || carriers.copies != 0 {
            for word in 0..COPY_WORDS as u32 {
                maps.copy_bits.update(&word.to_ne_bytes(), &[0; 8]).map_err(writing("COPY_BITS"))?;
            }
        }
        for writer in self.writers()? {
            maps.writers.remove(bytes_of(&writer)).map_err(writing("WRITERS"))?;
        }
        self.view.forget_relays()?;
        use CarrierControl::{Copied, Copies, Handed, Reported, Spread, Tagged};
        for word in [Spread, Copied, Copies, Tagged, Handed, Reported] {
            self.view.set_control(word, 0)?;
        }
        self.view.set_control(CarrierControl::Overflowed, 0)
    }
}

/// The words of [`device_bit`] for these devices.
fn bits(devices: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let mut words = vec![0; DEVICE_WORDS];
    for device in devices {
        let (word, bit) = device_bit(device);
        if let Some(word) = words.get_mut(word as usize) {
            *word |= bit;
        }
    }
    words
}

impl View {
    /// Whether the bits that stand for devices of volumes are those of these volumes.
    pub(super) fn has_device_bits_of(&self, volumes: &VolumeTarget) -> Result<bool, KernelError> {
        let mut words = Vec::with_capacity(DEVICE_WORDS);
        let each = self.maps.device_bits.for_each(|_, value| words.extend(read::<u64>(value)));
        each.map_err(reading("DEVICE_BITS"))?;
        Ok(words == bits(volumes.devices.keys().copied()))
    }

    /// Writes the bits that stand for devices of volumes.
    fn set_device_bits(&self, words: &[u64]) -> Result<(), KernelError> {
        for (word, bits) in (0_u32..).zip(words) {
            let set = self.maps.device_bits.update(&word.to_ne_bytes(), bytes_of(bits));
            set.map_err(writing("DEVICE_BITS"))?;
        }
        Ok(())
    }

    /// Writes a word that the hooks of carriers go by.
    pub(super) fn set_control(&self, word: CarrierControl, value: u64) -> Result<(), KernelError> {
        let key = (word as u32).to_ne_bytes();
        let set = self.maps.carrier_control.update(&key, bytes_of(&value));
        set.map_err(writing("CARRIER_CONTROL"))
    }
}

/// All words of an array, which has so many, by one call.
fn words(map: &Map, name: &'static str, count: usize) -> Result<Vec<u64>, KernelError> {
    let mut words = Vec::with_capacity(count);
    map.for_each(|_, value| words.extend(read::<u64>(value))).map_err(reading(name))?;
    match words.len() {
        found if found == count => Ok(words),
        found => Err(KernelError::Damaged { map: name, found: format!("{found} words") }),
    }
}

fn element<T: super::plain::Plain + Copy>(
    map: &Map,
    name: &'static str,
    key: &[u8],
) -> Result<T, KernelError> {
    let mut bytes = vec![0; map.value_len()];
    map.lookup(key, &mut bytes).map_err(reading(name))?;
    read(&bytes).ok_or_else(|| KernelError::Damaged { map: name, found: format!("{} bytes", bytes.len()) })
}

pub(super) fn reading(map: &'static str) -> impl Fn(io::Error) -> KernelError {
    move |source| KernelError::Map { what: "read", map, source }
}

pub(super) fn writing(map: &'static str) -> impl Fn(io::Error) -> KernelError {
    move |source| KernelError::Map { what: "write", map, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_devices() {
        let lines = b"\
            21 28 0:20 / /proc rw - proc proc rw\n\
            36 28 254:17 / /srv/mail-ie rw,noatime shared:1 - ext4 /dev/vdb1 rw\n\
            37 28 0:45 /@mail /srv/with\\040blank rw - btrfs /dev/vdc rw\n\
            38 28 0:50 / /srv/auto rw - autofs systemd-1 rw\n\
            39 36 259:1048575 / /srv/mail-ie rw shared:2 master:3 - xfs /dev/nvme0n1 rw\n\
            odd\n40 28 x:1 / /x rw - ext4 none rw\n41 28 1 / /x rw - ext4 none rw\n42 28 1:1 /";
        let mounts = Mounts::parse(lines);
        let at = |path: &str| mounts.devices_at(Path::new(path)).collect::<Vec<_>>();
        // All that lie one above the other.
        assert_eq!(at("/srv/mail-ie/"), [254 << 20 | 17, 259 << 20 | 0xf_ffff]);
        assert_eq!(at("/srv/with blank"), [45]);
        assert_eq!((at("/srv/auto"), at("/srv"), at("/x")), (vec![], vec![], vec![]));
        assert_eq!(mounts.part_at(Path::new("/srv/with blank")), Some(Path::new("/@mail")));
        assert_eq!(mounts.part_at(Path::new("/srv/mail-ie")), None);
    }

    #[test]
    fn the_mounts_of_this_process_are_there() {
        let mounts = Mounts::read().unwrap();
        assert!(mounts.devices_at(Path::new("/proc")).next().is_some());
    }

    #[test]
    fn a_path_is_a_volume_or_may_become_one_or_is_none() {
        let mounts = Mounts::read().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
        let (file, link) = (full.join("file"), folder.path().join("link"));
        fs::create_dir(&empty).unwrap();
        fs::create_dir(&full).unwrap();
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&empty, &link).unwrap();
        let unfit = |path: &Path| mounts.unfit(path).unwrap_or_default();
        for fit in [Path::new("/proc"), &empty, &folder.path().join("absent")] {
            assert_eq!(unfit(fit), "", "{}", fit.display());
        }
        assert!(unfit(&full).contains("nothing is mounted"), "{}", unfit(&full));
        assert_eq!((unfit(&file).as_str(), unfit(&link).contains("leads to")), ("it is no folder", true));
    }

    #[test]
    fn only_octal_numbers_of_three_digits_are_read() {
        for (text, path) in [("/a\\134b", "/a\\b"), ("/a\\04", "/a\\04"), ("/\\089", "/\\089"), ("\\", "\\")]
        {
            assert_eq!(unescaped(text.as_bytes()), Path::new(path), "{text}");
        }
        // Past a byte nothing is written by the kernel; it is no number to overflow here.
        assert_eq!(unescaped(b"\\777").as_os_str().len(), 1);
    }
}
