//! The maps that a process keeps open, so that their entries in bpffs can be made anew.

use super::raw::Map;
use super::{KernelError, folder};

/// The maps that have entries, open for as long as the process runs.
#[derive(Debug)]
pub(super) struct KeptMaps(Vec<(String, Map)>);

impl KeptMaps {
    /// Opens the maps of these names.
    pub(super) fn open(
        pin_path: &std::path::Path,
        names: impl Iterator<Item = String>,
    ) -> Result<Self, KernelError> {
        let open = |name: String| {
            let path = folder::maps(pin_path).join(&name);
            let map = Map::open(&path).map_err(|error| KernelError::folder("open the map", path, error))?;
            Ok((name, map))
        };
        names.map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The maps with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, Map)> {
        self.0.iter()
    }
}
