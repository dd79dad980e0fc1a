//! Filling a slot of a map.

use super::KernelError;
use super::raw::Map;

/// Writes one slot of a map and holds every byte of it against what was written.
pub(super) fn fill(map: &Map, name: &'static str, slot: u32, bytes: &[u8]) -> Result<(), KernelError> {
    let key = slot.to_ne_bytes();
    map.update(&key, bytes).map_err(|source| KernelError::Map { what: "write", map: name, source })?;
    let mut back = vec![0; bytes.len()];
    map.lookup(&key, &mut back).map_err(|source| KernelError::Map {
        what: "read back",
        map: name,
        source,
    })?;
    if back == bytes { Ok(()) } else { Err(KernelError::ReadBack { map: name }) }
}
