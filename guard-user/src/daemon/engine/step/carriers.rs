//! Who carries data of volumes, for the status.

use guard_common::abi::{Carrier, MAX_VOLUMES};
use jiff::SignedDuration;

use crate::control::status::{
    CarrierCgroupStatus, CarrierStatus, CarriersStatus, ProcessStatus, VolumeStatus,
};
use crate::daemon::engine::state::Engine;
use crate::events::event::unit;
use crate::exemption::Clocks;

impl Engine {
    pub(super) fn carriers_status(&self, now: Clocks) -> CarriersStatus {
        let sample = &self.reads.sample;
        let facts = self.noting.facts.as_ref();
        let volume = |volume: crate::config::policy::Volume| VolumeStatus {
            mounted: facts
                .is_some_and(|it| it.volumes.devices.get(&volume.path).is_some_and(|it| !it.is_empty())),
            path: volume.path.to_string_lossy().into_owned(),
            spread: volume.spread.name().to_owned(),
        };
        let process = |(pid, carrier): (&u32, &Carrier)| {
            let running = sample.carrying.get(pid)?;
            let path = Some(running.cgroup.clone()).filter(|path| !path.is_empty());
            let process = ProcessStatus {
                pid: *pid,
                command: running.command.clone(),
                uid: running.uid,
                user: sample.users.get(&running.uid).cloned(),
                unit: path.as_deref().and_then(unit).map(str::to_owned),
                cgroup: path,
            };
            let (volumes, since) = (self.volume_names(carrier.volumes), since(carrier, now));
            Some(CarrierStatus { volumes, since, process })
        };
        let cgroup = |(id, carrier): (&u64, &Carrier)| {
            let cgroup = sample.cgroups.get(id).cloned();
            CarrierCgroupStatus {
                volumes: self.volume_names(carrier.volumes),
                since: since(carrier, now),
                unit: cgroup.as_deref().and_then(unit).map(str::to_owned),
                cgroup,
            }
        };
        CarriersStatus {
            volumes: self.config.policy.volumes().into_iter().map(volume).collect(),
            copies: sample.carriers.copies,
            count: sample.carriers.processes.len(),
            processes: sample.carriers.processes.iter().filter_map(process).collect(),
            cgroups: sample.carriers.cgroups.iter().map(cgroup).collect(),
        }
    }

    /// The paths of the volumes in these slots; `#` and the number for one that the live policy does not name.
    fn volume_names(&self, slots: u64) -> Vec<String> {
        let facts = self.noting.volumes.facts(&self.config.policy);
        let name = |slot: u32| {
            let known = facts.iter().find(|fact| fact.slot == slot);
            known.map_or_else(|| format!("#{slot}"), |fact| fact.volume.path.to_string_lossy().into_owned())
        };
        let mut names: Vec<String> =
            (0..MAX_VOLUMES as u32).filter(|slot| slots >> slot & 1 == 1).map(name).collect();
        names.sort_unstable();
        // One that spreads in two ways has two slots.
        names.dedup();
        names
    }
}

/// Since when it is one, as the wall clock stands now.
fn since(carrier: &Carrier, now: Clocks) -> String {
    let ago = i64::try_from(now.boot_ns.saturating_sub(carrier.since_ns)).unwrap_or(i64::MAX);
    let begun = now.wall.checked_sub(SignedDuration::from_nanos(ago)).unwrap_or(now.wall);
    format!("{begun:.0}")
}
