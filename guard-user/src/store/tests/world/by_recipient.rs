//! What crosses to each recipient, and what the store says that each got.

use super::{Account, IDS, World, quota};
use crate::exemption::record::Use;
use crate::store::Store;

impl World {
    /// The kernel charges an account, up to what it was told, and books that by recipient.
    pub(super) fn charge(&mut self, index: usize, bytes: u64) {
        for Account { key, quota: granted, slots } in self.table.values() {
            if key.0 == IDS[index] {
                let count = |slot: &u16| self.counts.get(slot).copied().unwrap_or(0);
                let counted: u64 = slots.iter().map(count).sum();
                let more = bytes.min(granted.saturating_sub(counted));
                let to = self.crossed_to.entry(key.clone()).or_default();
                to.resize(slots.len(), 0);
                // Some to each of them, and the rest to one of them.
                let part = more / (slots.len() as u64 + 1);
                let chosen = usize::try_from(bytes % slots.len() as u64).unwrap();
                for (place, slot) in slots.iter().enumerate() {
                    let rest = if place == chosen { more - part * slots.len() as u64 } else { 0 };
                    *self.counts.entry(*slot).or_default() += part + rest;
                    to[place] += part + rest;
                }
                let crossed = self.crossed.entry(key.clone()).or_default();
                *crossed += more;
                let most = quota(index).unwrap_or(u64::MAX);
                assert!(*crossed <= most, "{key:?} let {crossed} bytes through, and may {most}");
            }
        }
    }

    /// What the kernel has counted in each slot; where it let anything through, so much more that is charged and taken back.
    pub(super) fn kernel_counts(&self, store: &Store, more: u64) -> Vec<(u16, Use)> {
        let count = |slot: u16| self.counts.get(&slot).copied().unwrap_or(0);
        let charged = |bytes: u64| if bytes > 0 { bytes + more } else { 0 };
        store
            .kept
            .slots_in_use()
            .into_iter()
            .map(|slot| (slot, Use { bytes: charged(count(slot)), packets: count(slot) / 1000 }))
            .collect()
    }

    /// No recipient's use has shrunk, and where all was counted each has what it got, on its days and in all.
    pub(super) fn compare_recipients(&mut self, store: &Store, all_was_read: bool) {
        let rows = store.use_by_day().unwrap();
        for key in self.said.keys() {
            let (record, document) = (store.kept.record(key).unwrap(), store.kept.document_of(key).unwrap());
            let told: Vec<Use> = record.used_by_recipient(document);
            let sum = Use::sum(&told);
            assert!(sum.bytes <= record.used().bytes && sum.packets <= record.used().packets, "{key:?}");
            let told: Vec<u64> = told.iter().map(|it| it.bytes).collect();
            let said = self.said_to.insert(key.clone(), told.clone()).unwrap_or_default();
            assert!(said.iter().zip(&told).all(|(said, told)| said <= told), "{key:?}: {said:?}, {told:?}");
            if self.is_blurred {
                continue;
            }
            let mut crossed = self.crossed_to.get(key).cloned().unwrap_or_default();
            crossed.resize(told.len(), 0);
            assert!(told.iter().zip(&crossed).all(|(told, crossed)| told <= crossed), "{key:?}: {told:?}");
            if all_was_read {
                assert_eq!(told, crossed, "{key:?}");
            }
            for (at, told) in told.iter().enumerate() {
                let of = rows.iter().filter(|row| row.key == *key && row.recipient == Some(at));
                assert_eq!(of.map(|row| row.used.bytes).sum::<u64>(), *told, "{key:?} by day");
            }
        }
    }
}
