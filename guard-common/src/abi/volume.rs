//! Volumes: mounted file systems that hold pinned data, and who carries what was read from them.

use super::{Event, Process};

/// Slots of volumes: the bits of a set of volumes.
pub const MAX_VOLUMES: usize = 64;
/// Devices that volumes are on: a volume that was unmounted and mounted anew has two for a moment.
pub const MAX_VOLUME_DEVICES: usize = 256;
/// Words of the bits that stand for devices of volumes, [`device_bit`].
pub const DEVICE_WORDS: usize = 64;
/// Words of the bits that stand for files elsewhere that have data of volumes, [`copy_bit`].
pub const COPY_WORDS: usize = 4_096;
/// Processes that are known as carriers at once.
pub const MAX_CARRIERS: usize = 16_384;
/// Cgroups that are known as carriers at once.
pub const MAX_CARRIER_CGROUPS: usize = 4_096;

/// Files elsewhere that have data of volumes and are known at once.
pub const MAX_COPIES: usize = 131_072;
/// Pairs of a process and a file that it wrote to which are known at once as reported. A new one takes the place of the one
/// that was used longest ago, which may be reported once more then.
pub const MAX_WRITERS: usize = 16_384;
/// Events of such writes a second, by the lowest volume, over time: those of flows share the ring buffer and the history.
pub const COPY_EVENT_RATE: u64 = 20;
/// Events of such writes at once, after a pause.
pub const COPY_EVENT_BURST: u64 = 100;
/// Names of a path that an event of such a write has: the file's, and those of the folders above it.
pub const COPY_NAMES: usize = 8;
/// Bytes of each, the zero behind it among them. What is longer is cut.
pub const COPY_NAME_LEN: usize = 64;

/// A file of any file system, by what stays the same while it is not in the kernel's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct FileKey {
    /// Its inode's number.
    pub inode: u64,
    /// The number of the device of its file system.
    pub device: u32,
    /// Its inode's generation, which tells files apart that have the same number one after the other.
    pub generation: u32,
}

/// The bit that stands for a device, as its word's number and a set of one bit. Where it is not set, no volume is on the
/// device: nearly every file is of none, and a hash takes ten times longer to say so.
#[inline(always)]
#[must_use]
pub const fn device_bit(device: u32) -> (u32, u64) {
    // The constant is the golden ratio's fraction.
    let bit = device.wrapping_mul(0x9e37_79b1) >> (u32::BITS - (DEVICE_WORDS as u32 * u64::BITS).ilog2());
    (bit / u64::BITS, 1 << (bit % u64::BITS))
}

/// Likewise of a file, for those that have data of volumes, by the number of its inode and its device.
#[inline(always)]
#[must_use]
pub const fn copy_bit(inode: u64, device: u32) -> (u32, u64) {
    let mixed = (inode ^ (device as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bit = (mixed >> (u64::BITS - (COPY_WORDS as u32 * u64::BITS).ilog2())) as u32;
    (bit / u64::BITS, 1 << (bit % u64::BITS))
}

/// A process that wrote to a file off the volumes that it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WriterKey {
    /// The file.
    pub file: FileKey,
    /// When the process began, nanoseconds of `CLOCK_BOOTTIME`: numbers of processes are given again.
    pub began_ns: u64,
    /// The process.
    pub process: u32,
    /// Zero.
    pub pad: u32,
}

/// An entry of the ring buffer, known by its size: a carrier has begun to write to a file off the volumes that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PinnedCopy {
    /// Slots of the volumes, a bit each.
    pub volumes: u64,
    /// Those of them whose data is followed: who reads the file carries it.
    pub followed: u64,
    /// When that was, nanoseconds of `CLOCK_BOOTTIME`.
    pub at_ns: u64,
    /// The file.
    pub file: FileKey,
    /// Who wrote.
    pub process: Process,
    /// The file's name, and those of the folders above it up to the root of its file system, which has none; each ends with
    /// a zero. Where the last one is not empty there may be more.
    pub names: [[u8; COPY_NAME_LEN]; COPY_NAMES],
}

/// What makes a key of carriers that of one whom the daemon found, and no hook: a process's number has no such bit
/// (`PID_MAX_LIMIT`). The two never write one entry, so that neither can take from the other what it has just added.
pub const FOUND: u32 = 1 << 31;

/// A process or a cgroup that carries data of volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Carrier {
    /// Slots of the volumes, a bit each. Nothing is ever taken away while the process lives.
    pub volumes: u64,
    /// Since when, nanoseconds of `CLOCK_BOOTTIME`.
    pub since_ns: u64,
}

/// Words that the hooks of carriers go by, beside the devices: places in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CarrierControl {
    /// Volumes whose carriers are cgroups too, a bit each.
    Spread = 0,
    /// Id of the cgroup `init.scope`, in which the host's first process is: it is no carrier. 0 where there is none.
    InitScope = 1,
    /// Volumes whose data is followed into files elsewhere, a bit each.
    Copied = 3,
    /// How many files elsewhere have such data: those that were written and are not gone.
    Copies = 4,
    /// How many carriers found no room. Where any did, every sender counts as a carrier of all volumes: nobody knows
    /// who it was.
    Overflowed = 2,
    /// Volumes whose data makes carriers of those to whom it is handed on, a bit each. Others are told.
    Tagged = 5,
    /// Not 0 once a carrier has handed data on: before, no receiver is looked at.
    Handed = 6,
    /// How many events of carriers that wrote to files off their volumes were sent.
    Reported = 7,
}

impl CarrierControl {
    /// How many there are.
    pub const COUNT: usize = 8;
}

const _: () = {
    assert!(size_of::<Carrier>() == 16 && size_of::<FileKey>() == 16);
    assert!(DEVICE_WORDS.is_power_of_two() && COPY_WORDS.is_power_of_two());
    assert!(device_bit(u32::MAX / 2).0 < DEVICE_WORDS as u32 && copy_bit(u64::MAX, 0).0 < COPY_WORDS as u32);
    assert!(size_of::<WriterKey>() == 32);
    assert!(size_of::<PinnedCopy>() == 40 + size_of::<Process>() + COPY_NAMES * COPY_NAME_LEN);
    assert!(size_of::<PinnedCopy>() != size_of::<Event>());
    // PID_MAX_LIMIT is 2^22.
    assert!(FOUND > 1 << 22);
};
