//! Reading the database while no daemon holds it.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{ReadableDatabase, StorageBackend};

use super::disk::{FILE, empty, on_backend};
use super::{Reader, StoreError};

impl Reader {
    /// Opens the store of a state directory for reading, while no daemon holds it. `None` where there is
    /// none.
    ///
    /// # Errors
    /// [`StoreError::Held`] where a daemon has it, and what the disk says.
    pub fn open(state_directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = state_directory.join(FILE);
        match path.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => open(&path).map(Some),
            Err(source) => Err(StoreError::Disk { path, step: "looking for it", source }),
        }
    }
}

/// Opens the database for reading, as long as no process holds it for writing. The file is not changed, also where a
/// process that was killed has left it to be repaired: that is done to a copy in memory.
fn open(path: &Path) -> Result<Reader, StoreError> {
    let disk = |source| StoreError::Disk { path: path.to_owned(), step: "reading it", source };
    let mut file = File::open(path).map_err(disk)?;
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Held { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(disk(source)),
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(disk)?;
    if bytes.is_empty() {
        return Err(empty(path));
    }
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes)).map_err(disk)?;
    let database = on_backend(path, copy)?;
    let transaction =
        database.begin_read().map_err(|error| StoreError::of_database(path, "reading it", error.into()))?;
    Ok(Reader::holding(path, transaction, (database, file)))
}
