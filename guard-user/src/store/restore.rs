//! Whether the database is still where it belongs, and writing it anew where its file was removed.
//!
//! A file that is open goes on when its name is taken away: what is written to it is kept only as long as it is open.
//! So the daemon looks by this every few seconds.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::disk::Disk;
use super::{Misplaced, Store, StoreError};

impl Store {
    /// Whether the path still leads to the open database. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Misplaced`], or that the disk can't be asked.
    pub fn check_place(&self) -> Result<(), StoreError> {
        let Some(place) = self.disk.as_ref().and_then(|disk| disk.place()) else { return Ok(()) };
        match place.look() {
            Ok(None) => Ok(()),
            Ok(Some(how)) => Err(StoreError::Misplaced { path: self.path.clone(), how }),
            Err(source) => Err(self.at_place("looking for it", source)),
        }
    }

    /// As [`check_place`](Self::check_place), and writes the database anew where its file was removed and nothing is
    /// in its place: as it is now, with all that was written since. What was moved away is left alone: there would
    /// be two then, and either could be the one that a later start finds.
    ///
    /// # Errors
    /// Where the path still does not lead to the open database; that is used on as it is.
    pub fn restore_place(&mut self) -> Result<(), StoreError> {
        match self.check_place() {
            Err(StoreError::Misplaced { how: Misplaced::Removed, .. }) => self.write_anew(),
            other => other,
        }
    }

    fn write_anew(&mut self) -> Result<(), StoreError> {
        // What is copied has to be what this process takes it for.
        self.leave_doubt()?;
        let Some(place) = self.disk.as_ref().and_then(|disk| disk.place()) else { return Ok(()) };
        let (beside, copy) = place.copy_beside().map_err(|error| self.at_place("writing it anew", error))?;
        // It is open and locked before it has its name: one that is named and not in use would soon be an old one.
        let opened = Disk::on_file(&self.path, copy).and_then(|disk| {
            // What came there in between is not written over.
            let named = renameat_with(CWD, &beside, CWD, &self.path, RenameFlags::NOREPLACE);
            named.map_err(|error| self.at_place("naming it", error.into()))?;
            Ok(disk)
        });
        match opened {
            Ok(disk) => self.disk = Some(disk),
            Err(error) => {
                let _nothing_is_named_by_it = fs::remove_file(&beside);
                return Err(error);
            }
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.at_place("syncing its folder", error))
    }

    fn at_place(&self, step: &'static str, source: io::Error) -> StoreError {
        StoreError::Disk { path: self.path.clone(), step, source }
    }
}
