//! What becomes of exemptions: stays, resumptions, and ends.

use jiff::Timestamp;
use serde_json::json;

use super::entry::{Entry, groups};
use super::error::WHY_BYTES;
use super::read::sha256;
use super::{Key, Store, StoreError, quota};
use crate::audit::{Kind, Who};
use crate::exemption::lifecycle::Event;
use crate::exemption::record::{Record, Said, Status};
use crate::exemption::summary::{self, HIDDEN};

/// Which exemptions a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The one of this id that is not closed.
    Id(&'a str),
    /// Every one that rests on the instrument of this name and is not closed.
    Instrument(&'a str),
}

/// What is to become of exemptions. Texts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Nothing passes until it is resumed.
    Stay {
        /// The order that stays it.
        order: &'a str,
    },
    /// The stay is lifted.
    Resume {
        /// Why.
        why: &'a str,
    },
    /// It is closed for good.
    Revoke {
        /// Why.
        why: &'a str,
    },
    /// The instrument that it rests on has fallen: it is closed for good.
    Invalidate {
        /// Why.
        why: &'a str,
    },
}

impl Change<'_> {
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

    const fn why(&self) -> &str {
        match self {
            Self::Stay { order } => order,
            Self::Resume { why } | Self::Revoke { why } | Self::Invalidate { why } => why,
        }
    }
}

impl Store {
    /// Which exemptions a change would be made to; nothing is changed.
    ///
    /// # Errors
    /// Where there is none, its state or the law does not allow it, or the reason says nothing.
    pub fn affected(
        &self,
        target: Target<'_>,
        change: &Change<'_>,
        now: Timestamp,
    ) -> Result<Vec<Key>, StoreError> {
        if change.why().trim().is_empty() || change.why().len() > WHY_BYTES {
            return Err(StoreError::BadReason);
        }
        let keys: Vec<Key> = match target {
            Target::Id(id) => vec![self.version_of(id)?],
            Target::Instrument(name) => {
                let rests = |entry: &Entry| {
                    let open = !entry.record.is_closed() || entry.unsaved;
                    open && entry.document.as_ref().is_some_and(|it| it.instrument.name == name)
                };
                let found = self.entries.iter().filter(|(_, entry)| rests(entry));
                let found: Vec<Key> = found.map(|(key, _)| key.clone()).collect();
                if found.is_empty() {
                    return Err(StoreError::NoSuchInstrument { name: name.to_owned() });
                }
                found
            }
        };
        for key in &keys {
            if let Some(entry) = self.entries.get(key) {
                self.allowed(key, entry, change, now)?;
            }
        }
        Ok(keys)
    }

    /// The version of an id: this one, else the one that is not closed, else the highest.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn find(&self, id: &str, version: Option<u32>) -> Result<Key, StoreError> {
        let Some(version) = version else { return self.version_of(id) };
        let key = (id.to_owned(), version);
        match self.entries.contains_key(&key) {
            true => Ok(key),
            false => Err(StoreError::NotFound { id: format!("{id} version {version}") }),
        }
    }

    /// The version of an id that a change is for: the one that is not closed, else the highest.
    fn version_of(&self, id: &str) -> Result<Key, StoreError> {
        let versions = || self.entries.iter().filter(|((its_id, _), _)| its_id == id);
        let open = versions().find(|(_, entry)| !entry.record.is_closed() || entry.unsaved);
        let found = open.or_else(|| versions().next_back()).map(|(key, _)| key.clone());
        found.ok_or_else(|| StoreError::NotFound { id: id.to_owned() })
    }

    fn allowed(
        &self,
        (id, _): &Key,
        entry: &Entry,
        change: &Change<'_>,
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

    /// Makes a change, and says to which exemptions it was made. `who` asked for it.
    ///
    /// # Errors
    /// As of [`affected`](Self::affected); then nothing is changed. Where the disk refuses to keep that
    /// something is closed or stayed, it is so in this process all the same, and a new generation is to be
    /// published in any case; the next write of any kind, or the same call again, keeps it.
    pub fn change(
        &mut self,
        target: Target<'_>,
        change: &Change<'_>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Vec<Key>, StoreError> {
        let keys = self.affected(target, change, now)?;
        let (mut records, mut lines) = (Vec::new(), Vec::new());
        for key in &keys {
            // One that is only to be kept is written with everything else that the disk did not take.
            let Some(entry) = self.entries.get(key).filter(|entry| !change.is_repeated_for(entry)) else {
                continue;
            };
            let mut record = self.changed(entry, change, who, now)?;
            let (what, why) = (change.kind().name().to_owned(), change.why().to_owned());
            record.said.push(Said { at: now, what, why });
            records.push((key.clone(), record));
            // What cannot be read may be confidential.
            let confidential = entry.document.as_ref().is_none_or(|document| document.confidential);
            let (why, detail) = match (confidential, target) {
                (true, _) => (HIDDEN, json!({"why_sha256": sha256(change.why().as_bytes())})),
                (false, Target::Id(_)) => (change.why(), json!({})),
                (false, Target::Instrument(name)) => (change.why(), json!({"instrument": name})),
            };
            lines.push(Self::told(change.kind(), key, who, now, why, detail));
        }
        let kept = self.commit(&records, lines.clone(), |_| Ok(()));
        if kept.is_err() && matches!(change, Change::Resume { .. }) {
            return kept.map(|()| keys);
        }
        self.hold(records, lines, kept.is_ok());
        kept.map(|()| keys)
    }

    /// The record after a change that is allowed.
    fn changed(
        &self,
        entry: &Entry,
        change: &Change<'_>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Record, StoreError> {
        let (at, by) = (now, who.uid);
        let record = entry.record.clone();
        Ok(match change {
            Change::Stay { order } => {
                Record { status: Status::Stayed { at, order: (*order).to_owned(), by }, ..record }
            }
            Change::Revoke { why } | Change::Invalidate { why } => {
                Record { status: Status::Revoked { at, why: (*why).to_owned(), by }, ..record }
            }
            Change::Resume { .. } => {
                // Its places were given back when it was stayed.
                let wanted = entry.document.as_ref().map_or(0, |document| groups(document).len());
                let slots = self.free_slots(wanted)?;
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
        let mut over: Vec<(Key, Record)> = Vec::new();
        let mut closed = Vec::new();
        for (key, entry) in &self.entries {
            let Some(document) = entry.document.as_ref().filter(|_| !entry.record.is_closed()) else {
                continue;
            };
            let (status, kind) = if document.ends() <= now {
                (Status::Expired { at: now }, Kind::Expire)
            } else if entry.is_active() && summary::is_spent(document, entry.record.used()) {
                (Status::Exhausted { at: now }, Kind::Exhaust)
            } else {
                continue;
            };
            over.push((key.clone(), Record { status, ..entry.record.clone() }));
            closed.push((key.clone(), kind));
        }
        if over.is_empty() {
            return Ok(closed);
        }
        let told = |(key, kind): &(Key, Kind)| Self::told(*kind, key, who, now, "", json!({}));
        let lines: Vec<_> = closed.iter().map(told).collect();
        let kept = self.commit(&over, lines.clone(), |_| Ok(()));
        self.hold(over, lines, kept.is_ok());
        kept.map(|()| closed)
    }
}
