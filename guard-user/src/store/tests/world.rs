//! The store with everything around it: a kernel that charges as much as it was told it may, a daemon that
//! may end at any step, and what was said to the users.

mod by_recipient;

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::MAX_EXEMPTIONS;
use proptest::prelude::*;

use super::key_of;
use super::model::{End, ModelDisk};
use super::told::{Is, told};
use super::{OVER, clocks, good_with, load, named, now, pins, time, who};
use crate::store::{Change, Key, LoadError, Store, StoreError, Target};

pub(super) const IDS: [&str; 4] = ["a", "b.v1", "..c", "d"];
const INSTRUMENTS: [&str; 2] = ["US-Ireland MLAT 2001", "SCC with Example Inc."];

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Load(usize),
    Replace(usize),
    /// An order of these, [`order`].
    Stay(usize, usize),
    Resume(usize, usize),
    Revoke(usize),
    Invalidate(usize),
    /// The key that approved this one is revoked.
    RevokeKey(usize),
    /// The kernel lets packets through.
    Charge(usize, u64),
    /// The daemon looks at the kernel's counts; at worst while a charge of so much is taken back.
    Look(u64),
    Grant,
    /// A new generation, and the places that it frees.
    Publish,
    CloseWhatIsOver(bool),
    /// Everything is detached in good order.
    Detach,
}

/// How many orders there are on each exemption.
const ORDERS: usize = 3;

/// What an order covers, and its reference: two on one exemption, and one that covers two of them.
fn order(index: usize, which: usize) -> (Target, String) {
    let id = || Target::Id(IDS[index].into());
    match which {
        0 => (id(), "an order".into()),
        1 => (id(), "another order".into()),
        _ => (Target::Instrument(INSTRUMENTS[index % 2].into()), "an order".into()),
    }
}

/// Each document has a quota that its slices do not divide, but for the last, which has none.
pub(super) fn quota(index: usize) -> Option<u64> {
    [Some(1_000_000), Some((1 << 30) + 77), Some((5 << 30) + 1), None][index]
}

fn index_of(id: &str) -> usize {
    IDS.iter().position(|it| *it == id).unwrap()
}

pub(super) fn document(index: usize, version: u32, replaces: Option<u32>) -> String {
    let text = match index {
        // It needs two slots.
        1 => good_with(&[
            ("\"mlat-1\"", &format!("{:?}", IDS[1])),
            ("version = 1", &format!("version = {version}")),
        ]),
        _ => named(IDS[index], version),
    };
    let quota = quota(index).map_or_else(String::new, |quota| format!("quota_bytes = {quota}\n"));
    let text =
        text.replace("quota_bytes = 1_000_000\n", &quota).replace(INSTRUMENTS[0], INSTRUMENTS[index % 2]);
    match replaces {
        Some(old) => text.replace("\npins", &format!("\nreplaces = {old}\npins")),
        None => text,
    }
}

pub(super) fn events() -> impl Strategy<Value = Vec<Event>> {
    let id = || 0..IDS.len();
    let event = prop_oneof![
        5 => id().prop_map(Event::Load),
        1 => id().prop_map(Event::Replace),
        3 => (id(), 0..ORDERS).prop_map(|(id, order)| Event::Stay(id, order)),
        3 => (id(), 0..ORDERS).prop_map(|(id, order)| Event::Resume(id, order)),
        1 => id().prop_map(Event::Revoke),
        1 => (0..2_usize).prop_map(Event::Invalidate),
        1 => id().prop_map(Event::RevokeKey),
        5 => (id(), prop_oneof![1..2000_u64, 1..(1_u64 << 33)]).prop_map(|(id, n)| Event::Charge(id, n)),
        3 => prop_oneof![Just(0), 1..1600_u64].prop_map(Event::Look),
        2 => Just(Event::Grant),
        4 => Just(Event::Publish),
        1 => prop::bool::weighted(0.1).prop_map(Event::CloseWhatIsOver),
        1 => Just(Event::Detach),
    ];
    prop::collection::vec(event, 1..16)
}

/// What spends quotas: packets, as many as the kernel lets through, and what goes on around them.
pub(super) fn spending() -> impl Strategy<Value = Vec<Event>> {
    let id = || 0..3_usize;
    let event = prop_oneof![
        6 => (id(), prop_oneof![Just(u64::MAX), 1..(1_u64 << 28)]).prop_map(|(id, n)| Event::Charge(id, n)),
        2 => Just(Event::Look(0)),
        2 => Just(Event::Grant),
        4 => Just(Event::Publish),
        1 => id().prop_map(|id| Event::Stay(id, 0)),
        1 => id().prop_map(|id| Event::Resume(id, 0)),
        1 => Just(Event::Detach),
    ];
    prop::collection::vec(event, 1..16)
}

pub(super) fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Killed), any::<u64>().prop_map(End::PowerLoss)]
}

#[derive(Clone, Debug)]
struct Said {
    is: Is,
    /// Bytes that were said to be used.
    used: u64,
    text: String,
}

/// What one account of the kernel has.
#[derive(Clone, Debug)]
struct Account {
    key: Key,
    quota: u64,
    /// The slots that share it, one for each recipient.
    slots: Vec<u16>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    said: BTreeMap<Key, Said>,
    /// The orders that were said to stand.
    orders: BTreeSet<(Target, String)>,
    /// An order that was given or lifted without an answer: it may stand or not.
    order_question: Option<(Target, String)>,
    /// What was asked for without an answer: what each may be now beside what was said.
    open_question: BTreeMap<Key, (Is, String)>,
    /// The kernel's table, by account.
    table: BTreeMap<u16, Account>,
    /// What the kernel has counted in each slot.
    counts: BTreeMap<u16, u64>,
    /// What crossed in truth.
    crossed: BTreeMap<Key, u64>,
    /// What crossed to each recipient in truth.
    crossed_to: BTreeMap<Key, Vec<u64>>,
    /// What was said that each recipient got.
    said_to: BTreeMap<Key, Vec<u64>>,
    /// Counts went with the host, or were read while a charge was taken back: what is told need not be what crossed.
    is_blurred: bool,
    /// The kernel's counters began anew, and the store has not said that it knows.
    anew: bool,
}

impl World {
    /// A store in which these have happened, with its disk, of which the process was then killed.
    pub(super) fn after(events: &[Event]) -> (ModelDisk, Self) {
        let disk = ModelDisk::new();
        let mut world = Self::default();
        let mut store = disk.open_store();
        for event in events {
            assert!(world.happen(&mut store, *event, &disk));
        }
        disk.restart(End::Killed);
        (disk, world)
    }

    fn latest(&self, id: &str) -> Option<(Key, Said)> {
        let mut versions = self.said.iter().filter(|((its_id, _), _)| its_id == id);
        versions.next_back().map(|(key, said)| (key.clone(), said.clone()))
    }

    /// One event; false where the disk did not let it come to its end.
    pub(super) fn happen(&mut self, store: &mut Store, event: Event, disk: &ModelDisk) -> bool {
        self.open_question.clear();
        self.order_question = None;
        let answer = self.try_to(store, event);
        if let Err(error) = &answer {
            assert!(disk.has_struck(), "{event:?}: {error}");
        }
        answer.is_ok()
    }

    fn try_to(&mut self, store: &mut Store, event: Event) -> Result<(), StoreError> {
        match event {
            Event::Load(index) => self.load(store, index, false),
            Event::Replace(index) => self.load(store, index, true),
            Event::Stay(index, which) => {
                let (target, order) = order(index, which);
                self.change(store, &target, &Change::Stay { order })
            }
            Event::Resume(index, which) => {
                let (target, order) = order(index, which);
                self.change(store, &target, &Change::Resume { order: Some(order), why: "lifted".into() })
            }
            Event::Revoke(index) => {
                self.change(store, &Target::Id(IDS[index].into()), &Change::Revoke { why: "over".into() })
            }
            Event::Invalidate(which) => {
                let target = Target::Instrument(INSTRUMENTS[which].into());
                self.change(store, &target, &Change::Invalidate { why: "it fell".into() })
            }
            Event::RevokeKey(index) => {
                let target = Target::Key(key_of(IDS[index]));
                self.change(store, &target, &Change::RevokeKey { why: "it was lost".into() })
            }
            Event::Charge(index, bytes) => {
                self.charge(index, bytes);
                Ok(())
            }
            Event::Look(more) => self.look(store, more),
            Event::Grant => store.grant().map(drop),
            Event::Publish => self.publish(store),
            Event::CloseWhatIsOver(all) => self.close_what_is_over(store, all),
            Event::Detach => self.detach(store),
        }
    }

    fn load(&mut self, store: &mut Store, index: usize, replace: bool) -> Result<(), StoreError> {
        let latest = self.latest(IDS[index]);
        let open = latest.as_ref().is_some_and(|(_, said)| said.is != Is::Closed);
        if open != replace {
            return Ok(());
        }
        let covers = |(target, _): &(Target, String)| match target {
            Target::Id(id) => *id == IDS[index],
            Target::Key(key) => *key == key_of(IDS[index]),
            target => *target == order(index, 2).0,
        };
        let held = self.orders.iter().any(covers);
        assert!(held || latest.as_ref().is_none_or(|(_, said)| said.is != Is::Stayed), "no order stays it");
        let old = latest.map(|((_, version), _)| version);
        let key: Key = (IDS[index].to_owned(), old.map_or(1, |old| old + 1));
        let text = document(index, key.1, old.filter(|_| replace));
        let mut became = vec![(key.clone(), Is::Open, text.clone())];
        if let (true, Some(old)) = (replace, old) {
            became.push(((key.0.clone(), old), Is::Closed, String::new()));
        }
        if held {
            // A new version may not open what an order holds.
            let refused = load(store, &text);
            let is_held = matches!(
                refused,
                Err(LoadError::Store(StoreError::State { .. } | StoreError::HeldByOrder { .. }))
            );
            assert!(is_held, "{refused:?}");
            return Ok(());
        }
        let loaded = load(store, &text);
        let loaded = loaded.map(drop).map_err(|error| match error {
            LoadError::Store(error) => error,
            other => panic!("{other}"),
        });
        if loaded.is_ok() {
            self.said.insert(key, Said { is: Is::Open, used: 0, text });
        } else {
            assert_eq!(store.kept.record(&became[0].0), None, "one that was not loaded is not there");
        }
        self.answered(&became, loaded)
    }

    fn change(&mut self, store: &mut Store, target: &Target, change: &Change) -> Result<(), StoreError> {
        let keys = match store.affected(target, change, now()) {
            Ok(keys) => keys,
            Err(
                StoreError::State { .. }
                | StoreError::NotFound { .. }
                | StoreError::NoSuchInstrument { .. }
                | StoreError::OrderStands { .. }
                | StoreError::NoSuchOrder { .. }
                | StoreError::NothingCovered { .. }
                | StoreError::NotResumable { .. },
            ) => return Ok(()),
            Err(other) => return Err(other),
        };
        let is = match change {
            Change::Stay { .. } => Is::Stayed,
            Change::Resume { .. } => Is::Open,
            Change::Revoke { .. } | Change::Invalidate { .. } | Change::RevokeKey { .. } => Is::Closed,
        };
        let became: Vec<_> = keys.into_iter().map(|key| (key, is, String::new())).collect();
        let done = store.change(target, change, &who(), now()).map(drop);
        let given = match change {
            Change::Stay { order } => Some((order, true)),
            Change::Resume { order, .. } => order.as_ref().map(|order| (order, false)),
            // A name that has fallen is not loaded any more.
            Change::Invalidate { why } | Change::RevokeKey { why } => Some((why, true)),
            Change::Revoke { .. } => None,
        };
        if let Some((order, stands)) = given {
            let order = (target.clone(), order.clone());
            let here = store.kept.orders().any(|it| (&it.covers, &it.order) == (&order.0, &order.1));
            assert_eq!(
                here,
                stands || done.is_err(),
                "in this process an order stands whatever the disk did"
            );
            match (&done, stands) {
                (Err(_), _) => self.order_question = Some(order),
                (Ok(()), true) => drop(self.orders.insert(order)),
                (Ok(()), false) => drop(self.orders.remove(&order)),
            }
        }
        for (key, is, _) in &became {
            let here = Is::of(store.kept.record(key).unwrap());
            let held = if done.is_err() && *is == Is::Open { self.said[key].is } else { *is };
            assert_eq!(here, held, "in this process {key:?} is closed whatever the disk did");
        }
        self.answered(&became, done)
    }

    fn close_what_is_over(&mut self, store: &mut Store, all: bool) -> Result<(), StoreError> {
        let moment = if all { time(OVER) } else { now() };
        let done = store.close_what_is_over(&who(), moment, moment);
        // Those are closed here in either case.
        let became: Vec<_> = self
            .said
            .iter()
            .filter(|(key, said)| said.is != Is::Closed && store.kept.record(key).unwrap().is_closed())
            .map(|(key, _)| (key.clone(), Is::Closed, String::new()))
            .collect();
        assert!(!all || self.said.keys().all(|key| store.kept.record(key).unwrap().is_closed()));
        self.answered(&became, done.map(drop))
    }

    /// What was said, or what nobody can know.
    fn answered(
        &mut self,
        became: &[(Key, Is, String)],
        answer: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for (key, is, text) in became {
            if answer.is_ok() {
                self.said.get_mut(key).unwrap().is = *is;
            } else {
                self.open_question.insert(key.clone(), (*is, text.clone()));
            }
        }
        answer
    }

    fn look(&mut self, store: &mut Store, more: u64) -> Result<(), StoreError> {
        let counts = self.kernel_counts(store, more);
        self.is_blurred |= more > 0;
        let looked = store.checkpoint_use(&counts, now());
        if looked.is_ok() {
            for (key, said) in &mut self.said {
                let used = store.kept.record(key).unwrap().used().bytes;
                assert!(used >= said.used, "{key:?}: use has shrunk");
                said.used = used;
                let slots = store.kept.slots_of(std::slice::from_ref(key));
                if !slots.is_empty() && more == 0 {
                    let counted: u64 =
                        slots.iter().map(|slot| self.counts.get(slot).copied().unwrap_or(0)).sum();
                    assert!(used >= counted.min(quota(index_of(&key.0)).unwrap_or(u64::MAX)), "{key:?}");
                }
            }
        }
        if looked.is_ok() {
            self.compare_recipients(store, true);
        }
        looked
    }

    /// A new generation goes live; then the places that it does not use are freed.
    fn publish(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let entries = store.kept.kernel_exemptions(&clocks(), &pins());
        self.table.clear();
        let mut slots = std::collections::BTreeSet::new();
        for entry in &entries {
            assert!(usize::from(entry.slot) < MAX_EXEMPTIONS);
            assert!(slots.insert(entry.slot), "two have the slot {}", entry.slot);
            let of = store.kept.by_slot(entry.slot).unwrap();
            let key = (of.id.clone(), of.version);
            let new = Account { key: key.clone(), quota: entry.quota, slots: Vec::new() };
            let account = self.table.entry(entry.account).or_insert(new);
            assert_eq!((&account.key, account.quota), (&key, entry.quota), "one account, one quota");
            account.slots.push(entry.slot);
            assert_eq!(store.kept.record(&key).unwrap().account(), Some(entry.account));
        }
        let free = store.kept.slots_to_reset();
        assert!(free.iter().all(|slot| !slots.contains(slot)), "a slot in use is never reset");
        if free.is_empty() {
            return Ok(());
        }
        self.look(store, 0)?;
        for slot in &free {
            self.counts.remove(slot);
        }
        store.slots_were_reset(&free)
    }

    fn detach(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let counts = self.kernel_counts(store, 0);
        self.table.clear();
        self.counts.clear();
        self.anew = true;
        let ended = store.counters_end(&counts, now());
        // Nobody has the kernel's counts any more.
        self.is_blurred |= ended.is_err();
        ended?;
        self.begin_anew(store)
    }

    fn begin_anew(&mut self, store: &mut Store) -> Result<(), StoreError> {
        store.counters_began_anew(now())?;
        self.anew = false;
        store.grant().map(drop)
    }

    /// One step has failed, and the process goes on: what opens is not done, and what closes is. Where the kernel's
    /// counters began anew, the store learns of it before anything is published, as at a start of the daemon.
    pub(super) fn go_on(&mut self, store: &mut Store) {
        self.orders.extend(self.order_question.take());
        let questions = std::mem::take(&mut self.open_question);
        if questions.values().all(|(is, _)| *is != Is::Open) {
            for (key, (is, _)) in questions {
                self.said.get_mut(&key).unwrap().is = is;
            }
        }
        if self.anew {
            self.begin_anew(store).unwrap();
        }
    }

    /// The process and perhaps the host go down, and come up again.
    pub(super) fn go_down(&mut self, disk: &ModelDisk, end: End) {
        disk.restart(end);
        if matches!(end, End::PowerLoss(_)) {
            self.table.clear();
            self.counts.clear();
            self.anew = true;
            self.is_blurred = true;
        }
    }

    /// Holds the store of the next process against what was said, and takes over what was left open.
    pub(super) fn compare(&mut self, store: &mut Store) {
        let questions = std::mem::take(&mut self.open_question);
        for (key, (is, text)) in &questions {
            if store.kept.record(key).is_some_and(|record| Is::of(record) == *is) {
                let said = Said { is: *is, used: 0, text: text.clone() };
                self.said.entry(key.clone()).or_insert(said).is = *is;
            }
        }
        if let Some(order) = self.order_question.take() {
            match store.kept.orders().any(|it| (&it.covers, &it.order) == (&order.0, &order.1)) {
                true => drop(self.orders.insert(order)),
                false => drop(self.orders.remove(&order)),
            }
        }
        self.compare_answered(store);
        if self.anew {
            self.begin_anew(store).unwrap();
        } else {
            store.grant().unwrap();
        }
    }

    /// Every exemption is what was said, and the trail tells the same.
    fn compare_answered(&mut self, store: &Store) {
        let listed: Vec<Key> = store.kept.list(now()).into_iter().map(|it| (it.id, it.version)).collect();
        assert_eq!(listed, self.said.keys().cloned().collect::<Vec<_>>(), "each is there that was loaded");
        for (key, said) in &mut self.said {
            let record = store.kept.record(key).unwrap();
            assert_eq!(Is::of(record), said.is, "{key:?}: {record:?}");
            assert!(record.used().bytes >= said.used, "{key:?}: use has shrunk");
            said.used = record.used().bytes;
            let stored = store.stored(key).unwrap().unwrap();
            assert!(stored.bytes == said.text.as_bytes(), "{key:?} is byte for byte what was loaded");
            assert_eq!(stored.signatures, ["one", "two"].map(Vec::from));
        }
        let stand: BTreeSet<_> =
            store.kept.orders().map(|it| (it.covers.clone(), it.order.clone())).collect();
        assert_eq!(stand, self.orders, "each order stands until it is lifted");
        self.compare_recipients(store, false);
        let told: BTreeMap<Key, Is> = told(store);
        let is: BTreeMap<Key, Is> = self.said.iter().map(|(key, said)| (key.clone(), said.is)).collect();
        assert_eq!(told, is, "the trail tells what is");
    }
}
