//! What can be read from the pins: by the daemon, and without it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use guard_common::abi::{PolicyTable, dimension};

use super::maps::{self, Found, Maps};
use super::observe::{self, Memory, Scope};
use super::plain::{Plain, read};
use super::{KernelError, ObservedInterface, folder};

/// The pinned maps, for reading. Any number of processes may have one, beside the daemon or after it.
#[derive(Debug)]
pub struct View {
    pub(super) path: PathBuf,
    pub(super) maps: Maps,
}

impl View {
    pub(super) fn new(path: &Path, maps: Maps) -> Self {
        Self { path: path.to_path_buf(), maps }
    }

    /// Opens what is pinned, loads nothing and changes nothing.
    ///
    /// # Errors
    ///
    /// [`KernelError::NothingPinned`] where nothing is; else as [`LinuxKernel::open`](super::LinuxKernel::open)
    /// where the maps are not this version's.
    pub fn open(pin_path: &Path) -> Result<Self, KernelError> {
        Self::open_by(pin_path, Maps::open)
    }

    /// Likewise, with nothing that could be written: what a process that is not the daemon has to do while others are kept from
    /// the daemon's maps.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_to_read(pin_path: &Path) -> Result<Self, KernelError> {
        Self::open_by(pin_path, Maps::open_to_read)
    }

    fn open_by(pin_path: &Path, open: fn(&Path) -> Result<Maps, KernelError>) -> Result<Self, KernelError> {
        let nothing = || KernelError::NothingPinned { path: pin_path.to_path_buf() };
        if !folder::maps(pin_path).is_dir() {
            return Err(nothing());
        }
        match maps::inspect(pin_path)? {
            Found::All => Ok(Self::new(pin_path, open(pin_path)?)),
            Found::Nothing | Found::BrokenOff => Err(nothing()),
        }
    }

    /// The interfaces of this network namespace, with what of ours is on them, as the kernel shows it now.
    ///
    /// # Errors
    ///
    /// [`KernelError::Folder`] and [`KernelError::Netlink`] where the kernel cannot be asked.
    pub fn interfaces(&self) -> Result<Vec<ObservedInterface>, KernelError> {
        let (current, control) = (BTreeSet::new(), self.maps.control.id());
        let scope = Scope { path: &self.path, control, current: &current, spare: None };
        Ok(observe::observe(scope, &mut Memory::default())?.interfaces)
    }

    /// The live generation, read from the kernel; 0 where none was published.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the maps cannot be read; [`KernelError::Damaged`] where they hold what
    /// no version writes.
    pub fn live_generation(&self) -> Result<u64, KernelError> {
        Ok(self.of_live_policy(std::mem::offset_of!(PolicyTable, generation))?.unwrap_or(0))
    }

    /// Whether the live policy has ways past the guard refused, `bypass.refuse`; not where none was published.
    ///
    /// # Errors
    ///
    /// As [`live_generation`](Self::live_generation).
    pub fn refuses_bypass(&self) -> Result<bool, KernelError> {
        let dimensions: Option<u32> = self.of_live_policy(std::mem::offset_of!(PolicyTable, dimensions))?;
        Ok(dimensions.is_some_and(|dimensions| dimensions & dimension::REFUSES_BYPASS != 0))
    }

    /// What stands in the live policy after so many bytes; `None` where none was published.
    fn of_live_policy<T: Plain + Copy>(&self, at: usize) -> Result<Option<T>, KernelError> {
        let live = self.maps.live()?;
        if !live.is_loaded() {
            return Ok(None);
        }
        let policy = &self.maps.policy;
        let mut bytes = vec![0; policy.value_len()];
        policy.lookup(&live.policy_slot().to_ne_bytes(), &mut bytes).map_err(|source| KernelError::Map {
            what: "read",
            map: "POLICY",
            source,
        })?;
        let found = bytes.get(at..).and_then(read);
        found
            .map(Some)
            .ok_or_else(|| KernelError::Damaged { map: "POLICY", found: format!("{} bytes", bytes.len()) })
    }
}
