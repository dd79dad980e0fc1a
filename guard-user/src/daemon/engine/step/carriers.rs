//! Who carries data of volumes, for the status.

use std::path::Path;

use guard_common::abi::{Carrier, MAX_VOLUMES};
use jiff::SignedDuration;

use crate::config::policy::{Relays, is_in_cgroup};
use crate::control::status::{
    CarrierCgroupStatus, CarrierStatus, CarriersStatus, ProcessStatus, RelayStatus, VolumeStatus,
};
use crate::daemon::engine::state::Engine;
use crate::events::event::unit;
use crate::exemption::Clocks;
use crate::kernel::ObservedRelay;

/// For how long a relay is shown after it was handed something, in nanoseconds: a day.
const RELAY_NS: u64 = 86_400_000_000_000;

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
            copy_events: sample.carriers.reported,
            count: sample.carriers.processes.len(),
            processes: sample.carriers.processes.iter().filter_map(process).collect(),
            cgroups: sample.carriers.cgroups.iter().map(cgroup).collect(),
            relays: self.relays(now).map(|relay| self.relay_status(relay, now)).collect(),
        }
    }

    /// To whom carriers have handed data of the live policy's volumes on within the last day.
    pub(super) fn relays(&self, now: Clocks) -> impl Iterator<Item = &ObservedRelay> {
        let observed = self.noting.volumes.observed.iter().flat_map(|observed| &observed.relays);
        let facts = self.noting.volumes.facts(&self.config.policy).into_iter();
        let live = facts.fold(0, |slots, fact| slots | 1_u64 << fact.slot);
        observed.filter(move |it| {
            it.relay.volumes & live != 0 && now.boot_ns.saturating_sub(it.relay.last_ns) < RELAY_NS
        })
    }

    /// The paths of the volumes whose data such a one was handed and that is to be reported.
    pub(super) fn volumes_told_of(&self, relay: &ObservedRelay) -> Vec<String> {
        let policy = &self.config.policy;
        let is_accepted = |path: &Path| {
            let selects = policy.pins.iter().map(|pin| &pin.select);
            let accepted = selects.filter(|select| select.volumes.iter().any(|it| it == path));
            let mut accepted = accepted.flat_map(|select| &select.accept_relays);
            accepted
                .any(|accepted| relay.cgroup.as_deref().is_some_and(|cgroup| is_in_cgroup(cgroup, accepted)))
        };
        let facts = self.noting.volumes.facts(policy).into_iter();
        let told = facts.filter(|fact| {
            let volume = &fact.volume;
            relay.relay.volumes >> fact.slot & 1 == 1
                && volume.relays == Relays::Tell
                && !is_accepted(&volume.path)
        });
        self.volume_names(told.fold(0, |slots, fact| slots | 1 << fact.slot))
    }

    fn relay_status(&self, relay: &ObservedRelay, now: Clocks) -> RelayStatus {
        let facts = self.noting.volumes.facts(&self.config.policy);
        let tagged = facts.iter().filter(|fact| fact.volume.relays == Relays::Tag);
        let tagged = tagged.fold(0, |slots, fact| slots | 1_u64 << fact.slot);
        let state = match (self.volumes_told_of(relay).is_empty(), relay.relay.volumes & tagged) {
            (false, _) => "reported",
            (true, 0) => "accepted",
            (true, _) => "carrier",
        };
        let unit_of = |cgroup: &Option<String>| cgroup.as_deref().and_then(unit).map(str::to_owned);
        RelayStatus {
            volumes: self.volume_names(relay.relay.volumes),
            state: state.to_owned(),
            since: moment(relay.relay.since_ns, now),
            last: moment(relay.relay.last_ns, now),
            pid: relay.relay.process,
            command: relay.command(),
            unit: unit_of(&relay.cgroup),
            cgroup: relay.cgroup.clone(),
            from_pid: relay.relay.from,
            from_unit: unit_of(&relay.from_cgroup),
            from_cgroup: relay.from_cgroup.clone(),
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
    moment(carrier.since_ns, now)
}

/// A moment of `CLOCK_BOOTTIME`, in nanoseconds, likewise.
fn moment(at_ns: u64, now: Clocks) -> String {
    let ago = i64::try_from(now.boot_ns.saturating_sub(at_ns)).unwrap_or(i64::MAX);
    let begun = now.wall.checked_sub(SignedDuration::from_nanos(ago)).unwrap_or(now.wall);
    format!("{begun:.0}")
}
