//! The database on the disk: one file of `redb`, its tables, and transactions that are all or nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, TableDefinition, WriteTransaction};

use super::StoreError;
use super::read::Reader;

/// Documents, byte for byte, by id and version.
pub(super) const DOCUMENTS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("documents");
/// Detached signatures over them, byte for byte, by id, version and number.
pub(super) const SIGNATURES: TableDefinition<'_, (&str, u32, u32), &[u8]> =
    TableDefinition::new("signatures");
/// What became of each: a [`Record`](crate::exemption::record::Record) as JSON.
pub(super) const RECORDS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("records");
/// The audit trail, line by line.
pub(super) const AUDIT: TableDefinition<'_, u64, &str> = TableDefinition::new("audit");
/// Bytes and packets that an exemption let through, by day, id and version.
pub(super) const USE_BY_DAY: TableDefinition<'_, (&str, &str, u32), (u64, u64)> =
    TableDefinition::new("use-by-day");
/// Packets and bytes by day and a [`Judged`](super::Judged) as JSON.
pub(super) const COUNTS_BY_DAY: TableDefinition<'_, (&str, &str), (u64, u64)> =
    TableDefinition::new("counts-by-day");
/// The kernel's counts that are in [`COUNTS_BY_DAY`] already, by a [`Judged`](super::Judged) as JSON.
pub(super) const BOOKED: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("booked");
/// What the database is: its form.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The form of the tables.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";

/// The database, open for writing, and locked against every other process.
pub(super) struct Disk {
    path: PathBuf,
    database: Database,
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
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed("opening it"))?;
        let database = FileBackend::new(file)
            .and_then(|backend| redb::Builder::new().create_with_backend(backend))
            .map_err(|error| opening(path, error))?;
        let disk = Self::on(path, database)?;
        // The file's name is on the disk, too.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("syncing its folder"))?;
        Ok(disk)
    }

    /// The database on any storage.
    #[cfg(test)]
    pub(super) fn on_storage(path: &Path, storage: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let database =
            redb::Builder::new().create_with_backend(storage).map_err(|error| opening(path, error))?;
        Self::on(path, database)
    }

    fn on(path: &Path, database: Database) -> Result<Self, StoreError> {
        let disk = Self { path: path.to_owned(), database };
        let found = disk.read(path)?.number(FORMAT_KEY)?;
        match found {
            Some(FORMAT) => Ok(disk),
            Some(other) => Err(StoreError::Damaged {
                path: path.to_owned(),
                reason: format!("its form is {other}, and this version reads {FORMAT}"),
            }),
            None => {
                disk.write(|batch| {
                    batch.open_table(DOCUMENTS)?;
                    batch.open_table(SIGNATURES)?;
                    batch.open_table(RECORDS)?;
                    batch.open_table(AUDIT)?;
                    batch.open_table(USE_BY_DAY)?;
                    batch.open_table(COUNTS_BY_DAY)?;
                    batch.open_table(BOOKED)?;
                    batch.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
                    Ok(())
                })?;
                Ok(disk)
            }
        }
    }

    /// One transaction: all of it is on the disk when this returns `Ok`, and nothing of it else.
    pub(super) fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let transaction = || {
            let mut batch = self.database.begin_write()?;
            // Both copies of the root are never written at once: a write that the disk tore is seen for what it
            // is, whoever made up the torn bytes.
            batch.set_two_phase_commit(true);
            change(&batch)?;
            Ok(batch.commit()?)
        };
        transaction().map_err(|error: redb::Error| failed(&self.path, "writing it", error))
    }

    /// The database as it is now.
    pub(super) fn read(&self, path: &Path) -> Result<Reader, StoreError> {
        let transaction =
            self.database.begin_read().map_err(|error| failed(path, "reading it", error.into()))?;
        Ok(Reader::new(path, transaction))
    }
}

/// Opens the database for reading, as long as nobody holds it.
pub(super) fn open_to_read(path: &Path) -> Result<Reader, StoreError> {
    let database = ReadOnlyDatabase::open(path).map_err(|error| opening(path, error))?;
    let transaction = database.begin_read().map_err(|error| failed(path, "reading it", error.into()))?;
    Ok(Reader::holding(path, transaction, database))
}

fn opening(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Held { path: path.to_owned() },
        error => failed(path, "opening it", error.into()),
    }
}

/// An error of the database: the disk's, or one that shows that it is not what was written.
pub(super) fn failed(path: &Path, step: &'static str, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) => match source.kind() {
            // What redb says of a file that is no database, or too short for one.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                StoreError::Damaged { path, reason: source.to_string() }
            }
            _ => StoreError::Disk { path, step, source },
        },
        redb::Error::PreviousIo => {
            let source = io::Error::other("an earlier write failed; start the daemon again");
            StoreError::Disk { path, step, source }
        }
        error => StoreError::Damaged { path, reason: error.to_string() },
    }
}

/// As [`failed`], for reading tables.
pub(super) fn unreadable(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    failed(path, "reading it", error.into())
}
