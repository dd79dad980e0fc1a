//! The store as it is at one moment, for those who only look: without the lock that the daemon holds, and
//! without changing a byte.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::clock::Clocks;
use super::disk::{Disk, LOCK, UNFINISHED};
use super::store::{Problem, Store, StoreError};
use crate::compile::KernelExemption;

/// What the store held when it was looked at.
pub struct Snapshot(Store);

impl Snapshot {
    /// Reads the store in the folder `exemptions` of the state directory; one that is not there is empty.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn read(state_directory: &Path) -> Result<Self, StoreError> {
        let path = state_directory.join("exemptions");
        Ok(Self(Store::on(path.clone(), Box::new(Untouched { path }))?))
    }

    /// What can't be used of the store's files; each of these exemptions is closed.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        self.0.problems()
    }

    /// The open exemptions with their ids, as [`Store::kernel_exemptions`] gives them. What the kernel has
    /// counted since its counters began is not taken from the quotas.
    #[must_use]
    pub fn open_exemptions(&self, clocks: &Clocks, pins: &[String]) -> Vec<(String, KernelExemption)> {
        let id_of = |slot| self.0.by_slot(slot).map(|document| document.id.clone()).unwrap_or_default();
        let open = self.0.kernel_exemptions(clocks, pins);
        open.into_iter().map(|exemption| (id_of(exemption.slot), exemption)).collect()
    }
}

/// A folder that is only read. Nobody asks for a change; one would be refused.
struct Untouched {
    path: PathBuf,
}

impl Disk for Untouched {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        // What the daemon is writing just now is not there yet.
        let finished = |name: &String| name != LOCK && !name.ends_with(UNFINISHED);
        names.filter(|name| name.as_ref().map_or(true, finished)).collect()
    }

    fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let mut bytes = Vec::new();
        options.open(self.path.join(name))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_synced(&mut self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&mut self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&mut self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    /// Whether what is read is on the disk for certain does not matter to who only looks.
    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }
}
