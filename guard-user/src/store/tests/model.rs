//! A storage that is pessimistic: what was not synced may be lost in a power failure, in part and in any order,
//! the process may end before any step, and any step may fail.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

use super::super::disk::{self, Disk};
use super::Store;
use crate::store::StoreError;

/// What a disk writes at once, or not at all; even that is torn here.
const SECTOR: usize = 512;

/// One disk with one file on it; clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct ModelDisk(Arc<Mutex<Model>>);

#[derive(Clone, Default)]
struct Model {
    /// What a process sees.
    bytes: Vec<u8>,
    /// What each sector was at the last sync and after each write since, but for what it is now.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Lengths since the last sync, but for the present one.
    lengths: Vec<usize>,
    /// Steps until the process ends, or until one step fails.
    steps: Option<(usize, Then)>,
    /// The process has ended: it does not even read.
    ended: bool,
    /// A step that was to fail has failed.
    has_failed: bool,
    /// Steps so far.
    taken: usize,
    /// How many processes there were; handles of earlier ones do nothing any more.
    life: u64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({} bytes, {} steps)", self.bytes.len(), self.taken)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    End,
    /// So many steps fail, one after the other.
    Fail(usize),
    Panic,
}

/// How a process comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The kernel lives on and has all that was written.
    Killed,
    /// Of what was not synced a part is lost; the number chooses which.
    PowerLoss(u64),
}

/// What one process has of the disk.
#[derive(Debug)]
struct Handle {
    disk: ModelDisk,
    life: u64,
}

impl ModelDisk {
    /// A disk with an empty store, which has its name once it is whole.
    pub(crate) fn new() -> Self {
        let disk = Self(Arc::default());
        let handle = Handle { disk: disk.clone(), life: 0 };
        let database = redb::Builder::new().create_with_backend(handle).unwrap();
        disk::begin(&database).unwrap();
        drop(database);
        disk.restart(End::Killed);
        disk
    }

    /// Another disk with the same content.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.model().clone())))
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Store, StoreError> {
        let path = Path::new("store.redb");
        let (disk, life) = (self.clone(), self.model().life);
        match Disk::on_storage(path, move || Handle { disk: disk.clone(), life }) {
            Ok(disk) => Store::on(path.to_owned(), disk),
            Err(StoreError::Damaged { reason, .. }) => Ok(Store::unusable(path.to_owned(), reason)),
            Err(error) => Err(error),
        }
    }

    /// The store of the next process, which finds nothing wrong with it.
    pub(crate) fn open_store(&self) -> Store {
        let store = self.try_open().unwrap();
        assert_eq!(store.kept.problems(), []);
        store
    }

    /// After so many steps every further one fails: the process has ended.
    pub(crate) fn end_after(&self, steps: usize) {
        self.model().steps = Some((steps, Then::End));
    }

    /// After so many steps one fails, as on a full disk.
    pub(crate) fn fail_after(&self, steps: usize) {
        self.fail_during(steps, 1);
    }

    /// After so many steps the next ones fail, this many, and those after them do not.
    pub(crate) fn fail_during(&self, steps: usize, failures: usize) {
        let mut model = self.model();
        model.steps = Some((steps, Then::Fail(failures)));
        model.has_failed = false;
    }

    /// After so many steps the next one panics, as code does that meets what it was never to meet.
    pub(crate) fn panic_after(&self, steps: usize) {
        self.model().steps = Some((steps, Then::Panic));
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        self.model().steps = None;
    }

    /// Whether the process has ended, or the step that was to fail has failed.
    pub(crate) fn has_struck(&self) -> bool {
        let model = self.model();
        model.ended || model.has_failed
    }

    /// Steps that were asked for.
    pub(crate) fn steps_taken(&self) -> usize {
        self.model().taken
    }

    /// Ends the process, and leaves what the next one finds. A store of the one that ended can be dropped
    /// later: it does nothing any more.
    pub(crate) fn restart(&self, end: End) {
        let mut model = self.model();
        model.life += 1;
        model.ended = false;
        model.steps = None;
        model.has_failed = false;
        let (unsynced, mut lengths) =
            (std::mem::take(&mut model.unsynced), std::mem::take(&mut model.lengths));
        let End::PowerLoss(mut choice) = end else { return };
        let mut below = |limit: usize| {
            // Knuth's generator (The Art of Computer Programming, 3.3.4), whose high bits are the good ones.
            choice = choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(choice >> 33).unwrap() % limit
        };
        lengths.push(model.bytes.len());
        let length = lengths[below(lengths.len())];
        model.bytes.resize(length, 0);
        for (sector, mut versions) in unsynced {
            let place = sector * SECTOR..(sector * SECTOR + SECTOR).min(length);
            if place.is_empty() {
                continue;
            }
            let mut present = model.bytes[place.clone()].to_vec();
            present.resize(SECTOR, 0);
            versions.push(present);
            let chosen = below(versions.len());
            let mut left = versions[chosen].clone();
            if chosen > 0 && below(4) == 0 {
                // Torn within the sector.
                let torn = below(SECTOR);
                left[torn..].copy_from_slice(&versions[chosen - 1][torn..]);
            }
            let bytes = place.len();
            model.bytes[place].copy_from_slice(&left[..bytes]);
        }
    }

    /// Changes the file behind the store's back.
    pub(crate) fn damage(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.model().bytes);
    }
}

impl Model {
    /// Counts a step; the error says that it fails.
    fn step(&mut self) -> Result<(), io::Error> {
        self.taken += 1;
        match &mut self.steps {
            Some((0, Then::End)) => {
                self.ended = true;
                Err(failure())
            }
            Some((0, Then::Panic)) => panic!("a step that was to panic"),
            Some((0, Then::Fail(failures))) => {
                *failures -= 1;
                if *failures == 0 {
                    self.steps = None;
                }
                self.has_failed = true;
                Err(failure())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        for sector in offset / SECTOR..(offset + data.len()).div_ceil(SECTOR) {
            let mut before: Vec<u8> = self.bytes.iter().copied().skip(sector * SECTOR).take(SECTOR).collect();
            before.resize(SECTOR, 0);
            self.unsynced.entry(sector).or_default().push(before);
        }
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
    }
}

fn failure() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Handle {
    fn model(&self) -> Result<MutexGuard<'_, Model>, io::Error> {
        let model = self.disk.model();
        if model.life == self.life && !model.ended { Ok(model) } else { Err(failure()) }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.model()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let model = self.model()?;
        let offset = usize::try_from(offset).unwrap();
        let found = model.bytes.get(offset..offset + out.len());
        let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut model = self.model()?;
        model.step()?;
        let before = model.bytes.len();
        model.lengths.push(before);
        model.bytes.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut model = self.model()?;
        model.step()?;
        model.unsynced.clear();
        model.lengths.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut model = self.model()?;
        let offset = usize::try_from(offset).unwrap();
        let stepped = model.step();
        // One that fails may have come half the way.
        let written = if stepped.is_ok() { data } else { &data[..data.len() / 2] };
        model.write(offset, written);
        stepped
    }

    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}
