//! All elements of a map, by calls for many at once.

use std::io;
use std::os::fd::AsFd as _;

use super::raw::{Command, Map, call, raw, wrong_length};

/// Elements that one call asks for at first.
const BATCH: usize = 1024;

#[repr(C)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl Map {
    /// Shows every element to `each` (`BPF_MAP_LOOKUP_BATCH`).
    pub(super) fn for_each(&self, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let shape = self.shape();
        let key_size = usize::try_from(shape.key_size).map_err(io::Error::other)?;
        if key_size == 0 || self.value_len() == 0 {
            return Err(wrong_length());
        }
        // With room for one more than there are, the first call says that there are no others.
        let most = usize::try_from(shape.max_entries).map_err(io::Error::other)?;
        let mut room = BATCH.min(most.saturating_add(1));
        let mut keys = vec![0_u8; room * key_size];
        let mut values = vec![0_u8; room * self.value_len()];
        // Where the next call goes on: the last key of an array, the bucket (4 bytes) of a hash.
        let mut token = vec![0_u8; key_size.max(4)];
        let mut first = true;
        loop {
            let token_at = token.as_mut_ptr() as u64;
            let mut attributes = BatchAttributes {
                in_batch: if first { 0 } else { token_at },
                out_batch: token_at,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: u32::try_from(room).map_err(io::Error::other)?,
                map: raw(self.as_fd()),
                element_flags: 0,
                flags: 0,
            };
            // SAFETY: keys and values have room for `count` of them, by the map's own sizes, and the
            // token for a key or a bucket's number; all live until the call returns.
            let result = unsafe { call(Command::MapLookupBatch, &mut attributes) };
            let last = match result {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // One bucket of a hash holds more than there is room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < 1 << 20 => {
                    room *= 4;
                    keys.resize(room * key_size, 0);
                    values.resize(room * self.value_len(), 0);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let count = usize::try_from(attributes.count).map_err(io::Error::other)?;
            let elements = keys.chunks_exact(key_size).zip(values.chunks_exact(self.value_len()));
            elements.take(count).for_each(|(key, value)| each(key, value));
            if last {
                return Ok(());
            }
            first = false;
        }
    }
}
