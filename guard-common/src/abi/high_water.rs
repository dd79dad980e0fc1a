//! How far the audit trail had come, kept in the kernel apart from the disk.

use core::mem::size_of;

/// The end of the audit trail as the disk had it last. No program reads it: it is kept for a daemon that starts again,
/// so that an older store which was put back is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HighWater {
    /// Sequence number of the last record; 0: none was kept here yet.
    pub sequence: u64,
    /// SHA-256 of its line.
    pub hash: [u8; 32],
    /// SHA-256 of the notes on configs that were live while no record could be written; zeroes: there are none.
    pub unrecorded: [u8; 32],
    /// SHA-256 of the first of these configs.
    pub config: [u8; 32],
    /// Since when that was live, seconds since 1970.
    pub since: u64,
}

const _: () = assert!(size_of::<HighWater>() == 8 + 3 * 32 + 8);
