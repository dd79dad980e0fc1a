//! Every element of a map, for who reads it.

use guard_common::abi::Count;

use super::KernelError;
use super::plain::{Plain, read};
use super::raw::Map;

/// Shows every count that is not zero.
pub(super) fn each_count(
    map: &Map,
    name: &'static str,
    mut shown: impl FnMut(&[u8], Count),
) -> Result<(), KernelError> {
    each(map, name, |key, value| {
        let sum = by_cpu::<Count>(value).fold(Count::default(), |sum, count| Count {
            packets: sum.packets.wrapping_add(count.packets),
            bytes: sum.bytes.wrapping_add(count.bytes),
        });
        if sum != Count::default() {
            shown(key, sum);
        }
    })
}

/// Shows every element.
pub(super) fn each(
    map: &Map,
    name: &'static str,
    shown: impl FnMut(&[u8], &[u8]),
) -> Result<(), KernelError> {
    map.for_each(shown).map_err(|source| KernelError::Map { what: "read", map: name, source })
}

/// The values of all CPUs: each begins at a multiple of 8 bytes.
pub(super) fn by_cpu<T: Plain + Copy>(values: &[u8]) -> impl Iterator<Item = T> {
    values.chunks_exact(size_of::<T>().next_multiple_of(8)).filter_map(read::<T>)
}
