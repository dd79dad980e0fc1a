//! What is the guard's in the kernel, and who may change it: for the programs of BPF LSM that refuse it to others.
//!
//! None of these maps is pinned: they end with the daemon, and the refusals with them.

use super::COMMAND_LEN;

/// Objects of the guard that are known at once.
pub const MAX_PROTECTED: usize = 4_096;
/// Attempts that are known at once; a new one takes the place of the one that was made longest ago.
pub const MAX_ATTEMPTS: usize = 1_024;

/// What kind of object it is, [`Protected::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum ProtectedKind {
    /// A map of the guard's, by its id.
    Map = 1,
    /// A program of the guard's, by its id; its links are the guard's too.
    Program = 2,
    /// A program of another that used a map of the guard's before others were kept from that, by its id: it may be looked at,
    /// and nothing of it is the guard's.
    Known = 3,
    /// A folder of the BPF file system with entries of the guard's, by its device and inode.
    Folder = 4,
}

/// An object of the guard's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Protected {
    /// A [`ProtectedKind`].
    pub kind: u32,
    /// Of a folder the number of its file system's device, as the kernel has it in a superblock; else 0.
    pub device: u32,
    /// Its id, of a folder the number of its inode.
    pub number: u64,
}

impl Protected {
    /// The object of this kind with this id.
    #[inline(always)]
    #[must_use]
    pub const fn with_id(kind: ProtectedKind, id: u32) -> Self {
        Self { kind: kind as u32, device: 0, number: id as u64 }
    }

    /// A folder.
    #[inline(always)]
    #[must_use]
    pub const fn folder(device: u32, inode: u64) -> Self {
        Self { kind: ProtectedKind::Folder as u32, device, number: inode }
    }
}

/// Who is the guard: the one element of its map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Protector {
    /// A number by which the guard makes itself known once, and that nobody else knows; 0 for none.
    pub token: u64,
    /// The guard's process, as the first PID namespace numbers it; 0 until it has made itself known. Nothing is refused
    /// before that.
    pub process: u32,
    /// Zero.
    pub pad: u32,
}

/// What others than the guard may not do, [`AttemptKey::attempt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Attempt {
    /// To open a map of the guard's so that it can be written.
    OpenMap = 0,
    /// To write into one by a descriptor from before.
    WriteMap = 1,
    /// To freeze one.
    FreezeMap = 2,
    /// To load a program that uses one.
    LoadProgram = 3,
    /// To run a program of the guard's on a packet of one's own (`BPF_PROG_TEST_RUN`).
    RunProgram = 4,
    /// To detach a link of the guard's, or to give it another program.
    ChangeLink = 5,
    /// To remove or rename an entry of the guard's in the BPF file system.
    ChangeEntry = 6,
    /// To trace the daemon, or to reach into its memory and descriptors.
    TraceDaemon = 7,
}

impl Attempt {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::OpenMap,
        Self::WriteMap,
        Self::FreezeMap,
        Self::LoadProgram,
        Self::RunProgram,
        Self::ChangeLink,
        Self::ChangeEntry,
        Self::TraceDaemon,
    ];

    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenMap => "open-map",
            Self::WriteMap => "write-map",
            Self::FreezeMap => "freeze-map",
            Self::LoadProgram => "load-program",
            Self::RunProgram => "run-program",
            Self::ChangeLink => "change-link",
            Self::ChangeEntry => "change-entry",
            Self::TraceDaemon => "trace-daemon",
        }
    }

    /// The one of this number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u32 == number)
    }
}

/// Who was refused what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct AttemptKey {
    /// The process, as the first PID namespace numbers it.
    pub process: u32,
    /// An [`Attempt`].
    pub attempt: u32,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Attempts {
    /// How often.
    pub times: u64,
    /// When the last time, nanoseconds of `CLOCK_BOOTTIME`.
    pub last_ns: u64,
    /// Of what: the id of a map or program, of an entry the inode of its folder, else 0; the last time.
    pub number: u64,
    /// The real user of the process.
    pub user: u32,
    /// Zero.
    pub pad: u32,
    /// The name of the command, or of the thread.
    pub command: [u8; COMMAND_LEN],
}

const _: () = {
    assert!(size_of::<Protected>() == 16);
    assert!(size_of::<Protector>() == 16);
    assert!(size_of::<AttemptKey>() == 8);
    assert!(size_of::<Attempts>() == 32 + COMMAND_LEN);
    assert!(COMMAND_LEN == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_known_by_their_numbers() {
        for (number, attempt) in (0_u32..).zip(Attempt::ALL) {
            assert_eq!((Attempt::of(number), attempt as u32), (Some(attempt), number));
        }
        assert_eq!(Attempt::of(Attempt::ALL.len() as u32), None);
    }
}
