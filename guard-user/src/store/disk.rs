//! The database on the disk: one file of `redb`, and transactions that are all or nothing.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, WriteTransaction};

use super::place::Place;
use super::read::Reader;
use super::tables::{
    AUDIT, COUNTS_BY_DAY, CURSORS, DOCUMENTS, FORMAT, FORMAT_KEY, META, PIN_COUNTS, RECORDS, SAVED_COUNTS,
    SIGNATURES, USE_BY_DAY,
};
use super::{StoreError, new_file};

/// The database's name in the state directory.
pub const FILE: &str = "store.redb";

/// What the database is on, to be opened again.
enum Storage {
    File(Place),
    /// Another storage, and what opens it.
    #[cfg(test)]
    Model(Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>),
}

/// The database, open for writing, and locked against every other process.
pub(super) struct Disk {
    path: PathBuf,
    /// `None` where it could not be opened again after a failure.
    database: Option<Database>,
    storage: Storage,
}

impl Disk {
    /// Opens the database, or makes it, for its owner alone.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |step: &'static str| {
            let path = path.to_owned();
            move |source| StoreError::Disk { path, step, source }
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("making its folder"))?;
        if !path.try_exists().map_err(failed("looking for it"))? {
            make(path, folder)?;
        }
        let file = open_file(path, OpenOptions::new().read(true).write(true))?;
        check_owner(path, &file)?;
        if is_empty(path, &file)? {
            return Err(empty(path));
        }
        Self::on_file(path, file)
    }

    /// The database in a file that is open, and that has this path or will have it.
    pub(super) fn on_file(path: &Path, file: File) -> Result<Self, StoreError> {
        let place = Place::of(path, &file).map_err(|source| StoreError::Disk {
            path: path.to_owned(),
            step: "opening it by /proc",
            source,
        })?;
        Self::on(path, on_file(path, file)?, Storage::File(place))
    }

    /// The database on any storage, which is opened anew after each failure.
    #[cfg(test)]
    pub(super) fn on_storage<S: redb::StorageBackend>(
        path: &Path,
        storage: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let here = path.to_owned();
        let open = move || on_backend(&here, storage());
        Self::on(path, open()?, Storage::Model(Box::new(open)))
    }

    fn on(path: &Path, database: Database, storage: Storage) -> Result<Self, StoreError> {
        let disk = Self { path: path.to_owned(), database: Some(database), storage };
        let damaged = |reason| Err(StoreError::Damaged { path: path.to_owned(), reason });
        match disk.read(path)?.number(FORMAT_KEY)? {
            Some(FORMAT) => Ok(disk),
            Some(other) => damaged(format!("its form is {other}, and this version reads {FORMAT}")),
            None => damaged("it is a database without a form, and not this program's".to_owned()),
        }
    }

    /// Opens the database again: after a failure it takes no further write. It is what it was before the
    /// transaction that failed, or after it. The file is the same one, whatever has its name by now.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        // Its lock is let go first.
        self.database = None;
        self.database = Some(match &self.storage {
            Storage::File(place) => {
                let failed =
                    |source| StoreError::Disk { path: self.path.clone(), step: "opening it again", source };
                on_file(&self.path, place.open().map_err(failed)?)?
            }
            #[cfg(test)]
            Storage::Model(open) => open()?,
        });
        Ok(())
    }

    /// Where the file is.
    pub(super) fn place(&self) -> Option<&Place> {
        match &self.storage {
            Storage::File(place) => Some(place),
            #[cfg(test)]
            Storage::Model(_) => None,
        }
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::PreviousIo)
    }

    /// One transaction: all of it is on the disk when this returns `Ok`, and nothing of it else.
    pub(super) fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let transaction = || {
            let mut batch = self.database()?.begin_write()?;
            // Both copies of the root are never written at once: a write that the disk tore is seen for what it
            // is, whatever the torn bytes are.
            batch.set_two_phase_commit(true);
            change(&batch)?;
            Ok(batch.commit()?)
        };
        transaction().map_err(|error: redb::Error| StoreError::of_database(&self.path, "writing it", error))
    }

    /// The database as it is now.
    pub(super) fn read(&self, path: &Path) -> Result<Reader, StoreError> {
        let transaction = self
            .database()
            .and_then(|database| Ok(database.begin_read()?))
            .map_err(|error| StoreError::of_database(path, "reading it", error))?;
        Ok(Reader::new(path, transaction))
    }
}

/// Who can write the store can open every exemption: it has to be this user's or root's alone.
fn check_owner(path: &Path, file: &File) -> Result<(), StoreError> {
    let failed = |source| StoreError::Disk { path: path.to_owned(), step: "trusting it", source };
    let found = file.metadata().map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    let why = if found.uid() != own && found.uid() != 0 {
        format!("it belongs to the user {}, who could have written any exemption into it", found.uid())
    } else if found.mode() & 0o022 != 0 {
        format!("its group or everyone may write it (mode {:o})", found.mode() & 0o777)
    } else {
        return Ok(());
    };
    Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, why)))
}

/// Makes an empty database. It gets its name once it is whole, so that what has the name and is empty or half
/// is one that was damaged, and never taken for a new one.
fn make(path: &Path, folder: &Path) -> Result<(), StoreError> {
    let failed = |step: &'static str| {
        let path = path.to_owned();
        move |source| StoreError::Disk { path, step, source }
    };
    let lock = File::open(folder).map_err(failed("opening its folder"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Held { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed("locking its folder")(source)),
    }
    let unfinished = path.with_extension("new");
    new_file::remove_left(&unfinished).map_err(failed("removing what was left of making it"))?;
    let database = on_file(&unfinished, open_file(&unfinished, &mut new_file::private())?)?;
    begin(&database).map_err(|error| StoreError::of_database(path, "making it", error))?;
    // What it writes as it is closed is on the disk before it gets its name.
    drop(database);
    let whole = File::open(&unfinished).and_then(|file| file.sync_all());
    whole.and_then(|()| std::fs::rename(&unfinished, path)).map_err(failed("naming it"))?;
    lock.sync_all().map_err(failed("syncing its folder"))
}

/// Makes the tables of a new database.
pub(super) fn begin(database: &Database) -> Result<(), redb::Error> {
    let batch = database.begin_write()?;
    batch.open_table(DOCUMENTS)?;
    batch.open_table(SIGNATURES)?;
    batch.open_table(RECORDS)?;
    batch.open_table(AUDIT)?;
    batch.open_table(USE_BY_DAY)?;
    batch.open_table(COUNTS_BY_DAY)?;
    batch.open_table(SAVED_COUNTS)?;
    batch.open_table(PIN_COUNTS)?;
    batch.open_table(CURSORS)?;
    batch.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    Ok(batch.commit()?)
}

fn open_file(path: &Path, options: &mut OpenOptions) -> Result<File, StoreError> {
    let disk = |source| StoreError::Disk { path: path.to_owned(), step: "opening it", source };
    // Never by way of a symbolic link.
    options.custom_flags(libc::O_NOFOLLOW).open(path).map_err(disk)
}

fn is_empty(path: &Path, file: &File) -> Result<bool, StoreError> {
    let disk = |source| StoreError::Disk { path: path.to_owned(), step: "looking at it", source };
    Ok(file.metadata().map_err(disk)?.len() == 0)
}

fn on_file(path: &Path, file: File) -> Result<Database, StoreError> {
    let backend = FileBackend::new(file).map_err(|error| opening(path, error))?;
    on_backend(path, backend)
}

/// The database on a storage that is open.
pub(super) fn on_backend(path: &Path, backend: impl redb::StorageBackend) -> Result<Database, StoreError> {
    /// Bytes of pages that are kept in memory; the rest is the page cache's.
    const CACHE: usize = 8 << 20;
    let mut builder = redb::Builder::new();
    // Every page is held against its checksum, once: a damaged one would end the process later, or say
    // something else than what was written.
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder.create_with_backend(backend).map_err(|error| opening(path, error))
}

/// An empty file was damaged: a new store gets its name once it is whole.
pub(super) fn empty(path: &Path) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason: "it is empty".to_owned() }
}

fn opening(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Held { path: path.to_owned() },
        error => StoreError::of_database(path, "opening it", error.into()),
    }
}
