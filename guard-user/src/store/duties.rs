//! What is due of an exemption, over all of its versions: a version that takes another one's place takes no duty away, and
//! what was done is done whatever version it was noted for. Duties that were done after a document was loaded are noted here,
//! also of what is closed: no new version has to say so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::entry::Entry;
use super::error::WHY_BYTES;
use super::too_early::TooEarly;
use super::{Kept, Key, Store, StoreError};
use crate::audit::{Kind, Who};
use crate::digest::sha256;
use crate::exemption::record::{DutyDone, GivenReason, Record};
use crate::exemption::summary::{self, DoneSummary, HIDDEN, Summary};
use crate::exemption::{CHECK, DELETE, Document, REVIEW, State};
use crate::text::Unseen;

/// What was done of an exemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its name, as lists of what is due have it.
    pub duty: String,
    /// When it was done.
    pub on: Timestamp,
    /// How, or by whom; the record keeps it.
    pub why: String,
}

/// A duty's name, and the first moment at which it has to have been done.
type Duty = (String, Timestamp);

/// That a duty was done: which, by the document itself, or by its name with when it was done.
enum Said {
    ByDocument(Duty),
    ByName(String, Timestamp),
}

/// What is due of one exemption.
#[derive(Default)]
struct Due {
    /// How often each duty is to be done still.
    left: BTreeMap<Duty, usize>,
    /// What each version says, by its number.
    said: BTreeMap<u32, Vec<Duty>>,
    /// When the last packet can pass by each version, or could.
    ends: BTreeMap<u32, Timestamp>,
}

impl Due {
    /// The duty of this name that a version says and that is due first.
    fn first(&self, version: u32, name: &str) -> Option<Duty> {
        let said = self.said.get(&version).into_iter().flatten();
        said.filter(|duty| duty.0 == name && self.left.contains_key(*duty)).min_by_key(|(_, by)| *by).cloned()
    }

    fn discharge(&mut self, duty: &Duty) {
        if let Some(count) = self.left.get_mut(duty) {
            *count -= 1;
            if *count == 0 {
                self.left.remove(duty);
            }
        }
    }

    /// Of the versions that say that what is received is to be deleted by the same day, the one that is over last, where that is
    /// after this moment: what is received by it later is not deleted yet. `None` for every other duty.
    fn goes_on(&self, duty: &Duty, after: Timestamp) -> Option<(u32, Timestamp)> {
        let is_meant = |version: &u32| self.said.get(version).is_some_and(|said| said.contains(duty));
        let ends = self.ends.iter().filter(|(version, _)| duty.0 == DELETE && is_meant(version));
        let last = ends.max_by_key(|(_, ends)| **ends).map(|(version, ends)| (*version, *ends));
        last.filter(|(_, ends)| *ends > after)
    }

    /// The highest version that says it.
    fn version_of(&self, duty: &Duty) -> Option<u32> {
        self.said.iter().rev().find(|(_, said)| said.contains(duty)).map(|(version, _)| *version)
    }

    /// What is left, each with the highest version that says it, the earliest first.
    fn all(&self) -> Vec<(u32, Duty)> {
        let each = self.left.iter().flat_map(|(duty, count)| std::iter::repeat_n(duty, *count));
        let mut all: Vec<_> = each.filter_map(|duty| Some((self.version_of(duty)?, duty.clone()))).collect();
        all.sort_by(|(_, one), (_, other)| (one.1, &one.0).cmp(&(other.1, &other.0)));
        all
    }
}

/// Whether its time ended by its review, which nobody did.
fn is_missed(document: &Document, record: &Record) -> bool {
    record.status.state() == State::Expired && document.review_that_ends().is_some()
}

impl Kept {
    /// What was noted as done for other versions of this exemption that say one of its duties with the same day, each with that
    /// version: it is done for this one too. A deletion is not, where data could pass by this one later.
    #[must_use]
    pub fn done_beside(&self, own_key @ (id, version): &Key) -> Vec<(u32, GivenReason)> {
        let of = |key: &Key| self.document_of(key).map(Document::due_dates).unwrap_or_default();
        let own = of(own_key);
        let ends = self.entry(own_key).and_then(|it| Some(it.record.ends(it.document.as_ref()?)));
        let counts = |it: &GivenReason| {
            let done = it.duty_done();
            done.is_some_and(|it| it.name != DELETE || ends.is_some_and(|ends| ends <= it.on))
        };
        let others = self.versions(id).filter(|(key, _)| key.1 != *version);
        let of_other = |(key, entry): (&Key, &Entry)| {
            let (version, its) = (key.1, of(key));
            let is_own = |name: &str| own.iter().any(|duty| duty.0 == name && its.contains(duty));
            let reasons = entry.record.reasons.iter().filter(|it| counts(it));
            let done = reasons.filter(|it| it.duty().is_some_and(is_own));
            done.map(|it| (version, it.clone())).collect::<Vec<_>>()
        };
        others.flat_map(of_other).collect()
    }

    /// What is due of an exemption: what any version says and was neither noted as done nor is said to be done by a later
    /// one. Its review, and the check of a certification, are those of the highest version alone, and none of a closed one:
    /// nothing passes by it for which they would be needed. A review by whose lack it closed is due still.
    fn due_of(&self, id: &str) -> Due {
        let mut due = Due::default();
        // What was done, when that was noted, for which version: by name and with when it was done, or by the document itself.
        let mut done: Vec<(Timestamp, u32, Said)> = Vec::new();
        let readable =
            || self.versions(id).filter_map(|(key, entry)| Some((key.1, entry.document.as_ref()?, entry)));
        let last = readable().map(|(version, ..)| version).max();
        for (version, document, entry) in readable() {
            let is_current = Some(version) == last && !entry.record.is_closed();
            let mut said = document.due_dates();
            let is_missed = Some(version) == last && is_missed(document, &entry.record);
            said.retain(|(what, _)| match what.as_str() {
                REVIEW => is_current || is_missed,
                CHECK => is_current,
                _ => true,
            });
            for duty in &said {
                let count = said.iter().filter(|other| *other == duty).count();
                let left = due.left.entry(duty.clone()).or_default();
                *left = count.max(*left);
            }
            due.said.insert(version, said);
            due.ends.insert(version, entry.record.ends(document));
            let by_name = entry.record.duties_done();
            done.extend(by_name.map(|it| (it.noted_at, version, Said::ByName(it.name.to_owned(), it.on))));
            let loaded_at = entry.record.loaded_at;
            done.extend(
                document.duties_done().into_iter().map(|duty| (loaded_at, version, Said::ByDocument(duty))),
            );
        }
        done.sort_by_key(|(at, ..)| *at);
        for (_, version, what) in done {
            let duty = match what {
                Said::ByDocument(duty) => Some(duty),
                // An earlier version of this program took it also before the end, and a later version may go on.
                Said::ByName(name, on) => {
                    due.first(version, &name).filter(|duty| due.goes_on(duty, on).is_none())
                }
            };
            duty.iter().for_each(|duty| due.discharge(duty));
        }
        due
    }

    /// What was noted as done of a version, or for another one that says the same, the earliest first.
    fn done_of(&self, key: &Key) -> Vec<DoneSummary> {
        let own = self.record(key).into_iter().flat_map(|it| &it.reasons).map(|it| (key.1, it.clone()));
        let all: Vec<(u32, GivenReason)> = own.chain(self.done_beside(key)).collect();
        let mut done: Vec<DoneSummary> = all
            .iter()
            .filter_map(|(version, reason)| {
                let DutyDone { name, on, why, .. } = reason.duty_done()?;
                Some(DoneSummary { what: name.to_owned(), on, why: why.to_owned(), version: *version })
            })
            .collect();
        done.sort_by_key(|it| it.on);
        done
    }

    /// Puts into summaries what is due, each duty with the highest version that says it.
    pub(super) fn find_due(&self, all: &mut [Summary], now: Timestamp) {
        let mut of_ids: BTreeMap<String, Due> = BTreeMap::new();
        for it in all {
            let due = of_ids.entry(it.id.clone()).or_insert_with(|| self.due_of(&it.id));
            let own = due.all().into_iter().filter(|(version, _)| *version == it.version);
            // Its window may be over, and the record does not have that yet.
            let is_open = !it.state.is_closed();
            let is_missed =
                |by: Timestamp| it.state == State::Expired && by < it.valid_until && now < it.valid_until;
            let is_due = |(what, by): &Duty| match what.as_str() {
                REVIEW => is_open || is_missed(*by),
                CHECK => is_open,
                _ => true,
            };
            it.due = summary::due(own.map(|(_, duty)| duty).filter(is_due).collect());
            it.done = self.done_of(&(it.id.clone(), it.version));
        }
    }

    /// The version of an exemption for which a duty is noted as done: this one, else the highest that has it undone, of
    /// several of that name the one that is due first; where none has it, the one that is open, else the highest.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn version_with(&self, id: &str, version: Option<u32>, duty: &str) -> Result<Key, StoreError> {
        let with_it = || {
            let all = self.due_of(id).all().into_iter();
            all.filter(|(_, (what, _))| what == duty).map(|(version, _)| version).next()
        };
        self.find(id, version.or_else(with_it))
    }

    /// Says why this can't be noted as done of an exemption; nothing is changed.
    ///
    /// # Errors
    /// Where there is no such exemption, no such duty is due of it, it is the review of its assessment, it was done later than
    /// now, what is said to be deleted may still come, or the reason says nothing.
    pub fn can_be_done(&self, key: &Key, done: &Done, now: Timestamp) -> Result<(), StoreError> {
        if done.why.trim().is_empty() || done.why.len() > WHY_BYTES {
            return Err(StoreError::BadReason);
        }
        if let Some(unseen) = Unseen::find(&done.why) {
            return Err(StoreError::UnseenInReason(unseen));
        }
        if done.on > now {
            return Err(StoreError::DoneLater { on: done.on });
        }
        let (id, version) = key;
        let not_found = || StoreError::NotFound { id: id.clone() };
        let entry = self.entry(key).filter(|entry| entry.document.is_some()).ok_or_else(not_found)?;
        let due = self.due_of(id);
        if done.duty == REVIEW {
            let is_reviewed = due.left.keys().any(|(what, _)| what == REVIEW);
            return Err(match is_reviewed || !entry.record.is_closed() {
                true => StoreError::ReviewIsRenewed { id: id.clone() },
                false => StoreError::ReviewOfClosed { id: id.clone() },
            });
        }
        if let Some(duty) = due.first(*version, &done.duty) {
            let goes_on = due.goes_on(&duty, done.on);
            let early = |(version, ends)| TooEarly { id: id.clone(), version, ends, is_over: ends <= now };
            return goes_on.map_or(Ok(()), |it| Err(early(it).into()));
        }
        let mut left: Vec<(u32, String)> =
            due.all().into_iter().map(|(version, (what, _))| (version, what)).collect();
        left.dedup();
        let (duty, is_done) = (done.duty.clone(), self.is_done(key, &done.duty));
        Err(StoreError::NoSuchDuty { id: id.clone(), version: *version, duty, is_done, due: left })
    }

    /// Whether a duty of this name is said to be done of a version: by its document, or noted for it or for another one that says
    /// the same.
    fn is_done(&self, key: &Key, duty: &str) -> bool {
        let is_noted = self.done_of(key).iter().any(|it| it.what == duty);
        let by_document = self.document_of(key).map(Document::duties_done).unwrap_or_default();
        is_noted || by_document.iter().any(|(name, _)| name == duty)
    }
}

impl Store {
    /// Notes that a duty of this exemption was done, with its audit record: of several of that name the one that was due
    /// first.
    ///
    /// # Errors
    /// As of [`Kept::can_be_done`], and where the disk refuses; then nothing is changed.
    pub fn duty_done(&mut self, key: &Key, done: &Done, who: &Who, now: Timestamp) -> Result<(), StoreError> {
        self.leave_doubt()?;
        self.kept.can_be_done(key, done, now)?;
        let Some(entry) = self.kept.entry(key) else {
            return Err(StoreError::NotFound { id: key.0.clone() });
        };
        let mut record = entry.record.clone();
        record.reasons.push(GivenReason::of_duty(now, &done.duty, done.on, &done.why));
        let confidential = entry.document.as_ref().is_none_or(|document| document.confidential);
        let (why, detail) = match confidential {
            true => (HIDDEN, json!({"on": done.on, "why_sha256": sha256(done.why.as_bytes())})),
            false => (done.why.as_str(), json!({"duty": done.duty, "on": done.on})),
        };
        let line = Self::record_of(Kind::DutyDone, key, who, now, why, detail);
        let records = vec![(key.clone(), record)];
        self.commit(&records, vec![line], |_| Ok(()))?;
        self.take(records);
        Ok(())
    }
}
