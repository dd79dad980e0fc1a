//! Whether what decides in the kernel is still what this process has written there: root can write into every map.
//!
//! What decides is held by value: the live word and the small tables at each look, the policy's table and one of the geo
//! tables at a pace of their own. Slots of tables are filled again by later generations, so that no map can be frozen
//! (`BPF_MAP_FREEZE`), which would refuse the daemon's own writes too; one that somebody else has frozen is told. What is of
//! no generation is set back at once; a table of the live one is left to the next generation, which goes to the other slot.
//! Counters, flows, events and scratch memory change with every packet and are not held; of what only grows it is held that it
//! does ([`uses`]).

mod differing;
mod uses;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use guard_common::abi::{ABI_VERSION, Control};
use guard_common::interval::build::GeoImage;

use super::api::ObservedVolumes;
use super::clock::boot_ns;
use super::frozen::is_frozen;
use super::maps::{FIRST, Maps};
use super::plain::bytes_of;
use super::raw::Map;
use super::tampered::{Mending, Tampered};
use super::written::{GEO_TABLES, Written};
use super::{KernelError, LinuxKernel, Observed};
use differing::Differing;

/// How long after one of the geo tables the next one is held against what was written. There are five, of 14 MiB together: to
/// read one takes some milliseconds.
const GEO_PAUSE: Duration = Duration::from_millis(11_900);
/// Likewise of the policy's table, which is half a megabyte.
const POLICY_PAUSE: Duration = Duration::from_millis(1_900);
/// Likewise of whether maps are frozen: a small file is read of each. Nothing sets it back, so that it is told and no more.
const FROZEN_PAUSE: Duration = Duration::from_millis(4_900);

impl LinuxKernel {
    /// Holds all of it against the kernel, but for what other parts of the look read anyway. What can't be read is said in
    /// what could not be looked at.
    pub(super) fn watch(&mut self, observed: &mut Observed) {
        let mut blind = |what: &str, error: KernelError| {
            observed.blind.push(format!("whether {what} is as it was written can't be looked at: {error}"));
        };
        // First: by it all others are found.
        self.watch_live_word().unwrap_or_else(|error| blind("the live word", error));
        self.watch_held().unwrap_or_else(|error| blind("what orders hold closed", error));
        self.watch_named().unwrap_or_else(|error| blind("whether sockets were named", error));
        match self.view.watch_mark() {
            Ok(found) => self.written.found.extend(found),
            Err(error) => blind("the mark of the audit trail", error),
        }
        if self.written.asks_for_addresses() {
            match self.addresses.watch(&self.view.maps.host_addresses) {
                Ok(found) => self.written.found.extend(found),
                Err(error) => blind("what is known of the host's addresses", error),
            }
        }
        // Last, for what has a pace of its own is looked at at once where anything was found.
        let now = Instant::now();
        self.watch_policy(now).unwrap_or_else(|error| blind("the policy's table", error));
        self.watch_geo(now).unwrap_or_else(|error| blind("the geo tables", error));
        // Behind these, for it is found at each look from then on.
        self.watch_frozen(now);
    }

    /// Looks which maps are frozen, where it is time for that. A map that is stays so.
    fn watch_frozen(&mut self, now: Instant) {
        let Written { frozen, frozen_due, found, .. } = &mut self.written;
        if frozen_due.is_none_or(|due| now >= due) {
            *frozen_due = now.checked_add(FROZEN_PAUSE);
            let all = self.view.maps.each();
            frozen.extend(all.filter(|(_, map)| is_frozen(map.as_fd())).map(|(name, _)| name));
        }
        found.extend(frozen.iter().copied().map(Tampered::frozen));
    }

    fn watch_live_word(&mut self) -> Result<(), KernelError> {
        let wanted = Control { live: self.live.0, abi: ABI_VERSION };
        let mut found = [0; size_of::<Control>()];
        read_into(&self.view.maps.control, "CONTROL", FIRST, &mut found)?;
        if found == bytes_of(&wanted) {
            return Ok(());
        }
        let set = self.view.maps.set_live(self.live);
        // What began by the other word may still be running when its slots are filled.
        self.quiet = false;
        let first =
            format!("the live word {:#x}", u32::from_ne_bytes([found[0], found[1], found[2], found[3]]));
        self.written.found.push(Tampered::set_back("CONTROL", (1, first), set));
        Ok(())
    }

    /// Holds the policy's table, where it is time for that.
    fn watch_policy(&mut self, now: Instant) -> Result<(), KernelError> {
        let Written { policy, policy_due, policy_found, policy_is_told, found, .. } = &mut self.written;
        let Some(written) = policy else { return Ok(()) };
        if found.is_empty() && policy_due.is_some_and(|due| now < due) {
            return Ok(());
        }
        *policy_due = now.checked_add(POLICY_PAUSE);
        read_anew(&self.view.maps.policy, "POLICY", self.live.policy_slot(), policy_found)?;
        let differing = Differing::of(policy_found, written);
        *policy_is_told |= differing.is_some();
        found.extend(differing.map(|it| Tampered {
            table: "POLICY",
            entries: it.words,
            first: it.first_of_policy(),
            mending: Mending::NextGeneration,
            right_ns: None,
        }));
        Ok(())
    }

    /// Holds the next of the geo tables, where it is time for one: each is megabytes.
    fn watch_geo(&mut self, now: Instant) -> Result<(), KernelError> {
        let Some(geo) = &self.written.geo else { return Ok(()) };
        // Who has changed something else may have changed these too.
        let count = match (self.written.found.is_empty(), self.written.geo_due) {
            (false, _) => GEO_TABLES,
            (true, Some(due)) if now < due => return Ok(()),
            (true, _) => 1,
        };
        let tables = geo_tables(&self.view.maps, geo);
        for _ in 0..count {
            let at = self.written.next_geo;
            let (Some((name, map, wanted)), Some(right_ns)) =
                (tables.get(at), self.written.geo_right_ns.get_mut(at))
            else {
                return Ok(());
            };
            self.written.next_geo = (at + 1) % GEO_TABLES;
            let Some(differing) = Differing::of(&read(map, name, self.live.geo_slot())?, wanted) else {
                *right_ns = boot_ns();
                continue;
            };
            if let Some(is_told) = self.written.geo_is_told.get_mut(at) {
                *is_told = true;
            }
            self.written.found.push(Tampered {
                table: name,
                entries: differing.words,
                first: differing.first_word(),
                mending: Mending::NextGeo,
                right_ns: Some(*right_ns),
            });
        }
        self.written.geo_due = now.checked_add(GEO_PAUSE);
        Ok(())
    }

    /// Holds the tables that the last publication has left against what was written there: what judged packets until then,
    /// and no look may have seen. They are read once nothing is judged by them any more, so that no order waits for it.
    pub(super) fn watch_left(&mut self) {
        let Some(left) = self.written.left.take() else { return };
        let mut found = Vec::new();
        let mut tell = |table, differing: Differing, first, right_ns| {
            let mending = Mending::SetBack;
            found.push(Tampered { table, entries: differing.words, first, mending, right_ns });
        };
        let maps = &self.view.maps;
        // What can't be read now is no worse than what was not looked at: the next generation fills it anew, or fails and
        // says so.
        let of_policy = || read(&maps.policy, "POLICY", left.live.policy_slot()).ok();
        if let Some(written) = &left.policy
            && let Some(differing) = of_policy().and_then(|found| Differing::of(&found, written))
        {
            let first = differing.first_of_policy();
            tell("POLICY", differing, first, None);
        }
        let tables = left.geo.as_deref().map(|geo| geo_tables(maps, geo));
        let told = left.geo_is_told.iter().zip(left.geo_right_ns);
        for ((name, map, wanted), (is_told, right_ns)) in tables.into_iter().flatten().zip(told) {
            if *is_told {
                continue;
            }
            let found = read(map, name, left.live.geo_slot()).ok();
            if let Some(differing) = found.and_then(|found| Differing::of(&found, wanted)) {
                let first = differing.first_word();
                tell(name, differing, first, Some(right_ns));
            }
        }
        self.written.found.extend(found);
    }

    fn watch_held(&mut self) -> Result<(), KernelError> {
        let found = self.view.held()?;
        let differing: Vec<u16> = found.symmetric_difference(&self.written.held).copied().collect();
        let Some(first) = differing.first() else { return Ok(()) };
        let set = |slot: &u16| self.view.hold(*slot, self.written.held.contains(slot));
        let outcome = differing.iter().try_for_each(set);
        let first = (differing.len(), format!("slot {first}"));
        self.written.found.push(Tampered::set_back("HELD", first, outcome));
        Ok(())
    }

    /// Once the holders of sockets are named, only this process says that they are not.
    fn watch_named(&mut self) -> Result<(), KernelError> {
        let mut found = [0; size_of::<u64>()];
        read_into(&self.view.maps.sockets_named, "SOCKETS_NAMED", FIRST, &mut found)?;
        let is_named = u64::from_ne_bytes(found) != 0;
        if self.written.are_named && !is_named {
            let set = self.view.are_named(true);
            self.written.found.push(Tampered::set_back("SOCKETS_NAMED", (1, "word 0".to_owned()), set));
        }
        self.written.are_named |= is_named;
        Ok(())
    }

    /// Sets back to whom ways past the hooks are not refused; `found` is what the kernel has.
    pub(super) fn watch_allowed(&mut self, found: &mut BTreeSet<u64>) {
        let Some(written) = &self.written.allowed else { return };
        let differing: Vec<u64> = found.symmetric_difference(written).copied().collect();
        let Some(first) = differing.first() else { return };
        let (first, written) = ((differing.len(), format!("cgroup {first}")), written.clone());
        let outcome = self.allow(&written);
        if outcome.is_ok() {
            *found = written;
        }
        self.written.found.push(Tampered::set_back("BYPASS_ALLOWED", first, outcome));
    }

    /// Sets back what the hooks of carriers are to know; `found` is what they do.
    pub(super) fn watch_volumes(&mut self, found: &mut ObservedVolumes) -> Result<(), KernelError> {
        let Some(written) = self.written.volumes.clone() else { return Ok(()) };
        let has_bits = self.view.has_device_bits_of(&written)?;
        let known = &found.known;
        let differing = [
            ("VOLUMES", known.devices != written.devices),
            ("VOLUME_SLOTS", known.slots != written.slots),
            ("DEVICE_BITS", !has_bits),
            (
                "CARRIER_CONTROL",
                (known.spread, known.copied, known.tagged, known.init_scope)
                    != (written.spread, written.copied, written.tagged, written.init_scope),
            ),
        ];
        let differing: Vec<&'static str> =
            differing.into_iter().filter(|(_, differs)| *differs).map(|(table, _)| table).collect();
        if differing.is_empty() {
            return Ok(());
        }
        let outcome = self.set_volumes(&written).map_err(|error| error.to_string());
        if outcome.is_ok() {
            found.known = written;
        }
        let tampered = differing.into_iter().map(|table| {
            Tampered::set_back(table, (1, "what a volume is known by".to_owned()), outcome.clone())
        });
        self.written.found.extend(tampered);
        Ok(())
    }
}

/// The geo tables with their maps, in the order in which they are held.
fn geo_tables<'a>(maps: &'a Maps, geo: &'a GeoImage) -> [(&'static str, &'a Map, &'a [u8]); GEO_TABLES] {
    [
        ("V4_NODES", &maps.v4_nodes, bytes_of(&*geo.v4_nodes)),
        ("V4_ENTRIES", &maps.v4_entries, bytes_of(&*geo.v4_entries)),
        ("V6_NODES", &maps.v6_nodes, bytes_of(&*geo.v6_nodes)),
        ("V6_ENTRIES", &maps.v6_entries, bytes_of(&*geo.v6_entries)),
        ("V6_DETAIL", &maps.detail, bytes_of(&*geo.detail)),
    ]
}

/// The value of a slot.
fn read(map: &Map, name: &'static str, slot: u32) -> Result<Vec<u8>, KernelError> {
    let mut bytes = Vec::new();
    read_anew(map, name, slot, &mut bytes)?;
    Ok(bytes)
}

/// Likewise in the place of what a buffer has.
fn read_anew(map: &Map, name: &'static str, slot: u32, bytes: &mut Vec<u8>) -> Result<(), KernelError> {
    let found = map.lookup_anew(&slot.to_ne_bytes(), bytes);
    found.map_err(|source| KernelError::Map { what: "read", map: name, source })
}

fn read_into(map: &Map, name: &'static str, key: [u8; 4], bytes: &mut [u8]) -> Result<(), KernelError> {
    map.lookup(&key, bytes).map_err(|source| KernelError::Map { what: "read", map: name, source })
}
