//! The maps of a shadow's programs: a candidate's tables, and what came of them.

use std::os::fd::AsFd as _;
use std::sync::atomic::{Ordering, fence};

use aya::Ebpf;
use guard_common::abi::shadow::{
    SHADOW_LOST, SHADOW_SAME, ShadowFlow, ShadowFlowKey, ShadowKey, ShadowTarget, shadow_index,
};
use guard_common::abi::{ExemptionUse, FailsafeUse, Hook, Live, PolicyTable};

use super::KernelError;
use super::elements::{each, each_count};
use super::fill::fill;
use super::grace::GracePeriod;
use super::maps::FIRST;
use super::plain::{bytes_of, read};
use super::raw::Map;
use super::shadow::{ShadowCounts, ShadowTables};

/// The maps of a shadow's programs. They are freed with it and the programs.
#[derive(Debug)]
pub struct ShadowReader {
    target: Map,
    policy: Map,
    uses: Map,
    failsafe: Map,
    counts: Map,
    differences: Map,
    flows: Map,
    live: Live,
}

impl ShadowReader {
    /// The maps of a loaded object, whose tables are filled.
    pub(super) fn of(ebpf: &Ebpf, tables: &ShadowTables) -> Result<Self, KernelError> {
        let map = |name| map(ebpf, name);
        let reader = Self {
            target: map("SHADOW_TARGET")?,
            policy: map("SHADOW_POLICY")?,
            uses: map("SHADOW_USE")?,
            failsafe: map("SHADOW_FAILSAFE")?,
            counts: map("SHADOW_COUNTS")?,
            differences: map("SHADOW_DIFF")?,
            flows: map("SHADOW_FLOWS")?,
            live: Live::of_shadow(0),
        };
        let geo = &tables.geo;
        fill(&reader.policy, "SHADOW_POLICY", 0, bytes_of(&*tables.policy))?;
        fill(&map("SHADOW_V4_NODES")?, "SHADOW_V4_NODES", 0, bytes_of(&*geo.v4_nodes))?;
        fill(&map("SHADOW_V4_ENTRIES")?, "SHADOW_V4_ENTRIES", 0, bytes_of(&*geo.v4_entries))?;
        fill(&map("SHADOW_V6_NODES")?, "SHADOW_V6_NODES", 0, bytes_of(&*geo.v6_nodes))?;
        fill(&map("SHADOW_V6_ENTRIES")?, "SHADOW_V6_ENTRIES", 0, bytes_of(&*geo.v6_entries))?;
        fill(&map("SHADOW_V6_DETAIL")?, "SHADOW_V6_DETAIL", 0, bytes_of(&*geo.detail))?;
        Ok(reader)
    }

    /// Has packets judged until this moment of `CLOCK_BOOTTIME`, in nanoseconds.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn judge_until(&self, deadline_ns: u64) -> Result<(), KernelError> {
        let target = ShadowTarget { deadline_ns, live: self.live.0, pad: 0 };
        let written = self.target.update(&FIRST, bytes_of(&target));
        written.map_err(|source| KernelError::Map { what: "write", map: "SHADOW_TARGET", source })
    }

    /// Takes over what exemptions have let through, of these slots.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn set_uses(&self, uses: &[ExemptionUse], slots: &[u16]) -> Result<(), KernelError> {
        for slot in slots {
            let used = uses.get(usize::from(*slot)).copied().unwrap_or_default();
            let written = self.uses.update(&u32::from(*slot).to_ne_bytes(), bytes_of(&used));
            written.map_err(|source| KernelError::Map { what: "write", map: "SHADOW_USE", source })?;
        }
        Ok(())
    }

    /// Takes over what failsafe rules have let pass in this minute, of live rules by the numbers of the candidate's.
    pub(super) fn set_failsafe_uses(
        &self,
        uses: &[FailsafeUse],
        pairs: &[(u32, u32)],
    ) -> Result<(), KernelError> {
        for (live, then) in pairs {
            let used = uses.get(*live as usize).copied().unwrap_or_default();
            let written = self.failsafe.update(&then.to_ne_bytes(), bytes_of(&used));
            written.map_err(|source| KernelError::Map { what: "write", map: "SHADOW_FAILSAFE", source })?;
        }
        Ok(())
    }

    /// What the candidate has charged to an exemption, with what was taken over.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn exemption_use(&self, slot: u16) -> Result<ExemptionUse, KernelError> {
        let mut bytes = [0; size_of::<ExemptionUse>()];
        let found = self.uses.lookup(&u32::from(slot).to_ne_bytes(), &mut bytes);
        found.map_err(|source| KernelError::Map { what: "read", map: "SHADOW_USE", source })?;
        Ok(read(&bytes).unwrap_or_default())
    }

    /// Puts another table in the place of the policy's. Those that judge by the one before it go on.
    pub(super) fn republish(&mut self, policy: &PolicyTable, grace: &GracePeriod) -> Result<(), KernelError> {
        // Whoever began by the slot that is filled now has ended.
        let waited = grace.wait();
        waited.map_err(|source| KernelError::GracePeriod { generation: policy.generation, source })?;
        let next = Live::of_shadow(self.live.policy_slot() ^ 1);
        fill(&self.policy, "SHADOW_POLICY", next.policy_slot(), bytes_of(policy))?;
        // As for a generation: `publish`.
        fence(Ordering::SeqCst);
        self.live = next;
        Ok(())
    }

    /// How packets were judged so far.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn counts(&self) -> Result<ShadowCounts, KernelError> {
        let mut counts = ShadowCounts::default();
        each_count(&self.counts, "SHADOW_COUNTS", |key, count| {
            for hook in Hook::OF_PACKETS {
                let is = |what| read::<u32>(key) == Some(shadow_index(what, hook as u8));
                if is(SHADOW_SAME) {
                    counts.same[hook as usize] = count;
                } else if is(SHADOW_LOST) {
                    counts.lost[hook as usize] = count;
                }
            }
        })?;
        each_count(&self.differences, "SHADOW_DIFF", |key, count| {
            counts.differences.extend(read::<ShadowKey>(key).map(|key| (key, count)));
        })?;
        counts.differences.sort_unstable_by_key(|(key, _)| *key);
        Ok(counts)
    }

    /// The flows of which the verdicts differ, as far as they are kept.
    ///
    /// # Errors
    /// [`KernelError::Map`] where the kernel refuses.
    pub fn flows(&self) -> Result<Vec<(ShadowFlowKey, ShadowFlow)>, KernelError> {
        let mut flows = Vec::new();
        each(&self.flows, "SHADOW_FLOWS", |key, value| {
            flows.extend(read::<ShadowFlowKey>(key).zip(read::<ShadowFlow>(value)));
        })?;
        Ok(flows)
    }

    /// The ids of its maps, by which the kernel has them.
    #[must_use]
    pub fn map_ids(&self) -> Vec<u32> {
        let all = [
            &self.target,
            &self.policy,
            &self.uses,
            &self.failsafe,
            &self.counts,
            &self.differences,
            &self.flows,
        ];
        all.map(Map::id).to_vec()
    }
}

/// A map of a loaded object, by a descriptor of its own.
fn map(ebpf: &Ebpf, name: &'static str) -> Result<Map, KernelError> {
    use aya::maps::Map::{Array, LruHashMap, PerCpuArray, PerCpuHashMap};
    let missing = || KernelError::Embedded { what: format!("the map `{name}`") };
    let data = match ebpf.map(name).ok_or_else(missing)? {
        Array(data) | LruHashMap(data) | PerCpuArray(data) | PerCpuHashMap(data) => data,
        _ => return Err(missing()),
    };
    let map = data.fd().as_fd().try_clone_to_owned().and_then(Map::from_fd);
    map.map_err(|source| KernelError::Map { what: "open", map: name, source })
}
