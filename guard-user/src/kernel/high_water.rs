//! How far the audit trail had come, in a map that outlives the daemon.

use std::path::Path;

use guard_common::abi::HighWater;

use super::plain::{bytes_of, read};
use super::raw::Map;
use super::{KernelError, View};

/// The one element.
const KEY: [u8; 4] = 0_u32.to_ne_bytes();
const NAME: &str = "HIGH_WATER";

/// The mark of how far the audit trail had come.
pub struct KeptHead(Map);

impl KeptHead {
    /// Opens the one that is pinned.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn open(pin_path: &Path) -> Result<Self, KernelError> {
        // No descriptor of another map stays open for it.
        View::open(pin_path).map(|view| Self(view.maps.high_water))
    }

    /// What was kept last; its sequence number is 0 where nothing was.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read.
    pub fn read(&self) -> Result<HighWater, KernelError> {
        let failed = |source| KernelError::Map { what: "read", map: NAME, source };
        let mut bytes = [0; size_of::<HighWater>()];
        self.0.lookup(&KEY, &mut bytes).map_err(failed)?;
        Ok(read(&bytes).unwrap_or_default())
    }

    /// Keeps this.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be written.
    pub fn write(&self, mark: &HighWater) -> Result<(), KernelError> {
        let failed = |source| KernelError::Map { what: "write", map: NAME, source };
        self.0.update(&KEY, bytes_of(mark)).map_err(failed)
    }
}
