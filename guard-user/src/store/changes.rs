//! What becomes of exemptions: stays, resumptions, and ends.

use base64ct::{Base64Unpadded, Encoding};
use jiff::Timestamp;
use serde_json::{Map, json};

use super::again::Again;
use super::change::{Change, changed};
use super::entry::Entry;
use super::error::WHY_BYTES;
use super::lifted::Lifted;
use super::lifted_order::LiftedOrder;
use super::standing::{Standing, covers};
use super::tables::ORDERS;
use super::{Kept, Key, Store, StoreError};
use crate::audit::{self, Kind, Who};
use crate::digest::sha256;
use crate::exemption::division::slots_wanted;
use crate::exemption::record::{GivenReason, Record, Status};
use crate::exemption::summary::{self, HIDDEN};
use crate::exemption::{Document, StandingOrder, Target};
use crate::text::Unseen;

impl Kept {
    /// Which exemptions a change would be made to; nothing is changed.
    ///
    /// # Errors
    /// Where there is none, its state or the law does not allow it, or the reason says nothing.
    pub fn affected(&self, target: &Target, change: &Change, now: Timestamp) -> Result<Vec<Key>, StoreError> {
        if change.why().trim().is_empty() || change.why().len() > WHY_BYTES {
            return Err(StoreError::BadReason);
        }
        // The same rule as for a document's text: who reads the record must see what was written.
        if let Some(unseen) = Unseen::find(change.why()) {
            return Err(StoreError::UnseenInReason(unseen));
        }
        match change {
            // An order is lifted by the very words that it was given by.
            Change::Stay { order } if order.trim() != order => {
                return Err(StoreError::BlankInReference { order: order.to_owned() });
            }
            Change::Stay { .. } | Change::Invalidate { .. } => self.refuse_slips(target)?,
            Change::Resume { .. } | Change::Revoke { .. } | Change::RevokeKey { .. } => {}
        }
        let keys = match change {
            Change::Stay { order } => self.stayed_by(target, order)?,
            Change::Resume { order, .. } => self.held_by_alone(self.order_to_lift(target, order.as_deref())?),
            Change::Revoke { .. } | Change::Invalidate { .. } => self.closed_by(target)?,
            Change::RevokeKey { why } => {
                let mut keys = self.approved_by(target, why)?;
                let again = self.held_again(&self.to_stand_again(target.name()));
                let others: Vec<Key> = again.into_iter().filter(|key| !keys.contains(key)).collect();
                keys.extend(others);
                keys
            }
        };
        for key in &keys {
            if let Some(entry) = self.entry(key) {
                self.allowed(key, entry, change, now)?;
            }
        }
        if matches!(change, Change::Resume { .. }) {
            self.slots_to_open(&keys)?;
        }
        Ok(keys)
    }

    /// Refuses what looks like a name and is another one: an order covers by the name that documents can have.
    fn refuse_slips(&self, target: &Target) -> Result<(), StoreError> {
        match target.fault() {
            // What was loaded has to be stayed by its name, whatever the rules for names were then.
            Some(reason) if !self.is_known(target) || self.has_blanks_of_its_own(target) => {
                Err(StoreError::NoSuchName { target: target.clone(), reason })
            }
            _ => Ok(()),
        }
    }

    /// Whether a name begins or ends with a blank that no document has there: it would be kept with it, though what is meant is
    /// known by the name without.
    fn has_blanks_of_its_own(&self, target: &Target) -> bool {
        let name = target.name();
        let documents = || self.entries().filter_map(|(_, entry)| entry.document.as_deref());
        let is_written_so = || match target {
            Target::Instrument(_) => documents().any(|it| it.instrument.name == name),
            Target::Recipient(_) => {
                documents().any(|it| it.recipients.iter().any(|recipient| recipient.name == name))
            }
            _ => true,
        };
        name.trim() != name && !is_written_so()
    }

    /// What an order would stay that is not closed: nothing, where all that it covers is closed or still to be loaded.
    fn stayed_by(&self, target: &Target, order: &str) -> Result<Vec<Key>, StoreError> {
        if self.stands(target, order) {
            return Err(StoreError::OrderStands { target: target.clone(), order: order.to_owned() });
        }
        let covered = self.entries().filter(|(key, entry)| covers(target, key, entry));
        let open = covered.filter(|(_, entry)| !entry.record.is_closed());
        Ok(open.map(|(key, _)| key.clone()).collect())
    }

    /// Whether any version that was ever loaded is meant: an order on a name with a slip in it stays nothing.
    #[must_use]
    pub fn is_known(&self, target: &Target) -> bool {
        *target == Target::All || self.entries().any(|(key, entry)| covers(target, key, entry))
    }

    /// What a revocation, or a fallen instrument, closes for good: nothing, where nothing open rests on an instrument, whose
    /// name can't be loaded again all the same.
    fn closed_by(&self, target: &Target) -> Result<Vec<Key>, StoreError> {
        if let Target::Id(id) = target {
            return Ok(vec![self.version_of(id)?]);
        }
        // All that the name covers from now on: what a fallen instrument carries is not open beside it.
        let rests = |key: &Key, entry: &Entry| entry.can_be_closed() && covers(target, key, entry);
        let found: Vec<Key> =
            self.entries().filter(|(key, entry)| rests(key, entry)).map(|(key, _)| key.clone()).collect();
        match self.fallen(target.name()) {
            Some(order) if found.is_empty() => {
                Err(StoreError::OrderStands { target: target.clone(), order: order.to_owned() })
            }
            _ => Ok(found),
        }
    }

    /// What the revocation of a key closes for good: nothing, where it has approved nothing that is open.
    fn approved_by(&self, target: &Target, why: &str) -> Result<Vec<Key>, StoreError> {
        if !is_fingerprint(target.name()) {
            return Err(StoreError::BadFingerprint { given: target.name().to_owned() });
        }
        if self.has_revoked_key(target.name()) {
            return Err(StoreError::OrderStands { target: target.clone(), order: why.to_owned() });
        }
        let approved =
            self.entries().filter(|(key, entry)| entry.can_be_closed() && covers(target, key, entry));
        Ok(approved.map(|(key, _)| key.clone()).collect())
    }

    fn allowed(
        &self,
        (id, _): &Key,
        entry: &Entry,
        change: &Change,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Err(refused) = entry.record.status.state().after(change.event())
            && !change.is_repeated_for(entry)
        {
            return Err(StoreError::State { id: id.clone(), refused });
        }
        if matches!(change, Change::Resume { .. }) {
            let not = |why| Err(StoreError::NotResumable { id: id.clone(), why });
            let Some(document) = &entry.document else {
                return not("its document can't be used; load a higher version");
            };
            if document.valid_until <= now {
                return not("its window is over; renew it");
            }
            if document.review_is_over(now) {
                return not("its assessment had to be looked at again before now; renew it");
            }
            if summary::is_spent(document, entry.record.used()) {
                return not("its quota is spent; renew it");
            }
            // Whether the kernel counts on there or began at zero is not known: the quota could be spent twice.
            if !entry.record.slots.is_empty() {
                return not(
                    "what it let through is not settled with the kernel yet; reload, and resume it then",
                );
            }
        }
        Ok(())
    }

    /// The places in the kernel's tables that each of these needs to be open again, none of them twice.
    fn slots_to_open(&self, keys: &[Key]) -> Result<Vec<Vec<u16>>, StoreError> {
        let wanted = |key: &Key| {
            let document = self.entry(key).and_then(|entry| entry.document.as_ref());
            document.map_or(0, |document| slots_wanted(document))
        };
        let mut free = self.free_slots(keys.iter().map(wanted).sum())?.into_iter();
        Ok(keys.iter().map(|key| free.by_ref().take(wanted(key)).collect()).collect())
    }
}

impl Store {
    /// As [`Kept::affected`].
    ///
    /// # Errors
    /// As there.
    pub fn affected(&self, target: &Target, change: &Change, now: Timestamp) -> Result<Vec<Key>, StoreError> {
        self.kept.affected(target, change, now)
    }

    /// Makes a change, and says to which exemptions it was made. `who` asked for it.
    ///
    /// # Errors
    /// As of [`Kept::affected`]; then nothing is changed. Where the disk refuses to keep that
    /// something is closed or stayed, it is so in this process all the same, and a new generation is to be
    /// published in any case; the next write of any kind, or the same call again, keeps it.
    pub fn change(
        &mut self,
        target: &Target,
        change: &Change,
        who: &Who,
        now: Timestamp,
    ) -> Result<Vec<Key>, StoreError> {
        self.change_by(target, change, None, (who, now))
    }

    /// The same for an order that is lifted by a document.
    ///
    /// # Errors
    /// As of [`change`](Self::change).
    pub fn lift(
        &mut self,
        target: &Target,
        change: &Change,
        lifted: &Lifted,
        who: &Who,
        now: Timestamp,
    ) -> Result<Vec<Key>, StoreError> {
        self.change_by(target, change, Some(lifted), (who, now))
    }

    fn change_by(
        &mut self,
        target: &Target,
        change: &Change,
        document: Option<&Lifted>,
        (who, now): (&Who, Timestamp),
    ) -> Result<Vec<Key>, StoreError> {
        // What closes is closed here, also where the disk still can't be asked.
        let _commit_says_it = self.leave_doubt();
        let keys = self.affected(target, change, now)?;
        let lifted = match change {
            Change::Resume { order, .. } => Some(self.kept.order_to_lift(target, order.as_deref())?.clone()),
            _ => None,
        };
        let rows = lifted.as_ref().map(|order| self.kept.rows_of(order)).unwrap_or_default();
        let is_repeated = matches!(change, Change::Stay { order } if self.kept.has_order(target, order));
        let mut slots = match change {
            // Their places were given back when they were stayed.
            Change::Resume { .. } => self.kept.slots_to_open(&keys)?.into_iter(),
            _ => Vec::new().into_iter(),
        };
        let reason = |still_held| {
            let (what, why) = (change.kind().name().to_owned(), change.why().to_owned());
            let order = lifted.as_ref().map(|lifted| lifted.order.clone());
            let on = change.is_of_order().then(|| target.covered());
            GivenReason { at: now, what, why, order, still_held, on }
        };
        let (mut records, mut lines) = (Vec::new(), Vec::new());
        // Of a key that is revoked: what it approved itself. What it lifted an order off is stayed by that again.
        let closed = match change {
            Change::RevokeKey { why } => Some(self.kept.approved_by(target, why)?),
            _ => None,
        };
        for key in closed.as_ref().unwrap_or(&keys).iter().filter(|_| !is_repeated) {
            let slots = slots.next().unwrap_or_default();
            // One that is only to be kept is written with everything else that the disk did not take.
            let Some(entry) = self.kept.entry(key).filter(|entry| !change.is_repeated_for(entry)) else {
                continue;
            };
            let mut record = changed(entry, change, slots, (now, who.uid));
            record.reasons.push(reason(false));
            records.push((key.clone(), record));
            let order = lifted.as_ref().map(|lifted| lifted.order.as_str());
            lines.push(Kept::change_line((key, entry), (target, change), order, (who, now)));
        }
        // The record of what another order still holds has each lift as well.
        let held = lifted.as_ref().map(|order| self.kept.held_by_others(order)).unwrap_or_default();
        for (key, entry) in &held {
            let mut record = entry.record.clone();
            record.reasons.push(reason(true));
            records.push((key.clone(), record));
            let confidential = entry.document.as_ref().is_none_or(|document| document.confidential);
            let mut detail = match (confidential, target) {
                (true, _) => json!({}),
                (false, _) => json!({target.kind(): target.name()}),
            };
            detail["still_held"] = true.into();
            if let (Some(lifted), false) = (&lifted, confidential) {
                detail["order"] = lifted.order.clone().into();
            }
            let why = if confidential { HIDDEN } else { change.why() };
            lines.push(Self::record_of(change.kind(), key, who, now, why, detail));
        }
        if closed.as_ref().unwrap_or(&keys).is_empty() && held.is_empty() && !is_repeated {
            let order = lifted.as_ref().map(|lifted| lifted.order.as_str());
            lines.push(self.kept.order_record(target, change, order, (who, now)));
        }
        let again = match change {
            Change::RevokeKey { .. } => self.kept.again(target.name(), &records, (who, now)),
            _ => Again::default(),
        };
        let given = match change {
            Change::Stay { order } if !is_repeated => Some(StandingOrder::new(target, order, (now, who.uid))),
            // Nothing that rests on a name like it is loaded any more.
            Change::Invalidate { why } => match target {
                Target::Instrument(name) => Some(StandingOrder::fallen(name, why, (now, who.uid))),
                _ => None,
            },
            Change::RevokeKey { why } => Some(StandingOrder::revoked_key(target.name(), why, (now, who.uid))),
            _ => None,
        };
        let given: Vec<StandingOrder> = given.into_iter().chain(again.orders).collect();
        records.extend(again.records);
        lines.extend(again.lines);
        let by = document.map(|it| it.by.as_slice()).unwrap_or_default();
        let now_lifted = lifted.as_ref().map(|order| LiftedOrder::new(order, by));
        if let Some(document) = document {
            lines.iter_mut().for_each(|line| document.add_to(&mut line.detail));
        }
        let kept = self.commit(&records, lines.clone(), |batch| {
            let mut orders = batch.open_table(ORDERS)?;
            for order in &given {
                let bytes = serde_json::to_vec(order).map_err(|error| redb::Error::Io(error.into()))?;
                orders.insert(order.row().as_str(), bytes.as_slice())?;
            }
            for row in &rows {
                orders.remove(row.as_str())?;
            }
            drop(orders);
            now_lifted.as_ref().map_or(Ok(()), |it| it.keep(batch))?;
            document.map_or(Ok(()), |document| document.keep(batch))
        });
        for order in given {
            let unsaved = kept.is_err();
            self.kept.inner_mut().orders.insert(order.row(), Standing { order, unsaved });
        }
        if let Some(order) = lifted {
            if kept.is_err() {
                return kept.map(|()| keys);
            }
            let inner = self.kept.inner_mut();
            inner.orders.retain(|_, it| it.order != order);
            inner.lifted.extend(now_lifted.map(|it| (it.row(), it)));
        }
        self.take_closings(records, lines, kept.is_ok());
        kept.map(|()| keys)
    }

    /// Closes for good what has expired by now or had by `over_by`, or has spent its quota, and says which those
    /// were. Packets do not wait for this: the kernel closes windows by its own clock, and counts quotas itself.
    /// `who` is the daemon.
    ///
    /// # Errors
    /// Where the disk refuses; they are closed in this process all the same.
    pub fn close_what_is_over(
        &mut self,
        who: &Who,
        over_by: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<(Key, Kind)>, StoreError> {
        let _commit_says_it = self.leave_doubt();
        let closed = self.kept.over(over_by.max(now));
        if closed.is_empty() {
            return Ok(closed);
        }
        let status = |kind: &Kind| match kind {
            Kind::Expire => Status::Expired { at: now },
            _ => Status::Exhausted { at: now },
        };
        let closed_record = |(key, kind): &(Key, Kind)| {
            let record = self.kept.record(key)?;
            Some((key.clone(), Record { status: status(kind), ..record.clone() }))
        };
        let over: Vec<(Key, Record)> = closed.iter().filter_map(closed_record).collect();
        let record_of = |(key, kind): &(Key, Kind)| {
            let entry = self.kept.entry(key).filter(|_| *kind == Kind::Expire);
            let document = entry.and_then(|entry| entry.document.as_deref());
            // Nobody looked at its assessment in time: its window would have gone on.
            let public = document.filter(|document| !document.confidential);
            let detail = match public.and_then(Document::review_that_ends) {
                Some(by) => json!({"review_by": by}),
                None => json!({}),
            };
            Self::record_of(*kind, key, who, now, "", detail)
        };
        let lines: Vec<_> = closed.iter().map(record_of).collect();
        let kept = self.commit(&over, lines.clone(), |_| Ok(()));
        self.take_closings(over, lines, kept.is_ok());
        kept.map(|()| closed)
    }
}

impl Kept {
    /// The line of the trail for a change that is made to an exemption. `lifted` is the order that it lifts.
    pub(super) fn change_line(
        (key, entry): (&Key, &Entry),
        (target, change): (&Target, &Change),
        lifted: Option<&str>,
        (who, now): (&Who, Timestamp),
    ) -> audit::Record {
        // What cannot be read may be confidential.
        let confidential = entry.document.as_ref().is_none_or(|document| document.confidential);
        let mut detail = match (confidential, target) {
            (true, _) => json!({"why_sha256": sha256(change.why().as_bytes())}),
            (false, Target::Id(_)) => json!({}),
            (false, _) => json!({target.kind(): target.name()}),
        };
        // A fingerprint is no text of the exemption: the trail has it with each approval too.
        if let Target::Key(fingerprint) = target {
            detail[target.kind()] = fingerprint.clone().into();
        }
        if let (Some(order), false) = (lifted, confidential) {
            detail["order"] = order.into();
        }
        let why = if confidential { HIDDEN } else { change.why() };
        Store::record_of(change.kind(), key, who, now, why, detail)
    }

    /// The line of the trail for an order, given or lifted, that changes nothing which is loaded.
    pub(super) fn order_record(
        &self,
        target: &Target,
        change: &Change,
        lifted: Option<&str>,
        (who, now): (&Who, Timestamp),
    ) -> audit::Record {
        // Whoever reads the trail may not be meant to know of it: what is loaded later may be confidential. Pins stand in
        // the config, and ids in every list.
        let subject = match target {
            Target::Id(name) | Target::Pin(name) | Target::Key(name) => name.clone(),
            Target::Instrument(name) | Target::Recipient(name) if !self.is_public(target) => {
                sha256(name.as_bytes())
            }
            target => target.name().to_owned(),
        };
        let mut detail = Map::from_iter([("covers".to_owned(), target.kind().into())]);
        let mut why = HIDDEN;
        if self.is_public(target) {
            why = change.why();
            detail.extend(lifted.map(|order| ("order".to_owned(), order.into())));
        } else {
            detail.insert("why_sha256".to_owned(), sha256(change.why().as_bytes()).into());
            let lifted = lifted.map(|order| sha256(order.as_bytes()));
            detail.extend(lifted.map(|order| ("order_sha256".to_owned(), order.into())));
        }
        audit::Record {
            time: now,
            kind: change.kind(),
            who: who.clone(),
            subject,
            why: why.to_owned(),
            detail,
        }
    }

    /// Whether everybody who may look may read of this: exemptions were loaded that are covered, none of them confidential.
    #[must_use]
    pub fn is_public(&self, target: &Target) -> bool {
        let covered = self.entries().filter_map(|(_, entry)| {
            let document = entry.document.as_deref()?;
            target.covers(document, &entry.record.approvals).then_some(document)
        });
        let mut covered = covered.peekable();
        covered.peek().is_some() && covered.all(|document| !document.confidential)
    }
}

/// Whether this is written as `ssh-keygen -l` writes a key's fingerprint: SHA-256 in Base64 without padding.
fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("SHA256:")
        .is_some_and(|hash| Base64Unpadded::decode_vec(hash).is_ok_and(|it| it.len() == 32))
}
