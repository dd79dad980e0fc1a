//! How far the audit trail had come, in a map that outlives the daemon.

use guard_common::abi::HighWater;

use super::plain::{bytes_of, read};
use super::{KernelError, View};

/// The one element.
const KEY: [u8; 4] = 0_u32.to_ne_bytes();
const NAME: &str = "HIGH_WATER";

impl View {
    /// How far the audit trail had come when that was kept last; its sequence number is 0 where it never was.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read.
    pub fn high_water(&self) -> Result<HighWater, KernelError> {
        let failed = |source| KernelError::Map { what: "read", map: NAME, source };
        let mut bytes = [0; size_of::<HighWater>()];
        self.maps.high_water.lookup(&KEY, &mut bytes).map_err(failed)?;
        Ok(read(&bytes).unwrap_or_default())
    }

    /// Keeps how far it has come.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be written.
    pub fn keep_high_water(&self, mark: &HighWater) -> Result<(), KernelError> {
        let failed = |source| KernelError::Map { what: "write", map: NAME, source };
        self.maps.high_water.update(&KEY, bytes_of(mark)).map_err(failed)
    }
}
