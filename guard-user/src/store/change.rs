//! What becomes of exemptions: stays, resumptions, and ends.

use jiff::Timestamp;
use serde_json::json;

use super::entry::{Entry, groups};
use super::error::WHY_BYTES;
use super::read::sha256;
use super::{Kept, Key, Store, StoreError, quota};
use crate::audit::{Kind, Who};
use crate::exemption::lifecycle::Event;
use crate::exemption::record::{GivenReason, Record, Status};
use crate::exemption::summary::{self, HIDDEN};
use crate::text::Unseen;

/// Which exemptions a change is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one of this id that is not closed.
    Id(String),
    /// Every one that rests on the instrument of this name and is not closed.
    Instrument(String),
}

impl Target {
    /// The id of the exemption, or the name of the instrument.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Id(name) | Self::Instrument(name) => name,
        }
    }
}

/// What is to become of exemptions. Texts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing passes until it is resumed.
    Stay {
        /// The order that stays it.
        order: String,
    },
    /// The stay is lifted.
    Resume {
        /// Why.
        why: String,
    },
    /// It is closed for good.
    Revoke {
        /// Why.
        why: String,
    },
    /// The instrument that it rests on has fallen: it is closed for good.
    Invalidate {
        /// Why.
        why: String,
    },
}

impl Change {
    /// What stands for an order of which only the mark in the kernel is left.
    #[must_use]
    pub fn of_mark(now: Timestamp) -> Self {
        let order =
            format!("an order of before {now}, a stay or a revocation, whose text the disk had not taken");
        Self::Stay { order }
    }

    const fn event(&self) -> Event {
        match self {
            Self::Stay { .. } => Event::Stay,
            Self::Resume { .. } => Event::Resume,
            Self::Revoke { .. } => Event::Revoke,
            Self::Invalidate { .. } => Event::Invalidate,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Stay { .. } => Kind::Stay,
            Self::Resume { .. } => Kind::Resume,
            Self::Revoke { .. } => Kind::Revoke,
            Self::Invalidate { .. } => Kind::Invalidate,
        }
    }

    /// Whether the exemption is what this makes of it already, and the disk did not take that.
    fn is_repeated_for(&self, entry: &Entry) -> bool {
        let wanted = match self {
            Self::Stay { .. } => matches!(entry.record.status, Status::Stayed { .. }),
            Self::Revoke { .. } | Self::Invalidate { .. } => entry.record.is_closed(),
            Self::Resume { .. } => false,
        };
        wanted && entry.unsaved
    }

    /// What is asked for, as the control socket has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stay { .. } => "exemption-stay",
            Self::Resume { .. } => "exemption-resume",
            Self::Revoke { .. } => "exemption-revoke",
            Self::Invalidate { .. } => "instrument-invalidate",
        }
    }

    /// The words of the order, or why it is done.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Stay { order } => order,
            Self::Resume { why } | Self::Revoke { why } | Self::Invalidate { why } => why,
        }
    }
}

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
        let keys: Vec<Key> = match target {
            Target::Id(id) => vec![self.version_of(id)?],
            Target::Instrument(name) => {
                let rests = |entry: &Entry| {
                    entry.can_be_closed()
                        && entry.document.as_ref().is_some_and(|it| it.instrument.name == *name)
                };
                let found = self.entries().filter(|(_, entry)| rests(entry));
                let found: Vec<Key> = found.map(|(key, _)| key.clone()).collect();
                if found.is_empty() {
                    return Err(StoreError::NoSuchInstrument {
                        name: name.to_owned(),
                        near: self.near(name),
                    });
                }
                found
            }
        };
        for key in &keys {
            if let Some(entry) = self.entry(key) {
                self.allowed(key, entry, change, now)?;
            }
        }
        Ok(keys)
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
            self.free_slots(groups(document).len())?;
        }
        Ok(())
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
        // What closes is closed here, also where the disk still can't be asked.
        let _commit_says_it = self.leave_doubt();
        let keys = self.affected(target, change, now)?;
        let (mut records, mut lines) = (Vec::new(), Vec::new());
        for key in &keys {
            // One that is only to be kept is written with everything else that the disk did not take.
            let Some(entry) = self.kept.entry(key).filter(|entry| !change.is_repeated_for(entry)) else {
                continue;
            };
            let mut record = self.changed(entry, change, who, now)?;
            let (what, why) = (change.kind().name().to_owned(), change.why().to_owned());
            record.reasons.push(GivenReason { at: now, what, why });
            records.push((key.clone(), record));
            // What cannot be read may be confidential.
            let confidential = entry.document.as_ref().is_none_or(|document| document.confidential);
            let (why, detail) = match (confidential, target) {
                (true, _) => (HIDDEN, json!({"why_sha256": sha256(change.why().as_bytes())})),
                (false, Target::Id(_)) => (change.why(), json!({})),
                (false, Target::Instrument(name)) => (change.why(), json!({"instrument": name})),
            };
            lines.push(Self::record_of(change.kind(), key, who, now, why, detail));
        }
        let kept = self.commit(&records, lines.clone(), |_| Ok(()));
        if kept.is_err() && matches!(change, Change::Resume { .. }) {
            return kept.map(|()| keys);
        }
        self.take_closings(records, lines, kept.is_ok());
        kept.map(|()| keys)
    }

    /// The record after a change that is allowed.
    fn changed(
        &self,
        entry: &Entry,
        change: &Change,
        who: &Who,
        now: Timestamp,
    ) -> Result<Record, StoreError> {
        let (at, by) = (now, who.uid);
        let record = entry.record.clone();
        Ok(match change {
            Change::Stay { order } => {
                Record { status: Status::Stayed { at, order: order.clone(), by }, ..record }
            }
            Change::Revoke { why } | Change::Invalidate { why } => {
                Record { status: Status::Revoked { at, why: why.clone(), by }, ..record }
            }
            Change::Resume { .. } => {
                // Its places were given back when it was stayed.
                let wanted = entry.document.as_ref().map_or(0, |document| groups(document).len());
                let slots = self.kept.free_slots(wanted)?;
                let granted = match entry.document.as_ref().and_then(|document| document.quota_bytes) {
                    Some(quota) => {
                        record.granted.max(record.used().bytes.saturating_add(quota::slice(quota)).min(quota))
                    }
                    None => u64::MAX,
                };
                Record { status: Status::Active {}, slots, granted, ..record }
            }
        })
    }

    /// Closes for good what has expired by now or has spent its quota, and says which those were. Packets do
    /// not wait for this: the kernel closes windows by its own clock, and counts quotas itself. `who` is the
    /// daemon.
    ///
    /// # Errors
    /// Where the disk refuses; they are closed in this process all the same.
    pub fn close_what_is_over(&mut self, who: &Who, now: Timestamp) -> Result<Vec<(Key, Kind)>, StoreError> {
        let _commit_says_it = self.leave_doubt();
        let closed = self.kept.over(now);
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
        let record_of = |(key, kind): &(Key, Kind)| Self::record_of(*kind, key, who, now, "", json!({}));
        let lines: Vec<_> = closed.iter().map(record_of).collect();
        let kept = self.commit(&over, lines.clone(), |_| Ok(()));
        self.take_closings(over, lines, kept.is_ok());
        kept.map(|()| closed)
    }
}
