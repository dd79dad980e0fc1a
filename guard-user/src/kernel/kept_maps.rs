//! The maps that a process keeps open, so that their entries in bpffs can be made anew.

use std::path::Path;

use super::entry_file::EntryFile;
use super::raw::Map;
use super::{KernelError, folder};

/// The maps that have entries, open for as long as the process runs.
#[derive(Debug)]
pub(super) struct KeptMaps(Vec<KeptMap>);

/// One of them.
#[derive(Debug)]
pub(super) struct KeptMap {
    /// The name of its entry.
    pub(super) name: String,
    pub(super) map: Map,
    /// The file that its entry is, as far as it was opened and was this map's own. What is still that file is so too.
    file: Option<EntryFile>,
}

impl KeptMap {
    /// Whether its entry in the folder of maps is there, and its own.
    pub(super) fn has_entry(&mut self, folder: &Path) -> bool {
        let path = folder.join(&self.name);
        if self.file.is_some() && self.file == EntryFile::at(&path).ok() {
            return true;
        }
        self.file = EntryFile::open(&path).ok().and_then(|(file, object)| {
            let is_own = Map::from_fd(object).is_ok_and(|there| there.id() == self.map.id());
            is_own.then_some(file)
        });
        self.file.is_some()
    }
}

impl KeptMaps {
    /// Opens the maps of these names.
    pub(super) fn open(pin_path: &Path, names: impl Iterator<Item = String>) -> Result<Self, KernelError> {
        let open = |name: String| {
            let path = folder::maps(pin_path).join(&name);
            let map = Map::open(&path).map_err(|error| KernelError::folder("open the map", path, error))?;
            Ok(KeptMap { name, map, file: None })
        };
        names.map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Each of them.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut KeptMap> {
        self.0.iter_mut()
    }

    /// Their ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|kept| kept.map.id())
    }
}
