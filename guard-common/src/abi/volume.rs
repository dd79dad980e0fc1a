//! Volumes: mounted file systems that hold pinned data, and who carries what was read from them.

/// Slots of volumes: the bits of a set of volumes.
pub const MAX_VOLUMES: usize = 64;
/// Devices that volumes are on: a volume that was unmounted and mounted anew has two for a moment.
pub const MAX_VOLUME_DEVICES: usize = 256;
/// Processes that are known as carriers at once.
pub const MAX_CARRIERS: usize = 16_384;
/// Cgroups that are known as carriers at once.
pub const MAX_CARRIER_CGROUPS: usize = 4_096;

/// Files elsewhere that have data of volumes and are known at once.
pub const MAX_COPIES: usize = 131_072;

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
}

impl CarrierControl {
    /// How many there are.
    pub const COUNT: usize = 7;
}

const _: () = {
    assert!(size_of::<Carrier>() == 16 && size_of::<FileKey>() == 16);
    // PID_MAX_LIMIT is 2^22.
    assert!(FOUND > 1 << 22);
};
