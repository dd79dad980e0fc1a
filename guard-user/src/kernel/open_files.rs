//! Who has files of volumes open, or mapped, that were so before the hooks of carriers knew of these: looked for in
//! `/proc`, once the hooks note what is opened and read from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use guard_common::abi::{Carrier, CarrierControl, FOUND};

use super::plain::{bytes_of, read};
use super::volumes::{device_number, mount_ids, writing};
use super::{KernelError, View, cgroup, clock, socket_facts};

/// How often processes are listed: those that were made meanwhile may have got a file of one that was looked at later.
const ROUNDS: usize = 8;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundCarriers {
    /// Processes that have a file of a volume open.
    pub found: usize,
    /// Processes that could not be looked at, and why the last of them could not.
    pub refused: Option<(usize, String)>,
}

impl View {
    /// Notes the processes that have files open on these devices as carriers of the volumes there.
    #[must_use]
    pub fn find_carriers(&self, devices: &BTreeMap<u32, u64>) -> FoundCarriers {
        let mut done = FoundCarriers::default();
        let mut seen = BTreeSet::new();
        for _ in 0..ROUNDS {
            let before = seen.len();
            for pid in socket_facts::pids() {
                let number = pid.as_raw_nonzero().get().unsigned_abs();
                if !seen.insert(number) {
                    continue;
                }
                let folder = PathBuf::from(format!("/proc/{number}"));
                let noted = volumes_of_threads(&folder, devices).and_then(|volumes| match volumes {
                    0 => Ok(false),
                    volumes => {
                        self.note_found(number, &folder, volumes).map_err(io::Error::other).map(|()| true)
                    }
                });
                match noted {
                    Ok(is_one) => done.found += usize::from(is_one),
                    // A process that is gone by now is none to note.
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => {}
                    Err(error) => {
                        let refused = done.refused.take().map_or(0, |(count, _)| count);
                        done.refused = Some((refused + 1, error.to_string()));
                    }
                }
            }
            if seen.len() == before {
                break;
            }
        }
        done
    }

    /// Notes a process, and its cgroup where the volumes spread. The entry is the daemon's own: no hook writes it.
    fn note_found(&self, process: u32, folder: &Path, volumes: u64) -> Result<(), KernelError> {
        let since_ns = clock::boot_ns();
        let mut carrier = Carrier { volumes, since_ns };
        let key = (process | FOUND).to_ne_bytes();
        let mut bytes = vec![0; self.maps.carriers.value_len()];
        if self.maps.carriers.lookup(&key, &mut bytes).is_ok()
            && let Some(before) = read::<Carrier>(&bytes)
        {
            carrier = Carrier { volumes: before.volumes | volumes, since_ns: before.since_ns };
        }
        let noted = self.maps.carriers.update(&key, bytes_of(&carrier)).map_err(writing("CARRIERS"));
        self.unless_full(noted)?;
        let spread = volumes & self.carrier_control(CarrierControl::Spread)?;
        let path =
            fs::read_to_string(folder.join("cgroup")).and_then(|lines| socket_facts::cgroup_of(&lines));
        let Ok(path) = path else { return Ok(()) };
        let id = fs::metadata(&path).map_or(0, |found| found.ino());
        let is_narrow = path != cgroup::root() && id != self.carrier_control(CarrierControl::InitScope)?;
        if spread != 0 && id != 0 && is_narrow {
            let noted = self.note_cgroup(id, Carrier { volumes: spread, since_ns });
            return self.unless_full(noted);
        }
        Ok(())
    }

    /// Where there is no room for a carrier every sender counts as one from then on, as the hooks have it.
    fn unless_full(&self, noted: Result<(), KernelError>) -> Result<(), KernelError> {
        match &noted {
            Err(KernelError::Map { source, .. }) if source.raw_os_error() == Some(libc::E2BIG) => {
                let before = self.carrier_control(CarrierControl::Overflowed)?;
                self.set_control(CarrierControl::Overflowed, before.max(1))
            }
            _ => noted,
        }
    }
}

/// The volumes of which a process has files open or mapped. Where its first thread has ended, the others have them.
fn volumes_of_threads(process: &Path, devices: &BTreeMap<u32, u64>) -> io::Result<u64> {
    let stat = fs::read_to_string(process.join("status"))?;
    if !stat.lines().any(|line| line.starts_with("State:\tZ")) {
        return volumes_of(process, devices);
    }
    let mut volumes = 0;
    for thread in fs::read_dir(process.join("task"))? {
        match volumes_of(&thread?.path(), devices) {
            Ok(more) => volumes |= more,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(volumes)
}

/// The volumes of which a process, or a thread of it, has files open or mapped.
fn volumes_of(process: &Path, devices: &BTreeMap<u32, u64>) -> io::Result<u64> {
    // A name may be of any bytes.
    let mut volumes = of_maps(&String::from_utf8_lossy(&fs::read(process.join("maps"))?), devices);
    // One that has ended, or whose first thread has, has no mounts to show.
    let mounts = match fs::read(process.join("mountinfo")) {
        Ok(lines) => mount_ids(&lines),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    for entry in fs::read_dir(process.join("fd"))? {
        let name = entry?.file_name();
        // One that was closed meanwhile has none.
        let info = fs::read_to_string(process.join("fdinfo").join(&name)).unwrap_or_default();
        let Some((mount, flags)) = of_descriptor(&info) else { continue };
        if flags & libc::O_ACCMODE == libc::O_WRONLY || flags & libc::O_PATH != 0 {
            continue;
        }
        let of_device = |device: u32| devices.get(&device).copied().unwrap_or_default();
        let path = process.join("fd").join(&name);
        match mounts.get(&mount) {
            Some(device) if of_device(*device) != 0 => {
                if fs::metadata(&path).is_ok_and(|found| found.is_file()) {
                    volumes |= of_device(*device);
                }
            }
            // A mount that this process's namespace does not have, or the folder of devices: asked itself.
            _ => {
                let Ok(found) = fs::metadata(&path) else { continue };
                let number = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
                if found.is_file() || found.file_type().is_block_device() {
                    volumes |= of_device(device_number(libc::major(number), libc::minor(number)));
                }
            }
        }
    }
    Ok(volumes)
}

/// The volumes of mapped files, of `/proc/PID/maps`: its column of devices is the superblock's.
fn of_maps(lines: &str, devices: &BTreeMap<u32, u64>) -> u64 {
    let volume = |line: &str| {
        let (major, minor) = line.split_ascii_whitespace().nth(3)?.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        devices.get(&device_number(number(major)?, number(minor)?)).copied()
    };
    lines.lines().filter_map(volume).fold(0, |volumes, slots| volumes | slots)
}

/// The mount and the flags of a descriptor, of `/proc/PID/fdinfo/FD`.
fn of_descriptor(info: &str) -> Option<(u32, i32)> {
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let flags = i32::from_str_radix(value("flags:")?, 8).ok()?;
    Some((value("mnt_id:")?.parse().ok()?, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_maps_are_read() {
        let info = "pos:\t0\nflags:\t02100000\nmnt_id:\t36\nino:\t5\n";
        assert_eq!(of_descriptor(info), Some((36, 0o2_100_000)));
        assert_eq!((of_descriptor("pos:\t0\n"), of_descriptor("")), (None, None));
        let devices = BTreeMap::from([(device_number(0xfd, 1), 4), (device_number(0, 0x2d), 8)]);
        let lines = "55c0-55c1 r--p 00000000 fd:01 1234   /srv/mail-ie/a b\n\
                     7f00-7f01 rw-p 00000000 00:00 0\n7f02-7f03 rw-s 00000000 00:2d 7 /x (deleted)\nodd\n";
        assert_eq!((of_maps(lines, &devices), of_maps("", &devices)), (12, 0));
    }

    #[test]
    fn this_process_is_seen_to_have_a_file_open_and_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let device = |path: &Path| {
            let number = fs::metadata(path).unwrap().dev();
            device_number(libc::major(number), libc::minor(number))
        };
        // Its own program is mapped.
        let own = BTreeMap::from([(device(&std::env::current_exe().unwrap()), 1)]);
        assert_eq!(volumes_of(Path::new("/proc/self"), &own).unwrap(), 1);
        let path = folder.path().join("file");
        let devices = BTreeMap::from([(device(folder.path()), 2)]);
        let found = || volumes_of(Path::new("/proc/self"), &devices).unwrap() & 2;
        fs::write(&path, "x").unwrap();
        let _open = fs::File::open(&path).unwrap();
        assert_eq!(found(), 2);
        assert_eq!(volumes_of(Path::new("/proc/self"), &BTreeMap::new()).unwrap(), 0);
        assert!(volumes_of(Path::new("/proc/0"), &devices).is_err());
    }
}
