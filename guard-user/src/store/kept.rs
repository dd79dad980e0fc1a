//! The exemptions as the disk has them, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use guard_common::abi::ExemptionUse;
use jiff::Timestamp;

use super::configs::Configs;
use super::entry::Entry;
use super::instruments::{Near, is_nearly};
use super::lifted_order::LiftedOrders;
use super::signed_files::SignedFiles;
use super::slots::every_slot;
use super::standing::Orders;
use super::tampered::Changed;
use super::unrecorded::Other;
use super::{Key, Problem, StoreError, Target};
use crate::audit::Kind;
use crate::compile::KernelExemption;
use crate::exemption::record::{Record, Use};
use crate::exemption::summary::is_spent;
use crate::exemption::{Clocks, Document, Earlier, Standing, State, Summary};

/// The exemptions as the disk has them: what the kernel may have open is computed from this and nothing else.
///
/// Only a [`Store`](super::Store) makes one, and none is more open than what was on the disk when it was made: an exemption
/// that was loaded, resumed, or granted more is in it once the disk has that. One that was stayed or closed is so
/// in it at once, also where the disk refused ([`unsaved`](Self::unsaved)).
///
/// It does not change, and a clone costs nothing.
#[derive(Clone, Debug)]
pub struct Kept(Arc<Inner>);

#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// The database, for errors.
    pub(super) path: PathBuf,
    /// Whether there is a database that can be used. Without one there is nothing to open.
    pub(super) usable: bool,
    /// Where it is not: whether what is in it is at fault.
    pub(super) is_damaged: bool,
    pub(super) entries: BTreeMap<Key, Arc<Entry>>,
    pub(super) orders: Orders,
    pub(super) lifted: LiftedOrders,
    /// Versions whose record can't be read: they are not loaded again.
    pub(super) unreadable: BTreeSet<Key>,
    /// The highest version of an id that was loaded once and is not here.
    pub(super) lost: BTreeMap<String, u32>,
    /// The configs that were in force.
    pub(super) configs: Configs,
    /// Who signed configs and geo databases.
    pub(super) signed_files: SignedFiles,
    /// Slots that no exemption holds and whose use in the kernel may be another exemption's.
    pub(super) unclean: BTreeSet<u16>,
    pub(super) problems: Vec<Problem>,
    /// When an older store, or another one, was seen in the place of the one that was there the last time.
    pub(super) older_at: Option<Timestamp>,
    /// The latest time that the trail and the marks knew; `None` where they knew none.
    pub(super) latest: Option<Timestamp>,
    /// That another config was live than the trail had, until somebody reloads one.
    pub(super) other_config: Option<Other>,
    /// Tables in the kernel that were found changed before this daemon, and uses that were, until somebody reloads.
    pub(super) changed_tables: Changed,
    /// When the daemon before this one last saw the kernel's counts grow; `None` where none did.
    pub(super) counted_before: Option<Timestamp>,
    pub(super) by_slot: BySlot,
}

/// Whose each slot is, found out when it is first asked for: the kernel's places are looked up after every input.
#[derive(Debug, Default)]
pub(super) struct BySlot(OnceLock<BTreeMap<u16, Arc<Entry>>>);

impl Clone for BySlot {
    /// A copy is made to be changed, so it finds out anew.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Kept {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// What it holds, for the store to change: snapshots that were handed out stay as they are.
    pub(super) fn inner_mut(&mut self) -> &mut Inner {
        let inner = Arc::make_mut(&mut self.0);
        inner.by_slot = BySlot::default();
        inner
    }

    /// Whether this is the same state, and not one that was changed since.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (&Key, &Entry)> {
        self.0.entries.iter().map(|(key, entry)| (key, entry.as_ref()))
    }

    pub(super) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.0.entries.get(key).map(AsRef::as_ref)
    }

    pub(super) fn standing(&self) -> &Orders {
        &self.0.orders
    }

    /// When an older store, or another one, was seen in the place of the one that was there the last time: what was loaded
    /// before may not be here. `None` where none was.
    #[must_use]
    pub fn older_at(&self) -> Option<Timestamp> {
        self.0.older_at
    }

    /// The latest time that audit trail and marks knew when this was opened; `None` where they knew none.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        self.0.latest
    }

    /// That another config was live than the audit trail had, in a sentence; until somebody reloads one.
    #[must_use]
    pub fn other_config(&self) -> Option<&str> {
        self.0.other_config.as_ref().map(|Other(words)| words.as_str())
    }

    /// The tables in the kernel that a daemon before this one has found changed, or by whose counts something is in no
    /// exemption's use, each with a sentence; until somebody reloads.
    pub fn changed_tables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.changed_tables.iter().map(|((table, _), words)| (table.as_str(), words.as_str()))
    }

    pub(super) fn lifted_orders(&self) -> &LiftedOrders {
        &self.0.lifted
    }

    pub(super) fn lost(&self) -> &BTreeMap<String, u32> {
        &self.0.lost
    }

    pub(super) fn signed_files(&self) -> &SignedFiles {
        &self.0.signed_files
    }

    /// The configs that were in force.
    pub(super) fn configs(&self) -> &Configs {
        &self.0.configs
    }

    /// Slots that no exemption holds and whose use in the kernel may be another exemption's.
    pub(super) fn unclean(&self) -> &BTreeSet<u16> {
        &self.0.unclean
    }

    pub(super) fn unreadable(&self) -> impl Iterator<Item = &Key> {
        self.0.unreadable.iter()
    }

    /// Whether the database could be read when it was opened. Without it nothing is open, and nothing is taken.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.0.usable
    }

    /// Whether it is unusable because of what is in it.
    pub(super) fn is_damaged(&self) -> bool {
        self.0.is_damaged
    }

    /// What can't be used of the store; each of these exemptions is closed.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// When a daemon before this one last found the kernel's counts to be more, and kept that, as the store had it when it was
    /// opened; `None` where none did. What was counted after that is booked by this one.
    #[must_use]
    pub fn counted_before(&self) -> Option<Timestamp> {
        self.0.counted_before
    }

    /// Exemptions that are stayed or closed here, which the disk refused to keep: after a restart they would be
    /// open.
    #[must_use]
    pub fn unsaved(&self) -> Vec<Key> {
        let unsaved = self.entries().filter(|(_, entry)| entry.unsaved);
        unsaved.map(|(key, _)| key.clone()).collect()
    }

    /// Whether something is closed here, or an order stands here, which the disk refused to keep.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.entries().any(|(_, entry)| entry.unsaved) || self.unsaved_orders().next().is_some()
    }

    /// Whether it holds any exemption that can be read.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.entries().any(|(_, entry)| entry.document.is_some())
    }

    /// Every exemption, in the order of ids and versions, as it is at this moment. Those that are among
    /// the [`problems`](Self::problems) are not here.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<Summary> {
        self.list_with(&[], now)
    }

    /// As [`list`](Self::list), with what the kernel has counted in slots by now and what is not
    /// [saved](super::Store::checkpoint_use) yet.
    #[must_use]
    pub fn list_with(&self, counts: &[(u16, Use)], now: Timestamp) -> Vec<Summary> {
        let readable = self.entries().filter_map(|(key, entry)| Some((key, entry.document.as_ref()?, entry)));
        let mut all: Vec<Summary> = readable
            .map(|(key, document, entry)| {
                let record = entry.record_with(&entry.counted(counts));
                self.with_orders(key, Summary::of_loaded(document, &record, now))
            })
            .collect();
        self.find_due(&mut all, now);
        all
    }

    /// The document behind the slot of an event or a flow.
    #[must_use]
    pub fn by_slot(&self, slot: u16) -> Option<&Document> {
        self.entry_by_slot(slot)?.document.as_deref()
    }

    /// The ids of the exemptions by the slots that they hold: also of closed ones, until these are given back.
    #[must_use]
    pub fn ids_by_slot(&self) -> BTreeMap<u16, &str> {
        let ids =
            self.entries().filter_map(|(_, entry)| Some((entry.document.as_ref()?, &entry.record.slots)));
        ids.flat_map(|(document, slots)| slots.iter().map(|slot| (*slot, document.id.as_str()))).collect()
    }

    /// Whether a target means the exemption in this slot.
    #[must_use]
    pub fn is_meant_in(&self, slot: u16, target: &Target) -> bool {
        let means = |entry: &Entry| {
            entry.document.as_deref().is_some_and(|it| target.covers(it, &entry.record.approvals))
        };
        self.entry_by_slot(slot).is_some_and(means)
    }

    fn entry_by_slot(&self, slot: u16) -> Option<&Entry> {
        let all = self.0.by_slot.0.get_or_init(|| {
            let mut all = BTreeMap::new();
            for entry in self.0.entries.values() {
                for slot in &entry.record.slots {
                    all.entry(*slot).or_insert_with(|| Arc::clone(entry));
                }
            }
            all
        });
        all.get(&slot).map(AsRef::as_ref)
    }

    /// What became of an exemption.
    #[must_use]
    pub fn record(&self, key: &Key) -> Option<&Record> {
        self.entry(key).map(|entry| &entry.record)
    }

    /// What an exemption's document says; `None` where it can't be read.
    #[must_use]
    pub fn document_of(&self, key: &Key) -> Option<&Document> {
        self.entry(key)?.document.as_deref()
    }

    /// The emergency that opened any of these pins last: its id, the pin, and when it was loaded.
    #[must_use]
    pub fn last_emergency(&self, pins: &[String]) -> Option<(String, String, Timestamp)> {
        let emergencies = self.entries().filter_map(|((id, _), entry)| {
            let document = entry.document.as_deref().filter(|it| it.emergency.is_some())?;
            let pin = document.pins.iter().find(|pin| pins.contains(pin))?;
            Some((id.clone(), pin.clone(), entry.record.loaded_at))
        });
        emergencies.max_by_key(|(.., loaded_at)| *loaded_at)
    }

    /// The version that is open of the exemption whose document is in a slot: an order means every version, and the
    /// disk may have taken a newer one before it.
    #[must_use]
    pub fn open_version_of(&self, document: &Document) -> Option<Key> {
        let key = self.version_of(&document.id).ok()?;
        self.record(&key).is_some_and(Record::is_active).then_some(key)
    }

    /// The version of an id: this one, else the one that is not closed, else the highest.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn find(&self, id: &str, version: Option<u32>) -> Result<Key, StoreError> {
        let Some(version) = version else { return self.version_of(id) };
        let key = (id.to_owned(), version);
        match self.entry(&key) {
            Some(_) => Ok(key),
            None => Err(StoreError::NotFound { id: format!("{id} version {version}") }),
        }
    }

    /// The version of an id that a change is for: the one that is not closed, else the highest.
    pub(super) fn version_of(&self, id: &str) -> Result<Key, StoreError> {
        let versions = || self.versions(id);
        let open = versions().find(|(_, entry)| !entry.record.is_closed() || entry.unsaved);
        let found = open.or_else(|| versions().next_back()).map(|(key, _)| key.clone());
        found.ok_or_else(|| StoreError::NotFound { id: id.to_owned() })
    }

    pub(super) fn versions(&self, id: &str) -> impl DoubleEndedIterator<Item = (&Key, &Entry)> {
        let range = self.0.entries.range((id.to_owned(), 0)..=(id.to_owned(), u32::MAX));
        range.map(|(key, entry)| (key, entry.as_ref()))
    }

    /// The highest version of an id that was ever loaded.
    pub(super) fn earlier(&self, id: &str) -> Option<Earlier> {
        let loaded = self.versions(id).map(|((_, version), entry)| {
            let standing = match entry.record.status.state() {
                _ if entry.document.is_none() => Standing::Closed,
                State::Expired | State::Exhausted => Standing::Over,
                _ if entry.record.is_closed() => Standing::Closed,
                _ => Standing::Open,
            };
            (*version, standing)
        });
        let unreadable = self.0.unreadable.iter().filter(|(its_id, _)| its_id == id);
        let gone = unreadable.map(|(_, version)| *version).chain(self.0.lost.get(id).copied());
        let all: Vec<(u32, Standing)> =
            loaded.chain(gone.map(|version| (version, Standing::Closed))).collect();
        let &(version, last) = all.iter().max_by_key(|(version, _)| *version)?;
        let is_open = all.iter().any(|(_, standing)| *standing == Standing::Open);
        Some(Earlier { version, standing: if is_open { Standing::Open } else { last } })
    }

    /// Whether a version of an id was ever loaded, also one that is not here any more or can't be read.
    #[must_use]
    pub fn was_loaded(&self, id: &str) -> bool {
        self.earlier(id).is_some()
    }

    /// The ids of which a version was ever loaded, some of them more than once.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let keys = self.0.entries.keys().chain(&self.0.unreadable).map(|(id, _)| id.as_str());
        keys.chain(self.0.lost.keys().map(String::as_str))
    }

    /// The exemptions that the kernel is to have, by its own clock. A pin that the config does not have
    /// any more is left out, and an exemption without pins too.
    #[must_use]
    pub fn kernel_exemptions(&self, clocks: &Clocks, pins: &[String]) -> Vec<KernelExemption> {
        self.entries().flat_map(|(_, entry)| entry.to_kernel(clocks, pins)).collect()
    }

    /// The active exemptions that name a pin that is not among these, by id, with those pins.
    #[must_use]
    pub fn without_pins(&self, pins: &[String]) -> Vec<(&str, Vec<&str>)> {
        let active = self.entries().filter(|(_, entry)| entry.is_active());
        let lacking = active.filter_map(|(_, entry)| {
            let document = entry.document.as_deref()?;
            let lacking: Vec<&str> =
                document.pins.iter().filter(|pin| !pins.contains(pin)).map(String::as_str).collect();
            (!lacking.is_empty()).then_some((document.id.as_str(), lacking))
        });
        lacking.collect()
    }

    /// The active exemptions, with what became of them.
    pub fn open(&self) -> impl Iterator<Item = (&Document, &Record)> {
        let active = self.entries().filter(|(_, entry)| entry.is_active());
        active.filter_map(|(_, entry)| Some((entry.document.as_deref()?, &entry.record)))
    }

    /// What [`Store::close_what_is_over`](super::Store::close_what_is_over) would close.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> Vec<Key> {
        self.over(now).into_iter().map(|(key, _)| key).collect()
    }

    /// What is over, and whether its time or its quota ended.
    pub(super) fn over(&self, now: Timestamp) -> Vec<(Key, Kind)> {
        let why = |entry: &Entry| {
            let document = entry.document.as_ref().filter(|_| !entry.record.is_closed())?;
            if document.ends() <= now {
                Some(Kind::Expire)
            } else {
                let spent = entry.is_active() && is_spent(document, entry.record.used());
                spent.then_some(Kind::Exhaust)
            }
        };
        self.entries().filter_map(|(key, entry)| Some((key.clone(), why(entry)?))).collect()
    }
}

/// Instruments.
impl Kept {
    /// The name that is nearly this one, on which nothing that was ever loaded rests: an order with a slip in it closes nothing.
    pub(super) fn near(&self, name: &str) -> Option<Near> {
        let of = |wanted_open: bool| {
            let entries = self.entries().filter(move |(_, entry)| entry.can_be_closed() == wanted_open);
            entries.filter_map(|(_, entry)| Some(entry.document.as_ref()?.instrument.name.as_str()))
        };
        let nearly = |its: &&str| is_nearly(name, its);
        let open = of(true).find(nearly).map(|its| Near::Open(its.to_owned()));
        open.or_else(|| of(false).find(nearly).map(|its| Near::OfClosed(its.to_owned())))
    }

    /// Whether everybody who may look may read this name: an exemption that is not confidential has it. A name with
    /// a slip in it may be nearly one that is confidential.
    #[must_use]
    pub fn is_public_instrument(&self, name: &str) -> bool {
        let is_it = |document: &Document| !document.confidential && document.instrument.name == name;
        self.entries().any(|(_, entry)| entry.document.as_deref().is_some_and(is_it))
    }
}

/// Slots.
impl Kept {
    /// Slots of exemptions that are not open, which no generation uses any more once one without them is
    /// live: their use is to be saved by [`Store::checkpoint_use`](super::Store::checkpoint_use) and reset in the kernel.
    #[must_use]
    pub fn slots_to_reset(&self) -> Vec<u16> {
        let closed = self.entries().filter(|(_, entry)| !entry.is_active());
        let held = closed.flat_map(|(_, entry)| entry.record.slots.iter().copied());
        let slots: BTreeSet<u16> = held.chain(self.0.unclean.iter().copied()).collect();
        slots.into_iter().collect()
    }

    /// The accounts of these exemptions.
    #[must_use]
    pub fn accounts_of(&self, keys: &[Key]) -> Vec<u16> {
        keys.iter().filter_map(|key| self.entry(key)?.record.account()).collect()
    }

    /// Every slot that one of these exemptions holds.
    #[must_use]
    pub fn slots_of(&self, keys: &[Key]) -> Vec<u16> {
        let entries = keys.iter().filter_map(|key| self.entry(key));
        entries.flat_map(|entry| entry.record.slots.iter().copied()).collect()
    }

    /// Every slot that an exemption holds: those whose use is to be saved.
    #[must_use]
    pub fn slots_in_use(&self) -> Vec<u16> {
        self.entries().flat_map(|(_, entry)| entry.record.slots.iter().copied()).collect()
    }

    /// What the kernel is known to have counted in the slots of exemptions that are open: it has no less there, unless somebody
    /// has lowered it.
    #[must_use]
    pub fn counted_in_slots(&self) -> Vec<(u16, ExemptionUse)> {
        self.entries()
            .filter(|(_, entry)| entry.is_active())
            .flat_map(|(_, entry)| entry.counted_in_slots())
            .collect()
    }

    /// So many slots that no exemption holds.
    pub(super) fn free_slots(&self, wanted: usize) -> Result<Vec<u16>, StoreError> {
        if !self.0.usable {
            return Err(StoreError::unusable(&self.0.path, self.0.is_damaged));
        }
        let free: Vec<u16> = every_slot().filter(|slot| self.is_free(*slot)).take(wanted).collect();
        match free.len() < wanted {
            true => Err(StoreError::NoSlot { wanted, free: free.len(), renewed: 0 }),
            false => Ok(free),
        }
    }

    /// Whether an exemption may be given this slot.
    pub(super) fn is_free(&self, slot: u16) -> bool {
        let held = self.entries().any(|(_, entry)| entry.record.slots.contains(&slot));
        self.0.usable && !held && !self.0.unclean.contains(&slot)
    }
}
