//! The volumes that pins select: each has a slot in the kernel's tables, which it keeps from config to config and from
//! daemon to daemon, for what carriers and sockets have are slots.

use std::collections::BTreeMap;

use guard_common::abi::MAX_VOLUMES;

use super::input::VolumeFacts;
use crate::compile::VolumeFact;
use crate::config::fingerprint;
use crate::config::policy::{Policy, Relays, Spread, Volume};
use crate::kernel::{ObservedSenders, ObservedVolumes, VolumeTarget};

/// What is known of them.
pub(super) struct Volumes {
    /// Hashes of the volumes' names by slot, 0 for none.
    slots: Vec<u64>,
    /// What notes carriers, at the last look.
    pub(super) hooks: ObservedSenders,
    /// What that knows of volumes.
    pub(super) observed: Option<ObservedVolumes>,
    /// What the hooks knew when those were looked for who had files open already.
    pub(super) searched: Option<VolumeTarget>,
    /// When that was, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) searched_ns: u64,
}

impl Volumes {
    /// Those of the slots that an earlier daemon has given.
    pub(super) fn begin(mut slots: Vec<u64>) -> Self {
        slots.resize(MAX_VOLUMES, 0);
        Self { slots, hooks: ObservedSenders::default(), observed: None, searched: None, searched_ns: 0 }
    }

    /// Gives a slot to each volume of a policy that has none. Slots of volumes that no policy names any more are given
    /// last, and never one of a volume of the live policy. Where there is none left, the policy can't be compiled.
    pub(super) fn place(&mut self, next: &Policy, live: &Policy) {
        let names = |policy: &Policy| policy.volumes().iter().map(name).collect::<Vec<u64>>();
        let (next, live) = (names(next), names(live));
        for volume in &next {
            if self.slots.contains(volume) {
                continue;
            }
            let free = self.slots.iter().position(|slot| *slot == 0);
            let slot = free
                .or_else(|| self.slots.iter().position(|slot| !next.contains(slot) && !live.contains(slot)));
            if let Some(place) = slot.and_then(|slot| self.slots.get_mut(slot)) {
                *place = *volume;
            }
        }
    }

    fn slot(&self, volume: &Volume) -> Option<u32> {
        let name = name(volume);
        let at = self.slots.iter().position(|slot| *slot == name)?;
        u32::try_from(at).ok()
    }

    /// The volumes of a policy with their slots.
    pub(super) fn facts(&self, policy: &Policy) -> Vec<VolumeFact> {
        let fact = |volume: Volume| Some(VolumeFact { slot: self.slot(&volume)?, volume });
        policy.volumes().into_iter().filter_map(fact).collect()
    }

    /// What the hooks should know, where these are the mounts; `None` where no pin selects a volume.
    pub(super) fn target(&self, policy: &Policy, mounted: &VolumeFacts) -> Option<VolumeTarget> {
        let facts = self.facts(policy);
        if facts.is_empty() {
            return None;
        }
        let mut devices = BTreeMap::new();
        for fact in &facts {
            for device in mounted.devices.get(&fact.volume.path).into_iter().flatten() {
                *devices.entry(*device).or_insert(0) |= 1 << fact.slot;
            }
        }
        let spreads = facts.iter().filter(|fact| fact.volume.spread == Spread::Cgroup);
        let spread = spreads.fold(0, |slots, fact| slots | 1 << fact.slot);
        let copied = facts.iter().filter(|fact| !fact.volume.ignores_copies);
        let copied = copied.fold(0, |slots, fact| slots | 1 << fact.slot);
        let tagged = facts.iter().filter(|fact| fact.volume.relays == Relays::Tag);
        let tagged = tagged.fold(0, |slots, fact| slots | 1 << fact.slot);
        Some(VolumeTarget {
            devices,
            spread,
            copied,
            tagged,
            init_scope: mounted.init_scope,
            slots: self.slots.clone(),
        })
    }

    /// How what the hooks know differs from what they should.
    pub(super) fn difference(&self, wanted: Option<&VolumeTarget>) -> Option<&'static str> {
        match wanted {
            None => self.hooks.is_any.then_some("noted for who reads volumes too, whom no pin goes by"),
            Some(_) if !self.hooks.is_whole => {
                Some("not all noted, without who reads volumes, whom pins go by")
            }
            Some(wanted) => {
                let known = self.observed.as_ref().map(|observed| &observed.known);
                (known != Some(wanted)).then_some("noted by volumes as they were before")
            }
        }
    }
}

/// The hash that stands for a volume; never 0, which stands for none.
fn name(volume: &Volume) -> u64 {
    let (path, copies) = (volume.path.as_os_str().as_encoded_bytes(), [u8::from(volume.ignores_copies)]);
    let text = [path, volume.spread.name().as_bytes(), &copies, volume.relays.name().as_bytes()].join(&0);
    fingerprint(&text).max(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Surroundings};

    fn policy(volumes: &[String]) -> Policy {
        let list = volumes.iter().map(|path| format!("{path:?}")).collect::<Vec<_>>().join(", ");
        let select =
            if volumes.is_empty() { "ports = [\"tcp/1\"]".to_owned() } else { format!("volumes = [{list}]") };
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"a\"\nhome = \"IE\"\naction = \"drop\"\n[pin.select]\n{select}\n"
        );
        config::parse(Path::new("a.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
    }

    fn paths(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|number| format!("/srv/{number}")).collect()
    }

    fn slots(volumes: &Volumes, policy: &Policy) -> BTreeMap<String, u32> {
        let facts = volumes.facts(policy).into_iter();
        facts.map(|fact| (fact.volume.path.display().to_string(), fact.slot)).collect()
    }

    #[test]
    fn a_volume_keeps_its_slot_from_config_to_config_and_daemon_to_daemon() {
        let mut volumes = Volumes::begin(Vec::new());
        let (nothing, first, next) = (policy(&[]), policy(&paths(0..3)), policy(&paths(2..5)));
        volumes.place(&first, &nothing);
        let before = slots(&volumes, &first);
        volumes.place(&next, &first);
        assert_eq!(slots(&volumes, &next)["/srv/2"], before["/srv/2"]);
        assert_eq!(slots(&volumes, &first), before, "also those that are not named any more");
        let mut later = Volumes::begin(volumes.slots.clone());
        later.place(&first, &nothing);
        assert_eq!(slots(&later, &first), before);
        let distinct: std::collections::BTreeSet<u32> =
            slots(&later, &first).into_values().chain(slots(&later, &next).into_values()).collect();
        assert_eq!(distinct.len(), 5);
    }

    #[test]
    fn a_slot_in_use_is_never_given_away() {
        let mut volumes = Volumes::begin(Vec::new());
        let (nothing, first, full) = (policy(&[]), policy(&paths(0..40)), policy(&paths(40..104)));
        volumes.place(&first, &nothing);
        let before = slots(&volumes, &first);
        volumes.place(&full, &first);
        assert_eq!((slots(&volumes, &first), slots(&volumes, &full).len()), (before, 24));
        // Once the first is not live any more there is room.
        volumes.place(&full, &nothing);
        assert_eq!((slots(&volumes, &first).len(), slots(&volumes, &full).len()), (0, 64));
    }

    #[test]
    fn a_spread_of_its_own_is_a_slot_of_its_own() {
        let told = Volume {
            path: "/srv/a".into(),
            spread: Spread::Cgroup,
            ignores_copies: false,
            relays: Relays::Tell,
        };
        let volumes = [
            Volume { spread: Spread::Process, ..told.clone() },
            Volume { ignores_copies: true, ..told.clone() },
            Volume { relays: Relays::Tag, ..told.clone() },
            told,
        ];
        let names = volumes.map(|volume| name(&volume));
        assert_eq!(std::collections::BTreeSet::from(names).len(), 4);
        let mut volumes = Volumes::begin(Vec::new());
        let policy = policy(&paths(0..2));
        volumes.place(&policy, &policy);
        let devices = [(Path::new("/srv/0"), vec![7, 8]), (Path::new("/srv/1"), vec![8])];
        let devices = devices.map(|(path, devices)| (path.to_owned(), devices.into_iter().collect()));
        let mounted = VolumeFacts { devices: devices.into(), init_scope: 5, blind: None };
        let target = volumes.target(&policy, &mounted).unwrap();
        assert_eq!((target.devices, target.spread), ([(7, 1), (8, 3)].into(), 3));
        assert_eq!((target.copied, target.tagged), (3, 0));
        assert_eq!(volumes.target(&super::tests::policy(&[]), &mounted), None);
    }
}
