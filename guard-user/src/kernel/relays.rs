//! Who received data of volumes that carriers handed on, as the hooks have noted it.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::{Relay, RelayKey, WayKey};

use super::api::ObservedRelay;
use super::plain::{bytes_of, read};
use super::volumes::{reading, writing};
use super::{KernelError, LinuxKernel, View, cgroup};

impl LinuxKernel {
    /// The relays, with the paths of their cgroups: looked for once, for that is a walk through all of them.
    pub(super) fn look_at_relays(&mut self) -> Result<Vec<ObservedRelay>, KernelError> {
        let relays = self.view.relays()?;
        let ids: BTreeSet<u64> =
            relays.iter().flat_map(|(key, relay)| [key.cgroup, relay.from_cgroup]).collect();
        self.relay_cgroups.retain(|id, _| ids.contains(id));
        let unknown: BTreeSet<u64> =
            ids.into_iter().filter(|id| !self.relay_cgroups.contains_key(id)).collect();
        if !unknown.is_empty() {
            let mut paths = cgroup::paths(&unknown);
            self.relay_cgroups.extend(unknown.into_iter().map(|id| (id, paths.remove(&id))));
        }
        let path = |id: u64| self.relay_cgroups.get(&id).cloned().flatten();
        let observed = |(key, relay): (RelayKey, Relay)| ObservedRelay {
            cgroup: path(key.cgroup),
            from_cgroup: path(relay.from_cgroup),
            key,
            relay,
        };
        Ok(relays.into_iter().map(observed).collect())
    }
}

impl View {
    /// The relays.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the kernel can't be asked.
    pub fn relays(&self) -> Result<BTreeMap<RelayKey, Relay>, KernelError> {
        let mut relays = BTreeMap::new();
        let each = self.maps.relays.for_each(|key, value| {
            relays.extend(read::<RelayKey>(key).zip(read::<Relay>(value)));
        });
        each.map_err(reading("RELAYS"))?;
        Ok(relays)
    }

    /// Forgets relays, and what is on its way to them. What Unix sockets have stays with them.
    pub(super) fn forget_relays(&self) -> Result<(), KernelError> {
        for relay in self.relays()?.keys() {
            self.maps.relays.remove(bytes_of(relay)).map_err(writing("RELAYS"))?;
        }
        let mut ways: Vec<WayKey> = Vec::new();
        let each = self.maps.ways.for_each(|key, _| ways.extend(read::<WayKey>(key)));
        each.map_err(reading("WAYS"))?;
        for way in ways {
            self.maps.ways.remove(bytes_of(&way)).map_err(writing("WAYS"))?;
        }
        Ok(())
    }
}
