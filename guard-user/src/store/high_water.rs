//! The mark of how far the store had come, kept apart from it: in a file and in the kernel.
//!
//! Whoever copies an old database over the present one would open again what was stayed, revoked or fell in between. So
//! after each change the end of the audit trail is kept in two other places, and in the file also which versions were
//! loaded and which orders stand. A store whose trail does not have that record is an older one, or another: what it has
//! open is revoked, and what the file knows is written into it. Where the file is lost too, nothing is loaded
//! until somebody lifts the order that is made for that.
//!
//! What exemptions have let through leaves no record: the file has that too, every few seconds (`raised_uses.rs`).
//!
//! A mark that is behind the store is none: it is written after the store, and not at every power cut. Where all of it
//! is put back at once, a checkpoint on another host is needed (docs/audit.md).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::marks::{KernelMark, Mark, MarkFault, Marks};
use super::standing::Standing;
use super::tables::{LOST, LOST_CONFIGS, META, ORDERS};
use super::unrecorded::{self, Unrecorded};
use super::{Kept, Key, Reader, Store, StoreError, marks, slots, tampered};
use crate::audit::{self, Kind, Who};
use crate::digest::sha256;
use crate::exemption::record::{Record, Status};
use crate::exemption::{OrderKind, StandingOrder, Target};

/// The reference of the order that is made where nobody knows what an older store lacks.
pub(super) const UNKNOWN: &str = "an older store was put back, and what it lacks is not known";

/// The row of the database's facts that says when an older store was seen last, in seconds since 1970.
const OLDER_AT: &str = "older_at";

impl Reader {
    /// When an older store was seen last.
    pub(super) fn older_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let seconds = self.number(OLDER_AT)?.and_then(|seconds| i64::try_from(seconds).ok());
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }
}

/// What the file of the mark is to have.
fn mark_of(kept: &Kept, head: &audit::Head) -> Mark {
    let unsaved = kept.unsaved_orders().cloned().collect();
    let orders = (kept.orders().cloned().collect(), unsaved);
    let mut mark = Mark::new(head, kept.highest_versions(), orders, kept.replaced_configs());
    mark.uses = kept.marked_uses();
    mark
}

/// The record of a key that the mark has as revoked, and that no record of an older store names: who verifies checkpoints has
/// nothing but the trail. Why it was revoked may not be for everybody to read: the trail has that as a hash.
fn key_of_mark(order: &StandingOrder, who: &Who, now: Timestamp) -> audit::Record {
    let key = order.covers.name();
    let detail = json!({
        "covers": order.covers.kind(), "key": key, "revoked_at": order.at.to_string(), "revoked_by": order.by,
        "taken_from": marks::FILE, "why_sha256": sha256(order.order.as_bytes()),
    });
    audit::Record {
        time: now,
        kind: Kind::RevokeKey,
        who: who.clone(),
        subject: key.to_owned(),
        why: "an older store was put back, and the mark beside it has this key as revoked".to_owned(),
        detail: detail.as_object().cloned().unwrap_or_default(),
    }
}

/// An older store, or another one, in the place of the one that was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Older {
    /// The last record that the store has, by its number.
    pub has: u64,
    /// The record that it had before.
    pub had: u64,
    /// What was open in it, and is revoked.
    pub revoked: Vec<Key>,
    /// Whether it is known what it lacks: which orders, which versions.
    pub is_known: bool,
}

impl std::fmt::Display for Older {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { has, had, revoked, is_known } = self;
        match (*has, *had) {
            (has, 0) => {
                write!(
                    f,
                    "the store ends with record {has}, and there is no mark of it: it may be an older one"
                )?;
            }
            (0, had) => {
                write!(
                    f,
                    "there was no store, and one with record {had} was there before: a new one was begun"
                )?;
            }
            (has, had) => write!(
                f,
                "the store is an older one, or another: it ends with record {has}, and the mark of it had seen record {had}"
            )?,
        }
        match (has, revoked.len()) {
            (0, _) => {}
            (_, 0) => f.write_str(". Nothing was open in it")?,
            (_, count) => write!(f, ". What was open in it is revoked ({count})")?,
        }
        match is_known {
            true => f.write_str("; orders and versions that it lacks were taken from the mark beside it"),
            false => write!(
                f,
                "; what it lacks is not known, so nothing is loaded until somebody lifts the order: `borderguard exemption \
                 resume --all --order \"{UNKNOWN}\" --why ...`"
            ),
        }
    }
}

impl Kept {
    /// The highest version of each id that was ever loaded.
    fn highest_versions(&self) -> BTreeMap<String, u32> {
        let mut highest = self.lost().clone();
        for (id, version) in self.entries().map(|(key, _)| key).chain(self.unreadable()) {
            let known = highest.entry(id.clone()).or_default();
            *known = (*known).max(*version);
        }
        highest
    }
}

impl Store {
    /// Holds the store against these marks, which are kept from now on. Says so where it is an older one, or another:
    /// then what is open in it is revoked, and what the file of the marks knows beyond it stands. Where it has the same trail and
    /// less of what exemptions have let through, they go on with what the file has. `who` is the daemon.
    ///
    /// # Errors
    /// Where the disk refuses; then the store is not to be used.
    pub fn mark_by(&mut self, marks: Marks, who: &Who, now: Timestamp) -> Result<Option<Older>, StoreError> {
        self.marks = marks;
        if !self.kept.is_usable() {
            return Ok(None);
        }
        let (mut file, of_kernel) = (self.marks.read_file(), self.marks.read_kernel());
        let mut kernel = of_kernel.head;
        self.learn_latest(file.as_ref().and_then(|it| it.time), &of_kernel);
        let own = std::mem::take(&mut self.marks.unrecorded);
        let of_notes = file.as_mut().map(|it| std::mem::take(&mut it.unrecorded)).unwrap_or_default();
        let mut unrecorded = unrecorded::together(own, of_notes, of_kernel.unrecorded);
        let untold = self.marks.untold(&of_kernel);
        if let Some(untold) = untold
            && !self.has_told(&untold)?
        {
            unrecorded.push(Unrecorded::untold(&untold));
        }
        let of_file = file.as_ref().map(|it| (it.sequence, it.hash.clone()));
        let with_unsaved = file.as_ref().and_then(|it| Some(it.kernels(it.head()?)));
        let unsaved = file.as_mut().map(|it| std::mem::take(&mut it.unsaved)).unwrap_or_default();
        let uses = file.as_mut().map(|it| std::mem::take(&mut it.uses)).unwrap_or_default();
        if let Some((sequence, hash)) = &of_file
            && !unsaved.is_empty()
            && self.has_record(*sequence, hash)?
        {
            // The file says what the kernel's end is of: this one, and none that was there with other orders.
            kernel = kernel.filter(|it| Some(*it) != with_unsaved);
        }
        let of_kernel = kernel.as_ref().map(|it| (it.sequence, it.hash_text()));
        let mut had = 0;
        for (sequence, hash) in of_file.iter().chain(&of_kernel) {
            if !self.has_record(*sequence, hash)? {
                had = had.max(*sequence);
            }
        }
        let has = self.last_line.as_deref().and_then(|line| audit::Head::of_line(line).ok());
        let is_unmarked = of_file.is_none() && of_kernel.is_none() && has.is_some();
        let older = match (had, is_unmarked) {
            (0, false) => None,
            // A store that was in use has a mark: without one nobody knows whether it is the newest.
            (0, true) => Some(self.close_older((0, false), None, who, now)?),
            (had, _) => {
                // What the file has is all that there was only where the kernel had not come further.
                let is_known = match (&file, &of_kernel) {
                    (Some(file), Some(kernel)) => file.has_all_of(kernel),
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                Some(self.close_older((had, is_known), file, who, now)?)
            }
        };
        if older.is_none() {
            // What is open in an older one is revoked, and spends nothing any more.
            self.raise_uses(&uses, who, now)?;
        }
        self.give_again(&unsaved);
        self.record_unrecorded(&unrecorded, who, now)?;
        self.marks.told = untold.map(|it| it.live).or(self.marks.told);
        self.keep_marks();
        Ok(older)
    }

    /// Takes up the latest time that is known: by the trail's last record, the file and the kernel. What the kernel has while this
    /// daemon is at work is its own.
    fn learn_latest(&mut self, of_file: Option<Timestamp>, of_kernel: &KernelMark) {
        let last = self.last_line.as_deref().and_then(|line| audit::Stored::read(line.as_bytes()).ok());
        let of_kernel = of_kernel.time.filter(|_| !self.marks.is_again());
        self.kept.inner_mut().latest = last.map(|record| record.time).max(of_file).max(of_kernel);
    }

    /// Keeps how far the store has come, where that has changed since, and the orders that it could not keep. What exemptions
    /// have let through is kept with that, and else every few seconds. What can't be kept is the marks'
    /// [`fault`](Marks::fault), and tried again.
    pub fn keep_marks(&mut self) {
        self.keep_marks_by(false);
    }

    /// Likewise as the daemon ends: what exemptions have let through is kept at once.
    pub fn keep_last_marks(&mut self) {
        self.keep_marks_by(true);
    }

    fn keep_marks_by(&mut self, is_end: bool) {
        if !self.kept.is_usable() {
            return self.mark_unsaved();
        }
        // What the disk still refuses is noted, and tried again.
        let _tried_again = self.append_late_configs();
        let notes = self.late_notes();
        let head = match self.last_line.as_deref() {
            // A store that begins has its mark before its first record.
            None => audit::Head::START,
            Some(line) => match audit::Head::of_line(line) {
                Ok(head) => head,
                Err(_) => return,
            },
        };
        // Closings that the disk refused are not in the store, and their records are not in its trail.
        let is_written = self
            .marks
            .written
            .as_ref()
            .is_some_and(|(written, unsaved)| *written == head && self.kept.unsaved_orders().eq(unsaved))
            && self.marks.unrecorded == notes
            && self.marks.told.is_none()
            && self.marks.has_uses(is_end, || self.kept.marked_uses())
            && self.marks.has_file();
        if !is_written {
            let mark = mark_of(&self.kept, &head);
            self.marks.unrecorded = notes;
            self.marks.write(mark, head);
        }
    }

    /// Has the orders that are given to this store, which can't be opened, kept in the file of these marks.
    #[must_use]
    pub fn noting_in(mut self, mut marks: Marks) -> Self {
        // What this daemon makes live comes after that.
        if !marks.is_again() {
            let kernel = marks.read_kernel();
            self.kept.inner_mut().latest = kernel.time;
            self.to_note.extend(marks.untold(&kernel).as_ref().map(Unrecorded::untold));
        }
        self.marks = marks;
        self
    }

    /// Takes over what a store that can't be opened has noted, in the place of the one that is opened now.
    #[must_use]
    pub fn noted(&self, marks: Marks) -> Marks {
        let mut marks = marks.after(&self.marks);
        marks.unrecorded.extend(self.to_note.iter().cloned());
        marks
    }

    /// Keeps the orders that were given to a store that can't be opened, and the configs that are live meanwhile, in the file of the
    /// one that could be. The kernel's mark stays but for that: this daemon itself opens the store again, and knows them. A
    /// file that is not there is not made: it would vouch for a store that nobody has looked at.
    fn mark_unsaved(&mut self) {
        let unsaved: Vec<StandingOrder> = self.kept.unsaved_orders().cloned().collect();
        let written = self.marks.written.as_ref().map(|(_, unsaved)| unsaved.as_slice());
        let has_noted = self.marks.unrecorded.is_empty() || written.is_some();
        if self.to_note.is_empty() && has_noted && unsaved == written.unwrap_or_default() {
            return;
        }
        let to_note = std::mem::take(&mut self.to_note);
        self.marks.write_unsaved(unsaved, to_note);
    }

    /// Why the mark of this store can't be kept.
    #[must_use]
    pub fn mark_fault(&self) -> Option<MarkFault> {
        self.marks.fault().cloned()
    }

    fn has_record(&self, sequence: u64, hash: &str) -> Result<bool, StoreError> {
        if sequence == 0 {
            return Ok(true);
        }
        let line = self.reader()?.audit_lines(sequence, 1)?.pop();
        let head = line.and_then(|line| audit::Head::of_line(&line).ok());
        Ok(head.is_some_and(|head| head.sequence == sequence && head.hash_text() == hash))
    }

    /// One transaction: everything is closed, and what the file knows is in the store.
    fn close_older(
        &mut self,
        (had, is_known): (u64, bool),
        file: Option<Mark>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Older, StoreError> {
        let (versions, mut orders, configs) =
            file.map(|mark| (mark.versions, mark.orders, mark.replaced_configs)).unwrap_or_default();
        let own = self.kept.highest_versions();
        let lost: Vec<(String, u32)> = versions
            .into_iter()
            .filter(|(id, version)| own.get(id).is_none_or(|own| own < version))
            .collect();
        if !is_known {
            orders.push(StandingOrder::new(&Target::All, UNKNOWN, (now, who.uid)));
        }
        orders.retain(|order| !self.kept.standing().contains_key(&order.row()));
        let why = "an older store was put back";
        let open = self.kept.entries().filter(|(_, entry)| !entry.record.is_closed());
        let revoked: Vec<Key> = open.map(|(key, _)| key.clone()).collect();
        // Since this store was copied, others may have had the places in the kernel's tables that its exemptions have here: what
        // is counted in them is nobody's.
        let apart = self
            .kept
            .entries()
            .filter(|(_, entry)| !entry.record.is_closed() || !entry.record.slots.is_empty());
        let records: Vec<(Key, Record)> = apart
            .map(|(key, entry)| {
                let mut record = entry.record.without_slots(entry.document.as_deref());
                if !record.is_closed() {
                    record.status = Status::Revoked { at: now, why: why.to_owned(), by: who.uid };
                }
                (key.clone(), record)
            })
            .collect();
        let has = self.last_line.as_deref().and_then(|line| audit::Head::of_line(line).ok());
        let older = Older { has: has.map_or(0, |head| head.sequence), had, revoked, is_known };
        let record_of = |key: &Key| Self::record_of(Kind::Revoke, key, who, now, why, json!({}));
        let mut lines: Vec<audit::Record> = older.revoked.iter().map(record_of).collect();
        let keys = orders.iter().filter(|order| order.kind == OrderKind::RevokedKey);
        lines.extend(keys.map(|order| key_of_mark(order, who, now)));
        let detail = json!({"has": older.has, "had": had, "orders": orders.len(), "lost": lost.len(), "known": is_known});
        lines.push(audit::Record {
            time: now,
            kind: Kind::OlderStore,
            who: who.clone(),
            subject: String::new(),
            why: String::new(),
            detail: detail.as_object().cloned().unwrap_or_default(),
        });
        self.commit(&records, lines, |batch| {
            slots::are_unclean(batch, true)?;
            let seconds = u64::try_from(now.as_second()).unwrap_or_default();
            batch.open_table(META)?.insert(OLDER_AT, seconds)?;
            // What it does not have was let through, and is told by that it is an older one.
            tampered::look_anew(batch)?;
            let mut table = batch.open_table(ORDERS)?;
            for order in &orders {
                let bytes = serde_json::to_vec(order).map_err(|error| redb::Error::Io(error.into()))?;
                table.insert(order.row().as_str(), bytes.as_slice())?;
            }
            drop(table);
            let mut table = batch.open_table(LOST)?;
            for (id, version) in &lost {
                table.insert(id.as_str(), *version)?;
            }
            drop(table);
            let mut table = batch.open_table(LOST_CONFIGS)?;
            for config in &configs {
                table.insert(config.as_str(), 0)?;
            }
            Ok(())
        })?;
        self.take(records);
        let inner = self.kept.inner_mut();
        inner
            .orders
            .extend(orders.into_iter().map(|order| (order.row(), Standing { order, unsaved: false })));
        inner.lost.extend(lost);
        inner.older_at = Some(now);
        inner.configs.lost.extend(configs);
        inner.unclean.extend(slots::every_slot());
        Ok(older)
    }
}
