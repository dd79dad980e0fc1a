//! Who carries data of volumes, as the hooks and the daemon have noted it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use guard_common::abi::{Carrier, CarrierControl, FOUND, FileKey, WriterKey};

use super::plain::{bytes_of, read};
use super::volumes::{reading, writing};
use super::{KernelError, View, cgroup};

/// Who carries data of volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carriers {
    /// Processes by their numbers.
    pub processes: BTreeMap<u32, Carrier>,
    /// Cgroups by their ids.
    pub cgroups: BTreeMap<u64, Carrier>,
    /// How many files elsewhere have such data.
    pub copies: u64,
    /// How many writes to files off their volumes were reported, each process's to each file once.
    pub reported: u64,
}

impl View {
    /// Who carries data of volumes, as the hooks and this daemon have found.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the kernel can't be asked.
    pub fn carriers(&self) -> Result<Carriers, KernelError> {
        let mut processes: BTreeMap<u32, Carrier> = BTreeMap::new();
        let each = self.maps.carriers.for_each(|key, value| {
            let Some((key, found)) = read::<u32>(key).zip(read::<Carrier>(value)) else { return };
            let known = processes.entry(key & !FOUND).or_insert(found);
            known.volumes |= found.volumes;
            known.since_ns = known.since_ns.min(found.since_ns);
        });
        each.map_err(reading("CARRIERS"))?;
        let copies = self.carrier_control(CarrierControl::Copies)?;
        let reported = self.carrier_control(CarrierControl::Reported)?;
        Ok(Carriers { processes, cgroups: self.carrier_cgroups()?, copies, reported })
    }

    /// Whose writes to files off their volumes were reported.
    pub(super) fn writers(&self) -> Result<Vec<WriterKey>, KernelError> {
        let mut writers = Vec::new();
        let each = self.maps.writers.for_each(|key, _| writers.extend(read::<WriterKey>(key)));
        each.map_err(reading("WRITERS"))?;
        Ok(writers)
    }

    /// The files elsewhere that have data of volumes.
    pub(super) fn copies(&self) -> Result<Vec<FileKey>, KernelError> {
        let mut files = Vec::new();
        let each = self.maps.copies.for_each(|key, _| files.extend(read::<FileKey>(key)));
        each.map_err(reading("COPIES"))?;
        Ok(files)
    }

    fn carrier_cgroups(&self) -> Result<BTreeMap<u64, Carrier>, KernelError> {
        let mut cgroups = BTreeMap::new();
        let each = self.maps.carrier_cgroups.for_each(|key, value| {
            cgroups.extend(read::<u64>(key).zip(read::<Carrier>(value)));
        });
        each.map_err(reading("CARRIER_CGROUPS"))?;
        Ok(cgroups)
    }

    /// Forgets the cgroups that are gone, and those in which no process is any more.
    pub(super) fn forget_empty_cgroups(&self) -> Result<(), KernelError> {
        let cgroups = self.carrier_cgroups()?;
        if cgroups.is_empty() {
            return Ok(());
        }
        let root = cgroup::root();
        let (paths, is_whole) = cgroup::all_paths(&cgroups.keys().copied().collect::<BTreeSet<u64>>());
        for (id, carrier) in cgroups {
            let folder = paths.get(&id).map(|path| root.join(path));
            // One that was not found may be where nobody could look.
            if folder.as_deref().map_or(!is_whole, has_processes) {
                continue;
            }
            self.maps.carrier_cgroups.remove(&id.to_ne_bytes()).map_err(writing("CARRIER_CGROUPS"))?;
            // A process that came in between may be a carrier, and the last of its cgroup was not gone then.
            if folder.as_deref().is_some_and(has_processes) {
                self.note_cgroup(id, carrier)?;
            }
        }
        Ok(())
    }

    /// Notes a cgroup, beside what is noted of it already.
    pub(super) fn note_cgroup(&self, id: u64, carrier: Carrier) -> Result<(), KernelError> {
        let (map, key) = (&self.maps.carrier_cgroups, id.to_ne_bytes());
        if map.insert(&key, bytes_of(&carrier)).map_err(writing("CARRIER_CGROUPS"))? {
            return Ok(());
        }
        let mut bytes = vec![0; map.value_len()];
        map.lookup(&key, &mut bytes).map_err(reading("CARRIER_CGROUPS"))?;
        match read::<Carrier>(&bytes) {
            Some(before) if before.volumes & carrier.volumes != carrier.volumes => {
                let volumes = before.volumes | carrier.volumes;
                map.update(&key, bytes_of(&Carrier { volumes, ..before })).map_err(writing("CARRIER_CGROUPS"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a process is in a cgroup or in one below it. One that can't be looked at counts as full.
fn has_processes(folder: &Path) -> bool {
    match fs::read_to_string(folder.join("cgroup.events")) {
        Ok(events) => !events.lines().any(|line| line == "populated 0"),
        Err(error) => {
            error.kind() != std::io::ErrorKind::NotFound && error.raw_os_error() != Some(libc::ENODEV)
        }
    }
}
