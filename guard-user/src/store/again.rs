//! Orders that stand again: a key that is revoked approves nothing any more, and so lifts nothing either.

use jiff::Timestamp;

use super::change::{Change, changed};
use super::entry::Entry;
use super::lifted_order::LiftedOrder;
use super::standing::covers;
use super::{Kept, Key, StandingOrder, Target};
use crate::audit::{self, Who};
use crate::exemption::record::{GivenReason, Record, Status};
use crate::exemption::{Document, OrderKind};

/// Why an order holds that had been lifted: in the words by which it was given, and by which key's revocation it holds again.
#[must_use]
pub fn in_force_again(given: &str, fingerprint: &str) -> String {
    format!(
        "{given} (in force again: the key {fingerprint}, which had approved that it was lifted, is revoked)"
    )
}

/// What a key's revocation changes beside what it approved.
#[derive(Default)]
pub(super) struct Again {
    /// Orders that stand again.
    pub(super) orders: Vec<StandingOrder>,
    /// What they stay or close.
    pub(super) records: Vec<(Key, Record)>,
    /// What the trail has of them.
    pub(super) lines: Vec<audit::Record>,
}

impl Kept {
    /// The orders that were lifted with an approval by the key of this fingerprint.
    fn lifted_by(&self, fingerprint: &str) -> impl Iterator<Item = &LiftedOrder> {
        self.lifted_orders().values().filter(move |it| it.keys.iter().any(|key| key == fingerprint))
    }

    /// Those of them that do not stand here, and would with the key's revocation.
    pub(super) fn to_stand_again(&self, fingerprint: &str) -> Vec<&LiftedOrder> {
        self.lifted_by(fingerprint).filter(|it| !self.standing().contains_key(&it.row())).collect()
    }

    /// The orders that were lifted with an approval by this key and that stand again, or will with its revocation, in words.
    #[must_use]
    pub fn lifts_of_key(&self, fingerprint: &str) -> Vec<String> {
        self.lifted_by(fingerprint).map(|it| it.again((Timestamp::UNIX_EPOCH, 0)).to_string()).collect()
    }

    /// The falls of instruments that stand, and those that were lifted, which are without their time.
    #[must_use]
    pub fn all_falls(&self) -> Vec<StandingOrder> {
        let lifted = self.lifted_orders().values().map(|it| it.again((Timestamp::UNIX_EPOCH, 0)));
        let all = self.orders().cloned().chain(lifted);
        all.filter(|it| it.kind == OrderKind::Fallen).collect()
    }

    /// Those of these that the key of this fingerprint approved.
    #[must_use]
    pub fn approved_with(&self, fingerprint: &str, keys: &[Key]) -> Vec<Key> {
        let key = Target::Key(fingerprint.to_owned());
        let is_of = |it: &&Key| self.entry(it).is_some_and(|entry| covers(&key, it, entry));
        keys.iter().filter(is_of).cloned().collect()
    }

    /// What was ever loaded that the key of this fingerprint approved.
    pub fn documents_approved_with<'k>(&'k self, fingerprint: &str) -> impl Iterator<Item = &'k Document> {
        let key = Target::Key(fingerprint.to_owned());
        let approved = self.entries().filter(move |(its, entry)| covers(&key, its, entry));
        approved.filter_map(|(_, entry)| entry.document.as_deref())
    }

    /// What these orders stay or close.
    pub(super) fn held_again(&self, orders: &[&LiftedOrder]) -> Vec<Key> {
        let held = |key: &Key, entry: &Entry| orders.iter().any(|order| order.holds(key, entry));
        self.entries().filter(|(key, entry)| held(key, entry)).map(|(key, _)| key.clone()).collect()
    }

    /// What the revocation of a key makes of the orders that it lifted, where these are closed by it already.
    pub(super) fn again(
        &self,
        fingerprint: &str,
        closed: &[(Key, Record)],
        (who, now): (&Who, Timestamp),
    ) -> Again {
        let mut again = Again::default();
        for lifted in self.to_stand_again(fingerprint) {
            let (order, change) = (lifted.again((now, who.uid)), lifted.change());
            // Its own words are of before its lift.
            let told = match &change {
                Change::Invalidate { why } => Change::Invalidate { why: in_force_again(why, fingerprint) },
                stay => stay.clone(),
            };
            let is_closed = |its: &Key| closed.iter().any(|(key, _)| key == its);
            let held: Vec<(&Key, &Entry)> =
                self.entries().filter(|(key, entry)| lifted.holds(key, entry) && !is_closed(key)).collect();
            for (key, entry) in &held {
                let at = again.records.iter().position(|(its, _)| its == *key);
                let so_far = at.map(|at| again.records.swap_remove(at).1);
                let record = so_far.unwrap_or_else(|| entry.record.clone());
                let entry = &Entry { record, ..(*entry).clone() };
                let mut record = match entry.record.status {
                    // Closed by one of these orders.
                    Status::Revoked { .. } => entry.record.clone(),
                    _ => changed(entry, &told, Vec::new(), (now, who.uid)),
                };
                record.reasons.push(GivenReason {
                    at: now,
                    what: change.kind().name().to_owned(),
                    why: change.why().to_owned(),
                    order: None,
                    still_held: false,
                    on: Some(lifted.covers.covered()),
                });
                let of = (&lifted.covers, &change);
                again.lines.push(Self::change_line((key, entry), of, None, (who, now)));
                again.records.push(((*key).clone(), record));
            }
            if held.is_empty() {
                again.lines.push(self.order_record(&lifted.covers, &change, None, (who, now)));
            }
            again.orders.push(order);
        }
        for line in &mut again.lines {
            line.detail.insert("revoked_key".to_owned(), fingerprint.into());
        }
        again
    }
}
