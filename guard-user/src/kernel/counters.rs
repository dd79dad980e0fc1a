//! Counters, flow records and exemptions' use, summed over the CPUs.

use guard_common::abi::{
    BYPASS_COUNTS, Count, ExemptionUse, FailsafeUse, FlowKey, FlowRecord, Hook, Loss, MAX_EXEMPTIONS,
    MAX_FAILSAFES, OutcomeKey, total_at,
};
use guard_common::jurisdiction::{self, Jurisdiction};
use guard_common::verdict::{Reason, Verdict};

use super::counts::{Counters, OutcomeCount, PermittedCount, TotalCount};
use super::elements::{by_cpu, each, each_count};
use super::plain::{bytes_of, read};
use super::{KernelError, LinuxKernel, View};

impl View {
    /// The counters, of one moment each row.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where a map cannot be read; [`KernelError::Damaged`] where a key in it means
    /// nothing.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        Ok(Counters {
            totals: self.totals()?,
            permitted: self.permitted()?,
            outcomes: self.outcomes()?,
            lost: self.lost()?,
            unplaced: sum(self.unplaced()?),
            untagged: self.untagged()?,
            bypasses: self.bypasses()?,
        })
    }

    /// The totals alone: by hook, verdict and reason.
    ///
    /// # Errors
    ///
    /// As [`counters`](View::counters).
    pub fn totals(&self) -> Result<Vec<TotalCount>, KernelError> {
        let mut rows = Vec::new();
        let mut unknown = None;
        each_count(&self.maps.totals, "TOTALS", |key, count| {
            let index = read::<u32>(key).unwrap_or(u32::MAX);
            match total_at(index) {
                Some((hook, verdict, reason)) => rows.push(TotalCount { hook, verdict, reason, count }),
                None => unknown = Some(index),
            }
        })?;
        known("TOTALS", unknown.map(|index| format!("a count at {index}")))?;
        Ok(rows)
    }

    /// The id of the map that counts them, which no other map of this boot has.
    #[must_use]
    pub fn totals_id(&self) -> u32 {
        self.maps.totals.id()
    }

    fn permitted(&self) -> Result<Vec<PermittedCount>, KernelError> {
        let mut rows = Vec::new();
        let mut unknown = None;
        each_count(&self.maps.permitted, "PERMITTED", |key, count| {
            let index = read::<u32>(key).map_or(usize::MAX, |index| index as usize);
            let pin = u8::try_from(index / jurisdiction::COUNT).ok();
            match (pin, from(index % jurisdiction::COUNT, Jurisdiction::from_index)) {
                (Some(pin), Some(jurisdiction)) => rows.push(PermittedCount { pin, jurisdiction, count }),
                _ => unknown = Some(index),
            }
        })?;
        known("PERMITTED", unknown.map(|index| format!("a count at {index}")))?;
        Ok(rows)
    }

    fn outcomes(&self) -> Result<Vec<OutcomeCount>, KernelError> {
        let mut rows = Vec::new();
        let mut unknown = None;
        each_count(&self.maps.outcomes, "OUTCOMES", |key, count| {
            match read::<OutcomeKey>(key).map(|key| outcome(key, count)) {
                Some(Some(row)) => rows.push(row),
                _ => unknown = Some(format!("a count of {key:?}")),
            }
        })?;
        known("OUTCOMES", unknown)?;
        rows.sort_by_key(|row| {
            (row.pin, row.hook as u8, row.verdict as u8, row.reason as u8, row.jurisdiction.index())
        });
        Ok(rows)
    }

    /// What the kernel program could not keep, over all CPUs, by [`Loss`].
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn lost(&self) -> Result<[u64; Loss::COUNT], KernelError> {
        let mut lost = [0; Loss::COUNT];
        each(&self.maps.lost, "LOST", |key, value| {
            let at = read::<u32>(key).map_or(usize::MAX, |at| at as usize);
            if let Some(sum) = lost.get_mut(at) {
                *sum = by_cpu::<u64>(value).fold(0, u64::wrapping_add);
            }
        })?;
        Ok(lost)
    }

    /// Packets that each pin tagged only because their cgroup or interface was not known yet: it was made after the daemon
    /// last looked, and a cgroup where one that the pin selects is or was. Pins without such a packet are left out.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn unplaced(&self) -> Result<Vec<(u8, Count)>, KernelError> {
        let mut rows = Vec::new();
        each_count(&self.maps.unplaced, "UNPLACED", |key, count| {
            rows.extend(read::<u32>(key).and_then(|pin| u8::try_from(pin).ok()).map(|pin| (pin, count)));
        })?;
        Ok(rows)
    }

    /// What failsafe rules with a budget have let pass, by element.
    pub(super) fn failsafe_elements(&self) -> Result<Vec<FailsafeUse>, KernelError> {
        let mut uses = vec![FailsafeUse::default(); MAX_FAILSAFES];
        each(&self.maps.failsafe_use, "FAILSAFE_USE", |key, value| {
            let at = read::<u32>(key).map_or(usize::MAX, |at| at as usize);
            if let (Some(known), Some(found)) = (uses.get_mut(at), read::<FailsafeUse>(value)) {
                *known = found;
            }
        })?;
        Ok(uses)
    }

    /// How often processes asked for ways past the hooks, by [`guard_common::abi::bypass_index`].
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn bypasses(&self) -> Result<[u64; BYPASS_COUNTS], KernelError> {
        let mut counts = [0; BYPASS_COUNTS];
        each(&self.maps.bypasses, "BYPASSES", |key, value| {
            let at = read::<u32>(key).map_or(usize::MAX, |at| at as usize);
            if let (Some(count), Some(found)) = (counts.get_mut(at), read::<u64>(value)) {
                *count = found;
            }
        })?;
        Ok(counts)
    }

    /// The flow records, in no order.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map cannot be read.
    pub fn flows(&self) -> Result<Vec<(FlowKey, FlowRecord)>, KernelError> {
        let mut flows = Vec::new();
        self.for_each_flow(&mut |key, record| flows.push((key, record)))?;
        Ok(flows)
    }

    /// Shows every flow record that is there from begin to end, in no order. Others may be left out.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map cannot be read, after some of them perhaps.
    pub fn for_each_flow(&self, shown: &mut dyn FnMut(FlowKey, FlowRecord)) -> Result<(), KernelError> {
        each(&self.maps.flows, "FLOWS", |key, value| {
            if let (Some(key), Some(record)) = (read::<FlowKey>(key), read::<FlowRecord>(value)) {
                shown(key, record);
            }
        })
    }

    /// The most flow records that there can be.
    #[must_use]
    pub fn flow_capacity(&self) -> usize {
        self.maps.flows.shape().max_entries as usize
    }

    /// What the exemption in this slot has let through since it was last reset.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map cannot be read, or there is no such slot.
    pub fn exemption_use(&self, slot: u16) -> Result<ExemptionUse, KernelError> {
        Ok(whole([self.look_at_use(slot)?, self.look_at_use(slot)?, self.look_at_use(slot)?]))
    }

    fn look_at_use(&self, slot: u16) -> Result<ExemptionUse, KernelError> {
        let error = |source| KernelError::Map { what: "read", map: "EXEMPTION_USE", source };
        let mut bytes = [0; size_of::<ExemptionUse>()];
        self.maps.exemption_use.lookup(&u32::from(slot).to_ne_bytes(), &mut bytes).map_err(error)?;
        read(&bytes).ok_or_else(|| KernelError::Damaged {
            map: "EXEMPTION_USE",
            found: format!("{} bytes", bytes.len()),
        })
    }

    /// What the exemptions of all slots have let through, by slot.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map cannot be read.
    pub fn exemption_uses(&self) -> Result<Vec<ExemptionUse>, KernelError> {
        let (first, second, third) = (self.look_at_uses()?, self.look_at_uses()?, self.look_at_uses()?);
        Ok(first.into_iter().zip(second).zip(third).map(|((a, b), c)| whole([a, b, c])).collect())
    }

    fn look_at_uses(&self) -> Result<Vec<ExemptionUse>, KernelError> {
        let mut uses = Vec::with_capacity(MAX_EXEMPTIONS);
        each(&self.maps.exemption_use, "EXEMPTION_USE", |_, value| uses.extend(read::<ExemptionUse>(value)))?;
        Ok(uses)
    }
}

impl LinuxKernel {
    /// Begins a slot's use anew, at `used`: before a generation in which the slot belongs to another
    /// exemption, or one that was used on another host or before the maps were made.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map cannot be written, or there is no such slot.
    pub fn reset_exemption_use(&mut self, slot: u16, used: ExemptionUse) -> Result<(), KernelError> {
        self.view
            .maps
            .exemption_use
            .update(&u32::from(slot).to_ne_bytes(), bytes_of(&used))
            .map_err(|source| KernelError::Map { what: "write", map: "EXEMPTION_USE", source })?;
        if let Some(known) = self.written.uses.get_mut(usize::from(slot)) {
            *known = used;
        }
        Ok(())
    }
}

/// An account by three looks at it, one after the other. The kernel may copy a value byte by byte (`memcpy` by
/// `rep movsb`), so that a look in the middle of a carry reads a number that never was, far too high perhaps. What
/// passed only grows: where one look of three is wrong, the middle number is still one between what the first and
/// the last of them should have read.
fn whole(looks: [ExemptionUse; 3]) -> ExemptionUse {
    let middle = |number: fn(&ExemptionUse) -> u64| {
        let mut numbers = looks.each_ref().map(number);
        numbers.sort_unstable();
        numbers[1]
    };
    ExemptionUse {
        bytes: middle(|look| look.bytes),
        packets: middle(|look| look.packets),
        charged: middle(|look| look.charged),
    }
}

fn from<T>(number: usize, known: impl FnOnce(u8) -> Option<T>) -> Option<T> {
    u8::try_from(number).ok().and_then(known)
}

fn known(map: &'static str, unknown: Option<String>) -> Result<(), KernelError> {
    unknown.map_or(Ok(()), |found| Err(KernelError::Damaged { map, found }))
}

fn outcome(key: OutcomeKey, count: Count) -> Option<OutcomeCount> {
    Some(OutcomeCount {
        pin: key.pin,
        jurisdiction: Jurisdiction::from_index(key.jurisdiction)?,
        hook: Hook::from_index(key.hook_verdict >> 4)?,
        verdict: Verdict::from_index(key.hook_verdict & 0x0f)?,
        reason: Reason::from_index(key.reason)?,
        count,
    })
}

fn sum(rows: Vec<(u8, Count)>) -> Count {
    rows.into_iter().fold(Count::default(), |sum, (_, count)| Count {
        packets: sum.packets.saturating_add(count.packets),
        bytes: sum.bytes.saturating_add(count.bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_in_the_middle_of_a_carry_is_not_believed() {
        // 0x00ff_ffff goes to 0x0100_0000: read with the high byte of one and the rest of the other.
        let (before, after) = (0x00ff_ffff, 0x0100_0000);
        let look = |bytes| ExemptionUse { bytes, packets: bytes / 100, charged: bytes };
        for torn in [0x01ff_ffff, 0x0000_0000] {
            for place in 0..3 {
                let mut looks = [look(before - 1), look(before), look(after)];
                looks[place] = look(torn);
                let whole = whole(looks);
                assert!((before - 1..=after).contains(&whole.bytes), "{whole:?} of {looks:?}");
                assert_eq!(whole.packets, whole.bytes / 100);
            }
        }
    }

    #[test]
    fn values_of_all_cpus_are_summed() {
        let mut bytes = Vec::new();
        for cpu in 1..=3 {
            bytes.extend_from_slice(bytes_of(&Count { packets: cpu, bytes: 100 * cpu }));
        }
        assert_eq!(by_cpu::<Count>(&bytes).map(|count| count.packets).sum::<u64>(), 6);
        assert_eq!(by_cpu::<Count>(&bytes).map(|count| count.bytes).sum::<u64>(), 600);
    }

    #[test]
    fn outcome_keys_mean_what_the_kernel_program_writes() {
        let key = OutcomeKey {
            pin: 7,
            jurisdiction: Jurisdiction::UNKNOWN.index(),
            hook_verdict: (Hook::Ingress as u8) << 4 | Verdict::Flag as u8,
            reason: Reason::PlaceUnknown as u8,
        };
        let row = outcome(key, Count::default()).unwrap();
        assert_eq!((row.hook, row.verdict, row.reason), (Hook::Ingress, Verdict::Flag, Reason::PlaceUnknown));
        assert_eq!(outcome(OutcomeKey { hook_verdict: 0x0f, ..key }, Count::default()), None);
    }
}
