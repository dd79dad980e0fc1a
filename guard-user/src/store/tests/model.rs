//! A disk as pessimistic as POSIX allows: what was not synced may be lost in a power failure, in part and
//! in any order, and the process may end between any two steps.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::exemption::disk::Disk;
use crate::exemption::{Store, StoreError};

/// One handle on the disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelDisk(Arc<Mutex<Model>>);

#[derive(Debug, Default)]
struct Model {
    files: Vec<File>,
    /// What a process sees.
    names: BTreeMap<String, usize>,
    /// What is on the disk for certain.
    durable: BTreeMap<String, usize>,
    /// Changes of names that may be on the disk or not; each happens as a whole or not at all.
    pending: Vec<Vec<(String, Option<usize>)>>,
    /// Steps until the process ends, or until one step fails.
    steps: Option<(usize, Then)>,
    /// Steps so far.
    taken: usize,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    End,
    FailOnce,
}

/// How a process comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The kernel lives on and has all that was written.
    Killed,
    /// Of what was not synced a part is lost; the number chooses which.
    PowerLoss(u64),
}

impl ModelDisk {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    pub(super) fn open_store(&self) -> Result<Store, StoreError> {
        Store::on(PathBuf::from("exemptions"), Box::new(self.clone()))
    }

    /// After so many steps every further one fails: the process has ended.
    pub(super) fn end_after(&self, steps: usize) {
        self.model().steps = Some((steps, Then::End));
    }

    /// After so many steps one fails, as on a full disk.
    pub(super) fn fail_after(&self, steps: usize) {
        self.model().steps = Some((steps, Then::FailOnce));
    }

    /// Whether the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.model().steps == Some((0, Then::End))
    }

    /// Steps that were asked for.
    pub(super) fn steps_taken(&self) -> usize {
        self.model().taken
    }

    /// What the next process finds.
    pub(super) fn restart(&self, end: End) {
        let mut model = self.model();
        model.steps = None;
        if let End::PowerLoss(mut choice) = end {
            let mut chosen = || {
                // Knuth's generator (The Art of Computer Programming, 3.3.4), whose high bits are the good ones.
                choice =
                    choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                choice >> 33
            };
            let mut names = model.durable.clone();
            for change in std::mem::take(&mut model.pending) {
                if chosen() % 2 == 0 {
                    for (name, file) in change {
                        match file {
                            Some(file) => drop(names.insert(name, file)),
                            None => drop(names.remove(&name)),
                        }
                    }
                }
            }
            model.names = names;
            for file in &mut model.files {
                if file.bytes != file.synced {
                    let kept = usize::try_from(chosen()).unwrap() % (file.bytes.len() + 1);
                    file.bytes =
                        if chosen() % 2 == 0 { file.synced.clone() } else { file.bytes[..kept].to_vec() };
                }
                file.synced = file.bytes.clone();
            }
            model.durable = model.names.clone();
        }
    }

    /// Changes a file behind the store's back.
    pub(super) fn damage(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut model = self.model();
        let file = model.names[name];
        change(&mut model.files[file].bytes);
    }

    /// Puts a file there behind the store's back.
    pub(super) fn place(&self, name: &str, bytes: &[u8]) {
        let mut model = self.model();
        model.files.push(File { bytes: bytes.to_vec(), synced: bytes.to_vec() });
        let file = model.files.len() - 1;
        model.names.insert(name.to_owned(), file);
        model.durable.insert(name.to_owned(), file);
    }

    /// Takes a file away behind the store's back.
    pub(super) fn take(&self, name: &str) -> Vec<u8> {
        let mut model = self.model();
        let file = model.names.remove(name).unwrap();
        model.durable.remove(name);
        model.files[file].bytes.clone()
    }
}

impl Model {
    fn step(&mut self) -> io::Result<()> {
        self.taken += 1;
        match &mut self.steps {
            Some((0, then)) => {
                if *then == Then::FailOnce {
                    self.steps = None;
                }
                Err(io::ErrorKind::StorageFull.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Vec<(String, Option<usize>)>) {
        for (name, file) in &change {
            match file {
                Some(file) => drop(self.names.insert(name.clone(), *file)),
                None => drop(self.names.remove(name)),
            }
        }
        self.pending.push(change);
    }
}

impl Disk for ModelDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.model().names.keys().cloned().collect())
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let model = self.model();
        let bytes = &model.files[model.file(name)?].bytes;
        Ok(bytes.iter().copied().take(usize::try_from(most).unwrap()).collect())
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut model = self.model();
        model.step()?;
        let file = model.file(name).unwrap_or_else(|_| {
            model.files.push(File::default());
            let file = model.files.len() - 1;
            model.change(vec![(name.to_owned(), Some(file))]);
            file
        });
        model.files[file].bytes.clear();
        model.step()?;
        model.files[file].bytes = bytes[..bytes.len() / 2].to_vec();
        model.step()?;
        model.files[file].bytes = bytes.to_vec();
        model.step()?;
        model.files[file].synced = bytes.to_vec();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut model = self.model();
        model.step()?;
        let file = model.file(from)?;
        model.change(vec![(to.to_owned(), Some(file)), (from.to_owned(), None)]);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut model = self.model();
        model.step()?;
        model.file(name)?;
        model.change(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut model = self.model();
        model.step()?;
        model.durable = model.names.clone();
        model.pending.clear();
        Ok(())
    }
}
