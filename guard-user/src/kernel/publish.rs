//! Making a new generation live, so that every packet is judged by exactly one.

use std::fmt;
use std::time::{Duration, Instant};

use guard_common::abi::{Live, PolicyTable};
use guard_common::interval::build::GeoImage;

use super::plain::bytes_of;
use super::raw::Map;
use super::{KernelError, LinuxKernel, micros};

/// A generation that was made live, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The generation.
    pub generation: u64,
    /// Filling the idle tables and holding them against what was written.
    pub fill: Duration,
    /// Changing the live word: the next packet is judged by the new tables.
    pub flip: Duration,
    /// Waiting for packets that were still being judged by the old tables.
    pub wait: Duration,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "generation {} (fill {}, flip {}, wait {})",
            self.generation,
            micros(self.fill),
            micros(self.flip),
            micros(self.wait)
        )
    }
}

impl LinuxKernel {
    /// Makes a new generation live: fills the idle tables, reads all of them back and compares, flips the
    /// live word, and waits until no packet is judged by the old tables any more. `None` for `geo` keeps
    /// the geo tables as they are.
    ///
    /// When it returns `Ok`, the old generation judges nothing: an exemption that the new one lacks lets
    /// no further packet through. Whatever fails before the flip leaves the old generation live.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoGeo`] for a first generation without geo tables; [`KernelError::OldGeneration`]
    /// where `policy.generation` is not above [`generation`](LinuxKernel::generation);
    /// [`KernelError::ReadBack`] and [`KernelError::Map`] with the old generation still live;
    /// [`KernelError::GracePeriod`] with the new one live, but the old one perhaps still in use.
    pub fn publish(
        &mut self,
        policy: &PolicyTable,
        geo: Option<&GeoImage>,
    ) -> Result<Published, KernelError> {
        if geo.is_none() && !self.live.is_loaded() {
            return Err(KernelError::NoGeo);
        }
        if policy.generation <= self.generation {
            return Err(KernelError::OldGeneration { given: policy.generation, live: self.generation });
        }
        let next = self.idle(geo.is_some());
        let begin = Instant::now();
        self.fill(next, policy, geo)?;
        let filled = Instant::now();
        self.view.maps.set_live(next)?;
        let flipped = Instant::now();
        self.live = next;
        self.generation = policy.generation;
        self.grace
            .wait()
            .map_err(|source| KernelError::GracePeriod { generation: policy.generation, source })?;
        Ok(Published {
            generation: policy.generation,
            fill: filled - begin,
            flip: flipped - filled,
            wait: flipped.elapsed(),
        })
    }

    /// The live word to come: the slots that no packet reads now. The first generation takes slots 0.
    fn idle(&self, with_geo: bool) -> Live {
        if !self.live.is_loaded() {
            return Live::new(0, 0);
        }
        let geo_slot = if with_geo { self.live.geo_slot() ^ 1 } else { self.live.geo_slot() };
        Live::new(self.live.policy_slot() ^ 1, geo_slot)
    }

    fn fill(&self, next: Live, policy: &PolicyTable, geo: Option<&GeoImage>) -> Result<(), KernelError> {
        let maps = &self.view.maps;
        fill(&maps.policy, "POLICY", next.policy_slot(), bytes_of(policy))?;
        let Some(geo) = geo else { return Ok(()) };
        let slot = next.geo_slot();
        fill(&maps.v4_index, "V4_INDEX", slot, bytes_of(&*geo.v4_index))?;
        fill(&maps.v4_entries, "V4_ENTRIES", slot, bytes_of(&*geo.v4_entries))?;
        fill(&maps.v6_index, "V6_INDEX", slot, bytes_of(&*geo.v6_index))?;
        fill(&maps.v6_entries, "V6_ENTRIES", slot, bytes_of(&*geo.v6_entries))?;
        fill(&maps.detail, "V6_DETAIL", slot, bytes_of(&*geo.detail))
    }
}

/// Writes one slot of a map and holds every byte of it against what was written.
fn fill(map: &Map, name: &'static str, slot: u32, bytes: &[u8]) -> Result<(), KernelError> {
    let key = slot.to_ne_bytes();
    map.update(&key, bytes).map_err(|source| KernelError::Map { what: "write", map: name, source })?;
    let mut back = vec![0; bytes.len()];
    map.lookup(&key, &mut back).map_err(|source| KernelError::Map {
        what: "read back",
        map: name,
        source,
    })?;
    if back == bytes { Ok(()) } else { Err(KernelError::ReadBack { map: name }) }
}
