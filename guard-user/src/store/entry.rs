//! One exemption in memory, and what the kernel is to have of it.

use std::sync::Arc;

use guard_common::abi::ExemptionUse;
use jiff::Timestamp;

use super::marked_use::MarkedUse;
use super::quota;
use crate::compile::{KernelExemption, identity};
use crate::exemption::division::{self, Part};
use crate::exemption::document::Document;
use crate::exemption::record::{Record, Use};
use crate::exemption::{Clocks, State};

/// One version of an exemption.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// `None` where it can't be read, which is a [`Problem`](super::Problem): the exemption is closed.
    pub(super) document: Option<Arc<Document>>,
    pub(super) record: Record,
    /// It is closed here, and the disk did not take that.
    pub(super) unsaved: bool,
}

/// What the kernel has counted for an exemption since it was last saved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// In each of its slots.
    more: Vec<Use>,
}

impl Counted {
    /// In all of them.
    pub(super) fn all(&self) -> Use {
        Use::sum(&self.more)
    }
}

impl Entry {
    /// Whether packets pass by it.
    pub(super) fn is_active(&self) -> bool {
        self.document.is_some() && self.record.is_active()
    }

    /// Whether orders hold it.
    pub(super) fn is_stayed(&self) -> bool {
        self.record.status.state() == State::Stayed
    }

    /// Whether an order closes it, or closes it again.
    pub(super) fn can_be_closed(&self) -> bool {
        !self.record.is_closed() || self.unsaved
    }

    /// What the kernel has counted for it by these counts of slots. No count goes back, and all together are not past
    /// the quota, which the kernel does not let them be.
    pub(super) fn counted(&self, counts: &[(u16, Use)]) -> Counted {
        let record = &self.record;
        let quota = self.document.as_ref().and_then(|document| document.quota_bytes);
        let most = quota.unwrap_or(u64::MAX).saturating_sub(record.before.bytes);
        let mut room = most.saturating_sub(record.counted.bytes);
        let mut more: Vec<Use> = vec![Use::default(); record.slots.len()];
        for (place, more) in more.iter_mut().enumerate() {
            let count = counts.iter().find(|(slot, _)| record.slots.get(place) == Some(slot));
            let Some(&(_, count)) = count else { continue };
            let grown = count.minus(record.counted_by_slot.get(place).copied().unwrap_or_default());
            *more = Use { bytes: grown.bytes.min(room), ..grown };
            room -= more.bytes;
        }
        Counted { more }
    }

    /// What this mark of its use has more than its record, which is less: what the kernel had counted in its slots, where they
    /// are the same ones and it may have that still, and the rest.
    pub(super) fn lacks(&self, marked: &MarkedUse) -> (Counted, Use) {
        let record = &self.record;
        let mut left = marked.used.minus(record.used());
        let mut more: Vec<Use> = vec![Use::default(); record.slots.len()];
        if record.slots == marked.slots {
            for (place, more) in more.iter_mut().enumerate() {
                let of = |uses: &[Use]| uses.get(place).copied().unwrap_or_default();
                let grown = of(&marked.counted).minus(of(&record.counted_by_slot));
                *more = Use { bytes: grown.bytes.min(left.bytes), packets: grown.packets.min(left.packets) };
                left = left.minus(*more);
            }
        }
        (Counted { more }, left)
    }

    /// What the kernel is known to have counted in its slots. Every byte that passed was charged to its account before.
    pub(super) fn counted_in_slots(&self) -> Vec<(u16, ExemptionUse)> {
        let record = &self.record;
        let charged: u64 = record.counted_by_slot.iter().map(|used| used.bytes).fold(0, u64::saturating_add);
        let each = record.slots.iter().zip(&record.counted_by_slot);
        let used = |(slot, used): (&u16, &Use)| {
            let charged = if Some(*slot) == record.account() { charged } else { 0 };
            (*slot, ExemptionUse { bytes: used.bytes, packets: used.packets, charged })
        };
        each.map(used).collect()
    }

    /// When it was first and last seen to let packets through, where the kernel is seen now to have counted more: what it
    /// counted while nobody looked passed before its end.
    pub(super) fn seen_by(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let ends = self.document.as_ref().map(|document| document.ends());
        let last = [ends, self.record.status.closed_at()].into_iter().flatten().fold(now, Timestamp::min);
        let last = last.max(self.record.loaded_at);
        self.record.seen.map_or((last, last), |(first, before)| (first, before.max(last)))
    }

    /// Its record with what the kernel has counted.
    pub(super) fn record_with(&self, counted: &Counted) -> Record {
        let mut record = self.record.clone();
        record.counted_by_slot.resize(record.slots.len(), Use::default());
        for (slot, more) in record.counted_by_slot.iter_mut().zip(&counted.more) {
            *slot = slot.plus(*more);
        }
        record.counted = record.counted.plus(counted.all());
        record
    }

    /// What of this each recipient received, where that is counted apart: by the numbers of the recipients from 0 on.
    pub(super) fn by_recipient(&self, counted: &Counted) -> Vec<(u32, Use)> {
        let parts = self.document.as_ref().and_then(|it| division::parts(it, self.record.slots.len()));
        let parts = parts.unwrap_or_default();
        let of_one = parts.iter().zip(&counted.more).filter_map(|(part, more)| match part.as_slice() {
            [recipient] if *more != Use::default() => Some((u32::try_from(*recipient).ok()?, *more)),
            _ => None,
        });
        of_one.collect()
    }

    /// What the kernel is to have of it.
    pub(super) fn to_kernel(&self, clocks: &Clocks, pins: &[String]) -> Vec<KernelExemption> {
        self.entries_with(quota::left, clocks, pins)
    }

    /// The same for a kernel that has counted nothing, with what is left as the disk has it.
    pub(super) fn as_recorded(&self, clocks: &Clocks, pins: &[String]) -> Vec<KernelExemption> {
        self.entries_with(quota::left_as_recorded, clocks, pins)
    }

    fn entries_with(
        &self,
        left: impl Fn(&Document, &Record) -> u64,
        clocks: &Clocks,
        pins: &[String],
    ) -> Vec<KernelExemption> {
        let Some(document) = self.document.as_ref().filter(|_| self.is_active()) else { return Vec::new() };
        kernel_entries(document, &self.record.slots, pins, left(document, &self.record), clocks)
    }
}

/// Has these end as much earlier as the wall clock is behind the latest time that is known: windows are computed by the wall
/// clock, and one that had ended by that time may not be open by the other.
pub fn end_by(exemptions: &mut [KernelExemption], clocks: &Clocks, latest: Timestamp) {
    let behind_ns = clocks.behind_ns(latest);
    for exemption in exemptions {
        exemption.valid_until_ns = exemption.valid_until_ns.saturating_sub(behind_ns);
    }
}

/// A document as the kernel judges by it in these slots, the account first; `quota` is what it may let through
/// in them. Pins that are not among these are left out; without any, and once it has ended, there is nothing.
#[must_use]
pub fn kernel_entries(
    document: &Document,
    slots: &[u16],
    pins: &[String],
    quota: u64,
    clocks: &Clocks,
) -> Vec<KernelExemption> {
    let pins: Vec<String> = document.pins.iter().filter(|pin| pins.contains(pin)).cloned().collect();
    if pins.is_empty() || document.ends() <= clocks.wall {
        return Vec::new();
    }
    // Never one part of a document without the rest of it.
    let (Some(&account), Some(parts)) = (slots.first(), division::parts(document, slots.len())) else {
        return Vec::new();
    };
    let entry = |(&slot, part): (&u16, Part)| {
        let recipients = || part.iter().filter_map(|number| document.recipients.get(*number));
        // Recipients of one slot have these in common.
        let first = recipients().next()?;
        let whole = recipients().filter(|it| it.networks.is_empty());
        Some(KernelExemption {
            slot,
            account,
            identity: identity([document.id.as_str(), &document.version.to_string()]),
            pins: pins.clone(),
            jurisdictions: whole.map(|it| it.jurisdiction).collect(),
            networks: recipients().flat_map(|it| it.networks.iter().copied()).collect(),
            placed: division::placed(first),
            ports: division::ports(first),
            valid_from_ns: clocks.boot_time_of(document.valid_from),
            valid_until_ns: clocks.boot_time_of(document.ends()),
            quota,
        })
    };
    let entries = slots.iter().zip(parts).map(entry);
    entries.collect::<Option<_>>().unwrap_or_default()
}
