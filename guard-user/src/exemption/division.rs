//! Which recipients of a document have which of its slots in the kernel's tables.
//!
//! A slot has one recipient, so that what that one received is counted by itself. Documents that an earlier version of this
//! program has opened keep the slots that they were given then, of which recipients with the same ports and place had one
//! together: they stay open as they were, and what goes by a slot of several is not attributed to any of them.

use std::collections::BTreeMap;

use guard_common::jurisdiction::Jurisdiction;

use super::document::{Document, Recipient};
use crate::config::policy::PortRange;

/// Recipients that have one slot, by their numbers in the document from 0 on.
pub type Part = Vec<usize>;

/// So many slots a document is given.
#[must_use]
pub fn slots_wanted(document: &Document) -> usize {
    document.recipients.len()
}

/// Which recipients each of so many slots has, in the order of the slots. `None` where the document can't be divided into so
/// many.
#[must_use]
pub fn parts(document: &Document, slots: usize) -> Option<Vec<Part>> {
    if slots == slots_wanted(document) {
        return Some((0..slots).map(|recipient| vec![recipient]).collect());
    }
    Some(alike(document)).filter(|parts| parts.len() == slots)
}

/// Where a recipient's networks have to be placed; `None` for anywhere, and for a whole jurisdiction.
#[must_use]
pub fn placed(recipient: &Recipient) -> Option<Jurisdiction> {
    (!recipient.networks.is_empty() && !recipient.anywhere).then_some(recipient.jurisdiction)
}

/// A recipient's ports in one order, none of them twice.
#[must_use]
pub fn ports(recipient: &Recipient) -> Vec<PortRange> {
    let mut ports = recipient.ports.clone();
    ports.sort();
    ports.dedup();
    ports
}

/// The recipients that have ports and place in common, as records of format 2 have them.
fn alike(document: &Document) -> Vec<Part> {
    let mut parts: BTreeMap<_, Part> = BTreeMap::new();
    for (number, recipient) in document.recipients.iter().enumerate() {
        parts.entry((ports(recipient), placed(recipient))).or_default().push(number);
    }
    parts.into_values().collect()
}
