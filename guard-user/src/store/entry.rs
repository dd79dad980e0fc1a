//! One exemption in memory, and what the kernel is to have of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::quota;
use crate::compile::KernelExemption;
use crate::config::policy::PortRange;
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

    /// What the kernel has counted for it by these counts of accounts. No count goes back, and none is past the
    /// quota, which the kernel does not let it be.
    pub(super) fn counted(&self, counts: &[(u16, Use)]) -> Use {
        let saved = self.record.counted;
        let Some(&(_, counted)) = counts.iter().find(|(slot, _)| self.record.account() == Some(*slot)) else {
            return saved;
        };
        let quota = self.document.as_ref().and_then(|document| document.quota_bytes);
        let most = quota.unwrap_or(u64::MAX).saturating_sub(self.record.before.bytes);
        saved.at_least(Use { bytes: counted.bytes.min(most), ..counted })
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

/// What recipients have in common that share one entry of the kernel's table: their ports, and where their networks have
/// to be placed, `None` for anywhere and for whole jurisdictions.
type Common = (Vec<PortRange>, Option<Jurisdiction>);

/// Recipients that share one entry.
#[derive(Default)]
pub(super) struct Group {
    jurisdictions: Vec<Jurisdiction>,
    networks: Vec<IpNetwork>,
}

/// The entries that the kernel needs for a document, in an order that is the same at every start.
pub(super) fn groups(document: &Document) -> BTreeMap<Common, Group> {
    let mut groups: BTreeMap<Common, Group> = BTreeMap::new();
    for recipient in &document.recipients {
        let mut ports = recipient.ports.clone();
        ports.sort();
        ports.dedup();
        let is_placed = !recipient.networks.is_empty() && !recipient.anywhere;
        let group = groups.entry((ports, is_placed.then_some(recipient.jurisdiction))).or_default();
        match recipient.networks.as_slice() {
            [] => group.jurisdictions.push(recipient.jurisdiction),
            networks => group.networks.extend(networks),
        }
    }
    groups
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
    let groups = groups(document);
    let pins: Vec<String> = document.pins.iter().filter(|pin| pins.contains(pin)).cloned().collect();
    if pins.is_empty() || document.ends() <= clocks.wall {
        return Vec::new();
    }
    // Never one part of a document without the rest of it.
    let Some(account) = slots.first().copied().filter(|_| slots.len() == groups.len()) else {
        return Vec::new();
    };
    let entries = slots.iter().zip(groups).map(|(&slot, ((ports, placed), group))| KernelExemption {
        slot,
        account,
        pins: pins.clone(),
        jurisdictions: group.jurisdictions,
        networks: group.networks,
        placed,
        ports,
        valid_from_ns: clocks.boot_time_of(document.valid_from),
        valid_until_ns: clocks.boot_time_of(document.ends()),
        quota,
    });
    entries.collect()
}
